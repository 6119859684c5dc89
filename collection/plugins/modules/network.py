#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Manage libvirt networks on a compute host
description:
  - Has a libvirt network defined, running and started with the host, or removes it.
  - A network that is already there is changed only where it differs from the options given here, and only while no
    guest is on it, because libvirt cuts off the guests of a network that it restarts.
  - A plain Linux bridge needs no libvirt network. Servers can be on it as it is.
author:
  - Flotilla contributors (@flotilla)
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._hypervisor
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: linux
options:
  name:
    description: Name of the libvirt network.
    type: str
    required: true
  state:
    description:
      - V(present) has the network defined and running.
      - V(absent) removes it. It is refused while a guest, running or not, is on the network.
    type: str
    choices: [present, absent]
    default: present
  forward:
    description:
      - V(bridge) puts guests on a Linux bridge that the host already has, named by O(bridge).
      - V(isolated) joins the guests of one host with each other and with the host.
      - V(nat) also leads them out behind the host's addresses, V(route) without translation.
    type: str
    choices: [bridge, isolated, nat, route]
    default: bridge
  bridge:
    description:
      - With O(forward=bridge) the Linux bridge to use, else the name of the one that libvirt makes.
    type: str
  cidr:
    description:
      - The network's addresses. Needed for O(forward=nat) and O(forward=route), not allowed for O(forward=bridge).
    type: str
  gateway:
    description: The host's own address in the network. The first one of O(cidr) when not given.
    type: str
  dhcp:
    description: Whether libvirt hands out addresses, which needs dnsmasq on the host.
    type: bool
    default: false
  allocation_pools:
    description: What DHCP hands out. All addresses behind O(gateway) when not given.
    type: list
    elements: dict
    suboptions:
      start:
        description: First address.
        type: str
        required: true
      end:
        description: Last address.
        type: str
        required: true
  mtu:
    description: Largest packet, in bytes.
    type: int
  autostart:
    description: Whether the network starts with the host.
    type: bool
    default: true
seealso:
  - module: flotilla.compute.network_info
"""

EXAMPLES = r"""
- name: Let guests use the host's bridge br0
  flotilla.compute.network:
    name: lan
    bridge: br0

- name: A network behind the host, with DHCP
  flotilla.compute.network:
    name: lab
    forward: nat
    cidr: 192.0.2.0/24
    dhcp: true
    allocation_pools:
      - {start: 192.0.2.100, end: 192.0.2.199}
"""

RETURN = r"""
network:
  description: The network as it is now, or would be in check mode. V(null) when it is absent.
  returned: success
  type: dict
  sample:
    name: lan
    active: true
    autostart: true
    forward: bridge
    bridge: br0
    address: null
    ranges: []
    mtu: null
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import FORWARDS, desired_network
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.networks import ensure, remove

KEYS = ("forward", "bridge", "cidr", "gateway", "dhcp", "mtu", "autostart")


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    params = module.params
    if params["state"] == "absent":
        change = remove(conn, params["name"], check=module.check_mode)
    else:
        wanted: dict[str, t.Any] = {key: params[key] for key in KEYS}
        desired = desired_network(params["name"], allocation_pools=params["allocation_pools"] or (), **wanted)
        change = ensure(conn, desired, check=module.check_mode)
    diff = {"before": change.before or {}, "after": change.after or {}}
    return {"changed": change.changed, "network": change.after, "diff": diff}


def main() -> None:
    address = {"type": "str", "required": True}
    arguments = {
        **hypervisor_argument_spec(),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "forward": {"type": "str", "choices": list(FORWARDS), "default": "bridge"},
        "bridge": {"type": "str"},
        "cidr": {"type": "str"},
        "gateway": {"type": "str"},
        "dhcp": {"type": "bool", "default": False},
        "allocation_pools": {"type": "list", "elements": "dict", "options": {"start": address, "end": address}},
        "mtu": {"type": "int"},
        "autostart": {"type": "bool", "default": True},
    }
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
