# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a live migration: which of two hosts has the guest, and what goes at the other.

Note that this module util is **PRIVATE** to the collection.

Both hosts are asked what is so. A disk is deleted where the guest is not, once it is known to be at the other end; a
guest that may run there stands still here until that is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import console_log
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish, summary
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Json, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import (
    Move,
    marked,
    move_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    domains,
    handlers,
    host_files,
    pinning,
    transit,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    found,
    is_migrated,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    References,
    delete_volume,
    volumes_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import is_same
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import Layout
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.steering import Ended, MoveFailed, Steering
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

#: How long a destination whose guest is not to be may take to let go of it.
_GONE_WITHIN = 60.0


def over(job: Job, far: Far, mark: Move, ended: Ended) -> handlers.Outcome:
    """Libvirt's part is over, and what came of it is brought to its end. Where nobody can tell, nothing is touched."""
    try:
        outcome = _judged(job, far, mark, ended)
    except MoveFailed:
        raise
    except (FlotillaError, libvirt.libvirtError) as exc:
        raise MoveFailed(
            f"what came of the migration of server {job.order.name!r} to {far.end.host} can't be told yet "
            f"({ended.cause + '; ' if ended.cause else ''}{message_of(exc)}): the next run ends it",
            status="running",
            migration=mark.migration,
            left=True,
        ) from exc
    if ended.last and not job.told["migration"].get("total_time"):
        job.told["migration"].update({**summary(ended.last), "downtime": None})
    return outcome


def _judged(job: Job, far: Far, mark: Move, ended: Ended) -> handlers.Outcome:
    """What the guest does says how it ended, not what libvirt answered (Nova: live_migration_monitor)."""
    here = found(job.host.conn.lookupByUUIDString, job.order.server_id)
    if here is None:
        return arrived(job.host, job.order.server_id, far, job.told)
    if not here.isActive():
        there = _landed(far, job.order.server_id)
        if is_migrated(*here.state()[:2]) or (there is not None and has_run(there)):
            return arrived(job.host, job.order.server_id, far, job.told)
        _must_be_told(there, far.end.host)
        # The guest went off by itself while it was moved: it is where it was.
        raise _failed(job, far, mark, Ended(f"{ended.cause or 'no cause is known'}, and the guest is off"))
    if transit.is_post_copy(here):
        if _has_come(job, far, mark):
            domains.kill(here)
            return arrived(job.host, job.order.server_id, far, job.told)
        raise MoveFailed(
            f"the post-copy migration of server {job.order.name!r} to {far.end.host} stands still: "
            f"{ended.cause or 'its link is broken'}. Part of its memory is here, part there, and there is no way "
            f"back: nothing is touched; mend the link, then run again; {_dead_for_good(far.end.host)}",
            status="error",
            migration=mark.migration,
            left=True,
        )
    if ended.handed_over or mark.doubt:
        mark = _doubted(job, here, mark, ended)
    stands = transit.is_waiting_for_memory(here) and not transit.has_job(here)  # libvirt was restarted here meanwhile
    there = _landed(far, job.order.server_id) if stands or mark.doubt else None
    if there is not None and has_run(there):
        domains.kill(here)
        return arrived(job.host, job.order.server_id, far, job.told)
    _must_be_told(there, far.end.host)
    raise _failed(job, far, mark, ended)


def _doubted(job: Job, here: Domain, mark: Move, ended: Ended) -> Move:
    """All of its memory is there, and no word came back whether it runs there: it stands still here until that is
    known. (Libvirt lets it go on here, and leaves it to locks of the disks that it runs only once.) The mark comes
    first: it says that this was no pause of anybody else's."""
    runs = domains.state_of(here) == "running"
    mark = dataclasses.replace(mark, doubt=True, halted=mark.halted or ended.paused or runs)
    job.host.write(here, marked(job.record, mark))
    if runs:
        here.suspend()
    return mark


def arrived(host: Host, server_id: str, far: Far, told: dict[str, Json]) -> handlers.Outcome:
    """It is there: its old domain and its old disks go, here; then the record there is the final one."""
    there = _landed(far, server_id)
    record = None if there is None else domains.record_of(there)
    if there is None or record is None or record.host_id != far.end.host_id:
        raise Stale(f"server {server_id} has no guest on this host any more, and none on {far.end.host}")
    mark = move_of(record)
    _forget_here(host, server_id, far)
    if mark is not None:
        _delete(host.storage, far.storage, host.references.renewed(), server_id, _not_of(record, mark.disks))
    final = finished(there, far.storage, record)
    told.update(record=final.to_json(), state=domains.state_of(there))
    _look_where_it_lies(there, final, far.end.host, told)
    told["migration"] = {
        "id": None if mark is None else mark.migration,
        "status": "completed",
        "host": far.end.host,
        **_statistics(there),
    }
    return True, f"moved to {far.end.host}"


def _landed(far: Far, server_id: str) -> Domain | None:
    """Its domain at the destination, if the guest has gone over to it: one that is only prepared doesn't count."""

    def settled() -> bool:
        there = found(far.conn.lookupByUUIDString, server_id)
        return there is None or not transit.is_waiting_for_memory(there)

    if not domains.became(settled, within=_GONE_WITHIN):
        raise FlotillaError(f"its domain on {far.end.host} still waits for its memory after {_GONE_WITHIN:g} s")
    return found(far.conn.lookupByUUIDString, server_id)


def has_run(there: Domain) -> bool:
    """Whether a guest that is no longer waited for has ever run there. Libvirt makes it persistent just before its CPUs
    start: one that fails then, or that is destroyed, is off there, and is still where it comes from."""
    off = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
    return bool(there.isActive()) or tuple(there.state()[:2]) == off


def has_all(there: Domain | None, mark: Move) -> bool:
    """Whether the guest of a post-copy has all of its memory at the destination, or has no more use for it: it is off.
    Libvirt there sees the end of it even when its source hears of it no more; that is the one reason to run which says
    so."""
    over = (
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN),
    )
    if there is None or tuple(there.state()[:2]) not in over:
        return False
    record = domains.record_of(there)
    its = None if record is None else move_of(record)
    return its is not None and its.migration == mark.migration


