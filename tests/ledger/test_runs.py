# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots, and the catalog and journal of migrations."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import typing as t

import pytest
from tests.support.ledgers import claim, record, win

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InProgress, Stale
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller, Ledger, _runs
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Database, Transaction


def test_a_host_has_so_many_slots_of_a_kind(ledger: Ledger, run_id: str) -> None:
    first = ledger.take_slot("kvm1", "build", 2, run_id)
    assert first is not None
    assert ledger.take_slot("kvm1", "build", 2, run_id) is not None
    assert ledger.take_slot("kvm1", "build", 2, run_id) is None
    assert ledger.take_slot("kvm1", "image", 2, run_id) is not None
    assert ledger.take_slot("kvm2", "build", 2, run_id) is not None
    ledger.free_slot(first)
    assert ledger.take_slot("kvm1", "build", 2, run_id) is not None


def test_a_wait_for_a_slot_has_a_limit_and_says_for_what(ledger: Ledger, run_id: str) -> None:
    with (
        ledger.slot("kvm1", "build", 1, run_id, timeout=5),
        pytest.raises(InProgress, match="all 1 slots for build on host 'kvm1'"),
        ledger.slot("kvm1", "build", 1, run_id, timeout=0.1),
    ):
        pytest.fail("there was no slot")
    with ledger.slot("kvm1", "build", 1, run_id, timeout=0.1):
        pass


def test_slots_of_killed_runs_and_killed_workers_are_free_again(ledger: Ledger, run_id: str) -> None:
    def hold(run_of_the_child: bool) -> None:
        held_by = ledger.start_run("reconcile") if run_of_the_child else run_id
        ledger.take_slot("kvm1", "build", 1, held_by)

    context: t.Any = multiprocessing.get_context("fork")
    for run_of_the_child in (True, False):
        child = context.Process(target=hold, args=(run_of_the_child,))
        child.start()
        child.join()
        slot = ledger.take_slot("kvm1", "build", 1, run_id)
        assert slot is not None
        ledger.free_slot(slot)


def begin(ledger: Ledger, run_id: str, server_id: str, timeout: float = 0.1, host: str = "kvm1") -> None:
    ledger.begin_step(run_id, server_id, "spawning", action="create", host=host, limit=1, timeout=timeout)


def test_a_step_holds_its_slot_until_it_ends_whichever_way(ledger: Ledger, run_id: str) -> None:
    ids = [place.server_id for place in win(ledger, run_id, *(claim(f"web{n}") for n in range(5)))]
    ends: tuple[t.Callable[[str], None], ...] = (
        lambda server_id: ledger.finish(run_id, server_id, record=record(server_id, "web0"), vm_state="active"),
        lambda server_id: ledger.fail(run_id, server_id, "pool 'local' is full"),
        lambda server_id: ledger.end_task(run_id, server_id),
        lambda server_id: ledger.finish(run_id, server_id, record=None),
    )
    for end, server_id, waiting in zip(ends, ids, ids[1:], strict=False):
        begin(ledger, run_id, server_id)
        with pytest.raises(InProgress, match="all 1 slots for step on host 'kvm1'"):
            begin(ledger, run_id, waiting)
        begin(ledger, run_id, waiting, host="kvm2")
        ledger.end_task(run_id, waiting)
        win(ledger, run_id, claim(f"web{ids.index(waiting)}", server_id=waiting))
        end(server_id)
    begin(ledger, run_id, ids[-1])


def test_a_step_that_finds_no_slot_is_not_begun(ledger: Ledger, run_id: str) -> None:
    first, second = (place.server_id for place in win(ledger, run_id, claim("web1"), claim("web2")))
    begin(ledger, run_id, first)
    before = ledger.snapshot()
    with pytest.raises(InProgress):
        begin(ledger, run_id, second)
    after = ledger.snapshot()
    assert (after.servers, after.claims) == (before.servers, before.claims)
    assert not after.claims[second].begun
    assert ledger.actions(second) == []


def test_a_step_waits_for_the_end_of_another_and_not_for_a_killed_worker(ledger: Ledger, run_id: str) -> None:
    ids = [place.server_id for place in win(ledger, run_id, *(claim(f"web{n}") for n in range(3)))]
    begin(ledger, run_id, ids[0])
    end = threading.Timer(0.3, lambda: ledger.fail(run_id, ids[0], "no"))
    end.start()
    context: t.Any = multiprocessing.get_context("fork")
    child = context.Process(target=begin, args=(ledger, run_id, ids[1], 30))
    child.start()
    child.join()
    end.join()
    assert child.exitcode == 0
    begin(ledger, run_id, ids[2])


