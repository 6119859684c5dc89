# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dead host's server built on this one; and what such builds leave, on both hosts, taken away.

Note that this module util is **PRIVATE** to the collection.

The mark ``evacuating`` is written first of all, in a domain that has no disks yet: whatever is made afterwards, that
domain names it. Last of all, when the disks are complete and the guest runs, if it is to, ``replaces`` takes its place.
Whoever is killed in between leaves a half-built copy, which the next evacuation goes on with, or which goes again when
the old host is back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import HostFacts, Source, domain_xml
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    EVACUATING,
    REPLACES,
    Evacuating,
    evacuating,
    half_built,
    kept,
    replaces,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import defined_anew
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Json, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import REPLACED
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, handlers, host_files
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.capabilities import virt_type
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    check_deletable,
    delete_volume,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.diskholders import holders_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool

#: How QEMU says that somebody else has a disk open, and how libvirt's lock managers do (virtlockd, sanlock).
_LOCKED = ('Failed to get "', "Lockspace resource", "Failed to acquire lock")


def evacuate(job: Job) -> handlers.Outcome:
    """Build the server of a dead host here, from the disks that were kept, and others made anew."""
    if job.done:
        return False, "it is there"
    target = defined_anew(job.target)
    half = _marked(job, target)
    its = _evacuating(half)
    _must_be_ours(job, its)
    _check_disks(job, half, its)
    half = _mark(job, half) if job.present is None else _noted(half, variables=_evacuating(job.record).variables)
    try:
        _build(job, half, its, target)
    except (FlotillaError, libvirt.libvirtError):
        # What fails leaves nothing; what can't be taken away now stays a half-built copy, and is known as such.
        with contextlib.suppress(FlotillaError, libvirt.libvirtError):
            _take_away(job, half, [{"pool": pool, "volume": volume} for pool, volume in its.made])
        raise
    runs = domains.state_of(_domain(job, target)) == "running"
    return True, f"evacuated from {its.source.host}, {'running' if runs else 'off'}"


def _build(job: Job, half: Record, its: Evacuating, target: Record) -> None:
    half = _with_disks(job, half, its)
    domain = job.host.define(half)
    if job.order.options.get("start"):
        _start(job, domain, half)
    # From here on the copy on the dead host is stale.
    *earlier, entry = replaces(target)
    entry = dataclasses.replace(entry, variables=target.hardware.firmware == "uefi" and _evacuating(half).variables)
    marks = {**target.marks, REPLACES: [each.to_json() for each in (*earlier, entry)]}
    final = dataclasses.replace(target, disks=half.disks, marks=marks)
    job.host.write(domain, final)
    domains.set_autostart(domain, handlers.autostart(final))


def _marked(job: Job, target: Record) -> Record:
    """The record of the half-built copy: it says from where and what it makes, and replaces nothing yet."""
    mark = job.order.options.get("evacuating")
    entries = replaces(target)
    half = dataclasses.replace(target, marks={**target.marks, EVACUATING: mark})
    its = evacuating(half) if isinstance(mark, dict) else None
    if its is None or not entries or entries[-1].migration != its.migration:
        raise InvalidInput(f"the step evacuate of server {target.name!r} doesn't say what it replaces")
    if job.host.host_id == its.source.host_id:
        raise Conflict(f"The target host can't be the same one. Server {target.name!r} was on {its.source.host}")
    earlier = [entry.to_json() for entry in entries[:-1]]
    marks = {key: value for key, value in half.marks.items() if key != "replaces"}
    return dataclasses.replace(half, marks={**marks, "replaces": earlier} if earlier else marks)


def _must_be_ours(job: Job, its: Evacuating) -> None:
    if job.present is None:
        return
    there = evacuating(job.record)
    if there is None or there.migration != its.migration:
        raise Conflict(
            f"server {job.order.name!r} has a domain on this host that this evacuation has not begun: "
            "nothing is touched; plan again"
        )


