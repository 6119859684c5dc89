# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing a dead host's servers back with Flotilla, and by hand with virsh: the same servers, on the same hosts."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from tests.bench.creation import AT_ONCE
from tests.bench.fleet import ROOT, Fleet
from tests.bench.measure import BenchError, Sample, measured
from tests.bench.no_op import Samples, Say, lab_of
from tests.support.lab_hosts import Lab

SCRIPT = Path(__file__).with_name("evacuate_by_hand.sh")
_VICTIM = "kvm1"


class Evacuation:
    """A fleet whose new servers run on one host, with their disks in a pool that all hosts share."""

    def __init__(self, lab: Lab, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self.lab = lab
        self.count = count
        self.fleet = Fleet(lab, folder)
        # So that every host is enrolled, has the image and knows the pool, as in a fleet in use.
        old = {"server_group": "spread", "server_state": "stopped", "server_pool": "shared"}
        self.fleet.groups["old"] = (len(lab.hosts), old)
        self.fleet.groups["new"] = (count, {"server_host": _VICTIM, "server_pool": "shared"})

    def prepare(self) -> None:
        """As if there had been no run before: all of them run on the host that is to die."""
        self.lab.heal()
        self.lab.wipe()
        for file in self.fleet.folder.glob("fleet.db*"):
            file.unlink()
        self.fleet.reconcile()
        self._expect({_VICTIM: self.count})

    def by_flotilla(self) -> tuple[Sample, Sample]:
        """The playbook, from its start to when the last server runs, and to its own end. The host's power is
        proven by word, so no fence agent's time is in it."""
        self.lab.ok("power", "off", _VICTIM)
        given = ["-e", f"fleet_host={_VICTIM}", "-e", "fleet_fenced='the benchmark has switched it off'"]
        began = time.time()
        sample = self.fleet.play(ROOT / "playbooks" / "evacuate.yml", self.fleet.inventory, *given)
        return dataclasses.replace(sample, seconds=self._last_running() - began), sample

    def by_hand(self) -> Sample:
        """The same domains on the same hosts, defined and started anew by a script, until the last one runs."""
        folder = self.fleet.folder / "by-hand"
        folder.mkdir(exist_ok=True)
        lines = []
        for host in self._running():
            for name in self._new(host):
                (folder / f"{name}.xml").write_text(self.lab.virsh(host, "dumpxml", "--inactive", name))
                lines.append(f"{name} {host} {folder / name}.xml\n")
                self.lab.virsh(host, "destroy", name)
                self.lab.virsh(host, "undefine", name)
        before = self._running()
        if sum(before.values()):
            raise BenchError(f"no server should run before they are started by hand, these do: {before}")
        todo = folder / "list"
        todo.write_text("".join(lines))
        facts = [self.lab.facts["ssh_config"], self.lab.control / "%C", str(AT_ONCE), todo]
        began = time.time()
        sample = measured([SCRIPT, *facts], self.fleet.env, folder / "log")
        return dataclasses.replace(sample, seconds=self._last_running() - began)

    def _last_running(self) -> float:
        """When libvirt last wrote down the state of one of the new servers: the last of them runs since then. Flotilla
        writes each one's record once more after its start, which counts against it."""
        if sum(self._running().values()) != self.count:
            raise BenchError(f"{self.count} servers should run, these do: {self._running()}")
        times = []
        for host in self.lab.hosts:
            if self.lab.is_on(host):
                status = self.lab.ok("exec", host, "sh", "-c", "stat -c '%.Y %n' /run/libvirt/qemu/new-*.xml")
                times += [float(line.split()[0]) for line in status.splitlines()]
        return max(times)

    def _new(self, host: str) -> list[str]:
        return [name for name in self.lab.virsh(host, "list", "--name").split() if name.startswith("new-")]

    def _running(self) -> dict[str, int]:
        """How many of the new servers run, by host that is on."""
        return {host: len(self._new(host)) for host in self.lab.hosts if self.lab.is_on(host)}

    def _expect(self, counts: dict[str, int]) -> None:
        found = {host: count for host, count in self._running().items() if count}
        if found != counts:
            raise BenchError(f"servers should run as {counts}, they do as {found}")


def measure_evacuation(folder: Path, *, count: int, hosts: int, repeat: int, say: Say) -> Samples:
    samples: Samples = {}

    def add(name: str, sample: Sample) -> None:
        samples.setdefault(name, []).append(sample)
        say(f"{name}: {sample.seconds:.2f} s, load {sample.load:.1f}")

    with lab_of("bench0", hosts) as lab:
        evacuation = Evacuation(lab, folder / "evacuation", count)
        for _ in range(repeat):
            evacuation.prepare()
            running, ended = evacuation.by_flotilla()
            add(f"evacuate {count}", running)
            add(f"evacuate {count}, to its table", ended)
            add(f"virsh, {count}", evacuation.by_hand())
    return samples
