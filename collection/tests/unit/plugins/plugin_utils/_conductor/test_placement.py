# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resource classes and traits from inventory and survey to the choice of a host, and what is counted of them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.host_table import host_json, hosts_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    entries,
    hosts,
    reconcile,
    rows,
    survey,
)


def gpu_fleet(servers: t.Iterable[str], computes: dict[str, dict[str, t.Any]], **specs: t.Any) -> Declared:
    """Servers that each ask for what the extra specs of flavor gpu say."""
    flavor = {
        "vcpus": 1,
        "ram": 1024,
        "disk": 1,
        "extra_specs": {key.replace("__", ":"): v for key, v in specs.items()},
    }
    flavors = {**FLEET["fleet_flavors"], "gpu": flavor}
    wanted = {name: {**WEB, "server_flavor": "gpu"} for name in servers}
    given = {name: {**COMPUTE, **variables} for name, variables in computes.items()}
    return declare({**FLEET, "fleet_flavors": flavors}, given, wanted, {})


GPUS = {"kvm1": {}, "kvm2": {"compute_resources": {"CUSTOM_GPU": 2}}, "kvm3": {}}


def test_servers_go_where_their_resource_class_is_and_as_many_as_there_are() -> None:
    declared = gpu_fleet(("a", "b", "c"), GPUS, resources__CUSTOM_GPU="1")
    draft = reconcile(declared, hosts(declared))
    plan = entries(draft.plan())
    assert sorted(entry.verdict for entry in plan.values()) == ["change", "change", "no valid host"]
    assert {entry.host for entry in plan.values() if entry.steps} == {"kvm2"}
    refused = next(entry.message for entry in plan.values() if not entry.steps)
    assert "kvm2: needs 1 CUSTOM_GPU, 0 CUSTOM_GPU free of 2 CUSTOM_GPU x 1.0" in refused
    assert "kvm1, kvm3: needs 1 CUSTOM_GPU, one server can have at most 0 CUSTOM_GPU" in refused
    assert [claim.resources for claim in draft.claims()] == [{"CUSTOM_GPU": 1}] * 2


def test_servers_that_are_there_and_claims_of_others_are_counted() -> None:
    declared = gpu_fleet(("a",), GPUS, resources__CUSTOM_GPU="1")
    guests = applied(reconcile(declared, hosts(declared)))
    more = gpu_fleet(("a", "b"), GPUS, resources__CUSTOM_GPU="1")
    assert entries(reconcile(more, hosts(more, guests)).plan())["b"].host == "kvm2"
    other = ClaimRow("y", "y", "kvm2", 1, 512, 1, "local", "other", True, 0.0, {"CUSTOM_GPU": 1})
    entry = entries(reconcile(more, hosts(more, guests), rows(claims={"y": other})).plan())["b"]
    assert entry.verdict == "no valid host"


@pytest.mark.parametrize(
    ("given", "spec", "reason"),
    [
        (
            {"CUSTOM_GPU": {"total": 4, "reserved": 2}},
            {"resources__CUSTOM_GPU": "3"},
            "needs 3 CUSTOM_GPU, 2 CUSTOM_GPU free of 4 CUSTOM_GPU x 1.0, 2 CUSTOM_GPU reserved",
        ),
        (
            {"CUSTOM_GPU": {"total": 4, "step_size": 2}},
            {"resources__CUSTOM_GPU": "3"},
            "needs 3 CUSTOM_GPU, only multiples of 2 CUSTOM_GPU are given",
        ),
        (
            {"CUSTOM_GPU": {"total": 4, "min_unit": 2}},
            {"resources__CUSTOM_GPU": "1"},
            "needs 1 CUSTOM_GPU, at least 2 CUSTOM_GPU must be asked for",
        ),
        (
            {"CUSTOM_GPU": {"total": 4, "max_unit": 2}},
            {"resources__CUSTOM_GPU": "3"},
            "needs 3 CUSTOM_GPU, one server can have at most 2 CUSTOM_GPU",
        ),
        ({"MEMORY_MB": {"step_size": 1000}}, {}, "needs 1 GiB, only multiples of 1000 MiB are given"),
        ({"VCPU": {"min_unit": 2}}, {}, "needs 1 vCPU, at least 2 vCPUs must be asked for"),
        ({"DISK_GB": {"min_unit": 5}}, {}, "needs 1 GiB, at least 5 GiB must be asked for in pool 'local'"),
    ],
)
def test_the_units_of_an_inventory_hold(given: dict[str, t.Any], spec: dict[str, str], reason: str) -> None:
    declared = gpu_fleet(("a",), {"kvm1": {"compute_resources": given}}, **spec)
    entry = entries(reconcile(declared, hosts(declared)).plan())["a"]
    assert entry.message.endswith(f"kvm1: {reason}")


