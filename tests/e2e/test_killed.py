# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs killed with -9, anywhere: another run ends in the declared state, with nothing left over.

Two ways. The controller is killed, with all its processes, when the k-th event of the act plays comes by, or at a
seeded random moment; what it had begun on the hosts goes on there. Or the module on the host is killed, at the k-th
call that changes something in libvirt. ``make test`` takes a seeded sample of all k, ``make soak`` every event and many
of the calls, every one with KILLS=all.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.kills import SEED, onwards
from tests.support.lab_hosts import until
from tests.support.runs import KillAt, Run

FAULTS = Path(__file__).parents[1] / "support" / "faults" / "sitecustomize.py"
ACTS = frozenset({"Enroll the host", "Fetch the images", "Carry out the steps"})
STEPS = frozenset({"runner_on_start", "runner_on_ok", "runner_item_on_ok", "playbook_on_task_start"})
INSIDE = "/var/tmp/faults"

Prepare = t.Callable[[Fleet], None]


def begin(fleet: Fleet) -> None:
    """Nothing is there; three servers are to be created, one of them started."""
    fleet.declare("a", "b", state="stopped", metadata={"role": "old"})
    fleet.declare("c")


def change(fleet: Fleet) -> None:
    """Four servers are there; each is to become another, and one more: each kind of step that can be half done."""
    fleet.declare("a", "b", "c", "d", state="stopped")
    fleet.another_image("tick2")
    fleet.reconcile()
    fleet.declare("a", flavor="small", metadata={"role": "new"})
    fleet.declare("b", state="absent")
    fleet.declare("c", state="active", flavor="small", resize="verify")
    fleet.declare("d", key_name="ops", image="tick2")
    fleet.declare("e", state="stopped", pool="shared")
    fleet.all["fleet_keypairs"] = {"ops": {"public_key": KEY}}
    fleet.all["fleet_reclaim"] = 0
    fleet.all["fleet_allow"] = ["delete", "rebuild"]


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUNbPJq7l4OP7DGlDWfERjIjhi/BhNUoVdKWwKyBpLW ops@example.org"


def is_step(event: dict[str, t.Any]) -> bool:
    return event["event"] in STEPS and event["event_data"].get("task") in ACTS


def mended(fleet: Fleet) -> None:
    """One run more, and all is as declared; the one after that finds nothing to do."""
    last = fleet.run()
    assert last.rc == 0, str(last)
    fleet.whole()
    after = fleet.reconcile("--check")
    assert after.all_steps == {}, str(after)


def killed_at(fleet: Fleet, count: int) -> Run | None:
    """A run killed at its *count*-th step event: None; the run, whole, if it had none left to be killed at."""
    handler = KillAt(count, is_step)
    run = fleet.start(on_event=handler).wait()
    assert handler.killed.is_set() == (run.rc != 0), str(run)
    return None if handler.killed.is_set() else run


def boundaries(run: Run) -> set[tuple[str, str, str]]:
    """Every moment between steps by a run's plan: before and after each task of a host and the steps of a server."""
    hosts = run.plan["hosts"].items()
    tasks = {("Enroll the host", host) for host, its in hosts if its["enroll"] is not None}
    tasks |= {("Fetch the images", host) for host, its in hosts if its["images"]}
    tasks |= {("Carry out the steps", name) for name in (*run.plan["act_together"], *run.plan["act_rounds"])}
    return {(moment, *task) for task in tasks for moment in ("runner_on_start", "runner_on_ok")}


