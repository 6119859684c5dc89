# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Emptying a host whose servers run: one by one, and several at a time."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.bench.measure import BenchError, Sample
from tests.bench.no_op import Samples, Say, lab_of
from tests.support.fleet import Fleet

COUNT = 12
#: How many leave at a time.
ALONE, TOGETHER = 1, 3
#: MiB a second that each move may take. On hosts of their own a move waits for the wire; here all hosts share one
#: machine's processors, and without it what is measured is how many of these there are.
BANDWIDTH = 8
_HOST = "kvm1"
_HOSTS = 3


def name_of(at_once: int, bandwidth: int = BANDWIDTH) -> str:
    limit = f", {bandwidth} MiB/s each" if bandwidth else ""
    return f"drain {COUNT}, {at_once} at a time{limit}"


class Draining:
    """Servers on a pool that all hosts share: their memory is all that moves."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.names = [f"web{number:02}" for number in range(1, COUNT + 1)]
        fleet.compute_defaults = {"compute_allocation_ratio": {"vcpus": 16.0, "memory": 4.0, "disk": 8.0}}
        fleet.declare(*self.names, pool="shared", host=_HOST)

    def prepare(self) -> None:
        self.fleet.reconcile()
        for name in self.names:
            self.fleet.console(name, "tick 1", timeout=300)
            del self.fleet.servers[name]["server_host"]
        self.fleet.reconcile()

    def drained(self, at_once: int, bandwidth: int) -> Sample:
        """The whole playbook; the servers are brought back after it, as fast as it goes."""
        self.fleet.all["fleet_max_concurrent_migrations"] = at_once
        self.fleet.all["fleet_live_migration"] = {"bandwidth": bandwidth}
        load = os.getloadavg()[0]
        run = self.fleet.run("drain", fleet_host=_HOST).ok()
        self._expect(there=False)
        self.fleet.all.update(fleet_max_concurrent_migrations=TOGETHER, fleet_live_migration={})
        self.fleet.run("undrain", fleet_host=_HOST).ok()
        self._expect(there=True)
        return Sample(run.seconds, 0, 0, load, run.stdout)

    def _expect(self, *, there: bool) -> None:
        servers = self.fleet.look().servers
        wrong = [name for name in self.names if (servers[name].host == _HOST) is not there]
        wrong += [name for name in self.names if servers[name].state != "running"]
        if wrong:
            where = "back" if there else "away"
            raise BenchError(f"these should be {where} and run: {', '.join(sorted(set(wrong)))}")


def measure_draining(folder: Path, *, repeat: int, say: Say) -> Samples:
    samples: Samples = {}
    with lab_of("bench0", _HOSTS) as lab:
        draining = Draining(Fleet(lab, folder / "draining", "draining"))
        draining.prepare()
        for _ in range(repeat):
            for bandwidth, at_once in itertools.product((BANDWIDTH, 0), (ALONE, TOGETHER)):
                took = draining.drained(at_once, bandwidth)
                samples.setdefault(name_of(at_once, bandwidth), []).append(took)
                say(f"{name_of(at_once, bandwidth)}: {took.seconds:.1f} s, load {took.load:.1f}")
    return samples