def _check_disks(job: Job, half: Record, its: Evacuating) -> None:
    """Kept disks must be here, and what is to be made must not, unless this evacuation has begun to make it."""
    storage = job.host.storage
    for disk in half.disks:
        pool = storage.pool(disk.pool)
        if not _is_made(disk, its):
            storage.existing(disk)
            if disk.role == "root" and pool.find(f"{disk.volume}.copying", look_again=False) is not None:
                raise Conflict(
                    f"the root disk of server {half.name!r} was being made from its image when its host died: "
                    f"it isn't whole; delete {disk.volume!r} and {disk.volume + '.copying'!r} in pool {disk.pool!r}, "
                    "and evacuate it again with leave for data_loss"
                )
        elif job.present is None and pool.find(disk.volume) is not None:
            raise Conflict(
                f"volume {disk.volume!r} is in pool {disk.pool!r} of this host already, and this evacuation has not "
                "made it: nothing is touched; look what is in it, and delete or rename it there"
            )


def _mark(job: Job, half: Record) -> Record:
    """A domain that names all that is going to be made; it can't start, for its disks are not all there. Libvirt makes
    the file with the variables of its firmware at the first start: one that is there now is another's."""
    storage = job.host.storage
    sources = {(disk.pool, disk.volume): Source(storage.pool(disk.pool).path_of(disk.volume)) for disk in half.disks}
    facts = HostFacts(virt_type(job.host.conn, half.hardware.arch), sources)
    domain = job.host.conn.defineXML(domain_xml(half, facts))
    file = variables_of(domain.XMLDesc(0))
    if file is not None:
        with contextlib.suppress(FlotillaError):  # where nobody knows it counts as another's
            half = _noted(half, variables=host_files.is_there(job.host.conn, file))
            domains.write_record(domain, half)
    return half


def _evacuating(half: Record) -> Evacuating:
    return t.cast(Evacuating, evacuating(half))


def _noted(half: Record, *, variables: bool) -> Record:
    its = dataclasses.replace(_evacuating(half), variables=variables)
    return dataclasses.replace(half, marks={**half.marks, EVACUATING: its.to_json()})


def _with_disks(job: Job, half: Record, its: Evacuating) -> Record:
    """The disks that are to be made, the root last; those that were kept are not touched."""
    made = {disk.volume for disk in half.disks if _is_made(disk, its)}
    only = dataclasses.replace(half, disks=tuple(disk for disk in half.disks if disk.volume in made))
    done = {disk.volume: disk for disk in handlers.with_disks(job.host, only).disks}
    return dataclasses.replace(half, disks=tuple(done.get(disk.volume, disk) for disk in half.disks))


def _is_made(disk: Disk, its: Evacuating) -> bool:
    return (disk.pool, disk.volume) in its.made


def _start(job: Job, domain: Domain, half: Record) -> None:
    try:
        domains.start(domain)
    except libvirt.libvirtError as exc:
        if not any(words in str(exc) for words in _LOCKED):
            raise
        held = [f"{disk.volume!r} ({by})" for disk in half.disks if (by := _holders(job, disk))]
        which = ", ".join(held) or "held on another host, which doesn't say so here"
        raise Conflict(
            f"server {half.name!r} is not started: a disk of it is still locked by somebody else: {which}. Somewhere "
            f"it may still run; find and end that, then run again ({message_of(exc)})"
        ) from exc


def _holders(job: Job, disk: Disk) -> str:
    return ", ".join(holders_of(job.host.storage.pool(disk.pool).path_of(disk.volume)))


def _domain(job: Job, record: Record) -> Domain:
    return job.host.conn.lookupByUUIDString(record.id)


# --- taken away again


def undo(job: Job) -> handlers.Outcome:
    """A half-built copy goes, with those of its own volumes that the plan says are nobody else's."""
    if job.present is None:
        return False, "it was gone"
    its = evacuating(job.record)
    if its is None:
        raise Conflict(f"server {job.order.name!r} is no half-built copy on this host: nothing is touched")
    drop = [place for place in job.order.options.get("drop") or () if (place["pool"], place["volume"]) in its.made]
    if job.order.options.get("kill"):
        domains.kill(job.domain)
    gone = _take_away(job, job.record, drop)
    return True, f"taken away, with {gone} volumes that it had made"


