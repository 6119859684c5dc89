# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cold move that fails: it says that nothing is left of it exactly where both ends have been seen to be so."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from pathlib import Path

import libvirt
import pytest
from tests.libvirt.conftest import ID

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, OutOfReach
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import MARK, MIGRATING, resize_mark
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    cold_prechecks,
    domains,
    moving,
    taken_back,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import host_of, run_steps
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

POOL = """
<pool type='dir'>
  <name>local</name><target><path>/pools/local</path></target>
</pool>
"""
COPY = f"""
<domain type='test'>
  <name>web1</name><uuid>{ID}</uuid><memory>9999</memory><os><type>hvm</type></os>
</domain>
"""
MARKER = "flotilla-pool-6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1b99"
BACK = {"migration": {"id": "m1", "status": "failed", "left": False}}
Moved = t.Callable[..., list[dict[str, t.Any]]]


class There:
    """The destination: a host of the test driver's own, with an empty pool ``local``. ``silent``: it answers no more.
    ``asked``: how often it was opened."""

    def __init__(self, conn: t.Any, here: Host) -> None:
        self.conn, self._here, self.silent, self.asked = conn, here, False, 0

    @contextlib.contextmanager
    def opened(self, _here: Host, _end: object) -> t.Iterator[Host]:
        self.asked += 1
        if self.silent:
            raise OutOfReach("kvm2 can't be reached from here: no route to host")
        yield dataclasses.replace(self._here, conn=self.conn, storage=Storage(self.conn), host_id="h2")

    @property
    def pool(self) -> t.Any:
        return Storage(self.conn).pool("local")

    def volumes(self) -> set[str]:
        return {name for name in self.pool.names() if name.startswith(ID)}


