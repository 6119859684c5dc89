# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a record says of an evacuation: which copies on dead hosts it replaces, and whether it is still being built.

Note that this module util is **PRIVATE** to the collection.

A server that was built anew elsewhere carries the mark ``replaces``: a list of {"host_id", "generation", "migration"},
one for each copy that it has left on a dead host. It alone makes a copy stale, and every later move carries it on, so
that a lost ledger loses nothing. It is written last of all, when the new guest is defined, its disks are complete and,
if it is to run, it runs. Until then the mark is ``evacuating``: {"migration", "at", "generation": of the record that it
is built from, "from": {"host", "host_id"}, "made": [{"pool", "volume"}]}, written before anything is made. It makes no
copy stale, and says which volumes go if the old host is back first.

``variables`` is true in either mark where the file with the variables of the server's firmware was there before
anything was built: both hosts may have it in one folder, and it stays when one of the two copies goes.
"""

from __future__ import annotations

import dataclasses

from .errors import InvalidRecord
from .model import Json, Record
from .resize import Place
from .sidecar import REPLACED

REPLACES = "replaces"
EVACUATING = "evacuating"


@dataclasses.dataclass(frozen=True)
class Replaced:
    """A copy that a server has left on a dead host, and the migration (of kind evacuation) by which it left.
    ``variables``: what only the host can say that the server was built on."""

    host_id: str
    generation: int
    migration: str
    variables: bool = False

    def to_json(self) -> dict[str, Json]:
        its: dict[str, Json] = dataclasses.asdict(self)
        return its if self.variables else planned_part(its)


@dataclasses.dataclass(frozen=True)
class Evacuating:
    """The mark of a half-built copy, read. ``made``: pairs of pool and volume that its own steps make; ``variables``:
    true, too, where its host had no time to say so."""

    migration: str
    at: float
    generation: int
    source: Place
    made: tuple[tuple[str, str], ...]
    variables: bool = True

    def to_json(self) -> dict[str, Json]:
        return {
            "migration": self.migration,
            "at": self.at,
            "generation": self.generation,
            "from": self.source.to_json(),
            "made": [{"pool": pool, "volume": volume} for pool, volume in self.made],
            **({} if self.variables else {"variables": False}),
        }


def replaces(record: Record) -> tuple[Replaced, ...]:
    """The copies that this one replaces, oldest first; InvalidRecord if the mark can't be read."""
    mark = record.marks.get(REPLACES)
    if mark is None:
        return ()
    try:
        return tuple(_replaced(entry) for entry in mark)
    except (KeyError, TypeError) as exc:
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say what it replaces: {mark!r}") from exc


def _replaced(entry: Json) -> Replaced:
    host_id, generation, migration = entry["host_id"], entry["generation"], entry["migration"]
    whole = isinstance(generation, int) and not isinstance(generation, bool)
    if not whole or not all(isinstance(text, str) and text for text in (host_id, migration)):
        raise TypeError(entry)
    return Replaced(host_id, generation, migration, bool(entry.get("variables")))


def planned_part(entry: Json) -> Json:
    """What a plan can know of an entry of ``replaces``."""
    return {key: value for key, value in entry.items() if key != "variables"} if isinstance(entry, dict) else entry


def evacuating(record: Record) -> Evacuating | None:
    """What a half-built copy says of itself; None for a server, which every other record is of."""
    mark = record.marks.get(EVACUATING)
    if mark is None:
        return None
    try:
        return Evacuating(
            migration=str(mark["migration"]),
            at=float(mark["at"]),
            generation=int(mark["generation"]),
            source=Place(str(mark["from"]["host"]), str(mark["from"]["host_id"])),
            made=tuple((str(each["pool"]), str(each["volume"])) for each in mark["made"]),
            variables=bool(mark.get("variables", True)),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidRecord(
            f"the record of server {record.name!r} doesn't say from where it is being evacuated: {mark!r}"
        ) from exc


def half_built(record: Record) -> bool:
    """Whether this is no server yet: a copy that an evacuation has begun to build."""
    return EVACUATING in record.marks


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a stale copy has left: since when (seconds since 1970), and its local disks, as pairs of pool and volume
    with the pool's id."""

    at: float
    places: tuple[dict[str, Json], ...]


def kept(record: Record) -> Kept | None:
    """What the sidecar of a stale copy says of its local disks; None for any other record."""
    mark = record.marks.get(REPLACED)
    if mark is None:
        return None
    try:
        places = tuple({key: str(each[key]) for key in ("pool", "pool_id", "volume")} for each in mark["volumes"])
        return Kept(float(mark["at"]), places)
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say what it has left: {mark!r}") from exc


def check_marks(record: Record) -> None:
    """InvalidRecord for marks that can't be read: what may destroy a copy is never guessed."""
    replaces(record)
    evacuating(record)
    kept(record)


def names(by: Record, copy: Record, host_id: str | None) -> tuple[Replaced | None, bool]:
    """What *by* says of the *copy* that is on the host of that id: the entry that names it, and whether it fits.

    An entry that the copy carries itself is of an earlier life of the server there: it has moved back since.
    """
    theirs = replaces(copy)
    said = [entry for entry in replaces(by) if entry.host_id == host_id and entry not in theirs]
    fitting = [entry for entry in said if entry.generation == copy.generation and copy.host_id == host_id]
    if fitting:
        return fitting[-1], True
    return (said[-1] if said else None), False


def has_left(record: Record, host_id: str | None, generation: int) -> bool:
    """Whether a whole copy says that the server, which had this generation on that host, has left it for good."""
    if host_id is None or half_built(record):
        return False
    return any(entry.host_id == host_id and entry.generation >= generation for entry in replaces(record))


__all__ = [
    "EVACUATING",
    "REPLACES",
    "Evacuating",
    "Kept",
    "Replaced",
    "check_marks",
    "evacuating",
    "half_built",
    "has_left",
    "kept",
    "names",
    "planned_part",
    "replaces",
]
