# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a server can grow while it runs: the room that its domain was defined with.

Note that this module util is **PRIVATE** to the collection.

vCPUs are plugged in up to the domain's maximum, memory as modules (DIMMs) into slots that the domain has. Not by the
balloon: a guest whose balloon has all its memory from the start can take it, whatever its flavor says.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .serial import Json, fields, from_json

#: The slots for memory modules that a domain with room has.
SLOTS = 16
#: MiB. Guests take memory in blocks of this size (Linux on x86).
BLOCK = 128


#: So often a growth is tried: what was short may be there the next time, what QEMU can't do it never can.
TRIES = 2


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A size (``ram`` in MiB) that QEMU refused to let the guest grow to, how many ``times`` in a row, and ``why``."""

    vcpus: int
    ram: int
    times: int
    why: str

    @classmethod
    def from_json(cls, data: Json) -> Refusal:
        return from_json(cls, data, "refusal", dict.fromkeys(("vcpus", "ram", "times"), _number))


@dataclasses.dataclass(frozen=True)
class Room:
    """``vcpus`` and ``ram`` (MiB): the most that the domain can have while it runs; ``taken``: how many of its slots
    have a module since it was last defined anew; ``refused``: what it can't have all the same, None for nothing."""

    vcpus: int
    ram: int
    taken: int = 0
    refused: Refusal | None = None

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    def empty(self) -> Room:
        """That of a domain that has just been defined anew: all its memory is in one piece."""
        return Room(self.vcpus, self.ram)

    def refusing(self, vcpus: int, ram: int, why: str) -> Room:
        """After QEMU has refused this size (once more)."""
        had = self.refused
        again = had is not None and (had.vcpus, had.ram) == (vcpus, ram)
        times = had.times + 1 if had is not None and again else 1
        return dataclasses.replace(self, refused=Refusal(vcpus, ram, times, why))

    @classmethod
    def from_json(cls, data: Json) -> Room:
        return from_json(cls, data, "room", _READ)


def _number(value: Json) -> int:
    # A record comes from a domain's metadata, which anybody on the host can write.
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} should be a whole number")
    return value


def _refusal(value: Json) -> Refusal | None:
    return None if value is None else Refusal.from_json(value)


_READ: t.Final = {"vcpus": _number, "ram": _number, "taken": _number, "refused": _refusal}

__all__ = ["BLOCK", "SLOTS", "TRIES", "Refusal", "Room"]
