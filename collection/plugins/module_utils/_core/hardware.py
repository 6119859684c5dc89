# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policy: which hardware a new server gets, from its image's properties and its flavor.

Note that this module util is **PRIVATE** to the collection.

What is decided here is frozen into the server's record at first boot, so a later change of these defaults never alters
a guest that is there (Nova does the same, driver._register_all_undefined_instance_details).
"""

from __future__ import annotations

import re
import typing as t

from .errors import InvalidInput
from .model import GIB, MIB, Disk, Flavor, Hardware, Image, volume_of

_YES = ("yes", "true", "1", "on")
_NO = ("no", "false", "0", "off")

#: Image property -> its values that work here. Nova's names and values, less those that libvirt no longer has on x86.
_ALLOWED: dict[str, tuple[str, ...]] = {
    "hw_architecture": ("x86_64",),
    "hw_cdrom_bus": ("ide", "sata", "scsi", "usb"),
    "hw_disk_bus": ("ide", "sata", "scsi", "usb", "virtio"),
    "hw_firmware_type": ("bios", "uefi"),
    "hw_qemu_guest_agent": (*_YES, *_NO),
    "hw_vif_model": ("e1000", "e1000e", "ne2k_pci", "rtl8139", "virtio", "vmxnet3"),
    "hw_video_model": ("bochs", "cirrus", "none", "qxl", "vga", "virtio", "vmvga"),
}
#: The format of a config drive that is a disk, as in Nova; others are CD-ROMs.
DRIVE_ON_DISK = "vfat"
_MACHINE = re.compile(r"[A-Za-z0-9_.+-]{1,64}")

#: Device names per bus: (prefix, how many the bus takes). Nova's block_device names.
TARGETS: dict[str, tuple[str, int]] = {
    "ide": ("hd", 4),
    "sata": ("sd", 26),
    "scsi": ("sd", 26),
    "usb": ("sd", 26),
    "virtio": ("vd", 26),
}


def hardware_of(image: Image) -> Hardware:
    """The hardware for a server of this image; ``machine`` None leaves the host's canonical ``pc``."""
    properties = image.properties
    machine = _machine(image)
    disk_bus = _choice(image, "hw_disk_bus", Hardware.disk_bus)
    return Hardware(
        arch=_choice(image, "hw_architecture", Hardware.arch),
        machine=machine,
        disk_bus=disk_bus,
        cdrom_bus=_choice(image, "hw_cdrom_bus", _cdrom_bus(properties, machine, disk_bus)),
        vif_model=_choice(image, "hw_vif_model", Hardware.vif_model),
        video_model=_choice(image, "hw_video_model", Hardware.video_model),
        firmware=_choice(image, "hw_firmware_type", Hardware.firmware),
        guest_agent=_choice(image, "hw_qemu_guest_agent", "yes") in _YES,
    )


def disks_of(
    server_id: str,
    flavor: Flavor,
    image: Image,
    pool: str,
    hardware: Hardware,
    *,
    config_drive: bool,
    drive_format: str = "iso9660",
    image_size: int | None,
    overlay: bool = True,
) -> tuple[Disk, ...]:
    """A new server's disks in Nova's order: root, ephemeral, swap, config drive (a CD-ROM, or a disk if it is vfat).

    ``image_size`` is the image's virtual size in bytes; None when it isn't known yet. A flavor whose disk is 0 takes
    the image's size; where that isn't known the root's size is 0, and the host that makes the volume fills it in.
    ``overlay`` says whether the pool can stack qcow2 files; where it can't, disks are raw.
    """
    fmt = "qcow2" if overlay else "raw"
    sizes = [("root", _root_size(flavor, image, image_size), fmt, image.volume if overlay else None)]
    if flavor.ephemeral:
        sizes.append(("ephemeral0", flavor.ephemeral * GIB, fmt, None))
    if flavor.swap:
        # Raw: the host writes the swap header into it, and a sparse file of zeros needs no qcow2.
        sizes.append(("swap", flavor.swap * MIB, "raw", None))
    names = _Names()
    disks = [
        Disk(
            role,
            pool,
            volume_of(server_id, role),
            fmt,
            size,
            names.next(hardware.disk_bus),
            hardware.disk_bus,
            backing=backing,
        )
        for role, size, fmt, backing in sizes
    ]
    if config_drive:
        device = "disk" if drive_format == DRIVE_ON_DISK else "cdrom"
        bus = hardware.disk_bus if device == "disk" else hardware.cdrom_bus
        disks.append(
            Disk("config", pool, volume_of(server_id, "config"), "raw", 0, names.next(bus), bus, device=device)
        )
    return tuple(disks)


class _Names:
    """Hands out device names: vda, vdb … per prefix, since scsi, sata and usb share ``sd``."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def next(self, bus: str) -> str:
        prefix, most = TARGETS[bus]
        index = self._used.get(prefix, 0)
        if index >= most:
            raise InvalidInput(
                f"bus {bus!r} takes {most} disks and this server would have more; use hw_disk_bus=virtio"
            )
        self._used[prefix] = index + 1
        return prefix + "abcdefghijklmnopqrstuvwxyz"[index]


def _root_size(flavor: Flavor, image: Image, image_size: int | None) -> int:
    if flavor.disk == 0:
        return image_size or 0
    size = flavor.disk * GIB
    if flavor.disk < image.min_disk or size < (image_size or 0):
        needs = max(image.min_disk * GIB, image_size or 0)
        raise InvalidInput(
            f"Flavor's disk is too small for requested image. Flavor {flavor.name!r} has a disk of {flavor.disk} GiB, "
            f"image {image.name!r} needs {needs / GIB:.3g} GiB"
        )
    return size


def _cdrom_bus(properties: t.Mapping[str, str], machine: str | None, disk_bus: str) -> str:
    """Virtio-scsi is what most images see, cloud kernels too; a guest without virtio's drivers gets its board's own."""
    if properties.get("os_type") != "windows" and disk_bus in ("virtio", "scsi"):
        return Hardware.cdrom_bus
    return "sata" if machine is not None and "q35" in machine else "ide"


def _machine(image: Image) -> str | None:
    machine = image.properties.get("hw_machine_type")
    if machine is None or _MACHINE.fullmatch(machine):
        return machine
    raise InvalidInput(
        f"image {image.name!r}: hw_machine_type is {machine!r}; it should be a machine of QEMU, such as pc or q35"
    )


def _choice(image: Image, name: str, default: str) -> str:
    value = str(image.properties.get(name, default)).lower()
    if value not in _ALLOWED[name]:
        raise InvalidInput(f"image {image.name!r}: property {name} is {value!r}; it can be {', '.join(_ALLOWED[name])}")
    return value


__all__ = ["TARGETS", "disks_of", "hardware_of"]
