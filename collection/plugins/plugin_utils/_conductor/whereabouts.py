# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where is it? A server is looked for by id and by name on every host before anything is done about it.

Note that this plugin util is **PRIVATE** to the collection.

Pure: what hosts showed and what the ledger remembers go in, a verdict comes out. When in doubt nothing is touched: a
server that may be on a host that can't be seen is held, never made a second time.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import evacuating, has_left
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving, resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import (
    Sifted,
    Stale,
    handed_over,
    sift,
)

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
    """What the ledger remembers of a server: its host, and its last record, which is read only where it is needed."""

    id: str
    name: str
    host: str | None
    text: str | None

    @functools.cached_property
    def record(self) -> Record | None:
        return None if self.text is None else Record.loads(self.text)


@dataclasses.dataclass(frozen=True)
class Location:
    """The verdict on one server.

    ``found``: ``guest`` is on ``host`` (``moved``: not where its record says); ``missing``: it was on ``host`` and
    its domain is
    gone; ``new``: it is nowhere; ``away``: its host is down; ``held`` and ``conflict``: nothing may be touched, and
    ``message`` says why. ``extra`` are other, inactive copies; ``unseen`` the hosts
    where it may be. ``doubt``: it is found, off, and may run where nobody sees it: whatever is to be done is held.
    ``stale``: copies that the one that was found replaces; ``unfinished``: those that evacuations have half built.
    """

    status: str
    host: str | None = None
    guest: Guest | None = None
    record: Record | None = None
    moved: bool = False
    message: str = ""
    extra: tuple[tuple[str, Guest], ...] = ()
    unseen: tuple[str, ...] = ()
    doubt: str = ""
    stale: tuple[Stale, ...] = ()
    unfinished: tuple[tuple[str, Guest], ...] = ()


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
        moving: t.Mapping[str, str] | None = None,
    ) -> None:
        #: Server id -> host, of those that are on their way there: who looks at two hosts, one after the other, may
        #: see such a server on neither.
        self.moving = dict(moving or {})
        self._hosts = {seen.host: seen for seen in hosts}
        self._down = [seen for seen in hosts if not seen.up and seen.host not in assume_absent]
        self._unknown = [seen for seen in self._down if not seen.known]
        self._rows = {row.name: row for row in remembered}
        self._by_id: dict[str, Copies] = collections.defaultdict(list)
        self._by_name: dict[str, Copies] = collections.defaultdict(list)
        self._deleted: dict[str, Copies] = collections.defaultdict(list)
        self._all: Copies = []
        self._damaged: dict[str, tuple[str, str]] = {}
        self.foreign: dict[str, set[str]] = collections.defaultdict(set)
        for seen in hosts:
            for guest in seen.guests or ():
                self._index(seen.host, guest, fleet_id)

    def _index(self, host: str, guest: Guest, fleet_id: str | None) -> None:
        record = guest.record
        self._all.append((host, guest))
        if guest.arriving:
            self.moving[guest.id] = host
            return  # until it runs there, it is where it comes from
        if record is None and guest.damaged:
            self._damaged[guest.name] = (host, guest.record_error or "it is damaged")
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
        conflict = self._contradiction(name, server_id, row)
        if conflict is not None:
            return conflict
        ids = {guest.id for _host, guest in self._by_name[name]}
        found_id = server_id or next(iter(ids), None) or (row.id if row else None)
        copies = self._by_id.get(found_id, []) if found_id else []
        if copies:
            return self._among(name, copies, row)
        if row is not None:
            return self._gone(row)
        deleted = [copy for copy in self._deleted[name] if server_id in (None, copy[1].id)]
        if deleted:
            host, guest = max(deleted, key=lambda copy: _deleted_at(copy[1]))
            return Location(FOUND, host, guest, guest.record)
        if self._unknown:
            message = f"{name} may be on {_listed(self._unknown, 'never seen by this ledger')}"
            return Location(HELD, message=message, unseen=_names(self._unknown))
        return Location(NEW)

    def elsewhere(self, host: str, server_id: str) -> list[str]:
        """Other hosts that have a guest of this id, or one with a disk named after it: their disks are not deleted."""
        return sorted(
            {
                other
                for other, guest in self._all
                if other != host and (guest.id == server_id or _stands_on(guest, server_id))
            }
        )

    def _contradiction(self, name: str, server_id: str | None, row: Remembered | None) -> Location | None:
        """What inventory, hosts and ledger say of the name and the id, where it can't all be true."""
        if self._damaged.get(name):
            host, error = self._damaged[name]
            return Location(CONFLICT, host, message=f"the record of the domain {name} on {host} can't be read: {error}")
        ids = {guest.id for _host, guest in self._by_name[name]}
        if server_id is not None and ids - {server_id}:
            return self._other_id(name, server_id)
        if len(ids) > 1:
            return self._two_of_a_name(name)
        for host, guest in self._by_id.get(server_id or "", []):
            if guest.record is not None and guest.record.name != name:
                message = (
                    f"{name} is declared with server_id {server_id}, which is the server {guest.record.name} on {host}"
                )
                return Location(CONFLICT, host, message=message)
        if row is not None and server_id not in (None, row.id):
            message = (
                f"{name} is declared with server_id {server_id}, and the ledger knows it as {row.id} on {row.host}"
            )
            return Location(CONFLICT, row.host, message=message)
        return None

    def _among(self, name: str, copies: Copies, row: Remembered | None) -> Location:
        """Where it is by the copies that count: neither those that are replaced nor those that are half built."""
        sifted = sift([(host, self._hosts[host].host_id, guest) for host, guest in copies])
        if sifted.conflict:
            return Location(CONFLICT, message=sifted.conflict)
        unfinished = [(host, guest) for host, _host_id, guest in sifted.unfinished]
        if not sifted.count:
            return self._only_begun(unfinished, row)
        location = self._among_whole(name, [(host, guest) for host, _host_id, guest in sifted.count], row)
        return _beside(name, location, sifted, unfinished) if sifted.stale or unfinished else location

    def _only_begun(self, unfinished: Copies, row: Remembered | None) -> Location:
        """All that can be seen of it is what evacuations have begun to build: it is still where it was."""
        host, guest = unfinished[0]
        its = evacuating(t.cast(Record, guest.record))
        source = "another host" if its is None else its.source.host
        cut_off = f"its evacuation from {source} to {host} was cut off"
        back = source in self._hosts and self._hosts[source].up
        location = self._gone(row) if row is not None else None
        if location is None or location.status in (MISSING, NEW):
            message = f"{cut_off}, and {source} {'has no copy of it' if back else 'is not seen'}: nothing is touched"
            location = Location(HELD, source, message=message, unseen=() if back else (source,))
        else:
            again = f"; {cut_off}: run the playbook evacuate for {location.host} again, or let that host come back"
            location = dataclasses.replace(location, message=location.message + again)
        return dataclasses.replace(location, unfinished=tuple(unfinished))

    def _among_whole(self, name: str, copies: Copies, row: Remembered | None) -> Location:
        copies, kept = self._without_kept(handed_over(copies))
        if len(copies) == 1 and not kept:
            gone = self._given_up(*copies[0])
            if gone is not None:
                return gone
        location = self._judged(name, copies, row)
        return dataclasses.replace(location, extra=(*location.extra, *kept)) if location.guest else location

    def _without_kept(self, copies: Copies) -> tuple[Copies, Copies]:
        """The copies less those that an open move keeps, and those of these that have had their time.

        The copy that a server left waits until the move is confirmed. When it is the server again, what is left of a
        revert is the other one.
        """
        homes = {self._hosts[host].host_id for host, guest in copies if not _waits(guest)}
        moves = {_migration(guest): host for host, guest in copies if not _waits(guest)}
        left = [copy for copy in copies if not copy[1].active and _waits(copy[1]) and _leaving(copy[1]) in moves]
        rest = [copy for copy in copies if copy not in left]
        over = [copy for copy in rest if not copy[1].active and len(rest) > 1 and _reverted(copy[1], homes)]
        return [copy for copy in rest if copy not in over], over

    def _given_up(self, host: str, guest: Guest) -> Location | None:
        """Where a server is whose only copy that can be seen is the one that it left: on the host that it went to."""
        record = guest.record
        its = leaving(record) if record is not None else None
        if its is None or not its.left or guest.active:
            return None
        to = next((seen for seen in self._hosts.values() if seen.host_id == its.to.host_id), None)
        to = to or self._hosts.get(its.to.host)
        if to is not None and to.up:
            return None  # it isn't there: the move was cut off, and is undone here
        why = "inventory no longer names it" if to is None else f"it is down: {to.why}"
        message = f"it has left {host} for {its.to.host}, and {why}"
        return Location(AWAY, its.to.host, record=record, message=message, unseen=(its.to.host,))

    def _judged(self, name: str, copies: Copies, row: Remembered | None) -> Location:
        active = [copy for copy in copies if copy[1].active]
        if len(active) > 1:
            hosts = " and ".join(host for host, _guest in active)
            message = f"{name} runs on {hosts} at once, and no record says which copy is stale"
            if any(guest.record is not None and move_of(guest.record) for _host, guest in active):
                message += "; it was being moved: if that has just come to its end, the next run finds it well"
            return Location(CONFLICT, message=message)
        if active:
            return self._at(active[0], copies)
        off_on = ", ".join(host for host, _guest in copies)
        last = self._hosts.get(row.host) if row is not None and row.host is not None else None
        if last is not None and last in self._down and not _has_left(last, row, copies):
            message = f"{name} is off on {off_on}, and it may run on {_listed([last], 'where it was last')}"
            return Location(HELD, host=copies[0][0], message=message, unseen=(last.host,))
        home = self._home_among(copies)
        if home is None:
            message = f"{name} is defined on {off_on}, is off on all, and no record says where it belongs"
            return Location(CONFLICT, message=message)
        if home[1].migrated:
            message = (
                f"{name} is off on {home[0]} because it was migrated away, and no host that answers has it; find it, "
                f"or be sure that it runs nowhere and start it on {home[0]} with virsh"
            )
            return Location(HELD, home[0], record=home[1].record, message=message)
        return self._doubted(name, self._at(home, copies))

    def _home_among(self, copies: Copies) -> tuple[str, Guest] | None:
        """Of copies that are all off, the one that counts: the only one, else the only one at its recorded host."""
        if len(copies) == 1:
            return copies[0]
        at_home = [copy for copy in copies if self._is_home(copy)]
        return at_home[0] if len(at_home) == 1 else None

    def _doubted(self, name: str, location: Location) -> Location:
        """An off copy is only known to be the server when every host has been seen once."""
        if not self._unknown:
            return location
        message = (
            f"{name} is off on {location.host}, and it may run on {_listed(self._unknown, 'never seen by this ledger')}"
        )
        return dataclasses.replace(location, doubt=message, unseen=_names(self._unknown))

    def _is_home(self, copy: tuple[str, Guest]) -> bool:
        host, guest = copy
        return guest.record is not None and guest.record.host_id == self._hosts[host].host_id

    def _at(self, copy: tuple[str, Guest], copies: Copies) -> Location:
        host, guest = copy
        extra = tuple(other for other in copies if other is not copy)
        return Location(FOUND, host, guest, guest.record, moved=not self._is_home(copy), extra=extra)

    def _gone(self, row: Remembered) -> Location:
        """The ledger knows it, and no host that is up has it."""
        if row.record is not None and SHELVED in row.record.marks:
            return Location(MISSING, row.host, record=row.record)  # it is on no host, whichever are down
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
        if row.id in self.moving:
            to = self.moving[row.id]
            message = (
                f"{row.name} is gone from {row.host}, and a move of it to {to} was under way while the hosts "
                "were looked at: run again"
            )
            if to in self._hosts:
                message += f". If it is on neither of them, -e fleet_assume_absent={to} says so"
            return Location(HELD, row.host, record=row.record, message=message)
        return Location(MISSING, row.host, record=row.record)

    def _other_id(self, name: str, server_id: str) -> Location:
        host, guest = next(copy for copy in self._by_name[name] if copy[1].id != server_id)
        message = f"{name} is declared with server_id {server_id}, and the server {name} on {host} has {guest.id}"
        return Location(CONFLICT, host, message=message)

    def _two_of_a_name(self, name: str) -> Location:
        copies = ", ".join(f"{guest.id} on {host}" for host, guest in sorted(self._by_name[name], key=lambda c: c[0]))
        return Location(CONFLICT, message=f"there are two servers named {name}: {copies}; say which by server_id")


