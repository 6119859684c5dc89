#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
short_description: Make servers of domains that other tools have made
description:
  - Writes Flotilla's record into domains of a compute host, running ones too, which notice nothing of it. They keep
    their UUID, their MAC addresses and their disks. It is the playbook C(flotilla.compute.adopt).
  - Their disks keep their names, and outlive them; Flotilla deletes only what it has made.
  - It returns the lines to add to the inventory, under which the next reconcile run has nothing to do with them. What
    it can not describe so is refused, and left as it is.
  - A server that inventory declares already is adopted as declared, if it is so.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._hypervisor
attributes:
  action:
    description: Has a corresponding action plugin, so parts of the options run on the controller.
    support: full
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: linux
options:
  name:
    description:
      - The names of the domains. Without it, all of the host that are nobody's servers.
    type: list
    elements: str
  plan_only:
    description:
      - Only say what would be adopted, as in check mode.
    type: bool
    default: false
  declared:
    description:
      - The inventory as an earlier task with M(flotilla.compute.plan) and C(kind=validate) returned it. Without it the
        inventory is read again.
    type: str
  ids:
    description:
      - UUIDs of the domains to describe. The half on the controller sets it.
    type: list
    elements: str
    default: []
  records:
    description:
      - The records to write. The half on the controller sets it.
    type: list
    elements: dict
    default: []
  run_id:
    description:
      - The run that this belongs to. The half on the controller sets it.
    type: str
    default: ''
seealso:
  - module: flotilla.compute.server
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Survey the compute hosts
  ansible.builtin.import_playbook: flotilla.compute.survey

- name: Take over what was made by hand
  hosts: kvm1
  gather_facts: false
  tasks:
    - name: Adopt a domain
      flotilla.compute.adopt:
        name: [mail]
      register: result

    - name: Show what belongs into the inventory
      ansible.builtin.debug:
        msg: "{{ result.inventory }}"
"""

RETURN = r"""
adopted:
  description: The names of the domains that are servers now, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [mail]
refused:
  description: By name, why a domain was not adopted.
  returned: success
  type: dict
  sample: {router: "its interface 52:54:00:12:34:56 is of type direct, which no network of a fleet can be"}
notes:
  description: What is to be known of those that are adopted.
  returned: success
  type: list
  elements: str
  sample: ["mail: its record has no place for hostdev, which is lost when the domain is defined anew"]
inventory:
  description: What to add to the inventory, as YAML.
  returned: success
  type: str
  sample: "servers:\n  hosts:\n    mail:\n      server_id: 0f8fad5b-d9cb-469f-a165-70867728950e\n"
text:
  description: All of it, as printed.
  returned: success
  type: str
domains:
  description: What the host says of the domains. For the half on the controller.
  returned: with O(ids)
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.adopting import adopt, described
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    params = module.params
    if not params["ids"] and not params["records"]:
        raise InvalidInput("nothing is to be done; call flotilla.compute.adopt as a task of its own")
    records = [Record.from_json(data) for data in params["records"]]
    place = {"state_dir": params["state_dir"], "run_id": params["run_id"]}
    written = [record.name for record in records if not module.check_mode and adopt(conn, record, **place)]
    return {"changed": bool(written), "adopted": written, "domains": described(conn, params["ids"])}


def main() -> None:
    arguments = {
        **hypervisor_argument_spec(),
        "name": {"type": "list", "elements": "str"},
        "plan_only": {"type": "bool", "default": False},
        "declared": {"type": "str"},
        "ids": {"type": "list", "elements": "str", "default": []},
        "records": {"type": "list", "elements": "dict", "default": []},
        "run_id": {"type": "str", "default": ""},
    }
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
