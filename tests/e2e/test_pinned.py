# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers with a core of their own: placed, seen in their running domains, refused when there is none, freed again."""

from __future__ import annotations

import os
import typing as t
from xml.etree import ElementTree

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until

#: A guest that writes to its memory faster than 6 MiB/s carry it away.
DIRTY = """#!/bin/sh
# flotilla-guest: run
mkdir -p /dirty && mount -t tmpfs -o size=40m none /dirty
while :; do dd if=/dev/urandom of=/dirty/a bs=1M count=16 2>/dev/null; echo dirty; done
"""

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two pinned servers need two CPUs")


def pins(fleet: Fleet, name: str) -> list[str]:
    """The CPUs of each vCPU, by the running domain."""
    root = ElementTree.fromstring(fleet.look().server(name).live_xml or "<domain/>")
    return [str(pin.get("cpuset")) for pin in root.iterfind("cputune/vcpupin")]


@pytest.mark.soak
def test_each_has_its_own_core_and_a_third_none_until_one_is_gone(fleet: Fleet) -> None:
    specs: dict[str, t.Any] = {"hw:cpu_policy": "dedicated"}
    fleet.all["fleet_flavors"]["pinned"] = {"vcpus": 1, "ram": 128, "disk": 1, "extra_specs": specs}
    fleet.computes["kvm1"]["compute_cpu_dedicated_set"] = "0-1"
    fleet.declare("db1", "db2", flavor="pinned")
    fleet.reconcile()
    assert fleet.look().placement == {"db1": "kvm1", "db2": "kvm1"}
    assert sorted([pins(fleet, "db1"), pins(fleet, "db2")]) == [["0"], ["1"]]
    assert fleet.reconcile().changed == 0

    # A third has no place, and hears of each host why. Nothing happens to the others.
    fleet.declare("db3", flavor="pinned")
    before = fleet.look().but()
    refused = fleet.run().failed()
    assert "No valid host was found for db3" in refused.message
    assert "kvm1: needs 1 dedicated CPU, 0 dedicated CPUs free of 2" in refused.text
    assert "kvm2, kvm3: needs 1 dedicated CPU" in refused.text
    assert fleet.look().but() == before

    # Somebody moves a running server onto the other's core.
    (own,) = pins(fleet, "db1")
    (other,) = pins(fleet, "db2")
    fleet.lab.virsh("kvm1", "vcpupin", "db1", "0", other, "--live")
    run = fleet.run(fleet_servers="db1").ok()
    assert run.all_steps == {"db1": ["pin"]}
    assert f'domain.pins [live]: "0 on {other}, emulator on {own}" -> "0 on {own}, emulator on {own}"' in run.text
    assert pins(fleet, "db1") == [own]

    # Its core is free for the third once it is gone.
    fleet.declare("db1", state="absent")
    fleet.run(fleet_reclaim=0, fleet_allow="delete").failed()
    fleet.reconcile()
    assert (pins(fleet, "db2"), pins(fleet, "db3")) == ([other], [own])
    fleet.whole()


@pytest.fixture
def crowded(fleet: Fleet) -> Fleet:
    """kvm1 has one core to give, which db1 has; kvm2 has two, of which db2 has one."""
    specs: dict[str, t.Any] = {"hw:cpu_policy": "dedicated"}
    fleet.all["fleet_flavors"]["pinned"] = {"vcpus": 1, "ram": 128, "disk": 1, "extra_specs": specs}
    fleet.computes["kvm1"]["compute_cpu_dedicated_set"] = "0"
    fleet.computes["kvm2"]["compute_cpu_dedicated_set"] = "0-1"
    fleet.declare("db1", flavor="pinned", host="kvm1", user_data=DIRTY)
    fleet.declare("db2", flavor="pinned", host="kvm2")
    fleet.reconcile()
    assert (fleet.look().placement, pins(fleet, "db1")) == ({"db1": "kvm1", "db2": "kvm2"}, ["0"])
    del fleet.servers["db1"]["server_host"]
    fleet.reconcile()
    return fleet


@pytest.mark.soak
def test_as_it_runs_it_gets_a_core_that_nobody_has_where_it_goes(crowded: Fleet) -> None:
    fleet = crowded
    (theirs,) = pins(fleet, "db2")
    shown = fleet.run("migrate", "--check", "--diff", fleet_server="db1", fleet_host="kvm2").ok()
    assert shown.stdout.count("  cores and cells: nothing stands against it") == 1
    fleet.run("migrate", fleet_server="db1", fleet_host="kvm2").ok()
    moved = fleet.whole().server("db1")
    (own,) = pins(fleet, "db1")
    assert (moved.host, moved.state, {own, theirs}) == ("kvm2", "running", {"0", "1"})
    assert fleet.snapshot.claims == {}
    assert fleet.reconcile().changed == 0  # nothing differs from what was claimed for it there
    # All of kvm2's are taken now, and the one that it left is free.
    fleet.declare("db3", flavor="pinned")
    fleet.reconcile()
    assert (fleet.look().placement["db3"], pins(fleet, "db3")) == ("kvm1", ["0"])
    back = fleet.run("migrate", fleet_server="db1", fleet_host="kvm1").failed()
    assert "kvm1: needs 1 dedicated CPU, 0 dedicated CPUs free of 1" in back.message
    # One that nobody has any more is given to a server that is moved cold.
    fleet.declare("db3", state="absent")
    fleet.run(fleet_reclaim=0, fleet_allow="delete").ok()
    cold = {"live": "false", "confirm": True}
    fleet.run("migrate", fleet_server="db1", fleet_host="kvm1", fleet_action_options=cold).ok()
    assert (fleet.whole().server("db1").host, pins(fleet, "db1")) == ("kvm1", ["0"])
    assert fleet.reconcile().changed == 0


@pytest.mark.soak
def test_a_move_whose_run_was_killed_keeps_its_core_at_both_ends(crowded: Fleet) -> None:
    fleet = crowded
    fleet.console("db1", "dirty", timeout=180)
    (theirs,) = pins(fleet, "db2")
    slow = {"bandwidth": 6, "timeout": 20, "timeout_action": "pause"}
    running = fleet.start("migrate", fleet_server="db1", fleet_host="kvm2", fleet_action_options=slow)
    until(lambda: any("live_migrate: " in event["stdout"] for event in running.events), "the move to be shown", 90)
    running.kill()
    running.wait()
    # While it goes on the next run has another server, and no core for it on either host.
    fleet.declare("db3", flavor="pinned")
    next_run = fleet.run().failed()
    assert "No valid host was found for db3" in next_run.message
    assert "kvm1: needs 1 dedicated CPU, 0 dedicated CPUs free of 1" in next_run.text
    assert "kvm2: needs 1 dedicated CPU, 0 dedicated CPUs free of 2" in next_run.text, next_run.text
    assert next_run.steps("db1") == ["end_move"]
    moved = fleet.look().server("db1")
    assert (moved.host, moved.state, {*pins(fleet, "db1"), theirs}) == ("kvm2", "running", {"0", "1"})
    fleet.reconcile()
    assert (fleet.whole().placement["db3"], pins(fleet, "db3")) == ("kvm1", ["0"])
    assert fleet.reconcile().changed == 0
