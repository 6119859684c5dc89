# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a fleet: ledger against hosts and inventory, each finding with the command that mends it.

Note that this plugin util is **PRIVATE** to the collection.

Pure: surveys, the ledger's rows and inventory go in, findings come out. What reconcile mends by itself is found too:
the command is then reconcile's own. What nobody but people can decide is said so.
"""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core import namespace
from ansible_collections.flotilla.compute.plugins.module_utils._core.differences import LIVE, untuned
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import MARK, SOURCE, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import (
    DOCTOR,
    EVACUATE,
    RECONCILE,
    Finding,
    Patient,
    on_host,
    sees_disk,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import whose
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reinstalled import reinstalled, servers_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.snapshots import (
    Kept,
    half_made,
    lost,
    uncatalogued,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import handed_over
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.stray_volumes import (
    left_volumes,
    orphan_volumes,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerRow


def examine(patient: Patient) -> list[Finding]:
    """All that is wrong, worst first: what endangers data, then what is in the way, then what is only untidy."""
    found = [
        *_strangers(patient),
        *reinstalled(patient),
        *_copies(patient),
        *_moves(patient),
        *_astray(patient),
        *_unreadable(patient),
        *_down(patient),
        *_stuck(patient),
        *_claims(patient),
        *_lost(patient),
        *_left_hosts(patient),
        *_undeclared(patient),
        *orphan_volumes(patient),
        *left_volumes(patient),
        *_snapshots(patient),
    ]
    return list({(one.kind, one.what, one.host): one for one in found}.values())


def _strangers(patient: Patient) -> t.Iterator[Finding]:
    fleet = patient.snapshot.fleet if patient.snapshot is not None else None
    try:
        whose(
            patient.computes,
            fleet_id=fleet.fleet_id if fleet else None,
            ledger_id=fleet.ledger_id if fleet else None,
            take_over=False,
        )
    except Conflict as exc:
        command = f"{RECONCILE} -e fleet_take_over=true"
        if "fleet_take_over" not in str(exc):
            command = "mend the inventory as the sentence says; no command can know which is right"
        yield Finding("stranger", "fleet", str(exc), command)


def _copies(patient: Patient) -> t.Iterator[Finding]:
    by_id: dict[str, list[tuple[Compute, Guest]]] = {}
    by_name: dict[str, dict[str, str]] = {}
    for compute, guest, record in patient.ours():
        by_id.setdefault(record.id, []).append((compute, guest))
        if "soft_delete" not in record.marks:
            by_name.setdefault(record.name, {})[record.id] = compute.name
    for server_id, copies in by_id.items():
        best = max(_counts(guest) for _compute, guest in copies)
        # What a move between two hosts keeps of a server is no second one, and reconcile takes it away in its time.
        real = handed_over([copy for copy in copies if copy[1].active or _counts(copy[1]) == best])
        # Both ends of a move show it, until it is there: whoever moves it knows which of them counts.
        if len(real) > 1 and not patient.at_work(server_id):
            yield _double(server_id, real)
    for name, ids in by_name.items():
        if len(ids) > 1:
            told = ", ".join(f"{server_id} on {host}" for server_id, host in sorted(ids.items()))
            yield Finding(
                "two_of_a_name",
                name,
                f"there are {len(ids)} servers named {name}: {told}",
                f"say which is meant by server_id in the inventory of {name}, and {_rename()}",
            )


def _moves(patient: Patient) -> t.Iterator[Finding]:
    """Live migrations that were begun, and at which nobody is any more. Where both ends say so, the new one tells."""
    found: dict[str, Finding] = {}
    for compute, _guest, record in patient.ours():
        its = move_of(record)
        if its is None or patient.at_work(record.id) or (record.id in found and its.role == SOURCE):
            continue
        way = f"to {its.other.host}" if its.role == SOURCE else f"from {its.other.host}"
        message = f"the live migration of {record.name} {way} was cut off, and nobody is at it"
        other, command = patient.host(its.other.host), f"{RECONCILE} (ends it)"
        if other is not None and not other.up:
            message += f", and {other.name} is down"
            dead = f"{EVACUATE} -e fleet_host={shlex.quote(other.name)}"
            command = f"when {other.name} is back, {command}; if it is dead, {dead}"
        found[record.id] = Finding("cut_off_move", record.name, message, command, compute.name)
    yield from found.values()


def _astray(patient: Patient) -> t.Iterator[Finding]:
    """Servers that lie otherwise on their host than they were given: what they have there may be another's."""
    for compute, guest, record in patient.ours():
        if MARK in record.marks or guest.arriving or patient.at_work(record.id):
            continue
        found = [f"{one.key} is {one.old or 'none'}, not {one.new or 'none'}" for one in untuned(record, guest, LIVE)]
        if found:
            message = f"{record.name} doesn't lie on {compute.name} as it was given: {listed(found)}"
            mends = f"{RECONCILE} (pins it back as it runs; what is more waits for leave to restart)"
            yield Finding("astray", record.name, message, mends, compute.name)


