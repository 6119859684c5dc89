# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and servers: what surveys found, what steps are at work on, what came of them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InProgress,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._owned import (
    close_actions,
    drop_claims,
    forget,
    keep_addresses,
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
    ClaimRow,
    HostRow,
    HostSeen,
    ServerRow,
    ServerSeen,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import bury, renew

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Servers", "write_hosts", "write_servers"]


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
                tx.run(
                    table.insert().values(**_host_row(HostSeen(host, None, state, reason)), generation=1, surveyed=None)
                )
                return True
            changed = {"service_state": state, "service_reason": reason, "generation": row.generation + 1}
            tx.run(table.update().where(table.c.name == host).values(**changed))
            return True

    def forget_host(self, host: str) -> None:
        """A host that is no longer in inventory and has no servers."""
        with self._database.write() as tx:
            servers, hosts = tx.tables.servers, tx.tables.hosts
            left = tx.first(servers.select().where(servers.c.host == host))
            if left is not None:
                raise FlotillaError(f"host {host!r} still has server {left.name!r}; move or delete its servers first")
            tx.run(hosts.delete().where(hosts.c.name == host))

    def observe(self, seen: t.Iterable[ServerSeen], gone: t.Collection[str] = (), *, since: float) -> tuple[str, ...]:
        """Servers as a survey that began at *since* (``now()`` before it) found them; *gone*: ids that are nowhere.

        Writes differences only, and nothing at all if there are none. What the ledger learned later than the survey,
        and what another live run owns, is newer: it stays, and its ids are returned.
        """
        found = {server.id: server for server in seen}
        with self._database.read() as tx:
            if not _differences(tx, found, gone, since).any():
                return ()
        with self._database.write() as tx:
            bury(tx)
            differences = _differences(tx, found, gone, since)
            newer = _newer(tx, differences.changed | differences.gone, since)
            forget(tx, differences.gone - newer)
            changed = [found[server_id] for server_id in sorted(differences.changed - newer)]
            write_servers(tx, changed)
            drop_claims(tx, differences.settled)
            bump(tx, {server.host for server in changed})
            return tuple(sorted(newer))

    def begin_task(self, run_id: str, server_id: str, task: str, *, action: str | None = None) -> None:
        """Set the server's task_state if it has none (Nova's compare and swap), and open an entry in its actions.

        InProgress if a step of this or another live run is at work on it.
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            bury(tx, spare=run_id)
            server = _server(tx, server_id)
            if not _may_begin(server, run_id):
                raise InProgress(_busy(tx, server))
            servers, claims = tx.tables.servers, tx.tables.claims
            tx.run(
                servers.update().where(servers.c.id == server_id).values(task_state=task, run_id=run_id, updated=tx.now)
            )
            mine = (claims.c.server_id == server_id) & (claims.c.run_id == run_id)
            tx.run(claims.update().where(mine).values(begun=True))
            if action is not None:
                claim = tx.first(claims.select().where(mine))
                _open_action(tx, run_id, server, action, claim.host if claim else server.host)

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

    def fail(
        self, run_id: str, server_id: str, message: str, *, record: Record | None = None, vm_state: str = "error"
    ) -> None:
        """A step failed: what is there stays, the claim too, and the reason is noted.

        *record*: the last that the host reported, if steps before it succeeded. *vm_state* is for a server that was
        never built; one that was keeps its own.
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned_by(tx, run_id, server_id)
            _close(tx, run_id, server_id, "Error", message)
            before = _server(tx, server_id)
            if record is not None:
                write_servers(
                    tx,
                    [
                        ServerSeen.of(
                            record, host=before.host or "", vm_state=before.vm_state, power_state=before.power_state
                        )
                    ],
                )
            elif before.record is None:
                _update(tx, server_id, vm_state=vm_state, since=tx.now)
            _update(tx, server_id, task_state=None, run_id=None, fault=text_of(message))

    def actions(self, server_id: str) -> list[ActionRow]:
        """The server's history, oldest first; it outlives the server."""
        with self._database.read() as tx:
            table = tx.tables.actions
            return values(tx, ActionRow, table.select().where(table.c.server_id == server_id).order_by(table.c.id))


def write_hosts(tx: Transaction, hosts: t.Sequence[HostSeen]) -> None:
    """Only what differs, beside the time of the survey. A service state that differs voids choices of that host."""
    table = tx.tables.hosts
    names = [host.name for host in hosts]
    known = {row.name: row for row in values(tx, HostRow, table.select().where(table.c.name.in_(names)))}
    new = [{**_host_row(host), "generation": 1, "surveyed": tx.now} for host in hosts if host.name not in known]
    tx.run_many(table.insert(), new)
    if known:
        tx.run(table.update().where(table.c.name.in_(list(known))).values(surveyed=tx.now))
    for host in hosts:
        row = known.get(host.name)
        if row is None or _host_row(host) == _host_row(row):
            continue
        service = (row.host_id, row.service_state) != (host.host_id, host.service_state)
        tx.run(table.update().where(table.c.name == host.name).values(**_host_row(host)))
        if service:
            bump(tx, [host.name])


