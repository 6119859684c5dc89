# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Availability zones that may not change: those of hosts with servers, as in Nova (nova/compute/api.py, AggregateAPI).

Note that this plugin util is **PRIVATE** to the collection.

A server is in the zone of its host. Giving the host another zone would move its servers there, behind the back of who
chose the zone; so the host is emptied first. The ledger remembers the zone in which each host was last seen.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Aggregate, Catalogs

#: Where a host's summary in the ledger has its zone.
ZONE = "zone"


def refuse_moved_zones(
    catalogs: Catalogs, computes: t.Iterable[Compute], snapshot: Snapshot | None, fleet_id: str | None
) -> None:
    """Conflict, for all hosts in one go, if inventory gives a host with servers another zone than it was in."""
    if snapshot is None:
        return
    by_name = {compute.name: compute for compute in computes}
    moved = []
    for host, zone in catalogs.zones.items():
        row = snapshot.hosts.get(host)
        before = row.summary.get(ZONE) if row is not None else None
        if before in (None, zone):
            continue
        servers = sorted({*servers_on(snapshot, host), *_ours(by_name[host], fleet_id)})
        if servers:
            moved.append(f"{host}: {would_change(before, zone, servers)} ({_said_by(catalogs, host)})")
    if moved:
        told = "; ".join(moved)
        raise Conflict(f"One or more hosts contain instances in this zone; no host was touched: {told}")


def servers_on(snapshot: Snapshot, host: str) -> list[str]:
    """The names of the servers that the ledger has on a host, those that are deleted softly too."""
    return sorted(row.name for row in snapshot.servers.values() if row.host == host)


def would_change(before: str, after: str, servers: t.Sequence[str]) -> str:
    """Nova's words, with the servers' names."""
    return (
        f"the availability zone of the host would change from {before!r} to {after!r} but the host already has "
        f"{len(servers)} instance(s): {listed(servers)}. Changing the AZ of an existing instance is not supported by "
        "this action. Move the instances away from this host then try again"
    )


def _ours(compute: Compute, fleet_id: str | None) -> set[str]:
    records = [guest.record for guest in compute.guests]
    return {record.name for record in records if record is not None and record.fleet_id == fleet_id}


def _said_by(catalogs: Catalogs, host: str) -> str:
    named = [one.name for one in catalogs.aggregates.values() if _gives_zone(one, host)]
    if named:
        return f"by aggregate {listed(sorted(named))}"
    own = catalogs.computes[host].zone
    return "by compute_availability_zone" if own else "nothing gives it another zone than the default one"


def _gives_zone(aggregate: Aggregate, host: str) -> bool:
    return host in aggregate.hosts and bool(aggregate.metadata.get("availability_zone"))


__all__ = ["ZONE", "refuse_moved_zones", "servers_on", "would_change"]
