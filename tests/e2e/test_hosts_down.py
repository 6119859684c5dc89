# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that are off or cut off: their servers are left alone, the others are served, the run fails at its end."""

from __future__ import annotations

import pytest
from tests.support.fleet import Fleet


def test_a_host_without_power_fails_the_run_at_its_end(fleet: Fleet) -> None:
    for number, host in enumerate(fleet.lab.hosts, 1):
        fleet.declare(f"s{number}", state="stopped", host=host)
    fleet.reconcile()
    before = fleet.look()

    fleet.all["fleet_timeout"] = 12
    fleet.lab.ok("power", "off", "kvm2")
    fleet.declare("s1", "s2", metadata={"seen": "once"})
    fleet.declare("s4", state="stopped")
    run = fleet.run().failed()
    assert run.all_steps == {"s1": ["update"], "s4": ["create"]}
    assert len(run.failures) == 1, run.failures
    assert run.failures[0].startswith("s2: kvm2 is down: ")
    assert "2 of 3 hosts up" in run.text
    assert run.message.endswith(
        "If kvm2 is dead, the playbook evacuate builds its servers elsewhere: -e fleet_host=kvm2"
    )
    last = [event for event in run.events if event["event"] == "runner_on_failed"][-1]
    assert last["event_data"]["task"] == "Show the fleet, and fail if something is not as declared"
    assert run.plan["servers"]["s4"]["host"] != "kvm2"
    assert fleet.look().server("s1").spec["metadata"] == {"seen": "once"}

    # Without a declared server on it, a dead host is a fact, no failure.
    fleet.lab.heal()
    assert fleet.touching("s2").all_steps == {"s2": ["update"]}
    assert fleet.whole().server("s2").id == before.server("s2").id


@pytest.mark.soak
def test_a_cut_link_with_a_warm_connection_delays_the_run_by_its_timeout_alone(fleet: Fleet) -> None:
    fleet.declare("here", host="kvm1", state="stopped")
    fleet.declare("there", host="kvm2")
    fleet.all["fleet_timeout"] = 12
    fleet.reconcile()
    fleet.declare("here", metadata={"still": "whole"})
    usual = fleet.reconcile()
    fleet.lab.ok("cut", "kvm2")
    fleet.declare("here", metadata={"still": "served"})
    run = fleet.run().failed()
    assert run.all_steps == {"here": ["update"]}
    assert [cause.partition(":")[0] for cause in run.failures] == ["there"]
    # The same work on the same warm connections; 3 s are for what else the machine does.
    assert run.seconds < usual.seconds + fleet.all["fleet_timeout"] + 3, (run.seconds, usual.seconds)
    assert fleet.lab.look("kvm2").states == {"there": "running"}  # cut off, it runs on
    fleet.lab.heal()
    assert fleet.reconcile().changed == 0


def test_no_server_is_made_while_a_host_that_may_have_it_was_never_seen(fleet: Fleet) -> None:
    fleet.lab.ok("power", "off", "kvm3")
    fleet.all["fleet_timeout"] = 12
    fleet.declare("web1", state="stopped")
    run = fleet.run().civil()
    assert run.all_steps == {}
    assert "web1 may be on kvm3 (never seen by this ledger)" in run.text
    assert "fleet_assume_absent=kvm3" in run.text
    assert fleet.look().domains == []

    run = fleet.run(fleet_assume_absent=["kvm3"]).civil()
    assert run.all_steps == {"web1": ["create"]}
    assert fleet.look().states == {"web1": "shutoff"}
    fleet.lab.heal()
    assert fleet.reconcile().all_steps == {}
    fleet.whole()


@pytest.mark.soak
def test_a_crashed_libvirtd_is_a_host_that_is_down_and_its_guests_run_on(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.declare("b", host="kvm2", state="stopped")
    fleet.reconcile()
    fleet.console("a", "tick 1")
    server = fleet.look().server("a")
    fleet.lab.ok("crash", "kvm1")
    run = fleet.run().failed()
    assert [cause.partition(":")[0] for cause in run.failures] == ["a"]
    assert "libvirt" in run.failures[0]
    fleet.lab.heal()
    assert fleet.reconcile().all_steps == {}
    ticks = fleet.lab.console("kvm1", server.id).count("tick ")
    said = fleet.lab.wait_for("kvm1", server.id, "tick ", times=ticks + 1)
    assert "boots=1 " in said  # it was never started again


@pytest.mark.parametrize("state", ["disabled", "maintenance"])
@pytest.mark.soak
def test_nothing_new_goes_to_a_host_that_inventory_keeps_out(fleet: Fleet, state: str) -> None:
    for host in ("kvm1", "kvm3"):
        fleet.computes[host] = {"compute_state": state, "compute_state_reason": "new disks"}
    fleet.declare("a", "b", state="stopped")
    fleet.declare("pinned", state="stopped", host="kvm1")
    run = fleet.run().failed()
    assert fleet.look().placement == {"a": "kvm2", "b": "kvm2"}
    assert [cause.partition(":")[0] for cause in run.failures] == ["pinned"]
    assert state in run.failures[0]
    assert "new disks" in run.failures[0]
