# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers with cores, cells and pages of their own that go to another host as they run: what is claimed there, and what
nobody else is given meanwhile."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_fitted import (
    FLAVORS,
    cores,
    found,
    records,
    running,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    claimed,
    entries,
    kinds,
    reconcile,
)

MOVE = Leave(allow=frozenset({"migrate"}))
SPECS = {"any-pages": {"vcpus": 1, "ram": 256, "disk": 1, "extra_specs": {"hw:mem_page_size": "any"}}}


def fleet(servers: dict[str, tuple[str, str]], **computes: dict[str, t.Any]) -> Declared:
    """Servers by name with flavor and host, on hosts with these settings."""
    settings = {
        name: {**COMPUTE, "compute_migration_uri": f"qemu+tls://{name}/system"}
        | {f"compute_{key}": value for key, value in its.items()}
        for name, its in computes.items()
    }
    catalogs = {
        **FLEET,
        "fleet_flavors": {**FLAVORS, **SPECS},
        "fleet_pci_aliases": {"nic": {"vendor_id": "8086", "product_id": "154c", "device_type": "type-VF"}},
    }
    declared = {name: {**WEB, "server_flavor": flavor, "server_host": host} for name, (flavor, host) in servers.items()}
    return declare(catalogs, settings, declared, {})


def made(declared: Declared) -> dict[str, list[Guest]]:
    return running(claimed(reconcile(declared, found(declared))))


def record_of(guests: dict[str, list[Guest]], name: str) -> Record:
    (record,) = (guest.record for its in guests.values() for guest in its if guest.name == name)
    return t.cast(Record, record)


TWO: dict[str, dict[str, t.Any]] = {"kvm1": {"cpu_dedicated_set": "0-1"}, "kvm2": {"cpu_dedicated_set": "1-3,5"}}


def test_it_is_given_free_cores_of_the_host_that_it_goes_to_and_they_are_claimed() -> None:
    guests = made(fleet({"db1": ("pinned", "kvm1"), "db2": ("pinned", "kvm2")}, **TWO))
    (theirs,) = cores(record_of(guests, "db2"))
    draft = reconcile(
        moved := fleet({"db1": ("pinned", "kvm2"), "db2": ("pinned", "kvm2")}, **TWO), found(moved, guests), leave=MOVE
    )
    plan = claimed(draft)
    entry = entries(plan)["db1"]
    assert (entry.host, entry.destination, kinds(entry)) == ("kvm1", "kvm2", ["live_migrate"])
    after = records(plan)["db1"]
    (core,) = cores(after)
    assert core in {1, 2, 3, 5} - {theirs}
    (claim,) = draft.claims()
    assert (claim.host, claim.fit) == ("kvm2", after.fit)


@pytest.mark.parametrize(
    ("server", "leave", "steps"),
    [
        ("plain", (), ["live_migrate"]),
        ("pinned", (), ["live_migrate"]),
        ("nic", ("restart",), ["stop", "migrate", "start", "confirm_resize"]),
    ],
)
def test_only_devices_keep_it_from_going_as_it_runs(server: str, leave: tuple[str, ...], steps: list[str]) -> None:
    hosts: dict[str, dict[str, t.Any]] = {
        name: {"cpu_shared_set": shared, "cpu_dedicated_set": "4-7", "pci_devices": [{"vendor_id": "8086"}]}
        for name, shared in (("kvm1", "0-1"), ("kvm2", "2-3"))
    }
    guests = made(fleet({"web1": (server, "kvm1")}, **hosts))
    declared = fleet({"web1": (server, "kvm2")}, **hosts)
    plan = reconcile(declared, found(declared, guests), leave=MOVE).plan()
    allowed = Leave(allow=MOVE.allow.union(leave))
    assert ("live_migrate" in kinds(entries(plan)["web1"])) != bool(leave)
    plan = claimed(reconcile(declared, found(declared, guests), leave=allowed))
    assert kinds(entries(plan)["web1"])[-len(steps) :] == steps
    after = records(plan)["web1"].fit
    assert after is not None
    if server == "plain":
        assert after == Fit(cpus=(2, 3))  # it floats over what is shared there


