# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers with cores, cells, pages and devices of their own, through a plan: placed, claimed, recorded, resized."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_hardware import SURVEY
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    claimed,
    entries,
    hosts,
    kinds,
    reconcile,
    rows,
    survey,
)

DEDICATED = {"hw:cpu_policy": "dedicated"}
FLAVORS = {
    "plain": {"vcpus": 1, "ram": 256, "disk": 1},
    "bigger": {"vcpus": 2, "ram": 512, "disk": 1},
    "pinned": {"vcpus": 1, "ram": 256, "disk": 1, "extra_specs": DEDICATED},
    "pinned2": {"vcpus": 2, "ram": 256, "disk": 1, "extra_specs": DEDICATED},
    "two-cells": {"vcpus": 2, "ram": 512, "disk": 1, "extra_specs": {**DEDICATED, "hw:numa_nodes": "2"}},
    "three-cells": {"vcpus": 3, "ram": 768, "disk": 1, "extra_specs": {"hw:numa_nodes": "3"}},
    "huge": {"vcpus": 1, "ram": 256, "disk": 1, "extra_specs": {"hw:mem_page_size": "2048"}},
    "nic": {"vcpus": 1, "ram": 256, "disk": 1, "extra_specs": {"pci_passthrough:alias": "nic:1"}},
}
RESTART = Leave(allow=frozenset({"restart"}))


def fleet(servers: dict[str, str], *, names: t.Sequence[str] = ("kvm1",), **settings: t.Any) -> Declared:
    """Servers by name with their flavors, on hosts with these settings."""
    its = {**COMPUTE, **{f"compute_{name}": value for name, value in settings.items()}}
    catalogs = {
        **FLEET,
        "fleet_flavors": FLAVORS,
        "fleet_pci_aliases": {"nic": {"vendor_id": "8086", "product_id": "154c", "device_type": "type-VF"}},
    }
    declared = {name: {**WEB, "server_flavor": flavor} for name, flavor in servers.items()}
    return declare(catalogs, dict.fromkeys(names, its), declared, {})


def found(declared: Declared, guests: dict[str, list[Guest]] | None = None) -> t.Any:
    """The hosts, each with two cells of two cores of two threads and a card with two virtual functions."""
    numa = {key: SURVEY[key] for key in ("numa", "pci_devices")}
    surveys = {name: {**survey(name), **numa, "cpu": {"count": 8, "arch": "x86_64"}} for name in declared.computes}
    return hosts(declared, guests, **surveys)


def records(plan: Plan) -> dict[str, Record]:
    """What each server's last step leaves."""
    with_deeds = [(entry.name, [d["record"] for d in entry.deeds if "record" in d]) for entry in plan.servers]
    return {name: Record.from_json(its[-1]) for name, its in with_deeds if its}


def fit_of(record: Record) -> Fit:
    assert record.fit is not None
    return record.fit


def cores(record: Record) -> set[int]:
    return {cpu for cell in fit_of(record).cells for cpu in cell.cores}


def running(plan: Plan) -> dict[str, list[Guest]]:
    """The guests that the plan leaves, as a survey finds them."""
    by_host: dict[str, list[Guest]] = {}
    for name, record in records(plan).items():
        tuning = Tuning.of(record.fit)
        guest = dataclasses.replace(as_defined(record), state="running", tuning=tuning if tuning != Tuning() else None)
        by_host.setdefault(str(entries(plan)[name].host), []).append(guest)
    return by_host


def test_servers_of_one_plan_get_cores_of_their_own_and_a_second_plan_is_empty() -> None:
    declared = fleet({"db1": "pinned", "db2": "pinned2", "db3": "pinned"}, cpu_dedicated_set="1-3,5")
    plan = claimed(reconcile(declared, found(declared)))
    made = records(plan)
    assert sorted(len(cores(record)) for record in made.values()) == [1, 1, 2]
    assert set().union(*(cores(record) for record in made.values())) == {1, 2, 3, 5}
    second = reconcile(declared, found(declared, running(plan))).plan()
    assert [(kinds(entry), entry.differences) for entry in second.servers] == [([], ())] * 3


