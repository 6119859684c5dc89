# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aggregates as catalog entries, and the changes of them that Nova refuses because a host has servers.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.zones import would_change
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Aggregate, aggregate, zone_of

__all__ = ["ZONE", "Fleet", "describe", "entry_of", "refuse_moves"]

ZONE = "availability_zone"

Entry = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What zones depend on: by compute host its own zone (compute_availability_zone), the fleet's default zone, and
    the aggregates beside the one in question."""

    own_zones: t.Mapping[str, str | None]
    default_zone: str
    others: t.Sequence[Aggregate]

    def zone(self, host: str, this: Aggregate | None) -> str:
        aggregates = (*self.others, *([this] if this is not None else []))
        return zone_of(host, self.own_zones.get(host), aggregates, self.default_zone)


def entry_of(args: Entry, before: Entry | None, computes: t.Collection[str]) -> dict[str, t.Any]:
    """The ledger's entry, from arguments and the entry that is there. What is not given stays as it is.

    ``hosts`` are names, as in Nova: patterns are resolved when the module runs.
    """
    old = before or {}
    given = dict(args["metadata"]) if args["metadata"] is not None else None
    metadata = dict(old.get("metadata", {})) if given is None else given
    zone = _zone(args, given, old)
    metadata.pop(ZONE, None)
    if zone is not None:
        metadata[ZONE] = zone
    hosts = set(old.get("hosts", ()))
    if args["hosts"] is not None:
        wanted = _named(args["hosts"], computes)
        hosts = wanted if args["purge_hosts"] else hosts | wanted
    entry = {"hosts": sorted(hosts), "metadata": {key: _text(value) for key, value in sorted(metadata.items())}}
    description = args["description"] if args["description"] is not None else old.get("description")
    return {**entry, **({"description": description} if description else {})}


def _zone(args: Entry, given: Entry | None, old: Entry) -> str | None:
    """The zone: its own argument, or Nova's place for it in the metadata, else what was set before."""
    asked, within = args[ZONE], (given or {}).get(ZONE)
    if asked is not None and within is not None and asked != within:
        raise InvalidInput(f"{ZONE} is {asked!r} and {within!r} in metadata; give one of them")
    zone: str | None = next((one for one in (asked, within) if one is not None), old.get("metadata", {}).get(ZONE))
    return zone


def _named(patterns: t.Iterable[str], computes: t.Collection[str]) -> set[str]:
    """The hosts that the patterns mean; one that means none stays as it is, for the validator to name."""
    found: set[str] = set()
    for pattern in patterns:
        hosts = aggregate("", {"hosts": [pattern]}, computes).hosts
        found.update(hosts or [pattern])
    return found


def _text(value: t.Any) -> t.Any:
    """Metadata is text in Nova; what can't be one is left to the validator."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


def refuse_moves(
    before: Aggregate | None, after: Aggregate | None, fleet: Fleet, servers: t.Callable[[str], t.Sequence[str]]
) -> None:
    """Conflict, in Nova's words, if a host with servers would get another zone. ``servers`` gives a host's."""
    old, new = set(before.hosts if before else ()), set(after.hosts if after else ())
    name = (after or before or Aggregate("", (), {})).name
    for host in sorted(old | new):
        was, would_be = fleet.zone(host, before), fleet.zone(host, after)
        there = servers(host) if was != would_be else ()
        if not there:
            continue
        told = would_change(was, would_be, there)
        if host not in old:
            reason = f"The host {host} cannot be added to the aggregate as {told}"
            raise Conflict(f"Cannot add host to aggregate {name}. Reason: {reason}.")
        if host not in new:
            reason = f"The host {host} cannot be removed from the aggregate as {told}"
            raise Conflict(f"Cannot remove host from aggregate {name}. Reason: {reason}.")
        reason = f"One or more hosts contain instances in this zone: on {host}, {told}"
        raise Conflict(f"Cannot update aggregate {name}. Reason: {reason}.")


def describe(one: Aggregate, entry: Entry) -> dict[str, t.Any]:
    """An aggregate as modules return it."""
    return {
        "name": one.name,
        "description": entry.get("description"),
        "availability_zone": one.metadata.get(ZONE),
        "hosts": list(one.hosts),
        "metadata": dict(one.metadata),
    }
