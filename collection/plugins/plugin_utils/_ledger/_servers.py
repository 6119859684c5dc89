# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and servers: what surveys found, what steps are at work on, what came of them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, Stale
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._found import (
    differences,
    host_row,
    write_hosts,
    write_servers,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._owned import (
    close_actions,
    drop_claims,
    forget,
    undo_claims,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import (
    Part,
    bump,
    live_runs,
    text_of,
    values,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    ActionRow,
    HostSeen,
    RunRow,
    ServerRow,
    ServerSeen,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import (
    bury,
    occupy,
    refuse_stopped,
    renew,
    wait_for_slot,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Servers"]

_STEP = "step"  # the kind of the slots that steps on servers take
_MOVE = "move"  # of those that a server on its way to another host takes at both ends


class Servers(Part):
    def save_survey(self, hosts: t.Iterable[HostSeen]) -> None:
        """Complete surveys of these hosts were made just now."""
        with self._database.write() as tx:
            write_hosts(tx, list(hosts))

    def set_service(self, host: str, state: str, reason: str | None = None) -> bool:
        """A host's service state, as `compute` sets it; True if it was another."""
        with self._database.write() as tx:
            table = tx.tables.hosts
            row = tx.first(table.select().where(table.c.name == host))
            if row is not None and (row.service_state, row.service_reason) == (state, reason):
                return False
            if row is None:
                new = host_row(HostSeen(host, None, state, reason))
                tx.run(table.insert().values(**new, generation=1, surveyed=None, failed_builds=0))
                return True
            changed = {"service_state": state, "service_reason": reason, "generation": row.generation + 1}
            if state != row.service_state:
                changed["failed_builds"] = 0  # somebody has looked at the host
            tx.run(table.update().where(table.c.name == host).values(**changed))
            return True

    def observe(
        self,
        seen: t.Iterable[ServerSeen],
        gone: t.Collection[str] = (),
        *,
        since: float,
        nothing_left: t.Collection[str] = (),
    ) -> tuple[str, ...]:
        """Servers as a survey that began at *since* (``now()`` before it) found them; *gone*: ids that are nowhere.

        *nothing_left*: ids of which a claimed host shows nothing: no guest, no volume, no step at work. What a run that
        is over had claimed for them there is as if it was never begun: free.
        Writes differences only, and nothing at all if there are none. What the ledger learned later than the survey,
        and what another live run owns, is newer, and of two live servers of one name neither is the right one: these
        stay as they are in the ledger, and their ids are returned.
        """
        found = {server.id: server for server in seen}
        with self._database.read() as tx:
            new = differences(tx, found, gone, nothing_left, since)
        if not new.any():
            return tuple(sorted(new.left_out))
        with self._database.write() as tx:
            bury(tx)
            new = differences(tx, found, gone, nothing_left, since)
            forget(tx, new.gone)
            write_servers(tx, new.changed)
            drop_claims(tx, new.settled)
            undo_claims(tx, new.undone)
            bump(tx, {server.host for server in new.changed})
            return tuple(sorted(new.left_out))

    def begin_task(self, run_id: str, server_id: str, task: str, *, action: str | None = None) -> None:
        """Set the server's task_state if it has none (Nova's compare and swap), and open an entry in its actions.

        InProgress if a step of this or another live run is at work on it.
        """
        with self._database.write() as tx:
            _begin(tx, run_id, _free_server(tx, run_id, server_id), task, action)

    def begin_step(
        self,
        run_id: str,
        server_id: str,
        task: str,
        *,
        action: str,
        host: str,
        limit: int,
        timeout: float,
        ends: t.Sequence[str] = (),
        at_once: int = 1,
    ) -> None:
        """begin_task() as soon as one of the *limit* slots for steps on *host* is free, both in one transaction.

        *ends*: the hosts between which the server moves; each takes part in *at_once* moves at most.
        finish(), fail() or end_task() frees the slots. InProgress after *timeout* seconds too: nothing has begun then.
        Refused if the run was told to stop.
        """
        places = [(server_id, host, _STEP, limit), *((f"{server_id}@{end}", end, _MOVE, at_once) for end in ends)]

        def begin() -> str | None:
            with self._database.write() as tx:
                refuse_stopped(tx, run_id)
                server = _free_server(tx, run_id, server_id)
                if not all(occupy(tx, *place, run_id) for place in places):
                    _free_slots(tx, run_id, server_id)  # who waits for one end keeps nobody from the other
                    return None
                _begin(tx, run_id, server, task, action)
                return server_id

        if ends:
            both, what = " or ".join(ends), "fleet_max_concurrent_migrations"
            wait_for_slot(begin, both, _MOVE, at_once, timeout, more=what)
        else:
            wait_for_slot(begin, host, _STEP, limit, timeout)

    def end_task(self, run_id: str, server_id: str) -> None:
        """The step ended and changed nothing: no task_state, the server is free."""
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned_by(tx, run_id, server_id)
            _update(tx, server_id, task_state=None, run_id=None)
            _close(tx, run_id, server_id, "Success", None)

    def finish(
        self,
        run_id: str,
        server_id: str,
        *,
        record: Record | None,
        host: str | None = None,
        vm_state: str = "deleted",
        power_state: int = 0,
        message: str | None = None,
        more: bool = False,
    ) -> None:
        """A step succeeded. With no record the server is no more, and all that it had is free.

        *more*: further steps of this run follow, so the claim and the ownership stay.
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned_by(tx, run_id, server_id)
            _close(tx, run_id, server_id, "Success", message)
            if record is None:
                forget(tx, [server_id])
                return
            before = _server(tx, server_id)
            seen = ServerSeen.of(record, host=host or before.host or "", vm_state=vm_state, power_state=power_state)
            write_servers(tx, [seen])
            _update(tx, server_id, task_state=None, run_id=run_id if more else None, fault=None)
            if not more:
                drop_claims(tx, [server_id])
            bump(tx, {name for name in (before.host, seen.host) if name})
            if before.record is None:
                _count_builds(tx, seen.host, None)

    def fail(
        self,
        run_id: str,
        server_id: str,
        message: str,
        *,
        record: Record | None = None,
        host: str | None = None,
        vm_state: str = "error",
        failed_build: str | None = None,
        unclaim: bool = False,
    ) -> None:
        """A step failed: what is there stays, the claim too, and the reason is noted.

        *record*: the last that the host reported, if steps before it succeeded; *host*: where the server is by then, if
        it has moved. *vm_state* is for a server that was never built; one that was keeps its own. *failed_build*: the
        host that could not build it, for no fault of the server's own. *unclaim*: nothing of it is where it was claimed
        for.
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned_by(tx, run_id, server_id)
            _close(tx, run_id, server_id, "Error", message)
            before = _server(tx, server_id)
            if record is not None:
                at = host or before.host or ""
                seen = ServerSeen.of(record, host=at, vm_state=before.vm_state, power_state=before.power_state)
                write_servers(tx, [seen])
            elif before.record is None:
                _update(tx, server_id, vm_state=vm_state, since=tx.now)
            _update(tx, server_id, task_state=None, run_id=None, fault=text_of(message))
            if unclaim or host is not None:
                drop_claims(tx, [server_id])
                bump(tx, {name for name in (before.host, host) if name})
            if failed_build is not None:
                _count_builds(tx, failed_build, 1)

    def fail_before(self, run_id: str, server_id: str, host: str, message: str) -> None:
        """A build failed before its first step (the host could not get the image): nothing of it is on the host."""
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned_by(tx, run_id, server_id)
            _open_action(tx, run_id, _server(tx, server_id), "create", host)
            _close(tx, run_id, server_id, "Error", message)
            _update(tx, server_id, fault=text_of(message))
            _count_builds(tx, host, 1)

    def actions(self, server_id: str) -> list[ActionRow]:
        """The server's history, oldest first; it outlives the server."""
        with self._database.read() as tx:
            table = tx.tables.actions
            return values(tx, ActionRow, table.select().where(table.c.server_id == server_id).order_by(table.c.id))

    def failed(self, run_id: str) -> set[str]:
        """The names of the servers that a step of this run has failed on."""
        with self._database.read() as tx:
            table = tx.tables.actions
            bad = (table.c.run_id == run_id) & (table.c.result == "Error")
            return {row.name for row in tx.rows(table.select().where(bad))}

    def history(self, server: str) -> list[tuple[ActionRow, RunRow | None]]:
        """The actions of all servers that ever had this name or id, oldest first, each with its run."""
        with self._database.read() as tx:
            table, runs = tx.tables.actions, tx.tables.runs
            mine = (table.c.server_id == server) | (table.c.name == server)
            actions = values(tx, ActionRow, table.select().where(mine).order_by(table.c.id))
            ids = {action.run_id for action in actions}
            known = {run.id: run for run in values(tx, RunRow, runs.select().where(runs.c.id.in_(ids)))}
            return [(action, known.get(action.run_id)) for action in actions]


def _server(tx: Transaction, server_id: str) -> ServerRow:
    table = tx.tables.servers
    row = tx.first(table.select().where(table.c.id == server_id))
    if row is None:
        raise Stale(f"server {server_id} is no longer in the ledger; plan again")
    return ServerRow(**row._mapping)


def _free_server(tx: Transaction, run_id: str, server_id: str) -> ServerRow:
    """The server, on which no step is at work."""
    renew(tx, run_id)
    bury(tx, spare=run_id)
    server = _server(tx, server_id)
    if not _may_begin(server, run_id):
        raise InProgress(_busy(tx, server))
    return server


def _begin(tx: Transaction, run_id: str, server: ServerRow, task: str, action: str | None) -> None:
    claims = tx.tables.claims
    _update(tx, server.id, task_state=task, run_id=run_id)
    mine = (claims.c.server_id == server.id) & (claims.c.run_id == run_id)
    tx.run(claims.update().where(mine).values(begun=True))
    if action is not None:
        claim = tx.first(claims.select().where(mine))
        _open_action(tx, run_id, server, action, claim.host if claim else server.host)


def _may_begin(server: ServerRow, run_id: str) -> bool:
    if server.run_id is None:
        return server.task_state is None
    return server.run_id == run_id and server.task_state in (None, "scheduling")


def _busy(tx: Transaction, server: ServerRow) -> str:
    owner = live_runs(tx).get(server.run_id or "")
    task = f"its task state is {server.task_state!r}" if server.task_state else "it was claimed"
    return (
        f"server {server.name!r} is busy: {task}, by {owner or 'a run that has ended'}; wait for its end and run again"
    )


def _owned_by(tx: Transaction, run_id: str, server_id: str) -> None:
    server = _server(tx, server_id)
    if server.run_id not in (None, run_id):
        raise Stale(f"server {server.name!r} was taken over by run {server.run_id}; plan again")


def _update(tx: Transaction, server_id: str, **columns: t.Any) -> None:
    table = tx.tables.servers
    tx.run(table.update().where(table.c.id == server_id).values(updated=tx.now, **columns))


def _count_builds(tx: Transaction, host: str, failed: int | None) -> None:
    """One more failed build on a host; None after one that succeeded: then none has (Nova: compute/stats.py)."""
    table = tx.tables.hosts
    of_host = table.update().where(table.c.name == host)
    if failed is not None:
        tx.run(of_host.values(failed_builds=table.c.failed_builds + failed))
    else:
        tx.run(of_host.where(table.c.failed_builds > 0).values(failed_builds=0))


def _open_action(tx: Transaction, run_id: str, server: ServerRow, action: str, host: str | None) -> None:
    tx.run(
        tx.tables.actions.insert().values(
            server_id=server.id, name=server.name, action=action, run_id=run_id, host=host, started=tx.now
        )
    )


def _close(tx: Transaction, run_id: str, server_id: str, result: str, message: str | None) -> None:
    """The end of a step: of its entry in the server's actions, and of its slots."""
    actions = tx.tables.actions
    mine = (actions.c.server_id == server_id) & (actions.c.run_id == run_id)
    close_actions(tx, mine, result=result, message=message)
    _free_slots(tx, run_id, server_id)


def _free_slots(tx: Transaction, run_id: str, server_id: str) -> None:
    """The slots of a step on a server: their ids begin with its own."""
    slots = tx.tables.slots
    tx.run(slots.delete().where(slots.c.id.startswith(server_id) & (slots.c.run_id == run_id)))