def test_an_allocation_ratio_promises_more_than_there_is() -> None:
    given = {"kvm1": {"compute_resources": {"CUSTOM_X": {"total": 1, "allocation_ratio": 2.0}}}}
    declared = gpu_fleet(("a", "b", "c"), given, resources__CUSTOM_X="1")
    verdicts = [entry.verdict for entry in entries(reconcile(declared, hosts(declared)).plan()).values()]
    assert sorted(verdicts) == ["change", "change", "no valid host"]


def test_traits_come_from_the_cpu_and_from_inventory() -> None:
    new = survey("kvm3")
    new["cpu"] = {**new["cpu"], "features": ["avx2"], "topology": {"threads": 1}}
    computes: dict[str, dict[str, t.Any]] = {"kvm1": {"compute_traits": ["CUSTOM_SSD"]}, "kvm2": {}, "kvm3": {}}
    for wish, host in (("HW_CPU_X86_AVX2", "kvm3"), ("CUSTOM_SSD", "kvm1")):
        declared = gpu_fleet(("a",), computes, **{f"trait__{wish}": "required"})
        assert entries(reconcile(declared, hosts(declared, kvm3=new)).plan())["a"].host == host
    declared = gpu_fleet(("a",), computes, trait__HW_CPU_X86_AVX2="forbidden", trait__CUSTOM_SSD="forbidden")
    assert entries(reconcile(declared, hosts(declared, kvm3=new)).plan())["a"].host == "kvm2"
    declared = gpu_fleet(("a",), computes, trait__HW_CPU_X86_AVX512F="required")
    entry = entries(reconcile(declared, hosts(declared, kvm3=new)).plan())["a"]
    assert entry.message.endswith("kvm1, kvm2, kvm3: lacks trait 'HW_CPU_X86_AVX512F'")


def test_builds_that_failed_on_a_host_send_the_next_elsewhere() -> None:
    declared = gpu_fleet(("a",), {"kvm1": {}, "kvm2": {}})
    assert entries(reconcile(declared, hosts(declared)).plan())["a"].host == "kvm1"
    known = {
        name: HostRow(name, f"id-{name}", 1, "enabled", None, 1.0, {}, failed_builds=failed)
        for name, failed in (("kvm1", 1), ("kvm2", 0))
    }
    assert entries(reconcile(declared, hosts(declared), rows(hosts=known)).plan())["a"].host == "kvm2"


def test_people_see_what_hosts_have_and_what_is_used_of_it() -> None:
    declared = gpu_fleet(("a",), GPUS, resources__CUSTOM_GPU="1")
    guests = applied(reconcile(declared, hosts(declared)))
    computes = hosts(declared, guests, kvm3=None)
    states = host_states(computes, rows(), fleet_id="F", catalogs=declared.catalogs, groups={})
    assert [line.split() for line in hosts_text(states).splitlines()] == [
        ["HOST", "STATE", "ZONE", "VCPU", "MEMORY_MB", "DISK_GB", "OTHERS"],
        ["kvm1", "enabled", "nova", "0/16", "0/8192", "0/100", "-"],
        ["kvm2", "enabled", "nova", "1/16", "1024/8192", "1/100", "CUSTOM_GPU", "1/2"],
        ["kvm3", "down", "nova", "-", "-", "-", "-"],
    ]
    told = host_json(states[1])
    assert told["traits"] == ["COMPUTE_ARCH_X86_64", "COMPUTE_NODE", "HW_ARCH_X86_64"]
    assert told["resources"]["CUSTOM_GPU"] == {
        "total": 2,
        "reserved": 0,
        "allocation_ratio": 1.0,
        "min_unit": 1,
        "max_unit": 2,
        "step_size": 1,
        "capacity": 2,
        "used": 1,
    }
