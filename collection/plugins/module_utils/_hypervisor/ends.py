# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other end of a step that two hosts take part in: its libvirt, opened from here.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    OutOfReach,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    libvirt,
    reached,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import PROBE
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, Storage


@contextlib.contextmanager
def other_end(here: Host, end: Json) -> t.Iterator[Host]:
    """The host *end* ({"host", "host_id", "uri"}) as if the step ran there; Conflict if it is this one."""
    try:
        name, host_id, uri = str(end["host"]), str(end["host_id"]), str(end["uri"] or "")
    except (KeyError, TypeError) as exc:
        raise InvalidInput(f"the other end of a step can't be read from {end!r}") from exc
    if not uri:
        raise InvalidInput(f"{name} has no compute_migration_uri, by which its libvirt is reached from here")
    if host_id == here.host_id:
        raise Conflict(f"{name} is this very host, by its id {host_id}: nothing is moved")
    try:
        conn = reached(uri)
    except FlotillaError as exc:
        raise OutOfReach(f"{name} can't be reached from here: {exc}") from exc
    try:
        if _uuid(conn) == _uuid(here.conn):
            raise Conflict(f"the libvirt of {name} at {uri!r} is the one of this host; correct compute_migration_uri")
        must_lead_to(conn, name, uri, end.get("hostname"))
        yield dataclasses.replace(
            here,
            conn=conn,
            storage=Storage(conn),
            references=References(conn, local=False),
            host_id=host_id,
        )
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            conn.close()


def must_lead_to(conn: Connection, host: str, uri: str | None, hostname: str | None) -> None:
    """Refuse a URI of *host* that leads to another. *hostname*: what it calls itself; None where that isn't known."""
    name = conn.getHostname()
    if hostname not in (None, name):
        raise Conflict(
            f"compute_migration_uri of {host} leads to {name!r}, and {host} calls itself {hostname!r}: nothing was "
            f"moved; correct the URI ({uri})"
        )


def shared(here: Host, there: Host, pool: str) -> bool:
    """Whether a pool of both hosts is one and the same, by its marks. Both must bear one.

    Each is asked for the other's mark, for which libvirt looks afresh: it doesn't notice by itself what another host
    has written there, and what is taken for another pool has volumes deleted in it.
    """
    return is_same(here.storage.pool(pool), there.storage.pool(pool))


def is_same(first: Pool, second: Pool) -> bool:
    """shared() of two hosts' pools. InvalidInput if one of them bears no mark."""
    return first.id in second.markers(first.id) or second.id in first.markers(second.id)


def is_shared(here: Pool, there: Pool, server_id: str) -> bool:
    """Whether both ends see the same pool: a volume made there is looked for here (Nova: a file in instances_path).

    Their marks must say so, too: a disk that is taken for a shared one is not copied, and one that isn't is deleted.
    """
    name = PROBE + server_id
    here.refresh()
    _remove(name, there, here)  # what a worker that was killed has left would be seen for nothing
    try:
        there.make(name, 1, "raw")
        here.refresh()
        seen = here.find(name, look_again=False) is not None
    finally:
        _remove(name, there, here)
    if seen != is_same(here, there):
        ids, sees = ("other ids", "sees") if seen else ("the same id", "does not see")
        raise Conflict(
            f"pool {here.name!r} has {ids} on both hosts, and what one writes in it the other {sees}: "
            "nothing is moved; is it mounted on both, or was it copied with its marker?"
        )
    return seen


def _remove(name: str, *pools: Pool) -> None:
    for pool in pools:
        # Libvirt forgets a volume that is gone already without a word.
        volume = pool.find(name, look_again=pool is pools[0])
        if volume is not None:
            with contextlib.suppress(libvirt.libvirtError):
                volume.delete(0)


def _uuid(conn: Connection) -> str | None:
    return ET.fromstring(conn.getCapabilities()).findtext("host/uuid")  # noqa: S314 - libvirt wrote it


__all__ = ["is_same", "is_shared", "must_lead_to", "other_end", "shared"]
