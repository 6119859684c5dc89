#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_action
short_description: Carry out one of Nova's actions on a server, now
description:
  - Does to a server what Nova's actions do, at once and on the compute host that the task is delegated to. What a
    server should be for good is declared in inventory, or with M(flotilla.compute.server).
  - An action is taken in the states in which Nova takes it, and is refused in Nova's words otherwise; nothing is
    changed then. So most actions are refused the second time, as in Nova.
  - Where an action leaves a server different from what inventory declares, RV(notes) says what the next reconcile run
    will do about it.
  - One task at a time works on a server. Every action is in the ledger with its start, its end, its result and who
    asked for it; the playbook C(flotilla.compute.status) shows them with C(-e fleet_server=NAME).
  - There is no action to reset a server's state. What a server does is read from libvirt each time, and a task of a run
    that died is cleared by the next one.
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
      - The second time most actions are refused, as in Nova; a reboot reboots again.
      - V(action=lock), V(action=unlock), V(action=delete) and V(action=soft_delete) change nothing the second time.
  platform:
    platforms: posix
options:
  server:
    description:
      - Name or id of the server. One that was deleted softly is also known by the name that its domain has now.
      - Needed unless O(entry) is given.
    type: str
  action:
    description:
      - V(start) starts a server that is off. V(stop) presses its power button, again every ten seconds for O(timeout)
        seconds, and then pulls the plug.
      - V(reboot) shuts it down and starts it, or pulls the plug after O(timeout) seconds. With O(type=hard) it pulls
        the plug at once and makes the domain anew from the server's record, which repairs a broken one.
      - V(pause) and V(unpause) stop and go on in memory. What a paused server has in memory is lost when its host
        reboots.
      - V(suspend) and V(resume) save the memory on the host's disk and go on from there.
      - V(abort_migration) ends a live migration that is under way, while another task is at it. The server stays where
        it is, and nothing of it stays at the destination. One that has gone over to post-copy can't be aborted.
      - V(lock) and V(unlock). A locked server refuses whatever changes it, from reconcile runs too, unless the run has
        leave for V(locked).
      - V(delete) is V(soft_delete) where C(fleet_reclaim) gives deleted servers time, and final where it does not.
        V(soft_delete) turns the server off and keeps it under another name, V(restore) brings it back and starts it.
        V(force_delete) is final at once. What is final needs leave for V(delete).
      - V(crash_dump) and V(inject_nmi) send a non-maskable interrupt, at which a guest that is set up for it dumps its
        memory. They are one and the same.
      - V(set_password) sets the administrator's password through the guest agent.
      - V(snapshot) copies the root disk into an image of the fleet, of a running guest too, whose own files are not
        touched. Its file systems are frozen at that moment if its image has C(hw_qemu_guest_agent=yes); with
        C(os_require_quiesce=yes) there is no snapshot without. V(backup) is a snapshot that belongs to a row, of which
        only the newest stay.
      - V(rebuild) gives the server a new root disk, from O(image) or its own one. All else of it stays. A root disk
        that was made of no image (an adopted server's) is left in its pool, which needs leave for V(data_loss).
      - V(rescue) boots it from O(image) with its root disk as the second one, or beside all of its disks if that image
        has C(hw_rescue_bus) or C(hw_rescue_device). V(unrescue) brings back the domain, and the state, of before.
      - V(resize) gives the server another O(flavor), restarting it if it runs. It stays on its host if there is room,
        and else goes to one that the scheduler chooses, or at once to O(host). It then waits, as C(VERIFY_RESIZE), for
        V(confirm_resize), which leaves the new flavor for good, or for V(revert_resize), which brings back the flavor
        and the state of before. C(fleet_resize_confirm_window) lets reconcile runs confirm by themselves. A disk never
        becomes smaller, so a flavor with a smaller one is refused, and after a revert the root disk has the size that
        it was grown to, with all that was written to it. (Nova throws that away.) Ephemeral disks that came with the
        new flavor are lost by a revert, which then needs leave for V(data_loss). A server with C(server_resize=live)
        gets more vCPUs and memory while it runs, and for good, where its domain has room for them.
      - V(migrate) takes the server to O(host), or to one that the scheduler chooses. It is shut down, moved, and
        started if it ran. Disks in a pool that both hosts share stay where they are, others are copied from host to
        host. It then waits to be confirmed or reverted, as after a resize, unless O(confirm) is true. Until then the
        host that it left keeps its room and a copy of it, which can't be started; V(confirm_resize) takes that away,
        and V(revert_resize) goes back to it. What was written meanwhile to disks that were copied is lost by that,
        which then needs leave for V(data_loss). The host that the server is on opens the libvirt of the other one by
        its C(compute_migration_uri), which both need.
      - V(shelve) keeps the server as snapshots of its root and ephemeral disks and frees its host. V(unshelve) makes
        it again on the host that the task is for, or that the playbook's plan chooses; its id, addresses and MACs are
        the same.
    type: str
    choices:
      - abort_migration
      - backup
      - confirm_resize
      - crash_dump
      - delete
      - force_delete
      - inject_nmi
      - lock
      - migrate
      - pause
      - reboot
      - rebuild
      - rescue
      - resize
      - restore
      - resume
      - revert_resize
      - set_password
      - shelve
      - snapshot
      - soft_delete
      - start
      - stop
      - suspend
      - unlock
      - unpause
      - unrescue
      - unshelve
  type:
    description:
      - With O(action=reboot), V(soft) or V(hard). It is V(soft) when it is not given.
    type: str
  timeout:
    description:
      - Seconds that the guest is given to shut down, with O(action=stop) and O(action=reboot).
      - By default V(120) for a reboot, as in Nova. For a stop it is the server's C(server_shutdown_timeout), else the
        C(os_shutdown_timeout) of its image, else V(60).
    type: int
  wait:
    description:
      - With V(false), O(action=stop) and O(action=reboot) press the power button once and do not wait for what the
        guest makes of it. O(action=migrate) with O(live) returns when the migration has begun.
    type: bool
  reason:
    description:
      - With O(action=lock), why. It is shown to everybody who is refused.
    type: str
  user:
    description:
      - With O(action=set_password), whose password is set. By default the C(os_admin_user) of the image, else
        C(Administrator) for Windows and C(root) for all others.
    type: str
  password:
    description:
      - With O(action=set_password), the password. By default C(server_admin_password) of the server's inventory.
      - With O(action=rebuild), the administrator's password that the new root disk's first boot finds, as a hash, on
        its config drive, instead of that of inventory.
    type: str
  name:
    description:
      - With O(action=snapshot) and O(action=backup), the image's name. By default the server's with the time.
    type: str
  pool:
    description:
      - With O(action=snapshot), O(action=backup) and O(action=shelve), the storage pool that the image goes into. By
        default the pool of the server's root disk. Only hosts that have the pool can use the image.
    type: str
  backup_type:
    description:
      - With O(action=backup), the row that it belongs to, such as V(daily) or V(weekly). Needed.
    type: str
  rotation:
    description:
      - With O(action=backup), how many backups of that row are kept. With V(0) the one just made goes too, as in Nova.
        Needed.
    type: int
  host:
    description:
      - With O(action=migrate) and O(action=resize), the compute host that the server goes to. By default the scheduler
        chooses one.
    type: str
  live:
    description:
      - With O(action=migrate), whether the server goes on running meanwhile, V(auto) where it runs. By default it is
        shut down for it, as in Nova; M(flotilla.compute.migrate) moves it live.
    type: str
    choices: [auto, 'true', 'false']
  auto_converge:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: bool
  bandwidth:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: int
  block_migration:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: str
    choices: [auto, 'true', 'false']
  parallel:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: int
  post_copy:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: bool
  timeout_action:
    description:
      - With O(action=migrate) and O(live), what is done after O(timeout) seconds.
    type: str
    choices: [abort, post_copy, pause]
  tls:
    description:
      - With O(action=migrate) and O(live), as M(flotilla.compute.migrate) has it.
    type: bool
  confirm:
    description:
      - With O(action=migrate), whether the move is confirmed at once, so that there is no way back.
    type: bool
  flavor:
    description:
      - With O(action=resize), the name of the new flavor. Needed.
    type: str
  image:
    description:
      - With O(action=rebuild) and O(action=rescue), the name of the image. By default the server's own.
    type: str
  key_name:
    description:
      - With O(action=rebuild), the keypair whose public key the guest is given from now on.
    type: str
  user_data:
    description:
      - With O(action=rebuild), the guest's user data from now on.
    type: str
  metadata:
    description:
      - With O(action=rebuild), the server's metadata from now on.
    type: dict
  description:
    description:
      - With O(action=rebuild), the server's description from now on.
    type: str
  options:
    description:
      - The action's own options as one mapping, or as text such as V(type=hard timeout=30). They stand beside those
        given one by one.
    type: raw
  allow:
    description:
      - Leave for what is refused otherwise, as C(fleet_allow) gives it for a run.
    type: list
    elements: str
    choices: [restart, rebuild, delete, migrate, host_network, locked, data_loss]
    default: []
  entry:
    description:
      - The action's entry of a plan, as M(flotilla.compute.plan) returns it. O(options) may stand beside it.
    type: dict
seealso:
  - module: flotilla.compute.server
  - module: flotilla.compute.server_info
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Pause a server on the host that it is on
  flotilla.compute.server_action:
    server: web1
    action: pause
  delegate_to: "{{ lookup('flotilla.compute.scheduler', 'web1') }}"

- name: Power cycle a server that hangs, with its domain made anew
  flotilla.compute.server_action:
    server: web1
    action: reboot
    type: hard
  delegate_to: kvm1

- name: Back up a server, and keep the backups of seven days
  flotilla.compute.server_action:
    server: web1
    action: backup
    backup_type: daily
    rotation: 7
    pool: shared
  delegate_to: kvm1

- name: Keep everybody's hands off
  flotilla.compute.server_action:
    server: web1
    action: lock
    reason: its disk is copied until Friday
  delegate_to: kvm1
"""

RETURN = r"""
server:
  description: The server after the action.
  returned: success
  type: dict
  sample: {name: web1, id: 0f8fad5b-d9cb-469f-a165-70867728950e, host: kvm1, state: paused}
action:
  description: The action.
  returned: success
  type: str
  sample: pause
host:
  description: The compute host that the server is on.
  returned: success
  type: str
  sample: kvm1
steps:
  description: The kinds of the steps that the action was.
  returned: success
  type: list
  elements: str
  sample: [pause]
notes:
  description: How the next reconcile run will treat what the action has left.
  returned: when it will change something
  type: list
  elements: str
  sample:
    - >-
      inventory declares active: the next reconcile run will unpause it; set server_state: paused to keep it as it is
details:
  description: >-
    What the action has to tell beside. For a snapshot: what it is, the seconds that it took, how consistent it is, and
    the backups that were removed.
  returned: when there is something
  type: dict
  sample:
    consistency: file systems frozen
    seconds: 12.3
    snapshot: {id: 0e6f6f0c-6c0c-5b0e-8b57-6a4f1f3a2c11, server_name: web1, pool: shared, size: 1073741824}
    removed: []
"""
