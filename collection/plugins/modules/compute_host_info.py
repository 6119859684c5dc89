#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_host_info
short_description: Look whether a machine works as a compute host
description:
  - Says of a machine what of a compute host works on it and what is missing, row by row, with what would mend it.
  - It needs nothing on the machine but Python, so that it can be asked of a bare one. The role
    P(flotilla.compute.compute_host#role) uses it before it changes anything, and for its entry point C(verify).
author:
  - Flotilla contributors (@flotilla)
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._attributes.info_module
attributes:
  platform:
    platforms: linux
options:
  uri:
    description: URI of the host's libvirt, as the host itself reaches it.
    type: str
    default: qemu:///system
  checks:
    description: Whether to look at all. Without it only O(ignore:host) is returned, which costs nothing.
    type: bool
    default: true
  emulation:
    description: Whether a host without KVM will do.
    type: bool
    default: false
  tls:
    description: Whether the host's libvirt is to be reached by TLS.
    type: bool
    default: true
  pools:
    description: Names of the storage pools that there should be.
    type: list
    elements: str
    default: []
  bridges:
    description: The bridges that there should be, each with the interface on it; empty for none.
    type: dict
    default: {}
  peers:
    description: Names of other hosts, each with the URI of its libvirt, which is tried.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Look at the host
  flotilla.compute.compute_host_info:
    pools: [local]
    bridges: {br0: eno2}
    peers: {kvm2: qemu+tls://kvm2/system}
  register: looked

- name: Go on only with a host that works
  ansible.builtin.assert:
    that: looked.checks | selectattr('result', 'eq', 'missing') | length == 0
"""

RETURN = r"""
host:
  description: What the machine is.
  returned: success
  type: dict
  sample:
    kvm: true
    machine_id: 0f6b2d0c5c0e4d6f8a7b9c0d1e2f3a4b
    smbios_uuid: 4c4c4544-0051-3510-8052-b4c04f4e3732
    systemd: true
    modular_daemons: false
    network_backend: netplan
    ssh_interfaces: [eno1]
    bridged: [eno2]
checks:
  description: The rows. C(result) is V(ok), V(warning) or V(missing).
  returned: success
  type: list
  elements: dict
  sample:
    - name: KVM
      result: ok
      found: /dev/kvm
      mend: ""
    - name: Pool local
      result: missing
      found: not active
      mend: virsh pool-start local
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.host_checks import Wanted, checks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.host_state import host_state


def run(params: dict[str, t.Any]) -> dict[str, t.Any]:
    wanted = Wanted(
        uri=params["uri"],
        emulation=params["emulation"],
        tls=params["tls"],
        pools=tuple(params["pools"]),
        bridges=params["bridges"],
        peers=params["peers"],
    )
    rows = [row.to_json() for row in checks(wanted)] if params["checks"] else []
    return {"changed": False, "host": host_state(), "checks": rows}


def main() -> None:
    arguments: dict[str, dict[str, t.Any]] = {
        "uri": {"type": "str", "default": "qemu:///system"},
        "checks": {"type": "bool", "default": True},
        "emulation": {"type": "bool", "default": False},
        "tls": {"type": "bool", "default": True},
        "pools": {"type": "list", "elements": "str", "default": []},
        "bridges": {"type": "dict", "default": {}},
        "peers": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    module.exit_json(**run(module.params))


if __name__ == "__main__":
    main()
