#!/usr/bin/python
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan what brings the fleet to what inventory declares
description:
  - Checks the inventory, compares it with what the compute hosts have, schedules new servers together, claims
    their places in the ledger and prints the plan. It is the middle of the playbook C(flotilla.compute.reconcile).
  - In check mode nothing is claimed and the ledger stays as it is; the plan is the same.
  - It reads the surveys that M(flotilla.compute.compute_info) registered as C(fleet_survey) on the hosts of group
    C(computes) in the same run. A host without one is down for this run, and its servers are left alone.
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
      - Claims nothing, and writes nothing to the ledger.
  diff_mode:
    support: N/A
    details:
      - The plan itself says what differs; it is printed in either mode.
  idempotent:
    support: full
  platform:
    platforms: posix
    details:
      - Runs on the controller, whatever the host of the task.
options:
  kind:
    description:
      - V(validate) checks the inventory, and reports every mistake of it in one go, before any host is touched.
      - V(reconcile) makes the plan that brings the fleet to what inventory declares.
      - V(reschedule) finds another host for a server whose build has failed on its host, as Nova's conductor does, at
        most C(max_attempts) of C(fleet_scheduler) hosts in all. Only a host that has answered, and has said that
        nothing of the build is left on it, is followed by another; and only where another may do better.
      - V(action) makes the plan of one action on one server, for M(flotilla.compute.server_action).
      - V(drain) makes the plan that empties the compute host of C(fleet_host). Its servers go to hosts that the
        scheduler chooses for all of them together; for each the plan says how it leaves (C(live), C(cold), C(offline)),
        or that it C(stays) and why. Those of higher C(server_priority) come first, then the smallest. One run at a time
        empties or fills a host.
      - V(undrain) makes the plan that brings back the servers which have left the host of C(fleet_host) by a drain, but
        for those that somebody has moved since.
      - Nothing of V(drain) and V(undrain) is claimed or shown before both hosts of each move have been asked what
        stands against it. Until then the task returns RV(ask) instead of the plan. V(look) asks one host, in check
        mode, in a task delegated to it, and O(answers) brings what it says into the plan. A server that a host refuses
        goes to another, as in Nova, or stays.
      - V(stop) tells the run that empties or fills the host of C(fleet_host) to begin no more moves. What moves then
        ends its move.
      - V(status) shows the fleet as the surveys and the ledger know it, and plans nothing. With the variable
        C(fleet_server) it shows that server alone, and its history. With C(fleet_report) it writes one HTML page with
        hosts and servers to scale, what reconcile would change, and what the loss of each host would do.
      - V(guests) gives the servers as the surveys show them, for the inventory plugin
        P(flotilla.compute.servers#inventory).
      - V(rehearse) says what the loss of the hosts in the variable C(fleet_lose) would mean, all of them at once; with
        C(every) the loss of each host of the fleet alone, in turn. It knows inventory and the ledger and asks no host.
        It fails if a server would find no place, and with C(fleet_strict) if one would lose data that
        C(fleet_allow=data_loss) doesn't give up.
    type: str
    choices: [validate, reconcile, reschedule, action, drain, undrain, look, stop, status, guests, rehearse]
    default: reconcile
  declared:
    description:
      - The inventory as an earlier task with O(kind=validate) returned it. Without it the inventory is read again.
    type: str
  run:
    description:
      - The run as an earlier task with O(kind=validate) returned it. Without it nothing is claimed, as in check mode.
    type: dict
  failed:
    description:
      - What M(flotilla.compute.server) returned for the server, with O(kind=reschedule).
    type: dict
  ask:
    description:
      - With O(kind=look), what is to be asked of the host, one of RV(ask).
    type: dict
  heard:
    description:
      - With O(kind=drain) and O(kind=undrain), what has been heard before, as RV(heard).
    type: dict
  answers:
    description:
      - With O(kind=drain) and O(kind=undrain), the results of tasks with O(kind=look) since then.
    type: list
    elements: dict
    default: []
  server:
    description:
      - With O(kind=action), the server's name or id.
    type: str
  action:
    description:
      - With O(kind=action), the action, as M(flotilla.compute.server_action) has them.
    type: str
  options:
    description:
      - With O(kind=action), the action's own options, as a mapping or as text such as V(type=hard).
    type: raw
  show:
    description:
      - Whether to print the plan.
    type: bool
    default: true
seealso:
  - module: flotilla.compute.compute_info
  - module: flotilla.compute.verdict
author:
  - Flotilla contributors (@flotilla)
"""

EXAMPLES = r"""
- name: Check the inventory
  flotilla.compute.plan:
    kind: validate
  register: fleet_declared

- name: Plan what is to be done
  flotilla.compute.plan:
    declared: "{{ fleet_declared.declared }}"
    run: "{{ fleet_declared.run }}"
  register: fleet_plan
"""

RETURN = r"""
ask:
  description: What is to be asked of hosts before there is a plan, one call each; with an empty list this is the plan.
  returned: with O(kind=drain) and O(kind=undrain)
  type: list
  elements: dict
heard:
  description: What hosts have said so far of moves, for the task that follows.
  returned: if there is more to ask
  type: dict
said:
  description: What the host says of each move.
  returned: with O(kind=look), if it answers
  type: dict
  sample: {web1: {kvm2: {against: "", checks: [{check: disks, against: []}]}}}
silent:
  description: Why the host gave no answer.
  returned: with O(kind=look), if it gave none
  type: str
drain:
  description: The host that is emptied or filled, and the service state that it gets before the first move.
  returned: with O(kind=drain) and O(kind=undrain)
  type: dict
  sample:
    kind: drain
    host: kvm1
    service: {state: maintenance, reason: drained by ops}
throttle:
  description: How many servers move at once.
  returned: with O(kind=drain) and O(kind=undrain)
  type: int
  sample: 1
timeout:
  description: Seconds that one move may take with its waiting for others.
  returned: with O(kind=drain) and O(kind=undrain)
  type: int
  sample: 604800
declared:
  description: The inventory, checked, as one string; without secrets.
  returned: with O(kind=validate)
  type: str
run:
  description: The run that was begun in the ledger.
  returned: with O(kind=validate)
  type: dict
  sample:
    id: 9b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11
    since: 1766312345.1
text:
  description: The plan, or the table of servers, as it is printed.
  returned: with all kinds but O(kind=validate) and O(kind=guests)
  type: str
plan:
  description: Whether there is something to do, and what is to be noted beside.
  returned: with O(kind=reconcile)
  type: dict
  sample:
    changed: true
    notes: []
rehearsal:
  description: For each case the hosts that are lost, and what becomes of their servers.
  returned: with O(kind=rehearse), also when the fleet could not take it
  type: list
  elements: dict
  sample:
    - lost: [kvm1]
      placed: {web1: kvm2, db1: kvm3}
      refused: {db2: "No valid host was found for db2: needs 32 GiB memory, 12 GiB free of 64 GiB x 1.0"}
      data_lost: {db1: [root]}
  contains:
    lost:
      description: The hosts.
      type: list
      elements: str
    placed:
      description: Server to its new host.
      type: dict
    refused:
      description: Server to the reason for which it would find no place.
      type: dict
    data_lost:
      description: Server to its disks, of those that are placed, whose data no other host has.
      type: dict
entry:
  description:
    - The server's entry of the plan, which M(flotilla.compute.server_action) takes. With O(kind=reschedule) that of a
      plan for the other host.
  returned: with O(kind=action), and with O(kind=reschedule) when there is one
  type: dict
host:
  description: The compute host that the server is on. With O(kind=reschedule) the other host.
  returned: with O(kind=action) or O(kind=reschedule)
  type: str
  sample: kvm1
run_id:
  description: The run that has claimed the plan; null in check mode.
  returned: with O(kind=reconcile)
  type: str
hosts:
  description:
    - By compute host, whether it is up, and what it needs before servers can be made on it. With O(kind=status) its
      state, availability zone, traits, and of each resource class and pool what there is and what is used.
  returned: with O(kind=reconcile) and O(kind=status)
  type: dict
guests:
  description:
    - The servers that the compute hosts have, as inventory plugin P(flotilla.compute.servers#inventory) takes them.
  returned: with O(kind=guests)
  type: list
  elements: dict
explanations:
  description:
    - Why servers were refused a host, and of the server that C(fleet_explain) names why it goes where it goes. Servers
      that were refused alike share an entry.
  returned: with O(kind=reconcile)
  type: list
  elements: dict
  sample:
    - servers: [web4]
      wants: 2 GiB, 1 vCPU, 20 GiB disk
      hosts: 2
      left: [[ComputeFilter, 2], [ServerGroupAntiAffinityFilter, 0]]
      refusals:
        kvm1:
          filter: ServerGroupAntiAffinityFilter
          reason: has 1 of server group 'apart' (anti-affinity, at most 1 per host)
        kvm2:
          filter: ServerGroupAntiAffinityFilter
          reason: has 1 of server group 'apart' (anti-affinity, at most 1 per host)
      weights: {}
      host: null
      problem: null
      text: "No valid host was found for web4 (2 GiB, 1 vCPU, 20 GiB disk): kvm1, kvm2: has 1 of server group ..."
  contains:
    servers:
      description: The servers that it is about.
      type: list
      elements: str
    wants:
      description: What they ask for.
      type: str
    hosts:
      description: How many hosts there are.
      type: int
    left:
      description: Pairs of a filter and how many hosts it left, in the filters' order.
      type: list
      elements: list
    refusals:
      description: By host, the first filter that refused it and why.
      type: dict
    weights:
      description: By host that passed, its weight from each weigher; the best host first.
      type: dict
    host:
      description: The host that was chosen; null if there is none.
      type: str
    problem:
      description: Why the request can't be carried out on any host, if it is wrong in itself.
      type: str
    text:
      description: All of it as text.
      type: str
servers:
  description:
    - By server, its verdict, host, steps, what is held, and the differences. Servers that are as declared are only
      counted, in RV(as_declared). With O(kind=status) a list of all servers. With O(kind=drain) and O(kind=undrain) the
      key C(way) is C(live), C(cold), C(offline) or C(stays).
  returned: with O(kind=reconcile) and O(kind=status)
  type: raw
history:
  description: With C(fleet_server), the actions of that server, oldest first, and who asked for each.
  returned: with O(kind=status)
  type: list
  elements: dict
  sample:
    - action: pause
      name: web1
      server_id: 0f8fad5b-d9cb-469f-a165-70867728950e
      start: 1766312345.1
      end: 1766312346.2
      result: Success
      host: kvm1
      by: ops@controller
      run_id: 9b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11
      message: pause
act_hosts:
  description: The compute hosts that have something to do, in order.
  returned: with O(kind=reconcile)
  type: list
  elements: str
act_servers:
  description: The servers that have steps, in order.
  returned: with O(kind=reconcile)
  type: list
  elements: str
act_together:
  description: Of RV(act_servers) those whose guests are not interrupted.
  returned: with O(kind=reconcile)
  type: list
  elements: str
act_rounds:
  description: Of RV(act_servers) those whose guests are interrupted, in the order of their rounds.
  returned: with O(kind=reconcile)
  type: list
  elements: str
rounds:
  description: How many servers each round has. It is empty where C(fleet_max_disrupted) is not set.
  returned: with O(kind=reconcile)
  type: list
  elements: int
  sample: [3, 2]
found:
  description: Whether there is another host, on which the build has its place now.
  returned: with O(kind=reschedule)
  type: bool
tried:
  description: The hosts that have failed so far, each with its cause.
  returned: with O(kind=reschedule)
  type: list
  elements: dict
  sample: [{host: kvm1, cause: pool 'local' has no room}]
enroll:
  description: The options of M(flotilla.compute.compute) where that host is still to be enrolled.
  returned: with O(kind=reschedule), when there is one
  type: dict
images:
  description: The images that the host needs first.
  returned: with O(kind=reschedule), when there is one
  type: list
  elements: dict
as_declared:
  description: How many servers need nothing.
  returned: with O(kind=reconcile)
  type: int
"""