def test_its_pages_stay_as_large_as_they_are() -> None:
    """A flavor that leaves the size open is given the largest, by the first host as by the second."""
    hosts: dict[str, dict[str, t.Any]] = {"kvm1": {}, "kvm2": {}}
    guests = made(fleet({"db1": ("any-pages", "kvm1")}, **hosts))
    record = record_of(guests, "db1")
    assert [cell.page_size for cell in t.cast(Fit, record.fit).cells] == [2048]
    (cell,) = t.cast(Fit, record.fit).cells
    small = dataclasses.replace(record, fit=Fit((dataclasses.replace(cell, page_size=4),)))
    (guest,) = guests["kvm1"]
    guests = {"kvm1": [dataclasses.replace(guest, record=small, tuning=Tuning.of(small.fit))]}
    declared = fleet({"db1": ("any-pages", "kvm2")}, **hosts)
    plan = claimed(reconcile(declared, found(declared, guests), leave=MOVE))
    assert [cell.page_size for cell in t.cast(Fit, records(plan)["db1"].fit).cells] == [4]


def test_a_guest_that_was_made_without_a_topology_goes_without_one() -> None:
    guests = made(fleet({"db1": ("pinned", "kvm1")}, **TWO))
    (guest,) = guests["kvm1"]
    bare = dataclasses.replace(guest, record=dataclasses.replace(t.cast(Record, guest.record), fit=None), tuning=None)
    hosts = {"kvm1": {}, "kvm2": {"cpu_shared_set": "0-3"}}
    declared = fleet({"db1": ("pinned", "kvm2")}, **hosts)
    plan = claimed(reconcile(declared, found(declared, {"kvm1": [bare]}), leave=MOVE))
    assert kinds(entries(plan)["db1"]) == ["live_migrate"]
    assert records(plan)["db1"].fit == Fit(cpus=(0, 1, 2, 3))


def test_nobody_is_given_the_cores_that_it_is_about_to_leave() -> None:
    """They are its own until it is gone; and it may come back, if its move fails."""
    one: dict[str, dict[str, t.Any]] = {"kvm1": {"cpu_dedicated_set": "0"}, "kvm2": {"cpu_dedicated_set": "1"}}
    guests = made(fleet({"db1": ("pinned", "kvm1")}, **one))
    declared = fleet({"db1": ("pinned", "kvm2"), "db2": ("pinned", "kvm1")}, **one)
    plan = claimed(reconcile(declared, found(declared, guests), leave=MOVE))
    assert (kinds(entries(plan)["db1"]), entries(plan)["db2"].verdict) == (["live_migrate"], "no valid host")
    # Nor where it finds no place itself.
    guests = made(fleet({"db1": ("pinned", "kvm1"), "db3": ("pinned", "kvm2")}, **one))
    declared = fleet({"db1": ("pinned", "kvm2"), "db2": ("pinned", "kvm1"), "db3": ("pinned", "kvm2")}, **one)
    plan = claimed(reconcile(declared, found(declared, guests), leave=MOVE))
    assert [entries(plan)[name].verdict for name in ("db1", "db2", "db3")] == ["no valid host", "no valid host", "ok"]


def test_what_a_move_that_goes_on_by_itself_was_given_is_nobody_else_s() -> None:
    """Its run was killed before anything of the guest was at the destination; what the ledger had claimed for it there
    the next run claims anew for its end, which begins at the source."""
    one: dict[str, dict[str, t.Any]] = {"kvm1": {"cpu_dedicated_set": "0"}, "kvm2": {"cpu_dedicated_set": "1-2"}}
    guests = made(fleet({"db1": ("pinned", "kvm1")}, **one))
    gives = made(fleet({"db1": ("pinned", "kvm2")}, **one))
    there = record_of(gives, "db1").fit
    (guest,) = guests["kvm1"]
    move = Move("m1", SOURCE, End("kvm2", "qemu+tls://kvm2/system", "id-kvm2"), fit=there)
    on_the_way = dataclasses.replace(guest, record=marked(t.cast(Record, guest.record), move))
    declared = fleet({"db1": ("pinned", "kvm2"), "db2": ("pinned", "kvm2")}, **one)
    draft = reconcile(declared, found(declared, {"kvm1": [on_the_way]}), leave=MOVE)
    plan = claimed(draft)
    assert kinds(entries(plan)["db1"]) == ["end_move"]
    assert cores(records(plan)["db2"]) == {1, 2} - {core for cell in t.cast(Fit, there).cells for core in cell.cores}
