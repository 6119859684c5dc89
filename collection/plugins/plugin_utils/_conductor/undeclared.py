# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the hosts and not in inventory: servers to prune, second copies, deletions whose time is over.

Note that this plugin util is **PRIVATE** to the collection.

Pruning deletes what a mistake in the inventory made disappear, so it is refused wherever the inventory may be
incomplete, and never goes beyond fleet_prune_max unless the very number is confirmed.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import domain_name
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.locked import lock_on_deleted
from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import foreign_disks
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    ServerPlan,
    Step,
    plan_prune,
    revert_steps,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.leftovers import after_evacuations, reclaimed
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import CONFLICT, ERROR, HELD
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reaching import reaching
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.snapshots import taken_away
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.told import forgotten
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    CONFLICT as WHERE_CONFLICT,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    FOUND,
    MISSING,
    Location,
    Whereabouts,
)

_NAMED = 5
_Copy = tuple[str, Guest, Record]


@dataclasses.dataclass(frozen=True)
class Undeclared:
    """The drafts of what is to be done about it, and what is only to be told."""

    drafts: tuple[Draft, ...] = ()
    notes: tuple[str, ...] = ()


def undeclared(given: Situation, where: Whereabouts) -> Undeclared:
    """All managed copies on hosts that are up which are not the one copy of a declared server."""
    if given.declared.settings.servers:  # a selection is about the servers that it names
        note = "fleet_prune is left aside: this run is about selected servers (fleet_servers)"
        return Undeclared(notes=(note,) if given.declared.settings.prune else ())
    drafts: list[Draft] = [*_left_over(given), *_unfinished(given, where), *reclaimed(given), *forgotten(given)]
    drafts.extend(taken_away(given))
    left: list[_Copy] = []
    named = set()
    for host, guest in where.ours():
        record = guest.record
        if record is None:
            continue
        if "soft_delete" in record.marks:
            drafts.extend(_reclaim(given, where, host, guest, record))
        elif record.name not in named:
            named.add(record.name)
            location = where.find(record.name)
            drafts.extend((*_second_copies(given, location), *after_evacuations(given, location)))
            if record.name in given.declared.servers or location.guest is None or location.record is None:
                continue
            if "soft_delete" not in location.record.marks:
                left.append((str(location.host), location.guest, location.record))
    if not given.declared.settings.prune:
        return Undeclared(_with_something(drafts), _told(left))
    _check_prune(given, left)
    pruned = (reaching(given, deletable(given, where, _prune(given, *copy))) for copy in left)
    return Undeclared(_with_something((*drafts, *pruned)))


#: Steps that delete disks which a server has had.
_DELETE = frozenset({"delete", "rebuild", "shelve", "unshelve"})


def deletable(given: Situation, where: Whereabouts, draft: Draft) -> Draft:
    """The draft, refused if it would delete disks that another copy stands on, or may.

    A host knows its own domains alone; whether another host has one of this id, or one on its disks, only the surveys
    of all say. On a pool that may be shared a host that is down may have one, too.
    """
    kinds = {step.kind for step in draft.plan.steps} & _DELETE
    if draft.record is None or not kinds:
        return draft
    foreign = foreign_disks(draft.record) if "shelve" in kinds else ()
    if foreign:
        names = ", ".join(f"{disk.volume} in pool {disk.pool}" for disk in foreign)
        return draft.refuse(ERROR, f"it can't be shelved: others have made its disk {names}, which is never deleted")
    host, server_id = str(draft.host), draft.record.id
    gone = {step.options.get("peer") for step in draft.plan.steps if step.kind in ("confirm_resize", "undo_migration")}
    settled = {compute.name for compute in given.computes if compute.host_id in gone}
    others = [other for other in where.elsewhere(host, server_id) if other not in settled]
    if others:
        names = ", ".join(others)
        what = "it is" if "delete" in kinds else "its disks are"
        return draft.refuse(CONFLICT, f"{what} not deleted on {host}: {names} has a copy of it, or of its disks, too")
    if "delete" not in kinds:
        return draft
    down = [compute.name for compute in given.computes if not compute.up and _may_have(given, compute, draft.record)]
    if down:
        names = ", ".join(down)
        return draft.refuse(HELD, f"it is not deleted now: {names} is down, and may have a copy on the same pool")
    return draft


def _may_have(given: Situation, compute: Compute, record: Record) -> bool:
    """Whether a host that is down may have the pool of a server's disks. Unknown counts as shared."""
    row = given.snapshot.hosts.get(compute.name) if given.snapshot is not None else None
    if record.root.pool_id is None or row is None or row.surveyed is None:
        return True
    return record.root.pool_id in row.summary.get("pools", [])


def _with_something(drafts: t.Iterable[Draft]) -> tuple[Draft, ...]:
    return tuple(draft for draft in drafts if draft.plan.steps or draft.plan.held or draft.message)


def _left_over(given: Situation) -> t.Iterator[Draft]:
    """What a run that died had begun to build, of servers that are not to be: nobody else cleans it up."""
    snapshot = given.snapshot
    for claim in snapshot.claims.values() if snapshot is not None else ():
        row = snapshot.servers.get(claim.server_id) if snapshot is not None else None
        if row is None or row.record is not None or not claim.begun or claim.run_id in _live(given):
            continue
        host = given.by_name.get(claim.host)
        if _wanted(given, claim.name) or host is None or not host.up:
            continue
        step = Step("delete", "left half built by a run that died")
        draft = Draft(claim.name, None, Location(MISSING, claim.host), host=claim.host, left_over=claim.server_id)
        yield draft.to_do(ServerPlan(steps=(step,)))


