# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A live migration whose other end is proven dead: what is here is the server, as far as it is whole.

Note that this module util is **PRIVATE** to the collection.

Memory that was on a dead host is lost. A guest that can't go on without it, or that may have run there since, starts
anew from its disks, as after a power cut; one that has all of its own runs on. What the dead host may show when it is
back is named as replaced, last of all.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    REPLACES,
    Replaced,
    replaces,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import has_data
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import SOURCE, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import moved_xml, variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, handlers, transit
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Domain, libvirt
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.landing import (
    finished,
    has_run,
    must_have_come,
)


def lacks_memory(domain: Domain) -> bool:
    """Whether part of a guest's memory is at the other end of a migration in post-copy, whichever end this is. Where it
    runs, libvirt calls it running, though it stands still as soon as it needs a page that has not come."""
    short = (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
    state, reason = domain.state()[:2]
    return transit.is_post_copy(domain) or (state == libvirt.VIR_DOMAIN_RUNNING and reason in short)


def ended_alone(job: Job, mark: Move) -> handlers.Outcome:
    """The move is over. Options: ``start``: the guest is to run; ``data_loss``: there is leave to lose what it may have
    written to disks of its own there."""
    domain = job.domain
    if mark.role != SOURCE:
        must_have_come(job)
    short, was_on = lacks_memory(domain), bool(domain.isActive())
    if not short and transit.is_being_moved(domain):
        raise Conflict(
            f"libvirt has not yet given up the migration of server {job.order.name!r}, whose other end "
            f"{mark.other.host} is dead: nothing is touched; run again in a minute (`virsh domjobinfo`)"
        )
    _check_disks(job, mark, short=short)
    if short and mark.role != SOURCE:
        # It has run here: who comes after a kill must know.
        mark = dataclasses.replace(mark, doubt=True)
        _note(job, marked(job.record, mark))
    lost = (short or _stands_still(domain, mark) or _may_be_torn(job, mark)) and domains.kill(domain)
    started = bool(job.order.options.get("start")) and domains.start(domain, nowhere_else=True)
    if not started:
        domains.stay_off(domain)
    # One that the move has made there isn't also here; of any other nobody knows.
    variables = not mark.files and variables_of(domain.XMLDesc(0)) is not None
    final = finished(domain, job.host.storage, _replacing(job.record, mark, variables=variables))
    status = "failed" if mark.role == SOURCE else "completed"
    job.told.update(record=final.to_json(), state=domains.state_of(domain))
    job.told["migration"] = {"id": mark.migration, "status": status, "left": False}
    what = (
        "what it had in memory is lost" if lost else "it goes on here as it was" if was_on else "its disks here count"
    )
    return True, f"{mark.other.host} is dead, and its move is over: {what}{', and it was started' if started else ''}"


def _note(job: Job, record: Record) -> None:
    """Keep a record while libvirt waits for memory that never comes: its job lets the domain be defined and destroyed,
    and nothing else."""
    job.host.storage.write_sidecar(record)
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    job.host.conn.defineXML(moved_xml(job.domain.XMLDesc(flags), record, {}))


def _stands_still(domain: Domain, mark: Move) -> bool:
    """Whether a guest waits where it comes from for word of the other end. It never goes on then: it may have run
    there, and its disks may be others than its memory knows. One that its user has paused ran nowhere."""
    return mark.role == SOURCE and not mark.paused and domains.state_of(domain) == "paused"


def _may_be_torn(job: Job, mark: Move) -> bool:
    """Whether it runs on where it comes from, on a disk that both ends have, after it may have run at the other: what
    it has in memory of that disk may be old."""
    if mark.role != SOURCE or mark.paused or not transit.may_be_handed_over(job.domain):
        return False
    copied = {disk.volume for disk in mark.disks}
    return any(has_data(disk) and disk.volume not in copied for disk in job.record.disks)


def _check_disks(job: Job, mark: Move, *, short: bool) -> None:
    """Refuse to give up the disks that a guest may have written to on the dead host, unless there is leave."""
    copied = [disk.role for disk in mark.disks if has_data(disk)]
    if not copied or job.order.options.get("data_loss"):
        return
    if mark.role != SOURCE:
        if not mark.doubt and not has_run(job.domain):
            raise Conflict(
                f"server {job.order.name!r} may never have run here: what it has written on {mark.other.host}, which "
                f"is dead, to its disk {', '.join(copied)} is there alone: nothing is touched; put that host back, or "
                "-e fleet_allow=data_loss goes on with the disks as they are here"
            )
        return
    if mark.paused:
        return
    if short or not job.domain.isActive() or transit.may_be_handed_over(job.domain):
        raise Conflict(
            f"server {job.order.name!r} may have run on {mark.other.host}, which is dead, and what it then wrote to "
            f"its disk {', '.join(copied)} is there alone: nothing is touched; -e fleet_allow=data_loss gives it up"
        )


def _replacing(record: Record, mark: Move, *, variables: bool) -> Record:
    """The record as it is from now on: the copy that the move has left, or made, on the dead host is stale."""
    if mark.other.host_id is None:
        return record
    there = record.generation + (1 if mark.role == SOURCE else -1)
    entries = (*replaces(record), Replaced(mark.other.host_id, there, mark.migration, variables))
    marks = {**record.marks, REPLACES: [entry.to_json() for entry in entries]}
    return dataclasses.replace(record, generation=max(record.generation, there) + 1, marks=marks)


__all__ = ["ended_alone", "lacks_memory"]
