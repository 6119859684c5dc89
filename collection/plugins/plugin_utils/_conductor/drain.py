# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compute host is emptied, and filled again: which servers leave it and come back, how, in which order and where to.

Note that this plugin util is **PRIVATE** to the collection.

Both are plans of moves that the reconcile run carries out as any other. The destinations are chosen together, with all
rules of the scheduler. What can't move is in the plan too, and says why.
"""

from __future__ import annotations

import collections
import dataclasses
import types
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import domain_name
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.leaving import STAYS, Way, steps_out, way_out
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED, ServerPlan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation, as_applied
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    AWAY,
    BUSY,
    CONFLICT,
    HELD,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import FOUND, Location
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation, Refusal
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claimed, MigrationRow

#: Server -> host -> what stands against its move there.
Against = t.Mapping[str, t.Mapping[str, str]]
#: What the journal calls a move: out of a host that is emptied, and back to it.
DRAIN = "drain"
UNDRAIN = "undrain"
#: Whereabouts that are no place to move a server from -> the verdict.
_NOWHERE = {"away": AWAY, "held": HELD, "conflict": CONFLICT}
#: Statuses of migrations that have taken the server to its destination, and of those that never will.
_DONE = frozenset({"completed", "confirmed", "done", "finished"})
_FAILED = frozenset({"cancelled", "error", "failed", "reverted"})


class _Moves(Reconcile):
    """A plan of moves from or to one host. *against*: server -> host -> what the two hosts of that move have said
    stands against it, where something does; such a server goes to another host, as in Nova, or stays."""

    kind = DRAIN

    def __init__(self, situation: Situation, host: str, against: Against = types.MappingProxyType({})) -> None:
        self._host = host
        self._against = against
        check_host(situation, host)
        super().__init__(situation)
        self._drafts = {draft.name: draft for draft in sorted(self._drafts.values(), key=_order)}

    def _again(self, situation: Situation) -> Reconcile:
        return type(self)(situation, self._host, self._against)

    def schedule(self) -> None:
        """Choose all destinations. A group that is to be on one host goes as a whole or not at all."""
        wanted, kept = dict(self._drafts), dict[str, Draft]()
        while True:
            super().schedule()
            torn = self._torn()
            if not torn:
                return
            kept.update((name, wanted[name].refuse(HELD, why)) for name, why in torn.items())
            self._drafts = {**wanted, **kept}  # what they leave may be room for others
            self._explanations.clear()

    def _unfit(self, draft: Draft) -> set[str]:
        return super()._unfit(draft) | self._against.get(draft.name, {}).keys()

    def _refuse(self, explanation: Explanation) -> None:
        """What the hosts have said is why they don't get the server, in their own words."""
        said = {host: Refusal("the hosts", why) for host, why in self._against.get(explanation.server, {}).items()}
        refusals = {host: said.get(host, refusal) for host, refusal in explanation.refusals.items()}
        super()._refuse(dataclasses.replace(explanation, refusals=refusals))

    def _torn(self) -> dict[str, str]:
        """Servers whose move would spread their affinity group over more hosts, with the reason."""
        moving = {name: str(draft.host) for name, draft in self._drafts.items() if draft.move is not None}
        members: dict[str, dict[str, str]] = collections.defaultdict(dict)
        for host, guest in self._where.ours():
            record = t.cast(Record, guest.record)
            group = self._declared.groups.get(self._group_of(record))
            if group is not None and group.policy == "affinity" and counts(record) == 2:
                members[group.name][record.name] = host
        found: dict[str, str] = {}
        for group_name, before in members.items():
            after = {name: moving.get(name, host) for name, host in before.items()}
            if len(set(after.values())) > len(set(before.values())):
                left = listed(sorted(name for name in before if name in self._drafts and name not in moving))
                why = f"server group {group_name!r} (affinity) stays together, and there is no place for {left}"
                found.update((name, why) for name in before if name in moving)
        return found

    def _group_of(self, record: Record) -> str:
        desired = self._declared.servers.get(record.name)
        spec = record.spec if desired is None else desired.spec
        return str(spec.get("group") or "")

    def _moves(self, location: Location, to: str | None, why: str) -> Draft:
        """How the server at *location* goes to the host *to*, or wherever the scheduler sends it (None)."""
        record, guest = t.cast(Record, location.record), t.cast(Guest, location.guest)
        desired = self._declared.servers.get(record.name)
        draft = Draft(record.name, as_applied(record, desired), location, host=location.host)
        busy = self._busy(record.name, location) or self._at_work(record, location)
        if busy:
            return draft.refuse(BUSY, busy)
        if location.doubt:
            return draft.refuse(HELD, location.doubt)
        if location.moved or not guest.persistent:
            return draft.refuse(HELD, "somebody has moved it here by hand; the reconcile playbook adopts it first")
        way = way_out(record, guest, self._given.leave.allow)
        if way.kind == STAYS:
            return draft.refuse(HELD, way.why)
        # That there is leave for what they need, way_out has seen.
        steps = (dataclasses.replace(step, hold=None) for step in steps_out(way, record, guest, why, host=to))
        return self.reaching(dataclasses.replace(draft, way=way.kind).to_do(ServerPlan(steps=tuple(steps))))

    def _at_work(self, record: Record, location: Location) -> str:
        host = self._given.by_name.get(str(location.host))
        if host is None or record.id not in host.at_work:
            return ""
        return f"a step of a run that was cut off is still at work on it on {host.name}; run again when it has ended"

    def _pinned(self, record: Record) -> str | None:
        """The host that inventory declares the server on."""
        desired = self._declared.servers.get(record.name)
        return None if desired is None else desired.spec.get("host")

    def _entry(self, draft: Draft, won: t.Mapping[str, Claimed] | None) -> ServerEntry:
        return dataclasses.replace(
            super()._entry(draft, won),
            declared=draft.name in self._declared.servers,
            way=draft.way if draft.plan.steps else STAYS,
            journal={self.kind: self._host},
        )

    def _notes(self) -> tuple[str, ...]:
        return self._placement_notes


