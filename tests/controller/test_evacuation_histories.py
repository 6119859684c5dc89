# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations with faults at random points, over hosts made of dictionaries and the real ledger: after each history
every server has exactly one copy, none has ever run twice, no shared disk was made anew or deleted, and the ledger says
what the hosts say. tests/e2e/test_fault_runs.py does the same on real hosts, where a history takes half a minute.
"""

from __future__ import annotations

import dataclasses
import os
import random
import typing as t
from pathlib import Path

import pytest
from tests.support.model_fleet import ModelFleet, ModuleKilled, RunKilled

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.lost import Lost

SEED = int(os.environ.get("SEED", "1"))
FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"small": {"vcpus": 1, "ram": 256, "disk": 1}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": "sha256:" + "a" * 64}},
    "fleet_networks": {"lan": {"bridge": "br0", "cidr": "192.0.2.0/24", "gateway": "192.0.2.1"}},
    "fleet_reclaim": 0,
}
HOSTS = ("kvm1", "kvm2", "kvm3", "kvm4")
WEB = {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"]}
SERVERS: dict[str, dict[str, t.Any]] = {
    "web1": {**WEB, "server_pool": "shared"},
    "web2": {**WEB, "server_pool": "shared", "server_state": "stopped"},
    "web3": {**WEB, "server_pool": "shared"},
    "local1": {**WEB, "server_pool": "local", "server_state": "stopped"},
    "local2": {**WEB, "server_pool": "local"},
}
_TRIES = 5


class History:
    """One fleet's fate. Each fault is drawn; each that strikes is written down."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.told: list[str] = []
        self.fleet = ModelFleet(folder, dict(FLEET), HOSTS, SERVERS)
        assert self.reconcile()
        assert list(self.fleet.wrong()) == []
        self.disks = dict(self.fleet.shared)
        self.roots = self.fleet.roots()
        self.may_lose = False

    def reconcile(self, *, fault: bool = False) -> bool:
        """Whether a run has ended well, with nothing left to do for the next."""
        return self._run("reconcile", None, fault=fault)

    def _run(self, command: str, lost: Lost | None, *, fault: bool) -> bool:
        fleet = self.fleet
        run_id = fleet.start_run(command)
        try:
            plan = fleet.plan(run_id, lost)
        except FlotillaError as exc:
            self.told.append(f"{command}: refused, {exc}")
            fleet.end(run_id, "failed")
            return False
        other = self.chance.random() < 0.15 if fault else False
        if other:
            self.told.append("a second controller")
            self._run("evacuate" if lost is not None else "reconcile", lost, fault=False)
        fleet.call = self._fuse() if fault else lambda _host: None
        try:
            well = fleet.carry_out(plan, run_id)
        except RunKilled:
            fleet.kill(run_id)
            return False
        finally:
            fleet.call = lambda _host: None
        fleet.end(run_id, "done" if well else "failed")
        return well

    def _fuse(self) -> t.Callable[[str], None]:
        """A fault at some call from now on."""
        left = self.chance.randint(1, 12)
        fault = self.chance.choice(("run killed", "run killed", "module killed", "host dies", "a host is back", "none"))

        def call(host: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._strike(fault, host)

        return call

    def _strike(self, fault: str, host: str) -> None:
        self.told.append(f"{fault} at a call on {host}")
        if fault == "run killed":
            raise RunKilled
        if fault == "module killed":
            raise ModuleKilled
        if fault == "host dies":
            self.power(host, on=False)
        if fault == "a host is back":
            for name in HOSTS:
                self.power(name, on=True)

    def power(self, name: str, *, on: bool) -> None:
        """A host that is switched on again starts no guest by itself."""
        host = self.fleet.hosts[name]
        if host.up and not on:
            host.guests = {key: dataclasses.replace(guest, state="shutoff") for key, guest in host.guests.items()}
        if host.up != on:
            self.told.append(f"{name} is switched {'on' if on else 'off'}")
        host.up = on

    def happens(self) -> None:
        for _event in range(self.chance.randint(3, 9)):
            self._one()
        for name in HOSTS:
            self.power(name, on=True)
        for _try in range(_TRIES):
            if self.reconcile() and not list(self.fleet.wrong()):
                break
        assert list(self.fleet.wrong()) == [], self.told
        assert self.fleet.shared == self.disks, self.told
        assert self.may_lose or self.fleet.roots() == self.roots, self.told

    def _one(self) -> None:
        down = [name for name in HOSTS if not self.fleet.hosts[name].up]
        what = self.chance.choice((*("evacuate",) * 4, "dies", "reconcile", "back", "back", "back", "lost"))
        if what == "dies" or not down:
            used = [name for name in HOSTS if self.fleet.hosts[name].up and self.fleet.hosts[name].guests]
            self.power(self.chance.choice(used or HOSTS), on=False)
        elif what == "back":
            self.power(self.chance.choice(down), on=True)
        elif what == "lost":
            self.told.append("the ledger is lost")
            self.fleet.lose_ledger()
            self.reconcile(fault=False)
        elif what == "reconcile":
            self.told.append("reconcile")
            self.reconcile(fault=True)
        else:
            hosts = tuple(down) if self.chance.random() < 0.5 else (self.chance.choice(down),)
            # Where the ledger was lost, another server would be built beside one that nobody knows.
            loss = not self.fleet.taking_over and self.chance.random() < 0.5
            self.may_lose |= loss
            self.told.append(f"evacuate {', '.join(hosts)}{' with leave for data_loss' if loss else ''}")
            self._run("evacuate", Lost(hosts, accept_data_loss=loss, by_word=True), fault=True)


@pytest.mark.parametrize("number", range(10))
def test_some_histories(tmp_path: Path, number: int) -> None:
    History(tmp_path, random.Random(f"{SEED}/{number}")).happens()


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10, 210))
def test_histories(tmp_path: Path, number: int) -> None:
    History(tmp_path, random.Random(f"{SEED}/{number}")).happens()
