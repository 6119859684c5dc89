# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots, and servers that are kept as such: what a host is told of them, and what the fleet's catalog says.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Image, Json, Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import WATCH
from ansible_collections.flotilla.compute.plugins.module_utils._core.saving import snapshots_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot, snapshot_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED, Step

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Catalogs, Network


#: Seconds after which a host says how far a copy is.
_WATCH = 4


def options_of(step: Step, record: Record, *, time: str, live: t.Mapping[str, Json] | None = None) -> dict[str, Json]:
    """What the host is given with a step; ``record`` is the server's before it, ``time`` that of the plan. ``live``:
    how the fleet has guests move that run, where nothing else was asked for."""
    options = dict(step.options)
    if live and step.kind in ("live_migrate", "end_move"):
        options["live"] = {**live, **(options.get("live") or {})}
    if step.kind == "snapshot":
        pool, kind = options.pop("pool", record.root.pool), options.pop("backup_type", None)
        name = str(options.pop("name"))
        options["snapshot"] = _wanted(record, name, pool, time, backup_type=kind).to_json()
        options["watch"] = _WATCH
    if step.kind == "migrate":
        options["watch"] = WATCH
    if step.kind == "live_migrate":
        options.pop("host", None)
        options["migration"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{record.id}/{record.generation}/{time}/live"))
    if step.kind == "shelve":
        pool = options.pop("pool", record.root.pool)
        kept = [disk.role for disk in record.disks if disk.role == "root" or disk.role.startswith("ephemeral")]
        wanted = [_wanted(record, _shelved_name(record, role), pool, time, role=role, shelved=True) for role in kept]
        options["snapshots"] = [snapshot.to_json() for snapshot in wanted]
    if step.kind == "unshelve":
        options["snapshots"] = [snapshot.to_json() for snapshot in snapshots_of(record)]
    return options


def _wanted(record: Record, name: str, pool: str, time: str, **more: t.Any) -> Snapshot:
    # Of the plan, not random: a plan that is carried out twice asks for one snapshot.
    identity = f"{record.id}/{record.generation}/{time}/{name}"
    made = str(uuid.uuid5(uuid.NAMESPACE_URL, identity))
    return snapshot_of(record, name, snapshot_id=made, pool=pool, created_at=time, **more)


def _shelved_name(record: Record, role: str) -> str:
    """As Nova names it."""
    return f"{record.name}-shelved" if role == "root" else f"{record.name}-shelved-{role}"


def shelved_mark(step: Step, record: Record, *, time: str) -> dict[str, Json]:
    """The mark of a server that is to be shelved. The host adds the snapshots."""
    return {"at": time, "pool": step.options.get("pool", record.root.pool)}


def unshelved(record: Record, compute: Compute, networks: t.Mapping[str, Network]) -> Record:
    """A record whose server is to be made on *compute*: pools and bridges are that host's."""
    return dataclasses.replace(
        record,
        disks=tuple(_moved(disk) for disk in record.disks),
        nics=tuple(_plugged(nic, compute, networks) for nic in record.nics),
    )


def _moved(disk: Disk) -> Disk:
    """A full copy of its snapshot stands on nothing."""
    backing = None if disk.role == "root" else disk.backing
    return dataclasses.replace(disk, pool_id=None, backing=backing)


def _plugged(nic: Nic, compute: Compute, networks: t.Mapping[str, Network]) -> Nic:
    network = networks.get(nic.network)
    return nic if network is None else dataclasses.replace(nic, source=compute.source_of(network))


def sees(compute: Compute, snapshots: t.Iterable[Snapshot]) -> bool:
    """Whether a host has these snapshots in its pools."""
    pools = compute.survey["pools"] if compute.survey is not None else {}
    return all(f"{each.image.volume}.ok" in pools.get(each.pool, {}).get("volumes", {}) for each in snapshots)


def holder(compute: Compute, image: Image) -> str | None:
    """A pool of the host that has an image, complete."""
    pools = compute.survey["pools"] if compute.survey is not None else {}
    return next((name for name, pool in pools.items() if f"{image.volume}.ok" in pool.get("volumes", {})), None)


def check_name(name: str, catalogs: Catalogs, others: t.Container[str] = ()) -> None:
    """A snapshot becomes an image of the fleet: its name must be free. *others*: names of images that are about to."""
    if name in catalogs.images or name in others:
        raise Conflict(f"the fleet has an image {name!r} already; give the snapshot another name")


def check_pool(pool: str, compute: Compute) -> None:
    if pool not in compute.pools:
        known = ", ".join(sorted(compute.pools)) or "none"
        raise InvalidInput(f"{compute.name} has no pool {pool!r} that servers may use; it has {known}")


def catalog_entry(snapshot: Snapshot, host: str) -> dict[str, Json]:
    """A snapshot as an entry of the catalog of images, with where it is."""
    image = snapshot.image
    return {
        "format": image.format,
        "checksum": image.checksum,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "properties": dict(image.properties),
        "snapshot": {
            "id": snapshot.id,
            "server": snapshot.server_name,
            "server_id": snapshot.server_id,
            "host": host,
            "pool": snapshot.pool,
            "pool_id": snapshot.pool_id,
            "size": snapshot.size,
            "created_at": snapshot.created_at,
        },
    }


__all__ = [
    "SHELVED",
    "catalog_entry",
    "check_name",
    "check_pool",
    "holder",
    "options_of",
    "sees",
    "shelved_mark",
    "unshelved",
]
