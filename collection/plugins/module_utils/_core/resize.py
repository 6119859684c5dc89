# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A resized server until somebody confirms or reverts it: what its record's mark ``resize`` says.

Note that this module util is **PRIVATE** to the collection.

The record itself is that of the new flavor. The mark has what a revert needs: {"migration": the id of its row in the
ledger, "at": seconds since 1970, "state": what the guest was in, "flavor", "disks", "fit" and (where it could grow)
"room" of before, "xml": the domain of before, without its record}. While a revert deletes disks that only the new
flavor had, ``dropping`` names them.

There is one root disk throughout: it grows with the flavor, and stays grown, with all that was written to it, when the
resize is reverted. (Nova copies it and throws the copy away.)

A server that went to another host for it (a resize, or a migration, which keeps the flavor) has two domains until then.
``from`` in its mark names the host that it left: {"host", "host_id"}. There the domain of before stays, unable to
start, with a mark ``resize`` of its own: {"source": true, "migration", "at", "to": {"host", "host_id"}, "xml"}. While a
revert is under way, ``reverting`` is true in the server's mark. ``confirm`` is true where nobody is to be asked. On a
pool that both hosts share there is one root disk as ever; else each has its own.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidInput, InvalidRecord
from .fit import Fit
from .model import GIB, Disk, Flavor, Json, Record
from .room import Room

MARK = "resize"
#: The mark of a server on its way to another host, while it is still where it was.
MIGRATING = "migrating"


@dataclasses.dataclass(frozen=True)
class Resize:
    """The mark, read. ``disks``, ``flavor``, ``fit`` and ``room`` are those of before; ``dropping`` those that a revert
    which has begun deletes, None while none has. ``source`` is the host that it left, None if it stayed."""

    migration: str
    at: float
    state: str
    flavor: Flavor
    disks: tuple[Disk, ...]
    fit: Fit | None = None
    xml: str | None = None
    dropping: tuple[Disk, ...] | None = None
    source: Place | None = None
    reverting: bool = False
    confirm: bool = False
    room: Room | None = None

    @property
    def undoing(self) -> bool:
        """Whether a revert has begun: then there is only the way back."""
        return self.reverting or self.dropping is not None


@dataclasses.dataclass(frozen=True)
class Place:
    """A compute host in a mark: its id counts, its name is for people."""

    host: str
    host_id: str

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Leaving:
    """What the host that a server leaves, or has left, says of it. ``left``: its domain there can't start any more, and
    ``xml`` is what it was."""

    migration: str
    to: Place
    left: bool
    xml: str | None = None


def leaving(record: Record) -> Leaving | None:
    """Whether this is the copy of a server that goes to another host, or has gone there."""
    mark = record.marks.get(MARK)
    left = isinstance(mark, dict) and bool(mark.get("source"))
    mark = mark if left else record.marks.get(MIGRATING)
    if mark is None:
        return None
    try:
        to = Place(str(mark["to"]["host"]), str(mark["to"]["host_id"]))
        return Leaving(str(mark["migration"]), to, left, mark.get("xml"))
    except (KeyError, TypeError) as exc:
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say where it was to go") from exc


def counts(record: Record) -> int:
    """Of two copies of a server on its way between two hosts that of the larger number is the server: 0 is the copy
    that it has left, 1 the one that a revert is about to give up."""
    its = leaving(record)
    if its is not None and its.left:
        return 0
    going = resize_of(record)
    return 1 if going is not None and going.reverting else 2


