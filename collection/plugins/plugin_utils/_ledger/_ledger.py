# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger as its users see it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import _schema
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._catalog import Catalog
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._claims import Claims
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Database, Transaction
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._found import (
    namesakes,
    write_hosts,
    write_servers,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._location import (
    parse_url,
    prepare_file,
    refuse_file_in_awx,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import fleet_row, snapshot
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._repair import Repair
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    FleetRow,
    HostSeen,
    ServerSeen,
    Snapshot,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import Runs
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._sealed import Sealed
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._servers import Servers

__all__ = ["Ledger"]


class Ledger(Runs, Servers, Claims, Catalog, Repair, Sealed):
    """What the fleet remembers: a cache of records, and the journal of what runs have claimed and done.

    Each method is one transaction. A Ledger may be used after a fork: no connection outlives its transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, create: bool, readonly: bool | None = None) -> Ledger | None:
        """The ledger at *url*, carried over to today's schema; None if there is none and *create* is false.

        *readonly* (unless told: when nothing may be created, as in check mode) leaves it as it is to the last byte.
        """
        parsed = parse_url(url)
        refuse_file_in_awx(parsed)
        database = Database(parsed, readonly=not create if readonly is None else readonly)
        version = _schema.version_of(database)
        if version is None and not create:
            return None
        if version is None and database.path is not None:
            prepare_file(database.path)
            database.use_wal()
        if version != _schema.HEAD:
            _schema.upgrade(database)
        return cls(database)

    @property
    def name(self) -> str:
        """The URL, for people: without its password."""
        return self._database.name

    def now(self) -> float:
        """The database's clock."""
        with self._database.read() as tx:
            return tx.now

    def snapshot(self) -> Snapshot:
        with self._database.read() as tx:
            return snapshot(tx)

    def fleet(self) -> FleetRow | None:
        with self._database.read() as tx:
            return fleet_row(tx)

    def establish(self, fleet_name: str, fleet_id: str | None = None) -> FleetRow:
        """The fleet's identity, drawn at the first call for ever."""
        known = self.fleet()
        if known is not None:
            return self._same(known, fleet_name, fleet_id)
        with self._database.write() as tx:
            known = fleet_row(tx) or _draw(tx, fleet_name, fleet_id)
        return self._same(known, fleet_name, fleet_id)

    def adopt(
        self, fleet_name: str, fleet_id: str, *, hosts: t.Iterable[HostSeen], servers: t.Iterable[ServerSeen]
    ) -> FleetRow:
        """Fill an empty ledger with what the hosts of a fleet hold (fleet_take_over); all or nothing.

        Only live servers that share a name are left out, as observe() does: which is the right one, no ledger knows.
        """
        found = list(servers)
        doubles = namesakes(found, ())
        with self._database.write() as tx:
            known = fleet_row(tx)
            if known is not None and tx.first(tx.tables.servers.select()) is not None:
                raise Conflict(
                    f"the ledger {self.name} already has servers, of fleet {known.fleet_name!r} ({known.fleet_id}); "
                    f"take fleet {fleet_id} over into a ledger of its own: set fleet_ledger or fleet_name"
                )
            tx.run(tx.tables.fleet.delete())
            fleet = _draw(tx, fleet_name, fleet_id, ledger_id=known.ledger_id if known else None)
            write_hosts(tx, list(hosts))
            write_servers(tx, [server for server in found if server.id not in doubles])
        return fleet

    def _same(self, known: FleetRow, fleet_name: str, fleet_id: str | None) -> FleetRow:
        if known.fleet_name != fleet_name or known.fleet_id != (fleet_id or known.fleet_id):
            raise Conflict(
                f"the ledger {self.name} is that of fleet {known.fleet_name!r} ({known.fleet_id}), "
                f"not of {fleet_name!r}{f' ({fleet_id})' if fleet_id else ''}; set the right fleet_name or fleet_ledger"
            )
        return known


def _draw(tx: Transaction, fleet_name: str, fleet_id: str | None, ledger_id: str | None = None) -> FleetRow:
    fleet = FleetRow(ledger_id or str(uuid.uuid4()), fleet_id or str(uuid.uuid4()), fleet_name)
    tx.run(
        tx.tables.fleet.insert().values(
            one=1, ledger_id=fleet.ledger_id, fleet_id=fleet.fleet_id, fleet_name=fleet.fleet_name
        )
    )
    return fleet
