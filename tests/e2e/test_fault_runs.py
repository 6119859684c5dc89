# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations with a fault at a random point, one after the other in one fleet. At no time does a server run twice;
after each run every server has exactly one copy, no shared disk was touched by anybody but its guest, and the ledger
says what the hosts say.

What happens is drawn from SEED and the chapter's number, and printed: SEED=… and the chapter repeat it. When in a run a
fault strikes is a moment of the machine's, so the same draw may strike a little earlier or later.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import os
import random
import re
import threading
import time
import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.runs import EVACUATES, Run, Running, both

SEED = int(os.environ.get("SEED", "1"))
CHAPTERS, RUNS = 20, 10
FENCED = "the test has switched it off"
STEPS = "Carry out the steps"
SHARED = ("kept", "idle")
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class Draw:
    """One run's fate. ``server``: the one whose host dies; ``strikes``: seconds after the first step has begun, or
    after the run's beginning if it is negative; ``again``: how often the evacuation is run again before all hosts come
    back; ``lost``: the ledger is lost, before the fault or after it."""

    server: str
    fault: str
    strikes: float
    again: int
    lost: str

    @classmethod
    def of(cls, chance: random.Random) -> Draw:
        faults = ("killed", "killed twice", "destination dies", "victim is back", "second controller", "none")
        # Its steps take a second or two, the listening for its hosts' silence before them three.
        strikes = chance.uniform(-6.0, 0.0) if chance.random() < 0.4 else chance.uniform(0.0, 1.5)
        lost = chance.choice(("", "", "", "before", "after"))
        server = chance.choice((*SHARED, "local"))
        return cls(server, chance.choice(faults), strikes, chance.choice((0, 0, 1, 2)), lost)


def check_once(fleet: Fleet) -> None:
    """No server runs on two hosts; what is off may be there twice until it is tidied up."""
    domains = fleet.look().domains
    run = collections.Counter(domain.id for domain in domains if domain.state != "shutoff")
    twice = {f"{d.name} on {d.host}: {d.state}" for d in domains if run[d.id] > 1}
    assert not twice, f"a server runs twice: {sorted(twice)}"


def planned(run: Run) -> Run:
    """An evacuation that nobody has killed has come so far that it looked at where the servers go."""
    assert run.civil().results(EVACUATES), f"the evacuation has come to no plan: {run}"
    return run


