# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A no-op reconcile, and the same servers held by a playbook that loops over community.libvirt.virt."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import yaml
from tests.bench.fleet import Fleet, unchanged
from tests.bench.measure import BenchError, Sample
from tests.support.lab_hosts import Lab

LOOP = Path(__file__).with_name("virt_loop.yml")

Samples = dict[str, list[Sample]]
Say = t.Callable[[str], None]


@contextlib.contextmanager
def lab_of(name: str, hosts: int) -> t.Iterator[Lab]:
    lab = Lab(name)
    lab.up(hosts)
    try:
        yield lab
    finally:
        lab.down()


class Standing:
    """A fleet of servers that are there and stopped, as declared."""

    def __init__(self, lab: Lab, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self.count = count
        self.fleet = Fleet(lab, folder)
        self.fleet.declare_many(count, server_state="stopped")

    def make(self) -> Sample:
        """The fleet makes itself. The run after that has connections, caches and bytecode warm."""
        made = self.fleet.settle()
        self._write_loop()
        return made

    def no_op(self) -> Sample:
        return self.fleet.no_op()

    def loop(self) -> Sample:
        return unchanged(self.fleet.play(LOOP, self._hand))

    @property
    def _hand(self) -> Path:
        return self.fleet.folder / "by-hand"

    def _write_loop(self) -> None:
        """The inventory for the loop: whoever works without Flotilla has written down where each server is."""
        hosts = self.fleet.domains()
        missing = set(self.fleet.names) - set(hosts)
        if missing:
            raise BenchError(f"these servers are on no host after reconcile: {', '.join(sorted(missing))}")
        servers = {name: {"kvm_host": hosts[name]} for name in self.fleet.names}
        self._hand.mkdir()
        (self._hand / "01-computes.yml").write_text(self.fleet.lab.inventory)
        (self._hand / "02-servers.yml").write_text(yaml.safe_dump({"servers": {"hosts": servers}}))


def measure_no_op(folder: Path, *, servers: int, many: int, hosts: int, repeat: int, say: Say) -> Samples:
    """By turns, so that whatever else the machine does meets all alike. ``many`` 0: without the large fleet."""
    with contextlib.ExitStack() as stack:
        counts = [servers, many] if many else [servers]
        fleets = [
            Standing(stack.enter_context(lab_of(f"bench{i}", hosts)), folder / f"fleet{i}", count)
            for i, count in enumerate(counts)
        ]
        samples: Samples = {}

        def add(name: str, sample: Sample) -> None:
            samples.setdefault(name, []).append(sample)
            say(f"{name}: {sample.seconds:.2f} s, load {sample.load:.1f}")

        for standing in fleets:
            add(f"first run, {standing.count} servers", standing.make())
        for _ in range(repeat):
            for standing in fleets:
                add(f"no-op, {standing.count} servers", standing.no_op())
            add(f"community.libvirt.virt, {servers} servers", fleets[0].loop())
        return samples
