# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server groups and the hints that put a server beside others or away from them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import (
    Filter,
    HostFilter,
    Limit,
    Reach,
    names,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask


def own_row(table: Table, request: Request) -> int | None:
    """The row of the host that the server is on already."""
    return None if request.id is None else table.where(request.id)


def hint(request: Request, name: str) -> list[str]:
    """A scheduler hint as a list: Nova takes one value or several."""
    value = request.hints.get(name)
    if value is None:
        return []
    values = value if isinstance(value, (list, tuple)) else [value]
    for item in values:
        if not isinstance(item, str):
            raise InvalidInput(
                f"server {request.name!r}: scheduler hint {name!r} should be text or a list of text, found {item!r}"
            )
    return list(values)


def same_group(request: Request, placed: Request) -> bool:
    return request.group is not None and placed.group is not None and request.group.name == placed.group.name


def named_by(request: Request, placed: Request, name: str) -> bool:
    """Does the request's hint name the other server?"""
    return bool({placed.name, placed.id} & {*hint(request, name)})


class ServerGroupAntiAffinityFilter(Filter):
    """Fewer than max_server_per_host members of the group on the host; the server's own host always passes."""

    def concerns(self, request: Request) -> bool:
        return request.group is not None and request.group.policy == "anti-affinity"

    def limits(self, table: Table, request: Request) -> list[Limit] | None:
        group = request.group
        if group is None or own_row(table, request) is not None:
            return None
        members = table.members(group)
        return [
            Limit(
                (self.name, group.name, group.max_server_per_host),
                1,
                lambda rows: group.max_server_per_host - members[rows],
            )
        ]

    def reach(self, request: Request, placed: Request) -> Reach:
        return "host" if same_group(request, placed) else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        if request.group is None or not self.concerns(request):
            return table.everywhere()
        mask = table.members(request.group) < request.group.max_server_per_host
        own = own_row(table, request)
        if own is not None:
            mask[own] = True
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        group = request.group
        if group is None or not self.concerns(request) or own_row(table, request) == row:
            return None
        members = int(table.members(group)[row])
        if members < group.max_server_per_host:
            return None
        limit = f"anti-affinity, at most {group.max_server_per_host} per host"
        return f"has {members} of server group {group.name!r} ({limit})"


class ServerGroupAffinityFilter(Filter):
    """A host that has a member of the group, once any host has one."""

    def concerns(self, request: Request) -> bool:
        return request.group is not None and request.group.policy == "affinity"

    def reach(self, request: Request, placed: Request) -> Reach:
        return "fleet" if same_group(request, placed) else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        if request.group is None or not self.concerns(request):
            return table.everywhere()
        mask = table.members(request.group) > 0
        for name in request.group.hosts:
            if name in table.row:
                mask[table.row[name]] = True
        if not mask.any() and not request.group.hosts:
            return table.everywhere()
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        if request.group is None or not self.concerns(request):
            return None
        members = table.members(request.group)
        hosts = {table.hosts[index].name for index in members.nonzero()[0]} | set(request.group.hosts)
        if not hosts or table.hosts[row].name in hosts:
            return None
        return f"server group {request.group.name!r} (affinity) is on {names(hosts)}"


class DifferentHostFilter(Filter):
    """Hint ``different_host``: not with any of these servers."""

    hints = ("different_host",)

    def concerns(self, request: Request) -> bool:
        return bool(hint(request, "different_host"))

    def reach(self, request: Request, placed: Request) -> Reach:
        return "fleet" if named_by(request, placed, "different_host") else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        mask = table.everywhere()
        for server in hint(request, "different_host"):
            row = table.where(server)
            if row is not None:
                mask[row] = False
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        here = [server for server in hint(request, "different_host") if table.where(server) == row]
        return f"has {names(here)}, which the server must not be with (different_host)" if here else None


class SameHostFilter(Filter):
    """Hint ``same_host``: with at least one of these servers."""

    hints = ("same_host",)

    def concerns(self, request: Request) -> bool:
        return bool(hint(request, "same_host"))

    def reach(self, request: Request, placed: Request) -> Reach:
        return "fleet" if named_by(request, placed, "same_host") else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        wanted = hint(request, "same_host")
        if not wanted:
            return table.everywhere()
        mask = table.nowhere()
        for server in wanted:
            row = table.where(server)
            if row is not None:
                mask[row] = True
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        wanted = hint(request, "same_host")
        if not wanted or any(table.where(server) == row for server in wanted):
            return None
        return f"has none of {names(wanted)}, which the server must be with (same_host)"


class SimpleCIDRAffinityFilter(HostFilter):
    """Hints ``build_near_host_ip`` and ``cidr`` (default /24): the host's address is in that network."""

    hints = ("build_near_host_ip", "cidr")

    def concerns(self, request: Request) -> bool:
        return bool(hint(request, "build_near_host_ip"))

    def key(self, request: Request) -> t.Hashable:
        return (*hint(request, "build_near_host_ip"), "/", *hint(request, "cidr"))

    def why_not(self, host: HostState, request: Request) -> str | None:
        near = hint(request, "build_near_host_ip")
        if not near:
            return None
        text = near[0] + (hint(request, "cidr") or ["/24"])[0]
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as exc:
            raise InvalidInput(
                f"server {request.name!r}: hints build_near_host_ip and cidr give no network: {exc}"
            ) from exc
        if host.address is not None and ipaddress.ip_address(host.address) in network:
            return None
        return f"needs an address in {network}, has {host.address or 'none (compute_address)'}"


__all__ = [
    "DifferentHostFilter",
    "SameHostFilter",
    "ServerGroupAffinityFilter",
    "ServerGroupAntiAffinityFilter",
    "SimpleCIDRAffinityFilter",
    "hint",
]
