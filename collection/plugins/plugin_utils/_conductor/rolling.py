# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which a run interrupts guests: some of each server group at once, the next when these are healthy.

Note that this plugin util is **PRIVATE** to the collection.

First all servers that are not interrupted, together; then the others round by round. Of a group never more are in a
round than ``fleet_max_disrupted`` says. Servers of no group count as one group. One that has failed, or is not healthy,
stays disrupted: it takes the place of another.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import count_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared

#: Steps that take a running guest down, and those that bring one up.
_DOWN = frozenset({"stop", "suspend", "reboot", "hard_reboot", "shelve"})
_UP = frozenset({"start", "resume", "reboot", "hard_reboot", "unshelve"})
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Turn:
    """A server's place among those of its group that are interrupted in the same round: ``position`` from 0 up."""

    group: str
    limit: int
    position: int

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Rounds:
    """``together``: servers that are not interrupted. ``order``: the others in that of their rounds, with how many each
    round has (none: all in one) and the turns of those that are limited."""

    together: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    turns: t.Mapping[str, Turn] = dataclasses.field(default_factory=dict)


def interrupts(kinds: t.Sequence[str]) -> bool:
    """Whether steps of these kinds take a guest down and bring it up again. One that is to be off is not disrupted."""
    down = next((index for index, kind in enumerate(kinds) if kind in _DOWN), None)
    return down is not None and any(kind in _UP for kind in kinds[down:])


def rounds(steps: t.Mapping[str, t.Sequence[str]], declared: Declared) -> Rounds:
    """The rounds of servers with their steps' kinds, in the plan's order; all in one where nothing limits them."""
    together = tuple(name for name, kinds in steps.items() if not interrupts(kinds))
    rolled = tuple(name for name, kinds in steps.items() if interrupts(kinds))
    most = declared.settings.max_disrupted
    if most is None:
        return Rounds(together, rolled)
    groups = {name: str(server.spec.get("group") or "") for name, server in declared.servers.items()}
    members = collections.Counter(groups.values())
    taken: collections.Counter[str] = collections.Counter()
    turns: dict[str, Turn] = {}
    places: dict[str, int] = {}
    for name in rolled:
        group = groups.get(name, "")
        limit = max(1, count_of(most, members[group]))
        places[name], position = divmod(taken[group], limit)
        turns[name] = Turn(group, limit, position)
        taken[group] += 1
    sizes = collections.Counter(places.values())
    order = sorted(places, key=lambda name: places[name])  # stable: within a round the plan's order stays
    return Rounds(together, tuple(order), tuple(sizes[number] for number in sorted(sizes)), turns)


def too_many(turn: t.Mapping[str, Json], failed: t.Collection[str]) -> str:
    """Why a server may not be interrupted now: of its group too many are *failed*. Empty if it may."""
    if not failed or len(failed) + turn["position"] < turn["limit"]:
        return ""
    group = f"of server group {turn['group']!r}" if turn["group"] else "of no server group"
    return (
        f"not begun: fleet_max_disrupted lets {turn['limit']} {group} be down at once, and not healthy are "
        f"{named(failed)}; mend them and run again"
    )


def named(names: t.Collection[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


__all__ = ["Rounds", "Turn", "interrupts", "named", "rounds", "too_many"]
