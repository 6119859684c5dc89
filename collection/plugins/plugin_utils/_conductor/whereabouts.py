# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where is it? A server is looked for by id and by name on every host before anything is done about it (DESIGN 5).

Note that this plugin util is **PRIVATE** to the collection.

Pure: what hosts showed and what the ledger remembers go in, a verdict comes out. When in doubt nothing is touched: a
server that may be on a host that can't be seen is held, never made a second time.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record

FOUND = "found"
MISSING = "missing"
NEW = "new"
AWAY = "away"
HELD = "held"
CONFLICT = "conflict"


@dataclasses.dataclass(frozen=True)
class Seen:
    """A compute host of inventory or ledger, as this run sees it.

    ``guests`` is None for a host that is down for this run, and ``why`` says why. ``known``: this ledger has a complete
    earlier survey of it, so that what was on it is known from the ledger's rows.
    """

    host: str
    host_id: str | None = None
    guests: t.Sequence[Guest] | None = None
    why: str = ""
    known: bool = False

    @property
    def up(self) -> bool:
        return self.guests is not None


@dataclasses.dataclass(frozen=True)
class Remembered:
    """What the ledger remembers of a server: its last record and host."""

    id: str
    name: str
    host: str | None
    record: Record | None


@dataclasses.dataclass(frozen=True)
class Location:
    """The verdict on one server.

    ``found``: ``guest`` is on ``host`` (``moved``: not where its record says); ``missing``: it was on ``host`` and
    its domain is
    gone; ``new``: it is nowhere; ``away``: its host is down; ``held`` and ``conflict``: nothing may be touched, and
    ``message`` says why. ``extra`` are other, inactive copies; ``unseen`` the hosts
    that it is held for, because it may be there.
    """

    status: str
    host: str | None = None
    guest: Guest | None = None
    record: Record | None = None
    moved: bool = False
    message: str = ""
    extra: tuple[tuple[str, Guest], ...] = ()
    unseen: tuple[str, ...] = ()


_NAMED = 3
Copies = list[tuple[str, Guest]]


