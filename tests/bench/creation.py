# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creating servers with Flotilla, and with a script of qemu-img and virsh."""

from __future__ import annotations

import uuid
from pathlib import Path

from tests.bench.fleet import Fleet
from tests.bench.measure import BenchError, Sample, measured
from tests.bench.no_op import Samples, Say, lab_of
from tests.support.lab_hosts import Lab

SCRIPT = Path(__file__).with_name("create_by_hand.sh")
#: As many at a time as ansible.cfg has forks.
AT_ONCE = 20
_POOL = "/var/lib/libvirt/pools/local"


class Creation:
    """A fleet in use: the hosts are enrolled and have the image, by one stopped server on each. More are created."""

    def __init__(self, lab: Lab, folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        self.lab = lab
        self.count = count
        self.fleet = Fleet(lab, folder, settings={"fleet_reclaim": 0})
        self.fleet.groups["old"] = (len(lab.hosts), {"server_group": "spread", "server_state": "stopped"})

    def prepare(self) -> None:
        self.fleet.reconcile()

    def by_flotilla(self, state: str) -> Sample:
        self.fleet.groups["new"] = (self.count, {"server_state": state})
        sample = self.fleet.reconcile()
        self._expect(self.count, running=state == "active")
        self.fleet.groups["new"] = (self.count, {"server_state": "absent"})
        self.fleet.reconcile("-e", "fleet_allow=delete")
        self._expect(0, running=False)
        return sample

    def by_hand(self, state: str) -> Sample:
        hosts = self.lab.hosts
        names = [f"new-{index:02}" for index in range(1, self.count + 1)]
        lines = [
            f"{name} {hosts[index % len(hosts)]} {uuid.uuid4()} 10.220.0.{index + 2}\n"
            for index, name in enumerate(names)
        ]
        todo = self.fleet.folder / "by-hand.txt"
        todo.write_text("".join(lines))
        facts = [self.lab.facts["ssh_config"], self.lab.control / "%C", self._image()]
        sample = measured([SCRIPT, *facts, state, str(AT_ONCE), todo], self.fleet.env, todo.with_suffix(".log"))
        self._expect(self.count, running=state == "active")
        self._remove(names)
        return sample

    def _image(self) -> str:
        """The image as Flotilla has put it into the hosts' pool; the script uses the same file."""
        (image,) = (file for file in self.lab.pool("local", self.lab.hosts[0]).glob("image-*") if not file.suffix)
        return f"{_POOL}/{image.name}"

    def _new(self, *selected: str) -> dict[str, list[str]]:
        """The created servers' domains by host."""
        return {
            host: [
                name for name in self.lab.virsh(host, "list", "--name", *selected).split() if name.startswith("new-")
            ]
            for host in self.lab.hosts
        }

    def _expect(self, count: int, *, running: bool) -> None:
        found = self._new() if running else self._new("--all")
        if sum(map(len, found.values())) != count:
            raise BenchError(f"{count} servers should be there, these are: {found}")

    def _remove(self, names: list[str]) -> None:
        """What the script has made, past all measuring."""
        for host, running in self._new().items():
            for name in running:
                self.lab.virsh(host, "destroy", name)
        for host, defined in self._new("--all").items():
            for name in defined:
                self.lab.virsh(host, "undefine", name)
            for name in names:
                for file in self.lab.pool("local", host).glob(f"{name}-*"):
                    file.unlink()


def measure_creation(
    folder: Path, *, count: int, hosts: int, repeat: int, states: tuple[str, ...], say: Say
) -> Samples:
    samples: Samples = {}

    def add(name: str, sample: Sample) -> None:
        samples.setdefault(name, []).append(sample)
        say(f"{name}: {sample.seconds:.2f} s, load {sample.load:.1f}")

    with lab_of("bench0", hosts) as lab:
        creation = Creation(lab, folder / "creation", count)
        creation.prepare()
        for _ in range(repeat):
            for state in states:
                add(f"create {count} {state}", creation.by_flotilla(state))
                add(f"script, {count} {state}", creation.by_hand(state))
    return samples
