# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What if a host died: where its servers would find a place, which would find none, and which would lose data.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Pure: hosts as they were surveyed and the ledger's servers go in, one outcome for each case comes out. All cases stand
on one table of the fleet, of which each takes a copy of what is used: that makes thousands of servers a second.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import data_disks, unmovable
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute, host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    HostState,
    Policy,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed, nearest

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import FleetSettings

__all__ = [
    "EVERY",
    "Outcome",
    "Rehearsal",
    "Resident",
    "cases_of",
    "could_not",
    "outcomes_text",
    "rehearsal_of",
    "surveyed_text",
]

#: The word that stands for each host of the fleet alone, in turn.
EVERY = "every"
_SHOWN = 40
# On no host, or to be deleted: nobody waits for it.
_NOT_THERE = (SHELVED, "soft-delete")


@dataclasses.dataclass(frozen=True)
class Resident:
    """A server on a host. ``disks``: the roles of those with data, and the ids of their pools; ``root``: the id of the
    pool with its root disk; ``key``: what the scheduler knows that pool by; ``stays``: why it can't be built
    elsewhere."""

    host: str
    request: Request
    disks: tuple[tuple[str, str | None], ...] = ()
    root: str | None = None
    key: str = ""
    stays: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What becomes of the servers when the ``lost`` hosts die: server -> its new host; why it finds none; the roles of
    the disks whose data is gone, of those that find one."""

    lost: tuple[str, ...]
    placed: t.Mapping[str, str]
    refused: t.Mapping[str, str]
    data_lost: t.Mapping[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Json]:
        gone = {name: list(disks) for name, disks in self.data_lost.items()}
        return {
            "lost": list(self.lost),
            "placed": dict(self.placed),
            "refused": dict(self.refused),
            "data_lost": gone,
        }


def cases_of(lose: t.Sequence[str], hosts: t.Collection[str]) -> list[tuple[str, ...]]:
    """fleet_lose as the hosts that are lost at once, in each case; InvalidInput for a host that inventory hasn't."""
    if list(lose) == [EVERY]:
        return [(host,) for host in hosts]
    for name in lose:
        if name not in hosts:
            like = nearest(name, [*hosts, EVERY])
            hint = f"; did you mean {like!r}?" if like else f", which has {listed(sorted(hosts))}"
            raise InvalidInput(f"fleet_lose: the group computes has no host {name!r}{hint}")
    return [tuple(sorted(set(lose)))]


