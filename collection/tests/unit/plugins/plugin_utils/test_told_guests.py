# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which steps bring a config drive along, and what inventory's variables make of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import typing as t
import zlib

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import Carrier
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import digest
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._personality.test__drive import (
    ID,
    KEY,
    record,
)

pycdlib = pytest.importorskip("pycdlib.pycdlib")

DRIVE = Disk("config", "local", f"{ID}-config", "raw", 0, "sda", "scsi", device="cdrom")
ROOT = Disk("root", "local", f"{ID}-root", "qcow2", 1, "vda", "virtio")


class Task:
    args: t.ClassVar[dict[str, t.Any]] = {}


class Kept:
    """What the ledger keeps of the server, encrypted."""

    def __init__(self) -> None:
        self.token: str | None = None

    def seal(self, server_id: str, token: str | None) -> None:
        assert server_id == ID
        self.token = token

    def sealed(self, server_id: str) -> str | None:
        return self.token


class Inventory(Carrier):
    """A carrier for a server with these variables."""

    def __init__(self, *, declared: bool = True, kept: Kept | None = None, **variables: t.Any) -> None:
        self.variables = variables
        self.kept = kept or Kept()
        self._task = t.cast("t.Any", Task())
        self._task_vars = {"groups": {"servers": ["Web_1"] if declared else []}}

    def open_ledger(self, *, create: bool) -> t.Any:
        return self.kept

    def variable(self, name: str, default: t.Any = None) -> t.Any:
        return self.variables.get(name, default)

    def perform(self, args: t.Any) -> t.Any:
        raise NotImplementedError


def server(**spec: t.Any) -> Record:
    return record(spec=spec, disks=(ROOT, DRIVE))


def sent(carrier: Inventory, *kinds: str, applied: Record, to: Record | None = None) -> dict[str, bytes] | None:
    """The files of the drive that goes with these steps; None if none does."""
    entry = {"fleet_id": "fleet-1234567890", "record": applied.to_json(), "zone": "east"}
    written = None if to is None else to.to_json()
    drives = carrier._drives(entry, [{"kind": kind, "record": written} for kind in kinds])
    if not drives:
        return None
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(zlib.decompress(base64.b64decode(drives[ID]))))
    files = {}
    for folder, _folders, names in iso.walk(rr_path="/"):
        for name in names:
            content = io.BytesIO()
            iso.get_file_from_iso_fp(content, rr_path=f"{folder.rstrip('/')}/{name}")
            files[f"{folder}/{name}".lstrip("/")] = content.getvalue()
    iso.close()
    return files


def latest(files: dict[str, bytes] | None, name: str) -> t.Any:
    assert files is not None
    return json.loads(files[f"openstack/latest/{name}.json"])


def test_a_start_and_a_change_of_what_is_on_it_bring_a_drive_along() -> None:
    carrier = Inventory()
    web, db = server(metadata={"role": "web"}), server(metadata={"role": "db"})
    assert latest(sent(carrier, "start", applied=web), "meta_data")["meta"] == {"role": "web"}
    assert latest(sent(carrier, "update", applied=web, to=db), "meta_data")["meta"] == {"role": "db"}
    assert sent(carrier, "update", applied=web, to=dataclasses.replace(web, generation=2)) is None
    assert sent(carrier, "stop", "pause", applied=web) is None
    without = dataclasses.replace(web, disks=(ROOT,))
    assert sent(carrier, "start", applied=without) is None


def test_keys_zone_domain_and_vendor_data_are_on_it() -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"
    keys = [{"name": "ops", "public_key": KEY}, {"name": "windows", "public_key": certificate}]
    variables: dict[str, t.Any] = {
        "fleet_vendor_data": {"cloud-init": {"timezone": "UTC"}},
        "fleet_dhcp_domain": "example.org",
    }
    files = sent(Inventory(**variables), "start", applied=server(key_name=keys))
    meta = latest(files, "meta_data")
    assert [(key["name"], key["type"]) for key in meta["keys"]] == [("ops", "ssh"), ("windows", "x509")]
    assert (meta["availability_zone"], meta["hostname"]) == ("east", "web-1.example.org")
    assert latest(files, "vendor_data") == {"cloud-init": "#cloud-config\ntimezone: UTC\n"}
    assert latest(files, "vendor_data2") == {"static": latest(files, "vendor_data")}