# -- the controller ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prepare", "count"),
    [
        pytest.param(begin, random.Random(SEED).randint(1, 4), marks=pytest.mark.soak),
        pytest.param(begin, random.Random(SEED).randint(5, 12), marks=pytest.mark.soak),
        (change, random.Random(SEED).randint(3, 7)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_controller_killed_between_steps_is_mended_by_another_run(fleet: Fleet, prepare: Prepare, count: int) -> None:
    prepare(fleet)
    assert killed_at(fleet, count) is None
    mended(fleet)


@pytest.mark.soak
@pytest.mark.parametrize("prepare", [begin, change])
def test_a_controller_killed_at_every_step(fleet: Fleet, prepare: Prepare) -> None:
    count, whole = 0, None
    while whole is None:
        count += 1
        renewed(fleet)
        prepare(fleet)
        whole = killed_at(fleet, count)
        mended(fleet)
    # At each of the whole run's events a run before it was killed: its plan must have no moment beside them.
    data = [(event["event"], event["event_data"]) for event in whole.events if is_step(event)]
    planned = boundaries(whole)
    assert len(planned) > 5, "the plan has next to no step"
    assert planned - {(kind, its["task"], its.get("host", "")) for kind, its in data} == set()


def renewed(fleet: Fleet) -> None:
    """The same hosts without a fleet, and nothing declared yet."""
    fleet.lab.wipe()
    for file in fleet.folder.glob("fleet.db*"):
        file.unlink()
    fleet.servers.clear()
    for key in ("fleet_keypairs", "fleet_reclaim", "fleet_allow"):
        fleet.all.pop(key, None)


def killed_after(fleet: Fleet, seconds: float) -> Run:
    """A run killed so many seconds after its first step has begun."""
    running = fleet.start()
    while running.alive and not any(is_step(event) for event in running.events):
        time.sleep(0.005)
    until = time.monotonic() + seconds
    while running.alive and time.monotonic() < until:
        time.sleep(0.005)
    running.kill()
    return running.wait()


@pytest.mark.soak
def test_a_controller_killed_at_a_random_moment_is_mended_by_another_run(fleet: Fleet) -> None:
    begin(fleet)
    killed_after(fleet, random.Random(SEED).uniform(0.2, 2.0))
    mended(fleet)


@pytest.mark.soak
def test_a_controller_killed_at_many_random_moments(fleet: Fleet) -> None:
    chance = random.Random(SEED)
    for _ in range(20):
        renewed(fleet)
        chance.choice([begin, change])(fleet)
        for _kill in range(chance.randint(1, 3)):
            killed_after(fleet, chance.uniform(0.0, 3.0))
        mended(fleet)


def test_a_step_that_outlives_its_killed_run_is_waited_for(fleet: Fleet) -> None:
    fleet.declare("a")
    fleet.reconcile()
    server = fleet.look().server("a")
    qemu = next(pid for pid, command in fleet.lab.processes(server.host).items() if server.id in command)
    fleet.declare("a", state="stopped")
    os.kill(qemu, signal.SIGSTOP)  # the step hangs at its first question to the guest
    try:
        first = fleet.start()
        lock = fleet.lab.tree(server.host, f"/var/lib/flotilla/locks/{server.id}")
        until(lambda: lock.exists() and bool(lock.read_text()), "the first run's step to hold its lock")
        held = lock.read_text()
        first.kill()
        first.wait()
        second = fleet.start()
        until(lambda: any(is_step(event) for event in second.events), "the second run's step to begin")
        until(lambda: fleet.lab.modules(server.host) >= 2, "the second run's module to stand beside the first's")
        assert lock.read_text() == held
        assert second.alive
    finally:
        os.kill(qemu, signal.SIGCONT)
    done = second.wait().ok()
    assert done.steps("a") == ["stop"]
    assert done.changed == 0, f"the first run's step has stopped it, and nothing was left to do: {done}"
    fleet.whole()
    assert fleet.reconcile().all_steps == {}


# -- the module on the host -------------------------------------------------------------------------------------


def with_faults(fleet: Fleet, host: str) -> Path:
    """All servers on one host, whose Python counts and kills; gives the folder of its orders."""
    for other in fleet.lab.hosts:
        fleet.computes[other] = {"compute_state": "disabled"} if other != host else {}
    folder = fleet.lab.tree(host, INSIDE)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FAULTS, folder / "sitecustomize.py")
    python = fleet.lab.tree(host, "/var/tmp/python")
    python.write_text(f'#!/bin/sh\nPYTHONPATH={INSIDE} exec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    fleet.computes[host]["ansible_python_interpreter"] = "/var/tmp/python"
    return folder


def died_at(fleet: Fleet, folder: Path, call: int, *, before: bool) -> Run | None:
    """A run whose module dies at its *call*-th change: None; the run, whole, if it made fewer."""
    (folder / "calls").unlink(missing_ok=True)
    (folder / "die_at").write_text(str(call))
    (folder / "before").touch() if before else (folder / "before").unlink(missing_ok=True)
    run = fleet.run()
    died = not (folder / "die_at").exists()
    (folder / "die_at").unlink(missing_ok=True)
    assert died == (run.rc != 0), str(run)
    return None if died else run


@pytest.mark.parametrize(
    ("prepare", "call"),
    [
        pytest.param(begin, random.Random(SEED).randint(5, 14), marks=pytest.mark.soak),
        (change, random.Random(SEED).randint(4, 12)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_module_killed_on_the_host_is_mended_by_another_run(fleet: Fleet, prepare: Prepare, call: int) -> None:
    folder = with_faults(fleet, "kvm1")
    prepare(fleet)
    assert died_at(fleet, folder, call, before=False) is None
    mended(fleet)


@pytest.mark.soak
@pytest.mark.parametrize(("prepare", "before"), [(begin, False), (begin, True), (change, False)])
def test_a_module_killed_at_many_changes(fleet: Fleet, prepare: Prepare, before: bool) -> None:
    for call in onwards(f"{prepare.__name__} {before}"):
        renewed(fleet)
        folder = with_faults(fleet, "kvm1")
        prepare(fleet)
        whole = died_at(fleet, folder, call, before=before)
        mended(fleet)
        if whole is not None:
            break
    planned = sum(map(len, whole.all_steps.values())) if whole is not None else 0
    assert call > planned > 3, "each step of the plan changes something, so there is a kill between any two"
