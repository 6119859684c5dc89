# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's journal of resizes, in Nova's words: what a step makes of it, and what a run that was cut off has left.

Note that this plugin util is **PRIVATE** to the collection.

The servers' records are what counts. The journal follows them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of as open_move
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import Resize, leaving, resize_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor import evacuations

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import MigrationRow

#: The kinds of rows that follow a server's record: a resize, and a migration, which keeps the flavor.
KINDS = ("resize", "migration")
LIVE = "live-migration"
#: Steps that a worker of their host's is at, and that may take the server away from it.
_MOVING = ("end_move", "live_migrate", "migrate")

#: Step -> the status while it is at work, and when it is done (nova/objects/migration.py, compute/manager.py).
_STATUS = {
    "resize": ("migrating", "finished"),
    "live_migrate": ("running", "completed"),
    "migrate": ("migrating", "finished"),
    "confirm_resize": ("confirming", "confirmed"),
    "revert_resize": ("reverting", "reverted"),
    "evacuate": (evacuations.BUILDING, evacuations.DONE),
}
#: Those of them that leave a server to be confirmed.
_BEGINS = frozenset({"migrate", "resize"})
#: Status of a resize whose server's record no longer speaks of it -> what it has come to.
_ENDED = {"confirming": "confirmed", "finished": "confirmed", "reverting": "reverted"}


@dataclasses.dataclass(frozen=True)
class Move:
    """A resize, or a migration, that an entry of a plan begins or ends. ``step`` is the kind of its step, ``kind`` that
    of its row; ``data``: the names of the old and the new flavor; ``source`` and ``destination``: hosts, None where
    it stays; ``confirmed_at``: the generation of the record that the entry leaves if it confirms what it begins."""

    id: str
    step: str
    kind: str
    source: str | None
    destination: str | None
    data: t.Mapping[str, Json]
    confirmed_at: int | None = None

    @property
    def begun(self) -> str:
        return _STATUS[self.step][0]

    def ended(self, record: Record | None) -> str:
        """The status once the host has done what it could: the server's record, as it left it, tells."""
        if self.step == "evacuate":
            return evacuations.DONE if evacuations.is_done(record, self.id) else evacuations.ERROR
        if self.kind == LIVE:
            return _live_end(record, self.data)
        if self.confirmed_at is not None and record is not None and record.generation >= self.confirmed_at:
            return "confirmed"
        waits = record is not None and resize_of(record) is not None
        done = record is not None and waits == (self.step in _BEGINS)
        return _STATUS[self.step][1] if done else "error"


def move_of(deeds: t.Sequence[Json], applied: Json) -> Move | None:
    """The resize among the deeds of an entry, of which there is one at most; ``applied`` is the record before them."""
    for deed in deeds:
        if deed["kind"] == "evacuate":
            return _evacuation(deed)
        if deed["kind"] == "live_migrate":
            options, left = deed["options"], {"generation": deed["record"]["generation"]}
            return Move(options["migration"], "live_migrate", LIVE, None, options["peer"]["host"], left)
        if deed["kind"] in _STATUS:
            # A resize has its mark in the record that it leaves; the others in the one that they begin with.
            record = Record.from_json(deed["record"] if deed["kind"] in _BEGINS else applied)
            its = t.cast(Resize, resize_of(record))
            kind = "resize" if its.source is None or its.flavor != record.flavor else "migration"
            peer = (deed.get("options") or {}).get("peer")
            source = None if its.source is None else its.source.host
            away = peer["host"] if peer is not None and deed["kind"] in _BEGINS else None
            flavors = {"old_flavor": its.flavor.name, "new_flavor": record.flavor.name}
            last = next((each["record"]["generation"] for each in deeds if each["kind"] == "confirm_resize"), None)
            at_once = last if deed["kind"] in _BEGINS else None
            return Move(its.migration, deed["kind"], kind, source, away, flavors, at_once)
    return None


def _evacuation(deed: Json) -> Move:
    its = deed["options"]["evacuating"]
    flavor = deed["record"]["flavor"]["name"]
    data = {"old_flavor": flavor, "new_flavor": flavor}
    there = deed["options"]["destination"]
    return Move(its["migration"], "evacuate", evacuations.KIND, its["from"]["host"], there, data)