def _beside(name: str, location: Location, sifted: Sifted, unfinished: Copies) -> Location:
    """The location of a server of which evacuations have left further copies."""
    location = dataclasses.replace(location, unfinished=tuple(unfinished))
    running = ", ".join(host for host, guest in unfinished if guest.active)
    if running and location.guest is not None and location.guest.active:
        message = f"{name} runs on {location.host}, and so does what an evacuation has begun to build on {running}"
        return Location(CONFLICT, message=message)
    if running:
        message = (
            f"{name} is off on {location.host}, and what an evacuation has begun to build on {running} runs: "
            "it is not started beside that"
        )
        return dataclasses.replace(location, status=HELD, message=message)
    return dataclasses.replace(location, stale=sifted.stale) if location.status == FOUND else location


def _has_left(last: Seen, row: Remembered | None, copies: Copies) -> bool:
    """Whether a copy is there, or says that the server has left that host for good."""
    if last.host in {host for host, _guest in copies}:
        return True
    was = None if row is None else row.record
    records = (guest.record for _host, guest in copies if guest.record is not None)
    return was is not None and any(has_left(record, last.host_id, was.generation) for record in records)


def _waits(guest: Guest) -> bool:
    """Whether this is the copy that a server has left for another host."""
    its = leaving(guest.record) if guest.record is not None else None
    return its is not None and its.left


