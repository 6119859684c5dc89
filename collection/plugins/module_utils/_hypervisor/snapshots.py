# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots and backups of servers on this host: made, listed, removed.

Note that this module util is **PRIVATE** to the collection.

Made in this order, so that a kill anywhere is mended by another call: the copy of the disk; the sidecar, which says the
checksum that the copy has; the image, which the copy is brought into the pool as; the sidecar again, complete. Without
a sidecar a copy is worth nothing and made anew; with one the image can only be these very bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    InvalidRecord,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import HEAD_SIZE, check, inspect
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import MIB, Disk, Image, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import pack_snapshot, read_snapshot
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import (
    PREFIX,
    Quiesce,
    Snapshot,
    surplus,
    with_disk,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    Volume,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.copying import ROLE, Copying, remove_copy
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, Storage, VolumeReader

_CHUNK = 4 * MIB
#: For a copy to be brought into its pool as an image.
_STORED_WITHIN = 4 * 3600.0


def take(host: Host, domain: Domain, record: Record, wanted: Snapshot) -> tuple[Snapshot, str]:
    """The snapshot, complete, and how consistent it is. One that is there already is taken as it is."""
    pool = host.storage.pool(wanted.pool)
    there = read(host.storage, pool, wanted.id)
    if there is not None and there.complete:
        remove_copy(domain, record.id, pool)
        return there, "made by an earlier run"
    disk = disk_of(record, wanted.role)
    consistency = "made by an earlier run"
    if there is None or pool.find(volume_of(record.id, ROLE), look_again=False) is None:
        _sweep(host, pool, record.id)
        there, consistency = _copy(host, domain, record, disk, _placed(host, pool, wanted))
    return _keep(host, domain, there), consistency


def read(storage: Storage, pool: Pool, snapshot_id: str) -> Snapshot | None:
    """A snapshot by its id; None if there is none, or its sidecar was never written to its end."""
    with contextlib.suppress(InvalidRecord):
        data = storage.read_volume(pool, PREFIX + snapshot_id)
        return None if data is None else read_snapshot(data)
    return None


def list_snapshots(storage: Storage, pool: Pool) -> list[Snapshot]:
    """The snapshots in a pool, those too that are not complete."""
    names = sorted(name for name in pool.names() if name.startswith(PREFIX))
    found = (read(storage, pool, name[len(PREFIX) :]) for name in names)
    return [snapshot for snapshot in found if snapshot is not None]


def remove(host: Host, snapshot: Snapshot) -> bool:
    """Delete a snapshot, its sidecar last; whether it was there. FlotillaError if something stands on its image."""
    pool = host.storage.pool(snapshot.pool)
    if not pool.can("upload"):
        return False
    others = [other for other in list_snapshots(host.storage, pool) if other.id != snapshot.id]
    changed = False
    if snapshot.image.checksum and not any(other.image.checksum == snapshot.image.checksum for other in others):
        changed = images.remove(
            host.conn,
            snapshot.image,
            pool=pool.handle,
            state_dir=host.state_dir,
            run_id=host.run_id,
            timeout=_STORED_WITHIN,
        )
    volume = pool.find(snapshot.sidecar, look_again=False)
    if volume is None:
        return changed
    volume.delete(0)
    return True


def disk_of(record: Record, role: str) -> Disk:
    for disk in record.disks:
        if disk.role == role:
            return disk
    raise InvalidInput(f"server {record.name!r} has no disk {role!r}, so there is none to make a snapshot of")


def _snapshot(job: Job) -> tuple[bool, str]:
    """One snapshot or backup of the root disk, and the backups that are too many gone."""
    began = time.monotonic()
    wanted = Snapshot.from_json(job.order.options.get("snapshot"))
    if wanted.server_id != job.record.id:
        raise Conflict(f"the snapshot {wanted.name!r} is of server {wanted.server_id}, not of {job.record.id}")
    earlier = read(job.host.storage, job.host.storage.pool(wanted.pool), wanted.id)
    changed = earlier is None or not earlier.complete
    made, consistency = take(job.host, job.domain, job.record, wanted)
    gone, kept = _rotate(job.host, made, job.order.options.get("rotation"))
    seconds = time.monotonic() - began
    message = f"{made.image_type} {made.name!r} made: {_size(made.size)} in {seconds:.1f} s, {consistency}"
    if gone:
        message += f"; {len(gone)} older removed"
    if kept:
        message += f"; kept for they are in use: {', '.join(kept)}"
    job.told.update(
        {
            "snapshot": made.to_json(),
            "removed": [old.to_json() for old in gone],
            "seconds": round(seconds, 1),
            "consistency": consistency,
        }
    )
    return changed or bool(gone), message


def tidy(job: Job) -> tuple[bool, str]:
    """Take away what a snapshot or a shelving that was killed has left of a server that is there."""
    server_id = job.order.server_id
    domain = None if job.present is None else job.present.domain
    changed = False
    for pool in job.host.storage.active_pools():
        changed |= remove_copy(domain, server_id, pool)
        changed |= _sweep(job.host, pool, server_id)
    return changed, "leftovers of a snapshot removed" if changed else "nothing to do"


def _sweep(host: Host, pool: Pool, server_id: str) -> bool:
    """Remove what earlier attempts at snapshots of this server have left unfinished."""
    changed = False
    for snapshot in list_snapshots(host.storage, pool):
        if snapshot.server_id == server_id and not snapshot.complete:
            changed |= remove(host, snapshot)
    return changed


def _placed(host: Host, pool: Pool, wanted: Snapshot) -> Snapshot:
    return dataclasses.replace(wanted, pool_id=pool.id, host_id=host.host_id, complete=False)


def _copy(host: Host, domain: Domain, record: Record, disk: Disk, wanted: Snapshot) -> tuple[Snapshot, str]:
    """The copy, and the snapshot with its checksum written down: from here on it is only brought to its place."""
    pool = host.storage.pool(wanted.pool)
    copying = Copying(host.conn, domain, record.id, disk, pool)
    copying.check()
    try:
        source = host.storage.existing(disk)
        volume, consistency = copying.make(source, Quiesce.of(record.image.properties))
        snapshot = _described(pool, volume, wanted, copying.format, virtual_size=int(source.info()[1]))
        host.storage.write_volume(pool.name, snapshot.sidecar, pack_snapshot(snapshot))
    except FlotillaError:
        with contextlib.suppress(FlotillaError):
            remove_copy(domain, record.id, pool)
        raise
    return snapshot, consistency


def _described(pool: Pool, volume: Volume, wanted: Snapshot, fmt: str, *, virtual_size: int) -> Snapshot:
    digest = hashlib.sha256()
    what = f"the copy of server {wanted.server_name!r}"
    with pool.open(volume) as reader:
        chunk = reader.read(HEAD_SIZE)
        if fmt == "qcow2":  # a raw disk's content is the guest's own
            check(inspect(chunk, reader.size), declared=fmt, what=what)
        while chunk:
            digest.update(chunk)
            chunk = reader.read(_CHUNK)
        size = reader.size
    checksum = f"sha256:{digest.hexdigest()}"
    return with_disk(wanted, fmt=fmt, checksum=checksum, virtual_size=virtual_size, size=size)


def _keep(host: Host, domain: Domain, snapshot: Snapshot) -> Snapshot:
    """The copy as an image of its pool, which looks at every byte again; then it is complete, and the copy can go."""
    pool = host.storage.pool(snapshot.pool)

    def source() -> t.ContextManager[t.Any]:
        copy = pool.find(volume_of(snapshot.server_id, ROLE), look_again=False)
        if copy is None:
            raise FlotillaError(
                f"the copy for snapshot {snapshot.name!r} has vanished from pool {pool.name!r}; run again"
            )
        return pool.open(copy)

    place = {"state_dir": host.state_dir, "run_id": host.run_id}
    images.fetch(host.conn, snapshot.image, source, pool=pool.handle, timeout=_STORED_WITHIN, **place)
    snapshot = dataclasses.replace(snapshot, complete=True)
    host.storage.write_volume(pool.name, snapshot.sidecar, pack_snapshot(snapshot))
    remove_copy(domain, snapshot.server_id, pool)
    return snapshot


def _rotate(host: Host, made: Snapshot, rotation: int | None) -> tuple[list[Snapshot], list[str]]:
    """The backups of this server and type that are gone now, and the names of those that are in use and stay."""
    if rotation is None or made.image_type != "backup":
        return [], []
    backups = [backup for pool in host.storage.active_pools() for backup in list_snapshots(host.storage, pool)]
    gone, kept = [], []
    for backup in surplus(backups, made, rotation):
        if images.users_of(host.conn, host.storage.pool(backup.pool).handle, backup.image):
            kept.append(backup.name)
        else:
            remove(host, backup)
            gone.append(backup)
    return gone, kept


@contextlib.contextmanager
def open_image(conn: Connection, pool: str, checksum: str) -> t.Iterator[VolumeReader]:
    """An image of a pool of this host, to be read into another."""
    its = Pool(conn, pool)
    image = Image(checksum, "qcow2", checksum)
    volume = its.find(image.volume) if stored(its, image) else None
    if volume is None:
        raise FlotillaError(f"the image {checksum} is not in pool {pool!r} of this host, where it was to be taken from")
    with its.open(volume) as reader:
        yield reader


def stored(pool: Pool, image: Image) -> bool:
    """Whether an image is in a pool, complete."""
    there = images.look_up(pool.handle, image)
    return there is not None and there.complete


def _size(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


HANDLERS = {"snapshot": _snapshot}

__all__ = ["HANDLERS", "disk_of", "list_snapshots", "open_image", "read", "remove", "stored", "take", "tidy"]
