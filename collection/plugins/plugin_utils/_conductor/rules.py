# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that are where their zone or their server group no longer lets them be: inventory has changed since.

Note that this plugin util is **PRIVATE** to the collection.

Nova looks at these rules only when it places a server. Here what is declared holds: such a server gets a move, which
is held without leave to migrate. The soft policies of groups are wishes, and move nobody.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.leaving import (
    STAYS,
    WAY_COLD,
    WAY_LIVE,
    steps_out,
    way_out,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import by_leave
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import ServerPlan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import CHANGE, HELD, OK
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import left_behind
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import FOUND

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import Whereabouts
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import ServerGroup

#: What ``way_out`` may assume: ``by_leave`` asks for the leave, and names it.
_ANY = frozenset({"data_loss", "locked", "restart"})


@dataclasses.dataclass(frozen=True)
class Broken:
    """A rule that doesn't hold: why, and the host that the server is to go to, None where the scheduler chooses."""

    why: str
    host: str | None = None


class Member(t.NamedTuple):
    """A server of a group: those that run come first, since to move one that is off costs least."""

    off: bool
    name: str


def broken(declared: Declared, places: t.Mapping[str, tuple[str, bool]]) -> dict[str, Broken]:
    """Server -> the rule that is broken by where it is. *places*: server -> host, and whether it is off."""
    found: dict[str, Broken] = {}
    groups: dict[str, dict[str, list[Member]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for name, (host, off) in places.items():
        server = declared.servers.get(name)
        if server is None:
            continue
        zone, its = server.spec.get("availability_zone"), declared.catalogs.zones.get(host)
        if zone is not None and its is not None and zone != its:
            found[name] = Broken(f"declared in zone {zone}, {host} is in {its}")
        if server.spec.get("group") is not None:
            groups[server.spec["group"]][host].append(Member(off, name))
    for name, members in groups.items():
        group = declared.groups.get(name)
        for member, rule in _of_group(group, members) if group is not None else ():
            found.setdefault(member, rule)
    return found


def _of_group(group: ServerGroup, members: t.Mapping[str, t.Sequence[Member]]) -> t.Iterator[tuple[str, Broken]]:
    if group.policy == "anti-affinity":
        most = group.max_server_per_host
        for host, here in members.items():
            why = f"{host} has {len(here)} of server group {group.name!r} (anti-affinity, at most {most} per host)"
            yield from ((member.name, Broken(why)) for member in sorted(here)[most:])
    if group.policy == "affinity" and len(members) > 1:
        home = min(members, key=lambda host: (-len(members[host]), host))
        for host, here in members.items():
            why = f"most of server group {group.name!r} (affinity) are on {home}"
            yield from ((member.name, Broken(why, home)) for member in here if host != home)


def mended(drafts: t.Iterable[Draft], given: Situation, where: Whereabouts) -> t.Iterator[Draft]:
    """The drafts, with moves for those that are where a rule doesn't let them be."""
    rules = broken(given.declared, places_of(given, where))
    yield from (_moved(draft, rules[draft.name], given) if draft.name in rules else draft for draft in drafts)


def places_of(given: Situation, where: Whereabouts) -> dict[str, tuple[str, bool]]:
    """Server -> host, and whether it is off; what a move or an evacuation has left beside a server is none."""
    left = left_behind(given.computes, given.fleet_id)
    return {
        record.name: (host, not guest.active)
        for host, guest in where.ours()
        if (record := guest.record) is not None
        and id(guest) not in left
        and counts(record) == 2
        and "soft_delete" not in record.marks
    }


def _moved(draft: Draft, rule: Broken, given: Situation) -> Draft:
    """The draft with a move; as it was, if something else is to be done first, or it can't move as it is."""
    record, guest, plan = draft.record, draft.location.guest, draft.plan
    if record is None or guest is None or draft.location.status != FOUND or draft.verdict not in (OK, CHANGE, HELD):
        return draft
    asked = draft.server is not None and (draft.server.spec.get("host") or draft.server.state in ("absent", "shelved"))
    if draft.message or asked or any(step.kind != "update" for step in (*plan.steps, *plan.held)):
        return draft
    way = way_out(record, guest, _ANY)
    if way.kind == STAYS:
        return draft
    spec = next((step.spec for step in reversed(plan.steps) if step.spec is not None), None)
    move = ServerPlan(steps=tuple(steps_out(way, record, guest, rule.why, host=rule.host, spec=spec)))
    needs = ("migrate", "restart") if way.kind == WAY_COLD else ("migrate",)
    move = by_leave(move, record, given.leave, needs)
    # A live migration comes alone: what else is to be written down goes with it.
    before = () if way.kind == WAY_LIVE and move.steps else plan.steps
    return draft.to_do(ServerPlan(plan.differences, (*before, *move.steps), (*plan.held, *move.held)))


__all__ = ["Broken", "broken", "mended", "places_of"]
