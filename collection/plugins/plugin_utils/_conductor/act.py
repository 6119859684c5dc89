# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One of Nova's actions on one server, as a plan: found, free, in a state that allows it; its steps claimed.

Note that this plugin util is **PRIVATE** to the collection.

What can't be done is said before anything is touched: every refusal is an error here, none a verdict.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core import rebuilding
from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import (
    Request,
    outlook,
    plan_action,
    rule_of,
    standing,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import domain_name
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InProgress,
    InvalidInput,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES, check_destination
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import AFTER, refusal
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED, Leave, ServerPlan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation, as_applied
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    BUSY,
    FAILURES,
    NO_HOST,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import entry_result, image_args
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import check_name, check_pool
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.snapshots import uncatalogued
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import server_lines
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.undeclared import deletable
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    AWAY,
    FOUND,
    MISSING,
    NEW,
    Location,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation

#: Steps of actions that the scheduler has a say in.
_PLACED = frozenset({"grow", "rebuild", "resize", "revert_resize", "unshelve"}) | MOVES


#: Step -> the mark that it takes away, whatever the plan says.
_ENDS = {"rebuild": rebuilding.MARK, "restore": "soft_delete"}
#: Nova's words (exception.ServiceUnavailable), which say no host's name; ours do.
_UNAVAILABLE = "Service is unavailable at this time. "


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked for: ``server`` is a name, an id, or the domain's name of a server that was deleted softly.

    ``desired`` is the server as inventory declares it, None where it doesn't; ``host`` the one that the task runs for,
    None where the plan says where it goes.
    """

    server: str
    request: Request
    desired: Server | None = None
    host: str | None = None


class Act(Reconcile):
    """The plan of one action. FlotillaError says why there is none."""

    _asks = True

    def __init__(self, situation: Situation, asked: Asked) -> None:
        self._asked = asked
        self._outlook = ""
        super().__init__(situation)

    def _again(self, situation: Situation) -> Reconcile:
        return Act(situation, self._asked)

    def schedule(self) -> None:
        """An action is done where the server is; a shelved one is nowhere, and goes where it can. One that is resized
        stays where it is, if it fits there."""
        if any(step.kind in _PLACED for draft in self._drafts.values() for step in draft.plan.steps):
            super().schedule()

    def _refuse(self, explanation: Explanation) -> None:
        super()._refuse(explanation)
        draft = self._drafts[explanation.server]
        if self._asked.request.action == "resize":
            here = draft.location.host
            why = f"{draft.message} (a resize leaves a server on its host if it can; beside {here} no host takes it)"
            self._drafts[draft.name] = draft.refuse(NO_HOST, why)

    def _leave_to_move(self) -> Leave:
        """Who asks for a resize asks for all that it takes, as in Nova."""
        leave = self._given.leave
        return dataclasses.replace(leave, allow=leave.allow | {"migrate", "restart"})

    def _notes(self) -> tuple[str, ...]:
        return tuple(note for note in (self._outlook, *map(self._moved_away, self._drafts.values())) if note)

    def _moved_away(self, draft: Draft) -> str:
        """What reconcile will make of a server on another host than inventory names."""
        desired, to = self._asked.desired, self._destination(draft)
        if desired is None or desired.state in ("absent", "shelved"):
            return ""
        wanted = desired.spec.get("host")
        if to is None or wanted in (None, to):
            return ""
        return (
            f"inventory declares server_host {wanted}: a reconcile run with leave to migrate takes it back there; "
            f"set server_host: {to} to keep it where it is"
        )

    def _drafted(self) -> t.Iterable[Draft]:
        location = self._locate()
        record = t.cast(Record, location.record)
        catalogs = self._declared.catalogs
        request = dataclasses.replace(
            self._asked.request, images=catalogs.images, keypairs=catalogs.keypairs, flavors=catalogs.flavors
        )
        # It is done to what another run is at work on: it waits for nothing, and claims nothing.
        beside = request.action == "abort_migration"
        if not beside:
            self._check_free(record, location)
        task = "migrating" if beside and move_of(record) is not None else None
        plan = plan_action(request, record, location.guest, task_state=task)
        self._check_saved(plan, location)
        if plan.held:
            flag = plan.held[0].hold
            raise Refused(
                f"{record.name}: {request.action} needs leave ({plan.held[0].why}); "
                f"allow it with -e fleet_allow={flag}, or with allow: [{flag}] in the task"
            )
        # Where it goes, or whether it fits, is asked as for a declared one.
        server = as_applied(record, self._asked.desired) if any(step.kind in _PLACED for step in plan.steps) else None
        # A deleted one has given its name away, until it is to come back.
        name = record.name if request.action == "restore" else domain_name(record)
        draft = Draft(name, server, location, host=location.host, copy=beside).to_do(plan)
        if draft.move is not None:
            check_destination(record, draft.move.options.get("host"), location.host)
        missing = self.out_of_reach(draft)
        if missing:
            raise Conflict(f"{record.name}: {missing}")
        draft = self.reaching(deletable(self._given, self._where, draft))
        if draft.message:
            raise Conflict(f"{_UNAVAILABLE if draft.verdict == AWAY else ''}{record.name}: {draft.message}")
        self._outlook = self._left(plan, location)
        yield draft

    def _check_saved(self, plan: ServerPlan, location: Location) -> None:
        """A snapshot's name must be free, and its pool be there."""
        for step in plan.steps:
            if step.kind == "snapshot":
                found = uncatalogued(self._declared, self._given.computes, self._given.fleet_id)
                names = {kept.name for kept in found}
                check_name(str(step.options["name"]), self._declared.catalogs, names)
            if step.kind in ("snapshot", "shelve") and "pool" in step.options:
                check_pool(str(step.options["pool"]), self._given.by_name[str(location.host)])

    def _left(self, plan: ServerPlan, location: Location) -> str:
        """What reconcile will make of what the steps leave."""
        record, state = t.cast(Record, location.record), location.guest.state if location.guest else "shutoff"
        other = self._where.find(record.name).record
        if other is not None and other.id != record.id:
            return ""  # inventory speaks of that one
        if any(step.kind == "delete" for step in plan.steps):
            wanted = self._asked.desired is not None and self._asked.desired.state != "absent"
            return "inventory declares it: the next reconcile run makes it anew; take it out of there" if wanted else ""
        for step in plan.steps:
            state = "shutoff" if step.kind == "soft_delete" else AFTER.get(step.kind, state)
            marks = {**record.marks, **({"soft_delete": {"at": 0}} if step.kind == "soft_delete" else {}), **step.marks}
            if step.kind in _ENDS:
                marks[_ENDS[step.kind]] = None
            if step.kind == "shelve":
                marks[SHELVED] = {}
            spec = record.spec if step.spec is None else step.spec
            record = dataclasses.replace(record, spec=spec, marks={k: v for k, v in marks.items() if v is not None})
        return outlook(self._asked.desired, record, state, self._asked.request.leave)

    # -- where it is --------------------------------------------------------------------------------------------

    def _locate(self) -> Location:
        """Where the server is, on a host that is up and that nobody doubts."""
        location = self._find()
        self._check_host(location)
        name = self._asked.server
        if location.status == NEW:
            raise InvalidInput(f"there is no server {name!r}{self._hint()}")
        if location.status == AWAY:
            raise FlotillaError(f"{_UNAVAILABLE}{name}: {location.message}")
        if location.status not in (FOUND, MISSING) or location.doubt:
            raise Conflict(f"{name}: {location.message or location.doubt}")
        record = t.cast(Record, location.record)
        if location.guest is None and "shelved_offloaded" not in record.marks:
            raise FlotillaError(
                f"Instance {record.id} is not ready: {name} has no domain on {location.host} any more; the reconcile "
                "playbook defines it again"
            )
        if location.moved:
            raise Conflict(
                f"{name} is on {location.host}, and its record says another host: somebody moved it by hand; "
                "the reconcile playbook adopts it there, then ask again"
            )
        return location

    def _find(self) -> Location:
        wanted, deleted_too = self._asked.server, self._asked.request.action in ("restore", "force_delete")
        name = wanted
        deleted: dict[str, Location] = {}
        for host, guest in self._where.ours():
            record = guest.record
            if record is None or wanted not in (record.id, domain_name(record), record.name):
                continue
            if "soft_delete" in record.marks and (wanted != record.name or deleted_too):
                deleted[record.id] = Location(FOUND, host, guest, record)
            name = record.name
        if deleted:
            return self._deleted(*deleted.values())
        rows = self._given.snapshot.servers if self._given.snapshot is not None else {}
        return self._where.find(rows[wanted].name if wanted in rows else name)

    def _deleted(self, *found: Location) -> Location:
        """A server that was deleted softly; it comes back only if nobody has its name. By a name that others have, too,
        nobody knows which is meant."""
        record, restores = t.cast(Record, found[0].record), self._asked.request.action == "restore"
        other = self._where.find(record.name)
        live = other.record is not None and "soft_delete" not in other.record.marks
        alike = sorted(domain_name(t.cast(Record, each.record)) for each in found)
        if other.record is not None and live and not restores:
            alike.insert(0, other.record.id)
        if self._asked.server == record.name and len(alike) > 1:
            raise Conflict(f"there are {len(alike)} servers named {record.name!r}: {', '.join(alike)}; say which")
        if restores and live:
            name = domain_name(record)
            raise Conflict(f"{name} can't be restored: a server on {other.host} has the name {record.name!r}")
        return found[0]

    def _check_host(self, location: Location) -> None:
        asked = self._asked.host
        if asked is not None and location.host not in (None, asked):
            raise InvalidInput(
                f"{self._asked.server} is on {location.host}, and this task runs for {asked}; "
                f"delegate_to {location.host}"
            )

    def _hint(self) -> str:
        rows = self._given.snapshot.servers.values() if self._given.snapshot is not None else ()
        names = {row.name for row in rows} | {guest.record.name for _host, guest in self._where.ours() if guest.record}
        near = difflib.get_close_matches(self._asked.server, sorted(names), 1)
        if near:
            return f"; did you mean {near[0]!r}?"
        return "; the status playbook lists them" if names else "; this fleet has none"

    # -- whether it is free -------------------------------------------------------------------------------------

    def _check_free(self, record: Record, location: Location) -> None:
        """Nova lets one task at a time work on a server, and so do we; the ledger's compare and swap has the last
        word."""
        request = self._asked.request
        owner = self._given.owners.get(record.id)
        if owner is not None:
            snapshot = self._given.snapshot
            row = snapshot.servers.get(record.id) if snapshot is not None else None
            task = (row.task_state if row is not None else None) or "scheduling"
            now = dataclasses.replace(standing(record, location.guest, request.leave), task_state=task)
            text = refusal(rule_of(request), record.id, now)
            words = text if text is not None and "task_state" in text else f"{record.name} is busy"
            raise InProgress(f"{words}: {owner} is at work on it; run again when it has ended")
        host = self._given.by_name.get(str(location.host))
        if move_of(record) is not None:
            raise InProgress(
                f"{record.name} is busy: a run that was cut off was moving it; "
                "the reconcile playbook waits for its end, or ends it; then ask again"
            )
        if host is not None and record.id in host.at_work:
            raise InProgress(
                f"{record.name} is busy: a step of a run that was cut off is still at work on it on {host.name}; "
                "run again when it has ended"
            )


def planned(
    declared: Declared, computes: t.Sequence[Compute], run: Run, asked: Asked, *, now: float
) -> dict[str, Json]:
    """The entry of a plan for one action, claimed unless this is check mode; what the host is given, and the text."""
    plan, fleet = reconcile(declared, computes, run, now=now, drafting=lambda situation: Act(situation, asked))
    (entry,) = plan.servers
    if entry.verdict in FAILURES or entry.verdict == BUSY:
        raise InProgress(f"{entry.name}: {entry.message}")
    result = entry_result(entry, declared, run_id=run.id, fleet=fleet)
    notes = list(plan.notes)
    result["images"] = image_args(next(host for host in plan.hosts if host.name == entry.host))
    return {**result, "action": asked.request.action, "notes": notes, "text": _text(entry, asked, notes)}


def _text(entry: ServerEntry, asked: Asked, notes: t.Sequence[str]) -> list[str]:
    lines = server_lines(entry) or ["nothing to do"]
    head = f"Action {asked.request.action} on server {entry.name} on {entry.host}:"
    return [head, *(f"  {line}" for line in lines), *(f"  note: {note}" for note in notes)]


__all__ = ["Act", "Asked", "planned"]
