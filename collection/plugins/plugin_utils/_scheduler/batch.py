# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second try for a batch of which servers were refused one by one: the joint search, checked by the filters.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.joint import (
    Answer,
    modelled,
    reachable,
    search,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.order import Kind, kinds

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import (
        Placed,
        Placement,
        Scheduler,
    )

# As many servers are named in a note; the plan has the rest.
_NAMED = 8


class JointTry:
    """``fresh`` is the scheduler as it was before the batch; what is placed jointly is counted in it.

    Servers that no host could take even alone stay refused. Those with rules that the search doesn't know stay where
    they were placed one by one, and the others are searched places around them.
    """

    def __init__(self, fresh: Scheduler, batch: t.Sequence[Request], greedy: Placement) -> None:
        self._scheduler = fresh
        self._greedy = greedy
        self._batch = sorted(
            (
                request
                for request in batch
                if request.name in greedy.placed or greedy.refused[request.name].problem is None
            ),
            key=lambda request: request.name,
        )
        self._fixed: dict[str, Placed] = {}
        self._unknown: list[str] = []

    def placement(self) -> Placement:
        """The greedy one, with a note, unless the search found a better one that all filters pass."""
        found = self._searched()
        if not self._unknown or len(self._batch) < 2:
            return found
        names = _some(sorted(self._unknown))
        note = f"{names}: another order of the batch may have a place; the joint search doesn't know all of their rules"
        return dataclasses.replace(found, notes=(*found.notes, note))

    def _searched(self) -> Placement:
        fresh = self._scheduler
        sought = self._sought()
        refused = sorted(request.name for kind in sought for request in kind.requests if self._was_refused(request))
        if not refused or sum(len(kind.requests) for kind in sought) < 2:
            return self._greedy
        try:
            need("ortools.sat.python.cp_model")
        except FlotillaError as exc:
            return self._noted(f"{_some(refused)}: a joint search might have found a place; {exc}")
        if not self._put_aside(sought):
            return self._noted("no joint search: servers that it doesn't know depend on the order of the others")
        # Anew, since their limits are read from the table.
        sought = kinds(fresh.table, fresh.filters, [request for kind in sought for request in kind.requests])
        before = {name: placed.host for name, placed in self._greedy.placed.items() if name not in self._fixed}
        before = {request.name: before[request.name] for request in _all(sought) if request.name in before}
        limit = fresh.settings.joint_time_limit
        answer = search(fresh.table, fresh.filters, sought, before, limit=limit)
        if not answer.rows or answer.outcome == "none":
            return self._noted(self._shortfall(answer, sought))
        placed = self._checked(answer, _all(sought))
        if placed is None:
            return self._noted("none found: the joint search's placement doesn't pass all filters in any order")
        return self._better(answer, placed, sought)

    def _was_refused(self, request: Request) -> bool:
        return request.name in self._greedy.refused

    def _sought(self) -> list[Kind]:
        """The kinds that the search knows, without those that fit nowhere even alone."""
        fresh = self._scheduler
        known: list[Kind] = []
        for kind in kinds(fresh.table, fresh.filters, self._batch):
            if not modelled(kind):
                if fresh.possible(kind.request).any():
                    self._unknown += [request.name for request in kind.requests if self._was_refused(request)]
            elif reachable(fresh.table, fresh.filters, kind).any():
                known.append(kind)
        return known

    def _put_aside(self, sought: t.Sequence[Kind]) -> bool:
        """Count the servers that the search doesn't know where they were placed one by one."""
        searched = {request.name for request in _all(sought)}
        requests = {request.name: request for request in self._batch}
        for name, placed in self._greedy.placed.items():
            if name in searched:
                continue
            choice = self._scheduler.choose(requests[name], self._scheduler.table.row[placed.host])
            if choice is None:
                return False
            self._fixed[name] = self._scheduler.take(requests[name], choice)
        return True

    def _checked(self, answer: Answer, requests: t.Sequence[Request]) -> dict[str, Placed] | None:
        """The placement folded through the filters, in an order in which each server finds what its hints ask for."""
        placed: dict[str, Placed] = {}
        waiting = [request for request in requests if request.name in answer.rows]
        while waiting:
            later = []
            for request in waiting:
                choice = self._scheduler.choose(request, answer.rows[request.name])
                if choice is None:
                    later.append(request)
                    continue
                placed[request.name] = self._scheduler.take(request, choice)
            if len(later) == len(waiting):
                return None
            waiting = later
        return placed

    def _better(self, answer: Answer, found: dict[str, Placed], sought: t.Sequence[Kind]) -> Placement:
        greedy, fresh = self._greedy, self._scheduler
        placed = {**self._fixed, **found}
        left = []
        for request in _all(sought):
            if request.name in placed:
                continue
            # The search may have ended before it knew the most that can be placed.
            choice = fresh.choose(request)
            if choice is None:
                left.append(request)
            else:
                placed[request.name] = fresh.take(request, choice)
        refused: dict[str, Explanation] = {
            name: explanation for name, explanation in greedy.refused.items() if name not in placed
        }
        refused.update((request.name, fresh.explain(request)) for request in left)
        moved = sorted(
            f"{name} from {greedy.placed[name].host} to {choice.host}"
            for name, choice in found.items()
            if name in greedy.placed and greedy.placed[name].host != choice.host
        )
        newly = sorted(name for name in placed if name in greedy.refused)
        how = f"; moved {_some(moved)}" if moved else ""
        many = (
            _all_of(len(found))
            if answer.outcome == "all"
            else f"{len(_all(sought)) - len(left)} of {len(_all(sought))}"
        )
        what = f"placed jointly: {_some(newly)} had no host left one by one, now {many} have one{how}"
        if answer.outcome == "some":
            what = f"{what}; {self._shortfall(answer, sought)}"
        return dataclasses.replace(greedy, placed=placed, refused=refused, notes=(*greedy.notes, what))

    def _shortfall(self, answer: Answer, sought: t.Sequence[Kind]) -> str:
        everyone = _all_of(len(_all(sought)))
        if answer.outcome == "too large":
            return f"no joint search for {everyone}: the batch is too large for it"
        if answer.outcome == "unknown":
            limit = self._scheduler.settings.joint_time_limit
            return f"a placement of {everyone} may exist: none found within {limit:g} s (joint_time_limit)"
        around = f" with {_some(sorted(self._fixed))} where one by one put them" if self._fixed else ""
        return f"no placement of {everyone} exists{around} (proved in {answer.seconds:.1f} s)"

    def _noted(self, note: str) -> Placement:
        return dataclasses.replace(self._greedy, notes=(*self._greedy.notes, note))


def _all(sought: t.Sequence[Kind]) -> list[Request]:
    return [request for kind in sought for request in kind.requests]


def _all_of(count: int) -> str:
    return f"all {count}"


def _some(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


__all__ = ["JointTry"]
