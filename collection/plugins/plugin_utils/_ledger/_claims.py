# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims: room on hosts, new ids and addresses for many servers, in one transaction, all or none.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

As in Placement, who has chosen a host has seen its generation; if that has moved meanwhile, the choice is void.
"""

from __future__ import annotations

import collections
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._addresses import AddressBook, AddressError
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import (
    Part,
    bump,
    live_runs,
    snapshot,
    values,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    AddressRow,
    Claim,
    Claimed,
    ClaimResult,
    ClaimRow,
    RunRow,
    ServerRow,
    Snapshot,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import bury, renew

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Claims"]

Check = t.Callable[[Snapshot], t.Mapping[str, str]]


class Claims(Part):
    def claim(
        self,
        run_id: str,
        claims: t.Sequence[Claim],
        *,
        check: Check | None = None,
        nothing_left: t.Collection[str] = (),
    ) -> ClaimResult:
        """Claim all or none. *check* sees the ledger as it is under the lock and gives refusals by server name.

        A new server of a name that a dead or failed run left half-built takes over its id and addresses.
        *nothing_left*: ids whose build failed in this very run, on a host that has said that nothing is left of it:
        their claims may move to another host.
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            bury(tx, spare=run_id)
            stale = _stale(tx, claims)
            if stale:
                return ClaimResult(stale=stale)
            known = _Known(tx, run_id, claims, frozenset(nothing_left))
            refused = known.refusals() or (dict(check(snapshot(tx))) if check else {})
            if refused:
                return ClaimResult(refused=refused)
            return _carry_out(tx, run_id, claims, known)


class _Known:
    """The servers of the ledger that some claims are about."""

    def __init__(self, tx: Transaction, run_id: str, claims: t.Sequence[Claim], nothing_left: frozenset[str]) -> None:
        self._run_id = run_id
        self._nothing_left = nothing_left
        self._claims = claims
        self._live: dict[str, RunRow] = live_runs(tx)
        table = tx.tables.servers
        named = table.c.name.in_([claim.name for claim in claims]) & (table.c.vm_state != "soft-delete")
        same = table.c.id.in_([claim.server_id for claim in claims if claim.server_id])
        rows = values(tx, ServerRow, table.select().where(named | same))
        claimed = tx.tables.claims.select().where(tx.tables.claims.c.server_id.in_([row.id for row in rows]))
        self.claims = {row.server_id: row for row in values(tx, ClaimRow, claimed)}
        self.by_id = {row.id: row for row in rows}
        self._by_name = {row.name: row for row in rows if row.vm_state != "soft-delete"}

    def refusals(self) -> dict[str, str]:
        found = {claim.name: self._refusal(claim) for claim in self._claims}
        twice = [name for name, count in collections.Counter(claim.name for claim in self._claims).items() if count > 1]
        found.update((name, f"server {name!r} is claimed twice in one plan; plan again") for name in twice)
        return {name: reason for name, reason in found.items() if reason is not None}

    def id_of(self, claim: Claim) -> str:
        if claim.server_id:
            return claim.server_id
        left = self._by_name.get(claim.name)
        return left.id if left else str(uuid.uuid4())

    def _refusal(self, claim: Claim) -> str | None:
        for row in (self.by_id.get(claim.server_id or ""), self._by_name.get(claim.name)):
            if row and row.run_id and row.run_id != self._run_id and row.run_id in self._live:
                return (
                    f"server {claim.name!r} is in the hands of {self._live[row.run_id]}; wait for its end, "
                    "or end it if it hangs, and run again"
                )
        namesake = self._by_name.get(claim.name)
        left_behind = namesake is not None and namesake.record is None and claim.server_id is None
        if namesake is not None and namesake.id != claim.server_id and not left_behind:
            return f"server {claim.name!r} is already there with id {namesake.id} on host {namesake.host!r}; plan again"
        return self._half_built_elsewhere(claim)

    def _half_built_elsewhere(self, claim: Claim) -> str | None:
        server_id = self.id_of(claim)
        left, row = self.claims.get(server_id), self.by_id.get(server_id)
        if left is None or row is None or row.record is not None or not left.begun or left.host == claim.host:
            return None
        if server_id in self._nothing_left and left.run_id == self._run_id:
            return None
        return (
            f"server {claim.name!r} was half-built on host {left.host!r} by an earlier run, which may have left its "
            f"volumes there; finish it there, or delete {server_id} there first"
        )


