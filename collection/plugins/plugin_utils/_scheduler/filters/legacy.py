# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that Nova once had and course books still name: Retry, Core, Ram, Disk; and AllHosts, which passes all.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import (
    Filter,
    HostFilter,
    Limit,
)
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
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Ints, Mask

_NO_END = 1 << 40


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
    #: Whether a host passes of which nobody knows how much it has.
    uncounted_passes: t.ClassVar[bool] = False

    def stock(self, table: Table) -> Stock:
        return table.stock(self.resource)

    def providers(self, table: Table, request: Request) -> Ints | None:  # noqa: ARG002  # the hosts themselves
        """The row in the stock of each host, -1 for none; None: the host's own."""
        return None

    def limits(self, table: Table, request: Request) -> list[Limit]:
        np = need("numpy")
        stock = self.stock(table)
        whole = np.floor(_capacity(stock, slice(None))).astype("int64")
        whole[self._uncounted(stock)] = _NO_END
        amount = request.resources.get(self.resource, 0)
        return [Limit(self.name, amount, lambda rows: whole[rows] - stock.used[rows], self.providers(table, request))]

    def mask(self, table: Table, request: Request) -> Mask:
        amount, stock = request.resources.get(self.resource, 0), self.stock(table)
        fits = (amount <= stock.total) & (amount <= _capacity(stock, slice(None)) - stock.used) | self._uncounted(stock)
        rows = self.providers(table, request)
        if rows is None:
            return t.cast("Mask", fits)
        mask = table.everywhere() if amount == 0 else table.nowhere()
        has = rows >= 0
        mask[has] = fits[rows[has]]
        return mask

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        size = size_of(self.resource)
        amount, stock = request.resources.get(self.resource, 0), self.stock(table)
        providers = self.providers(table, request)
        index = row if providers is None else int(providers[row])
        if index < 0:
            return f"needs {size(amount)}, has none" if amount else None
        total = int(stock.total[index])
        if self._uncounted(stock)[index]:
            return None
        if amount > total:
            return f"needs {size(amount)}, has {size(total)} in all"
        free = float(_capacity(stock, index)) - int(stock.used[index])
        if amount > free:
            return f"needs {size(amount)}, {size(max(free, 0))} free of {size(total)} x {stock.ratio[index]}"
        return None

    def _uncounted(self, stock: Stock) -> Mask:
        return t.cast("Mask", (stock.total == 0) & self.uncounted_passes)


def _capacity(stock: Stock, rows: t.Any) -> t.Any:
    return stock.total[rows] * stock.ratio[rows] - (stock.total[rows] - stock.unreserved[rows])


class CoreFilter(_Overcommit):
    """A host without a number of vCPUs passes, as in Nova: it takes that for a collection that is broken."""

    resource = VCPU
    uncounted_passes = True


class RamFilter(_Overcommit):
    resource = MEMORY_MB


class DiskFilter(_Overcommit):
    resource = DISK_GB

    def stock(self, table: Table) -> Stock:
        return table.disk

    def providers(self, table: Table, request: Request) -> Ints:
        return table.pool_rows(request)


__all__ = ["AllHostsFilter", "CoreFilter", "DiskFilter", "RamFilter", "RetryFilter"]
