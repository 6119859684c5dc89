# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's database: SQLite or PostgreSQL, with one way to read it and one to write it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A ledger has one writer at a time, on both databases: BEGIN IMMEDIATE, an advisory lock. What a write transaction has
read can't change under it, so nothing here needs row locks or retries. Readers see one moment and wait for nobody.
No connection outlives its transaction (NullPool), so none is carried into Ansible's forks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import typing as t
import urllib.parse
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._location import shown
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._tables import Tables, tables

if t.TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["Database", "Transaction"]

PATIENCE = 60  # seconds that a writer waits for the others
# Libpq's options where the URL doesn't say them: a host that is cut off is noticed. No statement is worth preparing.
_POSTGRESQL = {
    "connect_timeout": 10,
    "application_name": "flotilla",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "prepare_threshold": None,
}
_LOCK = 0x466C6F74  # "Flot": the advisory lock's first number; the second is the schema's


class Transaction:
    """An open transaction; ``now`` is its time by the database's clock."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.tables: Tables = tables()
        self.now = float(connection.exec_driver_sql(_CLOCK[connection.dialect.name]).scalar_one())

    def rows(self, query: sa.Select[t.Any]) -> t.Sequence[sa.Row[t.Any]]:
        return self.connection.execute(query).all()

    def first(self, query: sa.Select[t.Any]) -> sa.Row[t.Any] | None:
        return self.connection.execute(query).first()

    def run(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """The number of rows that were written."""
        return self.connection.execute(statement).rowcount

    def run_many(self, statement: sa.Insert | sa.Update, rows: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        if rows:
            self.connection.execute(statement, rows)


class Database:
    def __init__(self, url: sa.URL, *, readonly: bool) -> None:
        self.url = url
        self.readonly = readonly
        self._pid = 0
        self._engine: sa.Engine | None = None

    @property
    def path(self) -> Path | None:
        """The file of an SQLite ledger."""
        return Path(self.url.database or "") if self.url.drivername == "sqlite" else None

    @property
    def name(self) -> str:
        return shown(self.url)

    @contextlib.contextmanager
    def read(self) -> t.Iterator[Transaction]:
        with self._sentences(), self._begin(write=False) as transaction:
            yield transaction

    @contextlib.contextmanager
    def write(self) -> t.Iterator[Transaction]:
        if self.readonly:
            raise FlotillaError(f"the ledger {self.name} is open for reading only, as in check mode")
        with self._sentences(), self._begin(write=True) as transaction:
            yield transaction

    @contextlib.contextmanager
    def _begin(self, *, write: bool) -> t.Iterator[Transaction]:
        with self._connection(write=write) as connection, connection.begin():
            if write and self.path is None:
                _lock_postgresql(connection)
            yield Transaction(connection)

    @contextlib.contextmanager
    def _connection(self, *, write: bool) -> t.Iterator[sa.Connection]:
        with self._fresh_engine().connect() as connection:
            options: dict[str, t.Any] = {"flotilla_write": write}
            if self.path is None and not write:
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            yield connection.execution_options(**options)

    def _fresh_engine(self) -> sa.Engine:
        """An engine of this very process: one that was made before a fork is left to the parent."""
        if self._engine is None or self._pid != os.getpid():
            if self._engine is not None:
                self._engine.dispose(close=False)
            self._engine, self._pid = self._make_engine(), os.getpid()
        return self._engine

    def _make_engine(self) -> sa.Engine:
        create_engine = need("sqlalchemy").create_engine
        options = {"poolclass": need("sqlalchemy").NullPool, "hide_parameters": True}
        engine: sa.Engine
        if self.path is not None:
            engine = create_engine(self.url, creator=self._connect_sqlite, **options)
            need("sqlalchemy.event").listen(engine, "begin", _begin_sqlite)
        else:
            need("psycopg")
            asked = {key: value for key, value in _POSTGRESQL.items() if key not in self.url.query}
            engine = create_engine(self.url, connect_args=asked, **options)
        return engine

    def _connect_sqlite(self) -> sqlite3.Connection:
        """Never with mode=rwc: a ledger is made on purpose or not at all.

        A reader with mode=ro can't clear away the -shm and -wal files that it makes, one with query_only does; but
        only as long as no killed writer has left a -wal with content, which its end would write into the file.
        """
        path = t.cast(Path, self.path)
        leave = self.readonly and _size(path.with_name(path.name + "-wal")) > 0
        connection = sqlite3.connect(
            f"file:{urllib.parse.quote(str(path))}?mode={'ro' if leave else 'rw'}",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,  # transactions are begun here, not by the driver
        )
        connection.execute("PRAGMA synchronous=FULL")
        if self.readonly:
            connection.execute("PRAGMA query_only=ON")
        return connection

    def use_wal(self) -> None:
        """Kept in the file once set. Readers then never wait for writers, nor writers for readers."""
        if self.path is None:
            return
        with self._sentences(), contextlib.closing(self._connect_sqlite()) as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            # Changing it needs the file alone, and is refused at once, with no waiting, while another does the same.
            for _attempt in range(PATIENCE * 20):
                with contextlib.suppress(sqlite3.OperationalError):
                    if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                        return
                time.sleep(0.05)
            raise FlotillaError(
                f"the ledger {self.name} can't be put into WAL mode; is its folder on a local disk, with room?"
            )

    @contextlib.contextmanager
    def _sentences(self) -> t.Iterator[None]:
        """Errors of the database as sentences for the operator."""
        errors = need("sqlalchemy").exc
        try:
            yield
        except errors.IntegrityError as exc:
            raise Conflict(f"the ledger {self.name} would hold two of one: {_cause(exc)}; plan again") from exc
        except (errors.SQLAlchemyError, sqlite3.Error) as exc:
            raise FlotillaError(f"the ledger {self.name} {_explain(_cause(exc))}") from exc


_CLOCK = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}

# What the databases say -> what to do. The first that fits is taken; PostgreSQL's messages are matched in English, and
# stand in the sentence anyway.
_ADVICE = (
    (
        "database is locked",
        "has been locked by another process for {patience} s; look for a hanging run and try again",
    ),
    ("lock timeout", "has been locked by another process for {patience} s; look for a hanging run and try again"),
    ("idle-in-transaction", "has cut this run off, which stood still in the middle of a write; run again"),
    ("is full", "can't be written, the disk is full; make room and run again"),
    ("no space left", "can't be written, the disk is full; make room and run again"),
    (
        "unable to open",
        "can't be opened; check that the file is there and that this user may read and write it and its folder",
    ),
    ("readonly database", "can't be written by this user; check the owner and mode of the file and its folder"),
    ("not a database", "is a file of another kind; set fleet_ledger to the right one"),
    ("malformed", "is damaged; restore it, or move it away and run with fleet_take_over=true"),
    (
        "password authentication failed",
        "refuses this user or password; check the user and the password in fleet_ledger",
    ),
    ("no password supplied", "wants a password; put it into fleet_ledger (from a vault) or into PGPASSWORD"),
    ("does not exist", "isn't there; make the database and the user, or check their names in fleet_ledger"),
    ("permission denied", "doesn't let this user in; grant it the right to create tables in the database's schema"),
    ("connection", "can't be reached; check host and port in fleet_ledger, and that PostgreSQL is running"),
)


def _explain(cause: str) -> str:
    lowered = cause.lower()
    advice = next((text for sign, text in _ADVICE if sign in lowered), "can't be used")
    return f"{advice.format(patience=PATIENCE)} ({cause})"


def _cause(exc: BaseException) -> str:
    """The first line of what the driver said; SQLAlchemy adds the statement and a link."""
    return (str(getattr(exc, "orig", None) or exc).strip() or type(exc).__name__).splitlines()[0]


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("flotilla_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _lock_postgresql(connection: sa.Connection) -> None:
    """One writer at a time, as in SQLite. A controller that hangs loses the lock before the others give up."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
    connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{PATIENCE * 500}ms'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK}, hashtext(current_schema()))")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
