# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reconcile run at the ledger: whose hosts these are, what was seen, what is claimed.

Note that this plugin util is **PRIVATE** to the collection.

Everything between the surveys and the plan that needs the ledger; the decisions themselves are in reconcile.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Stale
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import has_left
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor import remembered
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import evacuations_cut_off
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import (
    cut_off,
    under_way,
    why_cut_off,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.orphans import orphans, unplaced
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import whose
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reinstalled import refuse_reinstalled
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.snapshots import uncatalogued
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import counted
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.zones import ZONE, refuse_moved_zones
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claimed, HostSeen, ServerSeen
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
        ClaimResult,
        FleetRow,
        Ledger,
        Snapshot,
    )

#: Other runs may claim on the same hosts meanwhile; Placement's client tries four times, we meet more often.
_TRIES = 20
_LOST = (
    "the fleet is taken over from its hosts: servers, addresses and the hosts' service states are back. "
    "What modules had put into the lost ledger's catalogs (flavors, keypairs and the like) and its journal are lost: "
    "they are not on the hosts"
)


@dataclasses.dataclass(frozen=True)
class Run:
    """This run at its ledger. ``id`` is None in check mode, ``ledger`` where there is none yet and none may be made.

    ``since``: the database's time before the surveys began.
    """

    ledger: Ledger | None
    id: str | None
    since: float


def reconcile(
    declared: Declared,
    computes: t.Sequence[Compute],
    run: Run,
    *,
    now: float,
    host: str | None = None,
    drafting: t.Callable[[Situation], Reconcile] = Reconcile,
) -> tuple[Plan, FleetRow | None]:
    """The plan, claimed unless this is check mode, and the fleet's identity (None before its first run).

    *host*: the one that new servers go to, whatever the scheduler would choose; its filters hold all the same.
    *drafting*: what decides what is to be done, if it isn't inventory (act.Act).
    """
    fleet = run.ledger.fleet() if run.ledger is not None else None
    fleet_id = whose(
        computes,
        fleet_id=fleet.fleet_id if fleet else None,
        ledger_id=fleet.ledger_id if fleet else None,
        take_over=declared.settings.take_over,
    )
    taken_over = fleet_id is not None and (fleet is None or fleet.fleet_id != fleet_id)
    snapshot = run.ledger.snapshot() if run.ledger is not None else None
    refuse_moved_zones(declared.catalogs, computes, snapshot, fleet_id)
    refuse_reinstalled(declared, computes, snapshot)
    if run.id is not None:
        fleet = _remember(declared, computes, run, fleet_id, t.cast("Snapshot", snapshot))
        fleet_id = fleet.fleet_id
        snapshot = t.cast("Ledger", run.ledger).snapshot()
    situation = Situation(
        declared=declared,
        computes=tuple(computes),
        snapshot=snapshot,
        fleet_id=fleet_id,
        ledger_id=fleet.ledger_id if fleet else None,
        leave=Leave(
            declared.settings.allow,
            declared.settings.reclaim * 3600,
            now,
            confirm_after=declared.settings.resize_confirm_window,
        ),
        now=now,
        run_id=run.id,
        host=host,
        moving=under_way(
            run.ledger.migrations(unfinished=True) if run.ledger is not None else (),
            computes,
            declared.settings.assume_absent,
        ),
    )
    notes = _enter_snapshots(situation, run)
    draft = drafting(situation)
    draft.schedule()
    plan = draft.plan() if run.id is None or run.ledger is None else claim(draft, run.ledger, run.id)
    if taken_over:
        notes += [_LOST, *_orphan_notes(declared, computes, fleet_id)]
    return dataclasses.replace(plan, notes=(*plan.notes, *notes)), fleet


def _enter_snapshots(given: Situation, run: Run) -> list[str]:
    """Whole snapshots that no catalog names become images of the fleet."""
    found = uncatalogued(given.declared, given.computes, given.fleet_id)
    found = [kept for kept in found if not given.is_busy(kept.snapshot.server_id)]
    if not found:
        return []
    names = listed(f"{kept.name} on {kept.compute.name}" for kept in found)
    if run.id is None or run.ledger is None:
        return [f"snapshots that no catalog names, and that a run makes images of the fleet: {names}"]
    known = run.ledger.catalog("image")
    for kept in found:
        if kept.name not in known:
            run.ledger.put("image", kept.name, kept.entry)
    return [f"snapshots that no catalog named are images of the fleet now: {names}"]


def _orphan_notes(declared: Declared, computes: t.Sequence[Compute], fleet_id: str | None) -> list[str]:
    """What the records beside disks in shared pools say of servers that no host shows."""
    absent = declared.settings.assume_absent
    found = orphans(computes, fleet_id, absent)
    lost = unplaced(computes, fleet_id, absent)
    notes = []
    if found:
        names = listed(server.name for server in found)
        notes.append(
            f"{names}: known from the records beside their disks in shared pools alone; the playbook evacuate brings "
            "them back once their host is proven dead"
        )
    if lost:
        notes.append(
            f"{listed(lost)}: their records are beside their disks in shared pools, no host has their guests, and none "
            "is down that could have them: they are left alone"
        )
    return notes


