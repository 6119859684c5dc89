# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata service as names and places: who is served, by which port, and what of a server it tells.

Note that this module util is **PRIVATE** to the collection.

A guest is known by the bridge that it is on and by its address, which libvirt's nwfilter ties to its port. Only ports
whose interfaces on the host are called as ``port_device`` says reach the service: nobody but Flotilla calls one so,
and only those that have the filter (``domain_xml``).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import typing as t

if t.TYPE_CHECKING:
    from .model import Nic, Record

#: Where every guest of every cloud looks for it.
ADDRESS = "169.254.169.254"
#: The folder of the trees in the state folder of a host, and the one in which DHCP is told of ports.
FOLDER = "metadata"
DHCP_FOLDER = "metadata-dhcp"
#: libvirt's own filter: the port's MAC, its addresses in IPv4 and ARP, nothing else.
FILTER = "clean-traffic"
#: The step that has a host know a server that is about to come.
BRING = "bring_metadata"
#: The step that has a host forget a server that never came, or has left without a word.
FORGET = "forget_metadata"
#: What of the name of a bridge nginx, nftables and unit files take as it is.
BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")

#: What of a server's spec it is told.
_TOLD = ("key_name", "metadata", "project", "security_groups", "user_data")


class Port(t.NamedTuple):
    """A port that is served: ``kind`` and ``source`` as a Nic has them."""

    kind: str
    source: str
    address: str
    mac: str


def served(nic: Nic) -> list[str]:
    """The addresses by which the service knows the port; none where it isn't served."""
    if not nic.metadata_service:
        return []
    return [one.address for one in nic.addresses if ipaddress.ip_address(one.address).version == 4]


def ports(record: Record) -> list[Port]:
    """All ports and addresses by which the service knows a server."""
    return [Port(nic.kind, nic.source, address, nic.mac) for nic in record.nics for address in served(nic)]


def is_here(record: Record) -> bool:
    """Whether a server whose domain has this record is served where that is: not a copy of before, not deleted."""
    from .resize import counts  # every survey reads this module, for the folder's name

    return "soft_delete" not in record.marks and counts(record) > 0


def port_device(mac: str) -> str:
    """The name of a served port's interface on the host: 15 characters, as many as the kernel takes."""
    return "fmd" + mac.replace(":", "").lower()


def fingerprint(record: Record) -> str:
    """Changes with all that the record itself adds to what the guest is told, and with nothing else."""
    told = {
        "id": record.id,
        "name": record.name,
        "spec": {key: record.spec[key] for key in _TOLD if key in record.spec},
        "flavor": record.flavor.name,
        "image": record.image.checksum,
        "disks": [[disk.role, disk.target] for disk in record.disks],
        "nics": [nic.to_json() for nic in record.nics],
        "fit": None if record.fit is None else record.fit.to_json(),
    }
    text = json.dumps(told, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


__all__ = [
    "ADDRESS",
    "BRIDGE",
    "BRING",
    "DHCP_FOLDER",
    "FILTER",
    "FOLDER",
    "FORGET",
    "Port",
    "fingerprint",
    "is_here",
    "port_device",
    "ports",
    "served",
]
