#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server
short_description: Manage one server, a virtual machine on a compute host
description:
  - Brings one server to its declared state on the compute host that the task is delegated to.
  - For a server that is there, an option that is not given leaves what it is about as it was applied.
  - What would interrupt a running guest against its declared state, or replace its disk, is held unless O(allow) has
    it, and returned in RV(held).
  - Half of this module runs on the controller. It resolves the names of flavor, image, key and networks, claims the
    server's place in the ledger, makes the config drive, and writes down what came of it. The half on the compute host
    carries out the steps through libvirt. Each step can be killed at any point and run again.
  - Volumes that carry the server's id are used as they are and never overwritten. A domain without Flotilla's record
    is never touched.
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
options:
  name:
    description:
      - Name of the server, unique in the fleet. Its domain bears it. Needed unless O(entry) is given.
    type: str
  entry:
    description:
      - One server's entry of a plan, as M(flotilla.compute.plan) returns it. It stands for all other options.
    type: dict
  unhealthy:
    description:
      - Why the server of O(entry) is not healthy after its steps, as a task of the user's own has found. The module
        only notes it, and fails.
    type: str
  state:
    description:
      - What the server shall be. V(absent) deletes it softly first, if the fleet gives deleted servers time.
    type: str
    choices: [active, stopped, paused, suspended, absent]
    default: active
  flavor:
    description:
      - Name of the flavor. Needed to create a server.
    type: str
  image:
    description:
      - Name of the image. Needed to create a server.
    type: str
  networks:
    description:
      - Names of the networks, one for each port, in order.
    type: list
    elements: str
  key_name:
    description:
      - Name of the keypair whose public key the guest is given.
    type: str
  metadata:
    description:
      - The server's metadata, which the guest can read.
    type: dict
  description:
    description:
      - A description of the server.
    type: str
  availability_zone:
    description:
      - Availability zone that the server is kept in.
    type: str
  server_group:
    description:
      - The server group that it is a member of.
    type: str
  pool:
    description:
      - Storage pool of its disks. The host's default pool when it is not given.
    type: str
  user_data:
    description:
      - User data for the guest's first boot. It is neither in the ledger nor in the plan; they have its digest.
      - Text, a mapping (a C(#cloud-config)), or a list of parts, as in C(server_user_data).
    type: raw
  config_drive:
    description:
      - Whether the server has a config drive. Without this option it has one unless a network with a metadata service
        tells it all.
    type: bool
  allow:
    description:
      - Leave for what is held otherwise, as C(fleet_allow) gives it for a run.
    type: list
    elements: str
    choices: [restart, rebuild, delete, migrate, host_network, locked, data_loss]
    default: []
  steps:
    description:
      - The steps of the plan for this host. From the module's half on the controller alone.
    type: list
    elements: dict
  drives:
    description:
      - Config drives by server id, packed. From the module's half on the controller alone.
    type: dict
  secrets:
    description:
      - Passwords and the like by server id. From the module's half on the controller alone.
    type: dict
  trees:
    description:
      - What the metadata service is to answer, by server id, packed. From the module's half on the controller alone.
    type: dict
  run_id:
    description:
      - The run that the steps belong to. From the module's half on the controller alone.
    type: str
  fleet_id:
    description:
      - The fleet that the servers belong to. From the module's half on the controller alone.
    type: str
  undo:
    description:
      - Whether a new server that can't be started goes again, so that another host can build it. From the module's half
        on the controller alone.
    type: bool
    default: false
  uri:
    description:
      - Libvirt connection of the host.
    type: str
    default: qemu:///system
  state_dir:
    description:
      - Folder of Flotilla on the host.
    type: path
    default: /var/lib/flotilla
  lock_timeout:
    description:
      - Seconds to wait for another task that is at work on the same server.
    type: int
    default: 180
requirements:
  - python3-libvirt on the compute host
seealso:
  - module: flotilla.compute.server_info
  - module: flotilla.compute.plan
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Have a server on the host that the scheduler proposes
  flotilla.compute.server:
    name: web1
    flavor: m1.small
    image: debian-12
    networks: [lan]
    key_name: ops
  delegate_to: "{{ lookup('flotilla.compute.scheduler', 'web1', flavor='m1.small') }}"

- name: Stop a server
  flotilla.compute.server:
    name: web1
    state: stopped
  delegate_to: kvm1
"""

RETURN = r"""
server:
  description: The server after the last step.
  returned: success
  type: dict
  sample: {name: web1, id: 0f8fad5b-d9cb-469f-a165-70867728950e, host: kvm1, state: running}
steps:
  description: The kinds of the steps that were begun.
  returned: success
  type: list
  elements: str
  sample: [create, start]
interrupted:
  description: Whether the steps have taken a running guest down and brought it up again.
  returned: when they have
  type: bool
  sample: true
held:
  description: Steps that O(allow) had no leave for, each with the flag that would give it.
  returned: when there are some
  type: list
  elements: dict
  sample: [{kind: reconfigure, why: flavor, flag: restart}]
results:
  description: What each step did, and the server's record after it.
  returned: on the compute host, to the module's half on the controller
  type: list
  elements: dict
  sample:
    - kind: start
      server_id: 0f8fad5b-d9cb-469f-a165-70867728950e
      name: web1
      changed: true
      record: {}
      state: running
      message: started
"""

import concurrent.futures
import sys
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    LIBVIRT_IMPORT_ERROR,
    LIBVIRT_PACKAGE,
    opened,
    run_events,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import (
    look_at,
    run_steps,
    unpack_drive,
)

#: Servers of one call that are worked on at the same time: as many as a host has slots for (fleet_host_slots), and
#: some more. Each has a connection of its own, for libvirtd serves five requests of one client at once.
_AT_ONCE = 16

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str"},
    "entry": {"type": "dict"},
    "unhealthy": {"type": "str"},
    "state": {"type": "str", "choices": ["active", "stopped", "paused", "suspended", "absent"], "default": "active"},
    "flavor": {"type": "str"},
    "image": {"type": "str"},
    "networks": {"type": "list", "elements": "str"},
    "key_name": {"type": "str", "no_log": False},
    "metadata": {"type": "dict"},
    "description": {"type": "str"},
    "availability_zone": {"type": "str"},
    "server_group": {"type": "str"},
    "pool": {"type": "str"},
    "user_data": {"type": "raw", "no_log": True},
    "config_drive": {"type": "bool"},
    "allow": {
        "type": "list",
        "elements": "str",
        "choices": ["restart", "rebuild", "delete", "migrate", "host_network", "locked", "data_loss"],
        "default": [],
    },
    "steps": {"type": "list", "elements": "dict"},
    "drives": {"type": "dict", "no_log": True},
    "secrets": {"type": "dict", "no_log": True},
    "trees": {"type": "dict", "no_log": True},
    "run_id": {"type": "str"},
    "fleet_id": {"type": "str"},
    "undo": {"type": "bool", "default": False},
    "uri": {"type": "str", "default": "qemu:///system"},
    "state_dir": {"type": "path", "default": "/var/lib/flotilla"},
    "lock_timeout": {"type": "int", "default": 180},
}


def run(params: dict[str, t.Any]) -> dict[str, t.Any]:
    if params["steps"] is None:
        raise InvalidInput(
            "the module server has a half on the controller that gives this one its steps, and it was called without; "
            "use it as a task of a play, as flotilla.compute.server"
        )
    by_server: dict[str, list[dict[str, t.Any]]] = {}
    for step in params["steps"]:
        by_server.setdefault(step["server_id"], []).append(step)
    if len(by_server) < 2:
        results = _carry_out(params, params["steps"])
    else:
        with concurrent.futures.ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            each = pool.map(lambda steps: _carry_out_apart(params, steps), by_server.values())
            results = [result for its_results in each for result in its_results]
    return {
        "changed": any(result["changed"] for result in results),
        "results": results,
        "steps": [result["kind"] for result in results],
    }


def _carry_out_apart(params: dict[str, t.Any], steps: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """One of several servers' steps, over a connection of its own: what fails for one ends nothing of the others."""
    try:
        return _carry_out(params, steps)
    except FlotillaError as exc:
        message = str(exc)
    except Exception as exc:  # noqa: BLE001 - a bug, and no reason to lose what was done for the others
        message = f"{type(exc).__name__}: {exc}"
        traceback.print_exc(file=sys.stderr)
    about = {name: steps[0][name] for name in ("kind", "server_id", "name")}
    return [{**about, "changed": False, "record": None, "state": None, "message": message, "failed": True}]


def _carry_out(params: dict[str, t.Any], steps: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    def unpacked(what: str) -> dict[str, bytes]:
        its = ((step["server_id"], (params[what] or {}).get(step["server_id"])) for step in steps)
        return {server_id: unpack_drive(packed) for server_id, packed in its if packed is not None}

    with opened(params["uri"]) as conn:
        return run_steps(
            conn,
            steps,
            state_dir=params["state_dir"],
            run_id=params["run_id"],
            fleet_id=params["fleet_id"],
            drives=unpacked("drives"),
            secrets=params["secrets"] or {},
            trees=unpacked("trees"),
            wait=params["lock_timeout"],
            undo=params["undo"],
        )


def look(params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Check mode: what stands against the steps, as far as that can be told without touching anything."""
    steps = params["steps"] or []
    if not steps:
        return {"changed": False, "results": []}
    run_events()  # for the connection to the other host
    with opened(params["uri"]) as conn:
        its = {name: params[name] for name in ("state_dir", "run_id", "fleet_id")}
        return {"changed": True, "results": look_at(conn, steps, **its)}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_by={"steps": ("run_id", "fleet_id")}, supports_check_mode=True
    )
    if LIBVIRT_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib(LIBVIRT_PACKAGE), exception=LIBVIRT_IMPORT_ERROR)
    try:
        result = look(module.params) if module.check_mode else run(module.params)
    except FlotillaError as exc:
        module.fail_json(msg=str(exc))
    failures = [f"{step['name']}: {step['message']}" for step in result["results"] if step.get("failed")]
    if failures:
        module.fail_json(msg="; ".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