def test_one_more_than_there_are_cores_is_refused_and_told_why_and_fits_when_one_is_gone() -> None:
    three = {"db1": "pinned", "db2": "pinned", "db3": "pinned"}
    declared = fleet({"db1": "pinned", "db2": "pinned"}, cpu_dedicated_set="0-1")
    guests = running(claimed(reconcile(declared, found(declared))))
    declared = fleet(three, cpu_dedicated_set="0-1")
    entry = entries(reconcile(declared, found(declared, guests)).plan())["db3"]
    assert entry.verdict == "no valid host"
    assert "kvm1: needs 1 dedicated CPU, 0 dedicated CPUs free of 2" in entry.message
    (left,) = (guest for guest in guests["kvm1"] if guest.name == "db1")
    declared = fleet({"db1": "pinned", "db3": "pinned"}, cpu_dedicated_set="0-1")
    plan = claimed(reconcile(declared, found(declared, {"kvm1": [left]})))
    assert cores(records(plan)["db3"]) == {0, 1} - cores(t.cast(Record, left.record))


def test_a_host_without_dedicated_cores_takes_no_pinned_server_and_one_without_shared_ones_no_other() -> None:
    declared = fleet({"db1": "pinned"})
    assert entries(reconcile(declared, found(declared)).plan())["db1"].verdict == "no valid host"
    declared = fleet({"web1": "plain"}, cpu_dedicated_set="0-7")
    assert entries(reconcile(declared, found(declared)).plan())["web1"].verdict == "no valid host"


def test_cells_that_no_host_has_are_told_by_host_and_filter() -> None:
    declared = fleet({"db1": "three-cells"}, names=("kvm1", "kvm2"))
    plan = reconcile(declared, found(declared)).plan()
    assert entries(plan)["db1"].message == (
        "No valid host was found for db1 (768 MiB, 3 vCPUs, 1 GiB disk): kvm1, kvm2: needs 3 NUMA cells, has 2"
    )
    (told,) = plan.explanations
    assert {refusal.filter for refusal in told.refusals.values()} == {"NUMATopologyFilter"}


def test_a_host_that_lacks_a_cpu_of_its_settings_says_so() -> None:
    declared = fleet({"web1": "plain"}, cpu_shared_set="0-8")
    entry = entries(reconcile(declared, found(declared)).plan())["web1"]
    assert "compute_cpu_shared_set names CPU 8, the host has 0-7" in entry.message


def test_a_claim_holds_the_cores_and_counts_them_as_pcpus() -> None:
    declared = fleet({"db1": "pinned2", "web1": "plain"}, cpu_dedicated_set="1-3", cpu_shared_set="0")
    draft = reconcile(declared, found(declared))
    claims = {claim.name: claim for claim in draft.claims()}
    assert (claims["db1"].vcpus, claims["db1"].resources) == (0, {"PCPU": 2})
    assert claims["db1"].fit == fit_of(records(claimed(draft))["db1"])
    assert (claims["web1"].vcpus, claims["web1"].resources, claims["web1"].fit) == (1, {}, Fit(cpus=(0,)))
    assert {claim.expects for claim in claims.values()} == {1}


def claim_rows(draft: Reconcile, run_id: str) -> dict[str, ClaimRow]:
    return {
        f"id-{c.name}": ClaimRow(
            f"id-{c.name}",
            c.name,
            c.host,
            c.vcpus,
            c.ram,
            c.disk_gb,
            c.pool,
            run_id,
            False,
            0.0,
            c.resources,
            fit=c.fit and c.fit.to_json(),
        )
        for c in draft.claims()
    }


