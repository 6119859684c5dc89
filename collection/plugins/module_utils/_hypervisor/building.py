# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build that failed: what of it is left on this host, and how it leaves nothing, so that another host may try.

Note that this module util is **PRIVATE** to the collection.

Only this host can say that nothing is left, and only while it holds the server's lock. In doubt it doesn't say so.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import found, libvirt
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import delete_volume, volumes_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.restarting import running_again

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Order
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool

Results = t.Sequence[t.Mapping[str, Json]]


def after_failure(host: Host, orders: t.Sequence[Order], results: Results, *, undo: bool) -> dict[str, Json]:
    """What to add to the last of the *results* of a server's steps, which failed: ``nothing_left`` if that is so.

    Only a build is asked, steps that began with ``create``, or an evacuation, of which nothing is left where no domain
    is: whatever it makes one names. With *undo*, a guest that this very call has made and that
    could not be started goes again.
    """
    build = orders[0]
    if build.kind == "evacuate":
        with contextlib.suppress(libvirt.libvirtError):
            return {} if found(host.conn.lookupByUUIDString, build.server_id) is not None else {"nothing_left": True}
    if build.kind != "create":
        return running_again(host, orders, results)
    server_id = build.server_id
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):
        if undo and _was_made_here(results):
            _undo(host, server_id)
        if _nothing_left(host, server_id, pools={disk.pool for disk in build.target.disks}):
            return {"nothing_left": True}
    return {}


def _was_made_here(results: Results) -> bool:
    """Made by this call, and never started: nobody has written a byte to its disks."""
    kinds = [result["kind"] for result in results]
    return kinds == ["create", "start"] and bool(results[0]["changed"])


def _undo(host: Host, server_id: str) -> None:
    domain = found(host.conn.lookupByUUIDString, server_id)
    made = host.storage.made_for(server_id)
    if domain is None or domain.isActive() or {(p.name, name) for p, name in made} != _volumes(host, server_id):
        return  # a volume that was there before may hold what somebody wants
    domains.must_not_be_elsewhere(domain)
    domains.undefine(domain)
    sidecar = volume_of(server_id, "record")
    for pool, name in sorted(made, key=lambda pair: pair[1] == sidecar):
        delete_volume(pool, name, server_id=server_id, references=host.references)


def _nothing_left(host: Host, server_id: str, *, pools: t.Collection[str]) -> bool:
    """Neither a domain nor a volume of the server is here; *pools* are those that its disks were to be in."""
    if found(host.conn.lookupByUUIDString, server_id) is not None:
        return False
    active = {pool.name: pool for pool in host.storage.active_pools()}
    if not active.keys() >= set(pools):
        return False  # what is in a pool that is not active nobody sees
    for name in pools:
        active[name].refresh_once()
    return not _volumes(host, server_id)


def _volumes(host: Host, server_id: str) -> set[tuple[str, str]]:
    pools: list[Pool] = host.storage.active_pools()
    return {(pool.name, name) for pool in pools for name in volumes_of(pool, server_id)}


__all__ = ["after_failure"]