def resize_of(record: Record) -> Resize | None:
    """What a record says of the resize that waits to be confirmed; None if there is none."""
    mark = record.marks.get(MARK)
    if mark is None or (isinstance(mark, dict) and mark.get("source")):
        return None
    try:
        dropping, source = mark.get("dropping"), mark.get("from")
        return Resize(
            migration=str(mark["migration"]),
            at=float(mark["at"]),
            state=str(mark["state"]),
            flavor=Flavor.from_json(mark["flavor"]),
            disks=tuple(map(Disk.from_json, mark["disks"])),
            fit=None if mark.get("fit") is None else Fit.from_json(mark["fit"]),
            xml=mark.get("xml"),
            dropping=None if dropping is None else tuple(map(Disk.from_json, dropping)),
            source=None if source is None else Place(str(source["host"]), str(source["host_id"])),
            reverting=bool(mark.get("reverting")),
            confirm=bool(mark.get("confirm")),
            room=None if mark.get("room") is None else Room.from_json(mark["room"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say what it was resized from") from exc


def resize_mark(record: Record, *, state: str, migration: str, at: float) -> dict[str, Json]:
    """The mark that a server with this record gets when it is resized. The host adds the XML."""
    return {
        "migration": migration,
        "at": at,
        "state": state,
        "flavor": record.flavor.to_json(),
        "disks": [disk.to_json() for disk in record.disks],
        "fit": None if record.fit is None else record.fit.to_json(),
        **({} if record.room is None else {"room": record.room.to_json()}),
    }


def planned_part(mark: Json) -> Json:
    """What two plans of one resize agree on: each has its own second, and the host adds what was before."""
    return {key: mark.get(key) for key in ("state", "flavor", "source")} if isinstance(mark, dict) else mark


def check_flavor(record: Record, flavor: Flavor) -> None:
    """InvalidInput in Nova's words for a flavor that the server can't be resized to, wherever."""
    now, image = record.flavor, record.image
    if flavor == now:
        raise InvalidInput(
            f"When resizing, instances must change flavor! Server {record.name!r} has flavor {now.name!r} already"
        )
    if flavor.disk == 0 and now.disk != 0:
        raise InvalidInput(
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed. "
            f"Flavor {flavor.name!r} has no disk"
        )
    if image.min_ram > flavor.ram:
        raise InvalidInput(
            f"Flavor's memory is too small for requested image. Image {image.name!r} needs {image.min_ram} MiB, "
            f"flavor {flavor.name!r} has {flavor.ram} MiB"
        )
    if 0 < flavor.disk < image.min_disk:
        raise InvalidInput(
            f"Flavor's disk is too small for requested image. Image {image.name!r} needs {image.min_disk} GiB, "
            f"flavor {flavor.name!r} has {flavor.disk} GiB"
        )
    # What a flavor without a disk gave was as large as the image.
    root = now.disk * GIB or record.root.size
    for what, wanted, has in (
        ("a disk", flavor.disk, root / GIB),
        ("ephemeral disks", flavor.ephemeral, now.ephemeral),
    ):
        if wanted < has and not wanted == now.disk == 0:
            raise InvalidInput(
                "Resize error: Unable to resize disk down. "
                f"Flavor {flavor.name!r} has {what} of {wanted} GiB, server {record.name!r} has {has:.3g} GiB"
            )


def before(record: Record) -> Record:
    """The record as it was before the resize, less what grew meanwhile; its marks are the caller's."""
    its = _needed(record)
    sizes = {(disk.pool_id, disk.volume): disk.size for disk in record.disks}
    grown = ((disk, sizes.get((disk.pool_id, disk.volume), 0)) for disk in its.disks)
    disks = tuple(dataclasses.replace(disk, size=max(disk.size, size)) for disk, size in grown)
    return dataclasses.replace(record, flavor=its.flavor, disks=disks, fit=its.fit, room=its.room)


def added(record: Record) -> tuple[Disk, ...]:
    """The disks that the server has only since it was resized: a revert deletes them."""
    its = _needed(record)
    return _others(record.disks, its.disks) if its.dropping is None else its.dropping


def superseded(record: Record) -> tuple[Disk, ...]:
    """The disks that it had before and no longer has: they are deleted when the resize is confirmed."""
    its = resize_of(record)
    return () if its is None else _others(its.disks, record.disks)


def abandoned(record: Record) -> tuple[Disk, ...]:
    """The disks that both hosts have of their own: what is written on them since is lost by a revert."""
    its = _needed(record)
    old = {disk.volume: disk.pool_id for disk in its.disks}
    return tuple(disk for disk in record.disks if disk.volume in old and disk.pool_id != old[disk.volume])


def _others(disks: t.Iterable[Disk], but: t.Iterable[Disk]) -> tuple[Disk, ...]:
    volumes = {disk.volume for disk in but}
    return tuple(disk for disk in disks if disk.volume not in volumes)


def _needed(record: Record) -> Resize:
    its = resize_of(record)
    if its is None:
        raise InvalidRecord(f"the record of server {record.name!r} has no mark of a resize")
    return its


__all__ = [
    "MARK",
    "MIGRATING",
    "Leaving",
    "Place",
    "Resize",
    "abandoned",
    "added",
    "before",
    "check_flavor",
    "counts",
    "leaving",
    "planned_part",
    "resize_mark",
    "resize_of",
    "superseded",
]
