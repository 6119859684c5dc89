#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evacuate
short_description: Build a dead host's servers elsewhere
description:
  - Proves that a compute host is dead, plans all its servers together and claims their places. On the controller that
    is all that it does, and the playbook C(flotilla.compute.evacuate) carries the plan out on the destinations. As a
    task that is delegated to a compute host it also carries it out there, and evacuates to that host alone.
  - A server keeps its id, name, flavor, metadata, MAC addresses and addresses. Its disks are kept, with what is on
    them, where another host shows them - its pool of that name bears the id that the server's record has, and has that
    very volume. What is on a disk that no other host shows is lost - the server is built anew from its image, only
    with leave for that.
  - A server that is not to run is defined without ever being started. What a paused, suspended or rescued one had in
    memory is lost; it comes back as itself. Servers with a virtual TPM are refused, and those that wait for a resize
    to be confirmed or are on their way to another host, as in Nova.
  - Until the new guest is defined, its disks are complete and, if it is to, it runs, nothing makes the copy on the dead
    host stale. When that host is back, the next reconcile run takes away the copies that the new guests' own records
    name, by host, generation and migration. Their local disks are kept for C(fleet_reclaim) hours, shared ones are
    never touched. Whatever does not fit is told, and left alone.
  - A run that was cut off is mended by running it again. If the old host is back first, what was half built goes, with
    the disks that it had made itself.
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
      - Shows the same plan, and what would be lost. Touches nothing, not even the power.
  diff_mode:
    support: N/A
    details:
      - The plan itself says what becomes of each server.
  idempotent:
    support: full
    details:
      - A server that has been evacuated is no longer on the dead host, and is left alone.
  platform:
    platforms: posix
options:
  host:
    description:
      - The compute hosts that are dead. Where the destination of an evacuation died too, both are named together.
      - They must have been asked in the same run (playbook C(flotilla.compute.survey)). One that answers is refused.
    type: list
    elements: str
    required: true
  server:
    description:
      - Name or id of the only server to evacuate. Without it all of the host's.
    type: str
  to:
    description:
      - The host to go to. It must pass the scheduler's filters as any other. Without it the scheduler chooses.
    type: str
  fenced:
    description:
      - Your word that the hosts are off. Either the reason, or a mapping with V(reason) and V(by), the name of who says
        so (by default who runs this). It is kept with the migrations.
      - Unreachable is not dead. A guest that runs on, on a host that was cut off, would run twice.
    type: raw
  on_shared_storage:
    description:
      - What you know of the servers' root disks. V(true) and V(false) refuse servers of which it isn't so; V(auto)
        looks.
    type: str
    choices: [auto, 'true', 'false']
    default: auto
  accept_data_loss:
    description:
      - Build servers anew from their image whose disk was on the dead host alone, as C(fleet_allow=data_loss) does.
      - It also evacuates servers on shared disks that start by themselves (C(server_autostart)), whose old host must
        then stay off.
    type: bool
    default: false
  target_state:
    description:
      - V(declared) starts the servers that were to run. V(started) starts all, V(stopped) none.
    type: str
    choices: [declared, started, stopped]
    default: declared
  admin_password:
    description:
      - A new password for the administrator, for a server that is built anew, where the guest takes it from its config
        drive. Refused where the disk is kept, as in Nova. For a task on a compute host.
      - Ansible's lookup P(ansible.builtin.password#lookup) makes one, and keeps it for you.
    type: str
  wait:
    description:
      - Whether the servers are waited for until they are built, and run if they are to. With V(false) a build that
        takes longer than a few seconds ends by itself on its host, and the next reconcile or evacuate run notes what
        came of it. For a task on a compute host; the playbook waits.
    type: bool
    default: true
  unattended:
    description:
      - Refuse hosts that inventory or the ledger has out of service, for people are at work on them. For a watcher.
    type: bool
    default: false
  declared:
    description:
      - The inventory as an earlier task with M(flotilla.compute.plan) and O(flotilla.compute.plan#module:kind=validate)
        returned it. Without it the inventory is read again.
    type: str
  run:
    description:
      - The run that M(flotilla.compute.plan) with O(flotilla.compute.plan#module:kind=validate) has begun.
    type: dict
  show:
    description:
      - Print the plan.
    type: bool
    default: true
seealso:
  - module: flotilla.compute.plan
  - module: flotilla.compute.server_action
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: See which hosts are alive
  ansible.builtin.import_playbook: flotilla.compute.survey

- name: Bring one server of a dead host to kvm2
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Evacuate db1
      flotilla.compute.evacuate:
        host: [kvm1]
        server: db1
        fenced:
          by: ann
          reason: switched off at the rack
        declared: "{{ fleet_declared.declared }}"
        run: "{{ fleet_declared.run }}"
      delegate_to: kvm2

    - name: Build web1 anew, with a password that is made for it
      flotilla.compute.evacuate:
        host: [kvm1]
        server: web1
        accept_data_loss: true
        admin_password: "{{ lookup('ansible.builtin.password', 'credentials/web1', length=20) }}"
        declared: "{{ fleet_declared.declared }}"
        run: "{{ fleet_declared.run }}"
      delegate_to: kvm2
"""

RETURN = r"""
evacuation:
  description: What becomes of each server, and the proof that the hosts are dead.
  returned: success
  type: dict
  contains:
    hosts:
      description: The dead hosts.
      type: list
      elements: str
    proofs:
      description: By host, who says that it is off. Empty where nothing was to be touched.
      type: dict
    servers:
      description: The servers with where they go, whether their disk is kept or rebuilt, and the roles of lost disks.
      type: list
      elements: dict
  sample:
    hosts: [kvm1]
    proofs:
      kvm1: {kind: operator, host: kvm1, by: ann, reason: switched off at the rack, at: 1790000000.0, level: 0}
    servers:
      - name: db1
        id: 0f8fad5b-d9cb-469f-a165-70867728950e
        from: kvm1
        to: kvm2
        disk: kept
        lost: []
        starts: true
        migration: 7c9e6679-7425-40de-944b-e07fc1f90ae7
        verdict: change
        message: ''
servers:
  description: The entries of the plan, as of M(flotilla.compute.plan), by name.
  returned: success
  type: dict
text:
  description: The plan as printed.
  returned: success
  type: str
table:
  description: What has become of the servers, as printed.
  returned: when it was carried out here
  type: str
"""
