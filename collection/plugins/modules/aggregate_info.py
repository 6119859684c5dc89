#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aggregate_info
short_description: Read the host aggregates of the fleet
description:
  - Returns the host aggregates of the fleet's catalog, those of C(fleet_aggregates) in inventory and those that
    M(flotilla.compute.aggregate) has put into the ledger.
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
      - Return this aggregate alone. The list is empty if there is none.
    type: str
seealso:
  - module: flotilla.compute.aggregate
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read all aggregates
  flotilla.compute.aggregate_info:
  register: known

- name: Show the hosts of each availability zone
  ansible.builtin.debug:
    msg: "{{ item.availability_zone }}: {{ item.hosts | join(', ') }}"
  loop: "{{ known.aggregates | selectattr('availability_zone') }}"
"""

RETURN = r"""
aggregates:
  description: The aggregates, in the order of their names.
  returned: success
  type: list
  elements: dict
  sample:
    - name: rack1
      description: null
      availability_zone: east
      hosts: [kvm1, kvm2]
      metadata:
        availability_zone: east
      source: inventory
  contains:
    name:
      description: Name of the aggregate.
      type: str
    description:
      description: For people.
      type: str
    availability_zone:
      description: The zone that it gives its hosts; null if it gives none.
      type: str
    hosts:
      description: Compute hosts by name; patterns of inventory are resolved.
      type: list
      elements: str
    metadata:
      description: Its metadata, as text; the zone is in it too, as in Nova.
      type: dict
    source:
      description: Where it stands, V(inventory) or V(ledger).
      type: str
"""
