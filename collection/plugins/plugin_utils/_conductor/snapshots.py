# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots as the hosts have them, beside the fleet's catalog: whole ones that it lacks, half-made ones, lost ones.

Note that this plugin util is **PRIVATE** to the collection.

A run that is killed lets the host go on: its snapshot is then there, and no catalog names it. A whole one is an image
of the fleet from the next run on; what is half made goes, since nobody knows what it would have been.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.saving import snapshots_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import SHELVED, Snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import ServerPlan, Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import catalog_entry, sees
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import MISSING, Location

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute


@dataclasses.dataclass(frozen=True)
class Kept:
    """A snapshot in a pool of a host. ``name`` is what it is, or is to be, called in the catalog."""

    compute: Compute
    snapshot: Snapshot
    name: str

    @property
    def entry(self) -> dict[str, Json]:
        return catalog_entry(self.snapshot, self.compute.name)


def uncatalogued(declared: Declared, computes: t.Sequence[Compute], fleet_id: str | None) -> list[Kept]:
    """The snapshots that are whole, and no image of the fleet: once each, where they were made if that host is up.

    One whose name another image has bears its id as well.
    """
    entries = catalogued(declared)
    known = {str(entry["snapshot"]["id"]) for entry in entries.values()}
    taken = set(declared.catalogs.images)
    found: dict[str, Kept] = {}
    for compute, snapshot in _ours(computes, fleet_id):
        if snapshot.id in known or snapshot.image_type == SHELVED or not _is_whole(compute, snapshot):
            continue
        if snapshot.id not in found or snapshot.host_id == compute.host_id:
            found[snapshot.id] = Kept(compute, snapshot, snapshot.name)
    named = []
    for kept in sorted(found.values(), key=lambda kept: (kept.snapshot.created_at, kept.snapshot.id)):
        name = f"{kept.name}-{kept.snapshot.id[:8]}" if kept.name in taken else kept.name
        taken.add(name)
        named.append(dataclasses.replace(kept, name=name))
    return named


def half_made(computes: t.Sequence[Compute], fleet_id: str | None) -> list[Kept]:
    """What is left of snapshots that were cut off, each on the host that was at it; and what a shelving that was cut
    off has copied, beside a server that is there."""
    found = []
    for compute, snapshot in _ours(computes, fleet_id):
        if snapshot.image_type == SHELVED and snapshot.complete:
            left = any(guest.id == snapshot.server_id for guest in compute.guests)
        else:
            left = snapshot.host_id == compute.host_id and not _is_whole(compute, snapshot)
        if left:
            found.append(Kept(compute, snapshot, snapshot.name))
    return found


def lost(declared: Declared, computes: t.Sequence[Compute]) -> t.Iterator[tuple[str, dict[str, Json]]]:
    """The snapshots of the catalog, by name, that are not where it has them: a rotation was cut off, or somebody took
    them away."""
    by_name = {compute.name: compute for compute in computes}
    for name, entry in catalogued(declared).items():
        its = entry["snapshot"]
        compute = by_name.get(its["host"])
        pool = compute.survey["pools"].get(its["pool"]) if compute is not None and compute.survey is not None else None
        if pool is None or not pool["active"] or its["pool_id"] not in (pool.get("id"), *pool.get("markers", ())):
            continue
        if f"{declared.catalogs.images[name].volume}.ok" not in pool["volumes"]:
            yield name, entry


def catalogued(declared: Declared) -> dict[str, dict[str, Json]]:
    """The entries of the ledger's catalog of images that are snapshots, by name."""
    images = declared.raw["ledger"].get("images") or {}
    return {name: entry for name, entry in images.items() if entry.get("snapshot")}


def taken_away(given: Situation) -> t.Iterator[Draft]:
    """What takes half-made snapshots away, but for that of declared servers, whose own plans do."""
    left = {_place(kept): kept for kept in half_made(given.computes, given.fleet_id)}
    for host, server_id in sorted(left):
        kept = left[host, server_id]
        if given.is_busy(server_id) or _is_tidied(given, kept):
            continue
        name = f"{kept.snapshot.server_name} ({host}, snapshot)"
        draft = Draft(name, None, Location(MISSING, host), host=host, copy=True, left_over=server_id)
        yield draft.to_do(ServerPlan(steps=(Step("tidy", "a snapshot of it was cut off"),)))


def _place(kept: Kept) -> tuple[str, str]:
    return kept.compute.name, kept.snapshot.server_id


def _is_tidied(given: Situation, kept: Kept) -> bool:
    """Whether the server's own plan has the step: where it is, and has a copy beside its disks."""
    server_id = kept.snapshot.server_id
    there = {guest.id: guest for guest in kept.compute.guests}
    declared = server_id in there and there[server_id].name in given.declared.servers
    return declared and any(f"{server_id}-{role}" in kept.compute.volumes for role in ("snapshot", "shelved"))


def _is_whole(compute: Compute, snapshot: Snapshot) -> bool:
    return snapshot.complete and sees(compute, [snapshot])


def _ours(computes: t.Sequence[Compute], fleet_id: str | None) -> t.Iterator[tuple[Compute, Snapshot]]:
    """The fleet's snapshots on each host that is up, but for those that a shelved server consists of."""
    shelved = {snapshot.id for compute in computes for record in compute.shelved for snapshot in snapshots_of(record)}
    for compute in computes:
        for snapshot in compute.snapshots:
            if snapshot.fleet_id == fleet_id and snapshot.id not in shelved:
                yield compute, snapshot


__all__ = ["Kept", "catalogued", "half_made", "lost", "taken_away", "uncatalogued"]