def _stale(tx: Transaction, claims: t.Sequence[Claim]) -> tuple[str, ...]:
    expected = {claim.host: claim.expects for claim in claims if claim.expects is not None}
    if not expected:
        return ()
    table = tx.tables.hosts
    found = {row.name: row.generation for row in tx.rows(table.select().where(table.c.name.in_(list(expected))))}
    return tuple(sorted(host for host, generation in expected.items() if found.get(host) != generation))


def _carry_out(tx: Transaction, run_id: str, claims: t.Sequence[Claim], known: _Known) -> ClaimResult:
    names = {row.id: row.name for row in tx.rows(tx.tables.servers.select())}
    book = AddressBook(values(tx, AddressRow, tx.tables.addresses.select()), names)
    won: dict[str, Claimed] = {}
    refused: dict[str, str] = {}
    # Those that want one very address come first: none of the others is given it from a pool meanwhile.
    for claim in sorted(claims, key=lambda claim: all(wish.fixed is None for wish in claim.addresses)):
        server_id = known.id_of(claim)
        try:
            won[claim.name] = Claimed(server_id, claim.host, book.take(server_id, claim.name, claim.addresses))
        except AddressError as exc:
            refused[claim.name] = str(exc)
    if refused:
        return ClaimResult(refused=refused)
    _write(tx, run_id, claims, won, known)
    tx.run_many(tx.tables.addresses.insert(), book.new())
    return ClaimResult(won=won)


def _write(
    tx: Transaction, run_id: str, claims: t.Sequence[Claim], won: t.Mapping[str, Claimed], known: _Known
) -> None:
    servers, table = tx.tables.servers, tx.tables.claims
    ids = [place.server_id for place in won.values()]
    old = known.claims
    tx.run(table.delete().where(table.c.server_id.in_(ids)))
    tx.run_many(table.insert(), [_claim_row(tx, run_id, claim, won[claim.name].server_id, old) for claim in claims])
    built = [server_id for server_id in ids if server_id in known.by_id and known.by_id[server_id].record is not None]
    tx.run(servers.update().where(servers.c.id.in_(built)).values(run_id=run_id, updated=tx.now))
    new = [claim for claim in claims if won[claim.name].server_id not in built]
    tx.run(servers.delete().where(servers.c.id.in_([won[claim.name].server_id for claim in new])))
    tx.run_many(servers.insert(), [_server_row(tx, run_id, claim, won[claim.name].server_id) for claim in new])
    bump(tx, {claim.host for claim in claims} | {row.host for row in old.values()})


def _claim_row(
    tx: Transaction, run_id: str, claim: Claim, server_id: str, old: t.Mapping[str, ClaimRow]
) -> dict[str, t.Any]:
    left = old.get(server_id)
    return {
        "server_id": server_id,
        "name": claim.name,
        "host": claim.host,
        "vcpus": claim.vcpus,
        "ram": claim.ram,
        "disk_gb": claim.disk_gb,
        "pool": claim.pool,
        "run_id": run_id,
        # A leftover that was begun stays so: should this run let go of it too, it may still be on the host.
        "begun": left is not None and left.begun and left.host == claim.host,
        "created": tx.now,
        "resources": dict(claim.resources),
        "project": claim.project,
        "fit": None if claim.fit is None else claim.fit.to_json(),
    }


def _server_row(tx: Transaction, run_id: str, claim: Claim, server_id: str) -> dict[str, t.Any]:
    return {
        "id": server_id,
        "name": claim.name,
        "host": claim.host,
        "record": None,
        "generation": 0,
        "vm_state": "building",
        "task_state": "scheduling",
        "power_state": 0,
        "run_id": run_id,
        "fault": None,
        "updated": tx.now,
        "since": tx.now,
    }
