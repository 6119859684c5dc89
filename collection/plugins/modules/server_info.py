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
  - What is at work on a server, and what was done to it, the half of the module on the controller reads in the ledger.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._attributes.info_module
attributes:
  action:
    description: Has a corresponding action plugin, so parts of the options run on the controller.
    support: full
  platform:
    platforms: posix
options:
  name:
    description:
      - Names or ids of servers. Without it, all are returned.
    type: list
    elements: str
  diagnostics:
    description:
      - Whether to return what each server that runs uses, as Nova's diagnostics.
    type: bool
    default: false
  agent:
    description:
      - Whether to ask the guest agent of each server for an answer, for its guest's hostname and for its addresses.
      - One that is silent takes 5 seconds, and each of the questions at most 5.
    type: bool
    default: false
  history:
    description:
      - Whether to return what was done to each server, when, by whom and with what result, and its migrations.
    type: bool
    default: false
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

- name: Read what one of them uses, and what was done to it
  flotilla.compute.server_info:
    name: [web1]
    diagnostics: true
    history: true
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
      task_state: null
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
    task_state:
      description: Nova's task_state. What is at work on the server, null if nothing is.
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
    diagnostics:
      description:
        - In Nova's form. Null for a server that does not run. Times are in nanoseconds, memory in MiB.
      returned: with O(diagnostics=true)
      type: dict
    agent:
      description: Whether its guest agent answers. Null for a server that does not run or has no agent.
      returned: with O(agent=true)
      type: bool
    guest:
      description:
        - What the guest says of itself by its agent. Null where no agent answers.
      returned: with O(agent=true)
      type: dict
      contains:
        hostname:
          description: The guest's own hostname. Null if its agent can't tell.
          type: str
        addresses:
          description: The guest's own addresses, without those of loopback and link. Null if its agent can't tell.
          type: list
          elements: str
    history:
      description: The server's actions, oldest first, with start, end, result, by whom, and message.
      returned: with O(history=true)
      type: list
      elements: dict
    migrations:
      description: The server's migrations, resizes and evacuations, oldest first, as the ledger has them.
      returned: with O(history=true)
      type: list
      elements: dict
      sample:
        - id: 5d2b8c1e-0f4e-5c0e-9d6b-6a1d3b0a7c11
          type: migration
          source: kvm1
          destination: kvm2
          status: failed
          cause: "kvm2 has no room left in pool 'local'"
          run_id: 2f1b3c4d-0000-4000-8000-000000000001
          created: 1766312345.1
          updated: 1766312346.2
      contains:
        id:
          description: The migration's id.
          type: str
        type:
          description: One of C(live-migration), C(migration), C(resize), C(evacuation).
          type: str
        source:
          description: The host that the server was on.
          type: str
        destination:
          description: The host that it was to come to. The same for a resize that stays.
          type: str
        status:
          description:
            - Nova's status. After C(failed) and C(cancelled) the server is where it was. After C(error) the next run
              mends what is left.
          type: str
        cause:
          description: The sentence with which it failed or was cancelled. Null for one that goes on or ended well.
          type: str
        run_id:
          description: The run that was at it last.
          type: str
        created:
          description: When it was begun, in seconds since 1970.
          type: float
        updated:
          description: When its status was noted, in seconds since 1970.
          type: float
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
    "diagnostics": {"type": "bool", "default": False},
    "agent": {"type": "bool", "default": False},
    "history": {"type": "bool", "default": False},
    "uri": {"type": "str", "default": "qemu:///system"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if LIBVIRT_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib(LIBVIRT_PACKAGE), exception=LIBVIRT_IMPORT_ERROR)
    try:
        with opened(module.params["uri"], readonly=not module.params["agent"]) as conn:
            found = servers(
                conn,
                module.params["name"],
                diagnosed=module.params["diagnostics"],
                with_agent=module.params["agent"],
            )
    except FlotillaError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, servers=found)


if __name__ == "__main__":
    main()
