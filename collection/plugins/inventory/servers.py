# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Inventory plugin servers: the fleet's servers as hosts, for plays that configure the guests."""

from __future__ import annotations

DOCUMENTATION = r"""
name: servers
author: Flotilla contributors (@flotilla)
short_description: The servers of a fleet as inventory hosts
description:
  - Makes every server of the fleet a host in the group C(guests), with its addresses and what is known of it, so that
    the next play configures the guests. Never in the group C(servers), which declares what should exist.
  - It reads the ledger. Where there is none, or on request, it reads the compute hosts, by a run of
    C(ansible-playbook flotilla.compute.guests) over the inventory in O(compute_sources).
  - Servers that are only being built or that are deleted softly are left out.
  - Variables of each host are C(guest_name), C(guest_id), C(guest_host) (its compute host), C(guest_zone),
    C(guest_status), C(guest_vm_state), C(guest_task_state), C(guest_power_state), C(guest_flavor), C(guest_vcpus),
    C(guest_ram) (MiB), C(guest_image), C(guest_server_group), C(guest_key_name), C(guest_metadata), C(guest_networks)
    (lists of addresses by network), C(guest_addresses) and C(guest_macs).
  - C(ansible_host) is the first fixed address. A server that asks by DHCP has none, and is reached by its name or as
    O(compose) says.
  - A server that bears the name of a compute host, of a group or of localhost is left out with a warning.
options:
  plugin:
    description: Says that a file is for this plugin.
    type: str
    required: true
    choices: [flotilla.compute.servers]
  source:
    description:
      - Where the servers are read. V(auto) is the ledger if there is one, and the hosts if there is none.
    type: str
    choices: [auto, ledger, hosts]
    default: auto
  ledger:
    description:
      - URL of the ledger, as C(fleet_ledger). Its default is the SQLite file of O(fleet_name).
    type: str
    env:
      - name: FLOTILLA_LEDGER
  fleet_name:
    description: The fleet's name, as C(fleet_name) of its inventory.
    type: str
    default: default
  state_dir:
    description: Folder of the controller's own files, as C(fleet_state_dir).
    type: path
  compute_sources:
    description:
      - Inventory sources with the compute hosts and the fleet's variables, for O(source=hosts). Relative ones are
        beside this file.
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds within which the hosts must have been read.
    type: int
    default: 300
  networks:
    description:
      - Networks of the fleet whose addresses C(ansible_host) is taken from, in this order. Otherwise it is the first
        address of all.
    type: list
    elements: str
    default: []
  statuses:
    description: Take servers of these statuses only, as Nova writes them. Without it, all are taken.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - A file of this plugin is called C(flotilla.yml) or C(<anything>.flotilla.yml), also with C(.yaml).
  - In an inventory folder it should come after the files that name the compute hosts.
"""

EXAMPLES = r"""
# guests.flotilla.yml: all that there is, from the ledger of the fleet called "default"
plugin: flotilla.compute.servers

---
# Those that run, grouped, reached through the network "lan".
plugin: flotilla.compute.servers
fleet_name: office
statuses: [ACTIVE]
networks: [lan]
keyed_groups:
  - {prefix: zone, key: guest_zone}
  - {prefix: on, key: guest_host}
  - {prefix: flavor, key: guest_flavor}
  - {prefix: image, key: guest_image}
  - {prefix: status, key: guest_status}
  - {prefix: group, key: guest_server_group, default_value: none}
  - {prefix: meta, key: guest_metadata}
groups:
  databases: "'primary' in guest_metadata.values()"
compose:
  ansible_user: "'debian' if guest_image.startswith('debian') else 'cloud-user'"
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /tmp/guests

---
# No ledger: read the hosts that this inventory names.
plugin: flotilla.compute.servers
source: hosts
compute_sources: [fleet.yml]
"""

