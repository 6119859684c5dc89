#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compute
short_description: Manage the service state of a compute host
description:
  - Says whether a compute host takes servers - the counterpart of C(openstack compute service set).
  - The state is kept on the host itself, in its marker file, and recorded in the fleet's ledger.
  - A host without a marker is enrolled - it gets an id and becomes the fleet's, and each of its storage pools without a
    mark gets one, an almost empty volume whose name is the pool's id.
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
  state:
    description:
      - V(enabled) hosts take new servers.
      - V(disabled) hosts take no new servers; those that are there stay.
      - V(maintenance) hosts take none either, and a drain moves away what is there.
      - V(down) says that the host is known not to work, whatever it seems.
      - When not given, the state stays, and a host that is enrolled becomes V(enabled).
    type: str
    choices:
      - enabled
      - disabled
      - maintenance
      - down
  reason:
    description:
      - Why, for the operators who read it later. Forgotten when the host is V(enabled) again.
    type: str
  pools:
    description:
      - The storage pools to mark. All that can bear a mark when not given.
    type: list
    elements: str
  fleet_id:
    description:
      - Id of the fleet. The controller's half of this module fills it in from the ledger.
    type: str
  ledger_id:
    description:
      - Id of the ledger. The controller's half of this module fills it in from the ledger.
    type: str
  take_over:
    description:
      - Make a host this fleet's that belongs to another fleet or ledger.
    type: bool
    default: false
seealso:
  - module: flotilla.compute.compute_info
"""

EXAMPLES = r"""
- name: Keep new servers away while the host's memory is replaced
  flotilla.compute.compute:
    state: maintenance
    reason: DIMM B2 reports errors

- name: Let it take servers again
  flotilla.compute.compute:
    state: enabled
"""

RETURN = r"""
host:
  description:
    - The host's marker as it is now, or would be in check mode.
  returned: success
  type: dict
  sample:
    host_id: 0f0b5b6e-3c0d-4a55-9d5e-6a3f3a6a1c11
    fleet_id: 5a3ff9f5-2f0b-4e1c-8a36-4bb1f3e0a2d7
    ledger_id: 7d0c1d0e-8f5e-4c63-b0a8-0d8a0a2f8a55
    service: {state: maintenance, reason: DIMM B2 reports errors}
pools:
  description:
    - The storage pools that were marked, with the ids that they now bear.
  returned: success
  type: dict
  sample:
    local: 3e2f6f0c-2a8e-4f0b-a6c1-9d1b6a0f7c10
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.marker import (
    SERVICE_STATES,
    Service,
    enroll,
)


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    params = module.params
    if not params["fleet_id"] or not params["ledger_id"]:
        raise InvalidInput("fleet_id and ledger_id are missing; call flotilla.compute.compute as a task of its own")
    enrolment = enroll(
        conn,
        params["state_dir"],
        fleet_id=params["fleet_id"],
        ledger_id=params["ledger_id"],
        pools=params["pools"],
        service=Service(params["state"], params["reason"]) if params["state"] else None,
        take_over=params["take_over"],
        check=module.check_mode,
    )
    before = {} if enrolment.before is None else enrolment.before.to_json()
    after = enrolment.after.to_json()
    diff = {"before": before, "after": {**after, **({"pools": dict(enrolment.marks)} if enrolment.marks else {})}}
    return {"changed": enrolment.changed, "host": after, "pools": dict(enrolment.marks), "diff": diff}


def main() -> None:
    arguments = {
        **hypervisor_argument_spec(),
        "state": {"type": "str", "choices": list(SERVICE_STATES)},
        "reason": {"type": "str"},
        "pools": {"type": "list", "elements": "str"},
        "fleet_id": {"type": "str"},
        "ledger_id": {"type": "str"},
        "take_over": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=arguments, required_by={"reason": ["state"]}, supports_check_mode=True)
    run_on_host(module, run)


if __name__ == "__main__":
    main()
