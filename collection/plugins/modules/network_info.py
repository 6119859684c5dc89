#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_info
short_description: Read the networks of a compute host
description:
  - Returns the libvirt networks of a compute host and the Linux bridges that servers can be on.
author:
  - Flotilla contributors (@flotilla)
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._attributes.info_module
  - flotilla.compute._hypervisor
attributes:
  platform:
    platforms: linux
options:
  name:
    description: Return this libvirt network alone. No network of the name is an empty list.
    type: str
seealso:
  - module: flotilla.compute.network
"""

EXAMPLES = r"""
- name: Read the networks
  flotilla.compute.network_info:
  register: result

- name: Stop here without br0
  ansible.builtin.assert:
    that: "'br0' in result.bridges"
"""

RETURN = r"""
networks:
  description: The libvirt networks, by name.
  returned: success
  type: list
  elements: dict
  sample:
    - name: lan
      active: true
      autostart: true
      forward: bridge
      bridge: br0
      address: null
      ranges: []
      mtu: null
bridges:
  description: The Linux bridges of the host.
  returned: success
  type: list
  elements: str
  sample: [br0]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.networks import bridges, facts


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    wanted = module.params["name"]
    networks = [network for name, network in facts(conn).items() if wanted in (None, name)]
    return {"changed": False, "networks": networks, "bridges": bridges()}


def main() -> None:
    arguments = {**hypervisor_argument_spec(), "name": {"type": "str"}}
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
