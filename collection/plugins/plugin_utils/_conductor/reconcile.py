# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reconcile plan: what inventory says against what is, for all servers together.

Note that this plugin util is **PRIVATE** to the collection.

Pure: it reads no clock and no database. ``Reconcile`` looks every server up, decides its steps and asks the scheduler
for the new ones; the caller claims what it chose (``claims``), and makes the plan of what it won (``plan``).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import by_leave, declared_host, elsewhere
from ansible_collections.flotilla.compute.plugins.module_utils._core.saving import snapshots_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step, plan_server
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.afterwards import (
    GROWS,
    fits_otherwise,
    flavor_after,
    flavor_text,
    image_after,
    images_for,
    spec_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.autostart import (
    note,
    starts_later,
    starts_twice,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.claiming import claim, pool_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.cpu_models import cpu_notes, without_cpu
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hardware import settled
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    AWAY,
    BUSY,
    CHANGE,
    CONFLICT,
    ERROR,
    HELD,
    NO_HOST,
    Plan,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import host_plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.quota import Share, refusals
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reaching import reaching
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import (
    Frame,
    blind,
    deeds,
    first_record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rules import mended
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import holder, sees
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.sightings import remembered, seen
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.told import told
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.undeclared import (
    Undeclared,
    deletable,
    undeclared,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    Location,
    Whereabouts,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claim, Claimed
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import (
    amounts_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Policy, Request, ServerGroup

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler

_VERDICTS = {"away": AWAY, "held": HELD, "conflict": CONFLICT}
#: Steps of a server that goes.
_GOES = frozenset({"delete", "soft_delete"})


class Reconcile:
    """One plan in the making."""

    #: Whether somebody asks for it, who is to confirm what has a way back.
    _asks = False

    def __init__(self, situation: Situation) -> None:
        self._given = situation
        self._declared = situation.declared
        self._where = Whereabouts(
            seen(situation),
            remembered(situation.snapshot),
            fleet_id=situation.fleet_id,
            assume_absent=frozenset(situation.declared.settings.assume_absent),
            moving=situation.moving,
        )
        self._explanations: dict[str, Explanation] = {}
        self._placement_notes: tuple[str, ...] = ()
        self._later: list[str] = []
        self._undeclared = Undeclared()
        self._drafts = {draft.name: draft for draft in self._drafted()}

    @property
    def declared(self) -> Declared:
        return self._declared

    # -- what is to be done -------------------------------------------------------------------------------------

    def _drafted(self) -> t.Iterable[Draft]:
        self._undeclared = undeclared(self._given, self._where)
        declared = (server for server in self._declared.servers.values() if self._selected(server.name))
        drafts = mended(map(self._draft, declared), self._given, self._where)
        yield from map(self.reaching, drafts)
        yield from self._undeclared.drafts

    def _selected(self, name: str) -> bool:
        patterns = self._declared.settings.servers
        return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    def _draft(self, server: Server) -> Draft:
        location = self._where.find(server.name, server.id)
        draft = Draft(server.name, server, location, host=location.host)
        busy = self._busy(server.name, location)
        if busy:
            return draft.refuse(BUSY, busy)
        if location.status in _VERDICTS:
            if server.state == "absent" and location.status == "held" and location.record is None:
                return draft
            return draft.refuse(_VERDICTS[location.status], location.message)
        known = self._given.snapshot.hosts if self._given.snapshot is not None else {}
        twice = starts_twice(server, location.record, location.host, self._given.computes, known)
        if twice:
            return draft.refuse(ERROR, twice)
        if location.record is None and starts_later(server, server.spec.get("host"), self._given.computes):
            self._later.append(server.name)
            server = dataclasses.replace(server, spec={**server.spec, "autostart": False})
            draft = dataclasses.replace(draft, server=server)
        plan = plan_server(
            server,
            location.record,
            location.guest,
            volumes=self._given.volumes(location.host),
            leave=self._given.leave,
            moved=location.moved,
        )
        if location.record is not None:
            leave, here = self._given.leave, location.host
            plan = declared_host(plan, server, location.record, location.guest, here=here, leave=leave)
            plan = told(self._given, plan, server, location)
        if plan.steps and location.doubt:
            return draft.refuse(HELD, location.doubt)
        missing = self.out_of_reach(draft.to_do(plan))
        if missing:
            return draft.refuse(ERROR, missing)
        return deletable(self._given, self._where, draft.to_do(plan))

    def reaching(self, draft: Draft) -> Draft:
        """The draft, if the hosts at the other ends of its steps can be reached."""
        return reaching(self._given, draft)

    def _busy(self, name: str, location: Location) -> str:
        """Another live run's server is left to it."""
        server_id = location.record.id if location.record is not None else None
        run = self._given.owners.get(name) or self._given.owners.get(server_id or "")
        return f"{run} is at work on it; run again when it has ended" if run is not None else ""

    # -- where it goes ------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Choose hosts for the new servers, and see whether those that grow or are rebuilt still fit where they are."""
        self.refuse(self.over_quota(self._given.snapshot))
        asking = {d.name: d for d in self._drafts.values() if d.verdict == CHANGE and self._needs_place(d)}
        rebuilt = [d for d in self._drafts.values() if d.name not in asking and self._gets_an_image(d)]
        standing = self._standing(asking)
        if not asking and not rebuilt and standing is None:
            return
        # Here, not above: a run that places nothing, which most runs are, needs neither the filters nor numpy.
        from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.replay import explain_placed
        from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler
        from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

        # What these servers hold already is theirs to use again: they are placed anew, not beside themselves.
        left_over = self._given.half_built
        theirs = frozenset(d.server_id or left_over.get(name) or "" for name, d in asking.items())
        states = self._states(theirs)
        settings = Settings.from_variable(self._declared.settings.scheduler)
        leaving = self._leaving()
        asking = self._moved_if_need_be(asking, Scheduler(states, settings))
        states = states if self._leaving() == leaving else self._states(theirs)
        requests = {name: self._request(draft) for name, draft in asking.items()}
        placement = Scheduler(states, settings).place(requests.values())
        self._placement_notes = tuple(placement.notes)
        for name, placed in placement.placed.items():
            fit = settled(placed.fit, self._given.by_name[placed.host])
            self._drafts[name] = dataclasses.replace(self._drafts[name], host=placed.host, placed=True, fit=fit)
        for explanation in placement.refused.values():
            self._refuse(explanation)
        if self._declared.settings.explain in placement.placed:
            told = explain_placed(states, settings, requests, placement, str(self._declared.settings.explain))
            self._explanations[told.server] = told
        images = Scheduler(states, settings, rebuild=True)
        for draft in rebuilt:
            # Hints were for the choice of the host.
            told = images.explain(dataclasses.replace(self._request(draft), hints={}))
            if told.host is None:
                self._refuse(told)

        if standing is not None and standing.name not in self._explanations:
            anew = dataclasses.replace(self._request(standing), host=t.cast(Server, standing.server).spec.get("host"))
            own = frozenset({str(standing.server_id)})
            self._explanations[standing.name] = Scheduler(self._states(theirs | own), settings).explain(anew)

    def _moved_if_need_be(self, asking: dict[str, Draft], scheduler: Scheduler) -> dict[str, Draft]:
        """Servers that get a flavor for which their host has no room go elsewhere, with leave to migrate."""
        for name, draft in list(asking.items()):
            if draft.new or draft.homeless or draft.move is not None or draft.record is None:
                continue
            plan = elsewhere(draft.plan, draft.record, draft.location.guest, asked=self._asks)
            if plan is None or scheduler.explain(self._request(draft)).host is not None:
                continue
            moved = draft.to_do(plan)
            if scheduler.explain(self._request(moved)).host is None:
                continue  # the reason of its own host is the one that tells
            # What was to be grown while it runs has no leave to be restarted yet.
            needs = ("migrate", "restart") if "grow" in _kinds(draft.plan.steps) else ("migrate",)
            held = by_leave(plan, draft.record, self._leave_to_move(), needs)
            self._drafts[name] = asking[name] = moved = self.reaching(draft.to_do(held))
            if moved.message and self._asks:
                self._drafts[name] = moved.refuse(NO_HOST, moved.message)  # who asks is told that it was not done
            if moved.move is None:
                del asking[name]
        return asking

    def _leave_to_move(self) -> Leave:
        return self._given.leave

    def _states(self, moving: frozenset[str]) -> list[HostState]:
        return host_states(
            self._given.computes,
            self._given.snapshot,
            fleet_id=self._given.fleet_id,
            catalogs=self._declared.catalogs,
            groups={name: server.spec.get("group") for name, server in self._declared.servers.items()},
            moving=moving,
            leaving=self._leaving(),
        )

    def _leaving(self) -> frozenset[str]:
        return frozenset(str(d.server_id) for d in self._drafts.values() if d.move is not None)

    def _standing(self, asking: t.Container[str]) -> Draft | None:
        """The server that fleet_explain names, if it is on a host and stays there."""
        draft = self._drafts.get(self._declared.settings.explain or "")
        if draft is None or draft.name in asking or draft.server is None or draft.record is None:
            return None
        return draft if draft.location.host is not None else None

    def _refuse(self, explanation: Explanation) -> None:
        self._explanations[explanation.server] = explanation
        self._drafts[explanation.server] = self._drafts[explanation.server].refuse(NO_HOST, explanation.sentence())

    def _gets_an_image(self, draft: Draft) -> bool:
        """Whether a server that stays where it is gets another image, which its host must be fit for."""
        return draft.verdict == CHANGE and draft.server is not None and "rebuild" in _kinds(draft.plan.steps)

    def over_quota(self, snapshot: Snapshot | None) -> dict[str, str]:
        """Servers for which a quota leaves nothing, with the reason, as the ledger is now."""
        limits = self._declared.settings.quota
        return refusals(limits, snapshot, map(self._share, self._costing())) if limits else {}

    def _costing(self) -> t.Iterable[Draft]:
        for draft in self._drafts.values():
            known = draft.server is not None or draft.record is not None
            if known and not draft.copy and draft.plan.steps and not _kinds(draft.plan.steps) & _GOES:
                yield draft

    def _share(self, draft: Draft) -> Share:
        flavor, spec = flavor_after(draft), spec_of(draft)
        server_id = draft.server_id or self._given.half_built.get(draft.name)
        return Share(draft.name, server_id, spec.get("project"), flavor.vcpus, flavor.ram)

    def _needs_place(self, draft: Draft) -> bool:
        if draft.server is None or not any(step.kind in GROWS for step in draft.plan.steps):
            return False
        if draft.new or draft.homeless or draft.move is not None:
            return True
        if any("peer" in step.options for step in draft.plan.steps):
            return False  # the host that it goes back to has kept its room
        record, flavor = t.cast(Record, draft.record), flavor_after(draft)
        wanted, applied = amounts_of(flavor), amounts_of(record.flavor)
        if any(amount > applied.get(resource, 0) for resource, amount in wanted.items()):
            return True
        return fits_otherwise(record, flavor, image_after(draft))

    def _request(self, draft: Draft) -> Request:
        server = t.cast(Server, draft.server)
        spec = server.spec
        group = self._declared.groups.get(spec.get("group", ""))
        return Request(
            name=server.name,
            flavor=flavor_after(draft),
            id=draft.server_id,
            image=image_after(draft).name,
            image_properties=image_after(draft).properties,
            zone=spec.get("availability_zone"),
            project=spec.get("project"),
            group=None
            if group is None
            else ServerGroup(group.name, t.cast(Policy, group.policy), group.max_server_per_host),
            hints=spec.get("hints", {}),
            pool=draft.record.root.pool if draft.record is not None else spec.get("pool"),
            networks=tuple(port["network"] for port in spec.get("networks", [])),
            host=self._bound_to(draft),
            ignore_hosts=tuple(sorted(self._unfit(draft))),
            pci_aliases=self._declared.catalogs.pci_aliases,
            running=draft.running,
            retry_hosts=self._given.tried.get(server.name, ()),
        )

    def _unfit(self, draft: Draft) -> set[str]:
        """Hosts that can't have the server, whatever the scheduler says."""
        computes = self._given.computes
        cpu = self._declared.settings.cpu_model if draft.record is None else draft.record.hardware.cpu
        lacking = set(without_cpu(cpu, computes))
        if draft.move is None:
            return self._where.foreign.get(draft.name, set()) | self._without_image(draft) | lacking
        unreached = {compute.name for compute in computes if not compute.settings.migration_uri}
        return self._where.foreign.get(draft.name, set()) | unreached | {str(draft.location.host)} | lacking

    def _cut_off(self, draft: Draft) -> bool:
        """Whether disks of a shelved server are still on its host: they are its own, and are used there."""
        volumes = self._given.volumes(draft.location.host)
        return any(disk.volume in volumes for disk in t.cast(Record, draft.record).disks)

    def out_of_reach(self, draft: Draft) -> str:
        """Why a server that stays on its host can't have an image there; empty if it can."""
        compute = self._given.by_name.get(draft.location.host or "")
        if compute is None or draft.new or draft.homeless:
            return ""
        for image in images_for(draft):
            source = self._declared.image_sources.get(image.name)
            if source is not None and (source.url or source.file):
                continue
            if holder(compute, image) is None and source is not None:
                return (
                    f"image {image.name!r} is a snapshot in pool {source.pool!r} of {source.host}, and {compute.name} "
                    "doesn't see it there: snapshots are not copied between hosts; take them into a pool that hosts "
                    "share (option pool)"
                )
            if holder(compute, image) is None:
                return f"image {image.name!r} is in no catalog any more, and in no pool of {compute.name}"
        return ""

    def _without_image(self, draft: Draft) -> set[str]:
        """Hosts that can't get at the disk that the server is to have: snapshots are only where they were made."""
        computes = self._given.by_name.values()
        if draft.homeless:
            kept = snapshots_of(t.cast(Record, draft.record))
            return {compute.name for compute in computes if compute.up and not sees(compute, kept)}
        image = image_after(draft)
        source = self._declared.image_sources.get(image.name)
        if source is None or source.pool is None or source.url or source.file:
            return set()
        return {compute.name for compute in computes if compute.up and holder(compute, image) is None}

    def _bound_to(self, draft: Draft) -> str | None:
        """The one host that a server can go to: its own, the one where it was begun, or the one that inventory says."""
        if draft.move is not None:
            return draft.move.options.get("host")
        if not draft.new and not (draft.homeless and not self._cut_off(draft)):
            return draft.location.host
        wanted = self._given.host or t.cast(Server, draft.server).spec.get("host")
        return self._given.begun.get(draft.name) or wanted

    # -- what is claimed ----------------------------------------------------------------------------------------

    def claims(self) -> list[Claim]:
        """Room, ids and addresses for all servers with steps; every one of them is the run's own until it ends."""
        acting = [draft for draft in self._drafts.values() if draft.plan.steps and not draft.copy]
        return [claim(draft, self._given, chosen=draft.new or self._needs_place(draft)) for draft in acting]

    def refuse(self, refused: t.Mapping[str, str]) -> None:
        """Servers that could not be claimed, with the reason."""
        for name, reason in refused.items():
            self._drafts[name] = self._drafts[name].refuse(ERROR, reason)

    def renewed(self, snapshot: Snapshot) -> Reconcile:
        """The same plan in the light of a newer ledger (others have claimed meanwhile); no host is surveyed again."""
        return self._again(dataclasses.replace(self._given, snapshot=snapshot))

    def _again(self, situation: Situation) -> Reconcile:
        return Reconcile(situation)

    # -- the plan -----------------------------------------------------------------------------------------------

    def plan(self, won: t.Mapping[str, Claimed] | None = None) -> Plan:
        """The plan as data; without claims (check mode) new servers have no id, and it has no deeds but those that a
        host can look at beforehand."""
        entries = tuple(self._entry(draft, won) for draft in self._drafts.values())
        done: set[tuple[str, str]] = set()
        hosts = tuple(host_plan(each, self._drafts.values(), self._given, done) for each in self._given.computes)
        explanations = tuple(self._explanations.values())
        return Plan(self._declared.settings.name, hosts, entries, self._notes(), explanations)

    def _notes(self) -> tuple[str, ...]:
        wanted = self._declared.settings.explain
        cpus = cpu_notes(self._declared.settings.cpu_model, self._given.computes)
        notes = (*self._undeclared.notes, *self._assumable(), *cpus, *note(self._later), *self._placement_notes)
        if not wanted:
            return notes
        if wanted not in self._explanations:
            return (*notes, f"{wanted} is no server of inventory that has or gets a host: nothing to explain")
        standing = self._standing(())
        where = "" if standing is None or standing.verdict == NO_HOST else f"{wanted} is on {standing.host}; anew: "
        return (*notes, where + self._explanations[wanted].text())

    def _assumable(self) -> t.Iterator[str]:
        """The flag that lifts what is held because it may be on a host that nobody can see."""
        unseen = sorted({host for draft in self._drafts.values() if draft.message for host in draft.location.unseen})
        if unseen:
            yield (
                f"-e fleet_assume_absent={','.join(unseen)} says that none of these servers is there: they will be "
                "made or started elsewhere, so be sure that those hosts are off"
            )

    def _entry(self, draft: Draft, won: t.Mapping[str, Claimed] | None) -> ServerEntry:
        entry = ServerEntry(
            name=draft.name,
            verdict=draft.verdict,
            id=draft.server_id,
            host=draft.host if draft.move is None else draft.location.host,
            flavor=flavor_text(draft),
            steps=draft.plan.steps,
            held=draft.plan.held,
            differences=draft.plan.differences,
            message=draft.message,
            destination=self._destination(draft),
            declared=draft.server is not None,
            copy=draft.copy,
            unseen=draft.location.unseen if draft.verdict == HELD else (),
        )
        if not draft.plan.steps or (won is None and not draft.can_be_looked_at):
            return entry
        its = Claimed(str(draft.server_id), str(draft.host), ())
        claimed = its if won is None or draft.copy else won[draft.name]
        applied = draft.record.to_json() if draft.record is not None else None
        return dataclasses.replace(
            entry, id=claimed.server_id, deeds=tuple(self._deeds(draft, claimed)), applied=applied
        )

    def _destination(self, draft: Draft) -> str | None:
        """The host that the steps take the server to, if that is another."""
        if draft.move is not None:
            return draft.host if draft.host != draft.location.host else None
        back = (step.options.get("peer") for step in draft.plan.steps if step.kind == "revert_resize")
        host_id = next(back, None)
        return next((c.name for c in self._given.computes if host_id is not None and c.host_id == host_id), None)

    def _deeds(self, draft: Draft, claimed: Claimed) -> list[t.Any]:
        compute = self._given.by_name[str(draft.host)]
        given, settings = self._given, self._declared.settings
        cpu, live = settings.cpu_model, settings.live_migration
        frame = Frame(str(given.fleet_id), self._declared.networks, given.now, given.computes, cpu, live)
        if draft.record is not None:
            away = None if draft.move is None else compute
            here = compute if away is None else self._given.by_name[str(draft.location.host)]
            its: dict[str, t.Any] = {"addresses": claimed.addresses, "fit": draft.fitted, "destination": away}
            return deeds(draft.record, draft.plan.steps, here, frame, **its)
        if draft.left_over is not None:
            return [blind(step.kind, draft.left_over, draft.name) for step in draft.plan.steps]
        server = t.cast(Server, draft.server)
        pool, fit = str(pool_of(draft, self._given)), draft.fitted
        record = first_record(draft.name, server.spec, claimed, compute, pool, frame, fit=fit)
        return deeds(record, draft.plan.steps, compute, frame, new=True, fit=fit)


def _kinds(steps: t.Iterable[Step]) -> set[str]:
    return {step.kind for step in steps}


__all__ = ["Reconcile"]
