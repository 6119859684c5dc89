# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves, live and cold, with a fault in each of their phases: after the next reconcile there is one copy of the guest,
with its disk, and nothing is left over.

When in its phase a fault strikes is drawn from SEED. Hosts that die for good, and are evacuated, are in test_severed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import re
import time
import typing as t

import pytest
from tests.e2e.test_severed import strike
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import Running

SEED = int(os.environ.get("SEED", "1"))
#: How the server goes, on which pool, and how many seconds that takes: a third of them is a phase. A guest that writes
#: all the time is none of these: being emulated, it crashes at its new host now and then.
WAYS: dict[str, tuple[dict[str, t.Any], str, float]] = {
    "live, with its disk": ({"bandwidth": 8}, "local", 12.0),
    "live, on a shared disk": ({"bandwidth": 8}, "shared", 9.0),
    "cold, with its disk": ({"live": False, "confirm": True}, "local", 2.1),
    "cold, on a shared disk": ({"live": False, "confirm": True}, "shared", 1.8),
}
PHASES = ("first third", "second third", "last third")
FILLER = "/var/lib/libvirt/pools/local/filler"
FILL = f"fallocate -l $(($(df --output=avail -B1 {FILLER.rpartition('/')[0]} | tail -n 1) - 4194304)) {FILLER}"
_CUT = 5.0


class Struck:
    """A move of the server ``web`` that something befalls, while it goes on."""

    def __init__(self, fleet: Fleet, running: Running, source: str, destination: str, server_id: str) -> None:
        self.fleet, self.running, self.server_id = fleet, running, server_id
        self.source, self.destination = source, destination

    def lab(self, *command: str) -> None:
        self.fleet.lab.ok(*command)

    def cut_for_a_while(self) -> None:
        self.lab("cut", self.destination)
        end = time.monotonic() + _CUT
        while time.monotonic() < end:
            time.sleep(0.1)
        self.lab("join", self.destination)

    def kill_worker(self) -> None:
        """The process on the source that carries out the step, and that outlives its run."""
        journal = self.fleet.lab.tree(self.source, f"/var/lib/flotilla/moves/{self.server_id}.json")
        if journal.exists() and journal.read_text():
            self.fleet.lab("exec", self.source, "kill", "-9", str(json.loads(journal.read_text())["pid"]))


FAULTS: dict[str, t.Callable[[Struck], object]] = {
    "the destination's libvirtd is killed": lambda move: move.lab("crash", move.destination),
    "the destination's power is cut": lambda move: move.lab("power", "off", move.destination),
    "the link is cut for 5 s": Struck.cut_for_a_while,
    "the link is cut to the end of the run": lambda move: move.lab("cut", move.destination),
    "the destination's disk is full": lambda move: move.lab("exec", move.destination, "sh", "-c", FILL),
    "the run is killed": lambda move: move.running.kill(),
    "the worker is killed": Struck.kill_worker,
    "the source's libvirtd is restarted": lambda move: move.lab("restart", move.source),
    "the source's libvirtd is killed": lambda move: move.lab("crash", move.source),
    "the source's power is cut": lambda move: move.lab("power", "off", move.source),
}
#: A cut link is noticed by keep-alives alone, after half a minute.
_SOON = sorted(fault for fault in FAULTS if "link" not in fault)


@dataclasses.dataclass(frozen=True)
class Draw:
    """One move's fate. ``strikes``: seconds after its task has begun."""

    way: str
    phase: str
    fault: str
    strikes: float

    @classmethod
    def of(cls, way: str, phase: str, fault: str) -> Draw:
        third, number = WAYS[way][2] / len(PHASES), PHASES.index(phase)
        moment = random.Random(f"{SEED} {way} {phase} {fault}").uniform(third * number, third * (number + 1))
        return cls(way, phase, fault, round(moment, 2))


