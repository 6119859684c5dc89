# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of a batch: servers with the fewest possible hosts first, counted anew after each choice.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

To ask every filter about every server after every choice would cost servers squared times hosts. Instead, servers that
are alike for all filters are one *kind*, and a choice is followed by what it can have changed alone: what the chosen
host has left (for all kinds at once), and the few rules that look at more than that.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, Limit
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    Request,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Ints, Mask


def possible(table: Table, filters: t.Iterable[Filter], request: Request) -> Mask:
    """The hosts that all filters pass."""
    mask = table.everywhere()
    for rule in filters:
        if rule.concerns(request):
            mask &= rule.mask(table, request)
    return mask


def shape(request: Request) -> t.Hashable:
    """All but name and id: requests of one shape are alike, as far as they aren't on a host or named by a hint."""
    return tuple(_frozen(getattr(request, name)) for name in _SHAPE)


_SHAPE = [field.name for field in dataclasses.fields(Request) if field.name not in ("name", "id")]


def _frozen(value: t.Any) -> t.Hashable:
    """A value to compare by and to look up with."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, collections.abc.Mapping):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if dataclasses.is_dataclass(value):
        return tuple(_frozen(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_frozen, value))
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return value if isinstance(value, collections.abc.Hashable) else repr(value)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Servers that are alike for every filter.

    ``limits`` are what they take of what hosts have left; ``watching`` the rules whose answers placements change in
    other ways.
    """

    requests: t.Sequence[Request]
    limits: t.Sequence[Limit] = ()
    watching: t.Sequence[Filter] = ()

    @property
    def request(self) -> Request:
        return self.requests[0]


def kinds(table: Table, filters: t.Sequence[Filter], requests: t.Iterable[Request]) -> list[Kind]:
    """The kinds of these servers. One that another's hint names is a kind by itself."""
    requests = list(requests)
    named = {name for request in requests for name in _named(request)}
    alike: dict[t.Hashable, list[Request]] = {}
    for request in requests:
        own = request.id is not None and (request.id in named or table.where(request.id) is not None)
        name = request.name if own or request.name in named else ""
        alike.setdefault((shape(request), name), []).append(request)
    return [_kind(table, filters, same) for same in alike.values()]


def _named(request: Request) -> t.Iterator[str]:
    for value in request.hints.values():
        yield from (item for item in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(item, str))


def _kind(table: Table, filters: t.Sequence[Filter], requests: t.Sequence[Request]) -> Kind:
    request = requests[0]
    limits: list[Limit] = []
    watching: list[Filter] = []
    try:
        for rule in filters:
            if not rule.concerns(request) or rule.fixed(request):
                continue
            found = rule.limits(table, request)
            if found is None:
                watching.append(rule)
            else:
                limits += found
    except InvalidInput:  # the scheduler says so when it comes to these servers
        return Kind(requests)
    return Kind(requests, limits, watching)


