# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's schema, carried from version to version by Alembic's revisions in migrations/.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A revision's upgrade() runs in the one write transaction that has looked at the version, so of several runs that start
with an old ledger one carries it over and the others find it done. Alembic is imported only then.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Database, Transaction

__all__ = ["HEAD", "upgrade", "version_of"]

HEAD = "0005"  # the newest revision in migrations/
_FOLDER = Path(__file__).parent / "migrations"


def version_of(database: Database) -> str | None:
    """The schema's version, None if there is no ledger. One that can't be used as it is asked for is refused."""
    if database.path is not None and not database.path.exists():
        return None
    with database.read() as transaction:
        version = _version(transaction)
    if version is not None and version > HEAD:
        raise FlotillaError(
            f"the ledger {database.name} has schema {version}, this Flotilla knows {HEAD}; use the newer collection"
        )
    if database.readonly and version is not None and version < HEAD:
        raise FlotillaError(
            f"the ledger {database.name} has the older schema {version}; a run without --check makes it {HEAD}"
        )
    return version


def upgrade(database: Database) -> None:
    with database.write() as transaction:
        version = _version(transaction)
        if version != HEAD:
            _upgrade(transaction, version)


def _version(transaction: Transaction) -> str | None:
    connection = transaction.connection
    if not need("sqlalchemy").inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version


def _upgrade(transaction: Transaction, version: str | None) -> None:
    script = need("alembic.script").ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER)])
    context = need("alembic.runtime.migration").MigrationContext.configure(transaction.connection)
    revisions: list[t.Any] = list(script.iterate_revisions("head", version or "base"))
    with need("alembic.operations").Operations.context(context):
        for revision in reversed(revisions):
            revision.module.upgrade()
    context.stamp(script, "head")
