# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of actions killed with -9 at each boundary of their steps: no disk is lost, and nothing is left of nobody.

A boundary is a task of the run, or a call that changes something on the host (each step makes at least one). There the
controller is killed with all its processes, what it had begun on the host goes on; or the module on the host dies, and
the run with it. Then come a reconcile run, the same action again (it ends, or is refused because it is done), and the
way back: the server's disks have what was written to them before, and doctor finds nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
import typing as t

import pytest
from tests.e2e.test_doctor import findings
from tests.e2e.test_killed import with_faults
from tests.e2e.test_saving import act, refused, same
from tests.support.disk_mark import lost_mark, write_mark
from tests.support.fleet import Fleet
from tests.support.kills import SEED, onwards
from tests.support.lab_hosts import until
from tests.support.runs import KillAt, Run
from tests.support.world import Domain

TASKS = ("Plan the action", "Fetch the images", "Carry out the action")


@dataclasses.dataclass(frozen=True)
class Deed:
    """An action, what leads to where it can be asked for, what leads back, and the roles of disks that live on."""

    action: str
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    first: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ("root", "ephemeral0")


DEEDS = {
    "resize": Deed("resize", {"flavor": "large"}, back=("revert_resize",)),
    "revert_resize": Deed("revert_resize", first=("resize",)),
    "rebuild": Deed("rebuild", keeps=("ephemeral0",)),
    "shelve": Deed("shelve", back=("unshelve",)),
    "unshelve": Deed("unshelve", first=("shelve",)),
    "snapshot": Deed("snapshot"),
    "rescue": Deed("rescue", back=("unrescue",)),
    "unrescue": Deed("unrescue", first=("rescue",)),
}