def _has_come(job: Job, far: Far, mark: Move) -> bool:
    """The same; not as far as anybody knows, where the destination isn't heard."""
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):
        return has_all(found(far.conn.lookupByUUIDString, job.order.server_id), mark)
    return False


def _has_failed(there: Domain) -> bool:
    """Whether libvirt says that a guest failed just as it was to run there."""
    return tuple(there.state()[:2]) == (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)


def _must_be_told(there: Domain | None, host: str) -> None:
    """Refuse to go on with either copy where libvirt doesn't say whether the other ever ran."""
    if there is not None and not _has_failed(there):
        _must_have_run(there, host)


def _must_have_run(domain: Domain, host: str) -> None:
    if not has_run(domain):
        name = shlex.quote(domain.name())
        raise Conflict(
            f"its domain on {host} is off, and whether it ever ran there can't be told: nothing is touched. If it did, "
            f"`virsh start {name}` there, else `virsh undefine {name}` there; then run again"
        )


def completed_from_here(job: Job, far: Far, mark: Move) -> handlers.Outcome:
    """The same, from the host that the server has come to: ``far`` is the one that it has left."""
    must_have_come(job)
    old = _handed_on(job, far, mark)
    # Where nothing was copied either copy is as good, if both are off.
    if old is not None and not is_migrated(*old.state()[:2]) and (mark.disks or old.isActive()):
        _must_have_run(job.domain, own_name(job))
    if old is not None and old.isActive() and domains.state_of(old) == "paused" and not transit.has_job(old):
        _must_be_left(old, mark)
        domains.kill(old)  # it was handed over, and stands still since
    if old is not None and old.isActive():
        raise Conflict(
            f"server {job.order.name!r} runs here, and on {far.end.host} too: nothing is touched; "
            "its migration may still be under way (`virsh domjobinfo`), or one of them was started by hand"
        )
    if old is not None:
        _must_be_left(old, mark)
        domains.undefine(old, keep_variables=host_files.has_others_variables(old, job.host.conn))
    left = _not_of(job.record, mark.disks)
    _delete(far.storage, job.host.storage, References(far.conn, local=False), job.order.server_id, left)
    final = finished(job.domain, job.host.storage, job.record)
    job.told["record"] = final.to_json()
    job.told["migration"] = {"id": mark.migration, "status": "completed"}
    _look_where_it_lies(job.domain, final, own_name(job), job.told)
    return True, f"what was left of it on {far.end.host} is gone"