import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._guests import (
    GROUP,
    guest_variables,
    guests_of_ledger,
    refusal,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain

#: Set for the run that reads the hosts: were this file in the inventory of that run, it would start another.
_NESTED = "FLOTILLA_READS_GUESTS"
_PLAYBOOK = "flotilla.compute.guests"
_LAST_WORDS = 600


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Reads servers and makes hosts of them; what they are is in ``_guests``."""

    NAME = "flotilla.compute.servers"
    inventory: t.Any  # None only before parse()

    def verify_file(self, path: str) -> bool:
        if not super().verify_file(path):
            return False
        name = Path(path).name
        return name in ("flotilla.yml", "flotilla.yaml") or name.endswith((".flotilla.yml", ".flotilla.yaml"))

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        if os.environ.get(_NESTED):
            return
        try:
            self._populate(self._guests(path, use_cache=cache))
        except FlotillaError as exc:
            raise AnsibleParserError(str(exc)) from exc

    def _guests(self, path: str, *, use_cache: bool) -> list[dict[str, Json]]:
        """From the cache as long as it is valid, else anew."""
        if not self.get_option("cache"):
            return self._read(path)
        key = self.get_cache_key(path)
        if use_cache:
            try:
                cached: list[dict[str, Json]] = self._cache[key]
                return cached
            except KeyError:
                pass  # not there, or expired
        found = self._read(path)
        self._cache[key] = found
        return found

    def _read(self, path: str) -> list[dict[str, Json]]:
        source = self.get_option("source")
        if source != "hosts":
            found = self._of_ledger()
            if found is not None:
                return found
        if source == "ledger":
            raise InvalidInput(
                f"there is no ledger {self._ledger_name()}; set ledger or fleet_name as the fleet has it, or read the "
                "hosts with source: hosts"
            )
        return self._of_hosts(path)

    def _ledger_url(self) -> str:
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import default_url

        fleet_name, state_dir = self.get_option("fleet_name"), self.get_option("state_dir")
        return str(plain(self.get_option("ledger") or default_url(fleet_name, state_dir)))

    def _ledger_name(self) -> str:
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import name_of

        return name_of(self._ledger_url())

    def _of_ledger(self) -> list[dict[str, Json]] | None:
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

        ledger = Ledger.open(self._ledger_url(), create=False)
        return None if ledger is None else guests_of_ledger(ledger.snapshot())

    def _of_hosts(self, path: str) -> list[dict[str, Json]]:
        """By a run of its own, which reaches the hosts as every other run does."""
        sources = [str(Path(path).parent / plain(source)) for source in self.get_option("compute_sources")]
        if not sources:
            raise InvalidInput(
                f"there is no ledger {self._ledger_name()}, and no hosts to read; name the inventory of the compute "
                "hosts in compute_sources, or the fleet's ledger in ledger"
            )
        with tempfile.TemporaryDirectory(prefix="flotilla-guests-") as folder:
            answer = Path(folder) / "guests.json"
            command = [sys.executable, "-m", "ansible", "playbook"]
            for source in sources:
                command += ["-i", source]
            self._run([*command, "-e", f"guests_file={answer}", _PLAYBOOK])
            found: list[dict[str, Json]] = json.loads(answer.read_text(encoding="utf-8"))
            return found

    def _run(self, command: list[str]) -> None:
        timeout = self.get_option("timeout")
        environment = {**os.environ, _NESTED: "1", "ANSIBLE_NOCOLOR": "1"}
        try:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise FlotillaError(
                f"the compute hosts could not be read within {timeout} s; raise timeout, or read the ledger"
            ) from exc
        except subprocess.CalledProcessError as exc:
            raise FlotillaError(f"the compute hosts could not be read: {_failure(exc.stdout)}") from exc

    def _populate(self, guests: t.Sequence[dict[str, Json]]) -> None:
        self.inventory.add_group(GROUP)
        groups = self.inventory.groups
        computes = {host.name for host in groups["computes"].get_hosts()} if "computes" in groups else set()
        statuses = {str(plain(status)).upper() for status in self.get_option("statuses")}
        networks = [str(plain(network)) for network in self.get_option("networks")]
        for guest in guests:
            name = str(guest["name"])
            if statuses and guest["status"] not in statuses:
                continue
            why = refusal(name, computes, groups)
            if why is not None:
                self.display.warning(f"the server {name!r} ({guest['id']}) is left out of the inventory: {why}")
                continue
            self._add(name, guest_variables(guest, networks))

    def _add(self, name: str, variables: dict[str, Json]) -> None:
        self.inventory.add_host(name, group=GROUP)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _failure(output: str) -> str:
    """What a run failed of, on one line: from where the first host failed, without the recap."""
    words = output.partition("PLAY RECAP")[0]
    start = max(words.find("fatal: ["), 0) or max(words.find("[ERROR]"), 0)
    text = " ".join(words[start:].split())
    return text if len(text) <= _LAST_WORDS else text[: _LAST_WORDS - 3] + "..."