class Bench:
    """One server, whose disks are marked, and the host that it is on."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.folder = with_faults(fleet, "kvm1")
        fleet.all["fleet_flavors"] |= {
            "roomy": {"vcpus": 1, "ram": 128, "disk": 1, "ephemeral": 1},
            "large": {"vcpus": 2, "ram": 192, "disk": 1, "ephemeral": 1},
        }
        fleet.declare("a", flavor="roomy", shutdown_timeout=20, state="stopped")
        fleet.reconcile()
        self.server = fleet.look().server("a")
        self.mark()
        fleet.declare("a", state="active")
        fleet.reconcile()
        fleet.console("a", "tick 1")
        self._snapshots = itertools.count(1)

    def mark(self) -> None:
        for role in ("root", "ephemeral0"):
            write_mark(self.fleet.lab, "kvm1", "local", f"{self.server.id}-{role}")

    def lost(self, roles: t.Iterable[str]) -> list[str]:
        """The disks that have not what was written to them."""
        read = ((role, lost_mark(self.fleet.lab, "kvm1", "local", f"{self.server.id}-{role}")) for role in roles)
        return [f"{role}: {said}" for role, said in read if said]

    def options(self, deed: Deed) -> dict[str, t.Any]:
        if deed.action == "snapshot":
            return {"name": f"kept-{next(self._snapshots)}"}
        return dict(deed.options)

    def calls(self) -> int:
        """How many calls have changed something on the host since the last run began."""
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def at_rest(self) -> None:
        """What a killed run has begun on the host has ended."""
        until(lambda: self.fleet.lab.modules("kvm1") == 0, "the host's module to end", timeout=180)

    def found(self) -> Domain:
        return self.fleet.look().server("a")


def start(bench: Bench, deed: Deed, options: dict[str, t.Any], **more: t.Any) -> t.Any:
    (bench.folder / "calls").unlink(missing_ok=True)
    given: dict[str, t.Any] = {"fleet_action_options": options} if options else {}
    return bench.fleet.start("action", fleet_server="a", fleet_action=deed.action, **given, **more)


def killed_at_task(bench: Bench, deed: Deed, options: dict[str, t.Any], task: str) -> bool:
    """The controller, when it begins a task; False where it has none of that name."""
    handler = KillAt(
        1, lambda event: event["event"] == "playbook_on_task_start" and event["event_data"].get("task") == task
    )
    start(bench, deed, options, on_event=handler).wait()
    return handler.killed.is_set()


def killed_at_call(bench: Bench, deed: Deed, options: dict[str, t.Any], call: int) -> bool:
    """The controller, once so many changes were made on the host; False where there were fewer."""
    running = start(bench, deed, options)
    while running.alive and bench.calls() < call:
        time.sleep(0.002)
    reached = bench.calls() >= call
    running.kill()
    running.wait()
    return reached


def died_at_call(bench: Bench, deed: Deed, options: dict[str, t.Any], call: int) -> bool:
    """The module, right after its change of that number; False where there were fewer."""
    (bench.folder / "die_at").write_text(str(call))
    run: Run = start(bench, deed, options).wait()
    died = not (bench.folder / "die_at").exists()
    (bench.folder / "die_at").unlink(missing_ok=True)
    assert died == (run.rc != 0), str(run)
    return died


def made_good(bench: Bench, deed: Deed, options: dict[str, t.Any], *, waits: bool, again_first: bool = False) -> None:
    """A run of reconcile and the action again, or the other way round, and the way back. Where it doesn't *wait*, a run
    of reconcile comes beside what the killed one has begun: it may find that all has changed, and does no harm."""
    fleet = bench.fleet
    if not waits:
        fleet.run().civil()
    bench.at_rest()
    if not again_first:
        fleet.reconcile()
        check(bench, deed)
    again = act(fleet, deed.action, **options).civil()
    assert again.rc == 0 or done_already(again), str(again)
    if again_first:
        fleet.reconcile()
        check(bench, deed)
    for action in deed.back:
        act(fleet, action).civil()
    fleet.reconcile()
    check(bench, deed)
    fleet.whole()
    last = fleet.reconcile("--check")
    assert (last.all_steps, last.held("a")) == ({}, []), str(last)
    assert bench.found().state == "running"
    if "root" not in deed.keeps:
        marked_anew(bench)


def done_already(run: Run) -> bool:
    """Whether an action was refused because a run before has done it, to the end or after it was killed."""
    return any(words in refused(run) for words in ("while it is in vm_state", "has an image"))


def marked_anew(bench: Bench) -> None:
    """A fresh root disk has no mark yet; it gets its own, as the first one did."""
    bench.fleet.declare("a", state="stopped")
    bench.fleet.reconcile()
    bench.mark()
    bench.fleet.declare("a", state="active")
    bench.fleet.reconcile()


def check(bench: Bench, deed: Deed) -> None:
    """Disks, identity, and what doctor says."""
    now = bench.fleet.look().servers.get("a")
    assert now is not None, "reconcile has not brought it back"
    assert same(bench.server, now)
    assert bench.lost(deed.keeps) == []
    assert findings(bench.fleet) == {}


@pytest.fixture
def bench(fleet: Fleet) -> Bench:
    return Bench(fleet)


def prepared(bench: Bench, deed: Deed) -> None:
    for action in deed.first:
        act(bench.fleet, action, **bench.options(DEEDS[action])).ok()


Kill = t.Callable[[Bench, Deed, dict[str, t.Any], t.Any], bool]
WAYS: dict[str, Kill] = {"controller": killed_at_call, "module": died_at_call}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DEEDS)
def test_an_action_killed_somewhere_is_made_good(bench: Bench, name: str) -> None:
    chance = random.Random(f"{SEED} {name}")
    for way, kill in WAYS.items():
        deed = DEEDS[name]
        prepared(bench, deed)
        options = bench.options(deed)
        call, waits = chance.randint(1, 4), chance.random() < 0.5
        print(f"SEED={SEED} {name}: the {way} at call {call}; the next run waits: {waits}")
        kill(bench, deed, options, call)
        made_good(bench, deed, options, waits=waits, again_first=way == "module")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", DEEDS)
def test_an_action_killed_at_each_boundary_of_its_steps_is_made_good(bench: Bench, name: str) -> None:
    deed = DEEDS[name]
    reached = 0
    for task in TASKS:
        prepared(bench, deed)
        options = bench.options(deed)
        assert killed_at_task(bench, deed, options, task), f"{name}: its run has no task {task!r}"
        made_good(bench, deed, options, waits=True)
    for way, kill in WAYS.items():
        for call in onwards(f"{name} {way}"):
            prepared(bench, deed)
            options = bench.options(deed)
            print(f"{name}: the {way} at call {call}")
            was = kill(bench, deed, options, call)
            made_good(bench, deed, options, waits=call % 2 == 0, again_first=way == "module")
            if not was:
                break
            reached += 1
        assert reached, f"{way}: {name} has changed nothing"