class Drain(_Moves):
    """All servers leave a host."""

    def _drafted(self) -> t.Iterable[Draft]:
        for host, guest in self._where.ours():
            if host == self._host:
                yield self._leaves(guest, t.cast(Record, guest.record))

    def _leaves(self, guest: Guest, record: Record) -> Draft:
        here = Location(FOUND, self._host, guest, record)
        if "soft_delete" in record.marks:
            return Draft(domain_name(record), None, here, host=self._host).refuse(HELD, self._why(guest, record))
        location = self._where.find(record.name, record.id)
        if location.guest is not guest and location.status in _NOWHERE:
            draft = Draft(record.name, None, here, host=self._host)
            return draft.refuse(_NOWHERE[location.status], location.message)
        if location.guest is not guest:
            copy = Draft(f"{record.name} ({self._host})", None, here, host=self._host, copy=True)
            return copy.refuse(HELD, self._why(guest, record, beside=str(location.host)))
        pinned = self._pinned(record)
        if pinned == self._host:
            draft = Draft(record.name, None, location, host=self._host)
            return draft.refuse(HELD, f"inventory declares it on {pinned} (server_host); take that out first")
        return self._moves(location, pinned, f"{self._host} is emptied")

    def _why(self, guest: Guest, record: Record, beside: str = "") -> str:
        way: Way = way_out(record, guest, self._given.leave.allow)
        if way.kind == STAYS or not beside:
            return way.why
        return (
            f"it is a second copy, off; the server is on {beside}, and reconcile with fleet_allow=delete undefines it"
        )

    def _notes(self) -> tuple[str, ...]:
        return (*super()._notes(), *self._foreign(), *self._shelved())

    def _foreign(self) -> t.Iterator[str]:
        guests = self._given.by_name[self._host].guests
        ours = {guest.id for host, guest in self._where.ours() if host == self._host}
        names = sorted(guest.name for guest in guests if guest.id not in ours)
        if names:
            yield f"not this fleet's, and left alone on {self._host}: {listed(names)}"

    def _shelved(self) -> t.Iterator[str]:
        rows = self._given.snapshot.servers.values() if self._given.snapshot is not None else ()
        names = sorted(row.name for row in rows if row.host == self._host and row.vm_state == SHELVED)
        if names:
            yield f"shelved, with snapshots in pools of {self._host}: {listed(names)}"


