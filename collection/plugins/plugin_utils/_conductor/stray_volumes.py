# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes that no server stands on, as the doctor finds them.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Finding, on_host
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Patient
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerRow

#: Types of pools that lie in their host, as a rule. Any other may be shared, with hosts of other fleets, too.
_LOCAL = frozenset({"dir", "fs", "logical", "zfs"})
_OURS = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-.+")


def orphan_volumes(patient: Patient) -> t.Iterator[Finding]:
    """Volumes that bear the id of a server which is nowhere. With a host down nobody knows that of a shared pool."""
    known = set(patient.rows)
    known |= set(patient.snapshot.claims) if patient.snapshot is not None else set()
    used: set[str] = set()
    for compute in patient.computes:
        used |= {str(volume[-1]).rpartition("/")[2] for guest in compute.guests for volume in guest.volumes}
        known |= {guest.id for guest in compute.guests} | {record.id for record in compute.shelved} | compute.at_work
        known |= {record.id for record in compute.replaced}
    seen = set()
    for compute in patient.computes:
        for pool, facts in compute.pools.items():
            for volume in sorted(facts.get("volumes", {})):
                match = _OURS.fullmatch(volume)
                key = (compute.pool_key(pool), volume)
                if match is None or match[1] in known or volume in used or key in seen:
                    continue
                seen.add(key)
                yield _orphan(patient, compute, pool, volume)


def _orphan(patient: Patient, compute: Compute, pool: str, volume: str) -> Finding:
    message = f"the volume {volume} in pool {pool} of {compute.name} belongs to no server that is known"
    down = sorted(other.name for other in patient.computes if not other.up)
    if down:
        command = f"look again when {listed(down)} can be read: its server may be there"
    elif patient.snapshot is None:
        command = "look again with the fleet's ledger, which may know its server"
    else:
        local = compute.pools[pool].get("type") in _LOCAL
        who = "if nobody misses it" if local else "if nobody misses it, and no other fleet has its servers in this pool"
        command = f"{who}: {_deletes(compute, pool, volume)}"
    return Finding("orphan_volume", volume, message, command, compute.name)


def left_volumes(patient: Patient) -> t.Iterator[Finding]:
    """Disks of a server on a host that has nothing else of it, in a pool that it doesn't stand on: a move that was cut
    off made them, and its source has died. One that can still be ended has a finding of its own."""
    copies: dict[str, list[Record]] = {}
    for _compute, _guest, record in patient.copies():
        copies.setdefault(record.id, []).append(record)
    for compute in patient.computes:
        there = {guest.id for guest in compute.guests} | {record.id for record in (*compute.replaced, *compute.shelved)}
        for pool, facts in compute.pools.items():
            for volume in sorted(facts.get("volumes", {})):
                row = patient.rows.get(volume[:36])
                if row is None or row.id in there or row.host == compute.name or patient.at_work(row.id):
                    continue
                its = [record for record in (row.loads(), *copies.get(row.id, ())) if record is not None]
                pools = {disk.pool_id for record in its for disk in record.disks if disk.volume == volume}
                moving = any(map(move_of, copies.get(row.id, ())))
                if pools and not moving and not pools & {None, facts.get("id"), *facts.get("markers", ())}:
                    yield _left_volume(patient, row, compute, pool, volume)


def _left_volume(patient: Patient, row: ServerRow, compute: Compute, pool: str, volume: str) -> Finding:
    message = (
        f"the volume {volume} in pool {pool} of {compute.name} bears the id of {row.name}, which is on {row.host} and "
        "doesn't stand on it: a move that was cut off has left it"
    )
    home = patient.host(row.host)
    command = f"look again when {row.host} can be read, or {row.name} has been evacuated"
    if home is not None and home.up:
        command = f"if {row.name} has all its data where it is: {_deletes(compute, pool, volume)}"
    return Finding("left_volume", volume, message, command, compute.name)


def _deletes(compute: Compute, pool: str, volume: str) -> str:
    return on_host(compute.name, f"virsh vol-delete --pool {shlex.quote(pool)} {shlex.quote(volume)}")


__all__ = ["left_volumes", "orphan_volumes"]
