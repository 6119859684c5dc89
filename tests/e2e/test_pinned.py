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


@pytest.mark.soak
def test_it_gets_cores_of_the_host_that_it_is_moved_to(fleet: Fleet) -> None:
    specs: dict[str, t.Any] = {"hw:cpu_policy": "dedicated"}
    fleet.all["fleet_flavors"]["pinned"] = {"vcpus": 1, "ram": 128, "disk": 1, "extra_specs": specs}
    fleet.computes["kvm1"]["compute_cpu_dedicated_set"] = "0"
    fleet.declare("db1", flavor="pinned")
    fleet.reconcile()
    assert (fleet.look().placement, pins(fleet, "db1")) == ({"db1": "kvm1"}, ["0"])
    fleet.computes["kvm2"]["compute_cpu_dedicated_set"] = "1"
    live = fleet.run("migrate", fleet_server="db1", fleet_host="kvm2").failed()
    assert "can't be moved while it runs: move it cold, with live: false" in live.message
    cold = {"live": "false", "confirm": True}
    fleet.run("migrate", fleet_server="db1", fleet_host="kvm2", fleet_action_options=cold).ok()
    moved = fleet.whole().server("db1")
    assert (moved.host, moved.state, pins(fleet, "db1")) == ("kvm2", "running", ["1"])
    assert fleet.reconcile().changed == 0  # nothing differs from what was claimed for it there
