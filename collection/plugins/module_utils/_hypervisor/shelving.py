# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shelve and unshelve: a server kept as snapshots of its disks and a record, on no host; and a server again.

Note that this module util is **PRIVATE** to the collection.

A shelved server is the volume ``<id>-shelved``, its record whose mark ``shelved_offloaded`` has its snapshots. While a
server has a domain it is not shelved, whatever lies beside it: it may have run since. So shelving begins anew as long
as the domain is there, and nothing of the server is deleted before its domain is gone, which is so only after all of it
is in the snapshots. Unlike Nova's, ephemeral disks are kept, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    InvalidInput,
    InvalidRecord,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import NeverWritten
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, handlers, snapshots
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    check_deletable,
    delete_volume,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.shelf import MARK, ROLE
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, wait_built


def snapshots_of(record: Record) -> tuple[Snapshot, ...]:
    """The snapshots that a shelved server consists of."""
    mark = record.marks.get(MARK)
    if mark is None:
        return ()
    if not isinstance(mark, dict) or not isinstance(mark.get("snapshots"), list):
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say what it is shelved as: {mark!r}")
    return tuple(map(Snapshot.from_json, mark["snapshots"]))


def _shelve(job: Job) -> handlers.Outcome:
    if job.present is None:
        record = _find(job)
        if record is None:
            raise Stale(f"server {job.order.name!r} has no domain on this host any more and isn't shelved; plan again")
        changed = _remove_disks(job, record)
        message = "shelved" if changed else "it is shelved"
    else:
        record = _save(job)
        domains.undefine(job.domain)
        _remove_disks(job, record)
        changed = True
        sizes = sum(snapshot.size for snapshot in snapshots_of(record))
        message = f"shelved, {sizes / 1024**2:.0f} MiB in pool {record.marks[MARK]['pool']!r}"
    job.told["record"] = record.to_json()
    return changed, message


def _save(job: Job) -> Record:
    """The shelved server beside the one that is still there, complete."""
    handlers.must_be_off(job)
    handlers.must_stand_on_its_own(job, job.record)
    wanted = _wanted(job)
    for pool, name in handlers.volumes_to_delete(job, job.record):
        # What could not be deleted afterwards is told before anything is done.
        check_deletable(pool, name, server_id=job.record.id, references=job.host.references)
    _forget(job.host, job.record.id)
    before = _written_at(job)
    made = []
    for snapshot in wanted:
        earlier = snapshots.read(job.host.storage, job.host.storage.pool(snapshot.pool), snapshot.id)
        if earlier is not None:
            snapshots.remove(job.host, earlier)
        made.append(snapshots.take(job.host, job.domain, job.record, snapshot))
    handlers.must_be_off(job)
    if _written_at(job) != before:
        raise Stale(f"server {job.order.name!r} has run while it was being shelved: it is left as it is; run again")
    mark = {**job.target.marks[MARK], "snapshots": [snapshot.to_json() for snapshot in made]}
    record = dataclasses.replace(job.target, host_id=None, marks={**job.target.marks, MARK: mark})
    job.host.storage.write_sidecar(record, role=ROLE, pool=made[0].pool)
    return record


def _wanted(job: Job) -> list[Snapshot]:
    """The snapshots to be made: of each disk that has data, into one pool."""
    wanted = [Snapshot.from_json(snapshot) for snapshot in job.order.options.get("snapshots") or ()]
    roles = {snapshot.role for snapshot in wanted}
    missing = sorted(disk.role for disk in job.record.disks if _has_data(disk.role) and disk.role not in roles)
    if missing or len({snapshot.pool for snapshot in wanted}) != 1 or MARK not in job.target.marks:
        raise InvalidInput(
            f"the step shelve of server {job.order.name!r} doesn't say what becomes of {', '.join(missing) or 'it'}"
        )
    return wanted


def _has_data(role: str) -> bool:
    return role == "root" or role.startswith("ephemeral")


def _written_at(job: Job) -> list[str | None]:
    """When each disk was last written to, as far as its pool knows."""
    found = []
    for disk in job.record.disks:
        if _has_data(disk.role):
            xml = job.host.storage.existing(disk).XMLDesc(0)
            found.append(ET.fromstring(xml).findtext("target/timestamps/mtime"))  # noqa: S314 - libvirt wrote it
    return found


def _remove_disks(job: Job, record: Record) -> bool:
    """All that the server had on this host; its snapshots are complete, and no domain of its own is here."""
    for snapshot in snapshots_of(record):
        pool = job.host.storage.pool(snapshot.pool)
        if not snapshots.stored(pool, snapshot.image):
            raise Conflict(
                f"the snapshot {snapshot.name!r} of server {record.name!r} is not in pool {pool.name!r}: "
                "no disk of the server is deleted; look for it there"
            )
    references = job.host.references.renewed()
    keep = volume_of(record.id, ROLE)
    volumes = [(pool, name) for pool, name in handlers.volumes_to_delete(job, record) if name != keep]
    gone = [delete_volume(pool, name, server_id=record.id, references=references) for pool, name in volumes]
    return any(gone)


def _find(job: Job) -> Record | None:
    kept = _kept(job)
    return None if kept is None else kept[1]


