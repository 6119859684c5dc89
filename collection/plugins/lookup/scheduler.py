# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup scheduler: the host that a server is on, or the one that is proposed for it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: scheduler
author: Flotilla contributors (@flotilla)
short_description: The compute host that a server is on, or should go to
description:
  - Gives the compute host that a server is on. For a server that is nowhere yet it proposes one, by the filters and
    weighers of C(fleet_scheduler).
  - A server that is there and that inventory does not declare is found by its name or id alone, without any option.
  - It writes nothing and claims nothing, since Ansible may template a lookup several times. M(flotilla.compute.server)
    claims; where another run was quicker, schedule again.
  - It goes by the surveys that this run has made (the playbook C(flotilla.compute.survey), imported before), the
    inventory, and the ledger, which is only read. Surveys older than C(fleet_survey_max_age) are refused.
  - Behind a playbook that has changed something, such as C(flotilla.compute.reconcile), the ledger's word counts where
    it is newer than the surveys.
  - A server that inventory declares goes by its own variables. The options are for one that inventory doesn't declare.
options:
  _terms:
    description: Names of servers.
    type: list
    elements: str
    required: true
  flavor:
    description: The flavor, by name.
    type: str
  image:
    description: The image, by name. Without it no property of an image restricts the choice.
    type: str
  networks:
    description: The networks, by name.
    type: list
    elements: str
  pool:
    description: The storage pool of its disks. Each host's default pool if left out.
    type: str
  availability_zone:
    description: The availability zone that it must be in.
    type: str
  server_group:
    description: The server group that it is a member of.
    type: str
  scheduler_hints:
    description: Nova's scheduler hints, such as C(same_host) and C(different_host).
    type: dict
  host:
    description: The one host that it may go to.
    type: str
notes:
  - When no host will do, the lookup fails with a sentence that says for each host the first rule that refused it.
"""

EXAMPLES = r"""
- name: Survey the compute hosts
  ansible.builtin.import_playbook: flotilla.compute.survey

- name: Say where a server is, or would go
  hosts: localhost
  tasks:
    - name: Propose a host
      ansible.builtin.debug:
        msg: "{{ lookup('flotilla.compute.scheduler', 'web1', flavor='m1.small', image='debian-12') }}"
"""

RETURN = r"""
_raw:
  description: The host of each server, in the order of the names.
  type: list
  elements: str
  sample: [kvm2]
"""

import time
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import surveyed
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain
from ansible_collections.flotilla.compute.plugins.plugin_utils._proposal import host_for, require_fresh

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

#: Option -> the variable that a declared server has for it.
_VARIABLES = {
    "flavor": "server_flavor",
    "image": "server_image",
    "networks": "server_networks",
    "pool": "server_pool",
    "availability_zone": "server_availability_zone",
    "server_group": "server_group",
    "scheduler_hints": "server_scheduler_hints",
    "host": "server_host",
}


class LookupModule(LookupBase):
    """Reads what the run has gathered; the decision is in ``_proposal``."""

    def run(self, terms: list[t.Any], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        given = {name: plain(self.get_option(option)) for option, name in _VARIABLES.items()}
        wishes = {name: value for name, value in given.items() if value is not None}
        self._variables = variables or {}
        try:
            return self._hosts([str(plain(term)) for term in terms], wishes)
        except FlotillaError as exc:
            raise AnsibleError(str(exc)) from exc

    def _hosts(self, names: list[str], wishes: dict[str, t.Any]) -> list[str]:
        hostvars = self._variables["hostvars"]
        registered = hostvars.raw_get("localhost").get("fleet_declared") or {}
        if not registered.get("declared"):
            raise FlotillaError("nothing was surveyed in this run; import the playbook flotilla.compute.survey before")
        declared = Declared.unpack(str(registered["declared"]))
        since, now = float(registered["run"]["since"]), time.time()
        require_fresh(since=since, now=now, max_age=declared.settings.survey_max_age)
        registered = {name: hostvars.raw_get(name) for name in declared.computes}
        surveys = {name: its.get("fleet_survey") or {} for name, its in registered.items()}
        enrolled = {name: its.get("fleet_enrolled") for name, its in registered.items()}
        computes, ledger = surveyed(declared.computes, surveys, enrolled), self._ledger(declared)
        return [
            host_for(name, wishes, declared=declared, computes=computes, ledger=ledger, since=since, now=now)
            for name in names
        ]

    def _ledger(self, declared: Declared) -> Ledger | None:
        """The run's ledger if there is one; a lookup never makes it."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger, default_url

        url = self._variables.get("fleet_ledger")
        if url is not None and self._templar is not None:
            url = plain(self._templar.template(url))
        return Ledger.open(str(url or default_url(declared.settings.name, declared.settings.state_dir)), create=False)
