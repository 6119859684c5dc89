# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that Nova once had and course books still name: Retry, Core, Ram, Disk; and AllHosts, which passes all.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, HostFilter
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    HostState,
    Request,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Stock, Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.words import size_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask


class AllHostsFilter(HostFilter):
    def concerns(self, request: Request) -> bool:  # noqa: ARG002  # no request at all
        return False

    def key(self, request: Request) -> t.Hashable:  # noqa: ARG002
        return ""

    def why_not(self, host: HostState, request: Request) -> str | None:  # noqa: ARG002
        return None


class RetryFilter(HostFilter):
    """Not on a host where this build has failed already (gone from Nova in 22.0.0)."""

    def concerns(self, request: Request) -> bool:
        return bool(request.retry_hosts)

    def key(self, request: Request) -> t.Hashable:
        return frozenset(request.retry_hosts)

    def why_not(self, host: HostState, request: Request) -> str | None:
        return "this build has failed there already" if host.name in request.retry_hosts else None


class _Overcommit(Filter):
    """total >= requested, and total x ratio - used >= requested: what is reserved counts as used, without the ratio."""

    resource: t.ClassVar[str]

    @abc.abstractmethod
    def stock(self, table: Table, row: int, request: Request) -> tuple[Stock, int]:
        """The amounts, and the index in them, of the host in *row*; an index of -1 if it has none."""

    def mask(self, table: Table, request: Request) -> Mask:
        mask = table.everywhere()
        for row in range(len(table)):
            mask[row] = self.reason(table, row, request) is None
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        size = size_of(self.resource)
        amount = request.resources.get(self.resource, 0)
        stock, index = self.stock(table, row, request)
        if index < 0:
            return f"needs {size(amount)}, has none" if amount else None
        total = int(stock.total[index])
        used = int(stock.used[index]) + total - int(stock.unreserved[index])
        if amount > total:
            return f"needs {size(amount)}, has {size(total)} in all"
        free = total * float(stock.ratio[index]) - used
        if amount > free:
            return f"needs {size(amount)}, {size(max(free, 0))} free of {size(total)} x {stock.ratio[index]}"
        return None


class CoreFilter(_Overcommit):
    resource = VCPU

    def stock(self, table: Table, row: int, request: Request) -> tuple[Stock, int]:  # noqa: ARG002
        return table.stock(VCPU), row


class RamFilter(_Overcommit):
    resource = MEMORY_MB

    def stock(self, table: Table, row: int, request: Request) -> tuple[Stock, int]:  # noqa: ARG002
        return table.stock(MEMORY_MB), row


class DiskFilter(_Overcommit):
    resource = DISK_GB

    def stock(self, table: Table, row: int, request: Request) -> tuple[Stock, int]:
        return table.disk, int(table.pool_rows(request)[row])


__all__ = ["AllHostsFilter", "CoreFilter", "DiskFilter", "RamFilter", "RetryFilter"]
