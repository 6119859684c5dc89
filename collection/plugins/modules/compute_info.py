#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute_info
short_description: Survey a compute host
description:
  - Reads everything that Flotilla plans with from a compute host, in one call and in bulk - the host itself, its
    storage pools and networks, and every guest on it, also those that Flotilla does not manage.
  - It has libvirt look into its storage pools again, since another host may have changed a shared one. Nothing else on
    the host is touched.
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
  full:
    description:
      - Return the whole survey as RV(host), not only its summary.
      - That is for people. Thousands of guests as nested data are slow in Ansible's variables, where RV(survey) is not.
    type: bool
    default: false
  records:
    description:
      - Read the records, too, that lie beside disks in its pools of servers that have no guest here. For a fleet whose
        ledger was lost. It takes a moment for each of them.
    type: bool
    default: false
  cpus:
    description:
      - The CPUs of hosts, as C(host.cpu.xml) of their surveys with O(full=true) has them. The best that guests can have
        on each of them is RV(cpu_model) then.
    type: list
    elements: str
    default: []
  cpu_model:
    description:
      - The CPU that guests of the fleet have, as C(fleet_cpu_model) names it. The survey says then what of it this host
        can't give.
    type: dict
seealso:
  - module: flotilla.compute.compute
  - module: flotilla.compute.plan
"""

EXAMPLES = r"""
- name: Survey the compute hosts
  flotilla.compute.compute_info:
  register: fleet_survey

- name: Show every guest of a host
  flotilla.compute.compute_info:
    full: true
  register: result

- name: Name them
  ansible.builtin.debug:
    msg: "{{ result.host.guests | map(attribute='name') }}"
"""

RETURN = r"""
host:
  description:
    - The host in short. With O(full=true) the whole survey.
  returned: success
  type: dict
  sample:
    hostname: kvm1
    host_id: 0f0b5b6e-3c0d-4a55-9d5e-6a3f3a6a1c11
    fleet_id: 5a3ff9f5-2f0b-4e1c-8a36-4bb1f3e0a2d7
    service: {state: enabled, reason: null}
    libvirt: 9000000
    qemu: 7002022
    virt_type: kvm
    cpu: {arch: x86_64, model: EPYC, vendor: AMD, count: 64}
    memory: 257543
    memory_free: 201133
    pools:
      local: {active: true, type: dir, capacity: 1967317549056, available: 1204883742720, id: null}
    networks: [default]
    bridges: [br0]
    guests: 12
    running: 11
    running_steps: 0
  contains:
    hostname:
      description: The host's own name for itself.
      type: str
    host_id:
      description: The host's id from its marker, V(null) before it is enrolled.
      type: str
    guests:
      description: How many domains there are, also those that Flotilla does not manage.
      type: int
cpu_model:
  description:
    - The best CPU that guests can have on all hosts whose O(cpus) were given, for the variable C(fleet_cpu_model).
  returned: when O(cpus) is given
  type: dict
  sample: {model: Haswell-noTSX, features: {ssbd: require, pcid: disable}}
survey:
  description:
    - The whole survey - JSON, compressed with zlib, in Base64.
  returned: success
  type: str
  sample: eJyrVkrNTUwtKspXslIqLU4tUrIy1FFKLC3JyC8CAGg1CEM=
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.machine import baseline
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.survey import summary, survey


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    more = {"beside": module.params["records"], "cpu_model": module.params["cpu_model"]}
    found = survey(conn, state_dir=module.params["state_dir"], **more)
    cpus = module.params["cpus"]
    return {
        **({"cpu_model": baseline(conn, cpus)} if cpus else {}),
        "changed": False,
        "host": found if module.params["full"] else summary(found),
        "survey": pack(found),
    }


def main() -> None:
    flags = {name: {"type": "bool", "default": False} for name in ("full", "records")}
    cpus = {"type": "list", "elements": "str", "default": []}
    arguments = {**hypervisor_argument_spec(), **flags, "cpus": cpus, "cpu_model": {"type": "dict"}}
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