def test_no_password_of_a_mapping_is_on_it_in_clear() -> None:
    pytest.importorskip("passlib.hash", reason="libpass is not installed")
    config = {"chpasswd": {"users": [{"name": "a", "type": "text", "password": "hunter2"}]}}
    carrier = Inventory(server_user_data=config, server_admin_password="hunter3", fleet_secret_key="k" * 16)
    files = sent(carrier, "start", applied=server(user_data={"sha256": digest(config)}))
    assert files is not None
    assert not [path for path, data in files.items() if b"hunter" in data]
    assert b"type: hash" in files["openstack/latest/user_data"]
    assert "$6$rounds=" in latest(files, "vendor_data")["cloud-init"]
    assert "admin_pass" not in latest(files, "meta_data")


def test_user_data_that_this_run_does_not_have_keeps_no_server_from_starting() -> None:
    applied = server(user_data={"sha256": digest("#!/bin/sh\n")})
    assert sent(Inventory(server_user_data="#!/bin/sh\n"), "start", applied=applied) is not None
    assert sent(Inventory(server_user_data="other"), "start", applied=applied) is None
    with pytest.raises(FlotillaError, match="which this run doesn't have"):
        sent(Inventory(), "create", "start", applied=applied, to=applied)


def test_injected_files_are_those_that_the_step_is_for() -> None:
    applied = server(personality={"/etc/motd": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"})
    files = sent(Inventory(server_personality={"/etc/motd": "hello\n"}), "start", applied=applied)
    assert files is not None
    assert files["openstack/content/0000"] == b"hello\n"
    assert latest(files, "meta_data")["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    with pytest.raises(FlotillaError, match="server_personality"):
        sent(Inventory(server_personality={"/etc/motd": "bye\n"}), "rebuild", applied=applied, to=applied)


def test_nocloud_is_another_drive() -> None:
    files = sent(Inventory(), "start", applied=server(config_drive_format="nocloud"))
    assert set(files or ()) == {"meta-data", "user-data", "vendor-data", "network-config"}


SECRET_KEY = "a key of 16 characters"
TOLD = {"server_user_data": "#!/bin/sh\n", "server_personality": {"/etc/motd": "hello"}}


def kept(**variables: t.Any) -> tuple[Record, Kept]:
    """What the ledger has of a server after a step with these variables."""
    data, files = variables.get("server_user_data"), variables.get("server_personality") or {}
    spec: dict[str, t.Any] = {} if data is None else {"user_data": {"sha256": digest(data)}}
    if files:
        spec["personality"] = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
    applied, ledger = server(**spec), Kept()
    Inventory(kept=ledger, **variables).keep(t.cast("t.Any", ledger), applied)
    return applied, ledger


@pytest.mark.parametrize("now", [{}, {"server_user_data": "other", "server_personality": {"/etc/motd": "new"}}])
def test_what_inventory_has_no_more_comes_from_the_ledger(now: dict[str, t.Any]) -> None:
    applied, ledger = kept(fleet_secret_key=SECRET_KEY, **TOLD)
    files = sent(Inventory(kept=ledger, fleet_secret_key=SECRET_KEY, **now), "create", applied=applied, to=applied)
    assert files is not None
    assert files["openstack/latest/user_data"] == b"#!/bin/sh\n"
    assert b"hello" in files.values()
    # Nor is what is kept lost by a step with an inventory that has another.
    before = ledger.token
    Inventory(kept=ledger, fleet_secret_key=SECRET_KEY, **now).keep(t.cast("t.Any", ledger), applied)
    assert ledger.token == before


def test_without_the_key_nothing_is_kept_and_another_key_opens_nothing() -> None:
    assert kept(**TOLD)[1].token is None
    applied, ledger = kept(fleet_secret_key=SECRET_KEY, **TOLD)
    assert ledger.token is not None
    assert "bin/sh" not in ledger.token
    for key in (None, SECRET_KEY + "!"):
        with pytest.raises(FlotillaError, match="which this run doesn't have"):
            sent(Inventory(kept=ledger, fleet_secret_key=key), "create", applied=applied, to=applied)


def test_the_password_of_a_server_that_inventory_names_is_inventory_s_alone() -> None:
    applied, ledger = kept(fleet_secret_key=SECRET_KEY, server_admin_password="hunter3")
    for declared in (False, True):
        carrier = Inventory(kept=ledger, fleet_secret_key=SECRET_KEY, declared=declared)
        assert carrier._admin_password(applied) == (None if declared else "hunter3")
    Inventory(kept=ledger, fleet_secret_key=SECRET_KEY).keep(t.cast("t.Any", ledger), applied)
    assert ledger.token is None, "what inventory no longer says is forgotten"
