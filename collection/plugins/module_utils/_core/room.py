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


@dataclasses.dataclass(frozen=True)
class Room:
    """``vcpus`` and ``ram`` (MiB): the most that the domain can have while it runs; ``taken``: how many of its slots
    have a module since it was last defined anew."""

    vcpus: int
    ram: int
    taken: int = 0

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Room:
        return from_json(cls, data, "room", _NUMBERS)


def _number(value: Json) -> int:
    # A record comes from a domain's metadata, which anybody on the host can write.
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} should be a whole number")
    return value


_NUMBERS: t.Final = {"vcpus": _number, "ram": _number, "taken": _number}

__all__ = ["BLOCK", "SLOTS", "Room"]
