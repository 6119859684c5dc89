#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Read the images in the storage pools of a compute host
description:
  - Returns the images that M(flotilla.compute.image) has brought into the pools of a compute host.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.info_module
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._hypervisor
attributes:
  platform:
    platforms: linux
options:
  checksum:
    description:
      - Return the image with this checksum alone. The list is empty if there is none.
    type: str
  pool:
    description:
      - Read this pool alone. By default all that are started.
    type: str
seealso:
  - module: flotilla.compute.image
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read the images of a host
  flotilla.compute.image_info:
  register: known

- name: Show what they take
  ansible.builtin.debug:
    msg: "{{ known.images | map(attribute='size') | sum }} bytes"
"""

RETURN = r"""
images:
  description: The images, in the order of pools and volumes.
  returned: success
  type: list
  elements: dict
  sample:
    - checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      volume: image-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      pool: local
      complete: true
      virtual_size: 2147483648
      size: 341446656
  contains:
    checksum:
      description: SHA-256 of the file.
      type: str
    volume:
      description: Name of the volume.
      type: str
    pool:
      description: Name of the pool.
      type: str
    complete:
      description: Whether all of it is there.
      type: bool
    virtual_size:
      description: Size of the disk in it, in bytes.
      type: int
    size:
      description: What it takes in the pool, in bytes.
      type: int
snapshots:
  description:
    - Of which server, and when, the images among them are snapshots that were made by
      M(flotilla.compute.server_action). One that is not complete was cut off; the next snapshot of its server removes
      it.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 0e6f6f0c-6c0c-5b0e-8b57-6a4f1f3a2c11
      server_id: 0f8fad5b-d9cb-469f-a165-70867728950e
      server_name: web1
      image: {name: golden, format: qcow2, checksum: "sha256:9f86d081884c7d65", min_disk: 1, min_ram: 0, properties: {}}
      image_type: snapshot
      backup_type: null
      pool: local
      created_at: "2026-11-21T22:00:00Z"
      size: 341446656
      virtual_size: 2147483648
      complete: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.snapshots import list_snapshots
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    pool, checksum = module.params["pool"], module.params["checksum"]
    names = [pool] if pool else images.pool_names(conn)
    found = [image.to_json() for name in names for image in images.list_images(images.find_pool(conn, name))]
    storage = Storage(conn)
    kept = [snapshot for name in names for snapshot in list_snapshots(storage, storage.pool(name))]
    return {
        "changed": False,
        "images": [image for image in found if checksum in (None, image["checksum"])],
        "snapshots": [one.to_json() for one in kept if checksum in (None, one.image.checksum)],
    }


def main() -> None:
    arguments = {**hypervisor_argument_spec(), "checksum": {"type": "str"}, "pool": {"type": "str"}}
    run_on_host(AnsibleModule(argument_spec=arguments, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
