# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import json
from xml.sax.saxutils import escape

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.guest_xml import guest_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.namespace import ELEMENT, PREFIX, URI
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import Room
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"
OTHER = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a02"
LOCATIONS = {"/pools/local": "local", "/dev/vg0": "lvm", "rbd:servers": "ceph"}

RECORD = Record(
    id=ID,
    name="web1",
    fleet_id="f",
    generation=3,
    spec={"metadata": {"note": "</flotilla:server> ]]> & ü 🐧 \u0001"}},
    flavor=Flavor("m1.small", 2, 512, 1),
    image=Image("debian", "qcow2", "sha256:" + "ab" * 32),
    disks=(Disk("root", "local", f"{ID}-root", "qcow2", GIB, "vda", "virtio"),),
    nics=(),
    hardware=Hardware(),
)


def domain(
    devices: str = "", *, metadata: str | None = None, memory: int = 524288, vcpu: str = "<vcpu>2</vcpu>"
) -> str:
    record = ""
    if metadata is not None:
        text = escape(metadata)
        record = f"<metadata><{PREFIX}:{ELEMENT} xmlns:{PREFIX}='{URI}'>{text}</{PREFIX}:{ELEMENT}></metadata>"
    return (
        f"<domain type='kvm'><name>web1</name><uuid>{ID}</uuid>{record}<memory unit='KiB'>{memory}</memory>"
        f"<currentMemory unit='KiB'>1024</currentMemory>{vcpu}<devices>{devices}</devices></domain>"
    )


def read(xml: str, *, state: str = "shutoff", managed_save: bool = False) -> Guest:
    return guest_of(xml, state=state, persistent=True, autostart=False, managed_save=managed_save, locations=LOCATIONS)


def test_a_foreign_domain_is_a_guest_without_a_record() -> None:
    guest = read(domain("<interface type='bridge'><mac address='52:54:00:AA:bb:01'/></interface>"))
    assert (guest.id, guest.name, guest.vcpus, guest.memory) == (ID, "web1", 2, 512)
    assert guest.macs == ("52:54:00:aa:bb:01",)
    assert (guest.record, guest.record_error, guest.damaged) == (None, None, False)


def test_a_record_comes_back_as_it_was_written() -> None:
    guest = read(domain(metadata=RECORD.dumps()))
    assert guest.record == RECORD
    assert guest.record_error is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "recursion"),
        ("[]", "should be a mapping"),
        ('{"version": 99, "name": "web1"}', "has version 99; this Flotilla reads version 1"),
        ('{"version": 1, "surprise": 1}', "keys this Flotilla doesn't know: surprise"),
        ('{"version": 1, "id": "x"}', "can't be read"),
    ],
)
def test_a_record_that_cannot_be_read_is_said(text: str, why: str) -> None:
    guest = read(domain(metadata=text))
    assert guest.record is None
    assert guest.record_error is not None
    assert why in guest.record_error
    assert guest.damaged


def test_a_copied_domain_is_foreign() -> None:
    """virt-clone copies metadata as it is, under a new UUID."""
    guest = read(domain(metadata=RECORD.dumps()).replace(f"<uuid>{ID}", f"<uuid>{OTHER}"))
    assert guest.record is None
    assert guest.record_error == (
        f"it bears the record of server {ID} ('web1'): a copy (virt-clone?), so it is foreign"
    )
    assert not guest.damaged


@pytest.mark.parametrize(
    ("state", "managed_save", "expected"),
    [
        ("running", False, "running"),
        ("shutoff", False, "shutoff"),
        ("shutoff", True, "suspended"),
        ("running", True, "running"),
        ("crashed", True, "crashed"),
    ],
)
def test_a_managed_save_makes_a_guest_that_is_off_a_suspended_one(
    state: str, managed_save: bool, expected: str
) -> None:
    assert read(domain(), state=state, managed_save=managed_save).state == expected


@pytest.mark.parametrize(("memory", "expected"), [(1024, 1), (1025, 2), (1, 1), (0, 0), (524288, 512)])
def test_memory_is_what_the_guest_may_take(memory: int, expected: int) -> None:
    assert read(domain(memory=memory)).memory == expected


def test_vcpus_are_the_most_that_can_be_plugged_in() -> None:
    assert read(domain(vcpu="<vcpu current='1'>8</vcpu>")).vcpus == 8
    assert read(domain(vcpu="")).vcpus == 1


