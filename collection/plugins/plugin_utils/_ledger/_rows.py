# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into the ledger and comes out of it, as frozen values.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Times are seconds since 1970 by the database's clock.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record

__all__ = [
    "CAUSE",
    "ActionRow",
    "AddressRow",
    "Claim",
    "ClaimResult",
    "ClaimRow",
    "Claimed",
    "FleetRow",
    "HostRow",
    "HostSeen",
    "MigrationRow",
    "RunRow",
    "ServerRow",
    "ServerSeen",
    "Snapshot",
    "Wish",
    "named",
]

#: The key of a migration's data that says why it came to nothing.
CAUSE = "cause"


@dataclasses.dataclass(frozen=True)
class FleetRow:
    ledger_id: str
    fleet_id: str
    fleet_name: str


@dataclasses.dataclass(frozen=True)
class RunRow:
    """A run. ``host``: the compute host that it empties, or brings servers back to; ``stop``: who told it to stop."""

    id: str
    command: str
    hostname: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_started: str
    user: str
    started: float
    renewed: float
    ended: float | None
    status: str
    host: str | None = None
    stop: str | None = None

    def __str__(self) -> str:
        return f"run {self.id} ({self.command!r} by {self.user} on {self.hostname}, process {self.pid})"


@dataclasses.dataclass(frozen=True)
class HostRow:
    """A compute host. ``generation`` grows with each claim and each release; ``surveyed``: its last complete survey.

    ``failed_builds``: how many builds have failed there since the last one that succeeded.
    """

    name: str
    host_id: str | None
    generation: int
    service_state: str
    service_reason: str | None
    surveyed: float | None
    summary: t.Mapping[str, Json]
    failed_builds: int = 0


@dataclasses.dataclass(frozen=True)
class HostSeen:
    """A host as its survey found it; ``summary`` is the caller's own, and stays small."""

    name: str
    host_id: str | None
    service_state: str = "enabled"
    service_reason: str | None = None
    summary: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ServerRow:
    """A server. ``record`` is Record.dumps() as last applied, None while it is built.

    ``run_id``: the run that owns it now. ``since``: in this vm_state since then. ``fault``: why its last step failed.
    """

    id: str
    name: str
    host: str | None
    record: str | None
    generation: int
    vm_state: str
    task_state: str | None
    power_state: int
    run_id: str | None
    fault: str | None
    updated: float
    since: float

    def loads(self) -> Record | None:
        return None if self.record is None else Record.loads(self.record)


@dataclasses.dataclass(frozen=True)
class ServerSeen:
    """A server as a survey found it; ``record`` is Record.dumps()."""

    id: str
    name: str
    host: str
    record: str
    generation: int
    vm_state: str
    power_state: int

    @classmethod
    def of(cls, record: Record, *, host: str, vm_state: str, power_state: int) -> ServerSeen:
        return cls(record.id, record.name, host, record.dumps(), record.generation, vm_state, power_state)


@dataclasses.dataclass(frozen=True)
class Wish:
    """An address in a network: that very one, or the lowest free one of the pools (first and last address)."""

    network: str
    fixed: str | None = None
    pools: t.Sequence[tuple[str, str]] = ()
    reserved: t.Collection[str] = ()  # never given from pools: gateway, addresses of others


@dataclasses.dataclass(frozen=True)
class Claim:
    """What one server is to use on one host. With no ``server_id`` it is new, and the claim draws its id.

    ``expects``: the host's generation when it was chosen; None claims no room that wasn't there (a server that stays).
    ``resources``: amounts of the resource classes that have no field of their own; ``project``: whose quota it counts
    against. ``fit``: what it is to have of the host's cores, pages and devices.
    """

    server_id: str | None
    name: str
    host: str
    vcpus: int
    ram: int
    disk_gb: int
    pool: str | None = None
    addresses: t.Sequence[Wish] = ()
    expects: int | None = None
    resources: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    project: str | None = None
    fit: Fit | None = None


@dataclasses.dataclass(frozen=True)
class Claimed:
    """A claim that was won; ``addresses`` in the order of its wishes."""

    server_id: str
    host: str
    addresses: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """All claims of a call are won together, or none: then ``stale`` names the hosts that others have changed since
    they were looked at (fold again from a new snapshot), ``refused`` says by server name why it can't be."""

    won: t.Mapping[str, Claimed] = dataclasses.field(default_factory=dict)
    stale: tuple[str, ...] = ()
    refused: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ClaimRow:
    """Room on a host for a server. ``begun``: a step was at work on it, so something of it may be on the host.

    ``fit`` is Fit.to_json(), None where nothing of the kind is claimed.
    """

    server_id: str
    name: str
    host: str
    vcpus: int
    ram: int
    disk_gb: int
    pool: str | None
    run_id: str
    begun: bool
    created: float
    resources: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    project: str | None = None
    fit: Json | None = None

    @property
    def fitted(self) -> Fit | None:
        return None if self.fit is None else Fit.from_json(self.fit)


@dataclasses.dataclass(frozen=True)
class AddressRow:
    network: str
    address: str
    server_id: str


@dataclasses.dataclass(frozen=True)
class ActionRow:
    """One deed on a server, as Nova's instance actions. ``result``: Success, Error, or None while it goes on."""

    id: int
    server_id: str
    name: str
    action: str
    run_id: str
    host: str | None
    started: float
    ended: float | None
    result: str | None
    message: str | None


@dataclasses.dataclass(frozen=True)
class MigrationRow:
    """``kind``: live-migration, migration, resize or evacuation; ``status`` in Nova's words.

    ``data`` has what belongs to its kind, and the ``cause`` of one that came to nothing.
    """

    id: str
    kind: str
    server_id: str
    source: str
    destination: str | None
    status: str
    run_id: str | None
    data: t.Mapping[str, Json]
    created: float
    updated: float

    @property
    def cause(self) -> str | None:
        """The sentence with which it failed or was cancelled."""
        cause = self.data.get(CAUSE)
        return None if cause is None else str(cause)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The whole ledger at one moment, to plan from. ``runs`` are the live ones: a claim of any other is a leftover."""

    now: float
    fleet: FleetRow | None
    hosts: t.Mapping[str, HostRow]
    servers: t.Mapping[str, ServerRow]
    claims: t.Mapping[str, ClaimRow]
    addresses: tuple[AddressRow, ...]
    runs: t.Mapping[str, RunRow]


def named(rows: t.Iterable[ServerRow], server: str) -> ServerRow | None:
    """The server of this id, else of this name. One that was deleted softly has left its name to a successor."""
    found = [row for row in rows if server in (row.id, row.name)]
    return min(found, key=lambda row: (row.id != server, row.vm_state == "soft-delete", row.id), default=None)
