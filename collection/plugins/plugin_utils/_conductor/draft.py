# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan is made from, and what is to be done about one server before it has a claim.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, ServerPlan, Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import CHANGE, HELD, OK
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import changes_ports
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import Location

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import RunRow, Snapshot

NOTHING = ServerPlan()


@dataclasses.dataclass(frozen=True)
class Situation:
    """All that a plan is made from. ``run_id`` is this run's, None in check mode; ``host`` the only one
    that new servers may go to, if a user's task says so; ``now`` in seconds since 1970. ``tried``: by the name of a
    server whose build failed in this run, the hosts that failed and that have said that nothing of it is left there.
    ``moving``: server id -> host, of moves that may be under way.
    """

    declared: Declared
    computes: tuple[Compute, ...]
    snapshot: Snapshot | None
    fleet_id: str | None
    ledger_id: str | None
    leave: Leave
    now: float
    run_id: str | None = None
    host: str | None = None
    tried: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    moving: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def volumes(self, host: str | None) -> frozenset[str]:
        """The names of Flotilla's volumes in all pools of a host."""
        compute = self.by_name.get(host or "")
        return frozenset() if compute is None else compute.volumes

    @functools.cached_property
    def owners(self) -> dict[str, RunRow]:
        """Server name, and id -> the other live run that is at work on it."""
        if self.snapshot is None:
            return {}
        runs = {key: run for key, run in self.snapshot.runs.items() if key != self.run_id}
        owned = [(row, runs[row.run_id]) for row in self.snapshot.servers.values() if row.run_id in runs]
        return {key: run for row, run in owned for key in (row.name, row.id)}

    def is_busy(self, server_id: str) -> bool:
        """Whether another live run, or a step on a host, is at work on a server."""
        return server_id in self.owners or any(server_id in compute.at_work for compute in self.computes)

    @functools.cached_property
    def half_built(self) -> dict[str, str]:
        """Name -> id of servers that a run which died or failed has left half built."""
        rows = self.snapshot.servers.values() if self.snapshot is not None else ()
        return {row.name: row.id for row in rows if row.record is None}

    @functools.cached_property
    def unrecorded(self) -> dict[str, set[str]]:
        """Network -> addresses that servers on the hosts have and the ledger doesn't know (two of one name, say)."""
        known = self.snapshot.servers if self.snapshot is not None else {}
        found: dict[str, set[str]] = {}
        for compute in self.computes:
            for guest in compute.guests:
                if guest.record is not None and guest.id not in known and guest.record.fleet_id == self.fleet_id:
                    for nic in guest.record.nics:
                        found.setdefault(nic.network, set()).update(address.address for address in nic.addresses)
        return found

    @functools.cached_property
    def begun(self) -> dict[str, str]:
        """Name -> host where it was begun: its volumes may be there, and its claim still holds."""
        claims = self.snapshot.claims.values() if self.snapshot is not None else ()
        return {claim.name: claim.host for claim in claims if claim.begun and claim.name not in self.tried}

    @functools.cached_property
    def by_name(self) -> dict[str, Compute]:
        return {compute.name: compute for compute in self.computes}


@dataclasses.dataclass(frozen=True)
class Draft:
    """What is to be done about one server, before it has a claim.

    ``name`` tells drafts apart; a ``copy`` is beside the server that it is one of, and has no claim of its own.
    ``left_over`` is the id of a server that inventory no longer names, and that a run which died had begun to build.
    ``fit`` is what the host gives a server that was ``placed`` in this plan. ``way``: how it leaves a host that is
    emptied.
    """

    name: str
    server: Server | None
    location: Location
    plan: ServerPlan = NOTHING
    host: str | None = None
    verdict: str = OK
    message: str = ""
    copy: bool = False
    left_over: str | None = None
    placed: bool = False
    fit: Fit | None = None
    way: str = ""

    @property
    def record(self) -> Record | None:
        return self.location.record

    @property
    def server_id(self) -> str | None:
        if self.record is not None:
            return self.record.id
        return self.server.id if self.server is not None else self.left_over

    @property
    def new(self) -> bool:
        return self.record is None

    @property
    def fitted(self) -> Fit | None:
        """What the server will have of its host's hardware: what it has, unless it was placed anew."""
        if self.placed:
            return self.fit
        return self.record.fit if self.record is not None else None

    @property
    def homeless(self) -> bool:
        """Whether it is shelved, and is to be on a host again."""
        return any(step.kind == "unshelve" for step in self.plan.steps)

    @property
    def move(self) -> Step | None:
        """The step that takes it to another host, which is to be chosen."""
        return next((step for step in self.plan.steps if step.kind in MOVES), None)

    @property
    def can_be_looked_at(self) -> bool:
        """Whether its hosts can say what stands against its move before anything is claimed: new ports have no
        addresses then."""
        if self.record is None or self.move is None:
            return False
        record = self.record
        return not any(step.spec is not None and changes_ports(record, step.spec) for step in self.plan.steps)

    @property
    def running(self) -> Fit | None:
        """What the guest has of its host's hardware, if it is moved as it runs."""
        if self.record is None or self.move is None or self.move.kind != "live_migrate":
            return None
        return self.record.fit or Fit()

    def refuse(self, verdict: str, message: str) -> Draft:
        return dataclasses.replace(self, verdict=verdict, message=message, plan=NOTHING)

    def to_do(self, plan: ServerPlan) -> Draft:
        return dataclasses.replace(self, plan=plan, verdict=CHANGE if plan.steps else HELD if plan.held else OK)


#: What inventory says of where a server goes: its word of now counts, and what was applied where it has none.
_PLACEMENT = ("availability_zone", "group", "hints", "host", "priority")


def as_applied(record: Record, desired: Server | None) -> Server:
    """A server as its record has it, to be placed."""
    spec = dict(record.spec)
    if desired is not None:
        spec = {key: value for key, value in spec.items() if key not in _PLACEMENT}
        spec.update({key: desired.spec[key] for key in _PLACEMENT if key in desired.spec})
    state = str(spec.get("state", record.declared))
    return Server(record.name, state, record.flavor, record.image, spec, record.id, record.root.pool)


__all__ = ["Draft", "Situation", "as_applied"]