class FewestFirst:
    """Iterates over a batch; ``count`` is told of each choice before the next server is asked for.

    Servers with the fewest possible hosts come first, among them the largest, then by name. A server that fits nowhere
    as things are goes last: only others of the batch can make a place (same_host).
    """

    def __init__(self, table: Table, filters: t.Sequence[Filter], requests: t.Sequence[Request]) -> None:
        np = need("numpy")
        self._table = table
        self._filters = filters
        ranked = sorted(requests, key=_size)
        self._ranks = {request.name: rank for rank, request in enumerate(ranked)}
        self._kinds = kinds(table, filters, ranked)
        self._waiting = [list(reversed(kind.requests)) for kind in self._kinds]
        # A row for each host, a column for each kind: a choice is looked at across all kinds.
        self._possible: Mask = np.zeros((len(table), len(self._kinds)), dtype=bool)
        self._counts: Ints = np.zeros(len(self._kinds), dtype="int64")
        self._next: Ints = np.array([self._rank(index) for index in range(len(self._kinds))], dtype="int64")
        self._needs = _Needs(self._kinds)
        self._watching = [index for index, kind in enumerate(self._kinds) if kind.watching]
        for index in range(len(self._kinds)):
            self._look(index)

    def __iter__(self) -> t.Iterator[Request]:
        np = need("numpy")
        total = len(self._ranks)
        last = (len(self._table) + 1) * total
        for _server in range(total):
            counts = np.where(self._counts > 0, self._counts * total, last)
            index = int((counts + self._next).argmin())
            request = self._waiting[index].pop()
            self._next[index] = self._rank(index)
            yield request

    def _rank(self, index: int) -> int:
        waiting = self._waiting[index]
        never = 1 << 62  # no overflow when the counts are added
        return self._ranks[waiting[-1].name] if waiting else never

    def _look(self, index: int) -> None:
        """Ask all filters about all hosts."""
        try:
            mask = possible(self._table, self._filters, self._kinds[index].request)
        except InvalidInput:  # the scheduler says so when it comes to these servers
            mask = self._table.nowhere()
        self._possible[:, index] = mask
        self._counts[index] = mask.sum()

    def count(self, row: int, placed: Request) -> None:
        """A server was placed on the host in *row*, and the table has counted it."""
        pool = int(self._table.pool_rows(placed)[row])
        for need_ in self._needs.of_host:
            self._rule_out(row, need_.amounts > int(need_.room(row)))
        if placed.group is not None:
            for need_ in self._needs.of_group.get(placed.group.name, ()):
                self._rule_out(row, need_.amounts > int(need_.room(row)))
        if pool >= 0:
            self._count_pool(pool)
        for index in self._watching:
            if self._waiting[index]:
                self._watch(index, row, pool, placed)

    def _rule_out(self, row: int, too_much: Mask) -> None:
        lost = self._possible[row] & too_much
        if lost.any():
            self._possible[row] &= ~lost
            self._counts -= lost

    def _count_pool(self, pool: int) -> None:
        """A shared pool that is too full for a kind rules out all hosts where that kind would use it."""
        for need_ in self._needs.of_pool:
            for index in (need_.amounts > int(need_.room(pool))).nonzero()[0].tolist():
                if (index, pool) not in need_.full:
                    need_.full.add((index, pool))
                    self._possible[need_.providers[index] == pool, index] = False
                    self._counts[index] = self._possible[:, index].sum()

    def _watch(self, index: int, row: int, pool: int, placed: Request) -> None:
        kind = self._kinds[index]
        reaches = {rule.reach(kind.request, placed) for rule in kind.watching}
        if "fleet" in reaches:
            self._look(index)
        elif "pool" in reaches and pool >= 0:
            sharing = (self._table.pool_rows(kind.request) == pool).nonzero()[0].tolist()
            self._ask(index, {row, *sharing})
        elif reaches & {"host", "pool"}:
            self._ask(index, {row})

    def _ask(self, index: int, rows: t.Iterable[int]) -> None:
        """Ask all filters about some hosts."""
        request = self._kinds[index].request
        for row in rows:
            try:
                passes = all(
                    rule.reason(self._table, row, request) is None for rule in self._filters if rule.concerns(request)
                )
            except InvalidInput:
                passes = False
            self._counts[index] += int(passes) - int(self._possible[row, index])
            self._possible[row, index] = passes


@dataclasses.dataclass
class _Need:
    """What each kind takes of one thing; less than nothing for a kind that it doesn't concern."""

    amounts: Ints
    room: t.Callable[[t.Any], t.Any]
    providers: dict[int, Ints] = dataclasses.field(default_factory=dict)
    full: set[tuple[int, int]] = dataclasses.field(default_factory=set)


class _Needs:
    """The limits of all kinds by what they are about."""

    def __init__(self, all_kinds: t.Sequence[Kind]) -> None:
        needs: dict[t.Hashable, _Need] = {}
        for index, kind in enumerate(all_kinds):
            for limit in kind.limits:
                if limit.key not in needs:
                    needs[limit.key] = _Need(need("numpy").full(len(all_kinds), -(1 << 62), dtype="int64"), limit.room)
                needs[limit.key].amounts[index] = limit.amount
                if limit.providers is not None:
                    needs[limit.key].providers[index] = limit.providers
        self.of_pool = [entry for entry in needs.values() if entry.providers]
        self.of_host = [entry for key, entry in needs.items() if not entry.providers and not isinstance(key, tuple)]
        self.of_group: dict[str, list[_Need]] = {}
        for key, entry in needs.items():
            if isinstance(key, tuple):
                self.of_group.setdefault(key[1], []).append(entry)


def _size(request: Request) -> tuple[t.Any, ...]:
    """The largest first."""
    try:
        return (*(-request.resources.get(resource, 0) for resource in (MEMORY_MB, VCPU)), request.name)
    except InvalidInput:
        return (0, 0, request.name)


__all__ = ["FewestFirst", "Kind", "kinds", "possible", "shape"]
