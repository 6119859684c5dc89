# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata of Amazon's EC2 that Nova gives beside its own (nova.api.metadata.base: get_ec2_metadata).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import hostname

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality

__all__ = ["VERSIONS", "ec2_meta_data"]

VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
)

Document = dict[str, t.Any]


def ec2_meta_data(of: Personality, version: str, *, address: str | None = None) -> Document:
    """meta-data of *version*. ``address`` is the one that a request came from, where no port has a fixed one of IPv4.

    The ids are of EC2's form. Nova counts them, we take them from the server's id and its image's checksum.
    """
    record = of.record
    document: Document = {
        "ami-id": f"ami-{record.image.checksum.partition(':')[2][:8]}",
        "ami-launch-index": of.launch_index,
        "ami-manifest-path": "FIXME",  # Nova's word
        "instance-id": f"i-{record.id[:8]}",
        "hostname": hostname(of),
        "local-ipv4": _fixed_ip(record) or address,
        "reservation-id": f"r-{record.id[-8:]}",
        "security-groups": list(record.spec.get("security_groups") or ()),
    }
    if of.keys:
        document["public-keys"] = {
            str(index): {"_name": f"{index}={key.name}", "openssh-key": key.data} for index, key in enumerate(of.keys)
        }
    if _since("2007-01-19", version):
        document["local-hostname"] = document["public-hostname"] = hostname(of)
        document["public-ipv4"] = ""
    if _since("2007-08-29", version):
        document["instance-type"] = record.flavor.name
    if _since("2007-12-15", version):
        document["block-device-mapping"] = _block_devices(record)
    if _since("2008-02-01", version):
        document["placement"] = {"availability-zone": of.availability_zone}
    if _since("2008-09-01", version):
        document["instance-action"] = "none"
    return document


def _since(first: str, version: str) -> bool:
    return VERSIONS.index(version) >= VERSIONS.index(first)


def _fixed_ip(record: Record) -> str | None:
    addresses = (address.address for nic in record.nics for address in nic.addresses)
    return next((address for address in addresses if ipaddress.ip_address(address).version == 4), None)


def _block_devices(record: Record) -> dict[str, str]:
    """Role -> device: as the guest would see it if its kernel counts as Nova does."""
    names = {disk.role: f"/dev/{disk.target}" for disk in record.disks}
    root = names.get("root")
    if root is None:
        return {"ami": "sda1", "root": "/dev/sda1", "ephemeral0": "sda2", "swap": "sda3"}  # Nova's _DEFAULT_MAPPINGS
    found = {"ami": root.removeprefix("/dev/"), "root": root}
    found.update({role: name for role, name in names.items() if role.startswith("ephemeral") or role == "swap"})
    volumes = sorted(name for role, name in names.items() if role.startswith("volume"))
    return {**found, **{f"ebs{index}": name for index, name in enumerate(volumes)}}
