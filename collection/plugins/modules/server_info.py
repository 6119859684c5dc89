#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_info
short_description: Read the servers of a compute host
description:
  - Reads the servers that are on a compute host, with their records, from libvirt. Domains that are not Flotilla's are
    left out.
  - A record holds no secret. Of user data and the like it has digests.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._attributes.info_module
attributes:
  platform:
    platforms: posix
options:
  name:
    description:
      - Names or ids of servers. Without it, all are returned.
    type: list
    elements: str
  uri:
    description:
      - Libvirt connection of the host.
    type: str
    default: qemu:///system
requirements:
  - python3-libvirt on the compute host
seealso:
  - module: flotilla.compute.server
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Read all servers of a compute host
  flotilla.compute.server_info:
  register: found

- name: Show which of them run
  ansible.builtin.debug:
    msg: "{{ found.servers | selectattr('status', 'equalto', 'ACTIVE') | map(attribute='name') }}"
"""

RETURN = r"""
servers:
  description: The servers, by name.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 0f8fad5b-d9cb-469f-a165-70867728950e
      name: web1
      state: running
      status: ACTIVE
      vm_state: active
      power_state: 1
      addresses: [192.0.2.17]
      record: {}
  contains:
    id:
      description: The server's id, which is its domain's UUID.
      type: str
    name:
      description: Name of the server.
      type: str
    state:
      description: What its domain does. One of C(running), C(paused), C(shutoff), C(suspended), C(crashed), C(other).
      type: str
    status:
      description: Nova's status.
      type: str
    vm_state:
      description: Nova's vm_state.
      type: str
    power_state:
      description: Nova's power_state.
      type: int
    addresses:
      description: Its fixed addresses, in the order of its ports.
      type: list
      elements: str
    record:
      description: The server as it was applied.
      type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    LIBVIRT_IMPORT_ERROR,
    LIBVIRT_PACKAGE,
    opened,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.servers import servers

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "list", "elements": "str"},
    "uri": {"type": "str", "default": "qemu:///system"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if LIBVIRT_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib(LIBVIRT_PACKAGE), exception=LIBVIRT_IMPORT_ERROR)
    try:
        with opened(module.params["uri"], readonly=True) as conn:
            found = servers(conn, module.params["name"])
    except FlotillaError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, servers=found)


if __name__ == "__main__":
    main()