def under_way(
    rows: t.Iterable[MigrationRow], computes: t.Sequence[Compute], absent: t.Collection[str]
) -> dict[str, str]:
    """Server id -> the host where a move takes it, of all that may go on while the hosts are surveyed: by the journal,
    and by what hosts were at work on. *absent*: hosts that have none of them (fleet_assume_absent)."""
    surveys = [compute.survey for compute in computes if compute.survey is not None]
    steps = [step for survey in surveys for step in survey["running_steps"]]
    found = {step["server_id"]: "another host" for step in steps if step.get("step") in _MOVING}
    found.update({row.server_id: str(row.destination) for row in rows if _goes(row)})
    return {server_id: host for server_id, host in found.items() if host not in absent}


def _goes(row: MigrationRow) -> bool:
    """Whether a row that is not ended says that its server is leaving its host right now."""
    cold = row.kind in KINDS and row.status == _STATUS["migrate"][0]
    return (row.kind == LIVE or cold) and row.destination not in (None, row.source)


def _live_end(record: Record | None, data: t.Mapping[str, Json]) -> str:
    """A server that has arrived has the record that it was sent with, or a later one."""
    arrived = record is not None and record.generation >= int(data.get("generation") or 0)
    return "completed" if arrived else "failed"


def _live_status(row: MigrationRow, record: Record) -> str:
    its = open_move(record)
    return row.status if its is not None and its.migration == row.id else _live_end(record, row.data)


def cut_off(
    rows: t.Iterable[MigrationRow],
    records: t.Mapping[str, Record],
    known: t.Container[str],
    busy: t.Container[str],
    places: t.Mapping[str, str] | None = None,
    at_work: t.Container[str] = (),
) -> dict[str, str]:
    """Id -> status of the rows that say other than the servers' records do.

    *records*: those that the hosts have, by server id; *known*: the ids of all servers that there are, *busy* those
    that a live run is at work on; *places*: the hosts that the servers are on; *at_work*: the ids of those that a step
    was at work on, be its run dead: it may have the server leave yet.
    """
    places = places or {}
    found = {}
    for row in rows:
        if row.kind == LIVE and row.server_id in records and row.server_id not in busy:
            status = _live_status(row, records[row.server_id])
            if status != row.status:
                found[row.id] = status
        if row.kind not in KINDS or row.server_id in busy or (row.server_id in known and row.server_id not in records):
            continue
        record = records.get(row.server_id)
        its = None if record is None else resize_of(record)
        waits = its is not None and its.migration == row.id
        arrived = row.destination != row.source and places.get(row.server_id) == row.destination
        if row.status == _STATUS["migrate"][0] and row.server_id in at_work:
            continue
        otherwise = "confirmed" if arrived else "failed" if _is_back(row, record, places) else "error"
        status = "finished" if waits else _ENDED.get(row.status, otherwise)
        if status != row.status:
            found[row.id] = status
    return found


def _is_back(row: MigrationRow, record: Record | None, places: t.Mapping[str, str]) -> bool:
    """Whether a cold move has left nothing anywhere: its server is where it was, and no mark of the move is in its
    record, which loses it when all that the move has made is gone."""
    stayed = row.destination != row.source and places.get(row.server_id) == row.source
    return stayed and record is not None and leaving(record) is None


def why_cut_off(row: MigrationRow, status: str, places: t.Mapping[str, str]) -> str:
    """The cause of a row that nobody but a survey has ended, and ended badly."""
    place = places.get(row.server_id)
    if row.kind == evacuations.KIND:
        there = "nothing of the server is" if status == evacuations.FAILED else "a half-built copy of the server is"
        found = f"{there} on {row.destination}"
    else:
        found = "the server was found nowhere" if place is None else f"the server was found on {place}"
    return f"the run that was at it was cut off; {found}"


__all__ = ["KINDS", "Move", "cut_off", "move_of", "under_way", "why_cut_off"]
