# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger is lost and a host is dead: what records beside disks bring back, and what becomes of all others."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import (
    evacuation_rows,
    evacuation_text,
    to_be_proven,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.orphans import orphans, unplaced
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_evacuate import (
    Dead,
    dead,
    showing,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    fleet,
    hosts,
)

LOST = Leave(frozenset({"data_loss"}))


def beside(lost: Dead, *down: str, records: t.Sequence[Record] | None = None) -> list[Compute]:
    """All hosts as a run sees them that takes the fleet over; each that is up shows the records of the shared pool."""
    surveys: dict[str, t.Any] = {**showing(lost, "kvm1", "kvm2", "kvm3"), **dict.fromkeys(down)}
    found = tuple(lost.records.values()) if records is None else tuple(records)
    return [
        dataclasses.replace(compute, beside=found) if compute.up else compute
        for compute in hosts(lost.declared, lost.guests, **surveys)
    ]


def names(lost: Dead, *down: str, records: t.Sequence[Record] | None = None, **more: t.Any) -> list[tuple[str, str]]:
    return [(seen.name, seen.host) for seen in orphans(beside(lost, *down, records=records), "F", **more)]


def test_a_server_of_the_dead_host_is_known_again_by_its_record() -> None:
    lost = dead()
    (seen,) = orphans(beside(lost, "kvm1"), "F")
    record = lost.records["web1"]
    assert (seen.id, seen.host, seen.generation, seen.vm_state) == (record.id, "kvm1", record.generation, "active")
    assert seen.record == record.dumps()
    assert unplaced(beside(lost, "kvm1"), "F") == []


def test_what_is_no_server_of_a_dead_host_is_left_alone() -> None:
    lost = dead()
    record = lost.records["web1"]
    other: list[dict[str, t.Any]] = [
        {"fleet_id": "another"},
        {"host_id": "id-kvm2"},  # that host is up, and has it no more
        {"host_id": None},
        {"marks": {"shelved_offloaded": {}}},
        {
            "marks": {
                "evacuating": {
                    "migration": "m",
                    "at": 1.0,
                    "generation": 5,
                    "from": {"host": "k", "host_id": "i"},
                    "made": [],
                }
            }
        },
        {"disks": tuple(dataclasses.replace(disk, pool_id="pool-other") for disk in record.disks)},
        {"disks": tuple(dataclasses.replace(disk, volume="gone") for disk in record.disks)},
    ]
    for changes in other:
        assert names(lost, "kvm1", records=[dataclasses.replace(record, **changes)]) == [], changes
    lost.guests["kvm2"] = [as_defined(dataclasses.replace(record, host_id="id-kvm2"))]
    assert names(lost, "kvm1") == [], "it is on kvm2"
    lost.guests["kvm2"] = [as_defined(dataclasses.replace(record, id="11111111-1111-4111-8111-111111111111"))]
    assert names(lost, "kvm1") == [], "another has its name"
    del lost.guests["kvm2"]
    twin = dataclasses.replace(record, id="11111111-1111-4111-8111-111111111111", disks=record.disks)
    assert names(lost, "kvm1", records=[record, twin]) == [], "of two of a name neither is the right one"
    assert names(lost, "kvm1", records=[dataclasses.replace(record, generation=4), record]) == [("web1", "kvm1")]


def test_a_record_of_which_no_host_is_down_is_told() -> None:
    lost = dead()
    computes = beside(lost, records=[dataclasses.replace(lost.records["web1"], host_id="id-of-old")])
    assert orphans(computes, "F") == []
    assert unplaced(computes, "F") == ["web1"]
    assert names(lost, "kvm1", absent=["kvm1"]) == []


def test_states_are_as_last_declared() -> None:
    lost = dead().with_record(declared="stopped")
    assert orphans(beside(lost, "kvm1"), "F")[0].vm_state == "stopped"
    lost = dead().with_record(marks={"soft_delete": {"at": 1.0}})
    assert orphans(beside(lost, "kvm1"), "F")[0].vm_state == "soft-delete"


NEVER = {"kvm1": HostRow("kvm1", None, 1, "enabled", None, None, {})}


def planned(lost: Dead, **asked: t.Any) -> dict[str, ServerEntry]:
    return {entry.name: entry for entry in plan(lost, **asked).servers}