class Chapter:
    """A fleet in which runs with faults follow each other."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.fleet = fleet
        self.chance = chance
        fleet.all.update({"fleet_timeout": 12, "fleet_reclaim": 0})
        fleet.declare("kept", pool="shared")
        fleet.declare("idle", pool="shared", state="stopped")
        fleet.declare("local", state="stopped")
        fleet.reconcile()
        self._taken_over = False  # by a ledger that some hosts don't know yet
        self.ids = {name: server.id for name, server in fleet.look().servers.items()}
        folder = fleet.lab.pool("shared", "kvm1")
        self._disks = {name: folder / f"{self.ids[name]}-root" for name in SHARED}
        # As long as they are open here no other file gets their numbers, though they were deleted.
        self._open = contextlib.ExitStack()
        self._files = {name: self._open.enter_context(path.open("rb")) for name, path in self._disks.items()}
        self._idle = self._content("idle")
        self._boots = self.boots()
        self.in_time = 0  # faults that came before their run's end

    def close(self) -> None:
        self._open.close()

    def _content(self, name: str) -> str:
        return hashlib.sha256(self._disks[name].read_bytes()).hexdigest()

    def boots(self) -> int:
        """How often the guest that runs has counted its starts, on its own disk."""
        said = self.fleet.console("kept", "boots=", timeout=180)
        return int(re.findall(r"boots=(\d+)", said)[-1])

    def check_disks(self) -> None:
        """The shared disks are the files that they were; the one of the server that never runs has not changed."""
        for name, path in self._disks.items():
            assert os.path.samestat(os.fstat(self._files[name].fileno()), path.stat()), f"the disk of {name} is another"
        assert self._content("idle") == self._idle, "somebody has written to the disk of idle"

    def run(self, draw: Draw) -> None:
        victim = self.fleet.look().servers[draw.server].host
        self.fleet.lab.ok("power", "off", victim)
        if draw.lost == "before":
            self.lose_ledger()
        self.struck(draw, victim)
        check_once(self.fleet)
        if draw.lost == "after":
            self.lose_ledger()
        for _turn in range(draw.again):
            planned(self.evacuate(victim).wait())
            check_once(self.fleet)
        self.check_disks()
        self.mended()

    def evacuate(self, host: str) -> Running:
        allow: dict[str, t.Any] = {} if self._ledger_is_new else {"fleet_allow": "data_loss"}
        return self.fleet.start("evacuate", fleet_host=host, fleet_fenced=FENCED, **allow)

    @property
    def _ledger_is_new(self) -> bool:
        """It knows nothing of a local server on a dead host: with leave, another would be built beside it."""
        return self.ids["local"] not in self.fleet.snapshot.servers

    def struck(self, draw: Draw, victim: str) -> None:
        """An evacuation, what befalls it, and a second one that comes beside it or after it."""
        running = self.evacuate(victim)
        if draw.fault == "none":
            run = planned(running.wait())
            held = draw.server not in SHARED and draw.lost == "before"
            assert held or run.results(STEPS), f"{draw.server} was not built elsewhere: {run}"
            return
        self._wait(running, draw.strikes)
        if draw.fault == "second controller":
            for run in both(running, self.evacuate(victim)):
                planned(run)
        elif draw.fault == "killed":
            self._kill(running)
        elif draw.fault == "killed twice":
            self._kill(running)
            running = self.evacuate(victim)
            self._wait(running, self.chance.uniform(-4.0, 3.0))
            self._kill(running)
        else:
            others = [host for host in self.fleet.lab.hosts if host != victim]
            dies = draw.fault == "destination dies"
            self.fleet.lab.ok("power", *(("off", self.chance.choice(others)) if dies else ("on", victim)))
            planned(running.wait())

    def _kill(self, running: Running) -> None:
        """One that has ended by then has done what it was to do."""
        in_time = running.alive
        running.kill()
        run = running.wait().civil()
        if not in_time:
            planned(run)

    def _wait(self, running: Running, seconds: float) -> None:
        begun = threading.Event()
        while running.alive and not begun.is_set():
            if seconds < 0 or any(event["event_data"].get("task") == STEPS for event in list(running.events)):
                begun.set()
            else:
                time.sleep(0.01)
        until = time.monotonic() + (seconds + 6.0 if seconds < 0 else seconds)
        while running.alive and time.monotonic() < until:
            time.sleep(0.01)
        self.in_time += running.alive

    def lose_ledger(self) -> None:
        for file in self.fleet.folder.glob("fleet.db*"):
            file.unlink()
        self.fleet.run("reconcile", fleet_take_over=True).civil()
        self._taken_over = True

    def mended(self) -> None:
        """All hosts are back: a run or some more, and all is as declared, once."""
        fleet = self.fleet
        fleet.lab.heal()
        check_once(self.fleet)  # nothing starts by itself on a host that is back
        more: dict[str, t.Any] = {"fleet_take_over": True} if self._taken_over else {}
        for _try in range(_TRIES):
            run = fleet.run("reconcile", **more).civil()
            check_once(self.fleet)
            if run.rc == 0 and not run.all_steps:
                break
        else:
            raise AssertionError(f"{_TRIES} runs have not mended it; the last: {run}")
        self._taken_over = False
        world = fleet.whole()
        assert {name: server.id for name, server in world.servers.items()} == self.ids
        self.check_disks()
        boots = self.boots()
        assert boots >= self._boots, f"the disk of kept has lost starts: {self._boots} before, {boots} now"
        self._boots = boots


def chapter(fleet: Fleet, number: int, runs: int, count: t.Callable[[str, object], None]) -> None:
    chance = random.Random(f"{SEED}/{number}")
    its = Chapter(fleet, chance)
    faults: collections.Counter[str] = collections.Counter()
    with contextlib.closing(its):
        for turn in range(1, runs + 1):
            draw = Draw.of(chance)
            print(f"SEED={SEED} chapter {number}, run {turn}: {draw}")
            begun = time.monotonic()
            its.run(draw)
            faults[draw.fault] += 1
            print(f"  whole after {time.monotonic() - begun:.1f} s")
    told = ", ".join(f"{fault} {times}" for fault, times in sorted(faults.items()))
    struck = f"{its.in_time} faults before their run's end"
    count(
        "fault runs",
        f"SEED={SEED} chapter {number}: {runs} evacuations ({told}; {struck}), each server once after each",
    )


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)  # up to eight runs of Ansible in each of the ten, while others use the machine
@pytest.mark.parametrize("number", range(1, CHAPTERS + 1))
def test_evacuations_with_faults_at_random_points_leave_each_server_once(
    fleet: Fleet, number: int, record_property: t.Callable[[str, object], None]
) -> None:
    chapter(fleet, number, RUNS, record_property)


def test_an_evacuation_with_a_fault_at_a_random_point_leaves_each_server_once(
    fleet: Fleet, record_property: t.Callable[[str, object], None]
) -> None:
    chapter(fleet, 0, 1, record_property)
