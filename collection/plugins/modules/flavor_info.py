#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flavor_info
short_description: Read the flavors of the fleet
description:
  - Returns the flavors of the fleet's catalog, those of C(fleet_flavors) in inventory and those that
    M(flotilla.compute.flavor) has put into the ledger.
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
      - Return this flavor alone. The list is empty if there is none.
    type: str
seealso:
  - module: flotilla.compute.flavor
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read all flavors
  flotilla.compute.flavor_info:
  register: known

- name: Show those with more than one CPU
  ansible.builtin.debug:
    msg: "{{ known.flavors | selectattr('vcpus', 'gt', 1) | map(attribute='name') }}"
"""

RETURN = r"""
flavors:
  description: The flavors, in the order of their names.
  returned: success
  type: list
  elements: dict
  sample:
    - name: m1.small
      description: null
      vcpus: 1
      ram: 2048
      disk: 20
      ephemeral: 0
      swap: 0
      extra_specs: {}
      source: inventory
  contains:
    name:
      description: Name of the flavor.
      type: str
    description:
      description: For people.
      type: str
    vcpus:
      description: Virtual CPUs.
      type: int
    ram:
      description: Memory in MiB.
      type: int
    disk:
      description: Root disk in GiB.
      type: int
    ephemeral:
      description: Second disk in GiB.
      type: int
    swap:
      description: Swap disk in MiB.
      type: int
    extra_specs:
      description: Nova's extra specs.
      type: dict
    source:
      description: Where it stands, V(inventory) or V(ledger).
      type: str
"""
