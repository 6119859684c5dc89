#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Find what is wrong between ledger, hosts and inventory
description:
  - Compares what the ledger remembers, what the compute hosts have and what inventory declares, and says each thing
    that does not fit in a sentence, with the command that mends it. It is the playbook C(flotilla.compute.doctor).
  - It reads the surveys that M(flotilla.compute.compute_info) registered as C(fleet_survey) on the hosts of group
    C(computes) in the same run.
  - It changes nothing, unless O(action) asks for one of the two things that only the ledger can mend.
extends_documentation_fragment:
  - flotilla.compute._attributes
  - flotilla.compute._attributes.actiongroup_all
attributes:
  action:
    description: Has a corresponding action plugin, so parts of the options run on the controller.
    support: full
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  action:
    description:
      - V(examine) only looks. With the variable C(fleet_strict) it fails if it finds something.
      - V(reset_state) frees a server that a run which is over has left busy, and gives it the state that its host
        shows. A server that a run or a step on its host is at work on is refused.
      - V(forget_host) takes a host out of the ledger for good. One that is down or has servers is refused. Servers that
        the ledger still has there, of a host whose disks are lost, are given up with C(fleet_allow=data_loss); those
        that are elsewhere, shelved or whose root disk another host sees are kept.
    type: str
    choices: [examine, reset_state, forget_host]
    default: examine
  server:
    description:
      - The name or id of a server, with O(action=reset_state).
    type: str
  host:
    description:
      - The host, with O(action=forget_host).
    type: str
  declared:
    description:
      - The inventory as an earlier task with M(flotilla.compute.plan) and C(kind=validate) returned it. Without it the
        inventory is read again.
    type: str
seealso:
  - module: flotilla.compute.plan
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Survey the compute hosts
  ansible.builtin.import_playbook: flotilla.compute.survey
  vars:
    fleet_read_only: true # a run that may write clears up after dead ones itself, as far as it needs to

- name: Look for what is wrong
  hosts: localhost
  tasks:
    - name: Examine the fleet
      flotilla.compute.doctor:
      register: result

    - name: Free a server whose run was killed
      flotilla.compute.doctor:
        action: reset_state
        server: web1
"""

RETURN = r"""
findings:
  description: What is wrong, worst first.
  returned: with O(action=examine)
  type: list
  elements: dict
  sample:
    - kind: stuck_task
      what: web1
      host: kvm1
      message: "web1 is stuck in task state 'spawning': the run that set it is over"
      command: ansible-playbook flotilla.compute.doctor -e fleet_server=web1 -e fleet_action=reset_state
  contains:
    kind:
      description:
        - What it is. One of C(stranger), C(reinstalled_host), C(runs_twice), C(second_copy), C(cut_off_move),
          C(astray), C(two_of_a_name), C(damaged_record), C(host_down), C(stuck_task), C(error), C(orphan_claim),
          C(misplaced), C(dangling_record), C(left_host), C(undeclared), C(orphan_volume), C(left_volume).
      type: str
    what:
      description: The server, host or volume.
      type: str
    host:
      description: The host on which it is, or null.
      type: str
    message:
      description: What is wrong, as a sentence.
      type: str
    command:
      description: What mends it.
      type: str
done:
  description: What was mended, or in check mode would be.
  returned: with O(action=reset_state) and O(action=forget_host)
  type: list
  elements: str
  sample: [task state spawning cleared]
text:
  description: The findings, or what was mended, as printed.
  returned: success
  type: str
"""

# All of it runs on the controller: see plugins/action/doctor.py.
