# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator mends in the ledger by hand: a server whose run is gone, a host that is gone for good.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._owned import (
    close_actions,
    drop_claims,
    forget,
    undo_claims,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import Part, bump, live_runs, values
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import ClaimRow, ServerRow, named
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import bury

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Repair"]


class Repair(Part):
    def reset_state(
        self, server: str, *, nothing_left: bool, seen: tuple[str, int] | None, dry: bool = False
    ) -> list[str]:
        """Nova's reset-state: the server (name or id) is free again, and in the state that its host shows (*seen*:
        vm_state, power_state). *nothing_left*: no host shows anything of it, so its claim is undone too.

        Gives what was changed, in words; with *dry* what would be, and nothing is. InvalidInput for a server that the
        ledger doesn't know, InProgress while a live run is at work on it.
        """
        with self._database.read() if dry else self._database.write() as tx:
            row, claim = _find(tx, server)
            live = live_runs(tx)
            for owner in (row.run_id if row else None, claim.run_id if claim else None):
                if owner in live:
                    name = next(one.name for one in (row, claim) if one is not None)
                    raise InProgress(
                        f"server {name!r} is not stuck: {live[owner]} is at work on it; wait for its end, or end it"
                    )
            done = _told(row, claim, nothing_left=nothing_left, seen=seen)
            if done and not dry:
                bury(tx)  # not before: it frees what a dead run owned, and nobody would be told what was wrong
                _reset(tx, row, claim, nothing_left=nothing_left, seen=seen)
            return done

    def forget_lost_host(
        self, host: str, *, servers_too: bool, still_seen: t.Collection[str] = (), dry: bool = False
    ) -> list[str]:
        """A host that is gone for good, and with *servers_too* those that were on it: they can be made anew elsewhere.

        *still_seen*: ids of servers of which other hosts have what they are made of; they are never given up. Gives the
        names of those that are. InvalidInput for a host that the ledger doesn't know, Refused where servers are on it,
        or a live run is at work there.
        """
        with self._database.read() if dry else self._database.write() as tx:
            if not dry:
                bury(tx)
            hosts, servers, claims = tx.tables.hosts, tx.tables.servers, tx.tables.claims
            if tx.first(hosts.select().where(hosts.c.name == host)) is None:
                known = ", ".join(sorted(row.name for row in tx.rows(hosts.select()))) or "none"
                raise InvalidInput(f"the ledger knows no host {host!r}; it knows {known}")
            live = live_runs(tx)
            rows = values(tx, ServerRow, servers.select().where(servers.c.host == host))
            held = values(tx, ClaimRow, claims.select().where(claims.c.host == host))
            busy = [
                str(live[owner]) for owner in [*(r.run_id for r in rows), *(c.run_id for c in held)] if owner in live
            ]
            if busy:
                raise InProgress(f"{busy[0]} is at work on servers of {host!r}; wait for its end, or end it")
            # A shelved server is on no host.
            there = sorted(row.name for row in rows if row.vm_state != SHELVED or row.id not in still_seen)
            if there and not servers_too:
                raise Refused(
                    f"the ledger has {len(there)} server(s) on {host!r}: {', '.join(there[:5])}; move them away first, "
                    "or, if the host's disks are lost, give them up with -e fleet_allow=data_loss"
                )
            lost = [row for row in rows if row.id not in still_seen]
            if not dry:
                forget(tx, [row.id for row in lost])
                drop_claims(tx, [row.server_id for row in held])
                tx.run(hosts.delete().where(hosts.c.name == host))
            return sorted(row.name for row in lost)


def _find(tx: Transaction, server: str) -> tuple[ServerRow | None, ClaimRow | None]:
    servers, claims = tx.tables.servers, tx.tables.claims
    rows = values(tx, ServerRow, servers.select().where((servers.c.id == server) | (servers.c.name == server)))
    row = named(rows, server)
    mine = claims.c.server_id == row.id if row else (claims.c.server_id == server) | (claims.c.name == server)
    claim = tx.first(claims.select().where(mine))
    if row is None and claim is None:
        raise InvalidInput(
            f"the ledger has neither a server nor a claim {server!r}; the playbook status lists what it has"
        )
    return row, None if claim is None else ClaimRow(**claim._mapping)


def _told(
    row: ServerRow | None, claim: ClaimRow | None, *, nothing_left: bool, seen: tuple[str, int] | None
) -> list[str]:
    done = []
    if row is not None and row.task_state is not None:
        done.append(f"task state {row.task_state} cleared")
    if row is not None and row.fault is not None:
        done.append("its fault cleared")
    if row is not None and seen is not None and row.vm_state != seen[0]:
        done.append(f"vm_state {row.vm_state} -> {seen[0]}")
    if claim is not None and nothing_left:
        done.append(f"its claim on {claim.host} undone")
    if row is not None and row.record is None and nothing_left:
        done.append("it was never built, and is forgotten")
    return done


def _reset(
    tx: Transaction, row: ServerRow | None, claim: ClaimRow | None, *, nothing_left: bool, seen: tuple[str, int] | None
) -> None:
    actions, slots = tx.tables.actions, tx.tables.slots
    if claim is not None and nothing_left:
        undo_claims(tx, [claim.server_id])
    if row is None:
        return
    close_actions(tx, actions.c.server_id == row.id, result="Error", message="reset by reset_state")
    tx.run(slots.delete().where(slots.c.id == row.id))
    if row.record is None and nothing_left:
        forget(tx, [row.id])
        return
    changed: dict[str, t.Any] = {"task_state": None, "run_id": None, "fault": None, "updated": tx.now}
    if seen is not None:
        changed |= {"vm_state": seen[0], "power_state": seen[1]}
        if seen[0] != row.vm_state:
            changed["since"] = tx.now
    tx.run(tx.tables.servers.update().where(tx.tables.servers.c.id == row.id).values(**changed))
    bump(tx, {row.host} if row.host else set())
