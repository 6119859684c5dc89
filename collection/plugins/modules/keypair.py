#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keypair
short_description: Manage SSH keypairs of the fleet
description:
  - Adds a keypair to the fleet's catalog, or removes one. Servers name it in C(server_key_name).
  - With O(public_key) a key is imported. Without, one is generated, and its private half is written to
    O(private_key_path) on the controller with mode 0600. The private key is not printed, not returned and not kept
    anywhere else.
  - Keypairs that modules make stand in the ledger, beside those of C(fleet_keypairs) in inventory. A name can be in
    one of them only.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
attributes:
  check_mode:
    support: full
    details:
      - A key that would be generated has no fingerprint yet.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  name:
    description:
      - Name of the keypair. 1 to 255 letters, digits, spaces and C(-), C(_), C(.), C(@).
    type: str
    required: true
  state:
    description:
      - V(absent) removes the catalog entry. Servers keep the key that they were made with, and a private key that was
        generated stays where it is.
    type: str
    choices: [present, absent]
    default: present
  public_key:
    description:
      - Public key to import, in OpenSSH's form, as in an C(id_ed25519.pub) file.
      - Without it a key is generated when there is none of this name.
    type: str
  private_key_path:
    description:
      - File on the controller for the private key that is generated.
      - A file that is there already is never replaced. If it is a private key without a passphrase, its public half is
        taken, so that a run that was interrupted can be repeated.
      - By default C(keys/<fleet_name>/<name>) in C(fleet_state_dir), which is C(~/.local/state/flotilla) if not set.
    type: path
  type:
    description:
      - Type of the key to generate, V(ed25519) by default.
      - A keypair of this name with a key of another type is refused unless O(force=true).
    type: str
    choices: [ed25519, rsa]
  force:
    description:
      - Replaces a keypair of the same name that has another key, which is refused otherwise.
    type: bool
    default: false
seealso:
  - module: flotilla.compute.keypair_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Import a public key
  flotilla.compute.keypair:
    name: ops
    public_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Generate a key for the build servers
  flotilla.compute.keypair:
    name: build
    private_key_path: ~/.ssh/build
  register: build_key

- name: Remove a keypair
  flotilla.compute.keypair:
    name: build
    state: absent
"""

RETURN = r"""
keypair:
  description: The keypair.
  returned: when O(state=present), and in check mode unless a key would be generated
  type: dict
  sample:
    name: ops
    type: ssh
    public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org
    fingerprint: "6a:35:cd:3b:05:44:88:ea:67:fe:fd:1f:13:d9:a9:b0"
    fingerprint_sha256: SHA256:kOSSjqI6NE3Gcd5n9hSYqe6M0nBcjQVxWHDxoIMVh04
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
private_key_path:
  description: File on the controller with the private key.
  returned: when a key was generated, or would be, or the file is there from an earlier run
  type: str
  sample: /home/ops/.local/state/flotilla/keys/default/build
"""
