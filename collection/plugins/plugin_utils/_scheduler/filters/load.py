# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules over how busy a host is: instances on it, builds and moves going on.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import abc
import math
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, Limit
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Floats, Ints, Mask


class _Limit(Filter):
    """Strictly fewer than a limit: the option of the settings or, in the Aggregate form, the metadata of that name."""

    option: t.ClassVar[str]
    what: t.ClassVar[str]
    per_aggregate: t.ClassVar[bool] = False

    @abc.abstractmethod
    def count(self, table: Table) -> Ints:
        """How many each host has."""

    def _limit(self, host: HostState) -> float:
        limit = getattr(self.settings, self.option)
        return host.aggregate_minimum(self.option, limit, int) if self.per_aggregate else limit

    def _limits(self, table: Table) -> Floats:
        if self not in table.cache:
            table.cache[self] = table.column(self._limit)
        return t.cast("Floats", table.cache[self])

    def limits(self, table: Table, request: Request) -> list[Limit]:  # noqa: ARG002  # the same for every request
        most = table.column(lambda host: math.ceil(self._limit(host))).astype("int64")
        return [Limit(self.name, 1, lambda rows: most[rows] - self.count(table)[rows])]

    def mask(self, table: Table, request: Request) -> Mask:  # noqa: ARG002  # the same for every request
        return self.count(table) < self._limits(table)

    def reason(self, table: Table, row: int, request: Request) -> str | None:  # noqa: ARG002
        count, limit = int(self.count(table)[row]), int(self._limits(table)[row])
        return None if count < limit else f"has {count} {self.what}, at most {limit} ({self.option})"


class IoOpsFilter(_Limit):
    option = "max_io_ops_per_host"
    what = "builds, moves or snapshots going on"

    def count(self, table: Table) -> Ints:
        return table.num_io_ops


class AggregateIoOpsFilter(IoOpsFilter):
    per_aggregate = True


class NumInstancesFilter(_Limit):
    option = "max_instances_per_host"
    what = "instances"

    def count(self, table: Table) -> Ints:
        return table.num_instances


class AggregateNumInstancesFilter(NumInstancesFilter):
    per_aggregate = True


__all__ = ["AggregateIoOpsFilter", "AggregateNumInstancesFilter", "IoOpsFilter", "NumInstancesFilter"]
