# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Catalog entries that modules make, and the journal of migrations.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, Stale
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import Part, text_of, values
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import CAUSE, MigrationRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._runs import renew

__all__ = ["KINDS", "Catalog"]

KINDS = ("flavor", "keypair", "server_group", "aggregate", "image")
_ENDED = ("completed", "confirmed", "reverted", "error", "failed", "cancelled")  # nova/objects/migration.py
_CAME_TO_NOTHING = ("error", "failed", "cancelled")  # those of them that have a cause


class Catalog(Part):
    def catalog(self, kind: str) -> dict[str, dict[str, Json]]:
        """The entries of a kind (flavor, keypair, server_group, aggregate, image) by name."""
        with self._database.read() as tx:
            table = tx.tables.catalog
            rows = tx.rows(table.select().where(table.c.kind == _known(kind)).order_by(table.c.name))
            return {row.name: row.data for row in rows}

    def put(self, kind: str, name: str, data: t.Mapping[str, Json]) -> bool:
        """Make or replace an entry; True if it was another or none."""
        if "private_key" in data:
            raise FlotillaError(f"{kind} {name!r}: a private key never goes into the ledger")
        with self._database.write() as tx:
            table = tx.tables.catalog
            this = (table.c.kind == _known(kind)) & (table.c.name == name)
            row = tx.first(table.select().where(this))
            if row is not None and row.data == dict(data):
                return False
            tx.run(table.delete().where(this))
            tx.run(table.insert().values(kind=kind, name=name, data=dict(data), updated=tx.now))
            return True

    def drop(self, kind: str, name: str) -> bool:
        """True if there was such an entry."""
        with self._database.write() as tx:
            table = tx.tables.catalog
            return tx.run(table.delete().where((table.c.kind == _known(kind)) & (table.c.name == name))) > 0

    def add_migration(
        self,
        run_id: str,
        kind: str,
        server_id: str,
        *,
        source: str,
        destination: str | None = None,
        status: str = "queued",
    ) -> str:
        """*kind*: live-migration, migration, resize or evacuation."""
        migration_id = str(uuid.uuid4())
        with self._database.write() as tx:
            renew(tx, run_id)
            tx.run(
                tx.tables.migrations.insert().values(
                    id=migration_id,
                    kind=kind,
                    server_id=server_id,
                    source=source,
                    destination=destination,
                    status=status,
                    run_id=run_id,
                    data={},
                    created=tx.now,
                    updated=tx.now,
                )
            )
        return migration_id

    def update_migration(
        self,
        run_id: str,
        migration_id: str,
        *,
        status: str | None = None,
        destination: str | None = None,
        cause: str | None = None,
        **data: Json,
    ) -> None:
        """Set what is given; *data* is added to what the migration holds. *cause*: why it came to nothing, or why
        nobody knows what it has come to; an earlier one stays where none is given, unless it goes on or ends well."""
        with self._database.write() as tx:
            renew(tx, run_id)
            table = tx.tables.migrations
            row = tx.first(table.select().where(table.c.id == migration_id))
            if row is None:
                raise Stale(f"migration {migration_id} is not in the ledger; plan again")
            changed = {
                "status": status or row.status,
                "destination": destination or row.destination,
                "data": _with_cause({**row.data, **data}, status, cause),
                "run_id": run_id,
                "updated": tx.now,
            }
            tx.run(table.update().where(table.c.id == migration_id).values(**changed))

    def note_migration(
        self,
        run_id: str,
        migration_id: str,
        kind: str,
        server_id: str,
        *,
        source: str,
        status: str,
        destination: str | None = None,
        cause: str | None = None,
        **data: Json,
    ) -> None:
        """Set a migration's status; where the ledger has none of this id, as one made anew has not, note it so.

        *destination*: None where the server stays; *cause*: as for update_migration().
        """
        with self._database.write() as tx:
            renew(tx, run_id)
            table = tx.tables.migrations
            this = table.c.id == migration_id
            known = tx.first(table.select().where(this))
            changed = {"status": status, "run_id": run_id, "updated": tx.now}
            if known is not None:
                tx.run(table.update().where(this).values(**changed, data=_with_cause(known.data, status, cause)))
                return
            ends = {"source": source, "destination": destination or source}
            row = {"id": migration_id, "kind": kind, "server_id": server_id, **ends}
            tx.run(table.insert().values(**row, **changed, created=tx.now, data=_with_cause(data, status, cause)))

    def migrations(self, server_id: str | None = None, *, unfinished: bool = False) -> list[MigrationRow]:
        """Migrations, oldest first: of one server or of all, those that go on or all."""
        with self._database.read() as tx:
            table = tx.tables.migrations
            query = table.select().order_by(table.c.created, table.c.id)
            if server_id is not None:
                query = query.where(table.c.server_id == server_id)
            if unfinished:
                query = query.where(table.c.status.not_in(_ENDED))
            return values(tx, MigrationRow, query)


def _with_cause(data: t.Mapping[str, Json], status: str | None, cause: str | None) -> dict[str, Json]:
    """A migration's data with its new *cause*. One that goes on, or has ended well, has none (any more)."""
    if status is not None and status not in _CAME_TO_NOTHING:
        return {key: value for key, value in data.items() if key != CAUSE}
    return {**data, CAUSE: text_of(cause)} if cause else dict(data)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise FlotillaError(f"the ledger keeps no catalog of {kind!r}; it has {', '.join(KINDS)}")
    return kind
