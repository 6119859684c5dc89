#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Move a server to another compute host
description:
  - Moves a server to the host that is named, or to one that the scheduler chooses. The task is delegated to the host
    that the server is on, from where both hosts' libvirt are worked on.
  - A server that runs is moved live. Its guest goes on running and notices no more than a moment's standstill. Disks in
    a pool that both hosts share stay where they are, others are copied, an image that they stand on is not copied
    again, and the config drive is made anew.
  - A server with cores, NUMA cells or huge pages of its host's for itself is given others at the destination. Its guest
    keeps what it sees of them. One with PCI devices of its host's is only moved cold.
  - Everything that could stand against a migration, live or cold, is looked at before anything is touched, and told in
    one sentence each, in Nova's words where it has some. In check mode that is all that is done.
  - How it moves live is what the task says, else what C(fleet_live_migration) says for the whole fleet. Where neither
    says a thing the limit of time ends in V(abort), and there is one stream without a limit.
  - Until the guest runs at the destination a migration that fails leaves it running where it was, with nothing of it at
    the destination. A run that is killed stops no migration. It goes on and ends by itself, and what a host that died
    meanwhile has left undone the next reconcile run does.
  - The destination must have been surveyed in this run, as the playbook C(flotilla.compute.migrate) does it.
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
    support: full
  idempotent:
    support: none
    details:
      - A server that is on O(host) already is refused, as in Nova.
  platform:
    platforms: posix
options:
  server:
    description:
      - Name or id of the server. Needed unless O(entry) is given.
    type: str
  host:
    description:
      - The compute host that it goes to. By default the scheduler chooses.
    type: str
  live:
    description:
      - V(auto) moves a server live that runs or is paused, and any other one cold. V(true) refuses one that is off.
        V(false) shuts it down, moves it and starts it again.
    type: str
    choices: [auto, 'true', 'false']
    default: auto
  confirm:
    description:
      - A cold migration waits to be confirmed or reverted, as in Nova, unless this is V(true).
    type: bool
  block_migration:
    description:
      - V(auto) copies the disks that are not shared. V(true) refuses shared disks, V(false) refuses local ones, as in
        Nova.
    type: str
    choices: [auto, 'true', 'false']
    default: auto
  timeout:
    description:
      - Seconds that a live migration may take, V(0) for no limit. By itself 800 for each GiB of memory, and of disks
        that are copied, as in Nova.
    type: int
  timeout_action:
    description:
      - What is done then. V(abort) leaves the guest on its host. V(post_copy) has it run at the destination at once and
        brings its memory after it. V(pause) has it stand still until its memory is there.
    type: str
    choices: [abort, post_copy, pause]
  post_copy:
    description:
      - Whether the migration may be switched to post-copy by hand (C(virsh migrate-postcopy)). From then on there is no
        way back, and a host or a link that breaks costs the guest its memory. The destination needs
        C(vm.unprivileged_userfaultfd=1) (sysctl), or a QEMU that runs as root.
    type: bool
  auto_converge:
    description:
      - Slow the guest down when it writes faster than its memory can be moved.
    type: bool
  bandwidth:
    description:
      - MiB a second that the migration may take, V(0) for as many as there are.
    type: int
  parallel:
    description:
      - Connections that the memory is moved over at once, V(0) for a single stream.
    type: int
  tls:
    description:
      - Encrypt what is moved, with the certificates that QEMU has on both hosts (the role C(compute_host) brings them).
        By itself if the destination's C(compute_migration_uri) begins with C(qemu+tls); V(false) sends it as it is.
    type: bool
  wait:
    description:
      - Whether the end of a live migration is waited for, which it is unless this is V(false). One that is not waited
        for ends by itself, and the next reconcile run notes what came of it.
    type: bool
  allow:
    description:
      - Leave for what is refused otherwise, as C(fleet_allow) gives it for a run. V(host_network) moves a server out of
        a network that its host has for itself (NAT, routed, isolated), where it would find none of its peers elsewhere.
    type: list
    elements: str
    choices: [restart, rebuild, delete, migrate, host_network, locked, data_loss]
    default: []
  entry:
    description:
      - The migration's entry of a plan, as M(flotilla.compute.plan) returns it.
    type: dict
seealso:
  - module: flotilla.compute.server_action
  - module: flotilla.compute.server_info
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Move a running server, without a gap
  flotilla.compute.migrate:
    server: web1
    host: kvm2
  delegate_to: "{{ lookup('flotilla.compute.scheduler', 'web1') }}"

- name: Move one that writes much to its memory, within ten minutes
  flotilla.compute.migrate:
    server: db1
    timeout: 600
    timeout_action: pause
    auto_converge: true
  delegate_to: kvm1
"""

RETURN = r"""
server:
  description: The server after the migration.
  returned: success
  type: dict
  sample: {name: web1, id: 0f8fad5b-d9cb-469f-a165-70867728950e, host: kvm2, state: running}
host:
  description: The compute host that it was on.
  returned: success
  type: str
  sample: kvm1
steps:
  description: The kinds of the steps that the migration was.
  returned: success
  type: list
  elements: str
  sample: [live_migrate]
checks:
  description: What was looked at on both hosts, and the sentences that stand against the move.
  returned: in check mode, when the server would be moved
  type: list
  elements: dict
  sample: [{check: machine and CPU, against: []}, {check: networks, against: []}]
migration:
  description: >-
    What a live migration came to. Times in ms, RV(ignore:data) in bytes. The downtime of a post-copy is not known.
    Of a cold one that has failed and left nothing at the destination, its id and status.
  returned: >-
    when the server was to be moved live, was begun to be, and that was waited for; when a cold migration failed and was
    taken back
  type: dict
  sample:
    id: 5d2b8c1e-0f4e-5c0e-9d6b-6a1d3b0a7c11
    status: completed
    total_time: 2410
    downtime: 43
    data: 96468992
    iterations: 3
"""
