# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is emptied, stopped in the middle of it, emptied to the end, and filled again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import Run

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import server_lock

PLAN = "Plan with what the hosts say"


def placed(fleet: Fleet, host: str, *names: str, **variables: t.Any) -> None:
    """Servers on that host, which inventory doesn't hold there."""
    fleet.declare(*names, host=host, **variables)
    fleet.reconcile()
    for name in names:
        del fleet.servers[name]["server_host"]


def service(fleet: Fleet, host: str) -> str:
    marker = fleet.look().hosts[host].marker
    return str((marker or {})["service"]["state"])


def ways(run: Run, task: str = PLAN) -> dict[str, tuple[str, str | None]]:
    """Server -> its way and where it goes, as the plan says."""
    servers = run.results(task)["localhost"]["servers"]
    return {name: (entry["way"], entry["destination"]) for name, entry in servers.items()}


def told(run: Run) -> str:
    return str(run.results(PLAN)["localhost"]["text"])


def test_a_host_is_emptied_stopped_and_filled_again(fleet: Fleet) -> None:
    fleet.all["fleet_server_groups"] = {"apart": {"policy": "anti-affinity"}}
    fleet.declare("x", host="kvm2", group="apart", state="stopped")
    fleet.declare("a", group="apart")  # it runs, and goes live
    fleet.declare("b", "c", state="stopped")
    placed(fleet, "kvm1", "a", "b", "c")
    fleet.console("a", "tick 1")
    before = fleet.look()

    checked = fleet.run("drain", "--check", fleet_host="kvm1").ok()
    assert fleet.look() == before
    # What a host says against a move is known before the plan is shown: who is refused goes to another host, or stays.
    volume = f"{before.server('b').id}-root"
    why = f"it has volumes in pool 'local' of the other host already ({volume}): look what is in them"
    first = str(ways(checked)["b"][1])
    other = "kvm2" if first == "kvm3" else "kvm3"
    fleet.lab.ok("exec", first, "virsh", "vol-create-as", "local", volume, "4096")
    assert ways(fleet.run("drain", "--check", fleet_host="kvm1").ok())["b"] == ("offline", other)
    fleet.lab.ok("exec", other, "virsh", "vol-create-as", "local", volume, "4096")
    refused = fleet.run("drain", "--check", "--diff", fleet_host="kvm1").failed()
    assert "kvm1 would not be empty: 1 thing is in the way; run again when the cause is mended:" in refused.message
    assert re.search(rf"^- b: No valid host was found .*; kvm2, kvm3: {re.escape(why)}", refused.message, re.MULTILINE)
    assert ways(refused)["b"] == ("stays", None)
    assert refused.stdout.count("  disks: nothing stands against it") == 2  # a, which runs, and c
    for host in (first, other):
        fleet.lab.ok("exec", host, "virsh", "vol-delete", volume, "local")
    assert fleet.look() == before
    assert ways(checked)["a"] == ("live", "kvm3"), checked
    assert ways(checked)["b"][0] == "offline"

    held = contextlib.ExitStack()
    locks = str(fleet.lab.tree("kvm1", "/var/lib/flotilla"))

    def hold(event: dict[str, t.Any]) -> None:
        """b's move is begun and can't go on."""
        if (
            event["event"] == "runner_on_ok"
            and event["event_data"].get("task") == "Put the host's service into the planned state"
        ):
            held.enter_context(server_lock(locks, before.server("b").id, run_id="test", step="held"))

    with held:
        drain = fleet.start("drain", on_event=hold, fleet_host="kvm1")
        until(lambda: drain.alive and at_work(fleet, "b"), "the move of b to begin", timeout=180)
        stop = fleet.run("drain", fleet_host="kvm1", fleet_drain="stop", write=False).ok()
        assert "is told to stop; kvm1 is maintenance; under way, and ends: b; stays there: c" in stop.stdout
    stopped = drain.wait().failed()
    assert "c: not begun:" in stopped.message
    assert "told this run to stop" in stopped.message
    assert "kvm1 is in maintenance, and not empty" in stopped.message
    now = fleet.whole()
    assert now.placement == {**before.placement, **{name: str(ways(stopped)[name][1]) for name in ("a", "b")}}
    assert now.placement["a"] == "kvm3"
    assert {name for name, state in now.states.items() if state != "shutoff"} == {"a"}
    assert now.server("a").state == "running"
    assert service(fleet, "kvm1") == "maintenance"

    back = fleet.run("undrain", fleet_host="kvm1").ok()
    assert "kvm1 is enabled, and what had left it is back" in back.stdout
    assert fleet.whole().placement == before.placement
    assert service(fleet, "kvm1") == "enabled"
    journal = [(row.source, row.destination, row.status) for row in fleet.ledger.migrations()]
    assert len(journal) == 4
    assert sorted(status for *_ends, status in journal) == ["completed", "completed", "confirmed", "confirmed"]
    assert fleet.lab.console("kvm1", before.server("a").id).count("boots=") == 0  # it has not been started anew


