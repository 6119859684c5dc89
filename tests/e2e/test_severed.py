# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host dies in the middle of a move, live or cold, at either end of it, and is evacuated: at no time does the server
run twice, and when the host is back it is there once, with its disk."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import re
import shlex
import time
import typing as t

import pytest
from tests.e2e.test_fault_runs import FENCED, check_once
from tests.e2e.test_migrate import DIRTY
from tests.support.fleet import Fleet
from tests.support.runs import Running

SEED = int(os.environ.get("SEED", "1"))
#: How the server goes, and how long that takes: the host dies within this time.
LIVE: dict[str, t.Any] = {"bandwidth": 12, "timeout": 8}
WAYS: dict[str, tuple[dict[str, t.Any], float]] = {
    "live": ({**LIVE, "timeout_action": "pause"}, 14.0),
    "post-copy": ({**LIVE, "timeout_action": "post_copy", "timeout": 3}, 14.0),
    "cold": ({"live": False, "confirm": True}, 2.0),
}
POOLS = ("shared", "local")
ENDS = ("source", "destination")
#: What begins to carry the server over, for each of the ways.
_BEGUN = "Move the server"
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class Draw:
    """One move's fate. ``strikes``: seconds after its task has begun."""

    way: str
    pool: str
    dies: str
    strikes: float

    @classmethod
    def of(cls, way: str, pool: str, dies: str) -> Draw:
        moment = random.Random(f"{SEED} {way} {pool} {dies}").uniform(0.0, WAYS[way][1])
        return cls(way, pool, dies, moment)


def strike(running: Running, seconds: float) -> bool:
    """Wait so long after the move has begun; whether it has not ended by then."""
    while running.alive and not any(event["event_data"].get("task") == _BEGUN for event in list(running.events)):
        time.sleep(0.01)
    until = time.monotonic() + seconds
    while running.alive and time.monotonic() < until:
        time.sleep(0.01)
    return running.alive


def boots(fleet: Fleet) -> int:
    """How often the guest has started, by its own count. One that came running has not told it where it is now, and is
    reset."""
    server = fleet.look().server("web")
    said = fleet.lab.console(server.host, server.id)
    if "tick " in said and "boots=" not in said:
        fleet.lab.virsh_inside(server.host, "reset", server.id)
    return int(re.findall(r"boots=(\d+)", fleet.console("web", "boots=", timeout=180))[-1])


def delete_left(fleet: Fleet) -> None:
    """What the move had begun to copy, and nobody needs: doctor knows nothing worse, and says what deletes it."""
    for found in fleet.run("doctor").ok().results("Examine the fleet")["localhost"]["findings"]:
        assert found["kind"] == "left_volume", found
        *_ansible, command = shlex.split(found["command"].rpartition(": ")[2])
        fleet.lab.ok("exec", found["host"], *shlex.split(command))


def severed(fleet: Fleet, draw: Draw) -> str:
    """One move with its fault; what the evacuation came to."""
    fleet.all.update({"fleet_timeout": 12, "fleet_reclaim": 0})
    fleet.declare("web", pool=draw.pool, host="kvm1", **({} if draw.way == "cold" else {"user_data": DIRTY}))
    fleet.reconcile()
    before = boots(fleet)
    server = fleet.look().server("web")
    del fleet.servers["web"]["server_host"]
    fleet.reconcile()

    options, _within = WAYS[draw.way]
    running = fleet.start("migrate", fleet_server="web", fleet_host="kvm2", fleet_action_options=options)
    in_time = strike(running, draw.strikes)
    dead, lives = ("kvm1", "kvm2") if draw.dies == "source" else ("kvm2", "kvm1")
    fleet.lab.ok("power", "off", dead)
    running.wait().civil()
    check_once(fleet)

    said = []
    # What lies on the dead host's local disk alone is given up: the answer to what would then be lost is in the plan.
    allow: dict[str, t.Any] = {"fleet_allow": "data_loss"} if draw.pool == "local" else {}
    for _turn in range(_TRIES):
        run = fleet.run("evacuate", fleet_host=dead, fleet_fenced=FENCED, **allow).civil()
        check_once(fleet)
        said += run.all_steps.get("web", ["nothing"])
        if run.rc == 0:
            break
        said[-1] = (run.failures or [run.message])[0].splitlines()[0]
        if "Cannot 'evacuate' instance" in said[-1]:
            break  # it waits for its host, as in Nova
        time.sleep(15)  # libvirt gives a severed move up in a minute
    states = fleet.look().states
    assert states.get("web") in (None, "running", "shutoff")

    fleet.lab.heal()
    check_once(fleet)
    for _turn in range(_TRIES):
        run = fleet.run("reconcile").civil()
        check_once(fleet)
        if run.rc == 0 and not run.all_steps:
            break
    else:
        raise AssertionError(f"{_TRIES} runs have not mended it; the last: {run}")
    delete_left(fleet)
    after = fleet.whole().server("web")
    assert (after.id, after.addresses, after.state) == (server.id, server.addresses, "running")
    now = boots(fleet)
    lost = "evacuate" in said and draw.pool == "local"
    assert now >= before or lost, f"its disk has lost starts: {before} before, {now} now"
    return f"{'severed' if in_time else 'ended before'}, on {lives} {states.get('web', 'nowhere')}: {', '.join(said)}"


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("way", "pool", "dies"), list(itertools.product(WAYS, POOLS, ENDS)))
def test_a_move_whose_one_end_dies_is_ended_by_its_evacuation(
    fleet: Fleet, way: str, pool: str, dies: str, record_property: t.Callable[[str, object], None]
) -> None:
    draw = Draw.of(way, pool, dies)
    record_property("fault runs", f"SEED={SEED} {draw}: {severed(fleet, draw)}")
