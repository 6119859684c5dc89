#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Manage images in the storage pools of a compute host
description:
  - Brings an image into a storage pool of libvirt, or removes one.
  - The file goes straight into the pool's volume and is never unpacked, converted or opened by QEMU on the way. Its
    format is looked at first. It must be the declared one, without a backing file, an external data file, encryption
    or features that are not known. Its checksum is verified while it streams. Whatever fails, nothing is left in the
    pool.
  - An image is stored once per pool, under its checksum, whatever names it has. Two tasks at a time are safe, on one
    host or on two that share the pool. The second waits for the first.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
  - flotilla.compute._hypervisor
attributes:
  check_mode:
    support: full
    details:
      - In check mode the file is not fetched, so that its format and checksum are not known to be right.
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: linux
options:
  name:
    description:
      - Name of the image, for messages. The volume is named after the checksum.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the image from the pool. It is refused while a server of this host was made from the image or
        a volume of the pool stands on it. A snapshot is taken out of the fleet's catalog as well.
    type: str
    choices: [present, absent]
    default: present
  url:
    description:
      - Where the host fetches the image, beginning with C(http://), C(https://) or C(file:///), the latter being a file
        of the host. The server must send a C(Content-Length).
      - A user, a password and a query in it, which may be a signature, are neither shown nor logged.
      - O(url) or O(src) is needed if O(state=present) and the image is not in the pool.
    type: str
  src:
    description:
      - File with the image, on the controller, or on the host if O(remote_src=true). A file of the controller is
        copied to the host's temporary folder first, unless the image is in the pool already.
    type: path
  remote_src:
    description:
      - Whether O(src) is a file of the host.
    type: bool
    default: false
  checksum:
    description:
      - V(sha256:) and the SHA-256 of the file in lower-case hex.
    type: str
    required: true
  format:
    description:
      - Format of the file.
    type: str
    choices: [qcow2, raw]
    default: qcow2
  pool:
    description:
      - Storage pool of the host.
    type: str
    default: local
  from_pool:
    description:
      - Another storage pool of the host that has the image.
    type: str
    version_added: 0.2.0
  timeout:
    description:
      - Seconds after which a fetch that is not done, or waiting for another's, is given up.
    type: int
    default: 1800
  run_id:
    description:
      - Name of the run, told to those who wait for this task.
    type: str
    default: ""
seealso:
  - module: flotilla.compute.image_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Bring an image into the pool of each compute host
  flotilla.compute.image:
    name: debian-12
    url: https://example.org/debian-12.qcow2
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

- name: Bring in an image that is a file on the controller
  flotilla.compute.image:
    name: appliance
    src: images/appliance.raw
    format: raw
    checksum: sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

- name: Remove an image that no server needs
  flotilla.compute.image:
    name: debian-11
    checksum: sha256:fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13
    state: absent
"""

RETURN = r"""
image:
  description: The image in the pool.
  returned: when O(state=present), outside check mode or if the image was there
  type: dict
  sample:
    name: debian-12
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    volume: image-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    pool: local
    complete: true
    virtual_size: 2147483648
    size: 341446656
  contains:
    name:
      description: Name of the image.
      type: str
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
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.flotilla.compute.plugins.module_utils._argspec import hypervisor_argument_spec, run_on_host
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import shown
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.snapshots import forget_image, open_image
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.sources import open_file, open_url


def argument_spec() -> dict[str, dict[str, t.Any]]:
    return {
        **hypervisor_argument_spec(),
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "url": {"type": "str", "no_log": True},
        "src": {"type": "path"},
        "remote_src": {"type": "bool", "default": False},
        "checksum": {"type": "str", "required": True},
        "format": {"type": "str", "choices": ["qcow2", "raw"], "default": "qcow2"},
        "pool": {"type": "str", "default": "local"},
        "from_pool": {"type": "str"},
        "timeout": {"type": "int", "default": 1800},
        "run_id": {"type": "str", "default": ""},
    }


def run(module: AnsibleModule, conn: Connection) -> dict[str, t.Any]:
    params = module.params
    image = Image(name=params["name"], format=params["format"], checksum=params["checksum"])
    images.check_checksum(image.checksum, what=f"image {image.name!r}")
    pool = images.find_pool(conn, params["pool"])
    there = images.look_up(pool, image)
    if params["state"] == "present" and there is not None and there.complete:
        return {"changed": False, "image": {"name": image.name, **there.to_json()}}
    if module.check_mode:
        return {"changed": params["state"] == "present" or there is not None}
    place: dict[str, t.Any] = {"pool": pool, **{key: params[key] for key in ("state_dir", "run_id", "timeout")}}
    if params["state"] == "absent":
        removed = images.remove(conn, image, **place)
        return {"changed": forget_image(conn, params["pool"], image.checksum) or removed}
    stored, changed = images.fetch(conn, image, source_of(params, conn), **place)
    return {"changed": changed, "image": {"name": image.name, **stored.to_json()}}


def source_of(params: dict[str, t.Any], conn: Connection) -> images.OpenSource:
    if params["from_pool"]:
        return lambda: open_image(conn, params["from_pool"], params["checksum"])
    if params["url"]:
        return lambda: open_url(params["url"])
    if params["src"]:
        return lambda: open_file(params["src"])
    raise InvalidInput(
        f"image {params['name']!r} is not in pool {params['pool']!r}, and neither url nor src says where it comes from"
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(), mutually_exclusive=[("url", "src", "from_pool")], supports_check_mode=True
    )
    if module.params["url"] and shown(module.params["url"]) == module.params["url"]:
        # Nothing in it is secret: messages that name it should be read.
        module.no_log_values.discard(module.params["url"])
    run_on_host(module, run)


if __name__ == "__main__":
    main()