def _take_away(job: Job, half: Record, places: t.Sequence[t.Mapping[str, Json]]) -> int:
    """The volumes first: as long as the domain is there, it says whose they are."""
    domain = _domain(job, half)
    if domain.isActive():
        raise Conflict(f"server {half.name!r} runs here: it is not taken away")
    now = domains.record_of(domain)
    if now is None or not half_built(now):
        raise Conflict(f"server {half.name!r} is whole here: it is not taken away")
    gone = _delete(job, [*places, *_sidecars(half, places)])
    domains.undefine(domain, keep_variables=_evacuating(now).variables)
    return gone


def _delete(job: Job, places: t.Sequence[t.Mapping[str, Json]]) -> int:
    references, server_id = job.host.references.renewed(), job.order.server_id
    found: list[tuple[Pool, str]] = []
    for place in places:
        pool, name = job.host.storage.pool(str(place["pool"])), str(place["volume"])
        if place.get("pool_id") not in (None, *pool.markers(place.get("pool_id"))):
            raise Conflict(
                f"volume {name!r} was in pool {pool.name!r} with id {place['pool_id']}, and the pool of that name "
                f"has id {pool.id} now: nothing is deleted"
            )
        found.append((pool, name))
        if place.get("volume", "").endswith("-root"):
            found.append((pool, f"{name}.copying"))
    for pool, name in found:
        check_deletable(pool, name, server_id=server_id, references=references)
    return sum(delete_volume(pool, name, server_id=server_id, references=references) for pool, name in found)


def drop_stale(job: Job) -> handlers.Outcome:
    """The copy that another host's guest replaces: destroyed and undefined. Its local disks wait for their time."""
    options = job.order.options
    local = list(options.get("local") or ())
    if job.present is None:
        return False, "it was gone"
    record = job.record
    if (record.host_id, record.generation) != (options.get("host_id"), options.get("generation")):
        raise Conflict(
            f"the copy of server {record.name!r} here has generation {record.generation} and is of host "
            f"{record.host_id}; generation {options.get('generation')} of {options.get('host_id')} was replaced: "
            "nothing is touched"
        )
    if record.host_id != job.host.host_id or half_built(record):
        raise Conflict(f"the copy of server {record.name!r} here is not the one that was replaced: nothing is touched")
    reclaim = float(options.get("reclaim", 0))
    if local and reclaim:
        mark = {"at": options.get("since"), "migration": options.get("migration"), "volumes": local}
        sidecar = dataclasses.replace(record, marks={**record.marks, REPLACED: mark})
        job.host.storage.write_sidecar(sidecar, role=REPLACED, pool=str(local[0]["pool"]))
    domains.kill(job.domain)
    domains.undefine(job.domain, keep_variables=bool(options.get("variables")))
    gone = 0 if reclaim else _delete(job, [*local, *_sidecars(record, local)])
    what = f"{len(local)} local disks are kept for {reclaim / 3600:g} h" if reclaim else f"{gone} local volumes deleted"
    return True, "the copy that was replaced is gone" + (f"; {what}" if local else "")


def reclaim(job: Job) -> handlers.Outcome:
    """The local disks of a copy that was replaced, when their time is over. What names them goes last."""
    if job.present is not None:
        raise Conflict(f"server {job.order.name!r} is on this host again: its disks are left alone")
    gone = 0
    for pool in job.host.storage.active_pools():
        record = job.host.storage.read_sidecar(pool, job.order.server_id, role=REPLACED)
        if record is None:
            continue
        left = kept(record)
        local = left.places if left is not None else ()
        gone += _delete(job, [*local, *_sidecars(record, local)])
        gone += _delete(job, [{"pool": pool.name, "volume": volume_of(record.id, REPLACED)}])
    return bool(gone), f"{gone} volumes deleted" if gone else "it was gone"


def _sidecars(record: Record, local: t.Sequence[t.Mapping[str, Json]]) -> list[dict[str, Json]]:
    """The record beside a local root disk; in a shared pool it is the server's own."""
    root = record.root
    mine = any(place["volume"] == root.volume for place in local)
    return [{"pool": root.pool, "pool_id": root.pool_id, "volume": volume_of(record.id, "record")}] if mine else []


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {
    "drop_stale": drop_stale,
    "evacuate": evacuate,
    "reclaim": reclaim,
    "undo_evacuation": undo,
}

__all__ = ["HANDLERS", "drop_stale", "evacuate", "reclaim", "undo"]
