# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making, opening and reading a ledger; what goes wrong with databases; forks; what must never be seen."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.support.ledgers import build, claim, later, seen, win
from tests.support.postgres import PostgreSQL

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    HostSeen,
    Ledger,
    _database,
    _schema,
    default_url,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._location import parse_url, prepare_file
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._tables import tables


def opened(url: str, *, create: bool = True) -> Ledger:
    ledger = Ledger.open(url, create=create)
    assert ledger is not None
    return ledger


def test_no_ledger_is_made_unless_asked(url: str, tmp_path: Path) -> None:
    assert Ledger.open(url, create=False) is None
    assert Ledger.open(url, create=False, readonly=False) is None
    assert list(tmp_path.iterdir()) == []
    assert Ledger.open(url, create=True) is not None
    assert Ledger.open(url, create=False) is not None


def test_the_file_and_its_folder_are_the_owners_alone(tmp_path: Path) -> None:
    opened(f"sqlite:///{tmp_path}/state/deep/fleet.db").establish("default")
    assert stat.S_IMODE((tmp_path / "state/deep/fleet.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state/deep").stat().st_mode) == 0o700


def test_odd_paths_are_what_they_say(tmp_path: Path) -> None:
    url = default_url("web fleet", str(tmp_path / "a b%41#?ü"), env={})
    opened(url).establish("default")
    assert [path.name for path in (tmp_path / "a b%41#?ü").iterdir()] == ["web fleet.db"]
    assert opened(url, create=False).fleet() is not None


