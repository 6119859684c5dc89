# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's rows of evacuations: what they say while one goes on, and what has become of those that were cut off.

Note that this plugin util is **PRIVATE** to the collection.

``accepted`` when it is planned, ``pre-migrating`` while it is built, ``done`` when the new guest has written what it
replaces, ``failed`` where nothing of it is left, ``error`` where a half-built copy is; ``completed`` when the host is
back and the copy there is gone.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import evacuating, replaces

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import MigrationRow, ServerRow

KIND = "evacuation"
ACCEPTED, BUILDING, DONE, COMPLETED, FAILED, ERROR = (
    "accepted",
    "pre-migrating",
    "done",
    "completed",
    "failed",
    "error",
)


def is_done(record: Record | None, migration: str) -> bool:
    """Whether a server's record says that this evacuation has brought it where it is."""
    return record is not None and any(entry.migration == migration for entry in replaces(record))


def evacuations_cut_off(
    rows: t.Iterable[MigrationRow],
    records: t.Mapping[str, Record],
    busy: t.Container[str],
    computes: t.Sequence[Compute],
) -> dict[str, str]:
    """Id -> status of the rows that say other than the hosts do.

    *records*: those that servers have, by id, no half-built one's; *busy*: the ids of those that a live run is at work
    on.
    """
    by_name = {compute.name: compute for compute in computes if compute.up}
    begun = {
        its.migration
        for compute in computes
        for guest in compute.guests
        if guest.record is not None and (its := evacuating(guest.record)) is not None
    }
    found = {}
    for row in rows:
        if row.kind != KIND or row.server_id in busy:
            continue
        status = row.status
        if is_done(records.get(row.server_id), row.id):
            status = COMPLETED if _is_gone(by_name.get(row.source), row.server_id) else DONE
        elif row.status in (ACCEPTED, BUILDING):
            if row.id in begun:
                status = ERROR
            elif row.destination in by_name and row.server_id not in by_name[str(row.destination)].at_work:
                status = FAILED
        if status != row.status:
            found[row.id] = status
    return found


def is_coming(record: Record, compute: Compute) -> bool:
    """Whether a host waits for the memory of a server's guest."""
    return any(guest.arriving and guest.id == record.id for guest in compute.guests)


def unseen_at(row: ServerRow, host: str) -> str:
    """What there is to be said of a server that went to a dead host, of which the ledger knows no more than that."""
    return (
        f"a move has taken it from {row.host} to {host}, and nobody saw it there: what its disks are is not "
        f"known. If they are in a pool that {row.host} shares, reconcile with -e fleet_assume_absent={host} defines it "
        f"again there; else its data is on {host} alone"
    )


def _is_gone(source: Compute | None, server_id: str) -> bool:
    """Whether the host that a server was evacuated from is back, and has no copy of it any more."""
    return source is not None and server_id not in {guest.id for guest in source.guests}


def needs_image(deed: Json) -> bool:
    """Whether a step makes a disk from its server's image."""
    rebuilds = deed["kind"] == "evacuate" and deed["options"]["rebuild"]
    return bool(rebuilds or deed["kind"] in ("create", "rebuild"))


def rebuilds_drive(deed: Json) -> bool:
    """Whether an evacuation has to make the config drive anew."""
    return deed["kind"] == "evacuate" and bool(deed["options"]["drive"])


__all__ = [
    "ACCEPTED",
    "BUILDING",
    "COMPLETED",
    "DONE",
    "ERROR",
    "FAILED",
    "KIND",
    "evacuations_cut_off",
    "is_coming",
    "is_done",
    "needs_image",
    "rebuilds_drive",
    "unseen_at",
]
