# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compute hosts as a run sees them, and the rows that they give the scheduler.

Note that this plugin util is **PRIVATE** to the collection.

What is used on a host is the union, by id, of the guests that its survey found (ours and those of others), of the
claims of live runs, and of the ledger's servers that should be there. Disk is counted by pool: the nominal size of our
servers' disks, plus whatever else the pool really holds; a pool that several hosts share is counted once.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Guest, Json, Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import HOST_SCOPE
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import unpack
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts, resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot as DiskSnapshot
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor import hardware
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import PCPU, amounts_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    HostState,
    Instance,
    Inventory,
    Pool,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.traits import host_traits

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Catalogs, Network
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import ComputeSettings

Survey = t.Mapping[str, Json]
_LONGEST_REASON = 300


@dataclasses.dataclass(frozen=True)
class Compute:
    """A compute host: what inventory says of it, and what its survey found (None: it is down for this run, see
    ``why``). ``shelved``: the records in its pools of servers that were shelved; ``replaced``: those of copies that are
    gone from it, whose local disks are kept for a while; ``beside``: those of servers that have no guest here, where
    they were asked for. ``snapshots`` are those in its pools, each with the pool that it is in."""

    name: str
    settings: ComputeSettings
    survey: Survey | None = None
    guests: tuple[Guest, ...] = ()
    why: str = ""
    shelved: tuple[Record, ...] = ()
    replaced: tuple[Record, ...] = ()
    beside: tuple[Record, ...] = ()
    snapshots: tuple[DiskSnapshot, ...] = ()

    @property
    def up(self) -> bool:
        return self.survey is not None

    @property
    def host_id(self) -> str | None:
        return None if self.survey is None else self.survey["host_id"]

    @property
    def marker(self) -> Survey | None:
        return None if self.survey is None else self.survey["marker"]

    @property
    def default_pool(self) -> str | None:
        """The pool of servers that name none: as inventory says, else ``local``, else the only one."""
        names = [name for name, pool in self.pools.items() if pool["active"]]
        wanted = self.settings.default_pool
        if wanted is not None:
            return wanted
        if "local" in names:
            return "local"
        return names[0] if len(names) == 1 else None

    @functools.cached_property
    def pools(self) -> dict[str, Survey]:
        """The pools that servers may use here."""
        if self.survey is None:
            return {}
        allowed = self.settings.pools
        return {name: pool for name, pool in self.survey["pools"].items() if allowed is None or name in allowed}

    @functools.cached_property
    def volumes(self) -> frozenset[str]:
        """The names of Flotilla's volumes in all pools of the host."""
        pools = self.survey["pools"].values() if self.survey is not None else ()
        return frozenset(volume for pool in pools for volume in pool.get("volumes", {}))

    @property
    def whole(self) -> bool:
        """Whether the survey shows all that is on the host: a pool that can't be read looks like an empty one."""
        return self.survey is not None and all(pool["active"] for pool in self.survey["pools"].values())

    @property
    def old_metadata(self) -> frozenset[str]:
        """The ids of servers that the metadata service here doesn't know, or tells what no longer is."""
        return frozenset() if self.survey is None else frozenset(self.survey.get("metadata", {}).get("old", ()))

    @property
    def left_metadata(self) -> frozenset[str]:
        """The ids of servers that the metadata service here has something of, and that are not here."""
        return frozenset() if self.survey is None else frozenset(self.survey.get("metadata", {}).get("left", ()))

    @property
    def at_work(self) -> frozenset[str]:
        """The ids of servers that a step was at work on while the host was surveyed."""
        steps = self.survey["running_steps"] if self.survey is not None else ()
        return frozenset(step["server_id"] for step in steps)

    def pool_key(self, pool: str) -> str:
        """Pools of equal key are one pool. A pool that bears no marker yet counts as the host's own."""
        marker = self.pools[pool]["id"] if pool in self.pools else None
        return str(marker) if marker else f"{self.name}/{pool}"

    def room_key(self, pool: str) -> str:
        """Like pool_key, for counting room: pools with volumes but no mark that look the same to the byte are taken
        for one. Empty ones are not: hosts that were just installed from one recipe look the same too.

        That is careful rather than right, and holds for the first run alone: from then on pools bear their marks.
        """
        its = self.pools[pool]
        if its["id"] or not its["volumes_total"]:
            return self.pool_key(pool)
        looks = ("type", "path", "capacity", "allocation", "available", "volumes_total")
        return "/".join(str(its.get(key)) for key in looks)

    def service(self, fallback: tuple[str, str | None] | None) -> tuple[str, str]:
        """The host's service state and its reason: what inventory keeps it from, else its own marker, else the
        ledger."""
        if self.settings.state != "enabled":
            return self.settings.state, self.settings.state_reason or ""
        if self.marker is not None and self.marker.get("service"):
            return self.marker["service"]["state"], self.marker["service"].get("reason") or ""
        return (fallback[0], fallback[1] or "") if fallback is not None else ("enabled", "")

    def offers(self, network: Network) -> bool:
        """Whether the network's bridge or libvirt network is here, with its metadata service if it is to have one."""
        if self.survey is None:
            return False
        source, served = self.source_of(network), self.survey.get("metadata", {}).get("bridges", ())
        if network.kind == "bridge":
            return source in self.survey["bridges"] and (not network.metadata_service or source in served)
        there = self.survey["networks"].get(source)
        return there is not None and (not network.metadata_service or there["bridge"] in served)

    def own_networks(self, nics: t.Iterable[Nic]) -> dict[str, str]:
        """Network -> what it is here, of those among the ports' networks that the host has for itself alone."""
        found = self.survey["networks"] if self.survey is not None else {}
        return {
            nic.network: f"libvirt network {nic.source}, {found[nic.source]['forward']}"
            for nic in nics
            if nic.kind == "network" and found.get(nic.source, {}).get("forward") in HOST_SCOPE
        }

    def source_of(self, network: Network) -> str:
        """The bridge or libvirt network of a fleet network, which a host may call otherwise (compute_networks)."""
        return self.settings.networks.get(network.name, network.source)


