# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet as a test declares it: inventory files, runs over them, and its ledger."""

from __future__ import annotations

import copy
import hashlib
import itertools
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from tests.support.lab_hosts import Lab
from tests.support.runs import ROOT, Run, Running
from tests.support.world import World, leftovers

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger, Snapshot

Variables = dict[str, t.Any]


class Fleet:
    """The lab's hosts and the servers that a test declares. Change ``servers``, ``all`` … and run again.

    ``all``: group_vars/all; ``computes``: variables by compute host; ``defaults``: those of the group servers;
    ``servers``: variables by server.
    """

    def __init__(self, lab: Lab, folder: Path, name: str, ledger: str | None = None) -> None:
        self.lab = lab
        self.folder = folder
        self.name = name
        self.ledger_file = folder / "fleet.db"
        self.ledger_url = ledger or f"sqlite:///{self.ledger_file}"
        self.all = _catalogs(lab, name, self.ledger_url)
        self.computes: dict[str, Variables] = {host: {} for host in lab.hosts}
        self.compute_defaults: Variables = {}
        self.defaults: Variables = {"server_image": "tick", "server_flavor": "tiny", "server_networks": ["lan"]}
        self.servers: dict[str, Variables] = {}
        self.env: dict[str, str] = {}
        self.source: Path | None = None  # an inventory that is there already, instead of all this
        self._turns = itertools.count(1)

    # -- what is declared ---------------------------------------------------------------------------------------

    def declare(self, *names: str, **variables: t.Any) -> None:
        """Servers with the given variables (``state="stopped"`` is server_state: stopped)."""
        for name in names:
            self.servers.setdefault(name, {}).update({f"server_{key}": value for key, value in variables.items()})

    def another_image(self, name: str) -> None:
        """The tick image with a few bytes more at its end, which qcow2 doesn't mind: another one, by its checksum."""
        data = Path(self.lab.facts["image"]).read_bytes() + bytes(512)
        file = self.folder / f"{name}.qcow2"
        file.write_bytes(data)
        checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.all["fleet_images"][name] = {"file": str(file), "format": "qcow2", "checksum": checksum}

    @property
    def declared(self) -> dict[str, str]:
        """The names and states of all servers that should be there."""
        states = {name: self._variable(name, "server_state", "active") for name in self.servers}
        return {name: state for name, state in states.items() if state != "absent"}

    def _variable(self, server: str, name: str, default: t.Any) -> t.Any:
        return self.servers[server].get(name, self.defaults.get(name, default))

    @property
    def inventory(self) -> Path:
        return self.source or self.folder / "inventory"

    def write(self) -> Path:
        """The inventory's files, anew."""
        (self.inventory / "group_vars").mkdir(parents=True, exist_ok=True)
        (self.inventory / "01-lab.yml").write_text(self.lab.inventory)
        computes = {"computes": {"hosts": self.computes, "vars": self.compute_defaults}}
        servers = {"servers": {"hosts": self.servers, "vars": self.defaults}}
        for name, content in (("02-computes", computes), ("03-servers", servers), ("group_vars/all", self.all)):
            (self.inventory / f"{name}.yml").write_text(yaml.safe_dump(copy.deepcopy(content), sort_keys=False))
        return self.inventory

    # -- runs ---------------------------------------------------------------------------------------------------

    def start(
        self,
        playbook: str | Path = "reconcile",
        *arguments: str,
        write: bool = True,
        on_event: t.Callable[[dict[str, t.Any]], None] | None = None,
        **extra: t.Any,
    ) -> Running:
        """A run beside the test: a playbook of Flotilla by name, or one by path; options; variables as with -e."""
        if write and self.source is None:
            self.write()
        path = ROOT / "playbooks" / f"{playbook}.yml" if isinstance(playbook, str) else playbook
        env = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.lab.control), **self.env}
        private = self.folder / "runs" / str(next(self._turns))
        return Running(
            private, path, inventory=self.inventory, arguments=arguments, extra=extra, env=env, on_event=on_event
        )

    def run(self, playbook: str | Path = "reconcile", *arguments: str, write: bool = True, **extra: t.Any) -> Run:
        return self.start(playbook, *arguments, write=write, **extra).wait()

    def reconcile(self, *arguments: str, **extra: t.Any) -> Run:
        """A run that ends well."""
        return self.run("reconcile", *arguments, **extra).ok()

    def touching(self, *names: str, **extra: t.Any) -> Run:
        """A run that ends well, has steps for exactly these servers, and has left every other domain as it was."""
        before = self.look()
        run = self.reconcile(**extra)
        assert set(run.all_steps) == set(names), str(run)
        assert self.look().but(*names) == before.but(*names)
        return run

    def command(self, program: str, *arguments: str, **environment: str) -> str:
        """What a program of Ansible's prints that ends well, as a person calls it: with no limit of time."""
        env = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.lab.control),
            "HOME": os.environ["HOME"],
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            **environment,
        }
        command = [program, *arguments]
        done = subprocess.run(command, env=env, cwd=ROOT, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    # -- what is there ------------------------------------------------------------------------------------------

    def look(self) -> World:
        return self.lab.look()

    @property
    def ledger(self) -> Ledger:
        found = Ledger.open(self.ledger_url, create=False)
        assert found is not None, "the fleet has no ledger"
        return found

    @property
    def snapshot(self) -> Snapshot:
        return self.ledger.snapshot()

    def console(self, name: str, text: str, *, times: int = 1, timeout: float = 90) -> str:
        """A running server's console, once it has said *text* so often."""
        server = self.look().server(name)
        return self.lab.wait_for(server.host, server.id, text, times=times, timeout=timeout)

    def whole(self) -> World:
        """The hosts, after a look whether hosts, ledger and inventory fit together to the last volume."""
        world = self.look()
        wrong = leftovers(world, self.snapshot, self.declared, self.ledger.catalog("image"))
        assert not wrong, "\n".join(wrong)
        return world


def _catalogs(lab: Lab, name: str, ledger: str) -> Variables:
    image = Path(lab.facts["image"])
    network = lab.facts["guest_network"]
    begin = network.rpartition(".")[0]
    return {
        "fleet_name": name,
        "fleet_ledger": ledger,
        "fleet_flavors": {
            "tiny": {"vcpus": 1, "ram": 128, "disk": 1},
            "small": {"vcpus": 1, "ram": 192, "disk": 1},
        },
        "fleet_images": {
            "tick": {
                "file": str(image),
                "format": "qcow2",
                "checksum": "sha256:" + image.with_suffix(".sha256").read_text().split()[0],
            }
        },
        "fleet_networks": {
            "lan": {
                "bridge": "br0",
                "cidr": network,
                "gateway": lab.facts["guest_gateway"],
                "allocation_pools": [{"start": f"{begin}.100", "end": f"{begin}.199"}],
            }
        },
    }
