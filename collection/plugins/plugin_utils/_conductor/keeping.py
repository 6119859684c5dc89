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

from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import has_data
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
        return [disk.role for disk in record.disks if has_data(disk) and disk.volume not in self.volumes]

    def told(self, record: Record) -> str:
        """What becomes of the disks, for people."""
        lost = self.lost(record)
        if "root" in lost:
            return f"built anew from image {record.image.name}, what was on its disk {', '.join(lost)} is lost"
        return "disk kept" + (f", what was on its disk {', '.join(lost)} is lost" if lost else "")

    def in_the_way(self, record: Record, compute: Compute) -> bool:
        """Whether a host has volumes of a server where others are to be made: nobody knows what is in them."""
        pools = [compute.pools[disk.pool] for disk in record.disks if disk.pool in compute.pools]
        names = {disk.volume for disk in record.disks} | {volume_of(record.id, disk.role) for disk in record.disks}
        names -= kept_on(record, compute) if self.kept else set()
        return any(names & set(pool.get("volumes", {})) for pool in pools)


def disks_on(record: Record, computes: t.Sequence[Compute], others: t.Sequence[HostRow]) -> Disks:
    """What hosts that are up show of a server's disks. ``others``: what the ledger knows of all hosts but the dead."""
    data = {disk.volume for disk in record.disks if has_data(disk)}
    found = {compute.name: kept_on(record, compute) & data for compute in computes if compute.up}
    with_root = {host: volumes for host, volumes in found.items() if record.root.volume in volumes}
    best = max(map(len, with_root.values()), default=0)
    kept = {host: volumes for host, volumes in with_root.items() if len(volumes) == best}
    volumes = frozenset(set.intersection(*kept.values())) if kept else frozenset[str]()
    missing = [disk for disk in record.disks if has_data(disk) and disk.volume not in volumes]
    unseen = next(filter(None, (_unseen(disk, record, others) for disk in missing)), "")
    return Disks(bool(kept), frozenset(kept), volumes, unseen)


def _unseen(disk: Disk, record: Record, others: t.Sequence[HostRow]) -> str:
    """Why it can't be told whether a disk that no host shows is lost; empty if it is."""
    if disk.pool_id is None:
        return f"its record doesn't say which pool its {disk.role} disk is in: nothing is built beside it"
    sharing = sorted(row.name for row in others if disk.pool_id in row.summary.get("pools", []))
    if not sharing:
        return ""
    shared = f"in pool {disk.pool!r}, which {', '.join(sharing)} shared with its host"
    if disk.volume != volume_of(record.id, disk.role):
        named = f"its {disk.role} disk {disk.volume!r} is {shared}, under a name of its own, as no survey looks for"
        return f"{named}: define it by hand on one of them, and run the playbook adopt there"
    seen = f"no host that is up shows {disk.volume} there"
    return f"its {disk.role} disk is {shared}, and {seen}: see that the pool is active, then run again"


def kept_on(record: Record, compute: Compute) -> set[str]:
    """The volumes of the server that a host shows in the very pools that its record names."""
    return {disk.volume for disk in record.disks if _shows(compute, disk)}


def _shows(compute: Compute, disk: Disk) -> bool:
    pool = compute.pools.get(disk.pool)
    if pool is None or disk.pool_id is None or not pool["active"]:
        return False
    return disk.pool_id in (pool.get("id"), *pool.get("markers", ())) and disk.volume in pool.get("volumes", {})


__all__ = ["Disks", "disks_on", "kept_on"]
