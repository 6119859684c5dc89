# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a server goes where it goes, why it goes nowhere, and what a new image may break: in the plan's text and data."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import plan_text
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    survey,
)

APART = {f"web{n}": {**WEB, "server_group": "apart"} for n in (1, 2, 3, 4)}


def explanations(plan: Plan, declared: Declared) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = plan_result(plan, declared, run_id=None, fleet=None)["explanations"]
    return found


def test_the_fourth_of_three_is_refused_with_a_table() -> None:
    declared = fleet(APART)
    plan = reconcile(declared, hosts(declared)).plan()

    (refused,) = [entry for entry in plan.servers if entry.verdict == "no valid host"]
    (told,) = explanations(plan, declared)
    assert told["servers"] == [refused.name]
    assert (told["hosts"], told["host"], told["problem"]) == (3, None, None)
    left = dict(told["left"])
    assert (left["ComputeFilter"], left["ServerGroupAntiAffinityFilter"]) == (3, 0)
    assert set(told["refusals"]) == {"kvm1", "kvm2", "kvm3"}
    assert told["refusals"]["kvm2"] == {
        "filter": "ServerGroupAntiAffinityFilter",
        "reason": "has 1 of server group 'apart' (anti-affinity, at most 1 per host)",
    }
    lines = plan_text(plan).splitlines()
    begin = lines.index(f"  why there is no host for {refused.name}:")
    assert lines[begin + 1] == "    hosts: 3"
    assert "    after ServerGroupAntiAffinityFilter: 0" in lines[begin:]
    assert lines[-1] == (
        "    kvm1, kvm2, kvm3: has 1 of server group 'apart' (anti-affinity, at most 1 per host) "
        "(ServerGroupAntiAffinityFilter)"
    )


def test_a_refusal_is_told_host_by_host_where_somebody_asks_for_it() -> None:
    declared = fleet(APART, fleet_explain="web4")
    plan = reconcile(declared, hosts(declared)).plan()

    (told,) = explanations(plan, declared)
    searched, note = plan.notes
    assert searched.startswith("no placement of all 4 exists (proved in ")
    assert (told["servers"], told["host"], note) == (["web4"], None, told["text"])
    assert note.splitlines()[0].startswith("No valid host was found for web4 (1 GiB, 1 vCPU, 1 GiB disk): kvm1, kvm2, ")
    assert [line.split(": ")[0].strip() for line in note.splitlines()[-3:]] == ["kvm1", "kvm2", "kvm3"]


def test_servers_that_are_refused_alike_share_one_explanation() -> None:
    big = {f"db{n}": {**WEB, "server_flavor": "big"} for n in range(40)}
    declared = fleet({**big, **APART})
    small = {name: survey(name, memory=2048) for name in ("kvm1", "kvm2", "kvm3")}
    plan = reconcile(declared, hosts(declared, **small)).plan()

    told = {len(one["servers"]): one for one in explanations(plan, declared)}
    assert set(told) == {40, 1}
    assert sorted(told[40]["servers"]) == sorted(big)
    text = plan_text(plan)
    assert text.count("why there is no host for") == 2
    assert "and 33 more:" in text


def test_a_success_is_told_as_the_hosts_were_when_its_turn_came() -> None:
    declared = fleet({name: APART[name] for name in ("web1", "web2", "web3")}, fleet_explain="web3")
    plan = reconcile(declared, hosts(declared)).plan()

    (told,) = explanations(plan, declared)
    home = entries(plan)["web3"].host
    others = {entries(plan)[name].host for name in ("web1", "web2")}
    assert (told["servers"], told["host"]) == (["web3"], home)
    assert {host: refusal["filter"] for host, refusal in told["refusals"].items()} == dict.fromkeys(
        others, "ServerGroupAntiAffinityFilter"
    )
    (note,) = plan.notes
    assert note == told["text"]
    assert note.splitlines()[0] == f"web3 (1 GiB, 1 vCPU, 1 GiB disk) goes to {home}"
    assert "why there is no host" not in plan_text(plan)