def _counts(guest: Guest) -> int:
    return 0 if guest.record is None else counts(guest.record)


def _rename() -> str:
    return "delete the other on its host, or put it into another fleet"


def _double(server_id: str, copies: t.Sequence[tuple[Compute, Guest]]) -> Finding:
    name = copies[0][1].record.name if copies[0][1].record is not None else server_id
    active = [compute.name for compute, guest in copies if guest.active]
    hosts = [compute.name for compute, _guest in copies]
    if len(active) > 1:
        return Finding(
            "runs_twice",
            name,
            f"{name} runs on {' and '.join(active)} at once; on a shared disk that destroys its data",
            f"stop the one that is not wanted at once: ansible HOST -b -m ansible.builtin.command -a "
            f"'virsh destroy {server_id}', with HOST one of {', '.join(active)}; then {RECONCILE}",
        )
    if active:
        others = [host for host in hosts if host != active[0]]
        return Finding(
            "second_copy",
            name,
            f"{name} runs on {active[0]}, and is defined and off on {', '.join(others)} too",
            f"{RECONCILE} -e fleet_allow=delete (undefines the other; its disks stay)",
        )
    return Finding(
        "second_copy",
        name,
        f"{name} is defined on {', '.join(hosts)} and off on all of them",
        f"start the right one (virsh start {server_id} on its host); then {RECONCILE} -e fleet_allow=delete",
    )


def _unreadable(patient: Patient) -> t.Iterator[Finding]:
    for compute in patient.computes:
        for guest in compute.guests:
            if guest.record is None and guest.damaged:
                remove = f"virsh metadata {guest.id} {namespace.URI} --config --remove"
                yield Finding(
                    "damaged_record",
                    guest.name,
                    f"the record of the domain {guest.name} on {compute.name} can't be read: {guest.record_error}",
                    f"take it off with {on_host(compute.name, remove)}, then ansible-playbook flotilla.compute.adopt "
                    f"-e fleet_server={shlex.quote(guest.name)} -e fleet_host={shlex.quote(compute.name)}",
                    compute.name,
                )


def _down(patient: Patient) -> t.Iterator[Finding]:
    for compute in patient.computes:
        if not compute.up:
            names = sorted(row.name for row in servers_of(patient, compute.name).values())
            on_it = f"; the ledger has {len(names)} server(s) on it: {listed(names)}" if names else ""
            yield Finding(
                "host_down",
                compute.name,
                f"{compute.name} is down: {compute.why}{on_it}",
                f"ansible {shlex.quote(compute.name)} -m ansible.builtin.ping shows why; what is only on it was not "
                "examined",
                compute.name,
            )


def _stuck(patient: Patient) -> t.Iterator[Finding]:
    for row in patient.rows.values():
        if patient.at_work(row.id):
            continue
        # Its name may be another's by now.
        called = row.id if row.vm_state == "soft-delete" else shlex.quote(row.name)
        reset = f"{DOCTOR} -e fleet_server={called} -e fleet_action=reset_state"
        if row.task_state is not None:
            what = f"{row.name} is stuck in task state {row.task_state!r}: the run that set it is over"
            yield Finding("stuck_task", row.name, what, reset, row.host)
        elif row.vm_state == "error":
            why = " ".join((row.fault or "no cause was noted").split())
            yield Finding(
                "error", row.name, f"{row.name} is in ERROR: {why}", f"mend the cause, then {RECONCILE}", row.host
            )


def _claims(patient: Patient) -> t.Iterator[Finding]:
    snapshot = patient.snapshot
    for claim in snapshot.claims.values() if snapshot is not None else ():
        if patient.at_work(claim.server_id):
            continue
        host = patient.host(claim.host)
        room = f"{claim.vcpus} vCPU, {claim.ram} MiB, {claim.disk_gb} GiB"
        lead = f"the claim of {claim.name} on {claim.host} ({room}) is left of a run that is over"
        left = patient.remains(claim.server_id)
        if host is None:
            command = f"{DOCTOR} -e fleet_server={claim.server_id} -e fleet_action=reset_state"
            yield Finding("orphan_claim", claim.name, f"{lead}, and no compute host has that name", command, claim.host)
        elif left:
            yield Finding(
                "orphan_claim", claim.name, f"{lead}, and of it there is {listed(left)}", RECONCILE, claim.host
            )
        else:
            yield Finding("orphan_claim", claim.name, f"{lead}, and nothing of it is there", RECONCILE, claim.host)


def _lost(patient: Patient) -> t.Iterator[Finding]:
    """What the ledger has and no host shows, and what it has elsewhere than it is."""
    where = {guest.id: compute.name for compute, guest, _record in sorted(patient.ours(), key=_active_last)}
    shelved = {record.id for compute in patient.computes for record in compute.shelved}
    for row in patient.rows.values():
        if row.record is None or row.id in shelved or row.vm_state == SHELVED or patient.at_work(row.id):
            continue
        home = patient.host(row.host)
        if row.id in where:
            if where[row.id] != row.host:
                message = f"{row.name} is on {where[row.id]}, and the ledger has it on {row.host}"
                yield Finding("misplaced", row.name, message, RECONCILE, row.host)
        elif home is not None and home.up:
            yield _dangling(patient, row, home)


