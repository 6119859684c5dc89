# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host with an image, on which steps are carried out: what tests of steps on real hosts stand on."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import subprocess
import time
import typing as t
import uuid
from pathlib import Path

import pytest
from tests.support.lab_names import lab_name

from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import disks_of, hardware_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Flavor,
    Image,
    Nic,
    Record,
    mac_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import config_drive
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality, devices_of

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LAB_NAME = lab_name("guests")
CACHE = Path("/var/lib/flotilla-lab/cache")
CODE = Path("/var/lib/flotilla-lab") / LAB_NAME / "code"
STATE = "/var/lib/flotilla"
FLEET = "2f1b3c4d-0000-4000-8000-00000000f1ee"
HOST_ID = "2f1b3c4d-0000-4000-8000-000000000001"
POOL_ID = "2f1b3c4d-0000-4000-8000-00000000b001"

SMALL = Flavor("tiny", 1, 128, 1, ephemeral=1, swap=64)
Json = t.Any


def lab(*arguments: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "tests/lab/lab"), *arguments],
        env={**os.environ, "FLOTILLA_LAB": LAB_NAME},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def virsh(*arguments: str) -> str:
    return lab("exec", "kvm1", "virsh", *arguments)


class HostUnderTest:
    """A host of the lab, kvm1 as a rule: asked and worked on by `run_guests.py`, as a module would be."""

    def __init__(self, image: Image, name: str = "kvm1") -> None:
        self.image = image
        self.name = name
        self.kept = {image.volume, f"{image.volume}.ok", f"flotilla-pool-{POOL_ID}"}

    def ask(self, action: str, *, killed: bool = False, **request: Json) -> dict[str, Json]:
        code = f"exec env PYTHONPATH={CODE} /usr/bin/python3 {CODE}/run_guests.py"
        text = json.dumps({"action": action, "state_dir": STATE, "fleet_id": FLEET, **request})
        out = lab("exec", self.name, "sh", "-c", code, stdin=text, check=not killed)
        return t.cast("dict[str, Json]", json.loads(out)) if out else {"killed": True}

    def run(
        self, *steps: Json, record: Record | None = None, user_data: str | None = None, **request: Json
    ) -> list[dict[str, Json]]:
        answer = self.ask("steps", steps=steps, drives=drives(record, user_data), **request)
        return t.cast("list[dict[str, Json]]", answer["results"])

    def look(self) -> dict[str, Json]:
        return self.ask("look")

    def volumes_of(self, server_id: str, pool: str = "local") -> set[str]:
        return {name[len(server_id) + 1 :] for name in self.look()["volumes"][pool] if name.startswith(server_id)}

    def new(self, name: str, *, flavor: Flavor = SMALL, pool: str = "local", overlay: bool = True) -> Record:
        server_id = str(uuid.uuid4())
        hardware = hardware_of(self.image)
        options: dict[str, t.Any] = {"config_drive": True, "image_size": None, "overlay": overlay}
        disks = disks_of(server_id, flavor, self.image, pool, hardware, **options)
        nic = Nic("lan", "bridge", "br0", mac_of(server_id, 0), addresses=(Address("10.214.9.21", 24),))
        return Record(server_id, name, FLEET, 1, {}, flavor, self.image, disks, (nic,), hardware)

    def console(self, record: Record, pattern: str, *, within: float = 120) -> re.Match[str]:
        """Wait until the guest has said something on its serial console."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = re.search(pattern, console_of(record.id, self.name))
            if found:
                return found
            time.sleep(0.05)
        said = console_of(record.id, self.name)[-2000:]
        raise AssertionError(f"{pattern!r} is not on the console: {said}\nThe guest: {self._at_work(record)}")

    def _at_work(self, record: Record) -> str:
        """What a guest that doesn't get on is at: its state, its processors' time and where they are."""
        registers = ("qemu-monitor-command", record.id, "--hmp", "info registers -a")
        asked = (("domstats", "--state", "--vcpu", "--block", record.id), registers, registers)
        return "\n".join(lab("exec", self.name, "virsh", *words, check=False) for words in asked)


def console_of(server_id: str, host: str = "kvm1") -> str:
    """What a guest has written on its serial console on that host since its last start."""
    folder = Path("/var/lib/flotilla-lab") / LAB_NAME / "hosts" / host / "tree"
    file = folder / f"var/log/libvirt/qemu/{server_id}.console.log"
    return file.read_text(errors="replace").replace("\r\n", "\n") if file.exists() else ""


def drives(record: Record | None, user_data: str | None = None) -> dict[str, str]:
    if record is None:
        return {}
    data = None if user_data is None else user_data.encode()
    devices = devices_of(record)
    drive = config_drive(Personality(record=record, secret=b"a test's own secret", user_data=data, devices=devices))
    return {record.id: base64.b64encode(drive).decode("ascii")}


def step(kind: str, record: Record, expects: int | None, *, to: Record | None = None, **more: Json) -> dict[str, Json]:
    target = None if to is None else to.to_json()
    return {
        "kind": kind,
        "server_id": record.id,
        "name": record.name,
        "expects": expects,
        "record": target,
        "timeout": 20,
        **more,
    }


#: What these calls of libvirt begin with only reads: a process that dies after one leaves what the last change left.
_READS = ("list", "lookup", "get", "is", "has", "num", "info", "state", "name", "UUID", "ID", "XML", "path", "metadata")


def moments(calls: t.Sequence[str], seed: int) -> list[int]:
    """After how many calls to kill: after each that changes something, and after one in twenty of the others."""
    chance = random.Random(seed)
    reads = [call.partition(".")[2].startswith(_READS) for call in calls]
    return [number for number, read in enumerate(reads, start=1) if not read or chance.random() < 0.05]


def create(record: Record) -> dict[str, Json]:
    return step("create", record, None, to=record)


@pytest.fixture(scope="module")
def host() -> Iterator[HostUnderTest]:
    lab("down", check=False)
    lab("up", "--hosts", "2")
    # The checkout may lie in a folder that hosts have of their own (/root, /tmp): they get a copy of the code.
    target = CODE / "ansible_collections/flotilla/compute/plugins/module_utils"
    shutil.copytree(ROOT / "collection/plugins/module_utils", target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/host/run_guests.py", CODE)
    enroll("kvm1", HOST_ID)
    for pool in ("local", "shared"):
        virsh("vol-create-as", pool, f"flotilla-pool-{POOL_ID}", "0")
    file = (CACHE / "tick.qcow2").resolve()  # a lab of another checkout may change the link meanwhile
    checksum = file.with_suffix(".sha256").read_text().split()[0]
    image = Image("tick", "qcow2", f"sha256:{checksum.removeprefix('sha256:')}")
    tested = HostUnderTest(image)
    for pool in ("local", "shared"):
        tested.ask("image", pool=pool, image=image.to_json(), path=str(file))
    yield tested
    lab("down")


@pytest.fixture(autouse=True)
def nothing_stays(host: HostUnderTest) -> Iterator[None]:
    """A test leaves no domain and no volume behind: deletion is under test in all of them."""
    yield
    seen = host.look()
    for server in seen["servers"]:
        generation = server["record"]["generation"]
        gone = Record.from_json(server["record"])
        result = host.run(step("delete", gone, generation))
        assert not result[-1].get("failed"), result
    seen = host.look()
    assert seen["domains"] == {}
    assert {pool: set(volumes) - host.kept for pool, volumes in seen["volumes"].items()} == {
        "local": set(),
        "shared": set(),
    }


def enroll(name: str, host_id: str) -> None:
    marker = json.dumps({"host_id": host_id, "fleet_id": FLEET, "ledger_id": "test", "service": {}})
    lab("exec", name, "sh", "-c", f"mkdir -p {STATE} && cat >{STATE}/host.json", stdin=marker)


def ok_results(results: list[dict[str, Json]]) -> list[dict[str, Json]]:
    ok(results)
    return results


def ok(results: list[dict[str, Json]]) -> list[tuple[str, bool, str | None]]:
    assert not [result for result in results if result.get("failed")], results
    return [(result["kind"], result["changed"], result["state"]) for result in results]


def sentence(results: list[dict[str, Json]]) -> str:
    assert results[-1]["failed"], results
    return str(results[-1]["message"])
