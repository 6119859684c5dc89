# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What evacuations leave on hosts that are back, as drafts: stale copies, half-built ones, and disks to be reclaimed.

Note that this plugin util is **PRIVATE** to the collection.

A stale copy is destroyed and undefined. Its local disks are kept for fleet_reclaim hours; a disk that may be on a
shared pool is never touched, and unknown counts as shared.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import evacuating, kept
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Json, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import ServerPlan, Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import FOUND, MISSING, Location

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import Stale


def after_evacuations(given: Situation, location: Location) -> t.Iterator[Draft]:
    """The copies of one server that evacuations have left beside it; none while somebody is at work on it."""
    if location.record is not None and given.is_busy(location.record.id):
        return
    for stale in location.stale:
        yield _drop(given, stale)
    if location.guest is None:
        return  # the server itself isn't seen: what is half built stays for the run that goes on with it
    for host, guest in location.unfinished:
        yield _undo(given, location, host, guest)


def _drop(given: Situation, stale: Stale) -> Draft:
    record = t.cast(Record, stale.guest.record)
    local = [_place(disk) for disk in record.disks if _is_local(given, stale.host, disk, stale.by_record)]
    hours = given.leave.reclaim // 3600
    wait = f", its {len(local)} local disks are kept for {hours} h" if local and hours else ""
    step = Step(
        "drop_stale",
        f"evacuated to {stale.by}, whose record names it{wait}",
        options={**stale.entry.to_json(), "local": local, "reclaim": given.leave.reclaim, "since": given.now},
    )
    return _beside(stale.host, stale.guest, "replaced").to_do(ServerPlan(steps=(step,)))


def _undo(given: Situation, location: Location, host: str, guest: Guest) -> Draft:
    record = t.cast(Record, guest.record)
    its = evacuating(record)
    made = its.made if its is not None else ()
    own = [disk for disk in record.disks if (disk.pool, disk.volume) in made]
    # A volume that the server itself stands on by now is not the half-built copy's, whoever made it first.
    drop = [place for disk in own if (place := _may_go(given, host, disk, location.record)) is not None]
    why = f"its evacuation was cut off, and the server is on {location.host}"
    step = Step("undo_evacuation", why, options={"drop": drop})
    draft = _beside(host, guest, "half built")
    if not guest.active:
        return draft.to_do(ServerPlan(steps=(step,)))
    flag = "data_loss" if any(place["volume"].endswith("-root") for place in drop) else "restart"
    if flag in given.leave.allow:
        step = dataclasses.replace(step, options={**step.options, "kill": True})
        return draft.to_do(ServerPlan(steps=(step,)))
    return draft.to_do(ServerPlan(held=(dataclasses.replace(step, why=f"{why}; it runs", hold=flag),)))


def reclaimed(given: Situation) -> t.Iterator[Draft]:
    """The local disks of stale copies whose time is over."""
    for compute in given.computes:
        there = {guest.id for guest in compute.guests}
        for record in compute.replaced:
            left = kept(record)
            if record.fleet_id != given.fleet_id or record.id in there or left is None:
                continue
            if given.leave.now - left.at < given.leave.reclaim:
                continue
            step = Step("reclaim", "the local disks of a copy that was replaced, their time is over")
            location = Location(MISSING, compute.name, None, record)
            name = f"{record.name} ({compute.name}, replaced)"
            yield Draft(name, None, location, host=compute.name, copy=True).to_do(ServerPlan(steps=(step,)))


def _beside(host: str, guest: Guest, what: str) -> Draft:
    record = t.cast(Record, guest.record)
    name = f"{record.name} ({host}, {what})"
    return Draft(name, None, Location(FOUND, host, guest, record), host=host, copy=True)


def _place(disk: Disk) -> dict[str, Json]:
    return {"pool": disk.pool, "pool_id": disk.pool_id, "volume": disk.volume}


def _may_go(given: Situation, host: str, disk: Disk, server: Record | None) -> dict[str, Json] | None:
    """Where a volume is that a half-built copy has made, if that is in no pool of the server itself."""
    compute = given.by_name.get(host)
    pool = compute.survey["pools"].get(disk.pool) if compute is not None and compute.survey is not None else None
    marks = _marks(pool) if pool is not None else []
    # Who was cut off before all were made has not yet written in which pool they are: in the one that is there now.
    pool_id = disk.pool_id or next(iter(marks), None)
    pools = {each.pool_id for each in server.disks} if server is not None else {None}
    if pool_id is None or None in pools or pools & {pool_id, *marks}:
        return None
    return {**_place(disk), "pool_id": pool_id}


def _is_local(given: Situation, host: str, disk: Disk, by: Record) -> bool:
    """Whether it is certain that a disk of a stale copy is on its host alone, and ours by its name."""
    if disk.volume != volume_of(by.id, disk.role):
        return False  # an adopted server's: it is left there
    compute = given.by_name.get(host)
    pool = compute.survey["pools"].get(disk.pool) if compute is not None and compute.survey is not None else None
    if disk.pool_id is None or pool is None or disk.pool_id not in _marks(pool):
        return False
    marks = set(_marks(pool))
    if any(other.pool_id is None or other.pool_id in marks for other in by.disks):
        return False
    return not any(_may_share(given, other, marks) for other in _others(given, host))


def _others(given: Situation, host: str) -> set[str]:
    rows = given.snapshot.hosts if given.snapshot is not None else {}
    return ({compute.name for compute in given.computes} | set(rows)) - {host}


def _may_share(given: Situation, host: str, marks: set[str]) -> bool:
    compute = given.by_name.get(host)
    if compute is not None and compute.survey is not None:
        pools = compute.survey["pools"].values()
        # What a pool that isn't active bears nobody can read.
        return any(not pool["active"] or marks & set(_marks(pool)) for pool in pools)
    row = given.snapshot.hosts.get(host) if given.snapshot is not None else None
    return row is None or row.surveyed is None or bool(marks & set(row.summary.get("pools", [])))


def _marks(pool: t.Mapping[str, Json]) -> list[str]:
    """The ids that a pool bears; two hosts may have marked a shared one at once."""
    return [str(mark) for mark in (*pool.get("markers", ()), pool.get("id")) if mark]


__all__ = ["after_evacuations", "reclaimed"]
