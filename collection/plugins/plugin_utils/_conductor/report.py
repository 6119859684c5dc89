# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet as a picture, as data: hosts filled by their servers, before and after the plan, and what losing one does.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import status, vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import left_behind
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import server_lines
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Policy,
    Request,
    ServerGroup,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import catalog

#: What a host is filled with, in this order: its key, its unit.
RESOURCES = (("vcpus", "vCPU"), ("memory", "MiB memory"), ("disk", "GiB disk"))

_GONE = frozenset({"delete", "shelve"})
_PLACES = frozenset({"create", "unshelve"})
_SIZES = frozenset({"grow", "reconfigure", "resize"})


@dataclasses.dataclass(frozen=True)
class Block:
    """A server on a host; ``amounts`` by resource. ``record`` is None for one that is only planned."""

    name: str
    status: str
    amounts: t.Mapping[str, int]
    flavor: str
    group: str | None = None
    zone: str | None = None
    addresses: tuple[str, ...] = ()
    record: Record | None = None


@dataclasses.dataclass(frozen=True)
class Box:
    """A compute host. ``capacity``: what can be promised of each resource; ``others``: what is used there that is no
    server of the fleet. ``after``: its servers when the plan is carried out."""

    name: str
    state: str
    reason: str
    zone: str | None
    capacity: t.Mapping[str, float]
    others: t.Mapping[str, float]
    before: tuple[Block, ...]
    after: tuple[Block, ...]


@dataclasses.dataclass(frozen=True)
class Loss:
    """What would become of a host's servers if it died: server -> host, and why the others find none.

    ``rebuilt``: those placed whose disk no other host has, so that they come back from their image, empty."""

    host: str
    placed: t.Mapping[str, str]
    refused: t.Mapping[str, str]
    rebuilt: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """``changes``: a line for each thing that the plan would do; ``no_plan`` says why there is no plan."""

    fleet: str
    boxes: tuple[Box, ...]
    nowhere: tuple[Block, ...]
    changes: tuple[str, ...]
    losses: tuple[Loss, ...]
    no_plan: str = ""


def report(
    declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot | None, plan: Plan | None, no_plan: str = ""
) -> Report:
    fleet_id = snapshot.fleet.fleet_id if snapshot is not None and snapshot.fleet is not None else None
    groups = {name: server.spec.get("group") for name, server in declared.servers.items()}
    states = host_states(computes, snapshot, fleet_id=fleet_id, catalogs=declared.catalogs, groups=groups)
    before = _before(declared, computes, snapshot, fleet_id)
    after = _after(before, declared, plan)
    boxes = [_box(state, before.get(state.name, {}), after.get(state.name, {})) for state in states]
    return Report(
        fleet=declared.settings.name,
        boxes=tuple(boxes),
        nowhere=tuple(before.get("", {}).values()),
        changes=tuple(_changes(plan)) if plan is not None else (),
        losses=tuple(_rehearsal(declared, computes, snapshot, fleet_id, before)),
        no_plan=no_plan,
    )


Blocks = dict[str, dict[str, Block]]


def _before(
    declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot | None, fleet_id: str | None
) -> Blocks:
    """Host -> name -> server: as the surveys show it; of hosts that are down as the ledger has it. "": on no host."""
    found: Blocks = {}
    zones = declared.catalogs.zones
    tasks = {row.id: row.task_state for row in snapshot.servers.values()} if snapshot is not None else {}
    beside = left_behind(computes, fleet_id)
    for compute in computes:
        for guest in compute.guests:
            record = guest.record if id(guest) not in beside else None
            if record is not None and (fleet_id is None or record.fleet_id == fleet_id):
                shown = status(vm_state(guest.state, record.marks), tasks.get(record.id))
                found.setdefault(compute.name, {})[guest.name] = _block(record, shown, zones.get(compute.name))
    down = {compute.name for compute in computes if not compute.up}
    for row in snapshot.servers.values() if snapshot is not None else ():
        record = row.loads() if row.host in down or row.vm_state == SHELVED else None
        if record is not None:
            host = "" if row.vm_state == SHELVED else str(row.host)
            shown = status(None if host else row.vm_state, row.task_state)
            found.setdefault(host, {})[row.name] = _block(record, shown, zones.get(host))
    return found


def _block(record: Record, shown: str, zone: str | None) -> Block:
    addresses = tuple(address.address for nic in record.nics for address in nic.addresses)
    group = record.spec.get("group")
    return Block(record.name, shown, _amounts(record.flavor), record.flavor.name, group, zone, addresses, record)


def _amounts(flavor: Flavor) -> dict[str, int]:
    return {"vcpus": flavor.vcpus, "memory": flavor.ram, "disk": flavor.disk_gb}