def surveyed(
    settings: t.Mapping[str, ComputeSettings],
    answers: t.Mapping[str, Survey],
    enrolled: t.Mapping[str, Survey | None] | None = None,
) -> list[Compute]:
    """The compute hosts with what module compute_info answered for them (``fleet_survey``, by host).

    *enrolled*: what module compute answered since (``fleet_enrolled``), for who goes by surveys of before that: such a
    host bears a mark that its survey could not find.
    """
    found = []
    for name, its in settings.items():
        answer = answers.get(name) or {}
        if not answer.get("survey"):
            found.append(Compute(name, its, why=_why(answer)))
            continue
        survey = unpack(str(answer["survey"]))
        _mark(survey, (enrolled or {}).get(name) or {})
        guests = tuple(Guest.from_json(guest) for guest in survey.pop("guests"))
        shelved = tuple(Record.from_json(record) for record in survey.pop("shelved", ()))
        replaced = tuple(Record.from_json(record) for record in survey.pop("replaced", ()))
        beside = tuple(Record.from_json(record) for record in survey.pop("beside", ()))
        kept = tuple(DiskSnapshot.from_json(snapshot) for snapshot in survey.pop("snapshots", ()))
        compute = Compute(name, its, survey, guests, shelved=shelved, replaced=replaced, beside=beside)
        found.append(dataclasses.replace(compute, snapshots=kept))
    return found


def _mark(survey: dict[str, t.Any], answer: Survey) -> None:
    """The marks that the host and its pools were given after its survey."""
    marker = answer.get("host")
    if not marker or survey["marker"] is not None:
        return
    survey.update(marker=marker, host_id=marker["host_id"])
    for name, mark in (answer.get("pools") or {}).items():
        if name in survey["pools"]:
            survey["pools"][name]["id"] = mark


def _why(answer: Survey) -> str:
    """Why a host gave no survey, on one line."""
    said = str(answer.get("msg") or "it was not surveyed in this run")
    # Ansible's own words around SSH's say no more than that it failed, nor do those of a shared connection that broke.
    said = said.rpartition("Make sure this host can be reached over ssh: ")[2]
    lines = [" ".join(line.split()) for line in said.splitlines() if not line.startswith("mux_client_")]
    text = "; ".join(line for line in lines if line).replace(":; ", ": ")
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


@dataclasses.dataclass(frozen=True)
class Use:
    """What one server or foreign guest takes on a host. ``disks``: GiB by pool name; ``others``: amounts of further
    resource classes."""

    id: str
    name: str
    vcpus: int
    ram: int
    disks: t.Mapping[str, float]
    group: str | None = None
    image_properties: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    others: t.Mapping[str, int] = dataclasses.field(default_factory=dict)