class Undrain(_Moves):
    """The servers that have left a host by a drain come back. *left*: their ids (``to_return``)."""

    kind = UNDRAIN

    def __init__(
        self,
        situation: Situation,
        host: str,
        left: t.Sequence[str],
        against: Against = types.MappingProxyType({}),
    ) -> None:
        self._left = left
        super().__init__(dataclasses.replace(situation, computes=enabled(situation.computes, host)), host, against)

    def _again(self, situation: Situation) -> Reconcile:
        return type(self)(situation, self._host, self._left, self._against)

    def _drafted(self) -> t.Iterable[Draft]:
        snapshot = self._given.snapshot
        for server_id in self._left:
            row = snapshot.servers.get(server_id) if snapshot is not None else None
            if row is not None and row.vm_state != SHELVED:
                yield from self._returns(self._where.find(row.name, server_id), row.name)

    def _returns(self, location: Location, name: str) -> t.Iterator[Draft]:
        draft = Draft(name, None, location, host=location.host)
        if location.status in _NOWHERE:
            yield draft.refuse(_NOWHERE[location.status], location.message)
            return
        if location.guest is None or location.record is None or location.host == self._host:
            return  # it is no more, or back
        pinned = self._pinned(location.record)
        if pinned not in (None, self._host):
            yield draft.refuse(HELD, f"inventory declares it on {pinned} (server_host)")
            return
        yield self._moves(location, self._host, f"back to {self._host}, which it had left")


def check_host(given: Situation, host: str) -> None:
    """The host is one of inventory and answers; FlotillaError says otherwise."""
    compute = given.by_name.get(host)
    if compute is None:
        known = ", ".join(sorted(given.by_name)) or "none"
        raise InvalidInput(f"Compute host {host} not found. There are: {known}")
    if not compute.up:
        raise Refused(
            f"{host} is down: {compute.why}; its servers can't be moved. Where it is dead for good they are evacuated"
        )
    row = given.snapshot.hosts.get(host) if given.snapshot is not None else None
    state, _reason = compute.service((row.service_state, row.service_reason) if row is not None else None)
    if state == "down":
        raise Refused(f"{host} is forced down (module compute, state down); enable it before its servers are moved")


def enabled(computes: t.Sequence[Compute], host: str) -> tuple[Compute, ...]:
    """The hosts as they are when *host* takes servers again. Refused if inventory keeps it from that."""
    return tuple(_enabled(compute) if compute.name == host else compute for compute in computes)


def _enabled(compute: Compute) -> Compute:
    if compute.settings.state != "enabled":
        raise Refused(f"inventory keeps {compute.name} {compute.settings.state} (compute_state); change it there first")
    marker = compute.marker
    if compute.survey is None or marker is None or (marker.get("service") or {}).get("state") == "down":
        return compute
    service = {"state": "enabled", "reason": None}
    return dataclasses.replace(compute, survey={**compute.survey, "marker": {**marker, "service": service}})


def to_return(rows: t.Iterable[MigrationRow], host: str, places: t.Mapping[str, str | None]) -> list[str]:
    """The ids of servers whose way back leads to *host*, in the order in which they left.

    *rows*: the journal, oldest first; *places*: the host of each server. A server that has since been moved by anything
    but a drain of another host, or its end, is where somebody wants it.
    """
    by_server: dict[str, list[MigrationRow]] = {}
    for row in rows:
        if row.destination != row.source and _arrived(row, places.get(row.server_id)):
            by_server.setdefault(row.server_id, []).append(row)
    left = {server_id: _last_exit(its, host) for server_id, its in by_server.items()}
    found = [(row.created, server_id) for server_id, row in left.items() if row is not None]
    return [server_id for _created, server_id in sorted(found)]


def _arrived(row: MigrationRow, place: str | None) -> bool:
    """Whether the move has taken its server away. One whose run was cut off has, if the server is there."""
    return row.status in _DONE or (row.status not in _FAILED and place == row.destination)


def _last_exit(rows: t.Sequence[MigrationRow], host: str) -> MigrationRow | None:
    for row in reversed(rows):
        if row.data.get(DRAIN) == host:
            return row
        if row.data.get(UNDRAIN) == host or not (row.data.keys() & {DRAIN, UNDRAIN} or row.kind == "evacuation"):
            return None
    return None


def _order(draft: Draft) -> tuple[t.Any, ...]:
    """By server_priority, the smallest first."""
    record = draft.record
    if record is None:
        return (0, 0, 0, draft.name)
    disks = sum(disk.size for disk in record.disks if disk.role != "config")
    spec = record.spec if draft.server is None else draft.server.spec
    return (-int(spec.get("priority") or 0), record.flavor.ram, disks // GIB, draft.name)


def asked_for(host: str | None, servers: t.Sequence[str], kind: str) -> str:
    """The host that fleet_host names. InvalidInput if it is not said, or only some servers were asked for."""
    if host is None:
        raise InvalidInput(f"say which compute host: playbook {kind} -e fleet_host=kvm1")
    if servers:
        raise InvalidInput(f"{kind} takes all servers of a host; fleet_servers selects some, leave it out")
    return host


__all__ = ["DRAIN", "UNDRAIN", "Against", "Drain", "Undrain", "asked_for", "check_host", "enabled", "to_return"]
