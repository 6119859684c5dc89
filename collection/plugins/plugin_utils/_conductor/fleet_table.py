# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet as a table: server, status, host, flavor, addresses, since when.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import deleted_name
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import status, vm_state
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import left_behind
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
        ActionRow,
        MigrationRow,
        RunRow,
        ServerRow,
        Snapshot,
    )

_DELETED = "soft-delete"
_HEAD = ("SERVER", "STATUS", "HOST", "FLAVOR", "ADDRESSES", "SINCE")
_HISTORY = ("ACTION", "START", "END", "RESULT", "HOST", "BY", "MESSAGE")


@dataclasses.dataclass(frozen=True)
class Row:
    """A server of the fleet. ``since`` in seconds since 1970."""

    server: str
    status: str
    host: str | None = None
    flavor: str = ""
    addresses: tuple[str, ...] = ()
    since: float | None = None

    def to_json(self) -> dict[str, Json]:
        return {**dataclasses.asdict(self), "addresses": list(self.addresses)}

    def cells(self) -> tuple[str, ...]:
        addresses = ", ".join(self.addresses) or "-"
        return (self.server, self.status, self.host or "-", self.flavor or "-", addresses, _moment(self.since))


def fleet_rows(snapshot: Snapshot | None, declared: t.Iterable[str], *, down: t.Collection[str] = ()) -> list[Row]:
    """The ledger's servers, and the declared ones that it doesn't have. What is on a host that is ``down`` nobody
    knows."""
    return _named(_remembered(snapshot, down), _deleted(snapshot), declared)


def status_rows(declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot | None) -> list[Row]:
    """The fleet as the hosts show it now; what is on a host that is down as the ledger remembers it."""
    down = [compute.name for compute in computes if not compute.up]
    found, deleted = _remembered(snapshot, down), _deleted(snapshot)
    fleet_id = snapshot.fleet.fleet_id if snapshot is not None and snapshot.fleet is not None else None
    tasks = {row.id: row.task_state for row in snapshot.servers.values()} if snapshot is not None else {}
    guests = [(compute.name, guest, guest.record) for compute in computes for guest in compute.guests]
    beside = left_behind(computes, fleet_id)
    # Of a server's copies the one that counts comes last.
    for host, guest, record in sorted(guests, key=lambda each: 0 if each[2] is None else counts(each[2])):
        if record is None or (fleet_id is not None and record.fleet_id != fleet_id):
            continue
        if id(guest) in beside:
            continue  # replaced, or half built: it is not the server
        known = found.get(record.id)
        if known is not None and known.host in down and counts(record) == 0:
            continue  # it has gone to a host that nobody sees now
        shown = status(vm_state(guest.state, record.marks), tasks.get(record.id))
        # The ledger knows since when, as long as it knows the same state.
        since = known.since if known is not None and known.status == shown else None
        deleted = deleted - {record.id} | ({record.id} if "soft_delete" in record.marks else set())
        found.pop(record.id, None)  # to be after what is only remembered
        found[record.id] = Row(record.name, shown, host, record.flavor.name, _addresses(record), since)
    return _named(found, deleted, declared.servers)


def _remembered(snapshot: Snapshot | None, down: t.Collection[str]) -> dict[str, Row]:
    """The ledger's servers by id."""
    return {row.id: _row(row, down) for row in (snapshot.servers.values() if snapshot is not None else ())}


def _deleted(snapshot: Snapshot | None) -> set[str]:
    """The ids of those that it has as deleted softly."""
    return {row.id for row in (snapshot.servers.values() if snapshot is not None else ()) if row.vm_state == _DELETED}


def _named(found: t.Mapping[str, Row], deleted: t.Collection[str], declared: t.Iterable[str]) -> list[Row]:
    """One row a name, the last that has it, and those that are declared and not there. What was *deleted* softly has
    given its name away: where another has it by now, it is shown by that of its domain."""
    named = {row.server: row for server_id, row in found.items() if server_id not in deleted}
    had = collections.Counter([*named, *(found[server_id].server for server_id in deleted)])
    for server_id in deleted:
        row = found[server_id]
        name = row.server if had[row.server] == 1 else deleted_name(row.server, server_id)
        named[name] = dataclasses.replace(row, server=name)
    missing = {name: Row(name, "ABSENT") for name in declared if name not in named}
    return sorted((*named.values(), *missing.values()), key=lambda row: _natural(row.server))


def fleet_text(rows: t.Sequence[Row]) -> str:
    return table(_HEAD, [row.cells() for row in rows])


def history_rows(history: t.Iterable[tuple[ActionRow, RunRow | None]]) -> list[dict[str, Json]]:
    """A server's actions as Nova keeps them; ``result`` is null while one goes on."""
    return [
        {
            "action": action.action,
            "name": action.name,
            "server_id": action.server_id,
            "start": action.started,
            "end": action.ended,
            "result": action.result,
            "host": action.host,
            "by": f"{run.user}@{run.hostname}" if run is not None else None,
            "run_id": action.run_id,
            "message": action.message,
        }
        for action, run in history
    ]


def migration_rows(migrations: t.Iterable[MigrationRow]) -> list[dict[str, Json]]:
    """A server's ways from host to host, its resizes too; ``cause`` is null unless one came to nothing."""
    return [
        {
            "id": row.id,
            "type": row.kind,
            "source": row.source,
            "destination": row.destination,
            "status": row.status,
            "cause": row.cause,
            "run_id": row.run_id,
            "created": row.created,
            "updated": row.updated,
        }
        for row in migrations
    ]


def history_text(rows: t.Sequence[t.Mapping[str, Json]]) -> str:
    return table(
        _HISTORY,
        [
            (
                row["action"],
                _moment(row["start"]),
                _moment(row["end"]),
                row["result"] or "in progress",
                row["host"] or "-",
                row["by"] or "-",
                " ".join((row["message"] or "-").split()),
            )
            for row in rows
        ],
    )


def _row(row: ServerRow, down: t.Collection[str]) -> Row:
    record = row.loads()
    shown = status(None if row.host in down else row.vm_state, row.task_state)
    flavor = record.flavor.name if record is not None else ""
    return Row(row.name, shown, row.host, flavor, _addresses(record), row.since)


def _addresses(record: Record | None) -> tuple[str, ...]:
    if record is None:
        return ()
    return tuple(f"{nic.network}={address.address}" for nic in record.nics for address in nic.addresses)


def _moment(since: float | None) -> str:
    """Local time, as the operator's clock has it."""
    if since is None:
        return "-"
    return datetime.datetime.fromtimestamp(since).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """web2 before web10."""
    parts: list[tuple[int, int, str]] = []
    text = ""
    for character in name + "\0":
        if text and character.isdecimal() != text[-1].isdecimal():
            parts.append((0, int(text), "") if text.isdecimal() else (1, 0, text))
            text = ""
        text += character
    return parts


__all__ = ["Row", "fleet_rows", "fleet_text", "history_rows", "history_text", "migration_rows", "status_rows"]
