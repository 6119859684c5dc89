# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of an evacuation: the servers of dead hosts, from their last records, each built where it can be.

Note that this plugin util is **PRIVATE** to the collection.

All servers are planned together. A server whose disks are on a pool that other hosts show (by the pool's recorded id,
with that very volume in it) keeps them, and goes to one of these hosts. Another is built anew from its image, with
leave for data_loss alone. Of a host that a lost ledger had known, only the servers whose records lie in shared pools
have come back; the others that inventory declares are built under a new id, with that leave. Nothing here asks whether
the hosts are really dead: that is proof.Proof's.
"""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    EVACUATING,
    REPLACES,
    Evacuating,
    Replaced,
    evacuating,
    names,
    replaces,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import has_tpm, is_flavored
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Json,
    Record,
    Server,
    volume_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import MARK as MOVING
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import WATCH, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import Place
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import Standing, refusal
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED, ServerPlan, Step, plan_server
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation, as_applied
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import is_coming, unseen_at
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.keeping import disks_on, kept_on
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.lost import Lost, check_hosts
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    BUSY,
    CONFLICT,
    ERROR,
    HELD,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import moved
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.severed import end_alone, gone_over, severed
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import AWAY, FOUND, NEW, Location
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import HELD as LOCATION_HELD

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claimed, HostRow, ServerRow

#: Marks of a server that is on its way somewhere, or waits for a word: Nova refuses these states, too.
_UNSETTLED = ("resize", "migrating")
#: What memory holds, and a dead host has lost.
_IN_MEMORY = ("active", "paused", "suspended", "rescued")


class Evacuate(Reconcile):
    """One evacuation in the making. FlotillaError says why there is none."""

    def __init__(self, situation: Situation, lost: Lost) -> None:
        self._lost = lost
        self._left_out: list[str] = []
        check_hosts(situation, lost)
        super().__init__(situation)

    def _again(self, situation: Situation) -> Reconcile:
        return Evacuate(situation, self._lost)

    # -- what is to be done -------------------------------------------------------------------------------------

    def _drafted(self) -> t.Iterable[Draft]:
        snapshot = self._given.snapshot
        severed = [*self._severed(), *self._gone_over()]
        yield from severed
        ids = {draft.server_id for draft in severed}
        rows = [row for row in (snapshot.servers.values() if snapshot is not None else ()) if self._is_lost(row)]
        rows = [row for row in rows if row.id not in ids]
        for row in sorted(rows, key=lambda row: row.name):
            draft = self._draft_of(row)
            if draft is not None:
                yield draft
        unseen = [draft for draft in self._unseen() if self._asked_for(draft.name, draft.server_id)]
        yield from unseen
        alone = self._known_to_nobody()
        self._check_known([*severed, *alone])
        yield from alone
        if self._lost.server is not None and not (severed or rows or alone or unseen):
            hosts = ", ".join(self._lost.hosts)
            raise InvalidInput(f"there is no server {self._lost.server!r} on {hosts}; the status playbook lists them")

    def _severed(self) -> t.Iterator[Draft]:
        """Servers on hosts that live, whose move to or from a dead host was cut off."""
        rows = self._given.snapshot.hosts if self._given.snapshot is not None else {}
        dead = {host: rows[host].host_id if host in rows else None for host in self._lost.hosts}
        for record, location in severed(self._where, dead):
            if self._has_left(record, location):
                continue
            draft = Draft(record.name, None, location, host=location.host)
            if not self._asked_for(record.name, record.id):
                continue
            if self._given.is_busy(record.id):
                why = "a run, or a step of one that was cut off, is at work on it; run again when it has ended"
                yield draft.refuse(BUSY, why)
                continue
            if location.status == LOCATION_HELD:
                yield draft.refuse(HELD, location.message)
                continue
            step = end_alone(record, location, start=self._starts(record), may_lose=self._may_lose)
            yield draft.to_do(ServerPlan(held=(step,)) if step.hold else ServerPlan(steps=(step,)))

    def _gone_over(self) -> t.Iterator[Draft]:
        """Servers that have left hosts which live for a dead one, cold, where the ledger has not seen them yet."""
        rows = self._given.snapshot.servers if self._given.snapshot is not None else {}
        for record, location in gone_over(self._where, self._lost.hosts):
            row = rows.get(record.id)
            if self._asked_for(record.name, record.id) and not (row is not None and self._is_lost(row)):
                why = refusal("evacuate", record.id, Standing("migrating"))
                why = f"{why}: {location.message}; reconcile ends its move when {location.host} is back"
                yield Draft(record.name, None, location, host=location.host).refuse(ERROR, why)

    def _has_left(self, record: Record, location: Location) -> bool:
        """Whether the server's last record names this copy as one that it has left: that record counts."""
        snapshot = self._given.snapshot
        row = snapshot.servers.get(record.id) if snapshot is not None else None
        last = row.loads() if row is not None else None
        host = self._given.by_name.get(str(location.host))
        return last is not None and host is not None and names(last, record, host.host_id)[1]

    def _unseen(self) -> t.Iterator[Draft]:
        """Servers that a move has taken to a dead host, where nobody saw them: they are not forgotten."""
        rows = self._given.snapshot.servers if self._given.snapshot is not None else {}
        for row in (rows[server_id] for server_id in self._given.moving if server_id in rows):
            to, location = self._given.moving[row.id], self._where.find(row.name, row.id)
            if to in self._lost.hosts and not self._is_lost(row) and location.status == LOCATION_HELD:
                yield Draft(row.name, None, location, host=row.host).refuse(HELD, unseen_at(row, to))

    def _known_to_nobody(self) -> list[Draft]:
        """Declared servers that may have been on a lost host of which the ledger has never seen anything, and of which
        neither ledger nor hosts know more than that."""
        rows = self._given.snapshot.servers.values() if self._given.snapshot is not None else ()
        known: set[str | None] = {name for row in rows for name in (row.name, row.id)}
        for _host, guest in self._where.ours():
            known |= {guest.id, guest.name, None if guest.record is None else guest.record.name}
        drafts = []
        for server in self._declared.servers.values():
            if server.state == "absent" or server.name in known or (server.id is not None and server.id in known):
                continue
            if not self._asked_for(server.name, server.id):
                continue
            location = self._where.find(server.name, server.id)
            unseen = set(location.unseen)
            if location.status == LOCATION_HELD and unseen and unseen <= set(self._lost.hosts):
                drafts.append(self._anew(Draft(server.name, server, Location(NEW)), location.unseen))
        return drafts

    def _anew(self, draft: Draft, hosts: t.Sequence[str]) -> Draft:
        """A server of which nothing is known but its name: another takes its place, with leave alone."""
        alone = f"if it was ever built, its id and disks are on {', '.join(hosts)} alone"
        owner = self._given.owners.get(draft.name)
        if owner is not None:
            return draft.refuse(BUSY, f"{owner} is at work on it; run again when it has ended")
        if not self._may_lose:
            step = Step("create", f"{alone}: it is built anew, under a new id", hold="data_loss")
            return draft.to_do(ServerPlan(held=(step,)))
        self._left_out.append(f"{draft.name} is built anew, under a new id: {alone}")
        server = t.cast(Server, draft.server)
        return draft.to_do(plan_server(server, None, None, volumes=frozenset(), leave=self._given.leave))

    def _check_known(self, alone: t.Sequence[Draft]) -> None:
        """A host of which neither ledger nor inventory knows a server has nothing to evacuate."""
        rows = self._given.snapshot.servers.values() if self._given.snapshot is not None else ()
        if any(row.host in self._lost.hosts for row in rows):
            return  # it is named beside others, which have some
        for host in self._never_seen:
            if host in self._lost.hosts and not alone and not any(row.host == host for row in rows):
                raise InvalidInput(
                    f"{host} was never seen by this ledger: nobody knows which servers were on it; nothing is evacuated"
                )

    @property
    def _never_seen(self) -> list[str]:
        """Hosts that are down, and of which this ledger has no survey."""
        rows = self._given.snapshot.hosts if self._given.snapshot is not None else {}
        silent = [compute.name for compute in self._given.computes if not compute.up]
        return [host for host in silent if host not in rows or rows[host].surveyed is None]

    @property
    def _may_lose(self) -> bool:
        return self._lost.accept_data_loss or "data_loss" in self._given.leave.allow

    def _asked_for(self, *names: str | None) -> bool:
        return self._lost.server is None or self._lost.server in names

    def _is_lost(self, row: ServerRow) -> bool:
        if row.host not in self._lost.hosts or row.vm_state == "soft-delete":
            return False
        return self._asked_for(row.name, row.id)

    def _draft_of(self, row: ServerRow) -> Draft | None:
        record = row.loads()
        if record is not None and SHELVED in record.marks:
            return None  # it is on no host
        location = self._where.find(row.name, row.id)
        if location.status == FOUND:
            self._left_out.append(f"{row.name} is on {location.host} already")
            return None
        draft = Draft(row.name, None, dataclasses.replace(location, record=record), host=row.host)
        if record is None:
            return draft.refuse(HELD, f"it was being built on {row.host}: reconcile builds it when that host is back")
        owner = self._given.owners.get(row.id)
        if owner is not None:
            return draft.refuse(BUSY, f"{owner} is at work on it; run again when it has ended")
        why = self._unfit_for_it(record, location, str(row.host))
        if why is not None:
            return draft.refuse(*why)
        draft = dataclasses.replace(draft, server=self._as_applied(record))
        return self._planned(draft, row, record)

    def _unfit_for_it(self, record: Record, location: Location, home: str) -> tuple[str, str] | None:
        """Why a server is not evacuated, as a verdict and its sentence."""
        at_work = next((compute.name for compute in self._given.computes if record.id in compute.at_work), None)
        if at_work is not None:
            # A killed run is not a stopped run: its module goes on.
            return BUSY, f"a step of a run that was cut off is at work on it on {at_work}; run again when it has ended"
        if any(mark in record.marks for mark in _UNSETTLED):
            state = "resized" if "resize" in record.marks else "migrating"
            return ERROR, str(refusal("evacuate", record.id, Standing(state)))
        if has_tpm(record):
            return ERROR, "it has a TPM, whose state was on its host alone: as in Nova it is not evacuated"
        if self._lost.by_word and record.spec.get("autostart"):
            why = "it starts by itself when its host is back (server_autostart): only a fence proves that it is off"
            return HELD, why
        if location.status == CONFLICT:
            return CONFLICT, location.message
        if location.status != AWAY and not self._all_replaced(record, location):
            return HELD, location.message
        absent = self._declared.settings.assume_absent
        others = sorted(set(self._never_seen) - {*self._lost.hosts, *absent})
        if others and home in self._never_seen:
            hosts = ", ".join(others)
            return HELD, (
                f"it is known from the record beside its disk alone, which doesn't say whether it was on {home} or "
                f"on {hosts}: evacuate all of them at once: -e fleet_host={','.join((*self._lost.hosts, *others))}"
            )
        coming = next((host for host in self._given.computes if is_coming(record, host)), None)
        if coming is not None:
            return (
                HELD,
                f"its memory was on the way to {coming.name}, where libvirt gives it up in a minute: run again then",
            )
        maybe = sorted(self._ends(record) - set(self._lost.hosts) - self._up)
        if maybe:
            hosts = ", ".join(maybe)
            return HELD, (
                f"a move of it was cut off whose other end, {hosts}, is down: it may run there; evacuate both hosts at "
                f"once: -e fleet_host={','.join((*self._lost.hosts, *maybe))}"
            )
        return None

    def _ends(self, record: Record) -> set[str]:
        """Hosts where moves of a server that were cut off may have left its guest."""
        its = move_of(record)
        return {*self._lost.begun.get(record.id, ()), *(() if its is None else (its.other.host,))}

    @property
    def _up(self) -> set[str]:
        return {compute.name for compute in self._given.computes if compute.up}

    def _all_replaced(self, record: Record, location: Location) -> bool:
        """Whether what is seen of it elsewhere are copies that it has left long ago, by its own last record."""
        copies = [
            (self._given.by_name[host].host_id, guest)
            for host, guest in self._where.ours()
            if guest.id == record.id and guest.record is not None and EVACUATING not in guest.record.marks
        ]
        return location.status == HELD and all(
            not guest.active and names(record, t.cast(Record, guest.record), host_id)[1] for host_id, guest in copies
        )

    def _as_applied(self, record: Record) -> Server:
        """The server as its record has it, to be placed. Nova evacuates one from the very host that it was bound to."""
        server = as_applied(record, self._declared.servers.get(record.name))
        return dataclasses.replace(server, spec={key: value for key, value in server.spec.items() if key != "host"})

    def _planned(self, draft: Draft, row: ServerRow, record: Record) -> Draft:
        disks = disks_on(record, self._given.computes, self._others())
        if disks.unseen:
            return draft.refuse(HELD, disks.unseen)
        said = self._lost.on_shared_storage
        if said != "auto" and (said == "true") != disks.kept:
            why = f"on_shared_storage is {said}, and they {'are' if disks.kept else 'are not'}"
            return draft.refuse(ERROR, f"Invalid state of instance files on shared storage: {why}")
        if self._lost.password and disks.kept:
            return draft.refuse(ERROR, "admin password can't be changed on existing disk")
        starts = self._starts(record)
        lost = disks.lost(record)
        twice = disks.kept and bool(record.spec.get("autostart"))
        what = [disks.told(record), "started" if starts else "left off"]
        if row.vm_state in _IN_MEMORY and row.vm_state != "active":
            what.append(f"what it had in memory ({row.vm_state}) is lost")
        if record.hardware.firmware == "uefi":
            what.append("the variables of its UEFI firmware are made anew")
        home = str(row.host)
        if twice:
            what.append(f"{home} starts it on the same disk when it is back (server_autostart): keep {home} off")
        among = {*self._never_seen, *self._ends(record)} if home in self._never_seen else {home, *self._ends(record)}
        step = Step(
            "evacuate",
            f"from {home}: {'; '.join(what)}",
            options={
                "rebuild": not disks.kept,
                "start": starts,
                "from": home,
                "lost": lost,
                "among": sorted(among & set(self._lost.hosts)),
            },
        )
        if (lost or twice) and not self._may_lose:
            return draft.to_do(ServerPlan(held=(dataclasses.replace(step, hold="data_loss"),)))
        return draft.to_do(ServerPlan(steps=(step,)))

    def _starts(self, record: Record) -> bool:
        if self._lost.target_state != "declared":
            return self._lost.target_state == "started"
        return record.declared == "active"

    def _others(self) -> list[HostRow]:
        """What the ledger knows of the hosts that are not lost."""
        rows = self._given.snapshot.hosts.values() if self._given.snapshot is not None else ()
        return [row for row in rows if row.name not in self._lost.hosts]

    # -- where it goes ------------------------------------------------------------------------------------------

    def _needs_place(self, draft: Draft) -> bool:
        if draft.new:
            return super()._needs_place(draft)
        return any(step.kind == "evacuate" for step in draft.plan.steps)

    def _bound_to(self, draft: Draft) -> str | None:
        """The host that is asked for, else the one where it was begun."""
        if draft.new:
            return self._lost.to or super()._bound_to(draft)
        half = self._half(draft)
        return self._lost.to or (half[0] if half is not None else None)

    def _half(self, draft: Draft) -> tuple[str, Record] | None:
        """What an evacuation that was cut off has built of it, one that runs first."""
        found = sorted(draft.location.unfinished, key=lambda copy: not copy[1].active)
        return next(((host, guest.record) for host, guest in found if guest.record is not None), None)

    def _unfit(self, draft: Draft) -> set[str]:
        if draft.new:
            return super()._unfit(draft) | set(self._lost.hosts)
        record, half = t.cast(Record, draft.record), self._half(draft)
        unfit = self._where.foreign.get(draft.name, set()) | set(self._lost.hosts)
        disks = disks_on(record, self._given.computes, self._others())
        own = None if half is None else half[0]
        unfit |= set() if disks.kept else self._without_image(draft)
        for compute in self._given.computes:
            if not compute.up or compute.name == own:
                continue
            # A copy of the server, or a volume of it that this didn't make: somebody must look at that first.
            there = any(guest.id == record.id for guest in compute.guests)
            there |= any(old.id == record.id for old in compute.replaced)
            there |= disks.in_the_way(record, compute)
            if there or (disks.kept and compute.name not in disks.hosts):
                unfit.add(compute.name)
        return unfit

    # -- the plan -----------------------------------------------------------------------------------------------

    def _notes(self) -> tuple[str, ...]:
        return (*self._left_out, *self._placement_notes)

    def _entry(self, draft: Draft, won: t.Mapping[str, Claimed] | None) -> ServerEntry:
        return dataclasses.replace(super()._entry(draft, won), declared=draft.name in self._declared.servers)

    def _deeds(self, draft: Draft, claimed: Claimed) -> list[Json]:
        if draft.new or not self._needs_place(draft):
            return super()._deeds(draft, claimed)
        (step,) = draft.plan.steps
        record, compute = t.cast(Record, draft.record), self._given.by_name[str(draft.host)]
        source = Place(str(step.options["from"]), self._host_id(str(step.options["from"]), record))
        half = self._half(draft)
        half = half if half is not None and half[0] == compute.name else None
        going = evacuating(half[1]) if half is not None else None
        kept = kept_on(record, compute)
        record = _named(_whole(record), kept)
        made = tuple((disk.pool, disk.volume) for disk in record.disks if disk.volume not in kept)
        its = going or Evacuating(self._migration(record, source), self._given.now, record.generation, source, made)
        target = self._target(record, compute, draft, its)
        options = {
            "evacuating": its.to_json(),
            "start": step.options["start"],
            "rebuild": step.options["rebuild"],
            "lost": step.options["lost"],
            "destination": compute.name,
            "drive": any(disk.role == "config" and (disk.pool, disk.volume) in its.made for disk in record.disks),
            # The host goes on by itself then, as with a live migration that is not waited for.
            **({} if self._lost.wait else {"wait": False, "watch": WATCH, "migration": its.migration}),
        }
        return [
            {
                "kind": "evacuate",
                "server_id": claimed.server_id,
                "name": record.name,
                "expects": half[1].generation if half is not None else None,
                "why": step.why,
                "timeout": 0,
                "record": target.to_json(),
                "options": options,
            }
        ]

    def _target(self, record: Record, compute: Compute, draft: Draft, its: Evacuating) -> Record:
        """The record as it will be: what it replaces is the last of it that is written."""
        entries = [entry.to_json() for entry in replaces(record)]
        entries.append(Replaced(its.source.host_id, record.generation, its.migration).to_json())
        placed = moved(record, compute, self._declared.networks)
        pools = {disk.volume: disk.pool_id for disk in record.disks if (disk.pool, disk.volume) not in its.made}
        return dataclasses.replace(
            placed,
            generation=record.generation + 1,
            host_id=compute.host_id,
            disks=tuple(_made_anew(disk, pools, compute) for disk in placed.disks),
            marks={**record.marks, REPLACES: entries},
            fit=draft.fitted,
        )

    def _host_id(self, host: str, record: Record) -> str:
        rows = self._given.snapshot.hosts if self._given.snapshot is not None else {}
        known = rows[host].host_id if host in rows else None
        return str(record.host_id or known)

    def _migration(self, record: Record, source: Place) -> str:
        # Of the plan, not random: a plan that is carried out twice is one evacuation.
        made = f"{record.id}/{record.generation}/{self._given.now}/evacuation/{source.host_id}"
        return str(uuid.uuid5(uuid.NAMESPACE_URL, made))