def test_who_was_too_late_folds_again_past_the_cores_that_another_has_claimed() -> None:
    mine, theirs = (fleet({name: "pinned"}, cpu_dedicated_set="0-1") for name in ("db1", "db2"))
    first, second = reconcile(mine, found(mine)), reconcile(theirs, found(theirs))
    assert first.claims()[0].fit == second.claims()[0].fit  # both have seen the same free core
    generation = {"kvm1": HostRow("kvm1", "id-kvm1", 2, "enabled", None, 1.0, {})}
    late = second.renewed(rows(claims=claim_rows(first, "other"), hosts=generation))
    late.schedule()
    (again,) = late.claims()
    assert again.expects == 2
    assert again.fit is not None
    assert not again.fit.cells[0].cores & t.cast(Fit, first.claims()[0].fit).cells[0].cores
    declared = fleet({"db3": "pinned"}, cpu_dedicated_set="0-1")
    full = reconcile(declared, found(declared), rows(claims={**claim_rows(first, "a"), **claim_rows(late, "b")}))
    assert entries(full.plan())["db3"].verdict == "no valid host"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("pinned", "pinned2", True),
        ("pinned2", "pinned", True),
        ("plain", "pinned", True),
        ("pinned", "plain", True),
        ("pinned2", "two-cells", True),
        ("plain", "bigger", False),
    ],
)
def test_a_resize_computes_a_new_fit_and_no_fit_lets_go_of_the_old_one(before: str, after: str, changes: bool) -> None:
    settings: dict[str, t.Any] = {"cpu_dedicated_set": "1-3,5"}
    if "plain" in (before, after):
        settings["cpu_shared_set"] = "0,4"
    declared = fleet({"db1": before}, **settings)
    guests = running(claimed(reconcile(declared, found(declared))))
    (guest,) = guests["kvm1"]
    resized = fleet({"db1": after}, **settings)
    held = reconcile(resized, found(resized, guests))
    assert entries(held.plan())["db1"].held
    draft = reconcile(resized, found(resized, guests), leave=RESTART)
    plan = claimed(draft)
    assert kinds(entries(plan)["db1"]) == ["stop", "reconfigure", "start"]
    record = records(plan)["db1"]
    assert (record.fit != t.cast(Record, guest.record).fit) is changes
    assert draft.claims()[0].fit == record.fit
    wanted = {"pinned": 1, "pinned2": 2, "two-cells": 2, "plain": 0, "bigger": 0}[after]
    assert len(cores(record)) == wanted
    assert entries(reconcile(resized, found(resized, running(plan))).plan())["db1"].differences == ()


def test_a_server_that_is_resized_may_have_its_own_cores_again_and_not_those_of_others() -> None:
    declared = fleet({"db1": "pinned", "db2": "pinned"}, cpu_dedicated_set="0-2")
    guests = running(claimed(reconcile(declared, found(declared))))
    other = next(cores(t.cast(Record, guest.record)) for guest in guests["kvm1"] if guest.name == "db2")
    resized = fleet({"db1": "pinned2", "db2": "pinned"}, cpu_dedicated_set="0-2")
    plan = claimed(reconcile(resized, found(resized, guests), leave=RESTART))
    assert cores(records(plan)["db1"]) == {0, 1, 2} - other
    three = fleet({"db1": "pinned2", "db2": "pinned2"}, cpu_dedicated_set="0-2")
    refused = reconcile(three, found(three, guests), leave=RESTART).plan()
    assert sorted(entry.verdict for entry in refused.servers) == ["change", "no valid host"]


def test_pages_cells_and_devices_go_into_the_record() -> None:
    settings: dict[str, t.Any] = {
        "pci_devices": [{"vendor_id": "8086"}],
        "cpu_dedicated_set": "1-3",
        "cpu_shared_set": "0,4",
    }
    declared = fleet({"big": "huge", "net": "nic", "two": "two-cells", "net2": "nic", "net3": "nic"}, **settings)
    draft = reconcile(declared, found(declared))
    plan = claimed(draft)
    made = records(plan)
    assert [(cell.page_size, cell.host_cell) for cell in fit_of(made["big"]).cells] == [(2048, 0)]
    assert sorted(cell.host_cell for cell in fit_of(made["two"]).cells) == [0, 1]
    given = [fit_of(made[name]) for name in ("net", "net2", "net3") if name in made]
    assert sorted(address for fit in given for address in fit.addresses) == ["0000:3b:02.0", "0000:3b:02.1"]
    assert {fit.cpus for fit in given} == {(0, 4)}
    assert [entry.verdict for entry in plan.servers].count("no valid host") == 1