def test_the_identity_is_drawn_once_even_by_many_at_a_time(url: str) -> None:
    ids: list[str] = []

    def draw() -> None:
        ids.append(opened(url).establish("default").fleet_id)

    threads = [threading.Thread(target=draw) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1
    fleet = opened(url).fleet()
    assert fleet is not None
    assert (fleet.fleet_id, fleet.fleet_name) == (ids[0], "default")


def test_a_ledger_is_that_of_one_fleet(ledger: Ledger) -> None:
    with pytest.raises(Conflict, match=r"'default'.*not of 'other'"):
        ledger.establish("other")
    with pytest.raises(Conflict, match="not of 'default'"):
        ledger.establish("default", "another-id")


def test_a_lost_ledger_is_filled_from_the_hosts(url: str) -> None:
    ledger = opened(url)
    host = HostSeen("kvm1", "id-1", "disabled", "disks are slow")
    fleet = ledger.adopt("default", "a-fleet", hosts=[host], servers=[seen("id-1", "web1", addresses=["192.0.2.5"])])
    now = ledger.snapshot()
    assert now.fleet == fleet
    assert fleet.fleet_id == "a-fleet"
    assert now.hosts["kvm1"].service_state == "disabled"
    assert now.servers["id-1"].name == "web1"
    assert now.addresses[0].address == "192.0.2.5"
    with pytest.raises(Conflict, match="already has servers"):
        ledger.adopt("default", "b-fleet", hosts=[], servers=[])


def test_a_take_over_leaves_namesakes_out(url: str) -> None:
    ledger = opened(url)
    found = [seen("id-1", "web1"), seen("id-2", "web1", "kvm2"), seen("id-3", "web3")]
    ledger.adopt("default", "a-fleet", hosts=[HostSeen("kvm1", "id-1")], servers=found)
    assert ledger.snapshot().servers.keys() == {"id-3"}


def test_check_mode_reads_all_and_changes_no_byte(ledger: Ledger, run_id: str, url: str, tmp_path: Path) -> None:
    build(ledger, run_id, "web1")
    before, files = ledger.snapshot(), contents(tmp_path)
    reader = opened(url, create=False)
    assert reader.snapshot().servers == before.servers
    assert reader.catalog("flavor") == {}
    assert reader.establish("default") == before.fleet
    assert reader.observe([], since=reader.now()) == ()
    for write in (lambda: reader.start_run("x"), lambda: reader.put("flavor", "a", {}), lambda: reader.renew(run_id)):
        with pytest.raises(FlotillaError, match="for reading only"):
            write()
    assert contents(tmp_path) == files


def test_readers_wait_for_nobody_and_see_one_moment(ledger: Ledger, url: str) -> None:
    before = ledger.snapshot()
    with _database.Database(parse_url(url), readonly=False).write() as tx:
        tx.run(tx.tables.hosts.delete())
        for reader in (opened(url, create=False), ledger):
            assert reader.snapshot().hosts == before.hosts
    assert opened(url, create=False).snapshot().hosts == {}


def test_check_mode_leaves_the_journal_of_a_killed_writer_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    opened(url).establish("default")
    child = multiprocessing.get_context("fork").Process(target=die_with_journal, args=(tmp_path / "fleet.db",))
    child.start()
    child.join()
    assert (tmp_path / "fleet.db-wal").stat().st_size > 0
    before = contents(tmp_path, "fleet.db", "fleet.db-wal")
    assert "kvm7" in opened(url, create=False).snapshot().hosts
    assert contents(tmp_path, "fleet.db", "fleet.db-wal") == before


def die_with_journal(path: Path) -> None:
    """Commit, and end without the clearing up that closing does."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO hosts VALUES ('kvm7', NULL, 1, 'enabled', NULL, NULL, '{}', 0)")
    os._exit(0)


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not names or name in names}


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    opened(url)
    from alembic.autogenerate import compare_metadata

    with _database.Database(parse_url(url), readonly=False).read() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        assert compare_metadata(context, tables().metadata) == []


def test_an_older_ledger_is_carried_over_and_a_newer_one_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(url).establish("default")
    folder = tmp_path / "migrations"
    folder.mkdir()
    for revision in Path(_schema.__file__).parent.glob("migrations/v*.py"):
        (folder / revision.name).write_text(revision.read_text(encoding="utf-8"), encoding="utf-8")
    head = _schema.HEAD
    (folder / "v9999_next.py").write_text(NEXT.format(head=head), encoding="utf-8")
    with monkeypatch.context() as newer:
        newer.setattr(_schema, "HEAD", "9999")
        newer.setattr(_schema, "_FOLDER", folder)
        with pytest.raises(FlotillaError, match=f"older schema {head}"):
            Ledger.open(url, create=False)
        writer = Ledger.open(url, create=False, readonly=False)
        assert writer is not None
        fleet = writer.fleet()
        assert fleet is not None
        assert fleet.fleet_name == "default"
    for create in (True, False):
        with pytest.raises(FlotillaError, match=f"schema 9999, this Flotilla knows {head}"):
            Ledger.open(url, create=create)


def test_what_the_first_schema_held_is_there_in_the_newest(url: str) -> None:
    database = _database.Database(parse_url(url), readonly=False)
    if database.path is not None:
        prepare_file(database.path)
    with database.write() as tx:
        context = MigrationContext.configure(tx.connection)
        script = ScriptDirectory(str(_schema._FOLDER), version_locations=[str(_schema._FOLDER)])
        with Operations.context(context):
            script.get_revision("0001").module.upgrade()
        context.stamp(script, "0001")
        execute = tx.connection.exec_driver_sql
        execute("INSERT INTO hosts VALUES ('kvm1', 'id-1', 1, 'enabled', NULL, 1.0, '{}')")
        execute("INSERT INTO claims VALUES ('a', 'web1', 'kvm1', 1, 512, 10, 'local', 'a-run', true, 1.0)")
    now = opened(url).snapshot()
    assert now.hosts["kvm1"].failed_builds == 0
    assert (now.claims["a"].ram, now.claims["a"].resources, now.claims["a"].project) == (512, {}, None)
    assert now.claims["a"].fitted is None


ROOT = Path(__file__).parents[2]
NEXT = """
revision = "9999"
down_revision = "{head}"

def upgrade():
    import sqlalchemy as sa
    from alembic import op
    op.add_column("hosts", sa.Column("rack", sa.Text))
"""


def test_forks_of_one_run_write_safely(ledger: Ledger, run_id: str) -> None:
    """Ansible's workers inherit the ledger object that their parent has used."""
    servers = [win(ledger, run_id, claim(f"web{number}"))[0].server_id for number in range(6)]

    def work(server_id: str) -> None:
        ledger.begin_task(run_id, server_id, "spawning", action="create")
        ledger.fail(run_id, server_id, f"by {os.getpid()}")

    context: t.Any = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(server_id,)) for server_id in servers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    faults = {row.fault for row in ledger.snapshot().servers.values()}
    assert faults == {f"by {worker.pid}" for worker in workers}


