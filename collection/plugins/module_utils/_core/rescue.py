# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rescue: a server booted from another image, with its own root disk beside it.

Note that this module util is **PRIVATE** to the collection.

A rescued server's record keeps the disks that are its own. Its mark ``rescue`` says what it is booted with until it is
unrescued: {"image": Image, "disks": [Disk], "xml": the domain as it was before, "state": what the guest was in}.

Two ways (nova/virt/libvirt/driver.py, rescue): with an image that has hw_rescue_device or hw_rescue_bus all disks stay
where they are and the rescue disk comes last ("stable device rescue"); else the rescue disk is the first, the root disk
the second, the config drive stays, and there is no other disk.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidInput, InvalidRecord
from .hardware import TARGETS, hardware_of
from .model import Disk, Image, Json, Record, volume_of

MARK = "rescue"
ROLE = "rescue"
_DEVICES = ("cdrom", "disk", "floppy")


def is_rescued(record: Record) -> bool:
    return MARK in record.marks


def rescue_mark(image: Image, state: str) -> dict[str, Json]:
    """The mark as a plan has it. The host adds disks and xml."""
    return {"image": image.to_json(), "state": state}


def image_in(record: Record) -> Image:
    """The image that the server is, or shall be, booted from."""
    return Image.from_json(_mark(record).get("image"))


def booted(record: Record) -> Record:
    """The record with the disks that its domain has: those of the rescue while it is rescued."""
    if not is_rescued(record):
        return record
    return dataclasses.replace(record, disks=tuple(Disk.from_json(disk) for disk in _mark(record).get("disks", ())))


def rescue_disks(record: Record, image: Image, *, overlay: bool) -> tuple[Disk, ...]:
    """The disks to boot with. ``overlay``: whether the pool can stack qcow2 files; where it can't, disks are raw."""
    properties = image.properties
    if "hw_rescue_device" in properties or "hw_rescue_bus" in properties:
        return _stable(record, image, overlay=overlay)
    bus = hardware_of(image).disk_bus
    prefix = TARGETS[bus][0]
    config = [disk for disk in record.disks if disk.role == "config"]
    rescue = _disk(record, image, prefix + "a", bus, "disk", overlay=overlay)
    root = dataclasses.replace(record.root, target=prefix + "b", bus=bus)
    taken = {rescue.target, root.target}
    return (rescue, root, *(_elsewhere(disk, taken) for disk in config))


def _stable(record: Record, image: Image, *, overlay: bool) -> tuple[Disk, ...]:
    device = str(image.properties.get("hw_rescue_device", "disk"))
    if device not in _DEVICES:
        raise InvalidInput(
            f"image {image.name!r}: property hw_rescue_device is {device!r}; it can be {', '.join(_DEVICES)}"
        )
    default = "fdc" if device == "floppy" else record.hardware.cdrom_bus if device == "cdrom" else record.root.bus
    bus = str(image.properties.get("hw_rescue_bus", default))
    if (bus not in TARGETS and bus != "fdc") or (device == "floppy") != (bus == "fdc"):
        raise InvalidInput(
            f"image {image.name!r}: property hw_rescue_bus is {bus!r}; for a {device} it can be "
            f"{'fdc' if device == 'floppy' else ', '.join(sorted(TARGETS))}"
        )
    prefix = "fd" if bus == "fdc" else TARGETS[bus][0]
    rescue = _disk(record, image, prefix, bus, device, overlay=overlay)
    taken = {disk.target for disk in record.disks}
    return (*record.disks, dataclasses.replace(rescue, target=_free(prefix, taken)))


def _disk(record: Record, image: Image, target: str, bus: str, device: str, *, overlay: bool) -> Disk:
    """The rescue disk: as big as the image, whatever the flavor says; it is thrown away."""
    return Disk(
        role=ROLE,
        pool=record.root.pool,
        volume=volume_of(record.id, ROLE),
        format="qcow2" if overlay else "raw",
        size=0,
        target=target,
        bus=bus,
        device=device,
        backing=image.volume if overlay else None,
    )


def _elsewhere(disk: Disk, taken: t.AbstractSet[str]) -> Disk:
    return disk if disk.target not in taken else dataclasses.replace(disk, target=_free(disk.target[:2], taken))


def _free(prefix: str, taken: t.AbstractSet[str]) -> str:
    for letter in "abcdefghijklmnopqrstuvwxyz":
        if prefix + letter not in taken:
            return prefix + letter
    raise InvalidInput(f"the server has no place left for a rescue disk on {prefix}a to {prefix}z")


def _mark(record: Record) -> dict[str, Json]:
    mark = record.marks.get(MARK)
    if not isinstance(mark, dict):
        raise InvalidRecord(f"the record of server {record.name!r} has no mark that says what it is rescued with")
    return mark


__all__ = ["MARK", "ROLE", "booted", "image_in", "is_rescued", "rescue_disks", "rescue_mark"]
