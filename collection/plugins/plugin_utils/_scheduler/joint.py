# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exact search: a placement of a whole batch at once, by OR-tools' CP-SAT, or the proof that there is none.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The model knows what each kind of server takes of what hosts and pools have left (capacity, anti-affinity, limits of
instances and I/O operations), affinity, and the hints same_host and different_host; what placements don't change is in
the filters' masks. A server that anything else speaks about is not ``modelled``. Solving is deterministic: one worker,
one seed, and a limit in CP-SAT's own time, which is about a second each.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.affinity import (
    DifferentHostFilter,
    SameHostFilter,
    ServerGroupAffinityFilter,
    hint,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, Limit
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.order import Kind, possible
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask

# Rules that watch placements and have constraints of their own below.
_MODELLED = (ServerGroupAffinityFilter, SameHostFilter, DifferentHostFilter)
# More choices than these (kinds of servers x hosts) take longer to write down than anybody waits for a plan.
MOST_CHOICES = 200_000
# Units of CP-SAT's deterministic time that a processor of today works off in a second; it never asks the clock.
_SECOND = 0.35
# The part of the time that goes into a placement nearer to the one before, once there is any.
_FOR_NEARNESS = 0.2

Outcome = t.Literal["all", "some", "none", "unknown", "too large"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """``rows``: the row of each server's host. ``none``: it is proved that not all of them have a place; ``some``:
    so it is, but more of them than before have one. ``seconds`` it took to find or to prove that."""

    outcome: Outcome
    rows: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def modelled(kind: Kind) -> bool:
    return all(isinstance(rule, _MODELLED) for rule in kind.watching)


def reachable(table: Table, filters: t.Sequence[Filter], kind: Kind) -> Mask:
    """The hosts that a server of this kind could be on if the others of its batch were placed as it likes."""
    return possible(table, [rule for rule in filters if not isinstance(rule, SameHostFilter)], kind.request)


def search(
    table: Table, filters: t.Sequence[Filter], kinds: t.Sequence[Kind], before: t.Mapping[str, str], *, limit: float
) -> Answer:
    """Places for all servers of these kinds, near to where they were ``before`` (host by server; some have none)."""
    masks = [reachable(table, filters, kind) for kind in kinds]
    if sum(int(mask.sum()) for mask in masks) > MOST_CHOICES:
        return Answer("too large")
    model = _Model(table, kinds, masks, before)
    found = model.everyone(limit)
    if found.outcome != "none":
        return found
    more = model.as_many_as_possible(limit - model.spent)
    return dataclasses.replace(more if len(more.rows) > len(before) else found, seconds=found.seconds)


class _Model:
    """Variables: how many servers of each kind are on each host."""

    def __init__(
        self, table: Table, kinds: t.Sequence[Kind], masks: t.Sequence[Mask], before: t.Mapping[str, str]
    ) -> None:
        self._cp = need("ortools.sat.python.cp_model")
        self._table = table
        self._kinds = kinds
        self._before = before
        self._model = self._cp.CpModel()
        self._singles = {
            name: index for index, kind in enumerate(kinds) for name in (kind.request.name, kind.request.id) if name
        }
        self._counts = [self._variables(kind, mask) for kind, mask in zip(kinds, masks)]
        self._placed = [sum(counts.values()) for counts in self._counts]
        self._found: list[dict[int, int]] = []
        self.spent = 0.0
        self._limit()
        self._keep_together()
        for index in range(len(kinds)):
            self._obey_hints(index)
        self._kept = self._near_before()
        self._soft = self._soft_policies()

    def _variables(self, kind: Kind, mask: Mask) -> dict[int, t.Any]:
        """By row of the host; none where the kind can't be."""
        most = need("numpy").full(len(self._table), len(kind.requests), dtype="int64")
        for limit in kind.limits:
            if limit.amount > 0:
                most = most.clip(max=_room_of_hosts(limit) // limit.amount)
        rows = (mask & (most > 0)).nonzero()[0].tolist()
        return {row: self._model.new_int_var(0, int(most[row]), "") for row in rows}

    def _limit(self) -> None:
        """No provider gives more than it has."""
        taken: dict[tuple[t.Hashable, int], list[tuple[t.Any, int]]] = collections.defaultdict(list)
        limits: dict[t.Hashable, Limit] = {}
        for kind, counts in zip(self._kinds, self._counts):
            for limit in kind.limits:
                limits[limit.key] = limit
                for row, count in counts.items():
                    provider = row if limit.providers is None else int(limit.providers[row])
                    taken[limit.key, provider].append((count, limit.amount))
        for (key, provider), parts in taken.items():
            self._model.add(sum(count * amount for count, amount in parts) <= int(limits[key].room(provider)))

    def _keep_together(self) -> None:
        """The first member of an affinity group decides; where a group has members already, the masks say it."""
        groups: dict[str, list[int]] = collections.defaultdict(list)
        for index, kind in enumerate(self._kinds):
            group = kind.request.group
            watched = any(isinstance(rule, ServerGroupAffinityFilter) for rule in kind.watching)
            if group is not None and watched and not group.hosts and not self._table.members(group).any():
                groups[group.name].append(index)
        for indices in groups.values():
            here = {row: self._model.new_bool_var("") for index in indices for row in self._counts[index]}
            self._model.add_at_most_one(here.values())
            for index in indices:
                for row, count in self._counts[index].items():
                    self._model.add(count <= len(self._kinds[index].requests) * here[row])

    def _obey_hints(self, index: int) -> None:
        kind = self._kinds[index]
        many = len(kind.requests)
        for rule in kind.watching:
            if isinstance(rule, DifferentHostFilter):
                for other in self._others(index, "different_host"):
                    for row in self._counts[index].keys() & other.keys():
                        self._model.add(self._counts[index][row] <= many * (1 - other[row]))
            if isinstance(rule, SameHostFilter):
                there = {self._table.where(name) for name in hint(kind.request, "same_host")}
                others = self._others(index, "same_host")
                for row in self._counts[index].keys() - there:
                    with_them = sum(other[row] for other in others if row in other)
                    self._model.add(self._counts[index][row] <= many * with_them)

    def _others(self, index: int, name: str) -> list[dict[int, t.Any]]:
        """The variables of the servers that a hint names; each of them is a kind by itself."""
        named = {self._singles.get(server) for server in hint(self._kinds[index].request, name)} - {None, index}
        return [self._counts[other] for other in sorted(t.cast("set[int]", named))]

    def _near_before(self) -> list[t.Any]:
        """How many servers of a kind stay on the hosts that they have."""
        kept = []
        for kind, counts in zip(self._kinds, self._counts):
            was = collections.Counter(self._before.get(request.name) for request in kind.requests)
            for row, count in counts.items():
                staying = was[self._table.hosts[row].name]
                self._model.add_hint(count, staying)
                if staying:
                    kept.append(self._model.new_int_var(0, staying, ""))
                    self._model.add(kept[-1] <= count)
        return kept

    def _soft_policies(self) -> list[t.Any]:
        """One point for each host that members are on, or are not on, as the group's policy would like it."""
        points = []
        groups: dict[tuple[str, str], dict[int, list[t.Any]]] = {}
        for kind, counts in zip(self._kinds, self._counts):
            group = kind.request.group
            if group is not None and group.policy in ("soft-affinity", "soft-anti-affinity"):
                hosts = groups.setdefault((group.name, group.policy), {})
                for row, count in counts.items():
                    hosts.setdefault(row, []).append(count)
        for (_group, policy), hosts in groups.items():
            for here in hosts.values():
                point = self._model.new_bool_var("")
                if policy == "soft-anti-affinity":
                    self._model.add(point <= sum(here))
                else:
                    self._model.add(sum(here) <= len(self._singles) * (1 - point))
                points.append(point)
        return points

    def everyone(self, limit: float) -> Answer:
        """A place for every server: any placement first, then, for a while, one that is nearer to what was before."""
        model = self._model.clone()
        for kind, count in zip(self._kinds, self._placed):
            model.add(count == len(kind.requests))
        first = self._solve(model, limit, "all")
        if first.outcome != "all":
            return first
        model.clear_hints()
        for counts, found in zip(self._counts, self._found):
            for row, count in counts.items():
                model.add_hint(count, found[row])
        model.maximize(self._nearness())
        nearer = self._solve(model, min(limit - self.spent, limit * _FOR_NEARNESS), "all")
        seconds = first.seconds + nearer.seconds
        return dataclasses.replace(nearer if nearer.outcome == "all" else first, seconds=seconds)

    def as_many_as_possible(self, limit: float) -> Answer:
        model = self._model.clone()
        for kind, count in zip(self._kinds, self._placed):
            model.add(count <= len(kind.requests))
        most = (len(self._soft) + 1) * (len(self._before) + 1)
        model.maximize(most * sum(self._placed) + self._nearness())
        return self._solve(model, limit, "some")

    def _nearness(self) -> t.Any:
        return (len(self._soft) + 1) * sum(self._kept) + sum(self._soft)

    def _solve(self, model: t.Any, limit: float, outcome: Outcome) -> Answer:
        solver = self._cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        solver.parameters.max_deterministic_time = max(limit * _SECOND, 0.0001)
        status = solver.solve(model)
        self.spent += solver.response_proto.deterministic_time / _SECOND
        if status == self._cp.INFEASIBLE:
            return Answer("none", seconds=solver.wall_time)
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            return Answer("unknown", seconds=solver.wall_time)
        self._found = [{row: solver.value(count) for row, count in counts.items()} for counts in self._counts]
        rows: dict[str, int] = {}
        for kind, found in zip(self._kinds, self._found):
            rows.update(self._by_name(kind, dict(found)))
        return Answer(outcome, rows, solver.wall_time)

    def _by_name(self, kind: Kind, places: dict[int, int]) -> dict[str, int]:
        """Which server of a kind goes where: whoever can stay does, the others fill up in their order."""
        rows: dict[str, int] = {}
        for request in kind.requests:
            row = self._table.row.get(self._before.get(request.name, ""), -1)
            if places.get(row):
                rows[request.name] = row
                places[row] -= 1
        free = [row for row, count in sorted(places.items()) for dummy in range(count)]
        rows.update(zip([request.name for request in kind.requests if request.name not in rows], free))
        return rows


def _room_of_hosts(limit: Limit) -> t.Any:
    """What each host's provider has left."""
    room = limit.room(slice(None))
    if limit.providers is None:
        return room
    if not len(room):
        return need("numpy").zeros(len(limit.providers), dtype="int64")
    return need("numpy").where(limit.providers >= 0, room[limit.providers], 0)


__all__ = ["MOST_CHOICES", "Answer", "modelled", "reachable", "search"]
