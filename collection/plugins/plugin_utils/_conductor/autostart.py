# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that start by themselves with their host (``server_autostart``): never on disks that other hosts have, too.

Note that this plugin util is **PRIVATE** to the collection.

A host that comes back after its servers were evacuated starts them before anybody can tell it not to: on a disk of its
own that is a second copy, on a shared one the end of the disk.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import lacks_mark

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, Server
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow

__all__ = ["note", "starts_later", "starts_twice"]

#: Pools of these types are somewhere else than on the host, whoever has them.
_AWAY = frozenset({"gluster", "iscsi", "netfs", "rbd"})


def starts_twice(
    server: Server,
    record: Record | None,
    host: str | None,
    computes: t.Sequence[Compute],
    known: t.Mapping[str, HostRow],
) -> str:
    """Why a declared server must not start by itself; empty where it may, or doesn't ask for it.

    *host*: the one that it is on. One that is nowhere yet may come to any, so none of them may have its pool in common.
    *known*: what the ledger knows of hosts, for those that are down.
    """
    if not _asks(server):
        return ""
    for pool, compute in _pools(server, record, host, computes):
        also = _also(pool, compute, computes, known)
        if also:
            return (
                f"server_autostart is for servers on disks of one host, and {also}: a host that comes back when "
                "its servers have been evacuated would start it a second time on the same disk; leave it out, or "
                "name a local pool (server_pool)"
            )
    return ""


def starts_later(server: Server, host: str | None, computes: t.Sequence[Compute]) -> bool:
    """Whether nobody can tell yet that a new server may start by itself: several hosts have pools that bear no mark,
    as before the first run, and one of these may be its own. It is built, and the next run sees to the rest."""

    def unmarked(compute: Compute) -> bool:
        return any(map(lacks_mark, compute.pools.values()))

    return _asks(server) and any(
        lacks_mark(compute.pools[pool])
        and any(unmarked(other) for other in computes if other.up and other.name != compute.name)
        for pool, compute in _pools(server, None, host, computes)
        if pool in compute.pools
    )


def note(names: t.Sequence[str]) -> tuple[str, ...]:
    """What a plan says of servers that start by themselves later."""
    if not names:
        return ()
    who = ", ".join(names)
    why = "which hosts share a pool is known when their pools are marked, as this run does"
    return (f"{who}: server_autostart waits for the next run; {why}",)


def _asks(server: Server) -> bool:
    return bool(server.spec.get("autostart")) and server.state != "absent"


def _pools(
    server: Server, record: Record | None, host: str | None, computes: t.Sequence[Compute]
) -> t.Iterator[tuple[str, Compute]]:
    """The pools that the server's root disk is in, or may come to, each with its host."""
    for compute in computes:
        if compute.up and host in (None, compute.name):
            wanted = server.spec.get("pool") or compute.default_pool
            yield str(record.root.pool if record is not None else wanted), compute


def _also(pool: str, compute: Compute, computes: t.Sequence[Compute], known: t.Mapping[str, HostRow]) -> str:
    """Who else has that pool of a host; empty for nobody."""
    its = compute.pools.get(pool)
    if its is None:
        return ""
    others = [other.name for other in computes if other.name != compute.name and its["id"] in _ids(other, known)]
    if its["id"] and others:
        return f"{', '.join(others)} has pool {pool!r} of {compute.name}, too"
    return f"pool {pool!r} of {compute.name} is of type {its['type']}" if its.get("type") in _AWAY else ""


def _ids(compute: Compute, known: t.Mapping[str, HostRow]) -> set[str]:
    """The ids of a host's pools, by what the ledger knows of it if it is down."""
    if not compute.up:
        return set(known[compute.name].summary.get("pools", ())) if compute.name in known else set()
    return {pool["id"] for pool in compute.pools.values()}