def test_the_weights_of_all_hosts_that_passed_are_told_by_weigher() -> None:
    declared = fleet({"web1": WEB}, fleet_explain="web1")
    plan = reconcile(declared, hosts(declared, kvm2=survey("kvm2", memory=16384))).plan()

    (told,) = explanations(plan, declared)
    assert told["host"] == "kvm2"
    assert next(iter(told["weights"])) == "kvm2"
    assert told["weights"]["kvm2"]["RAMWeigher"] == 1.0
    assert 0 < told["weights"]["kvm1"]["RAMWeigher"] < 1.0
    assert "<- chosen" in told["text"]


def test_a_request_that_nothing_can_meet_is_told_without_a_table() -> None:
    flavors = {**FLEET["fleet_flavors"], "odd": {"vcpus": 1, "ram": 64, "disk": 1, "extra_specs": {"rack": "<or>"}}}
    scheduler = {"enabled_filters": ["AggregateInstanceExtraSpecsFilter"]}
    racks = {"r1": {"hosts": ["*"], "metadata": {"rack": "1"}}}
    servers = {"web1": {**WEB, "server_flavor": "odd"}}
    declared = fleet(servers, fleet_flavors=flavors, fleet_scheduler=scheduler, fleet_aggregates=racks)
    plan = reconcile(declared, hosts(declared)).plan()

    (told,) = explanations(plan, declared)
    assert told["problem"]
    assert told["text"] == entries(plan)["web1"].message
    assert "why there is no host" not in plan_text(plan)


def test_a_server_that_is_placed_is_told_where_it_would_go_anew() -> None:
    declared = fleet({"web1": WEB, "web2": {**WEB, "server_host": "kvm1"}}, fleet_explain="web1")
    guests = applied(reconcile(declared, hosts(declared)))
    bigger = {"kvm2": survey("kvm2", memory=65536)}
    plan = reconcile(declared, hosts(declared, guests, **bigger)).plan()

    (told,) = explanations(plan, declared)
    home = next(host for host, found in guests.items() for guest in found if guest.name == "web1")
    assert (plan.changed, told["host"], set(told["weights"])) == (False, "kvm2", {"kvm1", "kvm2", "kvm3"})
    assert plan.notes[0].startswith(f"web1 is on {home}; anew: web1 (1 GiB, 1 vCPU, 1 GiB disk) goes to kvm2\n")


def test_a_placed_server_that_would_have_no_host_anew_is_no_failure() -> None:
    declared = fleet({"web1": WEB}, fleet_explain="web1")
    guests = applied(reconcile(declared, hosts(declared)))
    small = {name: survey(name, memory=512) for name in ("kvm1", "kvm2", "kvm3")}
    plan = reconcile(declared, hosts(declared, guests, **small)).plan()

    assert plan.failures == ()
    assert "No valid host was found for web1" in plan.notes[0]
    assert "why there is no host" not in plan_text(plan)


# -- another image ----------------------------------------------------------------------------------------------

OTHER = {"file": "/other.qcow2", "format": "qcow2", "checksum": "sha256:" + "b" * 64}
ALLOWED = Leave(frozenset({"rebuild"}))


def with_image(properties: t.Mapping[str, str], **changes: t.Any) -> Declared:
    """A server whose declared image has become another one."""
    images = {**FLEET["fleet_images"], "other": {**OTHER, "properties": dict(properties)}}
    return fleet({"web1": {**WEB, "server_image": "other", "server_host": "kvm1"}}, fleet_images=images, **changes)


def rebuilt(declared: Declared, **surveys: t.Any) -> Plan:
    before = fleet({"web1": {**WEB, "server_host": "kvm1"}})
    guests = applied(reconcile(before, hosts(before)))
    return reconcile(declared, hosts(declared, guests, **surveys), leave=ALLOWED).plan()


def test_an_image_that_the_host_is_fit_for_rebuilds() -> None:
    plan = rebuilt(with_image({"hw_architecture": "x86_64"}))

    assert "rebuild" in kinds(entries(plan)["web1"])
    assert plan.explanations == ()


