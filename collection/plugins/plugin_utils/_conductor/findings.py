# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor finds, and all that it looks at.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import left_behind

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json, Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerRow, Snapshot

RECONCILE = "ansible-playbook flotilla.compute.reconcile"
DOCTOR = "ansible-playbook flotilla.compute.doctor"
EVACUATE = "ansible-playbook flotilla.compute.evacuate"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong. ``what``: the server, host or volume that it is about; ``command``: what mends it."""

    kind: str
    what: str
    message: str
    command: str
    host: str | None = None

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Patient:
    """All that is looked at. ``snapshot`` is None for a fleet without a ledger."""

    declared: Declared
    computes: t.Sequence[Compute]
    snapshot: Snapshot | None

    @property
    def fleet_id(self) -> str | None:
        """The ledger's, else the one that all markers agree on."""
        if self.snapshot is not None and self.snapshot.fleet is not None:
            return self.snapshot.fleet.fleet_id
        found = {compute.marker["fleet_id"] for compute in self.computes if compute.marker is not None}
        return found.pop() if len(found) == 1 else None

    @property
    def rows(self) -> t.Mapping[str, ServerRow]:
        return self.snapshot.servers if self.snapshot is not None else {}

    def host(self, name: str | None) -> Compute | None:
        return next((compute for compute in self.computes if compute.name == name), None)

    def ours(self) -> t.Iterator[tuple[Compute, Guest, Record]]:
        """Our servers on the hosts that are up, once per copy; none that an evacuation has replaced or half built,
        and none whose memory is still on its way there."""
        left = left_behind(self.computes, self.fleet_id)
        return (copy for copy in self.copies() if id(copy[1]) not in left)

    def copies(self) -> t.Iterator[tuple[Compute, Guest, Record]]:
        """All guests on the hosts that are up which bear a record of the fleet."""
        for compute in self.computes:
            for guest in compute.guests:
                if guest.record is not None and guest.record.fleet_id == self.fleet_id:
                    yield compute, guest, guest.record

    def at_work(self, server_id: str) -> str | None:
        """Who is at work on a server: a live run, or a step on a host that goes on without its run."""
        row = self.rows.get(server_id)
        claim = self.snapshot.claims.get(server_id) if self.snapshot is not None else None
        for owner in (row.run_id if row else None, claim.run_id if claim else None):
            if owner and self.snapshot is not None and owner in self.snapshot.runs:
                return str(self.snapshot.runs[owner])
        host = next((compute.name for compute in self.computes if server_id in compute.at_work), None)
        return f"a step on {host}" if host else None

    def still_seen(self) -> set[str]:
        """The ids of the servers of the ledger that are not lost with the host that it has them on: their domain, their
        root disk or what they are shelved as is on a host that is up."""
        found = {record.id for _compute, _guest, record in self.ours()}
        found |= {record.id for compute in self.computes for record in compute.shelved}
        return {row.id for row in self.rows.values() if row.id in found or any(map(sees_disk(row), self.computes))}

    def remains(self, server_id: str) -> list[str]:
        """What the hosts show of a server: its domains and volumes, each with its host."""
        found = []
        for compute in self.computes:
            found += [f"domain {g.name} on {compute.name}" for g in compute.guests if g.id == server_id]
            found += [f"volume {v} on {compute.name}" for v in sorted(compute.volumes) if v.startswith(server_id)]
        return found


def sees_disk(row: ServerRow) -> t.Callable[[Compute], bool]:
    """Whether a host has the root disk of a server in its pools."""
    record = row.loads()
    return lambda compute: record is not None and record.root.volume in compute.volumes


def on_host(host: str, command: str) -> str:
    return f"ansible {shlex.quote(host)} -b -m ansible.builtin.command -a {shlex.quote(command)}"


__all__ = ["DOCTOR", "EVACUATE", "RECONCILE", "Finding", "Patient", "on_host", "sees_disk"]
