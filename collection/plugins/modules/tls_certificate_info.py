#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_certificate_info
short_description: Read the hosts' TLS certificates on the controller
description:
  - Returns the certificates that M(flotilla.compute.tls_certificate) has made in a folder of the controller.
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
    description: Return this host's certificate alone. The list is empty if there is none.
    type: str
  folder:
    description: Folder on the controller, as in M(flotilla.compute.tls_certificate).
    type: path
seealso:
  - module: flotilla.compute.tls_certificate
author:
  - Flotilla contributors (@flotilla-compute)
"""

EXAMPLES = r"""
- name: Read all certificates
  flotilla.compute.tls_certificate_info:
  register: known

- name: Show when they end
  ansible.builtin.debug:
    msg: "{{ known.tls_certificates | items2dict(key_name='name', value_name='not_after') }}"
"""

RETURN = r"""
tls_certificates:
  description: The certificates, in the order of their names.
  returned: success
  type: list
  elements: dict
  sample:
    - name: kvm1
      names: [192.0.2.11, kvm1]
      not_after: "2028-11-21T08:00:00Z"
      fingerprint: 1f0e8b7a5d2c4e6f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7
      ca: /home/ops/.local/state/flotilla/office-pki/ca-cert.pem
      certificate: /home/ops/.local/state/flotilla/office-pki/kvm1/cert.pem
      key: /home/ops/.local/state/flotilla/office-pki/kvm1/key.pem
"""
