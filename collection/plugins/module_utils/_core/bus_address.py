# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where on its bus a guest finds a device, in documents that are written before the device has a place there.

Note that this module util is **PRIVATE** to the collection.

The controller writes what a guest is told (meta_data.json: devices), libvirt gives places when a domain is defined. So
the documents come with a placeholder, which the host exchanges for the address once there is one. It is as long as an
address is: a drive stays what it was but for these bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t
import xml.etree.ElementTree as ET

from .model import Nic, Record

_LENGTH = len("0000:00:00.0")
_UNKNOWN = "none"  # Nova's word where a device has no address


def placeholder(server_id: str, mac: str) -> str:
    """What stands for the address of a server's port, and is in no document by chance."""
    digest = hashlib.sha256(f"{server_id}/{mac.lower()}".encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")[:_LENGTH]


def is_told(nic: Nic) -> bool:
    """Whether a guest is told of the port among its devices (nova's libvirt driver: _build_device_metadata)."""
    return bool(nic.tag or nic.vlan)


def addresses(xml: str) -> dict[str, str]:
    """MAC -> PCI address, as Nova writes it (0000:00:03.0), of the interfaces in a domain's XML."""
    found = {}
    for interface in ET.fromstring(xml).iterfind("devices/interface"):  # noqa: S314 - libvirt wrote it
        mac, place = interface.find("mac"), interface.find("address[@type='pci']")
        if mac is not None and place is not None:
            domain, bus, slot, function = (
                int(place.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")
            )
            found[mac.get("address", "").lower()] = f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
    return found


def located(data: bytes, record: Record, places: t.Mapping[str, str]) -> bytes:
    """*data*, as long as before, with the addresses of the record's ports where *places* (by MAC) has them."""
    for nic in record.nics:
        if is_told(nic):
            known = json.dumps(places.get(nic.mac.lower(), _UNKNOWN)).ljust(_LENGTH + 2)
            marked = json.dumps(placeholder(record.id, nic.mac))
            data = data.replace(marked.encode("ascii"), known.encode("ascii"))
    return data


__all__ = ["addresses", "is_told", "located", "placeholder"]