def test_what_a_fleet_without_any_of_this_records_is_what_it_was() -> None:
    declared = fleet({"web1": "plain", "web2": "bigger"})
    plan = claimed(reconcile(declared, found(declared)))
    for entry in plan.servers:
        assert all("fit" not in deed["record"] for deed in entry.deeds if "record" in deed)
    assert [claim.fit for claim in reconcile(declared, found(declared)).claims()] == [None, None]


def test_a_server_from_before_its_host_had_settings_is_left_as_it_is() -> None:
    before = fleet({"web1": "plain", "old": "plain"})
    guests = running(claimed(reconcile(before, found(before))))
    after = fleet({"web1": "plain", "old": "plain"}, cpu_shared_set="0-3", cpu_dedicated_set="4-7")
    plan = reconcile(after, found(after, guests)).plan()
    assert [(kinds(entry), entry.differences) for entry in plan.servers] == [([], ())] * 2


def test_a_server_of_a_pinned_flavor_from_before_stays_unpinned_until_it_changes() -> None:
    declared = fleet({"db1": "pinned"}, cpu_dedicated_set="0-1")
    (guest,) = running(claimed(reconcile(declared, found(declared))))["kvm1"]
    old = dataclasses.replace(guest, record=dataclasses.replace(t.cast(Record, guest.record), fit=None), tuning=None)
    assert entries(reconcile(declared, found(declared, {"kvm1": [old]})).plan())["db1"].differences == ()


def test_other_steps_keep_the_fit() -> None:
    declared = fleet({"db1": "pinned"}, cpu_dedicated_set="0-1")
    guests = running(claimed(reconcile(declared, found(declared))))
    (guest,) = guests["kvm1"]
    catalogs = {**FLEET, "fleet_flavors": FLAVORS}
    changed = {**WEB, "server_flavor": "pinned", "server_description": "mine", "server_networks": []}
    its = {**COMPUTE, "compute_cpu_dedicated_set": "0-1"}
    wanted = declare(catalogs, {"kvm1": its}, {"db1": changed}, {})
    draft = reconcile(wanted, found(wanted, guests), leave=RESTART)
    plan = claimed(draft)
    assert kinds(entries(plan)["db1"]) == ["update", "stop", "reconfigure", "start"]
    fits = [Record.from_json(deed["record"]).fit for deed in entries(plan)["db1"].deeds if "record" in deed]
    assert fits == [t.cast(Record, guest.record).fit] * 2
    assert draft.claims()[0].fit == fits[0]


def test_a_guest_that_was_pinned_elsewhere_by_hand_is_pinned_back_and_keeps_others_off_both() -> None:
    declared = fleet({"db1": "pinned"}, cpu_dedicated_set="0-2")
    (guest,) = running(claimed(reconcile(declared, found(declared))))["kvm1"]
    (own,) = cores(t.cast(Record, guest.record))
    other = next(cpu for cpu in (0, 1, 2) if cpu != own)
    astray = dataclasses.replace(guest, live=Tuning(pins={0: (other,)}, emulator=(other,)))
    more = fleet({"db1": "pinned", "db2": "pinned"}, cpu_dedicated_set="0-2")
    plan = claimed(reconcile(more, found(more, {"kvm1": [astray]})))
    assert kinds(entries(plan)["db1"]) == ["pin"]
    (deed,) = entries(plan)["db1"].deeds
    assert (deed["kind"], deed["expects"], "record" in deed) == ("pin", t.cast(Record, guest.record).generation, False)
    assert cores(records(plan)["db2"]) == {0, 1, 2} - {own, other}
