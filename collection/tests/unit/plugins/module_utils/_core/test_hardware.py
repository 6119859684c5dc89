# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hardware an image asks for, and which disks a flavor gives."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import disks_of, hardware_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    MIB,
    Disk,
    Flavor,
    Hardware,
    Image,
)

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
SHA = "ab" * 32


def image(properties: t.Mapping[str, str], min_disk: int = 0) -> Image:
    return Image("debian", "qcow2", f"sha256:{SHA}", min_disk=min_disk, properties=properties)


def disks(
    flavor: Flavor, properties: t.Mapping[str, str] | None = None, *, min_disk: int = 0, **options: t.Any
) -> tuple[Disk, ...]:
    one = image(properties or {}, min_disk)
    options = {"config_drive": False, "image_size": GIB, **options}
    return disks_of(ID, flavor, one, "local", hardware_of(one), **options)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Hardware()),
        ({"hw_disk_bus": "scsi"}, Hardware(disk_bus="scsi", cdrom_bus="scsi")),
        ({"hw_disk_bus": "ide"}, Hardware(disk_bus="ide", cdrom_bus="ide")),
        ({"hw_disk_bus": "sata", "hw_machine_type": "q35"}, Hardware(machine="q35", disk_bus="sata", cdrom_bus="sata")),
        ({"os_type": "windows"}, Hardware(cdrom_bus="ide")),
        ({"os_type": "windows", "hw_machine_type": "pc-q35-7.2"}, Hardware(machine="pc-q35-7.2", cdrom_bus="sata")),
        ({"hw_cdrom_bus": "usb"}, Hardware(cdrom_bus="usb")),
        ({"hw_vif_model": "e1000", "hw_video_model": "vga"}, Hardware(vif_model="e1000", video_model="vga")),
        ({"hw_firmware_type": "uefi"}, Hardware(firmware="uefi")),
        ({"hw_qemu_guest_agent": "no"}, Hardware(guest_agent=False)),
        ({"hw_qemu_guest_agent": "True"}, Hardware(guest_agent=True)),
    ],
)
def test_hardware(properties: dict[str, str], expected: Hardware) -> None:
    assert hardware_of(image(properties)) == expected


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"hw_disk_bus": "floppy"}, "property hw_disk_bus is 'floppy'; it can be ide, sata, scsi, usb, virtio"),
        ({"hw_cdrom_bus": "virtio"}, "hw_cdrom_bus is 'virtio'"),
        ({"hw_machine_type": "pc,accel=kvm"}, "hw_machine_type is 'pc,accel=kvm'"),
        ({"hw_architecture": "riscv64"}, "hw_architecture is 'riscv64'"),
        ({"hw_qemu_guest_agent": "perhaps"}, "hw_qemu_guest_agent is 'perhaps'"),
    ],
)
def test_hardware_that_is_refused(properties: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match="image 'debian': ") as caught:
        hardware_of(image(properties))
    assert said in str(caught.value)


def brief(found: tuple[Disk, ...]) -> list[tuple[str, str, str, int]]:
    return [(disk.role, disk.target, disk.format, disk.size) for disk in found]


def test_disks_in_novas_order() -> None:
    found = disks(Flavor("m", 1, 512, 10, ephemeral=5, swap=64), config_drive=True)
    assert brief(found) == [
        ("root", "vda", "qcow2", 10 * GIB),
        ("ephemeral0", "vdb", "qcow2", 5 * GIB),
        ("swap", "vdc", "raw", 64 * MIB),
        ("config", "sda", "raw", 0),
    ]
    assert [disk.volume for disk in found] == [f"{ID}-{role}" for role in ("root", "ephemeral0", "swap", "config")]
    assert [disk.device for disk in found] == ["disk", "disk", "disk", "cdrom"]
    assert found[0].backing == f"image-{SHA}"


def test_a_config_drive_of_vfat_is_a_disk() -> None:
    found = disks(Flavor("m", 1, 512, 10), {"hw_cdrom_bus": "ide"}, config_drive=True, drive_format="vfat")
    assert [(disk.role, disk.device, disk.bus, disk.target) for disk in found] == [
        ("root", "disk", "virtio", "vda"),
        ("config", "disk", "virtio", "vdb"),
    ]


@pytest.mark.parametrize(
    ("properties", "targets"),
    [
        ({}, ["vda", "vdb", "sda"]),
        ({"hw_disk_bus": "scsi"}, ["sda", "sdb", "sdc"]),
        ({"hw_disk_bus": "ide"}, ["hda", "hdb", "hdc"]),
        ({"hw_disk_bus": "sata", "hw_cdrom_bus": "scsi"}, ["sda", "sdb", "sdc"]),
        ({"hw_disk_bus": "virtio", "hw_cdrom_bus": "ide"}, ["vda", "vdb", "hda"]),
    ],
)
def test_device_names_follow_the_bus(properties: dict[str, str], targets: list[str]) -> None:
    found = disks(Flavor("m", 1, 512, 10, ephemeral=5), properties, config_drive=True)
    assert [disk.target for disk in found] == targets


def test_a_pool_that_cannot_stack_has_raw_disks() -> None:
    found = disks(Flavor("m", 1, 512, 10, ephemeral=5), overlay=False)
    assert [(disk.format, disk.backing) for disk in found] == [("raw", None), ("raw", None)]


@pytest.mark.parametrize(("image_size", "size"), [(3 * GIB, 3 * GIB), (None, 0)])
def test_a_flavor_with_no_disk_takes_the_images_size(image_size: int | None, size: int) -> None:
    assert disks(Flavor("m", 1, 512, 0), image_size=image_size)[0].size == size


@pytest.mark.parametrize(("min_disk", "image_size"), [(0, 2 * GIB), (2, None), (2, GIB)])
def test_a_flavor_too_small_for_the_image(min_disk: int, image_size: int | None) -> None:
    with pytest.raises(
        InvalidInput, match=r"^Flavor's disk is too small for requested image\. .*image 'debian' needs 2 GiB$"
    ):
        disks(Flavor("small", 1, 512, 1), min_disk=min_disk, image_size=image_size)
