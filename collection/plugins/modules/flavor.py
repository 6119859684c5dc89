#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: flavor
short_description: Manage flavors of the fleet
description:
  - Adds a flavor to the fleet's catalog, changes or removes one. Servers name it in C(server_flavor).
  - A server keeps a copy of the flavor that it was made with. A change shows as a difference of the servers that have
    the flavor, and the next run of C(flotilla.compute.reconcile) plans what it takes.
  - Flavors that modules make stand in the ledger, beside those of C(fleet_flavors) in inventory. A name can be in one
    of them only.
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
      - Name of the flavor.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the flavor from the catalog. Servers keep their copy.
    type: str
    choices: [present, absent]
    default: present
  vcpus:
    description:
      - Virtual CPUs. Required if O(state=present).
    type: int
  ram:
    description:
      - Memory, in MiB as a number, or as text with its unit such as V(4GiB). Required if O(state=present).
    type: raw
  disk:
    description:
      - Root disk, in GiB as a number, or as text with its unit such as V(20GiB). V(0) takes the image's own size.
        Required if O(state=present).
    type: raw
  ephemeral:
    description:
      - A second, empty disk, in GiB as a number, or as text with its unit.
    type: raw
    default: 0
  swap:
    description:
      - A swap disk, in MiB as a number, or as text with its unit.
    type: raw
    default: 0
  extra_specs:
    description:
      - Nova's extra specs. Those that are not given are removed.
    type: dict
    default: {}
  description:
    description:
      - For people.
    type: str
seealso:
  - module: flotilla.compute.flavor_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Make a flavor
  flotilla.compute.flavor:
    name: m1.small
    vcpus: 1
    ram: 2GiB
    disk: 20GiB

- name: Make a flavor with swap and extra specs
  flotilla.compute.flavor:
    name: db.large
    vcpus: 8
    ram: 32768
    disk: 40
    swap: 4GiB
    extra_specs:
      hw:mem_page_size: large

- name: Remove a flavor
  flotilla.compute.flavor:
    name: m1.small
    state: absent
"""

RETURN = r"""
flavor:
  description: The flavor.
  returned: when O(state=present)
  type: dict
  sample:
    name: db.large
    description: null
    vcpus: 8
    ram: 32768
    disk: 40
    ephemeral: 0
    swap: 4096
    extra_specs:
      hw:mem_page_size: large
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
"""