def _leaving(guest: Guest) -> str | None:
    its = leaving(guest.record) if guest.record is not None else None
    return None if its is None else its.migration


def _migration(guest: Guest) -> str | None:
    its = resize_of(guest.record) if guest.record is not None else None
    return None if its is None or its.source is None else its.migration


def _reverted(guest: Guest, homes: t.Collection[str | None]) -> bool:
    """Whether a revert has brought the server back to the host that it had left, and this copy is to go."""
    its = resize_of(guest.record) if guest.record is not None else None
    return its is not None and its.reverting and its.source is not None and its.source.host_id in homes


def _stands_on(guest: Guest, server_id: str) -> bool:
    return any(str(volume[-1]).rpartition("/")[2].startswith(server_id) for volume in guest.volumes)


def _deleted_at(guest: Guest) -> float:
    return float(guest.record.marks["soft_delete"]["at"]) if guest.record is not None else 0.0


def _names(hosts: t.Sequence[Seen]) -> tuple[str, ...]:
    return tuple(seen.host for seen in hosts)


def _listed(hosts: t.Sequence[Seen], what: str) -> str:
    names = [seen.host for seen in hosts]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more} ({what})"


__all__ = ["AWAY", "CONFLICT", "FOUND", "HELD", "MISSING", "NEW", "Location", "Remembered", "Seen", "Whereabouts"]
