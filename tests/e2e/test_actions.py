# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's actions on real guests: one is walked through all of them, each twice; and what is refused changes nothing."""

from __future__ import annotations

import re
import typing as t

import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import Run, both

Task = dict[str, t.Any]


#: The host that the scheduler's lookup finds the server on.
WHERE_IT_IS = "{{ lookup('flotilla.compute.scheduler', 'a') }}"


def ask(fleet: Fleet, *actions: Task, host: str = "kvm1") -> Run:
    """A playbook with a task for each action; every task is tried, and its result is under its number."""
    tasks = [
        {
            "name": f"{number}",
            "flotilla.compute.server_action": action,
            "delegate_to": host,
            "ignore_errors": True,
        }
        for number, action in enumerate(actions)
    ]
    playbook = fleet.folder / "actions.yml"
    survey = {"ansible.builtin.import_playbook": "flotilla.compute.survey"}
    plays = [survey, {"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    return fleet.run(playbook).ok()


def info(fleet: Fleet, **arguments: t.Any) -> Task:
    """What server_info says of the one server."""
    tasks = [{"name": "info", "flotilla.compute.server_info": arguments, "delegate_to": "kvm1"}]
    playbook = fleet.folder / "info.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    (server,) = fleet.run(playbook).ok().results("info")["localhost"]["servers"]
    return dict(server)


def said(run: Run, number: int) -> str:
    """What a task has failed with."""
    return str(run.results(str(number))["localhost"].get("msg", ""))


def notes(run: Run, number: int) -> list[str]:
    return list(run.results(str(number))["localhost"].get("notes", []))


def test_a_guest_is_walked_through_the_actions_each_twice(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1", shutdown_timeout=20)
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    names = ["pause", "unpause", "suspend", "resume", "stop", "start", "reboot"]
    run = ask(fleet, *({"server": "a", "action": action} for action in names for _twice in range(2)))
    after = dict(zip(names, ("paused", "active", "suspended", "active", "stopped", "active"), strict=False))
    for index, action in enumerate(names[:-1]):
        first, second = said(run, 2 * index), said(run, 2 * index + 1)
        words = f"Cannot '{action}' instance {before.id} while it is in vm_state {after[action]}"
        assert (first, second) == ("", words), str(run)
    assert [said(run, 12), said(run, 13)] == ["", ""]  # a reboot reboots again
    assert notes(run, 0) == [
        "inventory declares active: the next reconcile run will unpause it; "
        "set server_state: paused to keep it as it is"
    ]
    assert notes(run, 2) == []
    server = fleet.whole().server("a")
    assert (server.id, server.addresses, server.state) == (before.id, before.addresses, "running")
    # Off once by stop, twice by reboot; its memory went on through pause and suspend. The disk counts its boots.
    fleet.console("a", "boots=4")
    assert fleet.reconcile().all_steps == {}

    status = fleet.run("status", fleet_server="a").ok()
    shown = status.results("Show the fleet")["localhost"]
    assert [row["action"] for row in shown["history"]] == ["create", *names, "reboot"]
    assert {(row["result"], row["host"], row["by"].partition("@")[0]) for row in shown["history"]} == {
        ("Success", "kvm1", "root")
    }
    assert all(row["start"] <= row["end"] for row in shown["history"])
    assert "History of a:" in status.stdout
    found = info(fleet, name=["a"], history=True, diagnostics=True)
    assert (found["status"], found["vm_state"], found["task_state"], found["power_state"]) == (
        "ACTIVE",
        "active",
        None,
        1,
    )
    assert found["history"] == shown["history"]
    diagnostics = found["diagnostics"]
    assert (diagnostics["state"], diagnostics["num_cpus"], diagnostics["num_nics"]) == ("running", 1, 1)
    assert diagnostics["memory_details"] == {"maximum": 128, "used": 128}
    assert diagnostics["nic_details"][0]["mac_address"] == found["record"]["nics"][0]["mac"]
    assert diagnostics["cpu_details"][0]["time"] > 0
    assert diagnostics["disk_details"][0]["read_bytes"] > 0


@pytest.mark.soak
def test_what_an_action_leaves_is_brought_back_by_reconcile_or_kept_by_inventory(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    checked = fleet.run("action", "--check", "--diff", fleet_server="a", fleet_action="pause").ok()
    assert "pause on kvm1" in checked.stdout
    assert fleet.look().states == {"a": "running"}
    done = fleet.run("action", "--diff", fleet_server="a", fleet_action="pause").ok()
    assert done.changed == 1
    assert "the next reconcile run will unpause it; set server_state: paused to keep it" in done.stdout
    assert "memory is lost if its host reboots" in done.stdout
    assert fleet.look().states == {"a": "paused"}
    again = fleet.run("action", fleet_server="a", fleet_action="pause").failed()
    assert "Cannot 'pause' instance" in again.message
    fleet.declare("a", state="paused")
    assert fleet.reconcile().all_steps == {}
    fleet.declare("a", state="active")
    assert fleet.touching("a").steps("a")[-1] == "unpause"

    # A broken guest: somebody has edited its domain so that it can't start. A hard reboot makes it anew.
    server = fleet.look().server("a")
    fleet.lab.virsh("kvm1", "destroy", "a")
    fleet.lab.virsh("kvm1", "detach-disk", "a", "vda", "--config")
    run = fleet.run("action", fleet_server=server.id, fleet_action="reboot", fleet_action_options="type=hard").ok()
    assert run.changed == 1
    fleet.console("a", "boots=2")
    assert fleet.reconcile().all_steps == {}
    fleet.whole()


@pytest.mark.soak
def test_a_lock_by_action_holds_everything_with_its_reason(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    lock = {"server": "a", "action": "lock", "reason": "disk swap"}
    refused = ({"server": "a", "action": action} for action in ("stop", "reboot", "delete"))
    run = ask(fleet, lock, lock, *refused, host=WHERE_IT_IS)
    assert [run.results(str(n))["localhost"]["changed"] for n in (0, 1)] == [True, False]
    server_id = fleet.look().server("a").id
    assert [said(run, n) for n in (2, 3, 4)] == [f"Instance {server_id} is locked (by root: disk swap)"] * 3
    for state, held in (("stopped", [("stop", "locked")]), ("absent", [("soft_delete", "locked")])):
        fleet.declare("a", state=state)
        run = fleet.reconcile()
        assert run.held("a") == held
        assert "locked by root: disk swap" in run.stdout
        assert fleet.look().states == {"a": "running"}
    run = ask(fleet, {"server": "a", "action": "unlock"}, {"server": "a", "action": "unlock"}, host=WHERE_IT_IS)
    assert [run.results(str(n))["localhost"]["changed"] for n in (0, 1)] == [True, False]
    assert fleet.reconcile().all_steps == {"a": ["soft_delete"]}
    fleet.declare("a", state="active")
    run = ask(fleet, {"server": "a", "action": "restore"}, {"server": "a", "action": "restore"}, host=WHERE_IT_IS)
    assert (said(run, 0), said(run, 1)) == ("", f"Cannot 'restore' instance {server_id} while it is in vm_state active")
    assert fleet.reconcile().all_steps == {}
    fleet.whole()


def test_what_can_not_be_done_is_one_sentence_and_changes_nothing(fleet: Fleet) -> None:
    fleet.all["fleet_images"]["wide"] = {**fleet.all["fleet_images"]["tick"], "min_disk": 2}
    fleet.all["fleet_flavors"]["flat"] = {"vcpus": 1, "ram": 128, "disk": 0}
    fleet.declare("a", host="kvm1")
    fleet.declare("b", host="kvm2", state="stopped")
    fleet.reconcile()
    before = fleet.look()
    run = ask(
        fleet,
        {"server": "a", "action": "dance"},
        {"server": "a", "action": "pause", "type": "hard"},
        {"server": "c", "action": "pause"},
        {"server": "b", "action": "start"},
        {"server": "a", "action": "set_password"},
        {"server": "a", "action": "set_password", "password": "s3cr3t-w0rd"},
        {"server": "a", "action": "force_delete"},
        {"server": "a", "action": "stop", "timeout": -1},
        {"server": "a", "action": "rebuild", "image": "wide"},
        {"server": "a", "action": "resize", "flavor": "flat"},
    )
    server_id = before.server("a").id
    assert said(run, 0).startswith("there is no action 'dance'; there are ")
    assert said(run, 1) == "the action pause takes no option type; it takes none"
    assert said(run, 2).startswith("there is no server 'c'")
    assert said(run, 3) == "b is on kvm2, and this task runs for kvm1; delegate_to kvm2"
    assert said(run, 4) == "a: the action set_password needs the option password, or server_admin_password in inventory"
    assert f"Failed to set admin password on {server_id} because its guest agent does not answer" in said(run, 5)
    assert "needs leave" in said(run, 6)
    assert "-e fleet_allow=delete" in said(run, 6)
    assert "timeout is a number from 0" in said(run, 7)
    small = "Flavor's disk is too small for requested image. Image 'wide' needs 2 GiB, server 'a' has 1 GiB"
    assert said(run, 8) == small
    assert said(run, 9).startswith("Server disk was unable to be resized because: Resize to zero disk flavor is not")
    assert "s3cr3t-w0rd" not in run.stdout
    assert all("\n" not in said(run, number) for number in range(10))
    wide: dict[str, t.Any] = {"fleet_action": "rebuild", "fleet_action_options": "image=wide"}
    assert fleet.run("action", fleet_server="a", **wide).failed().message == small
    assert fleet.look().but() == before.but()

    fleet.all["fleet_timeout"] = 12
    fleet.lab.ok("power", "off", "kvm1")
    assert "kvm1 is down" in fleet.run("action", fleet_server="a", fleet_action="pause").failed().message
    fleet.lab.ok("power", "on", "kvm1")


@pytest.mark.soak
def test_of_two_actions_at_once_one_is_done(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1", shutdown_timeout=20)
    fleet.reconcile()
    fleet.console("a", "boots=1")
    asked: dict[str, t.Any] = {"fleet_server": "a", "fleet_action": "suspend"}
    runs = both(fleet.start("action", **asked), fleet.start("action", write=False, **asked))
    assert sorted(run.civil().rc == 0 for run in runs) == [False, True], "\n".join(map(str, runs))
    (refused,) = [run for run in runs if run.rc]
    # By how far the other was: it had begun, it had the claim alone, or it was done.
    server_id = fleet.look().server("a").id
    sentences = (
        rf"Cannot 'suspend' instance {server_id} while it is in task_state \w+: run \S+.* is at work on it; "
        "run again when it has ended",
        r"a: server 'a' is in the hands of run \S+.*; wait for its end, or end it if it hangs, and run again",
        rf"Cannot 'suspend' instance {server_id} while it is in vm_state suspended",
    )
    assert any(re.fullmatch(sentence, refused.message) for sentence in sentences), refused.message
    assert fleet.look().states == {"a": "shutoff"}  # its memory is on the disk
    actions = fleet.ledger.actions(server_id)
    assert [action.result for action in actions if action.action == "suspend"] == ["Success"]


def test_an_action_whose_run_was_killed_is_recognised_and_made_good(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    server_id = fleet.look().server("a").id
    run = fleet.start("action", fleet_server="a", fleet_action="suspend")
    until(lambda: fleet.snapshot.servers[server_id].task_state == "suspending", "the action has not begun")
    run.kill()
    run.wait()
    # What it had begun on the host goes on there; nobody repairs beside it.
    until(lambda: fleet.lab.modules("kvm1") == 0, "a step goes on")
    assert fleet.snapshot.servers[server_id].task_state == "suspending"
    again = fleet.run("action", fleet_server="a", fleet_action="suspend").civil()
    assert again.rc == 0 or "Cannot 'suspend' instance" in again.message, str(again)
    first = next(action for action in fleet.ledger.actions(server_id) if action.action == "suspend")
    assert (first.result, first.message) == ("Error", "its run was killed or cut off")
    assert fleet.snapshot.servers[server_id].task_state is None
    fleet.reconcile()
    assert fleet.whole().states == {"a": "running"}
    fleet.console("a", "tick", times=3)
    assert "boots=2" not in fleet.lab.console("kvm1", server_id)  # it went on from its memory
    assert fleet.reconcile().all_steps == {}