def test_a_thousand_servers_are_read_at_once(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    found = [
        seen(f"{n:08d}-0000", f"web{n}", f"kvm{n % 200}", addresses=[f"10.0.{n // 250}.{n % 250}"]) for n in range(1000)
    ]
    ledger.observe(found, since=later(ledger))
    ledger.save_survey([HostSeen(f"kvm{n}", f"id-{n}", summary={"memory": n}) for n in range(200)])
    began = time.perf_counter()
    now = ledger.snapshot()
    middle = time.perf_counter()
    ledger.observe(found, since=later(ledger))
    ended = time.perf_counter()
    assert (len(now.servers), len(now.addresses)) == (1000, 1000)
    with capsys.disabled():
        print(
            f"\n{ledger.name.partition(':')[0]}: snapshot {(middle - began) * 1e3:.0f} ms, "
            f"observing no difference {(ended - middle) * 1e3:.0f} ms, 1,000 servers on 200 hosts"
        )


@pytest.mark.parametrize(
    ("ledger_url", "preloaded"),
    [(None, "sqlite"), ("sqlite:////f/fleet.db", "sqlite"), ("postgresql://db/fleet", "sqlite postgresql psycopg")],
)
def test_only_the_driver_that_is_used_is_imported_ahead(ledger_url: str | None, preloaded: str) -> None:
    code = (
        "import sys\n"
        "from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload\n"
        "preload()\n"
        "modules = {'sqlite': 'sqlalchemy.dialects.sqlite.pysqlite', 'psycopg': 'psycopg',\n"
        "           'postgresql': 'sqlalchemy.dialects.postgresql.psycopg'}\n"
        "print(*(name for name in ('sqlite', 'postgresql', 'psycopg') if modules[name] in sys.modules))"
    )
    env = {key: value for key, value in os.environ.items() if key != "FLOTILLA_LEDGER"}
    env |= {"PYTHONPATH": str(ROOT / ".dev"), **({"FLOTILLA_LEDGER": ledger_url} if ledger_url else {})}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == preloaded


def test_what_is_imported_ahead_is_not_looked_through_for_garbage() -> None:
    """Else each worker does so, again and again, and the end of each run."""
    code = (
        "import gc\n"
        "from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload\n"
        "preload()\n"
        "import sqlalchemy\n"
        "print([found for found in gc.get_objects() if isinstance(found, sqlalchemy.Table)])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / ".dev")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mysql://user:planted@host/db", "can't be kept in 'mysql'"),
        ("postgresql://user:planted@host:port/db", "no database URL"),
        ("planted", "no database URL"),
        ("sqlite://", "can't be kept"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////dev/null/fleet.db", "can't be made|can't be opened"),
        ("sqlite:////proc/fleet.db", "can't be made"),
        ("postgresql://user:planted@127.0.0.1:1/db", "can't be reached"),
        ("postgresql://user:planted@no-such-host.invalid/db?password=planted", "can't be reached|can't be used"),
    ],
)
def test_a_wrong_url_is_a_sentence_without_the_password(text: str, sentence: str) -> None:
    with pytest.raises((InvalidInput, FlotillaError), match=sentence) as caught:
        Ledger.open(text, create=True)
    assert "planted" not in str(caught.value)


def test_a_wrong_password_or_database_is_a_sentence(postgresql: PostgreSQL) -> None:
    for text, sentence in (
        (postgresql.url("postgres", password="planted"), "refuses this user or password"),
        (postgresql.url("nowhere"), "isn't there; make the database"),
    ):
        with pytest.raises(FlotillaError, match=sentence) as caught:
            Ledger.open(text, create=True)
        assert "planted" not in str(caught.value)
        assert postgresql.password not in str(caught.value)


def test_the_password_is_in_no_name(postgresql: PostgreSQL) -> None:
    ledger = opened(postgresql.new_database())
    assert postgresql.password not in ledger.name
    assert "flotilla:***@127.0.0.1" in ledger.name


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_text("not a database at all, but long enough to be looked at as one", encoding="utf-8")
    with pytest.raises(FlotillaError, match="file of another kind"):
        Ledger.open(f"sqlite:///{path}", create=True)
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_a_writer_that_hangs_keeps_nobody_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's lock can't be taken from it, so the others say so; PostgreSQL cuts it off."""
    monkeypatch.setattr(_database, "PATIENCE", 1)
    ledger = opened(url)
    holder = _database.Database(parse_url(url), readonly=False)
    if url.startswith("sqlite"):
        with holder.write(), pytest.raises(FlotillaError, match="locked by another process for 1 s"):
            ledger.start_run("reconcile")
        return
    with pytest.raises(FlotillaError, match="has cut this run off"), holder.write():
        ledger.start_run("reconcile")
    assert len(ledger.live_runs()) == 1


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(f"sqlite:///{tmp_path}/fleet.db")
    connect = _database.Database._connect_sqlite

    def small(self: _database.Database) -> sqlite3.Connection:
        connection = connect(self)
        connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    monkeypatch.setattr(_database.Database, "_connect_sqlite", small)
    again = opened(f"sqlite:///{tmp_path}/fleet.db")
    with pytest.raises(FlotillaError, match="the disk is full"):
        again.put("flavor", "big", {"extra_specs": "x" * 100_000})
