#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verdict
short_description: End a run with the table of the fleet and a verdict
description:
  - The last task of the playbook C(flotilla.compute.reconcile). It closes the run in the ledger, prints the table of
    the fleet and fails if a server failed, has no valid host, is in conflict, has
    a change that can't be made, or is on a host that is down.
  - What is only held does not fail a run, unless C(fleet_strict) is set, or it is held because a host is down.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
attributes:
  action:
    description: Has a corresponding action plugin, so parts of the options run on the controller.
    support: full
  check_mode:
    support: full
    details:
      - The ledger stays as it is.
  diff_mode:
    support: N/A
    details:
      - It changes nothing but the journal of the ledger.
  idempotent:
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  plan:
    description:
      - What M(flotilla.compute.plan) returned.
    type: dict
    required: true
seealso:
  - module: flotilla.compute.plan
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Show the fleet, and fail if something is not as declared
  flotilla.compute.verdict:
    plan: "{{ fleet_plan }}"
"""

RETURN = r"""
servers:
  description: The fleet, a server an entry.
  returned: success
  type: list
  elements: dict
  sample:
    - server: web1
      status: ACTIVE
      host: kvm2
      flavor: m1.tiny
      addresses: [lan=10.214.0.100]
      since: 1766312345.1
rescheduled:
  description: Servers whose build failed on one host and succeeded on another, a sentence each.
  returned: always
  type: list
  elements: str
  sample: ["web1: tried kvm1: pool 'local' has no room; then kvm2"]
failures:
  description: What is not as declared, a sentence each.
  returned: always
  type: list
  elements: str
  sample: []
"""
