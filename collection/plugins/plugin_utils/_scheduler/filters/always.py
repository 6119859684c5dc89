# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that always hold, which Nova keeps outside of its filters: in request filters, Placement and the claim.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

# ruff: noqa: ARG002 - a rule need not look at all that it is given

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import (
    Filter,
    HostFilter,
    Limit,
    names,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import DISK_GB, HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.words import size_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask


class ComputeFilter(HostFilter):
    """Up and enabled. Nova lets it be left out; here it can't be: a host that is down has not been surveyed."""

    def key(self, request: Request) -> t.Hashable:
        return ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        because = f" ({host.reason})" if host.reason else ""
        if not host.up:
            return f"down{because}"
        if not host.enabled:
            return f"disabled{because}"
        return None


class RequestedHost(HostFilter):
    """The only host that is asked for: by ``server_host``, by who moves it, or because it is there and stays. The other
    rules hold for it all the same."""

    on_rebuild = True

    def concerns(self, request: Request) -> bool:
        return request.host is not None

    def key(self, request: Request) -> t.Hashable:
        return request.host or ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        return None if request.host in (None, host.name) else f"it is to be on {request.host!r}"


class IgnoreHosts(HostFilter):
    """Hosts that the caller rules out: the source of a move, a host being drained."""

    def concerns(self, request: Request) -> bool:
        return bool(request.ignore_hosts)

    def key(self, request: Request) -> t.Hashable:
        return frozenset(request.ignore_hosts)

    def why_not(self, host: HostState, request: Request) -> str | None:
        return "ruled out for this operation" if host.name.lower() in self._ignored(request) else None

    def _ignored(self, request: Request) -> set[str]:
        return {name.lower() for name in request.ignore_hosts}  # Nova compares these without case

    def _ask(self, table: Table, request: Request) -> Mask:
        """Each host that is lost or left asks for another mask: the others' names are looked up, no more."""
        ignored = self._ignored(request)
        passes = [host.name.lower() not in ignored for host in table.hosts]
        return t.cast("Mask", need("numpy").array(passes, dtype=bool))


class AvailabilityZoneFilter(HostFilter):
    """The requested zone. Hosts without one are in the default zone; no request passes everywhere."""

    def concerns(self, request: Request) -> bool:
        return request.zone is not None

    def key(self, request: Request) -> t.Hashable:
        return request.zone or ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        if request.zone is None:
            return None
        zones = host.aggregate_metadata.get("availability_zone") or {self.settings.default_availability_zone}
        if host.zone:
            zones = {host.zone}
        if request.zone in zones:
            return None
        return f"needs availability zone {request.zone!r}, is in {names(zones)}"


class Traits(HostFilter):
    """``trait:`` of flavor and image: required ones are there, forbidden ones are not."""

    def concerns(self, request: Request) -> bool:
        return bool(request.traits)

    def key(self, request: Request) -> t.Hashable:
        return frozenset(request.traits.items())

    def why_not(self, host: HostState, request: Request) -> str | None:
        missing = {name for name, wish in request.traits.items() if wish == "required"}.difference(host.traits)
        if missing:
            return f"lacks trait {names(missing)}"
        unwanted = {name for name, wish in request.traits.items() if wish == "forbidden"}.intersection(host.traits)
        if unwanted:
            return f"has forbidden trait {names(unwanted)}"
        return None


class Networks(HostFilter):
    """Each network of the server is on the host: its bridge, or its libvirt network."""

    def concerns(self, request: Request) -> bool:
        return bool(request.networks)

    def key(self, request: Request) -> t.Hashable:
        return frozenset(request.networks)

    def why_not(self, host: HostState, request: Request) -> str | None:
        missing = set(request.networks).difference(host.networks)
        return f"has no network {names(missing)}" if missing else None


class StoragePool(HostFilter):
    """The pool that the server will use is on the host; even a server with no disk has its config drive there."""

    def key(self, request: Request) -> t.Hashable:
        return request.pool or ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        name = request.pool or host.default_pool
        if name is None:
            return "has no default storage pool (compute_default_pool)"
        return None if name in host.pools else f"has no storage pool {name!r}, has {names(host.pools)}"


class Placement(Filter):
    """Capacity by Placement's rule: used + amount <= (total - reserved) x allocation ratio (allocation.py 253)."""

    def mask(self, table: Table, request: Request) -> Mask:
        mask = table.everywhere()
        for resource, amount in request.resources.items():
            if resource == DISK_GB:
                mask &= self._disk_mask(table, request, amount)
            else:
                mask &= table.stock(resource).fits(amount)
        return mask

    def limits(self, table: Table, request: Request) -> list[Limit]:
        return [self._limit(table, request, resource, amount) for resource, amount in request.resources.items()]

    def _limit(self, table: Table, request: Request, resource: str, amount: int) -> Limit:
        if resource != DISK_GB:
            return Limit(resource, amount, table.stock(resource).room)
        return Limit(DISK_GB, amount, table.disk.room, table.pool_rows(request))

    def _disk_mask(self, table: Table, request: Request, amount: int) -> Mask:
        rows = table.pool_rows(request)
        if not len(table.disk.inventories):
            return table.nowhere()
        return table.disk.fits(amount)[rows] & (rows >= 0)

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        for resource, amount in request.resources.items():
            why = self._shortage(table, row, request, resource, amount)
            if why is not None:
                return why
        return None

    def _shortage(self, table: Table, row: int, request: Request, resource: str, amount: int) -> str | None:
        if resource != DISK_GB:
            return table.stock(resource).why_not(row, amount, size_of(resource))
        pool = int(table.pool_rows(request)[row])
        name = table.pool_name(row, request)
        if pool < 0:
            return f"has no storage pool {name!r}"
        why = table.disk.why_not(pool, amount, size_of(resource))
        return None if why is None else f"{why} in pool {name!r}"


__all__ = [
    "AvailabilityZoneFilter",
    "ComputeFilter",
    "IgnoreHosts",
    "Networks",
    "Placement",
    "RequestedHost",
    "StoragePool",
    "Traits",
]