def host_states(
    computes: t.Sequence[Compute],
    snapshot: Snapshot | None,
    *,
    fleet_id: str | None,
    catalogs: Catalogs,
    groups: t.Mapping[str, str | None],
    moving: t.AbstractSet[str] = frozenset(),
    leaving: t.AbstractSet[str] = frozenset(),
) -> list[HostState]:
    """The scheduler's rows. ``groups`` maps declared servers to their group; ``moving`` ids are placed anew and not
    counted, but for the cores, pages and devices of those that are ``leaving`` their host: nobody else may have them as
    long as they are there."""
    uses = {compute.name: _uses(compute, snapshot, fleet_id, groups, moving) for compute in computes}
    disk = _disk_used(computes, uses)
    states = [_host_state(compute, uses[compute.name], disk, snapshot, catalogs) for compute in computes]
    promised, coming = hardware.promises(snapshot), hardware.coming(computes, fleet_id)
    held = ([*promised.get(compute.name, ()), *coming.get(compute.name, ())] for compute in computes)
    return [
        _with_hardware(state, compute, hardware.held_on(compute, its, fleet_id, moving, leaving))
        if compute.up
        else state
        for state, compute, its in zip(states, computes, held)
    ]


def _with_hardware(state: HostState, compute: Compute, held: t.Sequence[hardware.Held]) -> HostState:
    """The host's cells and devices; none of it is offered where inventory names CPUs that aren't there."""
    wrong = hardware.problem(compute)
    if wrong:
        return dataclasses.replace(state, enabled=False, reason=wrong)
    return dataclasses.replace(
        state,
        topology=hardware.topology_of(compute, held),
        pci_devices=hardware.free_pci_devices(compute, held),
    )


def _host_state(
    compute: Compute,
    uses: t.Sequence[Use],
    disk: t.Mapping[str, int],
    snapshot: Snapshot | None,
    catalogs: Catalogs,
) -> HostState:
    row = snapshot.hosts.get(compute.name) if snapshot is not None else None
    state, reason = compute.service((row.service_state, row.service_reason) if row is not None else None)
    base = HostState(
        name=compute.name,
        up=compute.up,
        enabled=state == "enabled",
        reason=compute.why if not compute.up else _reason(state, reason),
        address=compute.settings.address,
        metrics=compute.settings.metrics,
        zone=catalogs.zones[compute.name],
        aggregates=tuple(a.metadata for a in catalogs.aggregates.values() if compute.name in a.hosts),
        traits=host_traits(
            compute.survey["cpu"] if compute.survey is not None else {},
            enabled=state == "enabled",
            added=compute.settings.traits,
        ),
        failed_builds=row.failed_builds if row is not None else 0,
    )
    survey = compute.survey
    if survey is None:
        return base
    settings = compute.settings
    vcpus = sum(use.vcpus for use in uses)
    pcpus = sum(use.others.get(PCPU, 0) for use in uses)
    ram = sum(use.ram for use in uses)
    claims = snapshot.claims.values() if snapshot is not None else ()
    return dataclasses.replace(
        base,
        inventories={
            VCPU: Inventory(
                hardware.vcpus_of(compute),
                settings.vcpus_reserved,
                settings.vcpus_ratio,
                vcpus,
                **settings.units(VCPU),
            ),
            PCPU: Inventory(len(hardware.dedicated_cpus(compute)), used=pcpus),
            MEMORY_MB: Inventory(
                survey["memory"],
                settings.memory_reserved,
                settings.memory_ratio,
                ram,
                **settings.units(MEMORY_MB),
            ),
            **{
                name: Inventory(**given, used=sum(use.others.get(name, 0) for use in uses))
                for name, given in settings.custom_resources.items()
            },
        },
        pools={
            name: Pool(
                compute.room_key(name),
                Inventory(
                    pool["capacity"] // GIB,
                    settings.disk_reserved,
                    settings.disk_ratio,
                    disk[compute.room_key(name)],
                    **settings.units(DISK_GB),
                ),
            )
            for name, pool in compute.pools.items()
            if pool["active"]
        },
        default_pool=compute.default_pool,
        networks=tuple(name for name, network in catalogs.networks.items() if compute.offers(network)),
        instances=tuple(Instance(use.id, use.name, use.group, use.image_properties) for use in uses),
        num_io_ops=sum(1 for claim in claims if claim.host == compute.name),
        hypervisor_type="QEMU",
        hypervisor_version=survey["qemu"],
        supported_instances=[(survey["cpu"]["arch"], virt_type, "hvm") for virt_type in survey["virt_types"]],
        cpu_info=survey["cpu"],
    )