def plan(lost: Dead, **asked: t.Any) -> Plan:
    known = asked.pop("known", NEVER)
    return lost.plan(known=known, **{"surveys": showing(lost, "kvm2", "kvm3"), **asked})


def with_another(lost: Dead) -> Dead:
    """Inventory declares web7, too, which nobody has seen."""
    return dataclasses.replace(lost, declared=fleet({"web1": WEB, "web7": WEB}))


def test_a_server_whose_record_is_there_keeps_its_id_and_another_is_held() -> None:
    its = plan(with_another(dead()))
    entries = {entry.name: entry for entry in its.servers}
    told = evacuation_text(its, ["kvm1"], [])
    assert "web7  ! held: create (if it was ever built, its id and disks are on kvm1 alone: it is built anew" in told
    assert [step.why for step in entries["web1"].steps] == ["from kvm1: disk kept; started"]
    held = entries["web7"]
    assert (held.verdict, held.steps, [step.hold for step in held.held]) == ("held", (), ["data_loss"])
    assert held.unseen == (), "the way out is data_loss, not fleet_assume_absent"
    assert (
        held.held[0].why == "if it was ever built, its id and disks are on kvm1 alone: it is built anew, under a new id"
    )


def test_with_leave_for_data_loss_it_is_built_anew_where_hosts_live() -> None:
    lost = with_another(dead())
    its = plan(lost, leave=LOST)
    new = next(entry for entry in its.servers if entry.name == "web7")
    assert [step.kind for step in new.steps] == ["create", "start"]
    assert new.host in ("kvm2", "kvm3")
    assert "web7 is built anew, under a new id" in " ".join(its.notes)
    assert to_be_proven(its, ["kvm1"]) == ["kvm1"]
    rows = {row["name"]: row for row in evacuation_rows(its)}
    assert (rows["web7"]["disk"], rows["web7"]["migration"], rows["web7"]["to"]) == ("new", None, new.host)
    assert rows["web1"]["migration"]
    bound = planned(lost, leave=LOST, to="kvm3", surveys=showing(lost, "kvm3"))
    assert {entry.host for entry in bound.values()} == {"kvm3"}
    assert [entry.name for entry in plan(lost, server="web7").servers] == ["web7"]


def test_a_server_that_another_run_builds_or_another_host_may_have_is_not_built_twice() -> None:
    lost = with_another(dead())
    four = dict.fromkeys(("kvm1", "kvm2", "kvm3", "kvm4"), COMPUTE)
    declared = declare(FLEET, four, {"web1": WEB, "web7": WEB}, {})
    both = dataclasses.replace(lost, declared=declared)
    entries = planned(both, surveys={**showing(lost, "kvm2", "kvm3"), "kvm4": None}, leave=LOST)
    assert "web7" not in entries, "it may be on kvm4"
    assert entries["web1"].verdict == "held"
    assert "-e fleet_host=kvm1,kvm4" in entries["web1"].message
    together = plan(both, hosts=("kvm1", "kvm4"), surveys={**showing(lost, "kvm2", "kvm3"), "kvm4": None}, leave=LOST)
    assert {entry.verdict for entry in together.servers} == {"change"}
    assert to_be_proven(together, ["kvm1", "kvm4"]) == ["kvm1", "kvm4"], "it may have been on either"


def test_a_server_of_which_anything_is_known_is_not_taken_for_one_of_which_nothing_is() -> None:
    """A copy that was found where it shouldn't be, off: it may run on the dead host, so no other takes its place."""
    lost = dead()
    stranger = as_defined(dataclasses.replace(lost.records["web1"], host_id="id-kvm2"))
    found = dataclasses.replace(lost, guests={"kvm2": [stranger]}, rows={})
    with pytest.raises(InvalidInput, match="kvm1 was never seen by this ledger"):
        plan(found, leave=LOST)
    assert [step.kind for step in planned(dataclasses.replace(lost, guests={"kvm2": [stranger]}))["web1"].steps] == []


def test_a_host_of_which_nobody_knows_anything_is_not_evacuated() -> None:
    lost = dataclasses.replace(dead(), rows={}, declared=fleet({}))
    with pytest.raises(InvalidInput, match="kvm1 was never seen by this ledger"):
        plan(lost)
