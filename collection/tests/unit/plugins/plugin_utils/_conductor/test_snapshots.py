# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of runs that were cut off: whole ones become images of the fleet, half-made ones go, doctor names both."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import SHELVED as AS_SHELVED
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.doctor import examine
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Finding, Patient
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import reconcile as run_reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import catalog_entry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.snapshots import half_made, uncatalogued
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow, Ledger, RunRow, ServerRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    rows,
    survey,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_saving import (
    STORED,
    made,
    server,
    with_snapshot,
)

RUN = RunRow("other", "Action", "ctl", "", "", 17, "1", "ops", 1.0, 1.0, None, "running")


def whole(**changes: t.Any) -> Snapshot:
    """A snapshot of web1, as kvm2 has made it."""
    return dataclasses.replace(made(server()), **{"host_id": "id-kvm2", "pool_id": "pool-kvm2", **changes})


def half(**changes: t.Any) -> Snapshot:
    snapshot = whole(complete=False, **changes)
    return dataclasses.replace(snapshot, image=dataclasses.replace(snapshot.image, checksum=""))


def computes(*snapshots: Snapshot, stored: bool = True, **more: t.Any) -> tuple[Compute, ...]:
    """kvm2 has web1 and these snapshots."""
    declared = fleet({"web1": {**WEB, "server_host": "kvm2"}})
    guests = applied(reconcile(declared, hosts(declared)))
    found = hosts(declared, guests, kvm2=survey("kvm2", volumes=STORED if stored else ()))
    return tuple(dataclasses.replace(c, snapshots=snapshots, **more) if c.name == "kvm2" else c for c in found)


def mine() -> Declared:
    return fleet({"web1": {**WEB, "server_host": "kvm2"}})


def named(*found: Compute) -> list[tuple[str, str]]:
    return [(kept.name, kept.compute.name) for kept in uncatalogued(mine(), found, "F")]


def test_a_whole_snapshot_that_no_catalog_names_is_found_once_and_where_it_was_made() -> None:
    (kvm1, kvm2, kvm3) = computes(whole())
    assert named(kvm1, kvm2, kvm3) == [("golden", "kvm2")]
    # In a pool that hosts share all of them show it.
    other = dataclasses.replace(kvm1, survey=survey("kvm1", volumes=STORED), snapshots=(whole(),))
    assert named(other, kvm2) == [("golden", "kvm2")]
    assert named(other, dataclasses.replace(kvm2, survey=None, snapshots=())) == [("golden", "kvm1")]


@pytest.mark.parametrize(
    "snapshots",
    [(half(),), (whole(fleet_id="another"),), (whole(image_type=AS_SHELVED),)],
    ids=["half made", "another fleet's", "a shelved server's"],
)
def test_what_is_no_image_of_the_fleet(snapshots: tuple[Snapshot, ...]) -> None:
    assert named(*computes(*snapshots)) == []


def test_what_a_shelved_server_is_kept_as_and_what_the_catalog_has_are_known() -> None:
    record = dataclasses.replace(server(), marks={SHELVED: {"snapshots": [whole().to_json()]}})
    assert named(*computes(whole(), shelved=(record,))) == []
    assert half_made(computes(half(), shelved=(record,)), "F") == []
    assert uncatalogued(with_snapshot({}), computes(whole()), "F") == []


def test_a_name_that_another_image_has_gets_the_id() -> None:
    first, second = whole(id="11111111-a", created_at="2025"), whole(id="22222222-b", created_at="2026")
    assert named(*computes(second, first)) == [("golden", "kvm2"), ("golden-22222222", "kvm2")]
    found = uncatalogued(with_snapshot({}), computes(second), "F")
    assert [kept.name for kept in found] == ["golden-22222222"]
    tick = dataclasses.replace(first, image=dataclasses.replace(first.image, name="tick"))
    assert named(*computes(tick)) == [("tick-11111111", "kvm2")]


def test_half_made_is_what_the_host_has_begun_itself_and_what_has_no_bytes() -> None:
    def left(*snapshots: Snapshot, **more: t.Any) -> list[str]:
        return [kept.snapshot.id for kept in half_made(computes(*snapshots, **more), "F")]

    assert left(half(id="a"), whole(id="b"), half(id="c", host_id="id-kvm1")) == ["a"]
    assert left(whole(id="b"), stored=False) == ["b"]
    # What was copied for a shelving is worth nothing while the server is there, and all that there is when it isn't.
    shelving = whole(id="d", image_type=AS_SHELVED)
    (here,) = (guest.id for compute in computes() for guest in compute.guests)
    assert left(dataclasses.replace(shelving, server_id=here)) == ["d"]
    assert left(dataclasses.replace(shelving, server_id="x")) == []


def test_half_made_snapshots_are_taken_away_by_a_step_of_their_host() -> None:
    found = computes(half(server_id="gone", server_name="old"))
    entry = entries(claimed(reconcile(mine(), found)))["old (kvm2, snapshot)"]
    assert (kinds(entry), entry.host, entry.copy) == (["tidy"], "kvm2", True)
    assert [(deed["kind"], deed["server_id"]) for deed in entry.deeds] == [("tidy", "gone")]
    at_work = [
        dataclasses.replace(c, survey={**(c.survey or {}), "running_steps": [{"server_id": "gone"}]}) for c in found
    ]
    assert "old (kvm2, snapshot)" not in entries(claimed(reconcile(mine(), tuple(at_work))))


