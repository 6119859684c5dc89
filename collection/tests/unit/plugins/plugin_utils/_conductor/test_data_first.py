# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must not happen to data: no plan starts a second copy, or deletes what somebody may still have."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import whose
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import reconcile as run_reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    ClaimRow,
    HostRow,
    Ledger,
    ServerRow,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    FLEET,
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    rows,
    server_row,
    survey,
)


def one_guest(**spec: t.Any) -> tuple[Declared, Guest]:
    """A fleet of web1 alone, applied on kvm1."""
    declared = fleet({"web1": {**WEB, "server_host": "kvm1", **spec}})
    (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).values()))
    return declared, guest


def off(guest: Guest, **marks: t.Any) -> Guest:
    record = dataclasses.replace(t.cast(Record, guest.record), marks=marks)
    return dataclasses.replace(guest, state="shutoff", record=record)


def test_an_off_copy_is_not_started_while_a_host_was_never_seen() -> None:
    declared, guest = one_guest()
    computes = hosts(declared, {"kvm1": [off(guest)]}, kvm3=None)
    (entry,) = reconcile(declared, computes, rows(hosts={})).plan().servers
    assert (entry.verdict, entry.steps, entry.unseen) == ("held", (), ("kvm3",))


def test_a_copy_that_was_migrated_away_is_not_started() -> None:
    declared, guest = one_guest()
    gone = dataclasses.replace(off(guest), migrated=True)
    (entry,) = reconcile(declared, hosts(declared, {"kvm1": [gone]})).plan().servers
    assert (entry.verdict, entry.steps) == ("held", ())
    assert "it was migrated away, and no host that answers has it" in entry.message


def test_a_server_may_be_on_a_host_that_only_the_ledger_knows() -> None:
    declared, guest = one_guest()
    row = server_row(guest, "kvm1")
    retired = HostRow("kvm9", "id-kvm9", 1, "enabled", None, 1.0, {})
    snapshot = rows(servers={row.id: row})
    snapshot = dataclasses.replace(snapshot, hosts={**snapshot.hosts, "kvm9": retired})
    (entry,) = reconcile(declared, hosts(declared), snapshot).plan().servers
    assert (entry.verdict, entry.unseen) == ("held", ("kvm9",))


def test_a_deleted_copy_is_not_reclaimed_while_another_host_has_the_server() -> None:
    declared, guest = one_guest()
    copies = {"kvm1": [off(guest, soft_delete={"at": -1e9})], "kvm2": [guest]}
    plan = claimed(reconcile(declared, hosts(declared, copies)))
    assert [step.kind for entry in plan.servers for step in entry.steps] == ["adopt"]
    assert any(entry.verdict == "conflict" and "kvm2 has a copy of it" in entry.message for entry in plan.servers)


def test_nothing_is_reclaimed_from_a_pool_that_a_dead_host_may_share() -> None:
    _declared, guest = one_guest()
    declared = fleet({"web1": {**WEB, "server_state": "absent"}})
    deleted = off(guest, soft_delete={"at": -1e9})
    (entry,) = reconcile(declared, hosts(declared, {"kvm1": [deleted]}, kvm3=None)).plan().servers
    assert (entry.verdict, entry.steps) == ("held", ())
    (entry,) = reconcile(declared, hosts(declared, {"kvm1": [deleted]})).plan().servers
    assert kinds(entry) == ["delete"]


def test_pruning_takes_the_server_that_runs_and_not_its_leftover() -> None:
    declared, guest = one_guest()
    pruning = fleet({"other": {**WEB, "server_state": "absent"}}, fleet_prune=True)
    copies = {"kvm1": [off(guest)], "kvm2": [guest]}
    plan = reconcile(pruning, hosts(declared, copies), leave=Leave(frozenset({"delete"}))).plan()
    assert sorted((entry.host, *kinds(entry)) for entry in plan.servers if entry.steps) == [
        ("kvm1", "undefine"),
        ("kvm2", "soft_delete"),
    ]