def _whole(record: Record) -> Record:
    """The server as it comes back: not rescued, not on its way, its fit found anew."""
    marks = {key: value for key, value in record.marks.items() if key not in ("rescue", MOVING)}
    spec = {key: value for key, value in record.spec.items() if key != "rescue"}
    return dataclasses.replace(record, marks=marks, spec=spec)


def _named(record: Record, kept: t.Collection[str]) -> Record:
    """Disks that are made anew are named as ours: an adopted server's had names of their own. What no flavor gives
    a server can't be made anew: it comes back without."""
    disks = (
        disk if disk.volume in kept else dataclasses.replace(disk, volume=volume_of(record.id, disk.role))
        for disk in record.disks
        if disk.volume in kept or is_flavored(disk)
    )
    return dataclasses.replace(record, disks=tuple(disks))


def _made_anew(disk: Disk, pools: t.Mapping[str, str | None], compute: Compute) -> Disk:
    """A disk of the record to be: one that is kept keeps its pool's id, so that no other pool is taken for it."""
    if disk.volume in pools:
        return dataclasses.replace(disk, pool_id=pools[disk.volume])
    overlay = "overlay" in compute.pools.get(disk.pool, {}).get("capabilities", ())
    return dataclasses.replace(disk, pool_id=None, backing=disk.backing if overlay else None)


__all__ = ["Evacuate"]
