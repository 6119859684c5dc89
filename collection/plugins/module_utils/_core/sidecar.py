# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's record, or a snapshot's, as a small volume, for what outlives a domain.

Note that this module util is **PRIVATE** to the collection.

One line says how long the record is and its SHA-256, then comes the record, then zeros up to a whole number of blocks:
a sidecar that was only half written is known as such, and most changes of a record are written in place.
"""

from __future__ import annotations

import hashlib
import json

from .errors import InvalidRecord
from .model import Record
from .snapshot import Snapshot

BLOCK = 64 * 1024
#: Role and mark of the sidecar that a stale copy leaves beside its local disks, until these are reclaimed.
REPLACED = "replaced"
_RECORD = "flotilla-record-1"
_SNAPSHOT = "flotilla-snapshot-1"


class NeverWritten(InvalidRecord):
    """A sidecar volume that is still as empty as it was made."""


def pack_sidecar(record: Record) -> bytes:
    return _pack(_RECORD, record.dumps())


def read_sidecar(data: bytes) -> Record:
    return Record.loads(_read(_RECORD, data))


def pack_snapshot(snapshot: Snapshot) -> bytes:
    return _pack(_SNAPSHOT, json.dumps(snapshot.to_json(), ensure_ascii=True, separators=(",", ":"), sort_keys=True))


def read_snapshot(data: bytes) -> Snapshot:
    text = _read(_SNAPSHOT, data)
    try:
        return Snapshot.from_json(json.loads(text))
    except ValueError as exc:
        raise InvalidRecord(f"a snapshot's sidecar volume is not JSON: {exc}") from exc


def _pack(head: str, content: str) -> bytes:
    text = content.encode("ascii")
    data = f"{head} {len(text)} {hashlib.sha256(text).hexdigest()}\n".encode("ascii") + text + b"\n"
    return data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")


def _read(expected: str, data: bytes) -> str:
    if not data.strip(b"\0"):
        raise NeverWritten("a sidecar volume was never written")
    head, _newline, rest = data.partition(b"\n")
    parts = head[:200].decode("ascii", "replace").split()
    if len(parts) != 3 or parts[0] != expected or not parts[1].isdigit():
        raise InvalidRecord("a sidecar volume doesn't begin as one: it was written by something else")
    text = rest[: int(parts[1])]
    if hashlib.sha256(text).hexdigest() != parts[2]:
        raise InvalidRecord("a sidecar volume is half written: its checksum doesn't fit")
    return text.decode("ascii", "replace")


__all__ = ["BLOCK", "REPLACED", "NeverWritten", "pack_sidecar", "pack_snapshot", "read_sidecar", "read_snapshot"]
