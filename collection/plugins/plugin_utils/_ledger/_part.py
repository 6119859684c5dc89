# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the parts of the ledger share: the database, and reading the tables into values.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Database, Transaction
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import is_alive
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    AddressRow,
    ClaimRow,
    FleetRow,
    HostRow,
    RunRow,
    ServerRow,
    Snapshot,
)

if t.TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["LEASE", "Part", "bump", "fleet_row", "live_runs", "snapshot", "text_of", "values"]

LEASE = 120.0  # seconds that a run whose process can't be seen lives on without a sign of life

_T = t.TypeVar("_T")


class Part:
    """A part of the Ledger: its methods are one transaction each."""

    _database: Database


def values(transaction: Transaction, kind: type[_T], query: sa.Select[t.Any]) -> list[_T]:
    return [kind(**row._mapping) for row in transaction.rows(query)]


def fleet_row(transaction: Transaction) -> FleetRow | None:
    row = transaction.first(transaction.tables.fleet.select())
    return None if row is None else FleetRow(row.ledger_id, row.fleet_id, row.fleet_name)


def live_runs(transaction: Transaction) -> dict[str, RunRow]:
    """Runs that go on: not ended, and their process is there; where that can't be seen, the lease decides.

    A process that is there may be silent for long: hosts that don't answer, an image of many gigabytes.
    """
    runs = values(
        transaction, RunRow, transaction.tables.runs.select().where(transaction.tables.runs.c.ended.is_(None))
    )
    return {run.id: run for run in runs if _goes_on(run, transaction.now)}


def _goes_on(run: RunRow, now: float) -> bool:
    alive = is_alive(run)
    return now - run.renewed <= LEASE if alive is None else alive


def snapshot(transaction: Transaction) -> Snapshot:
    tables = transaction.tables
    return Snapshot(
        now=transaction.now,
        fleet=fleet_row(transaction),
        hosts={row.name: row for row in values(transaction, HostRow, tables.hosts.select())},
        servers={row.id: row for row in values(transaction, ServerRow, tables.servers.select())},
        claims={row.server_id: row for row in values(transaction, ClaimRow, tables.claims.select())},
        addresses=tuple(values(transaction, AddressRow, tables.addresses.select())),
        runs=live_runs(transaction),
    )


def bump(transaction: Transaction, hosts: t.Collection[str]) -> None:
    """What is used on these hosts changes: who has looked at them before has to look again."""
    table = transaction.tables.hosts
    if hosts:
        transaction.run(table.update().where(table.c.name.in_(hosts)).values(generation=table.c.generation + 1))


def text_of(message: str | None) -> str | None:
    """Text from elsewhere as both databases take it: no NUL, no half characters."""
    return None if message is None else message.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
