# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any domain's XML, ours or foreign, read into a Guest.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from .errors import InvalidRecord
from .model import Guest, Record
from .namespace import record_text
from .tuning import Tuning

#: Where a file can lie -> the pool's name: a pool's target path, or ``rbd:<name of the Ceph pool>``.
Locations = t.Mapping[str, str]


def guest_of(
    xml: str,
    *,
    state: str,
    persistent: bool,
    autostart: bool,
    managed_save: bool,
    locations: Locations,
    migrated: bool = False,
    live: t.Callable[[], str | None] = lambda: None,
    arriving: bool = False,
) -> Guest:
    """The guest that a domain's XML describes; a record that can't be used is a fact of it, never an error.

    ``xml`` is that of the persistent configuration where there is one; ``state`` is as in Guest.state, but that
    ``managed_save`` makes a guest that is off a suspended one. ``live`` fetches the XML of a running guest, None for
    one that doesn't run: it is asked only for those that are tuned to their host.
    """
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it, and it refuses DTDs itself
    domain_id = root.findtext("uuid", "")
    record, record_error, damaged = _record(root, domain_id)
    tuning, lives = _tunings(root, record, live)
    return Guest(
        id=domain_id,
        name=root.findtext("name", ""),
        state="suspended" if managed_save and state == "shutoff" else state,
        persistent=persistent,
        autostart=autostart,
        vcpus=_vcpus(root, record),
        memory=_mebibytes(root),
        macs=tuple(mac.get("address", "").lower() for mac in root.iterfind("devices/interface/mac")),
        volumes=tuple(dict.fromkeys(_volumes(root, locations))),
        record=record,
        record_error=record_error,
        migrated=migrated,
        damaged=damaged,
        sources=tuple(place for place in (_held(disk, locations) for disk in root.iterfind("devices/disk")) if place),
        tuning=tuning,
        live=lives,
        arriving=arriving,
    )


def _tunings(
    root: ET.Element, record: Record | None, live: t.Callable[[], str | None]
) -> tuple[Tuning | None, Tuning | None]:
    """Of the configuration, and of the running guest if that differs: pins can be changed in either alone."""
    tuning = Tuning.read(root)
    xml = live() if tuning != Tuning() or (record is not None and record.fit is not None) else None
    lives = tuning if xml is None else Tuning.read(ET.fromstring(xml))  # noqa: S314 - libvirt wrote it
    return tuning if tuning != Tuning() else None, lives if lives != tuning else None


def _record(root: ET.Element, domain_id: str) -> tuple[Record | None, str | None, bool]:
    """The record, or why it can't be used, and whether it is damaged: a copy's is whole, but another's."""
    text = record_text(root)
    if text is None:
        return None, None, False
    try:
        record = Record.loads(text)
    except (InvalidRecord, RecursionError) as exc:
        return None, str(exc), True
    if record.id != domain_id:
        copy = f"it bears the record of server {record.id} ({record.name!r}): a copy (virt-clone?), so it is foreign"
        return None, copy, False
    return record, None, False


def _vcpus(root: ET.Element, record: Record | None) -> int:
    """Those that it has, where we gave it room for more; else those that it may be given, for nobody tells us when."""
    vcpu = root.find("vcpu")
    most = 1 if vcpu is None else int(vcpu.text or "1")
    grows = record is not None and record.room is not None
    return int(vcpu.get("current", most)) if grows and vcpu is not None else most


def _mebibytes(root: ET.Element) -> int:
    """What the guest may take, in MiB; what is less than one counts as one. Libvirt itself always writes KiB."""
    return -(-int(root.findtext("memory", "0")) // 1024)


def _volumes(root: ET.Element, locations: Locations) -> t.Iterator[tuple[str, str]]:
    """Every volume that the domain names, backing files and the goal of a running copy too: none may be deleted."""
    for disk in root.iterfind("devices/disk"):
        for holder in (disk, *disk.iter("backingStore"), *disk.iter("mirror")):
            place = _held(holder, locations)
            if place is not None:
                yield place


def _held(holder: ET.Element, locations: Locations) -> tuple[str, str] | None:
    source = holder.find("source")
    return None if source is None else _place(source, locations)


def _place(source: ET.Element, locations: Locations) -> tuple[str, str] | None:
    """Pool and volume of a disk's source, ("", path) in no pool; None for an empty drive."""
    if source.get("pool"):
        return source.get("pool", ""), source.get("volume", "")
    if source.get("protocol"):
        pool, _slash, volume = source.get("name", "").rpartition("/")
        location = f"{source.get('protocol')}:{pool}"
        return (locations[location], volume) if location in locations else ("", f"{location}/{volume}")
    path = source.get("file") or source.get("dev") or source.get("dir")
    if path is None:
        return None
    folder, _slash, volume = path.rpartition("/")
    return (locations[folder], volume) if folder in locations else ("", path)


__all__ = ["Locations", "guest_of"]
