# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moving a running server to another host with Flotilla's task, and with virsh migrate."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.bench.measure import BenchError, Sample
from tests.bench.no_op import Samples, Say, lab_of
from tests.support.fleet import Fleet

TASK = "Move the server"
#: What Nova's steps begin with, and a small guest is moved within the first: virsh is given the same, in ms.
_MAX_DOWNTIME = 50
_HOSTS = ("kvm1", "kvm2")


class Moving:
    """One server on a pool that both hosts share: its memory is all that moves."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        fleet.declare("web", pool="shared", host=_HOSTS[0])

    def prepare(self) -> None:
        self.fleet.reconcile()
        self.fleet.console("web", "tick 3")
        del self.fleet.servers["web"]["server_host"]
        self.fleet.reconcile()

    def by_flotilla(self, _here: str, to: str) -> tuple[Sample, Sample]:
        """The task's own time, as Ansible has it, and the guest's downtime."""
        load = os.getloadavg()[0]
        run = self.fleet.run("migrate", fleet_server="web", fleet_host=to).ok()
        ended = next(
            event["event_data"]
            for event in run.events
            if event["event"] == "runner_on_ok" and event["event_data"].get("task") == TASK
        )
        downtime = ended["res"]["migration"]["downtime"] / 1000
        return Sample(ended["duration"], 0, 0, load, run.stdout), Sample(downtime, 0, 0, load, run.stdout)

    def by_virsh(self, here: str, to: str) -> tuple[Sample, Sample]:
        """The run after it takes the server over where virsh has brought it."""
        lab = self.fleet.lab
        lab.virsh(here, "migrate-setmaxdowntime", "web", str(_MAX_DOWNTIME))
        load, started = os.getloadavg()[0], time.monotonic()
        flags = ("--live", "--p2p", "--persistent", "--undefinesource", "--unsafe")
        lab.virsh(here, "migrate", *flags, "web", f"qemu+tcp://{to}/system")
        seconds = time.monotonic() - started
        said = lab.virsh(to, "domjobinfo", "--completed", "web")
        downtime = re.search(r"Total downtime:\s+(\d+)", said)
        if downtime is None:
            raise BenchError(f"virsh says nothing of the downtime: {said}")
        self.fleet.reconcile()
        return Sample(seconds, 0, 0, load, said), Sample(int(downtime[1]) / 1000, 0, 0, load, said)


def measure_moving(folder: Path, *, repeat: int, say: Say) -> Samples:
    samples: Samples = {}
    with lab_of("bench0", len(_HOSTS)) as lab:
        moving = Moving(Fleet(lab, folder / "moving", "moving"))
        moving.prepare()
        ways = {"migrate": moving.by_flotilla, "virsh migrate": moving.by_virsh}
        here, to = _HOSTS
        for number in range(repeat):
            # There and back, and each way in both directions: a guest may stand still longer in one than in the other.
            for name in sorted(ways, reverse=bool(number % 2)):
                took, stood = ways[name](here, to)
                here, to = to, here
                samples.setdefault(name, []).append(took)
                samples.setdefault(f"downtime, {name}", []).append(stood)
                told = f"{took.seconds:.2f} s, downtime {1000 * stood.seconds:.0f} ms, load {took.load:.1f}"
                say(f"{name} to {here}: {told}")
    return samples
