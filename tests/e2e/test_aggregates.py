# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aggregates, availability zones and server groups, from inventory and from modules, on real hosts."""

from __future__ import annotations

import typing as t

from tests.e2e.test_modules import play, three_times
from tests.support.fleet import Fleet

SPREAD = {"name": "spread", "policy": "anti-affinity"}
RACK = {"name": "rack3", "availability_zone": "north", "hosts": ["kvm3"]}


def refused(fleet: Fleet, *tasks: tuple[str, dict[str, t.Any]]) -> list[str]:
    """What tasks say that all fail, each with its module and arguments."""
    wanted = [
        {f"flotilla.compute.{module}": arguments, "name": f"task {index}", "ignore_errors": True}
        for index, (module, arguments) in enumerate(tasks)
    ]
    run = play(fleet, "localhost", *wanted)
    return [str(run.results(f"task {index}")["localhost"].get("msg")) for index in range(len(tasks))]


def test_servers_go_where_aggregates_zones_and_groups_let_them(fleet: Fleet) -> None:
    three_times(fleet, "localhost", {"flotilla.compute.server_group": SPREAD}, {"flotilla.compute.aggregate": RACK})
    fleet.all["fleet_aggregates"] = {"ssd": {"hosts": ["kvm2"], "metadata": {"ssd": True}}}
    fleet.all["fleet_scheduler"] = {
        "enabled_filters": ["AggregateInstanceExtraSpecsFilter", "ServerGroupAntiAffinityFilter"]
    }
    on_ssd = {"aggregate_instance_extra_specs:ssd": "true"}
    fleet.all["fleet_flavors"]["fast"] = {"vcpus": 1, "ram": 128, "disk": 1, "extra_specs": on_ssd}
    fleet.declare("db", flavor="fast", state="stopped")
    fleet.declare("far", availability_zone="north", state="stopped")
    fleet.declare("w1", "w2", "w3", "w4", group="spread", state="stopped")

    # Three hosts take three of the group; the fourth is refused, with the table that says why.
    run = fleet.run().failed()
    placed = fleet.look().placement
    (left_out,) = {"w1", "w2", "w3", "w4"} - set(placed)
    assert (placed["db"], placed["far"]) == ("kvm2", "kvm3")
    assert {placed[name] for name in ("w1", "w2", "w3", "w4") if name != left_out} == {"kvm1", "kvm2", "kvm3"}
    (told,) = run.plan["explanations"]
    assert told["servers"] == [left_out]
    assert {host: refusal["filter"] for host, refusal in told["refusals"].items()} == dict.fromkeys(
        ("kvm1", "kvm2", "kvm3"), "ServerGroupAntiAffinityFilter"
    )
    assert f"why there is no host for {left_out}:" in run.stdout
    assert "after ServerGroupAntiAffinityFilter: 0" in run.stdout
    assert f"No valid host was found for {left_out}" in run.message

    # The same, told of a server that would be placed; the plan writes nothing.
    del fleet.servers[left_out]
    fleet.declare("fast2", flavor="fast", state="stopped")
    before = fleet.look()
    run = fleet.run("plan", fleet_explain="fast2").ok()
    (told,) = run.plan["explanations"]
    assert (told["servers"], told["host"], list(told["weights"])) == (["fast2"], "kvm2", ["kvm2"])
    assert told["refusals"]["kvm1"]["reason"].endswith("is in no aggregate with 'ssd'")
    assert "fast2 (128 MiB, 1 vCPU, 1 GiB disk) goes to kvm2" in run.stdout
    assert fleet.look() == before
    run = fleet.reconcile()
    assert run.steps("fast2") == ["create"]
    assert fleet.look().placement["fast2"] == "kvm2"

    # Hosts with servers keep their zone, whoever would change it.
    zone, added, gone, named, policy = refused(
        fleet,
        ("aggregate", {"name": "rack3", "availability_zone": "south"}),
        ("aggregate", {"name": "rack3", "hosts": ["kvm2"], "purge_hosts": False}),
        ("aggregate", {"name": "rack3", "state": "absent"}),
        ("server_group", {"name": "spread", "state": "absent"}),
        ("server_group", {"name": "spread", "policy": "affinity"}),
    )
    assert "Cannot update aggregate rack3. Reason: One or more hosts contain instances in this zone" in zone
    assert "from 'north' to 'south'" in zone
    assert "Cannot add host to aggregate rack3. Reason: The host kvm2 cannot be added" in added
    assert "Cannot remove host from aggregate rack3." in gone
    assert "is named by server_group of" in named
    assert "can't get 'affinity'" in policy
    fleet.all["fleet_aggregates"]["ssd"]["metadata"]["availability_zone"] = "south"
    before = fleet.look()
    message = fleet.run().failed().message
    assert "One or more hosts contain instances in this zone; no host was touched: kvm2: " in message
    assert "from 'nova' to 'south' but the host already has 3 instance(s)" in message
    assert fleet.look() == before
    del fleet.all["fleet_aggregates"]["ssd"]["metadata"]["availability_zone"]

    read = play(fleet, "localhost", {"flotilla.compute.server_group_info": {}}, {"flotilla.compute.aggregate_info": {}})
    (group,) = read.results("server_group_info")["localhost"]["server_groups"]
    assert group["members"] == sorted({"w1", "w2", "w3", "w4"} - {left_out})
    aggregates = read.results("aggregate_info")["localhost"]["aggregates"]
    assert {one["name"]: (one["source"], one["hosts"]) for one in aggregates} == {
        "rack3": ("ledger", ["kvm3"]),
        "ssd": ("inventory", ["kvm2"]),
    }
    assert fleet.reconcile().changed == 0