def _dangling(patient: Patient, row: ServerRow, home: Compute) -> Finding:
    left = patient.remains(row.id)
    there = f"; of it there is {listed(left)}" if left else "; nothing of it is there"
    message = f"the ledger has {row.name} ({row.id}) on {row.host}, and {row.host} has no such domain{there}"
    if row.name in patient.declared.servers and sees_disk(row)(home):
        command = f"{RECONCILE} (defines it again from its record)"
    elif row.name in patient.declared.servers:
        command = f"{RECONCILE} (makes it anew from its image: its disk is gone)"
    elif left:
        command = f"declare {row.name} with server_state: absent, then {RECONCILE} -e fleet_allow=delete"
    else:
        command = f"{RECONCILE} (forgets it)"
    return Finding("dangling_record", row.name, message, command, row.host)


def _active_last(copy: tuple[Compute, Guest, Record]) -> tuple[bool, str]:
    return copy[1].active, copy[0].name


def _left_hosts(patient: Patient) -> t.Iterator[Finding]:
    """Hosts that the ledger remembers and inventory no longer names."""
    there = {compute.host_id for compute in patient.computes if compute.up} - {None}
    for row in patient.snapshot.hosts.values() if patient.snapshot is not None else ():
        if patient.host(row.name) is not None:
            continue
        names = sorted(server.name for server in servers_of(patient, row.name).values())
        forget = f"{DOCTOR} -e fleet_host={shlex.quote(row.name)} -e fleet_action=forget_host"
        if names and row.host_id not in there:
            count = f"{len(names)} server(s) on it: {listed(names)}"
            message = f"inventory no longer names {row.name}, and the ledger has {count}"
            lost = f"{forget} -e fleet_allow=data_loss"
            command = f"put it back into group computes and move them away; if its disks are lost, {lost}"
        else:
            message, command = f"the ledger remembers {row.name}, which inventory no longer names", forget
        yield Finding("left_host", row.name, message, command, row.name)


def _undeclared(patient: Patient) -> t.Iterator[Finding]:
    declared = patient.declared.servers
    for compute, _guest, record in patient.ours():
        if record.name not in declared and "soft_delete" not in record.marks:
            message = f"{record.name} on {compute.name} is managed, and inventory doesn't declare it"
            prune = f"{RECONCILE} -e fleet_prune=true -e fleet_allow=delete"
            command = f"declare it (server_state: absent deletes it), or {prune}"
            yield Finding("undeclared", record.name, message, command, compute.name)


def _snapshots(patient: Patient) -> t.Iterator[Finding]:
    """What runs that were cut off have made and left on the hosts, and what the catalog has and no host shows."""
    for kept in uncatalogued(patient.declared, patient.computes, patient.fleet_id):
        if patient.at_work(kept.snapshot.server_id) is None:
            message = f"{_snapshot(kept)} is in no catalog: the run that made it was cut off, or the ledger was lost"
            command = f"{RECONCILE} (makes it image {kept.name} of the fleet)"
            yield Finding("uncatalogued_snapshot", kept.snapshot.id, message, command, kept.compute.name)
    for kept in half_made(patient.computes, patient.fleet_id):
        if patient.at_work(kept.snapshot.server_id) is None:
            message = f"{_snapshot(kept)} is left of a run that was cut off, and worth nothing"
            command = f"{RECONCILE} (removes it)"
            yield Finding("half_made_snapshot", kept.snapshot.id, message, command, kept.compute.name)
    for name, entry in lost(patient.declared, patient.computes):
        its = entry["snapshot"]
        message = f"the image {name} is a snapshot of {its['server']}, and not in pool {its['pool']} of {its['host']}"
        args = f"name={name} checksum={entry['checksum']} pool={its['pool']} state=absent"
        remove = f"ansible {shlex.quote(its['host'])} -b -m flotilla.compute.image -a {shlex.quote(args)}"
        yield Finding("lost_snapshot", name, message, f"if nobody has it: {remove} (forgets it)", its["host"])


def _snapshot(kept: Kept) -> str:
    return (
        f"the snapshot {kept.snapshot.name} of {kept.snapshot.server_name}, in pool {kept.snapshot.pool} of "
        f"{kept.compute.name},"
    )


def findings_text(findings: t.Sequence[Finding]) -> str:
    """For people: a sentence each, and below it what mends it."""
    if not findings:
        return "Nothing is wrong: ledger, hosts and inventory fit together."
    count = f"{len(findings)} findings" if len(findings) > 1 else "1 finding"
    lines = [f"{count}:"]
    for one in findings:
        lines += [f"  {one.message}", f"    -> {one.command}"]
    return "\n".join(lines)


__all__ = ["examine", "findings_text"]
