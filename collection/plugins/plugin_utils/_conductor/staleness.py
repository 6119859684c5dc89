# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which copies of a server count after an evacuation, which are stale, and which were never finished.

Note that this plugin util is **PRIVATE** to the collection.

A copy is stale only if the record of another, whole copy that is seen in the very same survey says so: by host id,
generation and migration. Whatever does not fit is told and left alone: a tombstone that could destroy the only copy of
a server can't come about, whoever was killed when.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    Replaced,
    half_built,
    names,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import DESTINATION, SOURCE, move_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

_T = t.TypeVar("_T")
#: A host's name, its id, and a guest of ours on it.
Copy = tuple[str, "str | None", Guest]


@dataclasses.dataclass(frozen=True)
class Stale:
    """A copy that is replaced, by the guest on host ``by``, whose record says so with ``entry``."""

    host: str
    guest: Guest
    entry: Replaced
    by: str
    by_record: Record


@dataclasses.dataclass(frozen=True)
class Sifted:
    """The copies of one server: those that ``count``, the ``stale``, the ``unfinished``, and what contradicts itself
    (then nothing may be touched)."""

    count: tuple[Copy, ...] = ()
    stale: tuple[Stale, ...] = ()
    unfinished: tuple[Copy, ...] = ()
    conflict: str = ""


def sift(copies: t.Sequence[Copy]) -> Sifted:
    """Tell the copies of one server apart."""
    unfinished = tuple(copy for copy in copies if half_built(_record(copy)))
    whole = [copy for copy in copies if copy not in unfinished]
    named = {index: _named(copy, whole) for index, copy in enumerate(whole)}
    count = tuple(copy for index, copy in enumerate(whole) if not named[index])
    if len(whole) < 2:
        return Sifted(count, (), unfinished)
    if not count:
        hosts = " and ".join(host for host, _id, _guest in whole)
        return Sifted(tuple(whole), (), unfinished, f"each of its copies on {hosts} says that it replaces the other")
    stale = []
    for index, (host, _host_id, guest) in enumerate(whole):
        if not named[index]:
            continue
        told = next(((by, entry) for by, entry in named[index] if by in count), None)
        if told is None:
            return Sifted(tuple(whole), (), unfinished, _not_carried_on(whole[index], count))
        by, entry = told
        stale.append(Stale(host, guest, entry, by[0], _record(by)))
    mismatch = next((text for copy in count for by in count if (text := _mismatch(by, copy))), "")
    if mismatch:
        return Sifted(tuple(whole), (), unfinished, mismatch)
    return Sifted(count, tuple(stale), unfinished)


def counted(computes: t.Sequence[Compute], fleet_id: str | None) -> list[tuple[Compute, Guest]]:
    """All guests of the fleet that are servers: no copy that is replaced or half built, and none of those that
    contradict each other."""
    found = []
    for copies in _by_server(computes, fleet_id):
        sifted = _sifted(copies)
        if not sifted.conflict:
            found += [copy for copy in copies if any(copy[1] is guest for _host, _id, guest in sifted.count)]
    return found


def left_behind(computes: t.Sequence[Compute], fleet_id: str | None) -> set[int]:
    """The ``id()`` of all guests of the fleet that are no servers: replaced, half built, or not there yet."""
    found = {id(guest) for compute in computes for guest in compute.guests if guest.arriving}
    for copies in _by_server(computes, fleet_id):
        sifted = _sifted(copies)
        found.update(id(stale.guest) for stale in sifted.stale)
        found.update(id(guest) for _host, _host_id, guest in sifted.unfinished)
    return found


def handed_over(copies: t.Sequence[tuple[_T, Guest]]) -> list[tuple[_T, Guest]]:
    """The copies less what a live migration has left at its source: it doesn't run, and its guest has arrived."""
    moves = [(copy, move_of(copy[1].record) if copy[1].record is not None else None) for copy in copies]
    arrived = {its.migration for _copy, its in moves if its is not None and its.role == DESTINATION}
    return [
        copy
        for copy, its in moves
        if its is None or its.role != SOURCE or its.migration not in arrived or copy[1].state == "running"
    ]


def _by_server(computes: t.Sequence[Compute], fleet_id: str | None) -> t.Iterable[list[tuple[Compute, Guest]]]:
    found: dict[str, list[tuple[Compute, Guest]]] = collections.defaultdict(list)
    for compute in computes:
        for guest in compute.guests:
            # A guest whose memory is on its way is still where it comes from.
            if guest.record is not None and guest.record.fleet_id == fleet_id and not guest.arriving:
                found[guest.record.id].append((compute, guest))
    return found.values()


def _sifted(copies: t.Sequence[tuple[Compute, Guest]]) -> Sifted:
    return sift([(compute.name, compute.host_id, guest) for compute, guest in copies])


def _named(copy: Copy, whole: t.Sequence[Copy]) -> list[tuple[Copy, Replaced]]:
    """The other copies that say of this one that they replace it, with what they say."""
    found = []
    for by in whole:
        entry, fits = names(_record(by), _record(copy), copy[1])
        if by is not copy and entry is not None and fits:
            found.append((by, entry))
    return found


def _mismatch(by: Copy, copy: Copy) -> str:
    """A copy that another one means, and that isn't what it means."""
    if by is copy:
        return ""
    record = _record(copy)
    entry, fits = names(_record(by), record, copy[1])
    if entry is None or fits:
        return ""
    of = "" if record.host_id == copy[1] else f" and is of host {record.host_id}"
    return (
        f"its copy on {by[0]} replaces one on {copy[0]} of generation {entry.generation} (migration "
        f"{entry.migration}), and the one there has generation {record.generation}{of}: nothing is touched; look which "
        f"of them has the data that you want, and undefine the other there with virsh"
    )


def _not_carried_on(copy: Copy, count: t.Sequence[Copy]) -> str:
    left = ", ".join(host for host, _id, _guest in count)
    return f"its copy on {copy[0]} was replaced, and the one on {left} doesn't say so: nothing is touched"


def _record(copy: Copy) -> Record:
    return t.cast(Record, copy[2].record)


__all__ = ["Copy", "Sifted", "Stale", "counted", "left_behind", "sift"]
