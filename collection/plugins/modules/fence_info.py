#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fence_info
short_description: Read the power of compute hosts through their fence agents
description:
  - Asks each agent in the variable C(compute_fence) of each host whether the host is on or off, at every level, and
    checks that the agent knows the options it is given. That is what evacuation will rely on in the night.
  - Nothing is switched. The playbook C(flotilla.compute.fencing) does this for all compute hosts, and fails if an agent
    can't read the power of its host, or if a host has no agent.
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
    description: The compute hosts to look at. Without it all hosts of the group C(computes).
    type: list
    elements: str
notes:
  - Agents are programs of the project fence-agents (Debian's package C(fence-agents)) on the controller. They get their
    options on standard input, never on a command line. What they do with them is theirs. C(fence_ipmilan) gives the
    password to C(ipmitool) on its command line, where users of the controller can read it while that runs.
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read the power of all compute hosts
  flotilla.compute.fence_info:
  register: power

- name: Say which agents would fail
  ansible.builtin.debug:
    msg: "{{ power.fences | selectattr('problem') | map(attribute='host') }}"
"""

RETURN = r"""
fences:
  description: What each agent reads, by host and level.
  returned: success
  type: list
  elements: dict
  sample:
    - host: kvm1
      level: 1
      agent: fence_ipmilan
      power: "on"
      problem: ""
    - host: kvm2
      level: 0
      agent: "-"
      power: unknown
      problem: "it has no compute_fence: only a person can say that it is off"
  contains:
    host:
      description: The compute host.
      type: str
    level:
      description: The level, counted from 1; V(0) for a host without agents.
      type: int
    agent:
      description: The agent.
      type: str
    power:
      description: V(on), V(off) or V(unknown).
      type: str
    problem:
      description: Why the power is unknown; empty otherwise.
      type: str
text:
  description: The same as a table, as printed.
  returned: success
  type: str
"""

# All of it runs on the controller: see plugins/action/fence_info.py.