def test_an_id_is_not_declared_under_another_name() -> None:
    _declared, guest = one_guest()
    both = fleet({"web1": WEB, "old": {**WEB, "server_id": guest.id, "server_state": "absent"}})
    plan = entries(reconcile(both, hosts(both, {"kvm1": [guest]})).plan())
    assert (plan["old"].verdict, plan["old"].steps) == ("conflict", ())


def test_more_memory_with_fewer_cpus_must_fit_too() -> None:
    _declared, guest = one_guest(server_flavor="big")
    wide = {"vcpus": 1, "ram": 999999, "disk": 2}
    grown = fleet({"web1": {**WEB, "server_flavor": "wide"}}, fleet_flavors={**FLEET["fleet_flavors"], "wide": wide})
    (entry,) = reconcile(grown, hosts(grown, {"kvm1": [off(guest)]})).plan().servers
    assert entry.verdict == "no valid host"


def test_two_names_for_one_machine_are_refused() -> None:
    computes = hosts(fleet({}), kvm2={**survey("kvm2"), "host_id": "id-kvm1"})
    with pytest.raises(Conflict, match="kvm1 and kvm2 are one machine"):
        whose(computes, fleet_id="F", ledger_id="L", take_over=False)


def test_a_deletion_that_died_half_way_is_finished() -> None:
    _declared, guest = one_guest()
    row = server_row(off(guest, soft_delete={"at": -1e9}), "kvm1", vm_state="soft-delete")
    left = survey("kvm1", volumes=[f"{row.id}-root"])
    empty = fleet({})
    plan = claimed(reconcile(empty, hosts(empty, kvm1=left), rows(servers={row.id: row})))
    assert [(entry.host, kinds(entry)) for entry in plan.servers] == [("kvm1", ["delete"])]


def test_an_address_that_a_server_has_without_the_ledger_s_doing_is_not_given_again() -> None:
    _declared, guest = one_guest()
    declared = fleet({"web1": WEB, "web2": WEB})
    draft = reconcile(declared, hosts(declared, {"kvm1": [guest]}), rows())
    (wish,) = next(claim for claim in draft.claims() if claim.name == "web2").addresses
    assert "192.0.2.10" in wish.reserved


def test_what_is_half_built_and_declared_absent_is_cleaned_up() -> None:
    declared = fleet({"web1": {**WEB, "server_state": "absent"}})
    row = ServerRow("z", "web1", "kvm3", None, 0, "building", None, 0, None, None, 0.0, 0.0)
    claim = ClaimRow("z", "web1", "kvm3", 1, 1024, 1, "local", "dead", True, 0.0)
    plan = claimed(reconcile(declared, hosts(declared), rows(servers={"z": row}, claims={"z": claim})))
    assert [step.kind for entry in plan.servers for step in entry.steps] == ["delete"]


def test_an_off_copy_does_not_take_the_place_of_a_server_on_a_host_that_is_cut_off(tmp_path: Path) -> None:
    """Through a real ledger: the run itself must not overwrite what it goes by."""
    declared, guest = one_guest()
    ledger = t.cast(Ledger, Ledger.open(f"sqlite:///{tmp_path}/l.db", create=True))
    fleet_row = ledger.establish("office", "F")
    ours = {"fleet_id": "F", "ledger_id": fleet_row.ledger_id}
    marked = {
        name: {**survey(name), "running_steps": [], "marker": {**survey(name)["marker"], **ours}}
        for name in ("kvm1", "kvm2", "kvm3")
    }
    run = Run(ledger, ledger.start_run("test"), ledger.now())
    plan, _fleet = run_reconcile(
        declared, hosts(declared, {"kvm1": [off(guest)], "kvm2": [guest]}, **marked), run, now=ledger.now()
    )
    assert [step.kind for entry in plan.servers for step in entry.steps] == ["adopt"]
    ledger.end_run(str(run.id), "done")
    run = Run(ledger, ledger.start_run("test"), ledger.now())
    without = hosts(declared, {"kvm1": [off(guest)]}, **{**marked, "kvm2": None})
    plan, _fleet = run_reconcile(declared, without, run, now=ledger.now())
    assert [(entry.verdict, entry.steps) for entry in plan.servers] == [("held", ())]