def test_a_step_costs_two_transactions(ledger: Ledger, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    write, writes = Database.write, []

    def counted(self: Database) -> contextlib.AbstractContextManager[Transaction]:
        writes.append(self)
        return write(self)

    monkeypatch.setattr(Database, "write", counted)
    begin(ledger, run_id, place.server_id)
    ledger.finish(run_id, place.server_id, record=record(place.server_id, "web1"), vm_state="active", power_state=1)
    assert len(writes) == 2


def test_a_run_ends_once(ledger: Ledger, run_id: str) -> None:
    assert ledger.live_runs()[run_id].pid == Controller.here().pid
    assert ledger.take_slot("kvm1", "build", 1, run_id) is not None
    ledger.end_run(run_id, "done")
    assert run_id not in ledger.live_runs()
    with pytest.raises(Stale, match="is over"):
        ledger.renew(run_id)
    assert ledger.take_slot("kvm1", "build", 1, ledger.start_run("again")) is not None


def test_a_long_step_is_renewed_meanwhile(ledger: Ledger, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_runs, "LEASE", 0.1)
    before = ledger.live_runs()[run_id].renewed
    with ledger.renewing(run_id):
        while ledger.live_runs()[run_id].renewed == before:
            pass


def test_catalog_entries_come_and_go(ledger: Ledger) -> None:
    small = {"vcpus": 1, "ram": 512, "disk": 1, "extra_specs": {"ü": "\x00"}}
    assert ledger.put("flavor", "m1.small", small)
    assert not ledger.put("flavor", "m1.small", small)
    assert ledger.put("flavor", "m1.small", {**small, "ram": 1024})
    assert ledger.catalog("flavor") == {"m1.small": {**small, "ram": 1024}}
    assert ledger.catalog("keypair") == {}
    assert ledger.drop("flavor", "m1.small")
    assert not ledger.drop("flavor", "m1.small")
    with pytest.raises(FlotillaError, match="no catalog of 'flavour'"):
        ledger.catalog("flavour")


def test_a_private_key_never_goes_in(ledger: Ledger) -> None:
    with pytest.raises(FlotillaError, match="private key never"):
        ledger.put("keypair", "ops", {"public_key": "ssh-ed25519 AAAA", "private_key": "planted"})
    assert ledger.catalog("keypair") == {}


def test_migrations_are_journalled(ledger: Ledger, run_id: str) -> None:
    first = ledger.add_migration(run_id, "evacuation", "id-1", source="kvm1")
    second = ledger.add_migration(run_id, "live-migration", "id-2", source="kvm1", destination="kvm2")
    ledger.update_migration(run_id, first, status="running", destination="kvm3", memory_total=1024)
    ledger.update_migration(run_id, second, status="completed")
    (open_one,) = ledger.migrations(unfinished=True)
    assert (open_one.id, open_one.status, open_one.destination) == (first, "running", "kvm3")
    assert open_one.data == {"memory_total": 1024}
    assert [row.id for row in ledger.migrations("id-2")] == [second]
    with pytest.raises(Stale, match="not in the ledger"):
        ledger.update_migration(run_id, "none", status="done")


def test_why_a_migration_came_to_nothing_stays_until_it_ends_well(ledger: Ledger, run_id: str) -> None:
    def note(status: str, cause: str | None = None) -> tuple[str, str | None]:
        ledger.note_migration(
            run_id, "m", "migration", "id-1", source="kvm1", destination="kvm2", status=status, cause=cause, flavor="s"
        )
        return seen()

    def update(**changes: t.Any) -> tuple[str, str | None]:
        ledger.update_migration(run_id, "m", **changes)
        return seen()

    def seen() -> tuple[str, str | None]:
        (row,) = ledger.migrations("id-1")
        assert row.data["flavor"] == "s"
        return row.status, row.cause

    assert note("migrating", "what follows is over") == ("migrating", None)
    # Nobody knows what it has come to: the next run finds out, and why is what this one has seen.
    assert update(cause="kvm1 can't be \0reached") == ("migrating", "kvm1 can't be reached")
    assert update(status="error") == ("error", "kvm1 can't be reached")
    assert update(status="failed", cause=None) == ("failed", "kvm1 can't be reached")
    assert update(status="failed", cause="no room") == ("failed", "no room")
    assert note("error", "worse") == ("error", "worse")
    assert note("error") == ("error", "worse")
    assert note("reverting") == ("reverting", None)
    assert note("cancelled", "a person did it") == ("cancelled", "a person did it")
    assert update(status="confirmed") == ("confirmed", None)


def test_one_that_is_noted_when_it_has_failed_has_its_cause(ledger: Ledger, run_id: str) -> None:
    ledger.note_migration(run_id, "m", "resize", "id-1", source="kvm1", status="error", cause="no room")
    (row,) = ledger.migrations()
    assert (row.status, row.destination, row.cause) == ("error", "kvm1", "no room")


def test_a_migration_that_a_lost_ledger_knew_is_noted_anew(ledger: Ledger, run_id: str) -> None:
    for status in ("migrating", "finished"):
        ledger.note_migration(run_id, "m", "resize", "id-1", source="kvm1", status=status, new_flavor="large")
        (row,) = ledger.migrations("id-1")
        assert (row.id, row.kind, row.source, row.destination) == ("m", "resize", "kvm1", "kvm1")
        assert (row.status, row.data) == (status, {"new_flavor": "large"})