def settled(fleet: Fleet, pool: str) -> None:
    """A server that was never moved, and that inventory holds nowhere."""
    fleet.all.update({"fleet_timeout": 12, "fleet_reclaim": 0})
    fleet.computes["kvm3"]["compute_state"] = "disabled"
    fleet.declare("web", pool=pool, host="kvm1")
    fleet.reconcile()
    del fleet.servers["web"]["server_host"]
    fleet.reconcile()
    fleet.console("web", "tick 1", timeout=180)


def boots(fleet: Fleet) -> int:
    """The server is reset: the number of its starts, which is on its disk."""
    server = fleet.look().server("web")

    def counted() -> list[str]:
        return re.findall(r"boots=(\d+)\b", fleet.lab.console(server.host, server.id))

    so_far = len(counted())
    fleet.lab.virsh_inside(server.host, "reset", server.id)
    until(lambda: len(counted()) > so_far, "the guest to count its start", 180)
    return int(counted()[-1])


def check_runs_once(fleet: Fleet) -> None:
    """A move whose run is dead may still be under way: where the guest is to arrive it is paused up to the end, and
    between two hosts' answers it may have changed over."""

    def runs_at() -> set[str]:
        return {domain.host for domain in fleet.look().domains if domain.state == "running"}

    assert len(runs_at() & runs_at()) < 2, "it runs twice"


def broken(fleet: Fleet, draw: Draw, before: int) -> tuple[str, int]:
    """One move with its fault, and the reconcile after it: where the server is, and the starts on its disk."""
    server = fleet.look().server("web")
    destination = "kvm2" if server.host == "kvm1" else "kvm1"
    options, _pool, _within = WAYS[draw.way]
    running = fleet.start("migrate", fleet_server="web", fleet_host=destination, fleet_action_options=options)
    in_time = strike(running, draw.strikes)
    FAULTS[draw.fault](Struck(fleet, running, server.host, destination, server.id))
    running.wait().civil()
    fleet.lab("exec", destination, "rm", "-f", FILLER)
    fleet.lab.heal()
    check_runs_once(fleet)
    fleet.reconcile()
    after = fleet.whole().server("web")
    assert (after.id, after.addresses, after.state) == (server.id, server.addresses, "running")
    assert fleet.reconcile("--check").all_steps == {}
    now = boots(fleet)
    assert now > before, f"its disk has lost starts: {before} before, {now} now, the last of them by a reset"
    when = "" if in_time else " after its end"
    return f"{'moved' if after.host == destination else 'not moved'}{when}", now


def moves(fleet: Fleet, draws: t.Sequence[Draw], count: t.Callable[[str, object], None]) -> None:
    """One after the other; each goes from where the server is by then."""
    settled(fleet, WAYS[draws[0].way][1])
    now = boots(fleet)
    for draw in draws:
        begun = time.monotonic()
        print(f"SEED={SEED} {draw}")
        ended, now = broken(fleet, draw, now)
        print(f"  {ended}, whole after {time.monotonic() - begun:.1f} s")
        count("fault runs", f"SEED={SEED} 1 move, {draw.way}; {draw.fault} at {draw.strikes} s: {ended}, whole")


def faults_of(way: str) -> list[str]:
    """Where no disk is copied it doesn't matter how full that of the destination is."""
    return [fault for fault in FAULTS if "disk is full" not in fault or WAYS[way][1] == "local"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("way", "phase"), list(itertools.product(WAYS, PHASES)))
def test_a_move_with_any_fault_in_any_phase_leaves_the_server_once(
    fleet: Fleet, way: str, phase: str, record_property: t.Callable[[str, object], None]
) -> None:
    moves(fleet, [Draw.of(way, phase, fault) for fault in faults_of(way)], record_property)


@pytest.mark.soak
def test_a_move_with_a_fault_leaves_the_server_once(
    fleet: Fleet, record_property: t.Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    way = chance.choice(sorted(WAYS))
    fault = chance.choice(sorted(set(_SOON) & set(faults_of(way))))
    moves(fleet, [Draw.of(way, chance.choice(PHASES), fault)], record_property)