def at_work(fleet: Fleet, name: str) -> bool:
    rows = fleet.snapshot.servers.values()
    return any(row.name == name and row.task_state not in (None, "scheduling") for row in rows)


@pytest.mark.soak
def test_twenty_servers_leave_as_the_plan_said_and_come_back(fleet: Fleet) -> None:
    fleet.all["fleet_max_concurrent_migrations"] = 3
    fleet.compute_defaults = {"compute_allocation_ratio": {"vcpus": 16.0, "memory": 4.0, "disk": 8.0}}
    names = [f"s{number:02}" for number in range(20)]
    fleet.declare(*names, state="stopped")
    running = names[::3]
    fleet.declare(*running, state="active")
    fleet.declare(*running[::2], pool="shared")
    placed(fleet, "kvm1", *names)
    for name in running:
        fleet.console(name, "tick 1", timeout=300)
    fleet.reconcile()  # inventory holds them nowhere any more
    before = fleet.look()
    checked = fleet.run("drain", "--check", fleet_host="kvm1").ok()
    done = fleet.run("drain", fleet_host="kvm1").ok()
    assert ways(done) == ways(checked)
    assert {name: way for name, (way, _to) in ways(done).items()} == {
        name: "live" if name in running else "offline" for name in names
    }
    assert told(done).replace("Drain", "") == told(checked).replace("Drain", "")
    assert fleet.whole().placement == {name: str(to) for name, (_way, to) in ways(done).items()}
    assert set(fleet.look().placement) == set(names)
    assert "kvm1" not in fleet.look().placement.values()
    fleet.run("undrain", fleet_host="kvm1").ok()
    assert fleet.whole().placement == before.placement
    for name in running:  # none was started anew, on either way
        assert "boots=" not in fleet.lab.console("kvm1", before.server(name).id)
    assert fleet.reconcile().all_steps == {}


@pytest.mark.soak
def test_an_interrupted_drain_goes_on_in_the_next(fleet: Fleet) -> None:
    names = [f"s{number}" for number in range(6)]
    placed(fleet, "kvm1", *names, state="stopped")
    drain = fleet.start("drain", fleet_host="kvm1")
    until(lambda: at_work(fleet, "s2"), "the move of the third", timeout=180)
    assert drain.pid is not None
    os.kill(drain.pid, signal.SIGINT)
    cut = drain.wait()
    assert cut.rc != 0
    told = re.search(r"^The drain of kvm1 was cut short: (.+)$", cut.stdout, re.MULTILINE)
    assert told is not None, cut
    assert told[1].startswith("kvm1 is maintenance; ")
    assert re.search(r"stays there: (s\d, )*s4, s5\. Go on with it by the playbook drain, or back by undrain", told[1])
    assert service(fleet, "kvm1") == "maintenance"
    assert {fleet.look().placement[name] for name in names[4:]} == {"kvm1"}
    done = fleet.run("drain", fleet_host="kvm1")
    if done.rc != 0:  # the move that was under way was still at work
        assert "still at work" in done.message
        done = fleet.run("drain", fleet_host="kvm1")
    assert "was cut short" not in done.ok().stdout
    assert "kvm1" not in fleet.whole().placement.values()
    fleet.run("undrain", fleet_host="kvm1").ok()
    assert set(fleet.whole().placement.values()) == {"kvm1"}
