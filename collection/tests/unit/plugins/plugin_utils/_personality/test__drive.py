# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality import _fat
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import LABEL, config_drive, iso_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Key, Personality
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import tree

pycdlib = pytest.importorskip("pycdlib.pycdlib")

ID = "5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11"
SECRET = bytes(range(32))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org"


def record(**changes: t.Any) -> Record:
    values: dict[str, t.Any] = {
        "id": ID,
        "name": "Web_1",
        "fleet_id": "fleet",
        "generation": 1,
        "spec": {"metadata": {"role": "w\u00e9b \U0001f600", "quote": "\"'<&"}},
        "flavor": Flavor("m1.small", 1, 512, 10),
        "image": Image("debian-12", "qcow2", "sha256:" + "0" * 64),
        "disks": (),
        "nics": (Nic("lan", "bridge", "br0", "52:54:00:00:00:01", addresses=(Address("192.0.2.10", 24),)),),
        "hardware": Hardware(),
    }
    return Record(**{**values, **changes})


def personality(**changes: t.Any) -> Personality:
    values = {
        "record": record(),
        "secret": SECRET,
        "keys": (Key("ops", KEY),),
        "user_data": b"#!/bin/sh\n\xff",
    }
    return Personality(**{**values, **changes})


def files_of(image: bytes) -> dict[str, bytes]:
    """All files of a disc, as its Rock Ridge and its Joliet tree have them; both must agree."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    trees = []
    for view in ("rr_path", "joliet_path"):
        tree = {}
        for folder, _folders, names in iso.walk(**{view: "/"}):
            for name in names:
                content = io.BytesIO()
                iso.get_file_from_iso_fp(content, **{view: f"{folder.rstrip('/')}/{name}"})
                tree[f"{folder}/{name}".lstrip("/")] = content.getvalue()
        trees.append(tree)
    iso.close()
    assert trees[0] == trees[1]
    return trees[0]


def meta(of: Personality) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(tree(of)["openstack/latest/meta_data.json"]))


def test_a_drive_holds_its_documents_under_novas_names() -> None:
    files = files_of(config_drive(personality()))
    assert files == tree(personality())
    assert {path for path in files if "latest" in path} == {
        "ec2/latest/meta-data.json",
        "ec2/latest/user-data",
        "openstack/latest/meta_data.json",
        "openstack/latest/network_data.json",
        "openstack/latest/user_data",
        "openstack/latest/vendor_data.json",
        "openstack/latest/vendor_data2.json",
    }
    assert files["openstack/latest/user_data"] == b"#!/bin/sh\n\xff"


def test_a_drive_has_the_label_that_guests_look_for() -> None:
    image = config_drive(personality())
    assert image[16 * 2048 + 1 : 16 * 2048 + 6] == b"CD001"
    assert image[16 * 2048 + 40 : 16 * 2048 + 72] == LABEL.encode().ljust(32)
    assert len(image) % 2048 == 0


def test_without_user_data_there_is_no_such_file() -> None:
    assert "openstack/latest/user_data" not in files_of(config_drive(personality(user_data=None)))
    assert files_of(config_drive(personality(user_data=b"")))["openstack/latest/user_data"] == b""


def test_the_same_input_gives_the_same_bytes_on_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    today = config_drive(personality())
    later = time.time() + 400 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert config_drive(personality()) == today


def test_the_same_input_gives_the_same_bytes_in_another_process_and_time_zone() -> None:
    program = (
        "import hashlib, sys;"
        "from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import iso_of;"
        "print(hashlib.sha256(iso_of({'a/b.json': b'x', 'c': b'y'})).hexdigest())"
    )
    found = set()
    for zone, seed in (("UTC", "1"), ("Asia/Kathmandu", "2"), ("America/St_Johns", "3")):
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_the_clock_goes_on_after_a_drive() -> None:
    iso_of({"a": b""})
    modules = [sys.modules[f"pycdlib.{name}"] for name in ("dates", "headervd", "pycdlib")]
    assert all(module.time is time for module in modules)


def test_another_fact_gives_another_drive() -> None:
    drive = config_drive(personality())
    assert config_drive(personality(availability_zone="east")) != drive
    assert config_drive(personality(record=record(name="web2"))) != drive


def test_meta_data_is_novas() -> None:
    assert {key: value for key, value in meta(personality()).items() if key != "random_seed"} == {
        "uuid": ID,
        "name": "Web_1",
        "hostname": "web-1",
        "launch_index": 0,
        "availability_zone": "nova",
        "meta": {"role": "w\u00e9b \U0001f600", "quote": "\"'<&"},
        "public_keys": {"ops": KEY},
        "keys": [{"name": "ops", "type": "ssh", "data": KEY}],
        "devices": [],
        "project_id": None,
        "dedicated_cpus": [],
    }


def test_meta_data_leaves_out_what_is_not_there() -> None:
    bare = meta(personality(record=record(spec={}), keys=()))
    always = "uuid name hostname launch_index availability_zone random_seed devices project_id dedicated_cpus"
    assert set(bare) == set(always.split())
    assert meta(personality(project_id="p1"))["project_id"] == "p1"


def test_a_name_that_leaves_no_hostname_gets_one_of_the_id() -> None:
    assert meta(personality(record=record(name="\u4e2d\u6587")))["hostname"] == f"Server-{ID}"


def test_the_random_seed_is_stable_long_and_another_for_each_server_and_secret() -> None:
    seed = base64.b64decode(meta(personality())["random_seed"])
    assert len(seed) == 512
    assert base64.b64decode(meta(personality(user_data=b"other"))["random_seed"]) == seed
    other = record(id="00000000-0000-4000-8000-000000000000")
    assert base64.b64decode(meta(personality(record=other))["random_seed"]) != seed
    assert base64.b64decode(meta(personality(secret=b"x" * 32))["random_seed"]) != seed
    assert len({seed[at : at + 64] for at in range(0, 512, 64)}) == 8


def test_a_secret_that_could_be_guessed_is_refused_and_none_is_shown() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        personality(secret=b"short")
    assert "000102" not in repr(personality())
    assert str(SECRET) not in repr(personality())
    assert "bin/sh" not in repr(personality())


def test_a_large_user_data_survives() -> None:
    data = os.urandom(65535)
    assert files_of(config_drive(personality(user_data=data)))["openstack/latest/user_data"] == data


def test_a_drive_of_vfat_asks_for_what_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fat, "_PATH", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(FlotillaError, match="has no dosfstools and no mtools: install that, or use server_config_d"):
        config_drive(personality(), "vfat")
