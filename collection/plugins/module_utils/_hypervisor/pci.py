# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PCI devices of a host, as a survey tells them.

Note that this module util is **PRIVATE** to the collection.

All but bridges are told: which of them guests may have is inventory's word (compute_pci_devices).
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import TYPE_PCI, TYPE_PF, TYPE_VF
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    found,
    libvirt,
    supported,
)

#: PCI's base class of bridges: they are part of the host, never of a guest, and half of all that there is.
_BRIDGE = "0x06"

Facts = dict[str, t.Any]


def devices(conn: Connection) -> list[Facts]:
    """address, vendor_id, product_id, class, dev_type, numa_node and parent of each, in the order of addresses."""
    listed = supported(conn.listAllDevices, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV) or ()
    texts = (found(device.XMLDesc, 0) for device in listed)
    told = (_device(ET.fromstring(text)) for text in texts if text is not None)  # noqa: S314 - libvirt wrote it
    return sorted((device for device in told if device is not None), key=lambda device: str(device["address"]))


def _device(root: ET.Element) -> Facts | None:
    pci = root.find("capability[@type='pci']")
    if pci is None or pci.findtext("class", "").startswith(_BRIDGE):
        return None
    parent = pci.find("capability[@type='phys_function']/address")
    node = pci.find("numa")
    return {
        "address": _address({name: pci.findtext(name, "0") for name in _PLACE}),
        "vendor_id": _id(pci.find("vendor")),
        "product_id": _id(pci.find("product")),
        "class": pci.findtext("class"),
        "dev_type": _type(pci, parent),
        "numa_node": None if node is None else int(node.get("node", "0")),
        "parent": None if parent is None else _address(parent.attrib),
    }


_PLACE = ("domain", "bus", "slot", "function")


def _type(pci: ET.Element, parent: ET.Element | None) -> str:
    """A physical function counts as one without virtual ones, too (Nova: virt/libvirt/host.py, _get_device_type)."""
    if parent is not None:
        return TYPE_VF
    return TYPE_PF if pci.find("capability[@type='virt_functions']") is not None else TYPE_PCI


def _id(element: ET.Element | None) -> str:
    """Four hexadecimal digits, as inventory and Nova write them."""
    return f"{int('0' if element is None else element.get('id', '0'), 0):04x}"


def _address(place: t.Mapping[str, str]) -> str:
    domain, bus, slot, function = (int(place.get(name, "0"), 0) for name in _PLACE)
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


__all__ = ["devices"]
