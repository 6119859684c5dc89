# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's tables.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

They are built by a function, since SQLAlchemy may be imported only when a ledger is opened. Statements are made with
the tables' own methods (``table.select().where(...)``), so that other files need no SQLAlchemy. Times are seconds
since 1970 by the database's clock. Columns bear the names of the fields in _rows.py.
A change here needs a revision in migrations/; a test compares both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import os
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

if t.TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Tables", "preload", "tables"]


@dataclasses.dataclass(frozen=True)
class Tables:
    metadata: sa.MetaData
    fleet: sa.Table
    runs: sa.Table
    hosts: sa.Table
    servers: sa.Table
    claims: sa.Table
    addresses: sa.Table
    slots: sa.Table
    actions: sa.Table
    migrations: sa.Table
    catalog: sa.Table
    sealed: sa.Table


@functools.cache
def tables() -> Tables:
    sa = need("sqlalchemy")
    metadata = sa.MetaData()
    text = functools.partial(sa.Column, type_=sa.Text)
    number = functools.partial(sa.Column, type_=sa.Integer)
    time = functools.partial(sa.Column, type_=sa.Double)
    flag = functools.partial(sa.Column, type_=sa.Boolean)
    json = functools.partial(sa.Column, type_=sa.JSON)
    table = functools.partial(_table, metadata)

    servers = table(
        "servers",
        text("id", primary_key=True),
        text("name", nullable=False),
        text("host"),
        text("record"),
        number("generation", nullable=False),
        text("vm_state", nullable=False),
        text("task_state"),
        number("power_state", nullable=False),
        text("run_id"),
        text("fault"),
        time("updated", nullable=False),
        time("since", nullable=False),
    )
    # A soft-deleted server waits for its end; its name is free again. That the index is over live servers only is said
    # in the migration alone: here it would import PostgreSQL's dialect, for nothing.
    sa.Index("servers_live_name", servers.c.name, unique=True)

    actions = table(
        "actions",
        number("id", primary_key=True, autoincrement=True),
        text("server_id", nullable=False, index=True),
        text("name", nullable=False),
        text("action", nullable=False),
        text("run_id", nullable=False, index=True),
        text("host"),
        time("started", nullable=False),
        time("ended"),
        text("result"),
        text("message"),
    )
    return Tables(
        metadata=metadata,
        fleet=table(
            "fleet",
            number("one", primary_key=True, autoincrement=False),  # always 1: a second row can't be
            text("ledger_id", nullable=False),
            text("fleet_id", nullable=False),
            text("fleet_name", nullable=False),
        ),
        runs=table(
            "runs",
            text("id", primary_key=True),
            text("command", nullable=False),
            text("hostname", nullable=False),
            text("boot_id", nullable=False),
            text("pid_namespace", nullable=False),
            number("pid", nullable=False),
            text("pid_started", nullable=False),
            text("user", nullable=False),
            time("started", nullable=False),
            time("renewed", nullable=False),
            time("ended", index=True),
            text("status", nullable=False),
            text("host"),
            text("stop"),
        ),
        hosts=table(
            "hosts",
            text("name", primary_key=True),
            text("host_id"),
            number("generation", nullable=False),
            text("service_state", nullable=False),
            text("service_reason"),
            time("surveyed"),
            json("summary", nullable=False),
            number("failed_builds", nullable=False),
        ),
        servers=servers,
        claims=table(
            "claims",
            text("server_id", primary_key=True),
            text("name", nullable=False),
            text("host", nullable=False),
            number("vcpus", nullable=False),
            number("ram", nullable=False),
            number("disk_gb", nullable=False),
            text("pool"),
            text("run_id", nullable=False),
            flag("begun", nullable=False),
            time("created", nullable=False),
            json("resources", nullable=False),
            text("project"),
            json("fit", type_=sa.JSON(none_as_null=True)),
        ),
        addresses=table(
            "addresses",
            text("network", primary_key=True),
            text("address", primary_key=True),
            text("server_id", nullable=False, index=True),
        ),
        slots=table(
            "slots",
            text("id", primary_key=True),
            text("host", nullable=False),
            text("kind", nullable=False),
            text("run_id", nullable=False),
            number("pid", nullable=False),
            text("pid_started", nullable=False),
            time("taken", nullable=False),
        ),
        actions=actions,
        migrations=table(
            "migrations",
            text("id", primary_key=True),
            text("kind", nullable=False),
            text("server_id", nullable=False, index=True),
            text("source", nullable=False),
            text("destination"),
            text("status", nullable=False),
            text("run_id"),
            json("data", nullable=False),
            time("created", nullable=False),
            time("updated", nullable=False),
        ),
        catalog=table(
            "catalog",
            text("kind", primary_key=True),
            text("name", primary_key=True),
            json("data", nullable=False),
            time("updated", nullable=False),
        ),
        sealed=table(
            "sealed",
            text("server_id", primary_key=True),
            text("token", nullable=False),
            time("updated", nullable=False),
        ),
    )


def preload() -> None:
    """Import now what opening a ledger needs, if it is there.

    Ansible loads an action plugin before it forks the workers that run it: what is imported by then costs each of them
    nothing, instead of a third of a second. Nor does Python then look through all of that for garbage, again and again,
    in each worker and when the run ends: it is there to stay.
    """
    with contextlib.suppress(FlotillaError):
        tables()
        need("sqlalchemy.dialects.sqlite.pysqlite")
        # The variable fleet_ledger is not known yet: who says it there pays for psycopg in each worker.
        if os.environ.get("FLOTILLA_LEDGER", "").startswith("postgres"):
            need("sqlalchemy.dialects.postgresql.psycopg")
            need("psycopg")
    gc.freeze()


def _table(metadata: sa.MetaData, name: str, *columns: sa.Column[t.Any]) -> sa.Table:
    table: sa.Table = need("sqlalchemy").Table(name, metadata, *columns)
    return table