def _unfinished(given: Situation, where: Whereabouts) -> t.Iterator[Draft]:
    """Servers of the ledger that no host has a domain of, and that are not to be: a deletion died half-way, or somebody
    undefined them by hand. Their disks are there still."""
    snapshot = given.snapshot
    seen = {guest.id for _host, guest in where.ours()} | set(where.moving)
    for row in snapshot.servers.values() if snapshot is not None else ():
        deleted = row.vm_state == "soft-delete"
        compute = given.by_name.get(row.host or "")
        if row.id in seen or compute is None or not compute.up or (_wanted(given, row.name) and not deleted):
            continue
        record = row.loads()
        if record is None or row.run_id in _live(given) or not _has_volumes(compute, row.id):
            continue
        if not deleted and not given.declared.settings.prune and row.name not in given.declared.servers:
            continue
        name = domain_name(record) if deleted else row.name
        draft = Draft(name, None, Location(MISSING, row.host, None, record), host=row.host)
        yield deletable(given, where, draft.to_do(_rest_of(given, record, compute)))


def _rest_of(given: Situation, record: Record, compute: Compute) -> ServerPlan:
    mark = record.marks.get("soft_delete")
    over = mark is not None and given.leave.now - float(mark["at"]) >= given.leave.reclaim
    if over and not lock_on_deleted(record):
        return ServerPlan(steps=(Step("delete", "its deletion was not finished"),))
    return plan_prune(record, None, volumes=compute.volumes, leave=given.leave)


def _has_volumes(compute: Compute, server_id: str) -> bool:
    return any(volume.startswith(server_id) for volume in compute.volumes)


def _wanted(given: Situation, name: str) -> bool:
    server = given.declared.servers.get(name)
    return server is not None and server.state != "absent"


def _live(given: Situation) -> t.Collection[str]:
    return given.snapshot.runs if given.snapshot is not None else ()


def _reclaim(given: Situation, where: Whereabouts, host: str, guest: Guest, record: Record) -> t.Iterator[Draft]:
    """A server that was deleted softly goes for good when its time is over, whether inventory names it or not."""
    if record.name in given.declared.servers:
        location = where.find(record.name)
        if location.guest is guest or location.status == WHERE_CONFLICT:
            return  # it is that server's own plan, or nobody knows which is which
    # By its domain's name: a successor of its own name may be there.
    yield deletable(given, where, _prune(given, host, guest, record, name=domain_name(record)))


def _prune(given: Situation, host: str, guest: Guest, record: Record, name: str | None = None) -> Draft:
    plan = plan_prune(record, guest, volumes=given.volumes(host), leave=given.leave)
    return Draft(name or record.name, None, Location(FOUND, host, guest, record), host=host).to_do(plan)


def _second_copies(given: Situation, location: Location) -> t.Iterator[Draft]:
    """Plain ``virsh migrate`` leaves the source defined and off. It goes with leave to delete; its disks stay."""
    for host, guest in location.extra:
        if guest.record is None:
            continue
        step = Step("undefine", f"a second copy, off; the server is on {location.host}")
        its = resize_of(guest.record)
        if its is not None and its.reverting:
            # What a revert that was cut off has left: the server is back where it was.
            rest = revert_steps(guest.record, None, "its revert was cut off")[:1]
            name = f"{guest.record.name} ({host})"
            draft = Draft(name, None, Location(FOUND, host, guest, guest.record), host=host, copy=True)
            yield draft.to_do(ServerPlan(steps=tuple(rest)))
            continue
        allowed = "delete" in given.leave.allow
        plan = ServerPlan(steps=(step,)) if allowed else ServerPlan(held=(dataclasses.replace(step, hold="delete"),))
        name = f"{guest.record.name} ({host})"
        yield Draft(name, None, Location(FOUND, host, guest, guest.record), host=host, copy=True).to_do(plan)


def _told(left: t.Sequence[_Copy]) -> tuple[str, ...]:
    if not left:
        return ()
    names = sorted(f"{record.name} on {host}" for host, _guest, record in left)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    what = "is managed and not in inventory" if len(names) == 1 else "are managed and not in inventory"
    return (f"{', '.join(names[:_NAMED])}{more} {what}; declare server_state: absent, or run with fleet_prune: true",)


def _check_prune(given: Situation, left: t.Sequence[_Copy]) -> None:
    settings = given.declared.settings
    if not left:
        return
    if not given.declared.servers:
        raise InvalidInput(
            f"fleet_prune would delete all {len(left)} servers: the inventory's group servers is empty. "
            "Nothing was done; if that is meant, declare them with server_state: absent"
        )
    if len(left) > settings.prune_max and settings.prune_confirm != len(left):
        raise InvalidInput(
            f"fleet_prune would delete {len(left)} servers, and fleet_prune_max is {settings.prune_max}. "
            f"Nothing was done; if that is meant, say -e fleet_prune_confirm={len(left)}"
        )


__all__ = ["Undeclared", "deletable", "undeclared"]
