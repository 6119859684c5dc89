# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resize on one host, with the way back: the same domain with another flavor, until that is confirmed or reverted.

Note that this module util is **PRIVATE** to the collection.

One definition is the turning point of a resize, as of its revert. Disks are made and grown before it. Those that only
one of both flavors has are deleted when nothing leads back to them: at the confirmation, or, in a revert, after the
domain of before is defined, with a mark that names them until they are gone.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import (
    MARK,
    Resize,
    added,
    resize_of,
    superseded,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, handlers, moving
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import delete_volume
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.rescue import plain_xml, with_record


def _resize(job: Job) -> handlers.Outcome:
    if job.done:
        return False, "it is resized"
    if resize_of(job.record) is not None:
        raise Conflict(f"server {job.order.name!r} is resized already; confirm or revert that first")
    handlers.refit(job, _marked(job.target, xml=plain_xml(handlers.existing_xml(job))))
    return True, f"resized to flavor {job.target.flavor.name!r}"


def _confirm(job: Job) -> handlers.Outcome:
    if job.done:
        return False, "it is confirmed"
    its = _resized(job)
    if its.undoing:
        raise Conflict(f"the resize of server {job.order.name!r} is being reverted: revert it again to the end")
    if its.source is not None:
        return moving.confirm(job, its)
    gone = _delete(job, superseded(job.record))
    record = job.target
    job.host.write(job.domain, record)
    return True, f"confirmed, with {gone} disks of before deleted" if gone else "confirmed"


def _revert(job: Job) -> handlers.Outcome:
    if job.done:
        return False, "it is reverted"
    its = _resized(job)
    if its.source is not None:
        return moving.revert(job, its)
    record = job.target
    handlers.must_be_off(job)
    drop = added(job.record)
    if its.dropping is None:
        handlers.must_stand_on_its_own(job, job.record)
        mark = {**job.record.marks[MARK], "dropping": [disk.to_json() for disk in drop]}
        # While there is something to delete, the next run must know of it.
        first = dataclasses.replace(record, generation=job.record.generation, marks={**record.marks, MARK: mark})
        _define_as_before(job, its, first if drop else record)
    if drop:
        _delete(job, drop)
        job.host.write(job.domain, record)
    return True, f"reverted to flavor {record.flavor.name!r}"


def _define_as_before(job: Job, its: Resize, record: Record) -> None:
    """The very domain of before. One that has cores or devices of its own may have got others by now."""
    record = handlers.with_disks(job.host, record)
    if its.xml is None or its.fit is not None or record.fit is not None:
        handlers.redefine(job, record)
        return
    job.host.storage.write_sidecar(record)
    domain = job.host.conn.defineXML(with_record(its.xml, record))
    domains.set_autostart(domain, handlers.autostart(record))


def _resized(job: Job) -> Resize:
    its = resize_of(job.record)
    if its is None:
        raise Conflict(f"server {job.order.name!r} is not resized, so there is nothing to confirm or to revert")
    return its


def _delete(job: Job, disks: t.Iterable[Disk]) -> int:
    """Delete volumes that no domain names any more."""
    # Read afresh: this very call may have defined the domain anew.
    references, storage = job.host.references.renewed(), job.host.storage
    named = [(storage.pool(disk.pool), disk.volume) for disk in map(storage.identified, disks)]
    return sum(delete_volume(pool, name, server_id=job.order.server_id, references=references) for pool, name in named)


def _marked(record: Record, **more: t.Any) -> Record:
    return dataclasses.replace(record, marks={**record.marks, MARK: {**record.marks[MARK], **more}})


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {
    "confirm_resize": _confirm,
    "resize": _resize,
    "revert_resize": _revert,
}

__all__ = ["HANDLERS"]