def must_have_come(job: Job) -> None:
    """Refuse a guest whose memory is still on its way: until it runs here it is where it comes from."""
    if transit.is_waiting_for_memory(job.domain):
        raise Conflict(
            f"server {job.order.name!r} waits here for its memory: it is still where it comes from, and nothing is "
            "touched; run again when that has ended (`virsh domjobinfo`)"
        )


def _handed_on(job: Job, far: Far, mark: Move) -> Domain | None:
    """Its domain at the host that it comes from. Part of its memory may still be there (post-copy): it is sent on, for
    no other is."""
    old = found(far.conn.lookupByUUIDString, job.order.server_id)
    if old is None or not transit.is_post_copy(old):
        return old
    _must_be_left(old, mark)
    if has_all(job.domain, mark):
        domains.kill(old)
        return old
    record = t.cast(Record, domains.record_of(old))
    cause = "it is still being sent"
    if transit.is_broken_post_copy(old):
        its = t.cast(Move, move_of(record))
        here = dataclasses.replace(far, end=its.other)
        steering = Steering(old, Wish.from_json(its.live), record.flavor, Layout((), (), (), {}), job.host.report)
        cause = steering.resume(here, job.domain).cause
    if cause:
        raise Conflict(
            f"part of the memory of server {job.order.name!r} is here, part still on {far.end.host} (post-copy): "
            f"{cause}. Nothing is touched; mend the link between both hosts, then run again; "
            f"{_dead_for_good(far.end.host)}"
        )
    return found(far.conn.lookupByUUIDString, job.order.server_id)


def _dead_for_good(host: str) -> str:
    return (
        f"if {host} is dead for good, the playbook evacuate ends the move (-e fleet_host={host}), "
        "and the server starts anew from its disks"
    )


def _must_be_left(old: Domain, mark: Move) -> None:
    """Only the copy that this very move left behind goes."""
    record = domains.record_of(old)
    its = None if record is None else move_of(record)
    if its is None or its.migration != mark.migration:
        raise Conflict(f"domain {old.name()!r} on {mark.other.host} is not what this move has left there: it stays")


def _forget_here(host: Host, server_id: str, far: Far) -> None:
    """Libvirt undefines the source itself; a daemon that was killed meanwhile has not."""
    here = found(host.conn.lookupByUUIDString, server_id)
    if here is not None:
        if here.isActive():
            raise Conflict(f"domain {here.name()!r} still runs here: nothing of it is removed")
        domains.set_autostart(here, False)
        domains.undefine(here, keep_variables=host_files.has_others_variables(here, far.conn))


def finished(domain: Domain, storage: Storage, record: Record) -> Record:
    """The record without its mark, last of all; its sidecar lies beside its disk."""
    final = marked(record, None)
    domains.keep(domain)
    domains.set_autostart(domain, handlers.autostart(final))
    storage.write_sidecar(final)
    domains.write_record(domain, final)
    return final


def _look_where_it_lies(domain: Domain, record: Record, host: str, told: dict[str, Json]) -> None:
    """A guest that runs on others' cores is there all the same: its move is over, and it is not well."""
    try:
        found = pinning.astray(domain, Tuning.of(record.fit)) if domain.isActive() else []
    except libvirt.libvirtError as exc:  # its move is over whatever is heard of it
        found = [f"where it lies can't be told ({message_of(exc)})"]
    if found:
        told["fault"] = (
            f"server {record.name!r} is on {host} now, and doesn't lie there as it was given: {'; '.join(found)}. "
            "The reconcile playbook pins it back, and says what waits for a restart"
        )


# -- the way back -------------------------------------------------------------------------------------------------


