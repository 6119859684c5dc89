#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pool
short_description: Manage libvirt storage pools on a compute host
description:
  - Has a storage pool defined, active and started with the host, or takes one out of libvirt.
  - What is in a pool is never touched. No disk, volume group or Ceph pool is made or formatted, only the folder of a
    pool of O(type=dir) where it is missing.
  - A pool that is there under the same name and defined otherwise is refused, because guests' disks are known by their
    pool's place.
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
    description: Name of the pool.
    type: str
    required: true
  state:
    description:
      - V(present) has the pool defined and active.
      - V(absent) stops and undefines it. It is refused while a guest, running or not, has a disk in it.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - V(dir) is a folder, V(fs) a file system on a block device, V(netfs) one of an NFS server.
      - V(logical) is an LVM volume group that is there, V(rbd) a pool of a Ceph cluster.
    type: str
    choices: [dir, fs, netfs, logical, rbd]
    default: dir
  path:
    description: The folder, or where the file system is mounted. Needed for O(type=dir), O(type=fs) and O(type=netfs).
    type: str
  device:
    description: The block device. Needed for O(type=fs).
    type: str
  host:
    description: The NFS server. Needed for O(type=netfs).
    type: str
  export:
    description: The folder that the NFS server exports. Needed for O(type=netfs).
    type: str
  volume_group:
    description: Name of the volume group. Needed for O(type=logical).
    type: str
  rbd_pool:
    description: Name of the pool in the Ceph cluster. Needed for O(type=rbd).
    type: str
  monitors:
    description: Monitors of the Ceph cluster, each a host or C(host:port). Needed for O(type=rbd).
    type: list
    elements: str
    default: []
  user:
    description: The Ceph user.
    type: str
  secret:
    description: UUID of the libvirt secret that holds the Ceph user's key. It is on the host already.
    type: str
  autostart:
    description: Whether the pool is activated with the host.
    type: bool
    default: true
seealso:
  - module: flotilla.compute.storage_pool_info
"""

EXAMPLES = r"""
- name: Keep disks in a folder of the host
  flotilla.compute.storage_pool:
    name: local
    path: /srv/guests

- name: Keep disks on an NFS server that all hosts mount
  flotilla.compute.storage_pool:
    name: shared
    type: netfs
    host: nfs.example.org
    export: /export/guests
    path: /srv/shared
"""

RETURN = r"""
storage_pool:
  description: The pool as it is now, or would be in check mode. V(null) when it is absent.
  returned: success
  type: dict
  sample:
    name: local
    type: dir
    path: /srv/guests
    autostart: true
    active: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.pool_xml import NEEDS, desired_pool
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pool_definitions import ensure, remove

TEXTS = ("path", "device", "host", "export", "volume_group", "rbd_pool", "user", "secret")


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    params = module.params
    if params["state"] == "absent":
        change = remove(conn, params["name"], check=module.check_mode)
    else:
        said = {key: params[key] for key in (*TEXTS, "monitors")}
        desired = desired_pool(params["name"], params["type"], autostart=params["autostart"], **said)
        change = ensure(conn, desired, check=module.check_mode)
    diff = {"before": change.before or {}, "after": change.after or {}}
    return {"changed": change.changed, "storage_pool": change.after, "diff": diff}


def main() -> None:
    arguments: dict[str, dict[str, t.Any]] = {
        **hypervisor_argument_spec(),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "type": {"type": "str", "choices": list(NEEDS), "default": "dir"},
        "path": {"type": "str"},
        "device": {"type": "str"},
        "host": {"type": "str"},
        "export": {"type": "str"},
        "volume_group": {"type": "str"},
        "rbd_pool": {"type": "str"},
        "monitors": {"type": "list", "elements": "str", "default": []},
        "user": {"type": "str"},
        # The secret's UUID, by which it is found; never the secret.
        "secret": {"type": "str", "no_log": False},
        "autostart": {"type": "bool", "default": True},
    }
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
