# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run owns, and what becomes of it when the run lets go: servers, claims, addresses, open actions, slots.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A claim that no step has begun on left nothing on its host and is undone. One that was begun stays, counted, until the
server is claimed again, seen by a survey or found gone: something of it may be on the host. It is undone too once a
survey shows that nothing is.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import bump, text_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["addresses_of", "close_actions", "drop_claims", "forget", "keep_addresses", "let_go", "undo_claims"]


def let_go(tx: Transaction, run_ids: t.Sequence[str], why: str) -> None:
    claims, servers, slots = tx.tables.claims, tx.tables.servers, tx.tables.slots
    idle = claims.select().where(claims.c.run_id.in_(run_ids) & claims.c.begun.is_(False))
    undo_claims(tx, [row.server_id for row in tx.rows(idle)])
    tx.run(servers.update().where(servers.c.run_id.in_(run_ids)).values(run_id=None, task_state=None, updated=tx.now))
    tx.run(slots.delete().where(slots.c.run_id.in_(run_ids)))
    close_actions(tx, tx.tables.actions.c.run_id.in_(run_ids), result="Error", message=why)


def undo_claims(tx: Transaction, server_ids: t.Collection[str]) -> None:
    """As if they had never been made: new servers are forgotten, the others keep the addresses of their record."""
    if not server_ids:
        return
    drop_claims(tx, server_ids)
    table = tx.tables.servers
    rows = tx.rows(table.select().where(table.c.id.in_(server_ids)))
    forget(tx, [row.id for row in rows if row.record is None])
    keep_addresses(tx, {row.id: row.record for row in rows if row.record is not None})


def drop_claims(tx: Transaction, server_ids: t.Collection[str]) -> None:
    if not server_ids:
        return
    claims = tx.tables.claims
    mine = claims.c.server_id.in_(server_ids)
    bump(tx, {row.host for row in tx.rows(claims.select().where(mine))})
    tx.run(claims.delete().where(mine))


def forget(tx: Transaction, server_ids: t.Collection[str]) -> None:
    """Servers that are no more: their claims, addresses and names are free."""
    if not server_ids:
        return
    servers, addresses, sealed = tx.tables.servers, tx.tables.addresses, tx.tables.sealed
    mine = servers.c.id.in_(server_ids)
    bump(tx, {row.host for row in tx.rows(servers.select().where(mine)) if row.host is not None})
    drop_claims(tx, server_ids)
    tx.run(addresses.delete().where(addresses.c.server_id.in_(server_ids)))
    tx.run(sealed.delete().where(sealed.c.server_id.in_(server_ids)))
    tx.run(servers.delete().where(mine))


def addresses_of(record: str) -> list[tuple[str, str]]:
    """The addresses that a record holds, as pairs of network and address."""
    nics = json.loads(record)["nics"]
    return [(nic["network"], address["address"]) for nic in nics for address in nic["addresses"]]


def keep_addresses(tx: Transaction, records: t.Mapping[str, str]) -> None:
    """Make the addresses of servers those of their records, given by server id.

    One that another server has already stays with that one: whom it belongs to is no question for the ledger.
    """
    if not records:
        return
    table = tx.tables.addresses
    tx.run(table.delete().where(table.c.server_id.in_(list(records))))
    wanted: dict[tuple[str, str], str] = {}
    for server_id, record in records.items():
        for pair in addresses_of(record):
            wanted.setdefault(pair, server_id)
    networks = sorted({network for network, _address in wanted})
    taken = {(row.network, row.address) for row in tx.rows(table.select().where(table.c.network.in_(networks)))}
    rows = [
        {"network": network, "address": address, "server_id": server_id}
        for (network, address), server_id in wanted.items()
        if (network, address) not in taken
    ]
    tx.run_many(table.insert(), rows)


def close_actions(tx: Transaction, which: t.Any, *, result: str, message: str | None) -> None:
    table = tx.tables.actions
    closed = {"ended": tx.now, "result": result, "message": text_of(message)}
    tx.run(table.update().where(which & table.c.ended.is_(None)).values(**closed))
