#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_service_info
short_description: Which compute hosts are in service
description:
  - Says of compute hosts whether they are in service, as C(compute_state) of the inventory and the ledger have it. No
    host is asked, so it answers for dead ones, too. M(flotilla.compute.compute) sets it.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.info_module
  - flotilla.compute._attributes.actiongroup_all
attributes:
  action:
    description: Has a corresponding action plugin, so parts of the options run on the controller.
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  hosts:
    description: The compute hosts to look for. Without it all that inventory or the ledger has.
    type: list
    elements: str
seealso:
  - module: flotilla.compute.compute
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Look which hosts are in service
  flotilla.compute.compute_service_info:
  register: fleet

- name: Name those that are not
  ansible.builtin.debug:
    msg: "{{ fleet.services | rejectattr('state', 'equalto', 'enabled') | map(attribute='host') }}"
"""

RETURN = r"""
services:
  description: The hosts.
  returned: success
  type: list
  elements: dict
  sample:
    - {host: kvm1, state: maintenance, reason: new memory, told: it is in maintenance (new memory)}
    - {host: kvm2, state: enabled, reason: "", told: it is in service}
  contains:
    host:
      description: The compute host.
      type: str
    state:
      description:
        - V(enabled), V(disabled), V(maintenance) or V(down). A host that a run is emptying is in V(maintenance).
      type: str
    reason:
      description: Why, as it was given; may be empty.
      type: str
    told:
      description: State and reason as a clause.
      type: str
"""

# All of it runs on the controller: see plugins/action/compute_service_info.py.