def test_a_declared_server_with_a_copy_beside_it_has_the_step_once() -> None:
    (web1,) = (guest for compute in computes() for guest in compute.guests)
    found = computes(half(server_id=web1.id))
    kvm2 = next(compute for compute in found if compute.name == "kvm2")
    its = survey("kvm2", volumes=[*STORED, f"{web1.id}-snapshot", f"{web1.id}-root", f"{web1.id}-config"])
    found = tuple(dataclasses.replace(c, survey=its) if c is kvm2 else c for c in found)
    planned = entries(claimed(reconcile(mine(), found)))
    assert [name for name, entry in planned.items() if "tidy" in kinds(entry)] == ["web1"]


# -- at the ledger ------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert opened is not None
    opened.establish("office", "F")
    return opened


def run(ledger: Ledger, found: tuple[Compute, ...], *, check: bool = False) -> list[str]:
    """The notes of a run."""
    at = Run(ledger, None if check else ledger.start_run("me"), ledger.now())
    plan, _fleet = run_reconcile(mine(), found, at, now=1.0)
    return [note for note in plan.notes if "snapshots" in note]


def theirs(ledger: Ledger, *snapshots: Snapshot) -> tuple[Compute, ...]:
    """The hosts as this ledger's own."""
    row = ledger.fleet()
    assert row is not None
    return tuple(
        dataclasses.replace(c, survey={**(c.survey or {}), "marker": {**(c.marker or {}), "ledger_id": row.ledger_id}})
        for c in computes(*snapshots)
    )


def test_a_run_enters_it_into_the_catalog(ledger: Ledger) -> None:
    found = theirs(ledger, whole())
    assert run(ledger, found, check=True) == [
        "snapshots that no catalog names, and that a run makes images of the fleet: golden on kvm2"
    ]
    assert ledger.catalog("image") == {}
    assert run(ledger, found) == ["snapshots that no catalog named are images of the fleet now: golden on kvm2"]
    assert ledger.catalog("image") == {"golden": catalog_entry(whole(), "kvm2")}


def test_what_another_run_is_at_is_left_to_it(ledger: Ledger) -> None:
    found = theirs(ledger, whole())
    busy = {"running_steps": [{"server_id": whole().server_id}]}
    found = tuple(dataclasses.replace(c, survey={**(c.survey or {}), **busy}) for c in found)
    assert run(ledger, found) == []
    assert ledger.catalog("image") == {}


def test_an_entry_that_has_come_meanwhile_stays_as_it_is(ledger: Ledger) -> None:
    other = {"checksum": "sha256:" + "c" * 64}
    ledger.put("image", "golden", other)
    run(ledger, theirs(ledger, whole()))
    assert ledger.catalog("image") == {"golden": other}


# -- an action ----------------------------------------------------------------------------------------------------


def test_its_name_is_not_free_for_another() -> None:
    declared = mine()
    world = World(declared, applied(reconcile(declared, hosts(declared))))
    found = computes(whole(server_id=world.record.id))
    with pytest.raises(Conflict, match="the fleet has an image 'golden' already; give the snapshot another name"):
        world.plan("snapshot", computes=found, name="golden")
    assert kinds(world.plan("snapshot", computes=found, name="silver").servers[0]) == ["snapshot"]


# -- doctor -------------------------------------------------------------------------------------------------------


def doctor(found: tuple[Compute, ...], declared: Declared | None = None, **snapshot: t.Any) -> list[Finding]:
    guests = [guest for compute in found for guest in compute.guests]
    servers = {guest.id: _row(guest) for guest in guests}
    known = rows(fleet=FleetRow("L", "F", "office"), servers=servers)
    return examine(Patient(declared or mine(), found, dataclasses.replace(known, **snapshot)))


def _row(guest: Guest) -> ServerRow:
    record = t.cast(Record, guest.record)
    return ServerRow(record.id, record.name, "kvm2", record.dumps(), 1, "active", None, 1, None, None, 0.0, 0.0)


def test_doctor_names_what_enters_and_what_removes_them() -> None:
    assert doctor(computes()) == []
    (entered,) = doctor(computes(whole()))
    assert (entered.kind, entered.what, entered.host) == ("uncatalogued_snapshot", "s", "kvm2")
    assert entered.message == (
        "the snapshot golden of web1, in pool local of kvm2, is in no catalog: the run that made it was cut off, or "
        "the ledger was lost"
    )
    assert entered.command == "ansible-playbook flotilla.compute.reconcile (makes it image golden of the fleet)"
    (removed,) = doctor(computes(half()))
    assert (removed.kind, removed.command) == (
        "half_made_snapshot",
        "ansible-playbook flotilla.compute.reconcile (removes it)",
    )


def test_doctor_leaves_alone_what_somebody_is_at() -> None:
    (web1,) = (guest for compute in computes() for guest in compute.guests)
    rowed = {web1.id: dataclasses.replace(_row(web1), run_id="other")}
    for snapshot in (whole(server_id=web1.id), half(server_id=web1.id)):
        assert doctor(computes(snapshot), servers=rowed, runs={"other": RUN}) == []


def test_doctor_finds_an_image_of_the_catalog_that_is_not_there() -> None:
    declared = with_snapshot({"web1": {**WEB, "server_host": "kvm2"}})
    entry = declared.raw["ledger"]["images"]["golden"]
    entry["snapshot"]["pool_id"] = "pool-kvm2"
    assert doctor(computes(), declared) == []
    (found,) = doctor(computes(stored=False), declared)
    assert (found.kind, found.what) == ("lost_snapshot", "golden")
    assert found.message == "the image golden is a snapshot of web1, and not in pool local of kvm2"
    assert "flotilla.compute.image" in found.command
    assert "state=absent" in found.command
    entry["snapshot"]["pool_id"] = "another pool"  # what was there may be where nobody looks now
    assert doctor(computes(stored=False), declared) == []