def _after(before: Blocks, declared: Declared, plan: Plan | None) -> Blocks:
    """As _before(), when the plan's steps are done."""
    after = {host: dict(blocks) for host, blocks in before.items()}
    for entry in plan.servers if plan is not None else ():
        kinds = {step.kind for step in entry.steps}
        host, server = str(entry.host or ""), declared.servers.get(entry.name)
        there = after.setdefault(host, {})
        if entry.copy or not kinds:
            continue
        if kinds & _GONE:
            there.pop(entry.name, None)
        elif server is not None and kinds & _PLACES:
            after.get("", {}).pop(entry.name, None)
            zone, group = declared.catalogs.zones.get(host), server.spec.get("group")
            flavor = server.flavor
            there[entry.name] = Block(entry.name, "BUILD", _amounts(flavor), flavor.name, group, zone)
        elif server is not None and kinds & _SIZES and entry.name in there:
            flavor = server.flavor
            there[entry.name] = dataclasses.replace(there[entry.name], amounts=_amounts(flavor), flavor=flavor.name)
    return after


def _box(state: HostState, before: t.Mapping[str, Block], after: t.Mapping[str, Block]) -> Box:
    vcpus, memory = state.inventories.get(VCPU), state.inventories.get(MEMORY_MB)
    capacity = {"vcpus": 0.0, "memory": 0.0, "disk": 0.0}
    used = dict(capacity)
    for key, entry in (("vcpus", vcpus), ("memory", memory)):
        if entry is not None:
            capacity[key], used[key] = (entry.total - entry.reserved) * entry.allocation_ratio, entry.used
    for pool in state.pools.values():
        capacity["disk"] += (pool.disk.total - pool.disk.reserved) * pool.disk.allocation_ratio
        used["disk"] += pool.disk.used
    ours = {key: sum(block.amounts[key] for block in before.values()) for key in capacity}
    return Box(
        name=state.name,
        state="down" if not state.up else "enabled" if state.enabled else "disabled",
        reason=state.reason,
        zone=state.zone,
        capacity=capacity,
        others={key: max(0.0, used[key] - ours[key]) for key in capacity},
        before=tuple(before[name] for name in sorted(before)),
        after=tuple(after[name] for name in sorted(after)),
    )


def _changes(plan: Plan) -> t.Iterator[str]:
    for host in plan.hosts:
        yield from (f"{host.name}: {step.what}" for step in host.steps)
    for entry in plan.servers:
        yield from (f"{entry.name}: {line}" for line in server_lines(entry))
    yield from (f"note: {note}" for note in plan.notes)


def _rehearsal(
    declared: Declared,
    computes: t.Sequence[Compute],
    snapshot: Snapshot | None,
    fleet_id: str | None,
    before: Blocks,
) -> t.Iterator[Loss]:
    """Each host alone is taken away, and its servers are placed on the others by the scheduler's own rules."""
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

    settings = Settings.from_variable(declared.settings.scheduler)
    groups = {name: server.spec.get("group") for name, server in declared.servers.items()}
    for lost in computes:
        records = [block.record for block in before.get(lost.name, {}).values() if block.record is not None]
        records = [record for record in records if "soft_delete" not in record.marks]
        if not records:
            continue
        moving = frozenset(record.id for record in records)
        states = [
            dataclasses.replace(state, up=False, reason="lost") if state.name == lost.name else state
            for state in host_states(
                computes, snapshot, fleet_id=fleet_id, catalogs=declared.catalogs, groups=groups, moving=moving
            )
        ]
        placement = Scheduler(states, settings).place([_request(record, declared) for record in records])
        yield Loss(
            lost.name,
            {name: placed.host for name, placed in sorted(placement.placed.items())},
            {name: explanation.sentence() for name, explanation in sorted(placement.refused.items())},
            _rebuilt(records, placement.placed, [compute for compute in computes if compute is not lost]),
        )


def _rebuilt(records: t.Iterable[Record], placed: t.Container[str], others: t.Sequence[Compute]) -> tuple[str, ...]:
    shared = {pool["id"] for compute in others for pool in compute.pools.values() if pool["id"]}
    return tuple(sorted(r.name for r in records if r.name in placed and r.root.pool_id not in shared))


def _request(record: Record, declared: Declared) -> Request:
    return Request(
        name=record.name,
        flavor=record.flavor,
        id=record.id,
        image=record.image.name,
        image_properties=record.image.properties,
        zone=record.spec.get("availability_zone"),
        pool=record.root.pool,
        networks=tuple(port["network"] for port in record.spec.get("networks", ())),
        group=_group(declared.groups.get(record.spec.get("group") or "")),
    )


def _group(declared: catalog.ServerGroup | None) -> ServerGroup | None:
    if declared is None:
        return None
    return ServerGroup(declared.name, t.cast(Policy, declared.policy), declared.max_server_per_host)


__all__ = ["RESOURCES", "Block", "Box", "Loss", "Report", "report"]
