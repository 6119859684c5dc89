# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Address,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
    mac_of,
)

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"
RECORD = Record(
    id=ID,
    name="web1",
    fleet_id="f",
    generation=3,
    spec={},
    flavor=Flavor("m1.small", 2, 512, 1),
    image=Image("debian", "qcow2", "sha256:" + "ab" * 32),
    disks=(Disk("root", "local", f"{ID}-root", "qcow2", GIB, "vda", "virtio"),),
    nics=(),
    hardware=Hardware(),
)


def test_a_mac_is_a_guests_own() -> None:
    macs = {mac_of(f"{number:08x}", index) for number in range(500) for index in range(4)}
    assert len(macs) == 2000
    assert mac_of(ID, 0) == mac_of(ID, 0) == "52:54:6a:c0:7b:2a"
    first = {int(mac[:2], 16) for mac in macs}
    assert {(byte & 1, byte & 2) for byte in first} == {(0, 2)}  # unicast, locally administered
    assert len({mac[6:8] for mac in macs}) == 256


def test_a_record_that_is_whole_is_read() -> None:
    marked = json.loads(RECORD.dumps())
    marked["marks"] = {"soft_delete": {"at": 1700000000.5}, "anything": {"else": None}}
    assert Record.from_json(marked).marks == marked["marks"]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("marks", "soft_delete"), {}, "doesn't say when it was deleted softly: {}"),
        (("marks", "soft_delete"), None, "doesn't say when"),
        (("marks", "resize"), {"at": 1}, "doesn't say what it was resized from"),
        (("marks", "resize"), "yes", "doesn't say what it was resized from"),
        (("marks", "replaces"), {"host_id": "x"}, "doesn't say what it replaces"),
        (
            ("marks", "replaces"),
            [{"host_id": "x", "generation": "1", "migration": "m"}],
            "doesn't say what it replaces",
        ),
        (("marks", "evacuating"), {"anything": None}, "doesn't say from where it is being evacuated"),
        (("marks", "replaced"), {"at": "soon", "volumes": []}, "doesn't say what it has left"),
        (("marks", "replaced"), {"at": 1, "volumes": [{"pool": "local"}]}, "doesn't say what it has left"),
        (("marks", "soft_delete"), 12, "doesn't say when"),
        (("marks", "soft_delete"), {"at": "now"}, "doesn't say when"),
        (("marks", "soft_delete"), {"at": True}, "doesn't say when"),
        (("marks", "soft_delete"), {"at": float("nan")}, "doesn't say when"),
        (("flavor", "vcpus"), "2", "a size that is no whole number"),
        (("flavor", "ram"), 512.5, "a size that is no whole number"),
        (("flavor", "swap"), None, "a size that is no whole number"),
        (("flavor", "disk"), -1, "a size that is no whole number"),
        (("disks", 0, "size"), "1G", "a size that is no whole number"),
        (("disks", 0, "size"), True, "a size that is no whole number"),
        (("image", "min_ram"), "1", "a size that is no whole number"),
    ],
)
def test_a_record_with_what_no_plan_can_stand_on_is_refused(path: tuple[t.Any, ...], value: t.Any, why: str) -> None:
    """Anybody on the host can write a domain's metadata: one such record must not end a whole fleet's run."""
    damaged = json.loads(RECORD.dumps())
    place = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidRecord, match="the record of server 'web1'") as caught:
        Record.loads(json.dumps(damaged))
    assert why in str(caught.value)


@pytest.mark.parametrize("address", ["-oProxyCommand=id", "kvm1", "", None, 3221225991])
def test_what_is_no_address_stands_in_no_record(address: t.Any) -> None:
    """Programs are told to connect to it: SSH takes what begins so for an option, and runs it."""
    nic = Nic("lan", "bridge", "br0", mac_of(ID, 0), addresses=(Address("192.0.2.7", 24),))
    damaged = json.loads(dataclasses.replace(RECORD, nics=(nic,)).dumps())
    assert Record.from_json(damaged).nics[0].addresses[0].address == "192.0.2.7"
    damaged["nics"][0]["addresses"][0]["address"] = address
    with pytest.raises(InvalidRecord, match="'web1' has an address that is none"):
        Record.from_json(damaged)


def test_a_guests_record_reads_the_same_whole_and_without_what_few_have() -> None:
    nic = Nic("lan", "bridge", "br0", mac_of(ID, 0), addresses=(Address("192.0.2.7", 24),))
    short = json.loads(json.dumps(nic.to_json()))
    whole = json.loads(json.dumps(dataclasses.asdict(nic)))
    assert set(whole) > set(short)
    assert Nic.from_json(whole) == Nic.from_json(short)