class Whereabouts:
    """An index over all hosts, made once for a run."""

    def __init__(
        self,
        hosts: t.Sequence[Seen],
        remembered: t.Iterable[Remembered],
        *,
        fleet_id: str | None,
        assume_absent: t.AbstractSet[str] = frozenset(),
    ) -> None:
        self._hosts = {seen.host: seen for seen in hosts}
        self._down = [seen for seen in hosts if not seen.up and seen.host not in assume_absent]
        self._unknown = [seen for seen in self._down if not seen.known]
        self._rows = {row.name: row for row in remembered}
        self._by_id: dict[str, Copies] = collections.defaultdict(list)
        self._by_name: dict[str, Copies] = collections.defaultdict(list)
        self._deleted: dict[str, Copies] = collections.defaultdict(list)
        self.foreign: dict[str, set[str]] = collections.defaultdict(set)
        for seen in hosts:
            for guest in seen.guests or ():
                self._index(seen.host, guest, fleet_id)

    def _index(self, host: str, guest: Guest, fleet_id: str | None) -> None:
        record = guest.record
        if record is None or record.fleet_id != fleet_id:
            self.foreign[guest.name].add(host)
            return
        self._by_id[record.id].append((host, guest))
        (self._deleted if "soft_delete" in record.marks else self._by_name)[record.name].append((host, guest))

    def ours(self) -> t.Iterator[tuple[str, Guest]]:
        """Every managed guest on a host that is up, once per copy."""
        for copies in self._by_id.values():
            yield from copies

    def find(self, name: str, server_id: str | None = None) -> Location:
        """Where the server *name* is; ``server_id`` where inventory fixes it."""
        row = self._rows.get(name)
        ids = {guest.id for _, guest in self._by_name[name]}
        if server_id is not None and ids - {server_id}:
            return self._other_id(name, server_id)
        if len(ids) > 1:
            return self._two_of_a_name(name)
        found_id = server_id or next(iter(ids), None) or (row.id if row else None)
        copies = self._by_id.get(found_id, []) if found_id else []
        if copies:
            return self._among(name, copies, row)
        if row is not None:
            return self._gone(row)
        if self._deleted[name]:
            host, guest = max(self._deleted[name], key=lambda copy: _deleted_at(copy[1]))
            return Location(FOUND, host, guest, guest.record)
        if self._unknown:
            message = f"{name} may be on {_listed(self._unknown, 'never seen by this ledger')}"
            return Location(HELD, message=message, unseen=_names(self._unknown))
        return Location(NEW)

    def _among(self, name: str, copies: Copies, row: Remembered | None) -> Location:
        active = [copy for copy in copies if copy[1].active]
        if len(active) > 1:
            hosts = " and ".join(host for host, _ in active)
            return Location(CONFLICT, message=f"{name} runs on {hosts} at once, and no record says which copy is stale")
        if active:
            return self._at(active[0], copies)
        if (
            row is not None
            and row.host in {seen.host for seen in self._down}
            and row.host not in {h for h, _ in copies}
        ):
            seen = self._hosts[str(row.host)]
            message = f"{name} is off on {copies[0][0]}, and it may run on {_listed([seen], 'where it was last')}"
            return Location(HELD, host=copies[0][0], message=message, unseen=(seen.host,))
        if len(copies) == 1:
            return self._at(copies[0], copies)
        at_home = [copy for copy in copies if self._is_home(copy)]
        if len(at_home) == 1:
            return self._at(at_home[0], copies)
        hosts = " and ".join(host for host, _ in copies)
        return Location(
            CONFLICT, message=f"{name} is defined on {hosts}, is off on all, and no record says where it belongs"
        )

    def _is_home(self, copy: tuple[str, Guest]) -> bool:
        host, guest = copy
        return guest.record is not None and guest.record.host_id == self._hosts[host].host_id

    def _at(self, copy: tuple[str, Guest], copies: Copies) -> Location:
        host, guest = copy
        extra = tuple(other for other in copies if other is not copy)
        return Location(FOUND, host, guest, guest.record, moved=not self._is_home(copy), extra=extra)

    def _gone(self, row: Remembered) -> Location:
        """The ledger knows it, and no host that is up has it."""
        home = self._hosts.get(row.host) if row.host else None
        if row.host is not None and home is None:
            message = f"{row.name} was last on {row.host}, which inventory no longer names; put that host back"
            return Location(HELD, row.host, record=row.record, message=message)
        if home is not None and not home.up:
            return Location(AWAY, row.host, record=row.record, message=f"{row.host} is down: {home.why}")
        if self._down:
            message = f"{row.name} is gone from {row.host}, and it may be on {_listed(self._down, 'unreachable')}"
            return Location(HELD, row.host, record=row.record, message=message, unseen=_names(self._down))
        if row.record is None:
            return Location(NEW)
        return Location(MISSING, row.host, record=row.record)

    def _other_id(self, name: str, server_id: str) -> Location:
        host, guest = next(copy for copy in self._by_name[name] if copy[1].id != server_id)
        message = f"{name} is declared with server_id {server_id}, and the server {name} on {host} has {guest.id}"
        return Location(CONFLICT, host, message=message)

    def _two_of_a_name(self, name: str) -> Location:
        copies = ", ".join(f"{guest.id} on {host}" for host, guest in sorted(self._by_name[name], key=lambda c: c[0]))
        return Location(CONFLICT, message=f"there are two servers named {name}: {copies}; say which by server_id")


def _deleted_at(guest: Guest) -> float:
    return float(guest.record.marks["soft_delete"]["at"]) if guest.record is not None else 0.0


def _names(hosts: t.Sequence[Seen]) -> tuple[str, ...]:
    return tuple(seen.host for seen in hosts)


def _listed(hosts: t.Sequence[Seen], what: str) -> str:
    names = [seen.host for seen in hosts]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} ({what})"


__all__ = ["AWAY", "CONFLICT", "FOUND", "HELD", "MISSING", "NEW", "Location", "Remembered", "Seen", "Whereabouts"]
