# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers of hosts that are down, by the records beside their disks in shared pools: for a ledger that was lost.

Note that this plugin util is **PRIVATE** to the collection.

A record says of which host it is by that host's id alone, and the lost ledger knew its name. A host that is up bears
its id, so a record of another id is of one of the hosts that are down. Which of them it is, where several are, nobody
can tell: the ledger names the first, and ``evacuate`` evacuates none of them without the others.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import half_built
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.keeping import kept_on
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerSeen

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

__all__ = ["orphans", "unplaced"]

#: What a guest was in by the state that was last carried out.
_STATES = {"active": "running", "paused": "paused", "suspended": "suspended"}


def orphans(computes: t.Sequence[Compute], fleet_id: str | None, absent: t.Collection[str] = ()) -> list[ServerSeen]:
    """The servers that a host which is down had, as the ledger is to know them. *absent*: hosts that have none of them
    (fleet_assume_absent)."""
    hosts = _silent(computes, absent)
    if not hosts:
        return []
    return [
        ServerSeen.of(
            record,
            host=hosts[0],
            vm_state=vm_state(_state(record), record.marks),
            power_state=power_state(_state(record)),
        )
        for record in _records(computes, fleet_id)
    ]


def unplaced(computes: t.Sequence[Compute], fleet_id: str | None, absent: t.Collection[str] = ()) -> list[str]:
    """Names of the servers whose record is there, while no host is down that they could be on."""
    return [] if _silent(computes, absent) else sorted(record.name for record in _records(computes, fleet_id))


def _silent(computes: t.Sequence[Compute], absent: t.Collection[str]) -> list[str]:
    return sorted(compute.name for compute in computes if not compute.up and compute.name not in absent)


def _records(computes: t.Sequence[Compute], fleet_id: str | None) -> list[Record]:
    """One record a server: of no host that is up, whole, and with its root disk where it says."""
    up = {compute.host_id for compute in computes if compute.up}
    guests = [guest for compute in computes for guest in compute.guests]
    ids = {guest.id for guest in guests}
    names = {guest.record.name for guest in guests if guest.record is not None}
    found: dict[str, Record] = {}
    for compute in computes:
        for record in compute.beside:
            if record.fleet_id != fleet_id or record.id in ids or record.name in names:
                continue
            if record.host_id is None or record.host_id in up or half_built(record) or SHELVED in record.marks:
                continue
            if record.root.volume not in kept_on(record, compute):
                continue  # half deleted, or not the pool that it was in
            if record.id not in found or found[record.id].generation < record.generation:
                found[record.id] = record
    return _named_once(found.values())


def _named_once(records: t.Iterable[Record]) -> list[Record]:
    """Of two of a name neither is the right one."""
    ordered = sorted(records, key=lambda record: (record.name, record.id))
    names = [record.name for record in ordered]
    return [record for record in ordered if names.count(record.name) == 1]


def _state(record: Record) -> str:
    return _STATES.get(record.declared, "shutoff")