@pytest.fixture
def there(
    conn: t.Any, state_dir: str, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[There]:
    file = tmp_path / "there.xml"
    file.write_text("<node/>", encoding="utf-8")
    other = libvirt.open(f"test://{file}")
    other.storagePoolDefineXML(POOL, 0).create(0)
    found = There(other, host_of(conn, state_dir=state_dir, run_id="r1", fleet_id=record.fleet_id))
    found.pool.make(MARKER, 1, "raw")
    for module in (moving, taken_back):
        monkeypatch.setattr(module, "other_end", found.opened)
    # What no test driver can, and what is looked at before that: here it is about what follows a failure.
    monkeypatch.setattr(cold_prechecks, "check", lambda *_args: None)
    monkeypatch.setattr(Storage, "write_sidecar", lambda *_args: None)
    yield found
    other.close()


@pytest.fixture
def move(conn: t.Any, state_dir: str, record: Record) -> Moved:
    """Steps on a server up to its start after a move; one that is stopped for it ran."""

    def carry_out(*before: str) -> list[dict[str, t.Any]]:
        was = "running" if before else "shutoff"
        mark = {**resize_mark(record, state=was, migration="m1", at=1.0), "from": {"host": "a", "host_id": "h1"}}
        target = dataclasses.replace(record, generation=record.generation + 1, host_id="h2", marks={MARK: mark})
        common: dict[str, t.Any] = {
            "server_id": ID,
            "name": record.name,
            "expects": record.generation,
            "timeout": 0,
        }
        peer = {"host": "kvm2", "host_id": "h2", "uri": "test:///there"}
        steps = [{"kind": kind, **common, "record": None} for kind in before]
        steps.append({"kind": "migrate", **common, "record": target.to_json(), "options": {"peer": peer}})
        steps.append({"kind": "start", **common, "expects": target.generation, "record": None, "options": {"at": peer}})
        return run_steps(conn, steps, state_dir=state_dir, run_id="r1", fleet_id=record.fleet_id)

    return carry_out


def fail(message: str, first: t.Callable[[], object] = lambda: None) -> t.Callable[..., t.NoReturn]:
    def failing(*_args: object) -> t.NoReturn:
        first()
        raise FlotillaError(message)

    return failing


def state(conn: t.Any, record: Record) -> tuple[bool, bool]:
    """Whether the server runs here, and whether it is as it was."""
    domain = conn.lookupByUUIDString(ID)
    return bool(domain.isActive()), domains.record_of(domain) == record


def test_refused_while_it_runs(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold_prechecks, "check", fail("it stands on another's disk"))
    (refused,) = move("stop")
    assert (refused["kind"], refused["message"]) == ("migrate", "it stands on another's disk")
    assert refused["told"] == BACK
    assert state(conn, record) == (True, True)
    assert there.asked == 2  # for the move, and whether anything of it is there


def test_refused_when_it_is_off_for_it(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stood against it while it ran: it goes on."""
    said = iter([None, "its disk is full by now"])

    def check(*_ends: object) -> None:
        why = next(said)
        if why is not None:
            raise FlotillaError(why)

    monkeypatch.setattr(cold_prechecks, "check", check)
    stopped, refused = move("stop")
    assert (stopped["kind"], refused["kind"]) == ("stop", "migrate")
    assert refused["message"] == "its disk is full by now; it runs again as before"
    assert refused["told"] == BACK
    assert state(conn, record) == (True, True)


@pytest.mark.parametrize("what", ["domain", "volume", "no marker", "silent"])
def test_refused_where_something_is_or_nobody_answers(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "domain":
        there.conn.defineXML(COPY)
    elif what == "volume":
        there.pool.make(f"{ID}-root", 1024, "raw")
    elif what == "no marker":
        there.pool.find(MARKER).delete(0)
    there.silent = what == "silent"
    monkeypatch.setattr(cold_prechecks, "check", fail("nothing is moved"))
    (refused,) = move("stop")
    assert refused["failed"]
    assert "told" not in refused
    assert state(conn, record) == (True, True)
    # Who has not answered is not asked again.
    assert there.asked == (1 if there.silent else 2)


def test_nothing_can_be_in_a_pool_that_is_not_there(there: There, move: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_prechecks, "check", fail("it has no pool local"))
    handle = there.pool.handle
    handle.destroy()
    assert "told" not in move("stop")[-1]  # nobody sees what is in a pool that is off
    handle.undefine()
    assert move("stop")[-1]["told"] == BACK


@pytest.mark.parametrize("before", [("stop",), ()])
def test_what_was_made_there_is_taken_away_and_the_server_is_back(
    conn: t.Any,
    record: Record,
    there: There,
    move: Moved,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, ...],
) -> None:
    domain = conn.lookupByUUIDString(ID)
    if not before:
        domain.destroy()

    def half_way() -> None:
        there.pool.make(f"{ID}-root", 1024, "raw")
        assert MIGRATING in domains.record_of(domain).marks  # type: ignore[union-attr]

    monkeypatch.setattr(moving, "_bring_disks", fail("no room", half_way))
    results = move(*before)
    assert [result["kind"] for result in results] == [*before, "migrate"]
    assert results[-1]["told"] == BACK
    assert results[-1]["message"].startswith("no room")
    assert there.volumes() == set()
    assert state(conn, record) == (bool(before), True)


def test_what_libvirt_says_is_told_as_of_any_step(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_bring_disks", lambda *_args: there.conn.lookupByName("nobody"))
    (_stop, failed) = move("stop")
    assert failed["told"] == BACK
    assert failed["message"].startswith("can't migrate server 'web1': ")
    assert state(conn, record)[1]


def test_what_could_not_be_taken_away_is_not_told_to_be_gone(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_bring_disks", fail("no room"))
    monkeypatch.setattr(moving, "_clear", fail("a volume of it is in use"))
    failed = move("stop")[-1]
    assert (failed["message"].partition(";")[0], "told" in failed) == ("no room", False)
    assert state(conn, record)[1] is False
    assert there.asked == 2  # ahead of the shutdown, and for the move: its mark alone says enough


def test_whether_it_was_defined_there_is_not_known(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end that may have the domain says nothing any more: here the server is given up."""

    def falls_silent(_host: Host, _record: Record) -> t.NoReturn:
        there.silent = True
        raise FlotillaError("end of file")

    def unknown(*_args: object) -> t.NoReturn:
        raise FlotillaError("no answer")

    monkeypatch.setattr(moving, "_bring_disks", lambda _job, _there, target: target)
    monkeypatch.setattr(Host, "define", falls_silent)
    monkeypatch.setattr(moving, "_domain", unknown)
    failed = move("stop")[-1]
    assert (failed["message"], "told" in failed) == ("end of file", False)
    assert state(conn, record) == (False, False)


def test_one_that_is_undone_says_so(
    conn: t.Any, state_dir: str, record: Record, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = {"migration": "m1", "at": 1.0, "to": {"host": "kvm2", "host_id": "h2"}}
    domain = conn.lookupByUUIDString(ID)
    domains.write_record(domain, dataclasses.replace(record, marks={MIGRATING: mark}))
    there.pool.make(f"{ID}-root", 1024, "raw")
    undo = {
        "kind": "undo_migration",
        "server_id": ID,
        "name": record.name,
        "expects": record.generation,
        "record": dataclasses.replace(record, generation=record.generation + 1).to_json(),
        "options": {"peer": {"host": "kvm2", "host_id": "h2", "uri": "test:///there"}},
    }

    def undone() -> dict[str, t.Any]:
        (result,) = run_steps(conn, [undo], state_dir=state_dir, run_id="r1", fleet_id=record.fleet_id)
        return result

    there.silent = True
    assert (undone()["failed"], "told" in undone()) == (True, False)
    there.silent = False
    assert undone()["told"] == BACK
    assert there.volumes() == set()
    again = undone()
    assert (again["message"], "told" in again) == ("it is here", False)


def test_a_server_that_goes_already_is_not_back(
    conn: t.Any, record: Record, there: There, move: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = {"migration": "m0", "at": 1.0, "to": {"host": "kvm2", "host_id": "h2"}}
    domains.write_record(conn.lookupByUUIDString(ID), dataclasses.replace(record, marks={MIGRATING: mark}))
    failed = move()[-1]
    assert (failed["failed"], "told" in failed, there.asked) == (True, False, 0)
