# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's record as a small volume beside its root disk, for what outlives its domain.

Note that this module util is **PRIVATE** to the collection.

One line says how long the record is and its SHA-256, then comes the record, then zeros up to a whole number of blocks:
a sidecar that was only half written is known as such, and most changes of a record are written in place.
"""

from __future__ import annotations

import hashlib

from .errors import InvalidRecord
from .model import Record

BLOCK = 64 * 1024
_HEAD = "flotilla-record-1"


def pack_sidecar(record: Record) -> bytes:
    text = record.dumps().encode("ascii")
    data = f"{_HEAD} {len(text)} {hashlib.sha256(text).hexdigest()}\n".encode("ascii") + text + b"\n"
    return data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")


def read_sidecar(data: bytes) -> Record:
    head, _newline, rest = data.partition(b"\n")
    parts = head[:200].decode("ascii", "replace").split()
    if len(parts) != 3 or parts[0] != _HEAD or not parts[1].isdigit():
        raise InvalidRecord("a sidecar volume doesn't begin as one: it was never written, or by something else")
    text = rest[: int(parts[1])]
    if hashlib.sha256(text).hexdigest() != parts[2]:
        raise InvalidRecord("a sidecar volume is half written: its checksum doesn't fit")
    return Record.loads(text.decode("ascii", "replace"))


__all__ = ["BLOCK", "pack_sidecar", "read_sidecar"]