def _remember(
    declared: Declared, computes: t.Sequence[Compute], run: Run, fleet_id: str | None, snapshot: Snapshot
) -> FleetRow:
    """The ledger learns what the surveys found: its rows are a cache of what the hosts hold."""
    ledger = t.cast("Ledger", run.ledger)
    known = ledger.fleet()
    ours = {guest.id for compute in computes for guest in compute.guests if _is_ours(guest, fleet_id)}
    ours |= snapshot.servers.keys()
    hosts = [_host_seen(compute, declared.catalogs.zones[compute.name], ours) for compute in computes if compute.up]
    servers = _servers_seen(computes, fleet_id, snapshot)
    servers = [server for server in servers if not _outranked(server, snapshot, computes)]
    if known is None or known.fleet_id != fleet_id:
        if fleet_id is not None:
            servers += orphans(computes, fleet_id, declared.settings.assume_absent)
            return ledger.adopt(declared.settings.name, fleet_id, hosts=hosts, servers=servers)
        known = ledger.establish(declared.settings.name)
    ledger.save_survey(hosts)
    found = {guest.id for compute in computes for guest in compute.guests}
    gone = _gone(declared, computes, snapshot, found)
    nothing_left = _nothing_left(computes, fleet_id, snapshot, run.since)
    ledger.observe(servers, gone, since=run.since, nothing_left=nothing_left)
    _follow(ledger, str(run.id), computes, fleet_id, snapshot)
    return known


def _follow(
    ledger: Ledger, run_id: str, computes: t.Sequence[Compute], fleet_id: str | None, snapshot: Snapshot
) -> None:
    """The journal says what the hosts say of resizes whose runs were cut off."""
    rows = ledger.migrations(unfinished=True)
    if not rows:
        return
    guests = [(compute.name, t.cast(Record, guest.record)) for compute, guest in counted(computes, fleet_id)]
    # Of two copies of a server the one that counts comes last.
    ours = sorted(guests, key=lambda each: counts(each[1]))
    records = {record.id: record for _host, record in ours}
    places = {record.id: host for host, record in ours}
    busy = {row.id for row in snapshot.servers.values() if row.run_id in snapshot.runs and row.run_id != run_id}
    at_work = frozenset().union(*(compute.at_work for compute in computes))
    statuses = cut_off(rows, records, snapshot.servers, busy, places, at_work)
    statuses.update(evacuations_cut_off(rows, records, busy, computes))
    for row in rows:
        if row.id in statuses:
            # What its own run has noted says more.
            why = row.cause or why_cut_off(row, statuses[row.id], places)
            ledger.update_migration(run_id, row.id, status=statuses[row.id], cause=why)


def _outranked(seen: ServerSeen, snapshot: Snapshot, computes: t.Sequence[Compute]) -> bool:
    """A copy that is off never takes the place of a server that was last on a host which nobody sees now."""
    row = snapshot.servers.get(seen.id)
    if row is None or row.host in (None, seen.host) or seen.vm_state in ("active", "paused"):
        return False
    last = snapshot.hosts.get(str(row.host))
    if last is not None and has_left(Record.loads(seen.record), last.host_id, row.generation):
        return False
    return row.host not in {compute.name for compute in computes if compute.up}


def _nothing_left(computes: t.Sequence[Compute], fleet_id: str | None, snapshot: Snapshot, since: float) -> list[str]:
    """Servers that a run which died or failed had begun on a host that now shows nothing of them: any host will do.
    One that was to come from another host may be there still."""
    by_name = {compute.name: compute for compute in computes if compute.whole}
    there = {guest.id: t.cast(Record, guest.record) for _compute, guest in counted(computes, fleet_id)}
    return [
        claim.server_id
        for claim in snapshot.claims.values()
        if claim.begun
        and claim.run_id not in snapshot.runs
        and claim.created < since
        and claim.host in by_name
        and claim.server_id not in {guest.id for guest in by_name[claim.host].guests}
        and not _has_volumes_of(claim.server_id, by_name[claim.host], there.get(claim.server_id))
        and claim.server_id not in by_name[claim.host].at_work
    ]


def _has_volumes_of(server_id: str, compute: Compute, record: Record | None) -> bool:
    """Whether a host has volumes of a server, but for those that the server itself, elsewhere, has in a pool that they
    share. *record*: what it is there, None if it is nowhere."""
    own = {disk.pool_id for disk in record.disks} - {None} if record is not None else set()
    pools = t.cast("t.Mapping[str, t.Any]", compute.survey)["pools"].values()
    others = (pool for pool in pools if not own & {pool.get("id"), *pool.get("markers", ())})
    return any(volume.startswith(server_id) for pool in others for volume in pool.get("volumes", {}))


