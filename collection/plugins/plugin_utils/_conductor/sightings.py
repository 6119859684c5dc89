# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the survey and the ledger say about where servers are, for whereabouts to judge.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import Remembered, Seen

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot


def seen(given: Situation) -> list[Seen]:
    """The hosts of inventory, and those that only the ledger knows: they may hold servers too."""
    named = {compute.name for compute in given.computes}
    # A host that was renamed is no other host. What bears no mark yet says nothing of what it was.
    there = {compute.host_id for compute in given.computes if compute.up} - {None}
    rows = given.snapshot.hosts if given.snapshot is not None else {}
    found = [
        Seen(
            compute.name,
            compute.host_id or (rows[compute.name].host_id if compute.name in rows else None),
            compute.guests if compute.up else None,
            compute.why,
            known=compute.name in rows and rows[compute.name].surveyed is not None,
        )
        for compute in given.computes
    ]
    gone = [row for row in rows.values() if row.name not in named and row.host_id not in there]
    why = "inventory no longer names it"
    return found + [Seen(row.name, row.host_id, None, why, known=row.surveyed is not None) for row in gone]


def remembered(snapshot: Snapshot | None) -> list[Remembered]:
    """The servers that the ledger knows; not those that are gone but for their name."""
    rows = snapshot.servers.values() if snapshot is not None else ()
    return [Remembered(row.id, row.name, row.host, row.record) for row in rows if row.vm_state != "soft-delete"]


def left_since(
    snapshot: Snapshot | None, server: str, host: str, computes: t.Iterable[Compute], since: float
) -> str | None:
    """A host whose survey, made at *since* or later, shows the server running that has come to *host* after it, as the
    ledger knows. *server*: its name or id. A play that moves a server twice has old surveys at the second time."""
    rows = snapshot.servers.values() if snapshot is not None else ()
    row = next((row for row in rows if server in (row.id, row.name) and row.vm_state != "soft-delete"), None)
    if row is None or row.host != host or row.updated <= since:
        return None
    others = (compute for compute in computes if compute.up and compute.name != host)
    shows = (other.name for other in others if any(guest.id == row.id and guest.active for guest in other.guests))
    return next(shows, None)


__all__ = ["left_since", "remembered", "seen"]
