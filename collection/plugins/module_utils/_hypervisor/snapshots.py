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
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import (
    NeverWritten,
    pack_snapshot,
    read_snapshot,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import (
    PREFIX,
    SHELVED,
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
    libvirt,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.copying import (
    OFF,
    ROLE,
    Copying,
    remove_copy,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, Storage, VolumeReader

_CHUNK = 4 * MIB
#: For a copy to be brought into its pool as an image.
_STORED_WITHIN = 4 * 3600.0


def take(host: Host, domain: Domain, record: Record, wanted: Snapshot, *, watch: float | None = None) -> Snapshot:
    """The snapshot, complete. One that is there already is taken as it is.

    After *watch* seconds StillCopying: the next call goes on with it.
    """
    pool = host.storage.pool(wanted.pool)
    there = read(host.storage, pool, wanted.id)
    if there is not None and there.complete:
        remove_copy(domain, record.id, pool)
        return there
    if there is None or pool.find(volume_of(record.id, ROLE), look_again=False) is None:
        _sweep(host, pool, record.id)
        there = _begin(host, domain, record, _placed(host, pool, wanted))
    if not there.image.checksum:
        there = _copied(host, domain, record, there, watch)
    return _keep(host, domain, there)


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
    watch = job.order.options.get("watch")
    made = take(job.host, job.domain, job.record, wanted, watch=None if watch is None else float(watch))
    gone, kept = _rotate(job.host, made, job.order.options.get("rotation"))
    # A snapshot that was watched was begun by an earlier call.
    seconds = time.monotonic() - began + float(job.order.options.get("elapsed", 0))
    message = f"{made.image_type} {made.name!r} made: {_size(made.size)} in {seconds:.1f} s, {made.consistency}"
    if gone:
        message += f"; {len(gone)} older removed"
    if kept:
        message += f"; kept for they are in use: {', '.join(kept)}"
    job.told.update(
        {
            "snapshot": made.to_json(),
            "removed": [old.to_json() for old in gone],
            "seconds": round(seconds, 1),
            "consistency": made.consistency,
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


def forget_shelving(host: Host, pool: Pool, server_id: str) -> bool:
    """Remove what a server is shelved as, or was about to be."""
    its = [each for each in list_snapshots(host.storage, pool) if each.server_id == server_id]
    gone = [remove(host, snapshot) for snapshot in its if snapshot.image_type == SHELVED]
    return any(gone)


def _sweep(host: Host, pool: Pool, server_id: str) -> bool:
    """Remove what earlier attempts at snapshots of this server have left unfinished, and what is left of ones that were
    being removed."""
    its = [each for each in list_snapshots(host.storage, pool) if each.server_id == server_id]
    gone = [remove(host, each) for each in its if not each.complete or not stored(pool, each.image)]
    return _remove_never_written(host.storage, pool, server_id) or any(gone)


def _remove_never_written(storage: Storage, pool: Pool, server_id: str) -> bool:
    """Remove the sidecars whose makers were killed before they wrote whose they are. One is only ever made while the
    server's copy is there: where no other server has a copy, nobody is about to write one."""
    if not _never_written(storage, pool, pool.names()):
        return False
    pool.refresh()  # other hosts may share it
    names = pool.names()
    if any(name.endswith(f"-{ROLE}") and name != volume_of(server_id, ROLE) for name in names):
        return False
    changed = False
    for name in _never_written(storage, pool, names):
        volume = pool.find(name, look_again=False)
        if volume is not None:
            volume.delete(0)
            changed = True
    return changed


def _never_written(storage: Storage, pool: Pool, names: t.Iterable[str]) -> list[str]:
    """Those of the names that are sidecars, as empty as they were made."""
    found = []
    for name in names:
        if not name.startswith(PREFIX):
            continue
        try:
            read_snapshot(storage.read_volume(pool, name) or b"")
        except NeverWritten:
            found.append(name)
        except InvalidRecord:
            pass  # something was written, by whomever
    return found


def _placed(host: Host, pool: Pool, wanted: Snapshot) -> Snapshot:
    return dataclasses.replace(wanted, pool_id=pool.id, host_id=host.host_id, complete=False)


def _begin(host: Host, domain: Domain, record: Record, wanted: Snapshot) -> Snapshot:
    """Begin the copy; only then write down that it is this snapshot's. What is unknown of it is worth nothing."""
    pool, disk = host.storage.pool(wanted.pool), disk_of(record, wanted.role)
    copying = Copying(host.conn, domain, record.id, disk, pool)
    copying.check()
    with _undone_on_error(host, domain, wanted):
        source = host.storage.existing(disk)
        consistency = copying.begin(source, Quiesce.of(record.image.properties))
        snapshot = dataclasses.replace(wanted, consistency=consistency, virtual_size=int(source.info()[1]))
        host.storage.write_volume(pool.name, snapshot.sidecar, pack_snapshot(snapshot))
    return snapshot


def _copied(host: Host, domain: Domain, record: Record, snapshot: Snapshot, watch: float | None) -> Snapshot:
    """The snapshot with its checksum written down: from here on it is only brought to its place."""
    pool = host.storage.pool(snapshot.pool)
    copying = Copying(host.conn, domain, record.id, disk_of(record, snapshot.role), pool)
    with _undone_on_error(host, domain, snapshot):
        volume = copying.end(live=snapshot.consistency != OFF, watch=watch)
        snapshot = _described(pool, volume, snapshot, copying.format, virtual_size=snapshot.virtual_size)
        host.storage.write_volume(pool.name, snapshot.sidecar, pack_snapshot(snapshot))
    return snapshot


@contextlib.contextmanager
def _undone_on_error(host: Host, domain: Domain, snapshot: Snapshot) -> t.Iterator[None]:
    """What fails leaves nothing of its own."""
    pool = host.storage.pool(snapshot.pool)
    try:
        yield
    except (FlotillaError, libvirt.libvirtError):
        with contextlib.suppress(FlotillaError, libvirt.libvirtError):
            remove_copy(domain, snapshot.server_id, pool)
            _sweep(host, pool, snapshot.server_id)
        raise


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


def open_image(conn: Connection, pool: str, checksum: str) -> contextlib.AbstractContextManager[VolumeReader]:
    """An image of a pool of this host, to be read into another."""
    its = Pool(conn, pool)
    image = Image(checksum, "qcow2", checksum)
    volume = its.find(image.volume) if stored(its, image) else None
    if volume is None:
        raise FlotillaError(f"the image {checksum} is not in pool {pool!r} of this host, where it was to be taken from")
    return its.open(volume)


def forget_image(conn: Connection, pool: str, checksum: str) -> bool:
    """Delete what is kept of the snapshots whose image has been removed from a pool; whether there was something."""
    storage = Storage(conn)
    its = storage.pool(pool)
    gone = [snapshot for snapshot in list_snapshots(storage, its) if snapshot.image.checksum == checksum]
    for snapshot in gone:
        volume = its.find(snapshot.sidecar, look_again=False)
        if volume is not None:
            volume.delete(0)
    return bool(gone)


def stored(pool: Pool, image: Image) -> bool:
    """Whether an image is in a pool, complete."""
    there = images.look_up(pool.handle, image)
    return there is not None and there.complete


def _size(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


HANDLERS = {"snapshot": _snapshot}

__all__ = [
    "HANDLERS",
    "disk_of",
    "forget_image",
    "forget_shelving",
    "list_snapshots",
    "open_image",
    "read",
    "remove",
    "stored",
    "take",
    "tidy",
]
