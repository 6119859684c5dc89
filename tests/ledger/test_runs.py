# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots, and the catalog and journal of migrations."""

from __future__ import annotations

import multiprocessing
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InProgress, Stale
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller, Ledger, _runs


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
