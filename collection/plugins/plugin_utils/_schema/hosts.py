# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schemas can't say of compute hosts: that there are some, their pools, networks, aggregates and zones.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import aggregate, default_zone, matching
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Clauses, listed, nearest, shown
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.placement import (
    check_resources,
    check_traits,
    check_wishes,
)

__all__ = ["check_computes", "zones"]


def check_computes(review: Review) -> None:
    if not review.inventory.computes:
        reason = "the group has no hosts, allowed is at least one compute host in it"
        review.add("computes", source="inventory", reason=reason)
    networks = review.names("fleet_networks")
    for host, data in review.computes.items():
        _default_pool(review, host, data)
        check_resources(review, host, data)
        check_traits(review, host, data)
        for name in data.get("compute_networks", {}):
            if networks is not None and name not in networks:
                clauses: Clauses = {"found": shown(name), "allowed": _of("a network", "fleet_networks", networks)}
                review.add("compute_networks", (name,), hosts=(host,), **clauses, hint=nearest(name, networks))
    _aggregate_hosts(review)
    _two_zones(review)
    check_wishes(review)


def zones(review: Review) -> dict[str, set[str]] | None:
    """The zones that each compute host is in; None when that can't be known for all of them."""
    hosts = list(review.inventory.computes)
    if not hosts or review.spoilt("fleet_aggregates") or review.spoilt("fleet_scheduler"):
        return None
    if review.spoilt("compute_availability_zone", hosts):
        return None
    if review.names("fleet_aggregates") != frozenset(review.entries("fleet_aggregates")):
        return None
    return {host: set(_origins(review, host)) or {default_zone(review.fleet)} for host in hosts}


def _of(what: str, catalog: str, names: t.Collection[str]) -> str:
    return f"{what} of {catalog} ({listed(sorted(names))})"


def _default_pool(review: Review, host: str, data: t.Mapping[str, t.Any]) -> None:
    pool, pools = data.get("compute_default_pool"), data.get("compute_pools")
    if pool is not None and pools is not None and pool not in pools:
        allowed = f"one of compute_pools ({listed(pools)})"
        review.add("compute_default_pool", hosts=(host,), found=shown(pool), allowed=allowed, hint=nearest(pool, pools))


def _aggregate_hosts(review: Review) -> None:
    computes = review.inventory.computes
    if not computes:
        return
    allowed = f"a compute host or a pattern that matches one ({listed(sorted(computes))})"
    for name, entry in review.entries("fleet_aggregates").items():
        ours = name in review.fleet.get("fleet_aggregates", {})
        where: Clauses = {} if ours else {"source": "in the ledger, set with module aggregate"}
        for index, pattern in enumerate(entry.get("hosts", ())):
            if not matching(pattern, computes):
                clauses: Clauses = {"found": shown(pattern), "allowed": allowed, "hint": nearest(pattern, computes)}
                review.add("fleet_aggregates", (name, "hosts", index), **clauses, **where)


def _two_zones(review: Review) -> None:
    for host in review.inventory.computes:
        origins = _origins(review, host)
        if len(origins) > 1:
            said = " and ".join(f"{zone!r} by {listed(where)}" for zone, where in sorted(origins.items()))
            reason = f"One or more hosts already in availability zone(s): {said}, allowed is one zone"  # Nova's words
            review.add("compute_availability_zone", hosts=(host,), reason=reason)


def _origins(review: Review, host: str) -> dict[str, list[str]]:
    """Each zone that the host is said to be in, and by what."""
    origins: dict[str, list[str]] = collections.defaultdict(list)
    for name, entry in review.entries("fleet_aggregates").items():
        one = aggregate(name, entry, (host,))
        if one.hosts and one.metadata.get("availability_zone"):
            origins[one.metadata["availability_zone"]].append(f"aggregate {name}")
    own = review.computes[host].get("compute_availability_zone")
    if own is not None:
        origins[own].append("compute_availability_zone")
    return origins
