#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keypair_info
short_description: Read the SSH keypairs of the fleet
description:
  - Returns the keypairs of the fleet's catalog, those of C(fleet_keypairs) in inventory and those that
    M(flotilla.compute.keypair) has put into the ledger.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.info_module
  - flotilla.compute._attributes.actiongroup_all
attributes:
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  name:
    description:
      - Return this keypair alone. The list is empty if there is none.
    type: str
seealso:
  - module: flotilla.compute.keypair
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read all keypairs
  flotilla.compute.keypair_info:
  register: known

- name: Show the fingerprints
  ansible.builtin.debug:
    msg: "{{ known.keypairs | items2dict(key_name='name', value_name='fingerprint_sha256') }}"
"""

RETURN = r"""
keypairs:
  description: The keypairs, in the order of their names.
  returned: success
  type: list
  elements: dict
  sample:
    - name: ops
      type: ssh
      public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org
      fingerprint: "6a:35:cd:3b:05:44:88:ea:67:fe:fd:1f:13:d9:a9:b0"
      fingerprint_sha256: SHA256:kOSSjqI6NE3Gcd5n9hSYqe6M0nBcjQVxWHDxoIMVh04
      source: inventory
  contains:
    name:
      description: Name of the keypair.
      type: str
    type:
      description: Kind of keypair, always V(ssh).
      type: str
    public_key:
      description: The public key in OpenSSH's form.
      type: str
    fingerprint:
      description: MD5 of the key, as Nova shows it.
      type: str
    fingerprint_sha256:
      description: SHA-256 of the key, as C(ssh-keygen -l) shows it.
      type: str
    source:
      description: Where it stands, V(inventory) or V(ledger).
      type: str
"""
