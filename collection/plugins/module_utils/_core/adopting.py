# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a domain that other tools have made says of itself, as far as a record needs it.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import hashlib
import typing as t
import xml.etree.ElementTree as ET

from .serial import Json

#: The checksum of the image that a guest of no image of the fleet's gets: no bytes, so that nothing is made of it.
NO_BYTES: t.Final = "sha256:" + hashlib.sha256(b"").hexdigest()
#: Devices that a record describes, or that every domain has and any definition brings along.
_DESCRIBED = frozenset(
    "audio channel console controller disk emulator graphics input interface memballoon rng serial video watchdog "
    "panic tpm".split()
)


def describe(xml: str) -> dict[str, Json]:
    """A domain's persistent XML as plain data.

    ``disks`` are those of device type disk, in boot order: ``target``, ``bus``, ``format``, ``readonly``. ``nics``:
    ``kind`` (bridge, network, or libvirt's own word for what no network of a fleet can be), ``source``, ``mac``,
    ``model``, ``mtu``. ``unrecorded`` names what a record has no place for: it is lost when the domain is defined anew.
    """
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it, and it refuses DTDs itself
    machine = root.find("os/type")
    disks = [_disk(disk) for disk in root.iterfind("devices/disk") if disk.get("device", "disk") == "disk"]
    video = root.find("devices/video/model")
    return {
        "arch": "x86_64" if machine is None else machine.get("arch", "x86_64"),
        "machine": None if machine is None else machine.get("machine"),
        "firmware": "uefi" if _is_uefi(root) else "bios",
        "video_model": "none" if video is None else video.get("type", "none"),
        "guest_agent": any(
            target.get("name") == "org.qemu.guest_agent.0" for target in root.iterfind("devices/channel/target")
        ),
        "disks": sorted(disks, key=lambda disk: disk["boot"] or 1_000_000),
        "nics": [_nic(nic) for nic in root.iterfind("devices/interface")],
        "unrecorded": sorted(_unrecorded(root)),
    }


def _is_uefi(root: ET.Element) -> bool:
    os = root.find("os")
    loader = root.find("os/loader")
    return (os is not None and os.get("firmware") == "efi") or (loader is not None and loader.get("type") == "pflash")


def _disk(disk: ET.Element) -> dict[str, Json]:
    target, driver, boot = disk.find("target"), disk.find("driver"), disk.find("boot")
    return {
        "target": "" if target is None else target.get("dev", ""),
        "bus": "" if target is None else target.get("bus", ""),
        "format": "raw" if driver is None else driver.get("type", "raw"),
        "boot": 0 if boot is None else int(boot.get("order", "0")),
        "readonly": disk.find("readonly") is not None,
    }


def _nic(nic: ET.Element) -> dict[str, Json]:
    kind, source, mac, model, mtu = nic.get("type", ""), *(nic.find(tag) for tag in ("source", "mac", "model", "mtu"))
    named = {"bridge": "bridge", "network": "network"}.get(kind)
    return {
        "kind": kind,
        "source": None if source is None or named is None else source.get(named),
        "mac": "" if mac is None else mac.get("address", "").lower(),
        "model": "virtio" if model is None else model.get("type", "virtio"),
        "mtu": None if mtu is None else int(mtu.get("size", "0")),
    }


def _unrecorded(root: ET.Element) -> t.Iterator[str]:
    devices = root.find("devices")
    for device in () if devices is None else devices:
        if device.tag not in _DESCRIBED:
            yield device.tag
        elif device.tag == "disk" and device.get("device", "disk") != "disk" and device.find("source") is not None:
            yield f"{device.get('device')} with a medium"
        elif device.tag == "tpm":
            yield "tpm"


__all__ = ["NO_BYTES", "describe"]