def write_servers(tx: Transaction, servers: t.Sequence[ServerSeen]) -> None:
    """Insert or update servers and their addresses."""
    table = tx.tables.servers
    _refuse_namesakes(tx, servers)
    ids = [server.id for server in servers]
    known = {row.id: row for row in values(tx, ServerRow, table.select().where(table.c.id.in_(ids)))}
    renamed = [server.id for server in servers if server.id in known and server.name != known[server.id].name]
    # Names may go round among servers, and each must be unique at every moment: an id is nobody's name meanwhile.
    tx.run(table.update().where(table.c.id.in_(renamed)).values(name=table.c.id))
    for server in servers:
        row = known.get(server.id)
        if row is not None:
            since = row.since if row.vm_state == server.vm_state else tx.now
            tx.run(
                table.update().where(table.c.id == server.id).values(**_server_row(server), updated=tx.now, since=since)
            )
    new = [server for server in servers if server.id not in known]
    free = {"task_state": None, "run_id": None, "fault": None, "updated": tx.now, "since": tx.now}
    tx.run_many(table.insert(), [{**_server_row(server), **free} for server in new])
    keep_addresses(tx, {server.id: server.record for server in servers})


def _refuse_namesakes(tx: Transaction, servers: t.Sequence[ServerSeen]) -> None:
    """Two live servers of one name are a conflict, among these or with one that the ledger has."""
    table = tx.tables.servers
    ids = [server.id for server in servers]
    named = table.c.name.in_([server.name for server in servers]) & table.c.id.not_in(ids)
    others: list[ServerSeen | ServerRow] = list(values(tx, ServerRow, table.select().where(named)))
    first: dict[str, ServerSeen | ServerRow] = {}
    for server in [*others, *servers]:
        if server.vm_state == "soft-delete":
            continue
        other = first.setdefault(server.name, server)
        if other is not server:
            raise Conflict(
                f"two servers are called {server.name!r}: {other.id} on host {other.host!r} and {server.id} on host "
                f"{server.host!r}; rename or remove one of them on its host, nothing was recorded"
            )


def _host_row(host: HostSeen | HostRow) -> dict[str, t.Any]:
    return {
        "name": host.name,
        "host_id": host.host_id,
        "service_state": host.service_state,
        "service_reason": text_of(host.service_reason),
        "summary": dict(host.summary),
    }


def _server_row(server: ServerSeen | ServerRow) -> dict[str, t.Any]:
    return {
        "id": server.id,
        "name": server.name,
        "host": server.host,
        "record": server.record,
        "generation": server.generation,
        "vm_state": server.vm_state,
        "power_state": server.power_state,
    }


@dataclasses.dataclass(frozen=True)
class _Differences:
    """Ids: whom the ledger knows otherwise or not at all; who is no more; whose leftover claim is settled."""

    changed: set[str]
    gone: set[str]
    settled: set[str]

    def any(self) -> bool:
        return bool(self.changed or self.gone or self.settled)


def _differences(
    tx: Transaction, found: t.Mapping[str, ServerSeen], gone: t.Collection[str], since: float
) -> _Differences:
    known = {row.id: row for row in values(tx, ServerRow, tx.tables.servers.select())}
    changed = {
        server_id
        for server_id, server in found.items()
        if server_id not in known or _server_row(server) != _server_row(known[server_id])
    }
    return _Differences(changed, known.keys() & set(gone), _settled(tx, found, since))


def _settled(tx: Transaction, found: t.Mapping[str, ServerSeen], since: float) -> set[str]:
    """Claims that a run left behind, for servers that are now seen where they were claimed: no more room is needed."""
    claims = values(tx, ClaimRow, tx.tables.claims.select())
    if not claims:
        return set()
    live = live_runs(tx)
    return {
        claim.server_id
        for claim in claims
        if claim.server_id in found
        and found[claim.server_id].host == claim.host
        and claim.run_id not in live
        and claim.created < since
    }


def _newer(tx: Transaction, server_ids: t.Collection[str], since: float) -> set[str]:
    """Servers of which the ledger knows more than a survey that began at *since*, deleted ones too."""
    servers, claims, actions = tx.tables.servers, tx.tables.claims, tx.tables.actions
    live = live_runs(tx)
    rows = tx.rows(servers.select().where(servers.c.id.in_(server_ids)))
    newer = {row.id for row in rows if row.updated >= since or row.run_id in live}
    newer |= {row.server_id for row in tx.rows(claims.select()) if row.run_id in live and row.server_id in server_ids}
    ended = {row.server_id for row in tx.rows(actions.select().where(actions.c.ended >= since))}
    return newer | (ended & set(server_ids))


def _server(tx: Transaction, server_id: str) -> ServerRow:
    table = tx.tables.servers
    row = tx.first(table.select().where(table.c.id == server_id))
    if row is None:
        raise Stale(f"server {server_id} is no longer in the ledger; plan again")
    return ServerRow(**row._mapping)


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


def _open_action(tx: Transaction, run_id: str, server: ServerRow, action: str, host: str | None) -> None:
    tx.run(
        tx.tables.actions.insert().values(
            server_id=server.id, name=server.name, action=action, run_id=run_id, host=host, started=tx.now
        )
    )


def _close(tx: Transaction, run_id: str, server_id: str, result: str, message: str | None) -> None:
    table = tx.tables.actions
    close_actions(tx, (table.c.server_id == server_id) & (table.c.run_id == run_id), result=result, message=message)
