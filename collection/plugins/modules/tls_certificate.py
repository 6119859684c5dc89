#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate
short_description: Make a host's TLS certificate on the controller
description:
  - Makes the fleet's own certificate authority in a folder of the controller, where there is none yet, and a
    certificate of it for one host, which is good for the host as server and as client.
  - What is there is kept. A new certificate is made when other names are asked for, when the end of the old one is
    near, or when another authority has issued it.
  - Who has the authority's key can be any host of the fleet. It stays on the controller, with mode C(0600).
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
attributes:
  check_mode:
    support: full
    details:
      - A certificate that would be made is not returned.
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
    description: The host's name. It is the certificate's common name, one of its names, and the name of its folder.
    type: str
    required: true
  names:
    description: Other names and addresses by which hosts call this one.
    type: list
    elements: str
    default: []
  folder:
    description:
      - Folder on the controller.
      - Default is C(<fleet_name>-pki) where the fleet's ledger is by default, C(~/.local/state/flotilla).
    type: path
  passphrase:
    description: Passphrase of the authority's key. Without one the key is not encrypted.
    type: str
  valid_days:
    description: How long a new certificate lasts.
    type: int
    default: 730
  renew_days:
    description: A new certificate is made when the old one ends in fewer days than this.
    type: int
    default: 60
requirements:
  - cryptography (on the controller)
seealso:
  - module: flotilla.compute.tls_certificate_info
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Have a certificate for this host
  flotilla.compute.tls_certificate:
    name: "{{ inventory_hostname }}"
    names: ["{{ ansible_host }}"]
  register: made

- name: Bring it to the host
  ansible.builtin.copy:
    src: "{{ made.tls_certificate.certificate }}"
    dest: /etc/pki/libvirt/servercert.pem
    mode: "0644"

- name: Bring its key as well
  ansible.builtin.copy:
    src: "{{ made.tls_certificate.key }}"
    dest: /etc/pki/libvirt/private/serverkey.pem
    mode: "0600"
"""

RETURN = r"""
tls_certificate:
  description:
    - The certificate, with the paths of its files on the controller. V(null) in check mode where one would be made.
  returned: success
  type: dict
  sample:
    name: kvm1
    names: [192.0.2.11, kvm1]
    not_after: "2028-11-21T08:00:00Z"
    fingerprint: 1f0e8b7a5d2c4e6f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7
    ca: /home/ops/.local/state/flotilla/office-pki/ca-cert.pem
    certificate: /home/ops/.local/state/flotilla/office-pki/kvm1/cert.pem
    key: /home/ops/.local/state/flotilla/office-pki/kvm1/key.pem
"""
