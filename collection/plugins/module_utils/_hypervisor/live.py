# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running guest moves to another host: both ends in one call on its source, which opens the destination's libvirt.

Note that this module util is **PRIVATE** to the collection.

Libvirt's own daemons carry the memory and the disks from one to the other (peer to peer), so the move goes on whoever
asked for it dies. The new record travels in the domain's XML: at the switch-over the copy that runs has it, and no
other does. So do its pins and cells, which the destination has given it anew, as for a cold move.
Before anything is made, the source's record says so with its mark (`_core.move`); the last deed takes away
the one that arrived. So whoever comes later knows which copy counts, and what is left to be done: `end_move`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import (
    DESTINATION,
    SOURCE,
    End,
    Move,
    marked,
    move_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import moved_xml, variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    domains,
    handlers,
    host_files,
    images,
    transit,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.bereft import ended_alone, lacks_memory
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    found,
    libvirt,
    message_of,
    reached,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.landing import (
    arrived,
    completed_from_here,
    finished,
    has_all,
    must_have_come,
    over,
    own_name,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far, Look
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import (
    Layout,
    check,
    is_read_alone,
    looks,
    must_be_it,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.steering import Ended, MoveFailed, Steering
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

#: An image may be large; the migration itself has limits of its own.
_IMAGE_WITHIN = 7200.0


def _live_migrate(job: Job) -> handlers.Outcome:
    """The whole move, or the rest of one that was begun: up to where the server runs at the destination alone."""
    wish = Wish.from_json(job.order.options.get("live"))
    peer = _peer(job.order.options.get("peer"))
    with _opened(peer, job.order.options) as far:
        if job.present is None:
            return arrived(job.host, job.order.server_id, far, job.told)
        mark = move_of(job.record)
        if mark is not None:
            if mark.other.host_id != peer.host_id:
                raise Conflict(
                    f"server {job.order.name!r} is on its way to {mark.other.host} already; wait for its end"
                )
            return _taken_up(job, far, mark, wish)
        try:
            layout, target = check(job, job.order.target, far, wish), _settled(job, far)
            files = _files_to_be(job, far)
        except FlotillaError as exc:  # nothing has been made or moved
            raise MoveFailed(str(exc), status="failed", migration=str(job.order.options.get("migration"))) from exc
        return _move(job, far, target, layout, files, wish)


def look(job: Job) -> list[Look]:
    """All that is looked at before a live migration, with what stands against it; nothing is touched."""
    wish = Wish.from_json(job.order.options.get("live"))
    with _opened(_peer(job.order.options.get("peer")), job.order.options) as far:
        return looks(job, job.order.target, far, wish)


def _end_move(job: Job) -> handlers.Outcome:
    """What a move whose worker was killed has left: it is waited for if it goes on, completed or undone if not.

    Option ``start``: the guest was off and is to run. Where it is, is known only when the move has ended."""
    if job.order.options.get("dead"):
        return _left_by_move(job)
    changed, message = _left_by_move(job)
    started = job.order.options.get("start") and _start_here(job)
    return changed, f"{message}; it is started" if started else message


def _start_here(job: Job) -> bool:
    """Start the guest if it has stayed on this host, or has come to it, and no move of it is open any more."""
    domain = found(job.host.conn.lookupByUUIDString, job.order.server_id)
    record = None if domain is None else domains.record_of(domain)
    if domain is None or record is None or move_of(record) is not None or domain.isActive():
        return False
    domains.start(domain)
    job.told["state"] = domains.state_of(domain)
    return True


def _left_by_move(job: Job) -> handlers.Outcome:
    if job.present is None:
        with _opened(_peer(job.order.options.get("other")), {}) as far:
            return arrived(job.host, job.order.server_id, far, job.told)
    mark = move_of(job.record)
    if mark is None:
        return False, "no move of it is open"
    if job.order.options.get("dead"):
        return ended_alone(job, mark)
    if job.order.options.get("give_up"):
        return _given_up(job, mark)
    with _opened(mark.other, {}) as far:
        if mark.role == DESTINATION:
            return completed_from_here(job, far, mark)
        try:
            # As it was begun, for whoever asked for it.
            return _taken_up(job, far, mark, Wish.from_json({**(job.order.options.get("live") or {}), **mark.live}))
        except MoveFailed as exc:
            if exc.left:
                raise
            job.told.update(exc.told)
            return True, str(exc)


def _given_up(job: Job, mark: Move) -> handlers.Outcome:
    """The operator says that the other end has nothing of it (fleet_assume_absent): its move is over, it is here."""
    if lacks_memory(job.domain):
        raise Conflict(
            f"part of the memory of server {job.order.name!r} is on {mark.other.host} (post-copy), and it can't go on "
            f"without: if that host is dead, the playbook evacuate ends the move (-e fleet_host={mark.other.host}), "
            "and the server starts anew from its disks"
        )
    if transit.is_being_moved(job.domain):
        raise Conflict(f"server {job.order.name!r} is still being moved to {mark.other.host} (`virsh domjobinfo`)")
    if mark.role == DESTINATION:
        must_have_come(job)
    elif transit.is_to_go_on(job.domain, halted=mark.halted, paused=mark.paused):
        job.domain.resume()
    finished(job.domain, job.host.storage, job.record)
    status = "completed" if mark.role == DESTINATION else "failed"
    job.told["migration"] = {"id": mark.migration, "status": status, "left": False}
    return True, f"its move is over; what may be left of it on {mark.other.host} stays there"


def _abort(job: Job) -> handlers.Outcome:
    """Nova: abort a live migration that is running."""
    mark = move_of(job.record)
    if mark is None or not transit.has_job(job.domain):
        raise Refused(f"Cannot 'abort live migration' instance {job.order.server_id}: no migration of it is running")
    if transit.is_post_copy(job.domain):
        raise Refused(
            f"Migration {mark.migration} state of instance {job.order.server_id} is running (post-copy). "
            "Cannot abort live migration while the migration is in this state."
        )
    job.domain.abortJob()
    return True, f"the migration to {mark.other.host} is being aborted"


# -- the way there ------------------------------------------------------------------------------------------------


def _files_to_be(job: Job, far: Far) -> tuple[str, ...]:
    """What libvirt makes at the destination before anything of the guest comes, and leaves there if nothing does. A
    file that is there already is another's, or the folder is one that both hosts have: it stays."""
    file = variables_of(job.domain.XMLDesc(0))
    return () if file is None or host_files.is_there(far.conn, file) else (file,)


def _move(job: Job, far: Far, target: Record, layout: Layout, files: tuple[str, ...], wish: Wish) -> handlers.Outcome:
    migration = str(job.order.options.get("migration"))
    own_uri = job.order.options.get("peer", {}).get("own_uri")
    back = End(own_name(job), own_uri, job.host.host_id, job.host.conn.getHostname())
    made = {disk.volume for disk in layout.made}
    paused = domains.state_of(job.domain) == "paused"
    disks = tuple(disk for disk in target.disks if disk.volume in made)
    asked = job.order.options.get("live") or {}
    there = Move(migration, SOURCE, far.end, disks, paused, fit=target.fit, files=files, live=asked)
    arriving = marked(target, Move(migration, DESTINATION, back, layout.made))
    job.host.report({"phase": "preparing"})
    job.host.write(job.domain, marked(job.record, there))
    # A host that loses its power just when the guest is handed over must not start it again by itself.
    domains.set_autostart(job.domain, False)
    try:
        _prepare(job, far, layout, target)
        steering = Steering(job.domain, wish, target.flavor, layout, job.host.report)
        ended = steering.move(far, _texts(job, arriving, layout))
    except (FlotillaError, libvirt.libvirtError) as exc:
        ended = Ended(message_of(exc))
    return over(job, far, there, ended)


def _taken_up(job: Job, far: Far, mark: Move, wish: Wish) -> handlers.Outcome:
    """A move that was begun by a worker that is gone."""
    copied = tuple(disk for disk in mark.disks if not is_read_alone(disk))
    steering = Steering(job.domain, wish, job.record.flavor, Layout((), copied, (), {}), job.host.report)
    try:
        there = found(far.conn.lookupByUUIDString, job.order.server_id)
        if transit.is_post_copy(job.domain) and has_all(there, mark):
            ended = steering.looked_at()
        elif transit.is_broken_post_copy(job.domain):
            ended = steering.resume(far, there)
        elif transit.is_being_moved(job.domain):
            ended = steering.attach()
        else:
            ended = steering.looked_at()
    except (FlotillaError, libvirt.libvirtError) as exc:
        ended = Ended(message_of(exc))
    return over(job, far, mark, ended)


# -- disks --------------------------------------------------------------------------------------------------------


def _prepare(job: Job, far: Far, layout: Layout, target: Record) -> None:
    """The volumes that libvirt fills, just as large as they are here, and the config drive."""
    for disk in layout.config:
        pool = job.host.storage.pool(disk.pool)
        volume = job.host.storage.existing(disk)
        far.storage.write_volume(disk.pool, disk.volume, pool.download(volume, int(volume.info()[1])))
    for disk in layout.copied:
        size = int(job.host.storage.existing(disk).info()[1])
        backing = None if disk.backing is None else _backing(job, far, disk, target)
        far.storage.pool(disk.pool).make(disk.volume, size, disk.format, backing=backing)


def _backing(job: Job, far: Far, disk: Disk, target: Record) -> tuple[str, str]:
    """The image that a disk stands on, brought over from here where the destination doesn't have it."""
    image, pool = target.image, far.storage.pool(disk.pool)
    if disk.backing != image.volume:
        raise Conflict(f"volume {disk.volume!r} stands on {disk.backing!r}, which is not its image {image.volume!r}")
    own = job.host.storage.pool(disk.pool)
    source = own.find(image.volume)
    if source is None:
        raise InvalidInput(f"image {image.name!r} ({image.volume}) is not in pool {own.name!r} of this host")
    job.host.report({"phase": f"bringing image {image.name}"})
    images.fetch(
        far.conn,
        image,
        lambda: own.open(source),
        pool=pool.handle,
        state_dir=job.host.state_dir,
        run_id=job.host.run_id,
        timeout=_IMAGE_WITHIN,
    )
    volume = pool.find(image.volume)
    if volume is None:
        raise FlotillaError(f"image {image.name!r} has vanished from pool {pool.name!r} of {far.end.host}")
    return str(volume.path()), image.format


# -- what libvirt is given ----------------------------------------------------------------------------------------


def _texts(job: Job, record: Record, layout: Layout) -> dict[str, str]:
    """The domain as it runs, and as it is defined, for the destination."""
    live = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
    return {
        name: moved_xml(job.domain.XMLDesc(flags), record, layout.paths, left=job.record.fit)
        for name, flags in (
            (libvirt.VIR_MIGRATE_PARAM_DEST_XML, live),
            (libvirt.VIR_MIGRATE_PARAM_PERSIST_XML, live | libvirt.VIR_DOMAIN_XML_INACTIVE),
        )
    }


def _settled(job: Job, far: Far) -> Record:
    """The record to be, with what only the destination knows: the ids of its pools."""
    record = job.order.target
    if record.host_id != far.end.host_id:
        raise Conflict(
            f"the record of server {record.name!r} to be is for host {record.host_id}, not for {far.end.host}"
        )
    disks = tuple(
        dataclasses.replace(now, pool_id=far.storage.identified(dataclasses.replace(now, pool_id=None)).pool_id)
        for now in job.record.disks
    )
    return dataclasses.replace(record, disks=disks, hardware=job.record.hardware)


def _peer(data: Json) -> End:
    if not isinstance(data, dict):
        raise InvalidInput("a live migration came without its destination")
    return End.from_json(data)


@contextlib.contextmanager
def _opened(end: End, options: t.Mapping[str, Json]) -> t.Iterator[Far]:
    """The other end, reached as its own libvirt is: one that doesn't answer is named."""
    if not end.uri:
        raise InvalidInput(
            f"how {end.host} is reached from here is not known: set compute_migration_uri of {end.host}, "
            f"for example qemu+tls://{end.host}/system"
        )
    peer = options.get("peer") or {}
    try:
        conn = reached(end.uri)
    except (FlotillaError, libvirt.libvirtError) as exc:
        waits = (
            f". The move waits for it; if that host is dead, the playbook evacuate ends the move "
            f"(-e fleet_host={end.host}); if it has nothing of the server, -e fleet_assume_absent={end.host} ends the "
            "move without it"
        )
        raise FlotillaError(
            f"{end.host} does not answer at its compute_migration_uri: {message_of(exc)}{'' if options else waits}"
        ) from exc
    try:
        far = Far(end, conn, Storage(conn), peer.get("bridges"))
        if not options:
            must_be_it(far)  # its address may be another's since the move was begun
        yield far
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            conn.close()


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {
    "abort_migration": _abort,
    "end_move": _end_move,
    "live_migrate": _live_migrate,
}

__all__ = ["HANDLERS", "look"]