REFUSED: dict[str, tuple[dict[str, str], dict[str, t.Any], str]] = {
    "of another architecture": (
        {"hw_architecture": "aarch64"},
        {},
        "aarch64",
    ),
    "isolated to other hosts": (
        {},
        {"enabled_filters": ["IsolatedHostsFilter"], "isolated_images": ["other"], "isolated_hosts": ["kvm2"]},
        "image 'other' is isolated to isolated_hosts",
    ),
    "kept out by an aggregate": (
        {"os_distro": "windows"},
        {"enabled_filters": ["AggregateImagePropertiesIsolation"]},
        "its aggregates take images with os_distro 'debian', the image has 'windows'",
    ),
}
DEBIAN = {"debian": {"hosts": ["kvm1"], "metadata": {"os_distro": "debian"}}}


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_that_the_host_is_not_fit_for_is_refused(name: str) -> None:
    properties, scheduler, reason = REFUSED[name]
    plan = rebuilt(with_image(properties, fleet_scheduler=scheduler, fleet_aggregates=DEBIAN))

    entry = entries(plan)["web1"]
    assert (entry.verdict, entry.host, kinds(entry)) == ("no valid host", "kvm1", [])
    assert reason in entry.message
    assert "it is to be on 'kvm1'" in entry.message
    assert [one.server for one in plan.explanations] == ["web1"]


def test_nothing_but_the_image_counts_for_a_rebuild() -> None:
    """As in Nova: a full or disabled host in a zone of its own keeps its server, whatever it would refuse anew."""
    full = survey("kvm1", memory=512)
    full["marker"]["service"] = {"state": "disabled", "reason": "old"}
    everything = {
        "enabled_filters": ["ComputeFilter", "RamFilter", "ServerGroupAntiAffinityFilter", "NumInstancesFilter"],
        "max_instances_per_host": 1,
    }
    declared = with_image({}, fleet_scheduler=everything)

    assert "rebuild" in kinds(entries(rebuilt(declared, kvm1=full))["web1"])


# -- what inventory says of hosts for filters and weighers to read ----------------------------------------------


def test_a_server_near_an_address_goes_to_a_host_of_its_network() -> None:
    scheduler = {"enabled_filters": ["SimpleCIDRAffinityFilter"]}
    servers = {"web1": {**WEB, "server_scheduler_hints": {"build_near_host_ip": "198.51.100.9", "cidr": "/25"}}}
    addresses = {"kvm1": {"compute_address": "198.51.100.200"}, "kvm2": {"compute_address": "198.51.100.3"}}
    declared = site(servers, addresses, fleet_scheduler=scheduler)
    entry = entries(reconcile(declared, hosts(declared)).plan())["web1"]
    assert entry.host == "kvm2"

    nowhere = site(servers, {"kvm1": addresses["kvm1"]}, fleet_scheduler=scheduler)
    message = entries(reconcile(nowhere, hosts(nowhere)).plan())["web1"].message
    assert "kvm1: needs an address in 198.51.100.0/25, has 198.51.100.200" in message
    assert "kvm2, kvm3: needs an address in 198.51.100.0/25, has none (compute_address)" in message


def test_metrics_of_hosts_are_weighed_and_required() -> None:
    scheduler = {"enabled_filters": ["MetricsFilter"], "metrics_weight_setting": {"cpu.percent": -1.0}}
    loads = {"kvm1": {"compute_metrics": {"cpu.percent": 0.9}}, "kvm2": {"compute_metrics": {"cpu.percent": 0.1}}}
    declared = site({"web1": WEB}, loads, fleet_scheduler=scheduler, fleet_explain="web1")
    plan = reconcile(declared, hosts(declared)).plan()

    (told,) = explanations(plan, declared)
    assert told["host"] == "kvm2"
    assert told["weights"]["kvm2"]["MetricsWeigher"] == 1.0
    assert "cpu.percent" in told["refusals"]["kvm3"]["reason"]


def site(servers: dict[str, dict[str, t.Any]], computes: dict[str, dict[str, t.Any]], **changes: t.Any) -> Declared:
    """The fleet with further variables of compute hosts."""
    every = {name: {**COMPUTE, **computes.get(name, {})} for name in ("kvm1", "kvm2", "kvm3")}
    return declare({**FLEET, **changes}, every, servers, {})
