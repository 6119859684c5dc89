#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aggregate
short_description: Manage host aggregates of the fleet
description:
  - Makes a host aggregate in the fleet's catalog, changes or removes one. Its metadata is what several filters and
    weighers of the scheduler read; an availability zone puts its hosts into that zone.
  - A host may be in many aggregates, and is in one availability zone. What would put a host into two is refused, as is
    what would give another zone to a host that has servers; they would change their zone with it. Both as in Nova.
  - Aggregates that modules make stand in the ledger, beside those of C(fleet_aggregates) in inventory. A name can be
    in one of them only.
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
      - Name of the aggregate.
    type: str
    required: true
  state:
    description:
      - V(absent) takes all hosts out of the aggregate, then removes it.
    type: str
    choices: [present, absent]
    default: present
  availability_zone:
    description:
      - The zone of its hosts. It stays as it is if left out; no zone can be taken away from an aggregate, only with it.
    type: str
  hosts:
    description:
      - Compute hosts of inventory, by name or by shell patterns, which are resolved when the module runs. They stay as
        they are if left out.
    type: list
    elements: str
  purge_hosts:
    description:
      - Take hosts that O(hosts) doesn't name out of the aggregate.
    type: bool
    default: true
  metadata:
    description:
      - Metadata. If given, keys that it doesn't have are removed, but for the zone.
    type: dict
  description:
    description:
      - For people.
    type: str
seealso:
  - module: flotilla.compute.aggregate_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Make an aggregate of hosts with SSDs
  flotilla.compute.aggregate:
    name: ssd
    hosts: [kvm1, kvm2]
    metadata:
      ssd: true

- name: Put a rack into an availability zone
  flotilla.compute.aggregate:
    name: rack1
    availability_zone: east
    hosts: ["kvm[1-4]"]

- name: Add a host
  flotilla.compute.aggregate:
    name: ssd
    hosts: [kvm3]
    purge_hosts: false

- name: Remove an aggregate
  flotilla.compute.aggregate:
    name: ssd
    state: absent
"""

RETURN = r"""
aggregate:
  description: The aggregate.
  returned: when O(state=present)
  type: dict
  sample:
    name: rack1
    description: null
    availability_zone: east
    hosts: [kvm1, kvm2]
    metadata:
      availability_zone: east
      ssd: "true"
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
"""
