# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An evacuation at the ledger: what is noted when it is planned, and what is read, and put right, when it has ended.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor import evacuations
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import table_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import FAILURES, OK

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger
    from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof

#: Moves that have not ended well: a guest may be left at the other end. And those after which it is where they led.
_OPEN = frozenset(("accepted error migrating pre-migrating post-migrating preparing queued running").split())
_ENDED_WELL = frozenset(("completed confirmed done finished reverted").split())
Rows = t.Sequence[t.Mapping[str, Json]]


def left_behind(entry: t.Mapping[str, Json]) -> str:
    """Why a server of a dead host is not evacuated by this plan, which fails it, with what would let it be; empty for
    one that is."""
    if entry["steps"] or (entry["verdict"] == OK and not entry["held"]):
        return ""
    if entry["verdict"] in FAILURES:
        return f"{entry['name']}: {str(entry['message']).removeprefix(entry['name'] + ': ')}"
    flags = ",".join(sorted({step["flag"] for step in entry["held"]}))
    leave = f"allow it with -e fleet_allow={flags}" if flags else entry["message"]
    return f"{entry['name']}: it was not evacuated; {leave}"


def begun_elsewhere(ledger: Ledger) -> dict[str, set[str]]:
    """Server id -> hosts where moves of it that did not end well may have left a guest."""
    found: dict[str, set[str]] = {}
    for row in ledger.migrations():
        if row.status in _ENDED_WELL:
            found.pop(row.server_id, None)
        elif row.status in _OPEN and row.destination not in (None, row.source):
            found.setdefault(row.server_id, set()).add(str(row.destination))
    return found


def accept(ledger: Ledger, run_id: str, rows: Rows, proofs: t.Mapping[str, Proof]) -> None:
    """Every evacuation that is about to begin, with the proof that its host is dead."""
    for row in rows:
        if row["migration"] is None:
            continue
        ledger.note_migration(
            run_id,
            row["migration"],
            evacuations.KIND,
            row["id"],
            source=row["from"],
            destination=row["to"],
            status=evacuations.ACCEPTED,
            proof=proofs[row["from"]].to_json(),
            disk=row["disk"],
            lost=row["lost"],
        )


def conclude(ledger: Ledger, run_id: str, rows: Rows, without: t.Mapping[str, str]) -> str:
    """The table of what has become of the servers. What was planned and never begun has failed, with nothing left."""
    known = {row.id: row for row in ledger.migrations()}
    for row in rows:
        its = known.get(row["migration"])
        if its is not None and its.status == evacuations.ACCEPTED:
            with contextlib.suppress(FlotillaError):  # the next run tells it from the hosts
                why = its.cause or "it was planned, and its run did not come to it"
                ledger.update_migration(run_id, its.id, status=evacuations.FAILED, cause=why)
    known = {row.id: row for row in ledger.migrations()}
    servers = ledger.snapshot().servers
    actions = {}
    for row in rows:
        if row["to"] is not None:
            mine = [action for action in ledger.actions(row["id"]) if action.run_id == run_id]
            actions.update({row["id"]: mine[-1]} if mine else {})
    return table_text(rows, known, servers, actions, without)


__all__ = ["accept", "begun_elsewhere", "conclude", "left_behind"]