class Rehearsal:
    """The hosts with all servers on them. *pools*: the ids of the pools that each host has."""

    def __init__(
        self,
        states: t.Sequence[HostState],
        residents: t.Iterable[Resident],
        pools: t.Mapping[str, t.Collection[str]],
        settings: Settings,
    ) -> None:
        self._settings = settings
        self._base = Scheduler(states, settings)
        self._hosts = frozenset(state.name for state in states)
        self._keys = {pool.key for state in states for pool in state.pools.values()}
        self._on: dict[str, list[Resident]] = collections.defaultdict(list)
        for resident in residents:
            self._on[resident.host].append(resident)
            for resource in resident.request.resources:
                self._base.table.stock(resource)  # made now, once: each case takes a copy
        self._holders: dict[str, set[str]] = collections.defaultdict(set)
        for host, ids in pools.items():
            for pool_id in ids:
                self._holders[pool_id].add(host)

    def outcomes(self, cases: t.Sequence[tuple[str, ...]]) -> list[Outcome]:
        # What one run may take for its joint search is shared out among all of them.
        limit = self._settings.joint_time_limit / max(1, len(cases))
        self._base.settings = dataclasses.replace(self._settings, joint_time_limit=limit)
        return [self._outcome(lost) for lost in cases]

    def _outcome(self, lost: tuple[str, ...]) -> Outcome:
        left = [resident for host in lost for resident in self._on[host]]
        going = [resident for resident in left if not resident.stays]
        freed: dict[str, int] = collections.defaultdict(int)
        for one in going:
            if self._kept_by(one.root, lost) and one.key in self._keys:
                freed[one.key] += one.request.resources.get(DISK_GB, 0)
        trial = self._base.fork(lost, freed)
        placement = trial.place(self._request(one, lost) for one in going)
        refused = {one.request.name: one.stays for one in left if one.stays}
        refused.update({name: explanation.sentence() for name, explanation in placement.refused.items()})
        gone = {one.request.name: self._gone(one, lost) for one in going if one.request.name in placement.placed}
        return Outcome(
            lost,
            {name: placed.host for name, placed in sorted(placement.placed.items())},
            dict(sorted(refused.items())),
            {name: disks for name, disks in sorted(gone.items()) if disks},
        )

    def _request(self, one: Resident, lost: tuple[str, ...]) -> Request:
        """To any host that lives; with a disk that lives on only to those that have it."""
        holders = self._kept_by(one.root, lost)
        ruled_out = self._hosts - holders if holders else lost
        return dataclasses.replace(one.request, ignore_hosts=tuple(sorted(ruled_out)))

    def _kept_by(self, pool_id: str | None, lost: tuple[str, ...]) -> set[str]:
        """The hosts that live and have the pool."""
        return set() if pool_id is None else self._holders[pool_id].difference(lost)

    def _gone(self, one: Resident, lost: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(role for role, pool_id in one.disks if not self._kept_by(pool_id, lost))


def rehearsal_of(declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot) -> Rehearsal:
    """The fleet as inventory and the ledger have it; *computes* as they are remembered."""
    by_name = {compute.name: compute for compute in computes}
    records = {
        row.id: (by_name[row.host], record)
        for row in snapshot.servers.values()
        if row.host in by_name and row.vm_state not in _NOT_THERE and (record := row.loads()) is not None
    }
    guests: dict[str, list[Guest]] = collections.defaultdict(list)
    for compute, record in records.values():
        guests[compute.name].append(_guest(record))
    peopled = [dataclasses.replace(one, guests=(*one.guests, *guests[one.name])) for one in computes]
    fleet_id = snapshot.fleet.fleet_id if snapshot.fleet is not None else None
    groups = {name: server.spec.get("group") for name, server in declared.servers.items()}
    states = host_states(peopled, snapshot, fleet_id=fleet_id, catalogs=declared.catalogs, groups=groups)
    residents = [_resident(record, compute, declared) for compute, record in records.values()]
    pools = {one.name: {str(pool["id"]) for pool in one.pools.values() if pool["id"]} for one in computes}
    return Rehearsal(states, residents, pools, Settings.from_variable(declared.settings.scheduler))


def _guest(record: Record) -> Guest:
    """The server as a survey would have found it: its record is read once, for all that asks for it."""
    flavor = record.flavor
    return Guest(record.id, record.name, "shutoff", True, False, flavor.vcpus, flavor.ram, record=record)


def _resident(record: Record, compute: Compute, declared: Declared) -> Resident:
    spec, root = record.spec, record.root
    group = declared.groups.get(spec.get("group") or "")
    # server_host binds nobody to a dead host: evacuation leaves it aside, and so does this.
    request = Request(
        name=record.name,
        flavor=record.flavor,
        id=record.id,
        image=record.image.name,
        image_properties=record.image.properties,
        zone=spec.get("availability_zone"),
        project=spec.get("project"),
        group=None
        if group is None
        else ServerGroup(group.name, t.cast(Policy, group.policy), group.max_server_per_host),
        hints=spec.get("hints", {}),
        pool=root.pool,
        networks=tuple(port["network"] for port in spec.get("networks", ())),
        pci_aliases=declared.catalogs.pci_aliases,
    )
    key = compute.room_key(root.pool) if root.pool in compute.pools else ""
    return Resident(compute.name, request, data_disks(record), root.pool_id, key, unmovable(record))


def could_not(outcomes: t.Sequence[Outcome], settings: FleetSettings) -> str:
    """Why the fleet could not take it, empty if it could: a server without a place; and with fleet_strict one that
    evacuation would hold, since it loses data."""
    homeless = [name for one in outcomes for name in one.refused]
    held = [name for one in outcomes for name in one.data_lost] if settings.strict else []
    if "data_loss" in settings.allow:
        held = []
    cases = [one for one in outcomes if one.refused or (held and one.data_lost)]
    if not cases:
        return ""
    told = [f"{len(homeless)} servers would find no place ({listed(sorted(homeless))})"] if homeless else []
    told += [f"{len(held)} would lose data, which only fleet_allow=data_loss lets pass"] if held else []
    return (
        f"the fleet could not take the loss of {listed([' and '.join(one.lost) for one in cases])}: {'; '.join(told)}"
    )


def surveyed_text(computes: t.Sequence[Compute], snapshot: Snapshot) -> str:
    """How old what the ledger knows of the hosts is, and which of them it doesn't know."""
    seen = [row.surveyed for one in computes if one.up and (row := snapshot.hosts[one.name]).surveyed is not None]
    age = f", as surveyed up to {_ago(snapshot.now - min(seen))} ago" if seen else ""
    unknown = [f"\n  ! {one.name}: {one.why}" for one in computes if not one.up]
    return f"Rehearsal by inventory and ledger{age}:{''.join(unknown)}"


def _ago(seconds: float) -> str:
    minutes = max(0, int(seconds // 60))
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 60 * 48 else f"{minutes // 1440} days"


def outcomes_text(outcomes: t.Sequence[Outcome]) -> str:
    """A line for each case, and below it a line for each server that would find no place or lose data."""
    width = max(len(", ".join(one.lost)) for one in outcomes)
    return "\n".join(line for one in outcomes for line in _lines(one, width))


def _lines(one: Outcome, width: int) -> t.Iterator[str]:
    many = len(one.placed) + len(one.refused)
    yield (
        f"  {', '.join(one.lost):<{width}}  {many} servers: {len(one.placed)} find a place, "
        f"{len(one.refused)} find none, {len(one.data_lost)} lose data"
    )
    rows = [f"{name} finds no place: {why}" for name, why in one.refused.items()]
    rows += [f"{name} loses data, to {one.placed[name]}: {', '.join(disks)}" for name, disks in one.data_lost.items()]
    yield from (f"    ! {row}" for row in rows[:_SHOWN])
    if len(rows) > _SHOWN:
        yield f"    ! and {len(rows) - _SHOWN} more"