def _failed(job: Job, far: Far, mark: Move, ended: Ended) -> MoveFailed:
    """The guest is where it was: nothing of it stays at the destination."""
    status = "cancelled" if ended.cancelled else "failed"
    message = (
        f"server {job.order.name!r} was not moved to {far.end.host}: {ended.cause}; it is on {own_name(job)} as before"
    )
    left = ""
    try:
        _undo(job, far, mark)
    except (FlotillaError, libvirt.libvirtError) as exc:
        left = f". What was made of it on {far.end.host} could not be removed ({message_of(exc)}): the next run does"
    return MoveFailed(message + left, status=status, migration=mark.migration, left=bool(left))


def _undo(job: Job, far: Far, mark: Move) -> None:
    here = job.host.conn.lookupByUUIDString(job.order.server_id)
    if not far.conn.isAlive():
        raise FlotillaError("it does not answer")

    def gone() -> bool:
        there = found(far.conn.lookupByUUIDString, job.order.server_id)
        if there is not None and _has_failed(there):
            _must_be_left(there, mark)
            domains.undefine(there, keep_variables=host_files.has_others_variables(there, job.host.conn))
            return True
        return there is None

    if not domains.became(gone, within=_GONE_WITHIN):
        raise FlotillaError(f"libvirt there has not let go of its domain within {_GONE_WITHIN:g} s")
    _delete(far.storage, job.host.storage, References(far.conn, local=False), job.order.server_id, mark.disks)
    _remove_files(job, far, mark)
    if transit.is_to_go_on(here, halted=mark.halted, paused=mark.paused):
        here.resume()
    domains.set_autostart(here, handlers.autostart(job.record))
    job.host.write(here, marked(job.record, None))


def _remove_files(job: Job, far: Far, mark: Move) -> None:
    """What libvirt has made there beside the disks. A file that a domain of either host has by now is that one's; a log
    with something in it is of an earlier stay."""
    for file in mark.files:
        used = host_files.user_of_variables(far.conn, file) is not None
        if not used and not host_files.is_used_from(job.host.conn, far.conn, file):
            host_files.remove(far.conn, file)
    with contextlib.suppress(FlotillaError):  # an empty log is no reason to leave a move open
        host_files.remove(far.conn, console_log(job.order.server_id), if_empty=True)


def own_name(job: Job) -> str:
    return str(job.order.options.get("peer", {}).get("own_host") or job.host.conn.getHostname())


# -- what goes -------------------------------------------------------------------------------------------------------


def _not_of(record: Record, disks: t.Iterable[Disk]) -> list[Disk]:
    """Those of the *disks* that are not the very volumes that the guest runs on."""
    own = {(disk.volume, disk.pool_id) for disk in record.disks}
    return [disk for disk in disks if (disk.volume, disk.pool_id) not in own]


def _delete(storage: Storage, other: Storage, references: References, server_id: str, disks: t.Iterable[Disk]) -> None:
    """The volumes that the move has made, or has copied from, and the record beside them. The guest stands on those of
    the *other* end: a pool that both have is never touched."""
    known = [storage.identified(disk) for disk in disks]
    pools = {disk.pool for disk in known}
    for name in sorted(pools):
        if is_same(storage.pool(name), other.pool(name)):
            raise Conflict(
                f"pool {name!r} is one and the same on both hosts now, and was not when server {server_id} was moved: "
                "no disk of it is removed; is the right pool mounted?"
            )
    for disk in known:
        delete_volume(storage.pool(disk.pool), disk.volume, server_id=server_id, references=references)
    sidecar = volume_of(server_id, "record")
    for name in sorted(pools):
        pool = storage.pool(name)
        if sidecar in volumes_of(pool, server_id):
            delete_volume(pool, sidecar, server_id=server_id, references=references)


def _statistics(domain: Domain) -> dict[str, Json]:
    """What libvirt says of the migration that has just brought a domain."""
    with contextlib.suppress(libvirt.libvirtError):
        return summary(domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED))
    return {}


__all__ = ["arrived", "completed_from_here", "finished", "has_all", "has_run", "must_have_come", "over", "own_name"]
