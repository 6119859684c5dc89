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

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, Server
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

__all__ = ["starts_twice"]

#: Pools of these types are somewhere else than on the host, whoever has them.
_AWAY = frozenset({"gluster", "iscsi", "netfs", "rbd"})


def starts_twice(server: Server, record: Record | None, host: str | None, computes: t.Sequence[Compute]) -> str:
    """Why a declared server must not start by itself; empty where it may, or doesn't ask for it.

    *host*: the one that it is on. One that is nowhere yet may come to any, so none of them may have its pool in common.
    """
    if not server.spec.get("autostart") or server.state == "absent":
        return ""
    for compute in computes:
        if compute.up and host in (None, compute.name):
            wanted = server.spec.get("pool") or compute.default_pool
            pool = record.root.pool if record is not None else wanted
            also = _also(str(pool), compute, computes)
            if also:
                return (
                    f"server_autostart is for servers on disks of one host, and {also}: a host that comes back when "
                    "its servers have been evacuated would start it a second time on the same disk; leave it out, or "
                    "name a local pool (server_pool)"
                )
    return ""


def _also(pool: str, compute: Compute, computes: t.Sequence[Compute]) -> str:
    """Who else has that pool of a host; empty for nobody."""
    its = compute.pools.get(pool)
    if its is None:
        return ""
    others = [
        other.name
        for other in computes
        if other.name != compute.name and its["id"] and its["id"] in {one["id"] for one in other.pools.values()}
    ]
    if others:
        return f"{', '.join(others)} has pool {pool!r} of {compute.name}, too"
    return f"pool {pool!r} of {compute.name} is of type {its['type']}" if its.get("type") in _AWAY else ""
