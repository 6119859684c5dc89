# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import default_url, state_dir
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._location import (
    network_file_system,
    parse_url,
    prepare_file,
    refuse_file_in_awx,
    shown,
)

MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local\\040disk xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "env", "url"),
    [
        (None, {"HOME": "/home/ops"}, "sqlite:////home/ops/.local/state/flotilla/web.db"),
        (None, {"HOME": "/home/ops", "XDG_STATE_HOME": "/state"}, "sqlite:////state/flotilla/web.db"),
        ("/fleets", {"XDG_STATE_HOME": "/state"}, "sqlite:////fleets/web.db"),
        ("/fleets", {"FLOTILLA_LEDGER": "postgresql://db/fleet"}, "postgresql://db/fleet"),
    ],
)
def test_default_url(folder: str | None, env: dict[str, str], url: str) -> None:
    assert default_url("web", folder, env=env) == url


@pytest.mark.parametrize("name", ["", "../web", ".web", "a/b"])
def test_a_fleet_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="fleet_name"):
        default_url(name, env={})


def test_state_dir_is_absolute() -> None:
    assert Path(state_dir("fleets")).is_absolute()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/fleet.db", None),
        ("/home/ops/fleet.db", "nfs4"),
        ("/home/local disk/fleet.db", None),
        ("/homes/fleet.db", None),
    ],
)
def test_network_file_system(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_a_ledger_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prepare_file.__globals__, "network_file_system", lambda _path: "nfs4")
    with pytest.raises(FlotillaError, match="network file system"):
        prepare_file(tmp_path / "fleet.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_shown_holds_no_password() -> None:
    pytest.importorskip("sqlalchemy")
    url = parse_url("postgresql://ops:planted@db.example.org/fleet?sslmode=require&password=planted")
    assert url.drivername == "postgresql+psycopg"
    assert shown(url) == "postgresql://ops:***@db.example.org/fleet"


@pytest.mark.parametrize(
    ("url", "env", "refused"),
    [
        ("sqlite:////state/web.db", {"AWX_HOST": "https://awx.example.org", "JOB_ID": "7"}, True),
        ("sqlite:////state/web.db", {"AWX_PRIVATE_DATA_DIR": "/tmp/awx_7", "INVENTORY_UPDATE_ID": "8"}, True),
        ("sqlite:////state/web.db", {"JOB_ID": "7"}, False),  # other programs number their jobs, too
        ("sqlite:////state/web.db", {}, False),
        ("postgresql://ops@db/fleet", {"AWX_HOST": "https://awx.example.org", "JOB_ID": "7"}, False),
    ],
)
def test_a_job_of_awx_keeps_no_ledger_in_a_file(url: str, env: dict[str, str], refused: bool) -> None:
    if not refused:
        refuse_file_in_awx(parse_url(url), env=env)
        return
    with pytest.raises(
        InvalidInput, match=r"ends with the container of this AWX job; set fleet_ledger to a PostgreSQL"
    ):
        refuse_file_in_awx(parse_url(url), env=env)
