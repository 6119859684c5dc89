#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_group
short_description: Manage server groups of the fleet
description:
  - Makes a server group in the fleet's catalog, or removes one. Servers name it in C(server_group), and the scheduler
    holds its policy.
  - As in Nova, a group's policy and rules are fixed when it is made.
  - Groups that modules make stand in the ledger, beside those of C(fleet_server_groups) in inventory. A name can be in
    one of them only.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  name:
    description:
      - Name of the server group.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the group. Its members stay where they are; while a server of inventory names it, this is
        refused.
    type: str
    choices: [present, absent]
    default: present
  policy:
    description:
      - V(affinity) puts its servers on one host, V(anti-affinity) on different ones; V(soft-affinity) and
        V(soft-anti-affinity) do so if it can be had. Required if O(state=present).
    type: str
  rules:
    description:
      - Rules of the policy; only V(anti-affinity) has any.
    type: dict
    suboptions:
      max_server_per_host:
        description:
          - How many of the group may be on one host; 1 if left out.
        type: int
  description:
    description:
      - For people.
    type: str
seealso:
  - module: flotilla.compute.server_group_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Keep web servers on different hosts
  flotilla.compute.server_group:
    name: web-spread
    policy: anti-affinity

- name: Allow two of them on a host
  flotilla.compute.server_group:
    name: worker-spread
    policy: anti-affinity
    rules:
      max_server_per_host: 2

- name: Remove a server group
  flotilla.compute.server_group:
    name: web-spread
    state: absent
"""

RETURN = r"""
server_group:
  description: The server group.
  returned: when O(state=present)
  type: dict
  sample:
    name: web-spread
    description: null
    policy: anti-affinity
    rules:
      max_server_per_host: 1
    members: [web1, web2]
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
"""
