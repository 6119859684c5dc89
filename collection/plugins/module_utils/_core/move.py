# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server on its way from one host to another: what the mark ``move`` of its record says, at either end.

Note that this module util is **PRIVATE** to the collection.

While a move is open, the record at the source has the mark with ``role`` source: the disks, and the files, in it are
what the move makes at the destination, which goes if the move fails. The record that arrives has it with ``role``
destination: the disks in it are what is to go at the source. Whoever finds the mark with nobody at work knows which
copy counts, and what is left to do. The last deed takes the mark away.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidRecord
from .fit import Fit
from .model import Disk, Guest, Json, Record
from .step import ServerPlan, Step

#: Seconds that a call watches a step which goes on by itself: people see how far it is at least every five.
WATCH = 3
MARK = "move"
SOURCE = "source"
DESTINATION = "destination"
#: Steps that a server seems to need while its move has not ended, and those that nobody notices.
_PART_OF_IT = frozenset({"adopt", "define", "start", "tidy", "unpause", "update"})


@dataclasses.dataclass(frozen=True)
class End:
    """One end of a move. ``uri`` is where the other end's libvirt is reached; None where that isn't known."""

    host: str
    uri: str | None = None
    host_id: str | None = None
    hostname: str | None = None

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: t.Mapping[str, Json]) -> End:
        return cls(str(data["host"]), data.get("uri"), data.get("host_id"), data.get("hostname"))


@dataclasses.dataclass(frozen=True)
class Move:
    """The mark, read. ``other`` is the end that this record is not at; ``paused``: its user had it paused.
    ``doubt``: the guest stands still at the source, for it may run at the destination; ``halted``: for that it was
    stopped, and by nobody else. ``fit``, at the source: what the destination gives it of its cores and pages, which is
    nobody else's until the move is over; ``files``, at the source: what libvirt makes beside the disks there.
    ``live``, at the source: how it was asked for."""

    migration: str
    role: str
    other: End
    disks: tuple[Disk, ...] = ()
    paused: bool = False
    doubt: bool = False
    halted: bool = False
    fit: Fit | None = None
    files: tuple[str, ...] = ()
    live: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return {
            "migration": self.migration,
            "role": self.role,
            "other": self.other.to_json(),
            "disks": [disk.to_json() for disk in self.disks],
            "paused": self.paused,
            "doubt": self.doubt,
            "halted": self.halted,
            "fit": None if self.fit is None else self.fit.to_json(),
            "files": list(self.files),
            "live": dict(self.live),
        }


def move_of(record: Record) -> Move | None:
    """What a record says of the move that is open; None if there is none."""
    mark = record.marks.get(MARK)
    if mark is None:
        return None
    try:
        return Move(
            str(mark["migration"]),
            str(mark["role"]),
            End.from_json(mark["other"]),
            tuple(map(Disk.from_json, mark["disks"])),
            bool(mark.get("paused")),
            bool(mark.get("doubt")),
            bool(mark.get("halted")),
            None if mark.get("fit") is None else Fit.from_json(mark["fit"]),
            tuple(map(str, mark.get("files") or ())),
            dict(mark.get("live") or {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say where it is being moved to") from exc


def marked(record: Record, move: Move | None) -> Record:
    """The record with the mark, or without it."""
    marks = {key: value for key, value in record.marks.items() if key != MARK}
    return dataclasses.replace(record, marks=marks if move is None else {**marks, MARK: move.to_json()})


def is_moving(record: Record | None, guest: Guest | None) -> bool:
    """Whether a move of it was begun and has not been ended: all else waits for that."""
    return record is not None and guest is not None and move_of(record) is not None


def end_move(record: Record | None, guest: Guest | None, rest: t.Sequence[Step] = ()) -> ServerPlan:
    """The plan of a server that is_moving(). *rest*: what is to be done about it besides; but for a start of a guest
    that is off, it waits for the run that follows, which knows where the server has come to."""
    its = t.cast(Move, None if record is None else move_of(record))
    kinds = dict.fromkeys(step.kind for step in rest)
    start = "start" in kinds and guest is not None and guest.state in ("shutoff", "crashed")
    waits = " and ".join(kind.replace("_", " ") for kind in kinds if kind not in _PART_OF_IT)
    way = f"to {its.other.host}" if its.role == SOURCE else f"from {its.other.host}"
    why = f"its move {way} was cut off"
    why += "; it is off, and started where it is" if start else ""
    why += f"; the next run will {waits} it" if waits else ""
    options = {"migration": its.migration, "other": its.other.to_json(), "start": start, "watch": WATCH}
    return ServerPlan(steps=(Step("end_move", why, options=options),))


__all__ = ["DESTINATION", "MARK", "SOURCE", "WATCH", "End", "Move", "end_move", "is_moving", "marked", "move_of"]
