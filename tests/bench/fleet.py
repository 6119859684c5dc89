# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet as its operator would write it: groups with ranges of servers, and group variables."""

from __future__ import annotations

import dataclasses
import itertools
import os
import typing as t
from pathlib import Path

import yaml
from tests.bench.measure import BenchError, Sample, measured
from tests.support.lab_hosts import Lab

ROOT = Path(__file__).resolve().parents[2]
#: Servers in a group; each group has its own flavor, so that not all servers are alike.
_GROUP = 20
_FLAVORS = {"m1.tiny": {"vcpus": 1, "ram": 128, "disk": 1}, "m1.small": {"vcpus": 1, "ram": 144, "disk": 1}}

Variables = dict[str, t.Any]


@dataclasses.dataclass
class Fleet:
    """An inventory folder on the hosts of a lab. ``groups``: the number of servers and their variables, by group."""

    lab: Lab
    folder: Path
    groups: dict[str, tuple[int, Variables]] = dataclasses.field(default_factory=dict)
    settings: Variables = dataclasses.field(default_factory=dict)
    _turns: t.Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def declare_many(self, count: int, **variables: t.Any) -> None:
        """So many servers, in groups of 20."""
        for index, first in enumerate(range(0, count, _GROUP), start=1):
            flavor = list(_FLAVORS)[index % len(_FLAVORS)]
            metadata = {"server_metadata": {"tier": f"app{index}"}}
            self.groups[f"app{index:02}"] = (
                min(_GROUP, count - first),
                {"server_flavor": flavor, **metadata, **variables},
            )

    @property
    def names(self) -> list[str]:
        return [f"{group}-{n:02}" for group, (count, _) in self.groups.items() for n in range(1, count + 1)]

    def write(self) -> None:
        files: dict[str, Variables] = {
            "group_vars/all": {**_catalogs(self.lab, self.folder), **self.settings},
            "group_vars/computes": {"compute_allocation_ratio": {"vcpus": 1000.0, "memory": 100.0, "disk": 100.0}},
            "02-servers": {
                "servers": {
                    "vars": {"server_image": "tick", "server_networks": ["lan"], "server_flavor": "m1.tiny"},
                    "children": {
                        group: {"hosts": {f"{group}-[01:{count:02}]": None}, "vars": variables}
                        for group, (count, variables) in self.groups.items()
                    },
                }
            },
        }
        (self.inventory / "group_vars").mkdir(parents=True, exist_ok=True)
        (self.inventory / "01-computes.yml").write_text(self.lab.inventory)
        for name, content in files.items():
            (self.inventory / f"{name}.yml").write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    def reconcile(self, *arguments: str) -> Sample:
        """One measured run of the reconcile playbook over what is declared now."""
        self.write()
        return self.play(ROOT / "playbooks" / "reconcile.yml", self.inventory, *arguments)

    def settle(self, *arguments: str) -> Sample:
        """A run that carries out what is declared, and a second one that must find nothing to do."""
        first = self.reconcile(*arguments)
        self.no_op()
        return first

    def no_op(self) -> Sample:
        return unchanged(self.reconcile())

    def play(self, playbook: Path, inventory: Path, *arguments: str) -> Sample:
        command: list[str | Path] = ["ansible-playbook", "-i", inventory, playbook, *arguments]
        return measured(command, self.env, self.folder / f"{next(self._turns):03}-{playbook.stem}.log")

    @property
    def env(self) -> dict[str, str]:
        """One for all that is measured: the checkout's ansible.cfg; the benchmark's collections beside its own."""
        return {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.dev'}:{ROOT / '.cache' / 'bench'}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.lab.control),
            "HOME": os.environ.get("HOME", "/root"),
            "LANG": "C.UTF-8",
            "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    def domains(self) -> dict[str, str]:
        """The host of each domain, by the domain's name, whoever made it."""
        found: dict[str, str] = {}
        for host in self.lab.hosts:
            found.update(dict.fromkeys(self.lab.virsh(host, "list", "--all", "--name").split(), host))
        return found


def unchanged(sample: Sample) -> Sample:
    if sample.changed:
        raise BenchError(f"a run that should have had nothing to do changed {sample.changed}:\n{sample.output}")
    return sample


def _catalogs(lab: Lab, folder: Path) -> Variables:
    image = Path(lab.facts["image"])
    checksum = image.with_suffix(".sha256").read_text(encoding="ascii").split()[0]
    # Wider than the lab's own network: a thousand servers want a thousand addresses.
    addresses = {"start": "10.220.1.0", "end": "10.220.254.255"}
    return {
        "fleet_name": lab.name,
        "fleet_ledger": f"sqlite:///{folder / 'fleet.db'}",
        "fleet_flavors": _FLAVORS,
        "fleet_images": {"tick": {"file": str(image), "format": "qcow2", "checksum": f"sha256:{checksum}"}},
        "fleet_networks": {
            "lan": {"bridge": "br0", "cidr": "10.220.0.0/16", "gateway": "10.220.0.1", "allocation_pools": [addresses]}
        },
        "fleet_server_groups": {"spread": {"policy": "soft-anti-affinity"}},
    }
