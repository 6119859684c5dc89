# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What surveys found: how it differs from what the ledger has, and writing it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._owned import keep_addresses
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import bump, live_runs, text_of, values
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    ClaimRow,
    HostRow,
    HostSeen,
    ServerRow,
    ServerSeen,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Differences", "differences", "host_row", "namesakes", "write_hosts", "write_servers"]


@dataclasses.dataclass(frozen=True)
class Differences:
    """What a survey tells beyond the ledger: servers to write, ids of those to forget, of claims to drop or to undo.

    ``left_out``: ids that stay as the ledger has them.
    """

    changed: tuple[ServerSeen, ...]
    gone: frozenset[str]
    settled: frozenset[str]
    undone: frozenset[str]
    left_out: frozenset[str]

    def any(self) -> bool:
        return bool(self.changed or self.gone or self.settled or self.undone)


def differences(
    tx: Transaction,
    found: t.Mapping[str, ServerSeen],
    gone: t.Collection[str],
    nothing_left: t.Collection[str],
    since: float,
) -> Differences:
    """*found*: servers by id; the rest as in Servers.observe."""
    known = {row.id: row for row in values(tx, ServerRow, tx.tables.servers.select())}
    leftovers = _leftovers(tx, since)
    changed = {
        server_id
        for server_id, server in found.items()
        if server_id not in known or _server_row(server) != _server_row(known[server_id])
    }
    ended = known.keys() & set(gone)
    undone = {
        server_id
        for server_id in leftovers.keys() & set(nothing_left)
        if server_id not in found or found[server_id].host != leftovers[server_id].host
    }
    newer = _newer(tx, changed | ended | undone, since)
    writable = [found[server_id] for server_id in sorted(changed - newer)]
    doubles = namesakes(writable, [row for row in known.values() if row.id not in ended - newer])
    return Differences(
        changed=tuple(server for server in writable if server.id not in doubles),
        gone=frozenset(ended - newer),
        settled=frozenset(
            server_id
            for server_id, claim in leftovers.items()
            if server_id in found and found[server_id].host == claim.host
        ),
        undone=frozenset(undone - newer),
        left_out=frozenset(newer | doubles),
    )


def namesakes(servers: t.Iterable[ServerSeen], rows: t.Iterable[ServerRow]) -> set[str]:
    """Ids of live servers that would share their name with another, or with one that the ledger has already.

    One that is left out keeps its old name in the ledger, where it may be in the way of a further one.
    """
    written = {server.id: server for server in servers}
    kept = [row for row in rows if row.vm_state != "soft-delete"]
    left_out: set[str] = set()
    while True:
        names = [server.name for server in written.values() if server.vm_state != "soft-delete"]
        count = collections.Counter([*names, *(row.name for row in kept if row.id not in written)])
        doubles = {
            server.id for server in written.values() if server.vm_state != "soft-delete" and count[server.name] > 1
        }
        if not doubles:
            return left_out
        left_out |= doubles
        written = {server_id: server for server_id, server in written.items() if server_id not in doubles}


def _leftovers(tx: Transaction, since: float) -> dict[str, ClaimRow]:
    """Claims by server id that a run left behind before *since*."""
    claims = values(tx, ClaimRow, tx.tables.claims.select())
    live = live_runs(tx) if claims else {}
    return {claim.server_id: claim for claim in claims if claim.run_id not in live and claim.created < since}


def _newer(tx: Transaction, server_ids: t.Collection[str], since: float) -> set[str]:
    """Servers of which the ledger knows more than a survey that began at *since*, deleted ones too."""
    if not server_ids:
        return set()
    servers, claims, actions = tx.tables.servers, tx.tables.claims, tx.tables.actions
    live = live_runs(tx)
    rows = tx.rows(servers.select().where(servers.c.id.in_(server_ids)))
    newer = {row.id for row in rows if row.updated >= since or row.run_id in live}
    newer |= {row.server_id for row in tx.rows(claims.select()) if row.run_id in live and row.server_id in server_ids}
    ended = {row.server_id for row in tx.rows(actions.select().where(actions.c.ended >= since))}
    return newer | (ended & set(server_ids))


def write_hosts(tx: Transaction, hosts: t.Sequence[HostSeen]) -> None:
    """Only what differs, beside the time of the survey. A service state that differs voids choices of that host."""
    table = tx.tables.hosts
    names = [host.name for host in hosts]
    known = {row.name: row for row in values(tx, HostRow, table.select().where(table.c.name.in_(names)))}
    new = [
        {**host_row(host), "generation": 1, "surveyed": tx.now, "failed_builds": 0}
        for host in hosts
        if host.name not in known
    ]
    tx.run_many(table.insert(), new)
    if known:
        tx.run(table.update().where(table.c.name.in_(list(known))).values(surveyed=tx.now))
    for host in hosts:
        row = known.get(host.name)
        if row is None or host_row(host) == host_row(row):
            continue
        service = (row.host_id, row.service_state) != (host.host_id, host.service_state)
        # Who takes a host out of service and back has looked at it: what failed there before counts no more.
        anew = {"failed_builds": 0} if service else {}
        tx.run(table.update().where(table.c.name == host.name).values(**host_row(host), **anew))
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


def host_row(host: HostSeen | HostRow) -> dict[str, t.Any]:
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
