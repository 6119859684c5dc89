#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pool_info
short_description: Read the storage pools of a compute host
description:
  - Returns the libvirt storage pools of a compute host as they are defined.
  - What they hold, M(flotilla.compute.compute_info) tells.
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
    description: Return this pool alone. No pool of the name is an empty list.
    type: str
seealso:
  - module: flotilla.compute.storage_pool
  - module: flotilla.compute.compute_info
"""

EXAMPLES = r"""
- name: Read the pools
  flotilla.compute.storage_pool_info:
  register: result

- name: Stop here without the pool local
  ansible.builtin.assert:
    that: "'local' in result.storage_pools | map(attribute='name')"
"""

RETURN = r"""
storage_pools:
  description: The pools, by name.
  returned: success
  type: list
  elements: dict
  sample:
    - name: local
      type: dir
      path: /srv/guests
      autostart: true
      active: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pool_definitions import facts


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    wanted = module.params["name"]
    return {"changed": False, "storage_pools": [pool for name, pool in facts(conn).items() if wanted in (None, name)]}


def main() -> None:
    arguments = {**hypervisor_argument_spec(), "name": {"type": "str"}}
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