def _reason(state: str, reason: str) -> str:
    """Why a host that is up takes nothing: what is said beside ``disabled``, which the filter says itself."""
    if state == "disabled":
        return reason
    return f"{state}: {reason}" if reason else state


def _uses(
    compute: Compute,
    snapshot: Snapshot | None,
    fleet_id: str | None,
    groups: t.Mapping[str, str | None],
    moving: t.AbstractSet[str],
) -> list[Use]:
    found = {guest.id: _use_of_guest(guest, compute, fleet_id, groups) for guest in compute.guests}
    if snapshot is not None:
        for row in snapshot.servers.values():
            here = row.host == compute.name and row.vm_state != SHELVED  # a shelved one takes nothing of its host
            record = row.loads() if here and row.id not in found else None
            if record is not None:
                found[row.id] = _use_of_record(record, groups)
        for claim in snapshot.claims.values():
            if claim.host == compute.name and claim.server_id not in found:
                pool = claim.pool or compute.default_pool or ""
                name = groups.get(claim.name, None)
                found[claim.server_id] = Use(
                    claim.server_id,
                    claim.name,
                    claim.vcpus,
                    claim.ram,
                    {pool: claim.disk_gb},
                    name,
                    others=claim.resources,
                )
    return [use for use in found.values() if use.id not in moving]


def _use_of_guest(guest: Guest, compute: Compute, fleet_id: str | None, groups: t.Mapping[str, str | None]) -> Use:
    if guest.record is None or guest.record.fleet_id != fleet_id:
        vcpus, pcpus = hardware.foreign_classes(guest, compute)
        return Use(guest.id, "", vcpus, guest.memory, {}, others={PCPU: pcpus})  # its name is none of the fleet's
    use, own = _use_of_record(guest.record, groups), guest.record.fit is not None and guest.record.fit.cells
    # A guest may have more than its record says: it was grown by a run that was killed, or by hand.
    vcpus = use.vcpus if own else max(use.vcpus, guest.vcpus)
    return dataclasses.replace(use, vcpus=vcpus, ram=max(use.ram, guest.memory))


def _use_of_record(record: Record, groups: t.Mapping[str, str | None]) -> Use:
    disks: dict[str, float] = {}
    for disk in record.disks:
        if disk.role != "config":
            disks[disk.pool] = disks.get(disk.pool, 0) + disk.size / GIB
    group = groups[record.name] if record.name in groups else record.spec.get("group")
    amounts = hardware.with_cores(amounts_of(record.flavor), record.flavor.vcpus, record.fit)
    its = resize_of(record)
    if its is not None:
        # Until a resize is confirmed the way back must stay open.
        old = hardware.with_cores(amounts_of(its.flavor), its.flavor.vcpus, its.fit)
        amounts = {name: max(amounts.get(name, 0), old.get(name, 0)) for name in {**amounts, **old}}
    vcpus, ram = amounts.pop(VCPU, 0), amounts.pop(MEMORY_MB, 0)
    amounts.pop(DISK_GB, None)  # its disks say it better
    if counts(record) == 0:
        group = None  # it keeps its room here, and is elsewhere
    return Use(record.id, record.name, vcpus, ram, disks, group, record.image.properties, amounts)


def _disk_used(computes: t.Sequence[Compute], uses: t.Mapping[str, t.Sequence[Use]]) -> dict[str, int]:
    """GiB used by pool key: what our servers may grow to, and what else is there now. Each server is counted once."""
    nominal: dict[str, dict[str, float]] = {}
    other: dict[str, float] = {}
    ours = {use.id for of_host in uses.values() for use in of_host if use.disks}
    for compute in computes:
        for name, pool in compute.pools.items():
            key = compute.room_key(name)
            by_id = nominal.setdefault(key, {})
            by_id.update({use.id: use.disks[name] for use in uses[compute.name] if name in use.disks})
            held = sum(v.get("allocation", 0) for volume, v in pool.get("volumes", {}).items() if volume[:36] in ours)
            rest = max(0, pool["allocation"] - held) / GIB
            other[key] = min(other.get(key, rest), rest)
    return {key: -int(-(sum(by_id.values()) + other.get(key, 0)) // 1) for key, by_id in nominal.items()}


__all__ = ["Compute", "Use", "host_states", "surveyed"]
