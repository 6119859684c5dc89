# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations with a fault at a random point, one after the other in one fleet; after each, every server has exactly
one copy, no shared disk was touched by anybody but its guest, and the ledger says what the hosts say.

What happens is drawn from SEED and the chapter's number, and printed: SEED=… and the chapter repeat it. When in a run a
fault strikes is a moment of the machine's, so the same draw may strike a little earlier or later.
"""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.runs import Run, Running, both

SEED = int(os.environ.get("SEED", "1"))
CHAPTERS, RUNS = 20, 10
FENCED = "the test has switched it off"
STEPS = "Carry out the steps"
SHARED = ("kept", "idle")
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class Draw:
    """One run's fate. ``strikes``: seconds after the first step has begun, or after the run's beginning if it is
    negative; ``again``: how often the evacuation is run again before all hosts come back; ``lost``: the ledger is
    lost, before the fault or after it."""

    victim: str
    fault: str
    strikes: float
    again: int
    lost: str

    @classmethod
    def of(cls, chance: random.Random, hosts: t.Sequence[str]) -> Draw:
        faults = ("killed", "killed twice", "destination dies", "victim is back", "second controller", "none")
        strikes = chance.uniform(-6.0, 4.0)
        lost = chance.choice(("", "", "", "before", "after"))
        return cls(chance.choice(hosts), chance.choice(faults), strikes, chance.choice((0, 0, 1, 2)), lost)


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
        self.disks = self.shared_disks()

    def shared_disks(self) -> dict[str, int]:
        """The files of the shared disks: one that was made anew has another number."""
        folder = self.fleet.lab.pool("shared", "kvm1")
        return {name: (folder / f"{self.ids[name]}-root").stat().st_ino for name in SHARED}

    def run(self, draw: Draw) -> None:
        fleet = self.fleet
        fleet.lab.ok("power", "off", draw.victim)
        if draw.lost == "before":
            self.lose_ledger()
        told = [self.struck(draw)]
        if draw.lost == "after":
            self.lose_ledger()
        told += [self.evacuate(draw.victim).wait() for _turn in range(draw.again)]
        for run in told:
            run.civil()
        assert self.shared_disks() == self.disks
        self.mended()

    def evacuate(self, *hosts: str) -> Running:
        allow: dict[str, t.Any] = {} if self._ledger_is_new else {"fleet_allow": "data_loss"}
        return self.fleet.start("evacuate", fleet_host=list(hosts), fleet_fenced=FENCED, **allow)

    @property
    def _ledger_is_new(self) -> bool:
        """It knows nothing of a local server on a dead host: with leave, another would be built beside it."""
        return self.ids["local"] not in self.fleet.snapshot.servers

    def struck(self, draw: Draw) -> Run:
        """An evacuation, and what befalls it."""
        running = self.evacuate(draw.victim)
        if draw.fault == "second controller":
            self._wait(running, draw.strikes)
            return both(running, self.evacuate(draw.victim))[0]
        if draw.fault == "none":
            return running.wait()
        self._wait(running, draw.strikes)
        if draw.fault.startswith("killed"):
            running.kill()
            first = running.wait()
            if draw.fault == "killed":
                return first
            running = self.evacuate(draw.victim)
            self._wait(running, self.chance.uniform(-4.0, 3.0))
            running.kill()
        elif draw.fault == "destination dies":
            others = [host for host in self.fleet.lab.hosts if host != draw.victim]
            self.fleet.lab.ok("power", "off", self.chance.choice(others))
        else:
            self.fleet.lab.ok("power", "on", draw.victim)
        return running.wait()

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

    def lose_ledger(self) -> None:
        for file in self.fleet.folder.glob("fleet.db*"):
            file.unlink()
        self.fleet.run("reconcile", fleet_take_over=True).civil()
        self._taken_over = True

    def mended(self) -> None:
        """All hosts are back: a run or some more, and all is as declared, once."""
        fleet = self.fleet
        fleet.lab.heal()
        more: dict[str, t.Any] = {"fleet_take_over": True} if self._taken_over else {}
        for _try in range(_TRIES):
            run = fleet.run("reconcile", **more).civil()
            if run.rc == 0 and not run.all_steps:
                break
        else:
            raise AssertionError(f"{_TRIES} runs have not mended it; the last: {run}")
        self._taken_over = False
        world = fleet.whole()
        assert {name: server.id for name, server in world.servers.items()} == self.ids
        assert self.shared_disks() == self.disks


def chapter(fleet: Fleet, number: int, runs: int) -> None:
    chance = random.Random(f"{SEED}/{number}")
    its = Chapter(fleet, chance)
    for turn in range(1, runs + 1):
        draw = Draw.of(chance, fleet.lab.hosts)
        print(f"SEED={SEED} chapter {number}, run {turn}: {draw}")
        begun = time.monotonic()
        its.run(draw)
        print(f"  whole after {time.monotonic() - begun:.1f} s")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(1, CHAPTERS + 1))
def test_evacuations_with_faults_at_random_points_leave_each_server_once(fleet: Fleet, number: int) -> None:
    chapter(fleet, number, RUNS)


def test_an_evacuation_with_a_fault_at_a_random_point_leaves_each_server_once(fleet: Fleet) -> None:
    chapter(fleet, 0, 1)
