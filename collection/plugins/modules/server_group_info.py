#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_group_info
short_description: Read the server groups of the fleet
description:
  - Returns the server groups of the fleet's catalog, those of C(fleet_server_groups) in inventory and those that
    M(flotilla.compute.server_group) has put into the ledger, with their members.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.info_module
  - flotilla.compute._attributes.actiongroup_all
attributes:
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  name:
    description:
      - Return this server group alone. The list is empty if there is none.
    type: str
seealso:
  - module: flotilla.compute.server_group
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read all server groups
  flotilla.compute.server_group_info:
  register: known

- name: Show those without a member
  ansible.builtin.debug:
    msg: "{{ known.server_groups | rejectattr('members') | map(attribute='name') }}"
"""

RETURN = r"""
server_groups:
  description: The server groups, in the order of their names.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web-spread
      description: null
      policy: anti-affinity
      rules:
        max_server_per_host: 1
      members: [web1, web2]
      source: inventory
  contains:
    name:
      description: Name of the server group.
      type: str
    description:
      description: For people.
      type: str
    policy:
      description: Its policy.
      type: str
    rules:
      description: The rules of the policy; only V(anti-affinity) has any.
      type: dict
    members:
      description: Servers in it, by name, as the ledger has them; one that is declared and not yet made is none.
      type: list
      elements: str
    source:
      description: Where it stands, V(inventory) or V(ledger).
      type: str
"""
