# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shelved servers and the snapshots in a host's pools, to read. What makes them is in `shelving` and `snapshots`.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import read_sidecar, read_snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import PREFIX, Snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    found,
    libvirt,
)

#: The mark of such a server, and the role of the volume that has its record.
MARK = "shelved_offloaded"
ROLE = "shelved"

Facts = t.Mapping[str, t.Any]


def shelved(conn: Connection, pools: t.Mapping[str, Facts]) -> list[Record]:
    """The records of shelved servers, those too whose domain may still, or again, be there: then they are worth
    nothing."""
    return records_beside(conn, pools, role=ROLE, mark=MARK)


def snapshots(conn: Connection, pools: t.Mapping[str, Facts]) -> list[Snapshot]:
    """The snapshots in the pools, each with the pool that it was found in, those too that are not complete."""
    found = []
    for name, facts in pools.items():
        for volume in sorted(facts["volumes"]):
            if not volume.startswith(PREFIX):
                continue
            with contextlib.suppress(InvalidRecord, libvirt.libvirtError):  # half written, or gone meanwhile
                data = _read(conn, name, volume)
                if data is not None:
                    found.append(dataclasses.replace(read_snapshot(data), pool=name))
    return found


def records_beside(
    conn: Connection,
    pools: t.Mapping[str, Facts],
    *,
    role: str,
    mark: str | None = None,
    but: t.Collection[str] = (),
) -> list[Record]:
    """The records in sidecar volumes of a *role*, as far as they bear that *mark*; *but* for those of these servers.
    ``pools`` as a survey has them: without such a volume no call is made."""
    records: dict[str, Record] = {}
    for name, facts in pools.items():
        for volume in facts["volumes"]:
            if not volume.endswith(f"-{role}") or volume.removesuffix(f"-{role}") in but:
                continue
            with contextlib.suppress(InvalidRecord, libvirt.libvirtError):  # half written, or gone meanwhile
                data = _read(conn, name, volume)
                if data is None:
                    continue
                record = read_sidecar(data)
                if mark is None or mark in record.marks:
                    records[record.id] = record
    return list(records.values())


def _read(conn: Connection, pool: str, name: str) -> bytes | None:
    volume = found(conn.storagePoolLookupByName(pool).storageVolLookupByName, name)
    if volume is None:
        return None
    size = int(volume.info()[1])
    stream = conn.newStream(0)
    volume.download(stream, 0, size, 0)
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            break
        data += part
    stream.finish()
    return data


__all__ = ["MARK", "ROLE", "records_beside", "shelved", "snapshots"]