def _kept(job: Job) -> tuple[Pool, Record | None] | None:
    """The pool that has a shelved server's record, and the record, None for one that was never written to its end."""
    unreadable = None
    for pool in job.host.storage.active_pools():
        try:
            record = job.host.storage.read_sidecar(pool, job.order.server_id, role=ROLE)
        except InvalidRecord:
            unreadable = unreadable or (pool, None)
            continue
        if record is not None and record.fleet_id == job.host.fleet_id:
            return pool, record
    return unreadable


def _unshelve(job: Job) -> handlers.Outcome:
    """The server again, on disks that are full copies of its snapshots: these go when it runs (step tidy)."""
    if job.done:
        return False, "it is there"
    kept = [Snapshot.from_json(snapshot) for snapshot in job.order.options.get("snapshots") or ()]
    images: dict[str, Image] = {snapshot.role: snapshot.image for snapshot in kept}
    if "root" not in images:
        raise InvalidInput(f"the step unshelve of server {job.order.name!r} came without its root disk's snapshot")
    record = job.target
    for disk in record.disks:
        if disk.role in images:
            job.host.storage.require_image(disk, images[disk.role])
    _clear_older(job, record, images)
    disks = tuple(dataclasses.replace(disk, backing=None) if disk.role in images else disk for disk in record.disks)
    handlers.make(job, dataclasses.replace(record, disks=disks), images)
    return True, "unshelved"


def _clear_older(job: Job, record: Record, images: t.Mapping[str, Image]) -> None:
    """Disks of the server that are here, and are none of what it is shelved as: what a shelving that was cut off has
    left, or an unshelving, which the server may have followed on another host, and been shelved again there. The record
    beside them tells: one is written as soon as they are complete, and before any guest can run on them."""
    storage = job.host.storage
    found = [(storage.pool(disk.pool), disk.volume) for disk in record.disks if disk.role in images]
    volumes = [(pool, name, volume) for pool, name in found for volume in [pool.find(name)] if volume is not None]
    if not volumes or not storage.pool(record.root.pool).can("upload"):
        return
    names = ", ".join(f"{name} in pool {pool.name}" for pool, name, _volume in volumes)
    beside = None
    try:
        beside = storage.read_sidecar(storage.pool(record.root.pool), record.id)
    except NeverWritten:
        pass  # they were not complete yet
    except InvalidRecord as exc:
        raise Conflict(
            f"server {record.name!r} may have run on this host since it was shelved, on disks that are still here "
            f"({names}): {exc}. Nothing is touched; look which of both you want, and delete or rename the other"
        ) from exc
    if beside is not None and beside.generation > record.generation:
        raise Conflict(
            f"server {record.name!r} has run on this host since it was shelved, on disks that are still here "
            f"({names}): nothing is touched; look which of both you want, and delete or rename the other"
        )
    if beside is not None and beside.generation == record.generation:
        return  # complete: only its domain was never defined, or is gone
    references = job.host.references.renewed()
    for pool, name, _volume in volumes:
        check_deletable(pool, name, server_id=record.id, references=references)
    for pool, name, volume in volumes:
        wait_built(pool, volume)
        delete_volume(pool, name, server_id=record.id, references=references)


def _tidy(job: Job) -> handlers.Outcome:
    """What snapshots and shelving have left of a server that has its domain."""
    changed, message = snapshots.tidy(job)
    if job.present is not None and _forget(job.host, job.order.server_id):
        return True, "what it was shelved as is removed"
    return changed, message


def _forget(host: Host, server_id: str) -> bool:
    """Remove what a server is, or was, shelved as, or was about to be: its record last."""
    changed = False
    for pool in host.storage.active_pools():
        changed |= snapshots.forget_shelving(host, pool, server_id)
        volume = pool.find(volume_of(server_id, ROLE), look_again=False)
        if volume is None:
            continue
        with contextlib.suppress(InvalidRecord):
            record = host.storage.read_sidecar(pool, server_id, role=ROLE)
            for snapshot in snapshots_of(record) if record is not None else ():
                snapshots.remove(host, snapshot)
        volume.delete(0)
        changed = True
    return changed


def _delete(job: Job) -> handlers.Outcome:
    """A shelved server's snapshots go with it, as in Nova. First, since what names them goes with it, too."""
    gone = _forget(job.host, job.order.server_id)
    changed, message = handlers.delete(job)
    return changed or gone, "deleted, with its snapshots" if gone else message


def _update(job: Job) -> handlers.Outcome:
    """Another record, with a lock or without. One that a kill has cut short is written anew, from the plan's."""
    kept = None if job.present is not None else _kept(job)
    if kept is None:
        raise Stale(f"server {job.order.name!r} isn't shelved on this host any more; plan again")
    pool, now = kept
    target = dataclasses.replace(job.order.target, host_id=None)
    if now is not None and target != now and now.generation != job.order.expects:
        raise Stale(
            f"server {job.order.name!r} has generation {now.generation}, the plan was made from generation "
            f"{job.order.expects}: somebody changed it; plan again"
        )
    job.told["record"] = target.to_json()
    changed = job.host.storage.write_sidecar(target, role=ROLE, pool=pool.name)
    return changed, "record written" if changed else "nothing to do"


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {
    "delete": _delete,
    "shelve": _shelve,
    "tidy": _tidy,
    "unshelve": _unshelve,
    "update_shelved": _update,
}

__all__ = ["HANDLERS", "snapshots_of"]
