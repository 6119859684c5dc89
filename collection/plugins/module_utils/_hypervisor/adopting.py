# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains that other tools have made: read for adoption, and given a record while they run.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.adopting import describe
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.guest_xml import guest_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent, domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    found,
    libvirt,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import server_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import locations, pools


def described(conn: Connection, ids: t.Sequence[str]) -> dict[str, dict[str, Json]]:
    """By id, what adopting.describe() says of each domain, with each disk's pool, volume and size, and with the
    addresses that libvirt knows of its interfaces, by MAC."""
    where = locations(pools(conn), conn)
    result = {}
    for server_id in ids:
        domain = found(conn.lookupByUUIDString, server_id)
        if domain is None:
            continue
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        facts = describe(xml)
        places = _places(xml, where)
        for disk in facts["disks"]:
            disk.update(_volume(conn, places.get(disk["target"])))
        facts["addresses"] = _addresses(domain)
        result[server_id] = facts
    return result


def adopt(conn: Connection, record: Record, *, state_dir: str, run_id: str) -> bool:
    """Write the record into the domain of its id; whether that was to be done. The guest notices nothing.

    Conflict where the domain is not what it was when the record was made, or is somebody's server.
    """
    with server_lock(state_dir, record.id, run_id=run_id, step="adopt"):
        domain = found(conn.lookupByUUIDString, record.id)
        if domain is None or domain.name() != record.name:
            raise Conflict(f"there is no domain {record.name!r} with UUID {record.id} any more; plan again")
        there = _record_of(domain)
        if there is not None and there.id == record.id:
            if there == record:
                return False
            raise Conflict(f"domain {record.name!r} is a server of fleet {there.fleet_id} by now; plan again")
        if not domain.isPersistent():
            raise Conflict(f"domain {record.name!r} is transient: it would vanish with its record; plan again")
        domains.write_record(domain, record)
    return True


def _record_of(domain: Domain) -> Record | None:
    """One that can't be read is none: it was asked to be replaced."""
    try:
        return domains.record_of(domain)
    except InvalidRecord:
        return None


def _places(xml: str, where: t.Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Target -> pool and volume of each disk ("" and path in no pool)."""
    found_places = {}
    for disk in ET.fromstring(xml).iterfind("devices/disk"):  # noqa: S314 - libvirt wrote it
        target = disk.find("target")
        alone = ET.Element("domain")
        ET.SubElement(alone, "devices").append(disk)
        text = ET.tostring(alone, encoding="unicode")
        guest = guest_of(text, state="shutoff", persistent=True, autostart=False, managed_save=False, locations=where)
        if target is not None and guest.sources:
            found_places[target.get("dev", "")] = (guest.sources[0][0], guest.sources[0][1])
    return found_places


def _volume(conn: Connection, place: tuple[str, str] | None) -> dict[str, Json]:
    if place is None:
        return {"pool": None, "volume": None, "size": 0}
    pool, name = place
    volume = None
    if pool:
        volume = found(conn.storagePoolLookupByName(pool).storageVolLookupByName, name)
    return {"pool": pool or None, "volume": name, "size": 0 if volume is None else int(volume.info()[1])}


def _addresses(domain: Domain) -> dict[str, list[str]]:
    """MAC -> addresses, from libvirt's leases, else its agent, else the host's ARP table. What isn't known is none."""
    if not domain.isActive():
        return {}
    result: dict[str, list[str]] = {}
    for source in ("LEASE", "AGENT", "ARP"):
        try:
            with agent.limited(domain):
                told = domain.interfaceAddresses(getattr(libvirt, f"VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_{source}"), 0)
        except libvirt.libvirtError:
            continue  # a host without leases, a guest without an agent, a libvirt that doesn't know the source
        for interface in (told or {}).values():
            addresses = [one["addr"] for one in interface.get("addrs") or ()]
            result.setdefault(str(interface.get("hwaddr")).lower(), []).extend(addresses)
    return {mac: list(dict.fromkeys(addresses)) for mac, addresses in result.items()}


__all__ = ["adopt", "described"]