@pytest.mark.parametrize(
    ("devices", "volumes"),
    [
        ("<disk type='file'><source file='/pools/local/a'/></disk>", (("local", "a"),)),
        ("<disk type='file'><source file='/pools/local/sub/a'/></disk>", (("", "/pools/local/sub/a"),)),
        ("<disk type='file'><source file='/elsewhere/a'/></disk>", (("", "/elsewhere/a"),)),
        ("<disk type='block'><source dev='/dev/vg0/a'/></disk>", (("lvm", "a"),)),
        ("<disk type='volume'><source pool='local' volume='a'/></disk>", (("local", "a"),)),
        ("<disk type='network'><source protocol='rbd' name='servers/a'/></disk>", (("ceph", "a"),)),
        ("<disk type='network'><source protocol='nbd' name='x/a'/></disk>", (("", "nbd:x/a"),)),
        ("<disk type='file' device='cdrom'><target dev='sda'/></disk>", ()),
        (
            "<disk type='file'><source file='/pools/local/a'/><backingStore type='file'><source file='/pools/local/b'/>"
            "<backingStore type='file'><source file='/c'/></backingStore></backingStore></disk>",
            (("local", "a"), ("local", "b"), ("", "/c")),
        ),
        (
            "<disk type='file'><source file='/pools/local/a'/><mirror type='file'><source file='/pools/local/m'/>"
            "</mirror></disk>",
            (("local", "a"), ("local", "m")),
        ),
        (
            "<disk type='file'><source file='/pools/local/a'/></disk>"
            "<disk type='volume'><source pool='local' volume='a'/></disk>",
            (("local", "a"),),
        ),
    ],
)
def test_every_volume_that_a_domain_names_is_found(devices: str, volumes: tuple[tuple[str, str], ...]) -> None:
    assert read(domain(devices)).volumes == volumes


def test_a_disk_is_what_the_guest_writes_to() -> None:
    """Libvirt names the files under a snapshot in the inactive XML, too."""
    snapshot = (
        "<disk type='file'><source file='/pools/local/a.s1'/><backingStore type='file'>"
        "<source file='/pools/local/a'/></backingStore></disk><disk type='file' device='cdrom'/>"
    )
    guest = read(domain(snapshot))
    assert guest.sources == (("local", "a.s1"),)
    assert guest.volumes == (("local", "a.s1"), ("local", "a"))


# -- what a guest has of its host


PIN = "<cputune><vcpupin vcpu='0' cpuset='{}'/></cputune>"


def tuned(config: str, live: str | None, record: Record | None = None) -> tuple[Tuning | None, Tuning | None, int]:
    """The tunings read, and how often the running XML was asked for."""
    asked = []

    def running() -> str | None:
        asked.append(live)
        return None if live is None else domain().replace("<devices>", f"{live}<devices>")

    xml = domain(metadata=record.dumps() if record else None).replace("<devices>", f"{config}<devices>")
    guest = guest_of(
        xml, state="running", persistent=True, autostart=False, managed_save=False, locations=LOCATIONS, live=running
    )
    travelled = Guest.from_json(json.loads(json.dumps(guest.to_json())))
    assert (travelled.tuning, travelled.live) == (guest.tuning, guest.live)
    return guest.tuning, guest.live, len(asked)


def test_an_ordinary_guest_is_read_once() -> None:
    assert tuned("", PIN.format(1)) == (None, None, 0)
    assert tuned("", PIN.format(1), RECORD) == (None, None, 0)


def test_pins_of_the_running_guest_are_told_where_they_are_others() -> None:
    one, other = Tuning(pins={0: (1,)}), Tuning(pins={0: (0,)})
    assert tuned(PIN.format(1), PIN.format(1)) == (one, None, 1)
    assert tuned(PIN.format(1), PIN.format(0)) == (one, other, 1)
    assert tuned(PIN.format(1), None) == (one, None, 1)
    pinned = dataclasses.replace(RECORD, fit=Fit((FitCell(0, 0, (0,), 512, pinning={0: 1}),)))
    assert tuned("", PIN.format(0), pinned) == (None, other, 1)


def test_a_server_with_room_has_the_vcpus_that_it_has_and_any_other_guest_all_that_it_may_get() -> None:
    vcpu = "<vcpu current='2'>8</vcpu>"
    grows = dataclasses.replace(RECORD, room=Room(8, 4096))
    assert read(domain(vcpu=vcpu, metadata=grows.dumps())).vcpus == 2
    assert read(domain(metadata=grows.dumps())).vcpus == 2  # as many as it can have: libvirt leaves out current
    assert read(domain(vcpu=vcpu, metadata=RECORD.dumps())).vcpus == 8
    assert read(domain(vcpu=vcpu)).vcpus == 8
