# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disks of a dead host's server other hosts still show: these are kept, with all that is on them.

Note that this plugin util is **PRIVATE** to the collection.

A disk is kept where a host's pool of its name bears the id that the server's record has, and has that very volume.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record, volume_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow


@dataclasses.dataclass(frozen=True)
class Disks:
    """What is left of a server's disks. ``kept``: the root disk is; ``hosts`` are those that show it, and as many of
    the others as any does, which are ``volumes``. ``unseen``: why it can't be told."""

    kept: bool
    hosts: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    unseen: str = ""

    def lost(self, record: Record) -> list[str]:
        """The roles of the disks whose data is lost."""
        return [disk.role for disk in record.disks if _has_data(disk) and disk.volume not in self.volumes]

    def told(self, record: Record) -> str:
        """What becomes of the disks, for people."""
        lost = self.lost(record)
        if "root" in lost:
            return f"built anew from image {record.image.name}, what was on its disk {', '.join(lost)} is lost"
        return "disk kept" + (f", what was on its disk {', '.join(lost)} is lost" if lost else "")

    def in_the_way(self, record: Record, compute: Compute) -> bool:
        """Whether a host has volumes of a server that is to be built anew there: nobody knows what is in them."""
        pools = [compute.pools[disk.pool] for disk in record.disks if disk.pool in compute.pools]
        names = {disk.volume for disk in record.disks} | {volume_of(record.id, disk.role) for disk in record.disks}
        return any(names & set(pool.get("volumes", {})) for pool in pools)


def disks_on(record: Record, computes: t.Sequence[Compute], others: t.Sequence[HostRow]) -> Disks:
    """What hosts that are up show of a server's disks. ``others``: what the ledger knows of all hosts but the dead."""
    data = [disk.volume for disk in record.disks if _has_data(disk)]
    found = {compute.name: kept_on(record, compute) & set(data) for compute in computes if compute.up}
    with_root = {host: volumes for host, volumes in found.items() if record.root.volume in volumes}
    if with_root:
        best = max(len(volumes) for volumes in with_root.values())
        hosts = {host for host, volumes in with_root.items() if len(volumes) == best}
        return Disks(True, frozenset(hosts), frozenset(set.intersection(*(with_root[host] for host in hosts))))
    sharing = sorted(row.name for row in others if record.root.pool_id in row.summary.get("pools", []))
    if record.root.pool_id is None:
        return Disks(False, unseen="its record doesn't say which pool its root disk is in: nothing is built beside it")
    if sharing and record.root.volume != volume_of(record.id, "root"):
        shared = f"pool {record.root.pool!r}, which {', '.join(sharing)} shared with its host"
        unseen = f"its root disk {record.root.volume!r} is in {shared}, under a name of its own, as no survey looks for"
        return Disks(False, unseen=f"{unseen}: define it by hand on one of them, and run the playbook adopt there")
    if sharing:
        shared = f"pool {record.root.pool!r}, which {', '.join(sharing)} shared with its host"
        seen = f"no host that is up shows {record.root.volume} there"
        return Disks(
            False, unseen=f"its root disk is in {shared}, and {seen}: see that the pool is active, then run again"
        )
    return Disks(False)


def kept_on(record: Record, compute: Compute) -> set[str]:
    """The volumes of the server that a host shows in the very pools that its record names."""
    return {disk.volume for disk in record.disks if _shows(compute, disk)}


def _shows(compute: Compute, disk: Disk) -> bool:
    pool = compute.pools.get(disk.pool)
    if pool is None or disk.pool_id is None or not pool["active"]:
        return False
    return disk.pool_id in (pool.get("id"), *pool.get("markers", ())) and disk.volume in pool.get("volumes", {})


def _has_data(disk: Disk) -> bool:
    """Swap is made anew, and a drive from inventory."""
    return disk.role == "root" or disk.role.startswith("ephemeral")


__all__ = ["Disks", "disks_on", "kept_on"]
