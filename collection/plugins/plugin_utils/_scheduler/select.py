# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters, then weighers, then the choice; a batch is a fold of it over the updated table.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import copy
import dataclasses
import random
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.batch import JointTry
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation, Refusal
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS, build_filters
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.order import FewestFirst, possible, shape
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.weighers import WEIGHERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.words import wants

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Floats, Ints, Mask

_FEW = 8


@dataclasses.dataclass(frozen=True)
class Placed:
    """Where a server goes: its weights by weigher, and the next best hosts should the build fail there.

    ``fit`` is what of the host's special hardware it has been given; None for a server that needs none.
    """

    host: str
    weights: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    alternates: t.Sequence[str] = ()
    fit: Fit | None = None


@dataclasses.dataclass(frozen=True)
class Placement:
    """``placed`` and ``refused`` by server name, each in the order in which the batch was gone through.

    ``notes`` say what a joint search did; the times in them are no part of what was decided.
    """

    placed: t.Mapping[str, Placed]
    refused: t.Mapping[str, Explanation]
    notes: t.Sequence[str] = dataclasses.field(default=(), compare=False)


class Scheduler:
    """The hosts with what has been placed on them so far, and the rules of the settings.

    With *rebuild* only the rules that a new image can break, for servers that stay where they are (Nova:
    RUN_ON_REBUILD).
    """

    def __init__(
        self, hosts: t.Iterable[HostState], settings: Settings | None = None, *, rebuild: bool = False
    ) -> None:
        self.settings = settings or Settings()
        self.table = Table(hosts)
        self._empty = self.table.fork()
        self.filters = build_filters(self.settings, rebuild=rebuild)
        self.weighers = [weigher(self.settings) for weigher in WEIGHERS]
        self._taken: list[tuple[Request, Placed]] = []

    def fork(self, lost: t.Collection[str] = (), freed: t.Mapping[str, int] | None = None) -> Scheduler:
        """A scheduler that begins with what is placed here now, less what is lost with some hosts (see Table.fork)."""
        twin = copy.copy(self)
        twin._empty = self.table.fork(lost, freed)
        twin.table, twin._taken = twin._empty.fork(), []
        return twin

    def possible(self, request: Request) -> Mask:
        """The hosts that all filters pass."""
        return possible(self.table, self.filters, request)

    def _refuse_unread_hints(self, request: Request) -> None:
        """A hint for a filter that is not enabled would be passed over in silence."""
        if not request.hints:
            return
        enabled = {type(rule) for rule in self.filters}
        for rule in FILTERS.values():
            unread = sorted(set(rule.hints) & set(request.hints))
            if unread and rule not in enabled:
                raise InvalidInput(
                    f"scheduler hint {unread[0]!r} is read by {rule.__name__}, "
                    "which enabled_filters of fleet_scheduler doesn't name"
                )

    def place(self, requests: t.Iterable[Request]) -> Placement:
        """Choose a host for each server; what is chosen counts for those after it."""
        batch = list(requests)
        if len({request.name for request in batch}) != len(batch):
            raise Conflict("two servers of one name were given to the scheduler")
        before = len(self._taken)
        placement = self._one_by_one(batch)
        searching = self.settings.batch == "auto" and self.settings.joint_time_limit > 0
        return self._jointly(batch, placement, before) if placement.refused and searching else placement

    def _jointly(self, batch: t.Sequence[Request], greedy: Placement, before: int) -> Placement:
        """What one by one has refused, the whole batch placed at once may have room for."""
        fresh = copy.copy(self)
        fresh.table, fresh._taken = self._empty.fork(), []
        for request, placed in self._taken[:before]:
            fresh.take(request, placed)
        placement = JointTry(fresh, batch, greedy).placement()
        if placement.placed is not greedy.placed:
            self.table, self._taken = fresh.table, fresh._taken
        return placement

    def _one_by_one(self, batch: t.Sequence[Request]) -> Placement:
        placed: dict[str, Placed] = {}
        refused: dict[str, Explanation] = {}
        alike: dict[t.Hashable, Explanation] = {}
        fewest_first = FewestFirst(self.table, self.filters, batch) if self.settings.batch == "auto" else None
        for request in fewest_first or batch:
            try:
                choice = self.choose(request)
            except InvalidInput as exc:
                refused[request.name] = Explanation(request.name, request.flavor.name, problem=str(exc))
                continue
            if choice is None:
                refused[request.name] = self._refuse(request, alike)
                continue
            placed[request.name] = self.take(request, choice)
            if fewest_first is not None:
                fewest_first.count(self.table.row[choice.host], request)
            alike.clear()
        return Placement(placed, refused)

    def take(self, request: Request, placed: Placed) -> Placed:
        """Count a server where it was placed."""
        placed = dataclasses.replace(placed, fit=self.table.consume(self.table.row[placed.host], request))
        self._taken.append((request, placed))
        return placed

    def _refuse(self, request: Request, alike: dict[t.Hashable, Explanation]) -> Explanation:
        """Once a fleet is full, many equal servers are refused in a row: they share the work of one explanation."""
        key = shape(request)
        if key not in alike:
            alike[key] = self.explain(request)
        return dataclasses.replace(alike[key], server=request.name)

    def explain(self, request: Request) -> Explanation:
        """What each filter leaves and why, and how the hosts left are weighed. Consumes nothing."""
        try:
            return self._explain(request)
        except InvalidInput as exc:
            return Explanation(request.name, request.flavor.name, problem=str(exc))

    def _explain(self, request: Request) -> Explanation:
        self._refuse_unread_hints(request)
        np = need("numpy")
        remaining = self.table.everywhere()
        left: list[tuple[str, int]] = []
        refusals: dict[str, Refusal] = {}
        for rule in self.filters:
            if not rule.concerns(request):
                continue
            mask = rule.mask(self.table, request)
            for row in np.flatnonzero(remaining & ~mask).tolist():
                refusals[self.table.hosts[row].name] = Refusal(rule.name, rule.reason(self.table, row, request) or "")
            remaining &= mask
            left.append((rule.name, int(remaining.sum())))
        rows = np.flatnonzero(remaining)
        weights: dict[str, dict[str, float]] = {}
        if len(rows):
            by_weigher = self._weigh(rows, request)
            for index in self._ranking(rows, by_weigher, request):
                host = self.table.hosts[rows[index]].name
                weights[host] = {name: float(values[index]) for name, values in by_weigher.items()}
        return Explanation(
            request.name,
            wants(request),
            hosts=len(self.table),
            left=left,
            refusals=dict(sorted(refusals.items())),
            weights=weights,
            host=next(iter(weights), None),
        )

    def choose(self, request: Request, at: int | None = None) -> Placed | None:
        """The best of the hosts that all filters pass; or the host in row *at*, if they pass that one."""
        self._refuse_unread_hints(request)
        mask = self.possible(request)
        rows = need("numpy").flatnonzero(mask)
        if not len(rows) or (at is not None and not mask[at]):
            return None
        weights = self._weigh(rows, request)
        ranking = self._ranking(rows, weights, request, self.settings.max_attempts)
        if at is not None:
            index = int(rows.searchsorted(at))
            ranking = [index, *(other for other in ranking if other != index)]
        names = [self.table.hosts[rows[index]].name for index in ranking]
        chosen = {name: float(values[ranking[0]]) for name, values in weights.items()}
        return Placed(names[0], chosen, names[1 : self.settings.max_attempts])

    def _weigh(self, rows: Ints, request: Request) -> dict[str, Floats]:
        """Weights by weigher, of those that make a difference. A single host is never weighed."""
        if len(rows) == 1:
            return {}
        weights = {weigher.name: weigher.weigh(self.table, rows, request) for weigher in self.weighers}
        return {name: values for name, values in weights.items() if values is not None}

    def _ranking(
        self, rows: Ints, weights: t.Mapping[str, Floats], request: Request, at_most: int | None = None
    ) -> list[int]:
        """Indices into *rows*, the choice first, then the others from best to worst; ties by name.

        Random choices are seeded by the server's name, so that runs repeat.
        """
        total: Floats = sum(weights.values(), start=need("numpy").zeros(len(rows)))
        subset = min(self.settings.host_subset_size, len(rows))
        shuffled = self.settings.shuffle_best_same_weighed_hosts
        ranking = _best_first(total, None if shuffled else max(subset, at_most or len(rows)))
        chance = random.Random(request.name)  # noqa: S311  # no secret hangs on it, and it must repeat
        if shuffled:
            best = [index for index in ranking if total[index] == total[ranking[0]]]
            ranking[: len(best)] = chance.sample(best, len(best))
        if subset > 1:
            ranking.insert(0, ranking.pop(chance.randrange(subset)))
        return ranking[:at_most]


def _best_first(total: Floats, at_most: int | None) -> list[int]:
    """Indices by descending weight, equal ones in their order. A few are found faster than all are sorted."""
    if at_most is None or at_most > _FEW:
        return t.cast("list[int]", (-total).argsort(kind="stable").tolist())
    total = total.copy()
    best = []
    for _rank in range(min(at_most, len(total))):
        best.append(int(total.argmax()))
        total[best[-1]] = -float("inf")
    return best


def place(hosts: t.Iterable[HostState], requests: t.Iterable[Request], settings: Settings | None = None) -> Placement:
    """Place a batch of servers on hosts. Pure: same input, same placement."""
    return Scheduler(hosts, settings).place(requests)


def explain(hosts: t.Iterable[HostState], request: Request, settings: Settings | None = None) -> Explanation:
    """Why a server can go where, and where it can't."""
    return Scheduler(hosts, settings).explain(request)


__all__ = ["Placed", "Placement", "Scheduler", "explain", "place"]
