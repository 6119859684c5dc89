# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rescued server boots from, and what it has beside that."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import HostFacts, Source, domain_xml
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import disks_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Hardware, Image, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.rescue import (
    booted,
    image_in,
    rescue_disks,
    rescue_mark,
)

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
DEBIAN = Image("debian", "qcow2", "sha256:" + "ab" * 32)
RESCUE = Image("rescue", "qcow2", "sha256:" + "cd" * 32)


def record() -> Record:
    flavor = Flavor("m", 1, 512, 1, ephemeral=1)
    disks = disks_of(ID, flavor, DEBIAN, "local", Hardware(), config_drive=True, image_size=None)
    return Record(ID, "web1", "fleet", 1, {}, flavor, DEBIAN, disks, (), Hardware())


def places(properties: dict[str, str], *, overlay: bool = True) -> list[tuple[str, str, str, str]]:
    image = dataclasses.replace(RESCUE, properties=properties)
    disks = rescue_disks(record(), image, overlay=overlay)
    return [(disk.role, disk.target, disk.bus, disk.device) for disk in disks]


OWN = [
    ("root", "vda", "virtio", "disk"),
    ("ephemeral0", "vdb", "virtio", "disk"),
    ("config", "sda", "scsi", "cdrom"),
]


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (
            {},
            [
                ("rescue", "vda", "virtio", "disk"),
                ("root", "vdb", "virtio", "disk"),
                ("config", "sda", "scsi", "cdrom"),
            ],
        ),
        (
            {"hw_disk_bus": "scsi"},
            [("rescue", "sda", "scsi", "disk"), ("root", "sdb", "scsi", "disk"), ("config", "sdc", "scsi", "cdrom")],
        ),
        ({"hw_rescue_bus": "virtio"}, [*OWN, ("rescue", "vdc", "virtio", "disk")]),
        ({"hw_rescue_device": "cdrom"}, [*OWN, ("rescue", "sdb", "scsi", "cdrom")]),
        ({"hw_rescue_device": "cdrom", "hw_rescue_bus": "ide"}, [*OWN, ("rescue", "hda", "ide", "cdrom")]),
        ({"hw_rescue_device": "floppy"}, [*OWN, ("rescue", "fda", "fdc", "floppy")]),
    ],
)
def test_where_the_rescue_disk_is(properties: dict[str, str], expected: list[tuple[str, str, str, str]]) -> None:
    assert places(properties) == expected


@pytest.mark.parametrize(
    "properties", [{"hw_rescue_device": "tape"}, {"hw_rescue_bus": "nvme"}, {"hw_rescue_bus": "fdc"}]
)
def test_what_cannot_be_booted_from_is_refused(properties: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="image 'rescue': property hw_rescue_"):
        places(properties)


def test_a_pool_that_cannot_stack_gives_raw_disks() -> None:
    rescue = rescue_disks(record(), RESCUE, overlay=False)[0]
    assert (rescue.format, rescue.backing, rescue.volume) == ("raw", None, f"{ID}-rescue")


def marked(properties: dict[str, str]) -> Record:
    image = dataclasses.replace(RESCUE, properties=properties)
    disks = [disk.to_json() for disk in rescue_disks(record(), image, overlay=True)]
    return dataclasses.replace(record(), marks={"rescue": {**rescue_mark(image, "running"), "disks": disks}})


@pytest.mark.parametrize("properties", [{}, {"hw_rescue_bus": "virtio"}])
def test_the_domain_boots_from_it_and_the_record_keeps_its_own_disks(properties: dict[str, str]) -> None:
    rescued = marked(properties)
    assert rescued.disks == record().disks
    assert image_in(rescued).name == "rescue"
    volumes = {(disk.pool, disk.volume): Source(f"/pool/{disk.volume}") for disk in booted(rescued).disks}
    root = ET.fromstring(domain_xml(rescued, HostFacts("qemu", volumes)))
    first = [disk.find("source") for disk in root.findall("devices/disk") if disk.find("boot") is not None]
    assert [source.get("file") for source in first if source is not None] == [f"/pool/{ID}-rescue"]


def test_a_mark_that_says_nothing_is_a_damaged_record() -> None:
    with pytest.raises(InvalidRecord, match="rescued with"):
        booted(dataclasses.replace(record(), marks={"rescue": True}))
