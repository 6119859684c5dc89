# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a compute host needs before servers can be made on it: to be enrolled, and the images in its pools.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image, Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.afterwards import images_for
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.claiming import pool_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import HostPlan, HostStep
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import holder

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import ImageSource

Wanted = t.Sequence[tuple[Image, str]]


def enrolment(compute: Compute, *, fleet_id: str | None, ledger_id: str | None) -> HostStep | None:
    """Write the host's marker and mark its pools, where that is still to be done. ``fleet_id`` None: drawn in this
    run."""
    marker = compute.marker
    unmarked = sorted(name for name, pool in compute.pools.items() if lacks_mark(pool))
    ours = marker is not None and (marker["fleet_id"], marker["ledger_id"]) == (fleet_id, ledger_id)
    if ours and not unmarked:
        return None
    what = [] if ours else ["the host's marker"]
    what += [f"pool {name}" for name in unmarked]
    args = {"pools": sorted(name for name, pool in compute.pools.items() if pool["active"])}
    return HostStep("enroll", f"enroll ({', '.join(what)})", args)


def lacks_mark(pool: t.Mapping[str, Json]) -> bool:
    """Whether a pool is still to be marked. Some kinds can't be (no volume can be made in them): they stay the host's
    own."""
    return pool["active"] and not pool["id"] and "create" in pool["capabilities"]


def image_steps(
    compute: Compute, wanted: Wanted, sources: t.Mapping[str, ImageSource], done: set[tuple[str, str]]
) -> list[HostStep]:
    """Fetch each image once into each pool; ``done`` remembers pool keys and checksums over all hosts of a plan."""
    steps = []
    for image, pool in wanted:
        # By the format too: a wrong one fails at its own image, not at another of the same bytes.
        key = (compute.pool_key(pool), f"{image.checksum} {image.format}")
        there = compute.pools.get(pool, {}).get("volumes", {})
        if key in done or f"{image.volume}.ok" in there:
            continue
        done.add(key)
        source = sources.get(image.name)
        args = {
            "name": image.name,
            "checksum": image.checksum,
            "format": image.format,
            "pool": pool,
            **_from(source, compute, image),
        }
        steps.append(HostStep("image", f"image {image.name} into pool {pool}", args))
    return steps


def _from(source: ImageSource | None, compute: Compute, image: Image) -> dict[str, Json]:
    """Where a host gets an image: by URL, from a file of the controller, or from another of its own pools."""
    if source is not None and (source.url or source.file):
        return {"url": source.url} if source.url else {"src": source.file}
    return {"from_pool": holder(compute, image)}


def host_plan(compute: Compute, drafts: t.Iterable[Draft], given: Situation, done: set[tuple[str, str]]) -> HostPlan:
    """All that is to be done on a host before its servers, in order; *done*: images that a host before it gets."""
    if not compute.up:
        return HostPlan(compute.name, False, compute.why)
    here = [draft for draft in drafts if draft.host == compute.name]
    images = [(image, str(pool_of(draft, given))) for draft in here for image in images_for(draft)]
    first = enrolment(compute, fleet_id=given.fleet_id, ledger_id=given.ledger_id)
    fetched = image_steps(compute, images, given.declared.image_sources, done)
    return HostPlan(compute.name, True, steps=(*([first] if first else []), *fetched))


def whose(computes: t.Sequence[Compute], *, fleet_id: str | None, ledger_id: str | None, take_over: bool) -> str | None:
    """The fleet_id that this run works under, None for a fleet that has none yet.

    Conflict when hosts belong to another ledger or fleet and the run may not take them over.
    """
    _refuse_one_machine_twice(computes)
    markers = {compute.name: compute.marker for compute in computes if compute.marker is not None}
    strangers = {name: m for name, m in markers.items() if (m["fleet_id"], m["ledger_id"]) != (fleet_id, ledger_id)}
    if not strangers:
        return fleet_id
    names = ", ".join(sorted(strangers))
    fleets = {marker["fleet_id"] for marker in strangers.values()}
    if len(fleets) > 1:
        raise Conflict(
            f"{names} belong to {len(fleets)} fleets: {', '.join(sorted(fleets))}; one inventory holds one fleet"
        )
    found = fleets.pop()
    if not take_over:
        marker = next(iter(strangers.values()))
        raise Conflict(
            f"{names} belong to ledger {marker['ledger_id']} of fleet {found}, and this run's ledger is "
            f"{ledger_id or 'not there yet'}: this run only reads. Use that ledger (fleet_ledger), or, if it is lost, "
            "make this one its successor with -e fleet_take_over=true"
        )
    return str(found)


def _refuse_one_machine_twice(computes: t.Sequence[Compute]) -> None:
    """Capacity, addresses and copies would all be counted twice."""
    seen: dict[str, str] = {}
    for compute in computes:
        if compute.host_id is None:
            continue
        other = seen.setdefault(compute.host_id, compute.name)
        if other != compute.name:
            raise Conflict(
                f"{other} and {compute.name} are one machine, or one is a clone of the other "
                f"(host id {compute.host_id}); remove one of the names from group computes, or, on a clone, delete "
                "host.json in its state folder"
            )


__all__ = ["enrolment", "host_plan", "image_steps", "lacks_mark", "whose"]