def _gone(
    declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot, found: t.AbstractSet[str]
) -> list[str]:
    """Servers that somebody deleted by hand, disks and all, and that inventory doesn't name: their names are free."""
    by_name = {compute.name: compute for compute in computes}
    if declared.settings.servers or not all(compute.whole for compute in computes):
        return []  # a selection knows nothing of the rest
    return [
        row.id
        for row in snapshot.servers.values()
        if row.record is not None
        and row.id not in found
        and (row.name not in declared.servers or row.vm_state == "soft-delete")
        and row.host in by_name
        and not any(volume.startswith(row.id) for compute in computes for volume in compute.volumes)
    ]


def _is_ours(guest: Guest, fleet_id: str | None) -> bool:
    return guest.record is not None and guest.record.fleet_id == fleet_id


def _host_seen(compute: Compute, zone: str, ours: t.Container[str]) -> HostSeen:
    state, reason = compute.service(None)
    pools = sorted(mark for pool in compute.pools.values() for mark in pool.get("markers", []))
    summary = {"pools": pools, ZONE: zone, remembered.KEY: remembered.memory_of(compute, ours)}
    return HostSeen(compute.name, compute.host_id, state, reason or None, summary)


def _servers_seen(computes: t.Sequence[Compute], fleet_id: str | None, snapshot: Snapshot) -> list[ServerSeen]:
    """Our servers on the hosts that are up, as far as the ledger knows them otherwise; of several copies of one the
    active one, else the one at its recorded host."""
    best: dict[str, tuple[tuple[bool, int, bool], Compute, Guest]] = {}
    for compute, guest in counted(computes, fleet_id):
        record = t.cast(Record, guest.record)
        rank = (guest.active, counts(record), record.host_id == compute.host_id)
        if record.id not in best or rank > best[record.id][0]:
            best[record.id] = (rank, compute, guest)
    seen = [_seen(compute, guest) for _rank, compute, guest in best.values() if not _known(compute, guest, snapshot)]
    return [*seen, *_shelved_seen(computes, fleet_id, snapshot, best)]


def _shelved_seen(
    computes: t.Sequence[Compute], fleet_id: str | None, snapshot: Snapshot, found: t.Collection[str]
) -> list[ServerSeen]:
    """Servers that the ledger doesn't know as shelved: a run that shelved them died, or the ledger was lost. One that
    has a domain is not shelved, whatever lies beside it."""
    seen: dict[str, ServerSeen] = {}
    for compute in computes:
        for record in compute.shelved:
            row = snapshot.servers.get(record.id)
            newer = row is None or row.generation < record.generation
            # In a pool that hosts share, all of them show it: it is still with the one that the ledger knows.
            first = record.id not in seen or (row is not None and row.host == compute.name)
            if record.fleet_id == fleet_id and record.id not in found and newer and first:
                state, power = vm_state("shutoff", record.marks), power_state("shutoff")
                seen[record.id] = ServerSeen.of(record, host=compute.name, vm_state=state, power_state=power)
    return list(seen.values())


def _known(compute: Compute, guest: Guest, snapshot: Snapshot) -> bool:
    """Whether the ledger has the server so already, and no claim of it is open. Records of one generation are one: no
    need to write them out."""
    row, record = snapshot.servers.get(guest.id), t.cast(Record, guest.record)
    return (
        row is not None
        and guest.id not in snapshot.claims
        and (row.name, row.host, row.generation, row.vm_state, row.power_state)
        == (
            record.name,
            compute.name,
            record.generation,
            _state(guest, record),
            power_state(guest.state),
        )
    )


def _seen(compute: Compute, guest: Guest) -> ServerSeen:
    record = t.cast(Record, guest.record)
    state = _state(guest, record)
    return ServerSeen.of(record, host=compute.name, vm_state=state, power_state=power_state(guest.state))


def _state(guest: Guest, record: Record) -> str:
    return vm_state(guest.state, record.marks)


def claim(draft: Reconcile, ledger: Ledger, run_id: str, nothing_left: t.Collection[str] = ()) -> Plan:
    """Claim what was chosen. Where another run was quicker, choose again from the ledger's rows, with no new survey.

    *nothing_left* as in Ledger.claim.
    """
    limited = bool(draft.declared.settings.quota)
    for _try in range(_TRIES):
        claims = draft.claims()
        if not claims:
            return draft.plan({})
        result: ClaimResult = ledger.claim(
            run_id, claims, check=draft.over_quota if limited else None, nothing_left=nothing_left
        )
        if result.won:
            won: dict[str, Claimed] = dict(result.won)
            return draft.plan(won)
        if result.refused:
            draft.refuse(result.refused)
            continue
        draft = draft.renewed(ledger.snapshot())
        draft.schedule()
    raise Stale(
        f"other runs have changed the same hosts {_TRIES} times while this one planned; run again when they have ended"
    )


@contextlib.contextmanager
def ended_on_error(run: Run) -> t.Iterator[None]:
    """A run that can't even be planned ends at once, so that nobody waits for it."""
    try:
        yield
    except BaseException:
        if run.ledger is not None and run.id is not None:
            run.ledger.end_run(run.id, "failed")
        raise


__all__ = ["Run", "claim", "ended_on_error", "reconcile"]
