# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cold moves to another host, and what ends them: confirm, revert, and the way back from one that was cut off.

Note that this module util is **PRIVATE** to the collection.

The step runs on the host that has the server and opens the other's libvirt. Disks come first. Then the domain that is
left is defined so that it can't start (its disks name files that don't exist), and only then the other: at no moment
can both start. Whoever is killed between the two has given the server up here and not yet defined it there; the next
run brings it back (undo_migration). A mark, written before anything is made at the other end, tells it where to look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import (
    MARK,
    MIGRATING,
    Resize,
    added,
    leaving,
    resize_of,
    superseded,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    cold_prechecks,
    domains,
    handlers,
    host_files,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    found,
    is_error,
    libvirt,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    References,
    delete_volume,
    volumes_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import (
    other_end,
    shared,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.rescue import plain_xml, with_record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.streams import copy_disk
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.taken_back import told_if_back

#: What the disks of a domain that must not start are called.
_AWAY = ".moved-away"
#: Seconds that libvirt may still hold a volume whose writer was killed.
_RELEASED_WITHIN = 30.0


def check(job: Job) -> None:
    """Refuse what a move or its revert would refuse once the guest is off for it: an end that can't be reached, above
    all."""
    its = resize_of(job.record)
    if job.order.kind == "migrate":
        with told_if_back(job), _way(job):
            return
    if its is not None and its.source is not None:
        with other_end(job.host, job.order.options.get("peer")) as there:
            _copy_of_before(job, there)


@contextlib.contextmanager
def _way(job: Job) -> t.Iterator[Host]:
    """The other end, where nothing stands against the move."""
    with other_end(job.host, job.order.options.get("peer")) as there:
        cold_prechecks.check(job, there)
        yield there


def migrate(job: Job) -> handlers.Outcome:
    """The whole move; one that fails and leaves nothing says so."""
    with told_if_back(job):
        return _migrate(job)


def _migrate(job: Job) -> handlers.Outcome:
    handlers.must_be_off(job)
    with _way(job) as there:
        target = there.settle(_pools_known(there, job.order.target))
        end = {"host": job.order.options["peer"]["host"], "host_id": there.host_id}
        mark = {"migration": target.marks[MARK]["migration"], "at": target.marks[MARK]["at"], "to": end}
        xml = plain_xml(handlers.existing_xml(job))
        going = _with(job.record, MIGRATING, mark)
        domains.write_record(job.domain, going)
        defining = False
        try:
            target = _bring_disks(job, there, target)
            _leave(job, mark, xml)
            there.storage.write_sidecar(target)
            defining = True
            domain = there.define(target)
        except BaseException:
            with contextlib.suppress(FlotillaError, libvirt.libvirtError):
                # Once its domain was asked for there, only that end can tell whether it has one.
                if not defining or _domain(there, job.record) is None:
                    _take_back(job, there, xml, going, ran=target.marks[MARK]["state"] == "running")
            raise
        domains.set_autostart(domain, handlers.autostart(target))
        job.told["record"], job.told["state"] = target.to_json(), domains.state_of(domain)
        return True, f"moved to {end['host']}"


def _take_back(job: Job, there: Host, xml: str, going: Record, *, ran: bool) -> None:
    """After a failure the server, which has no domain there, is here as it was, running if it ran. What can't be done
    now the next run does: with the record *going* it knows that something of the server may be left there."""
    record = going
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):
        _clear(job, there)
        record = job.record
    domain = _restore(job.host, xml, record)
    if ran:
        domains.start(domain)


def undo(job: Job) -> handlers.Outcome:
    """What a move that was cut off has left at the other end goes; here the server is what it was."""
    its = leaving(job.record)
    if its is None:
        return False, "it is here"
    record = job.target
    with other_end(job.host, job.order.options.get("peer")) as there:
        if _domain(there, record) is not None:
            raise Conflict(f"server {record.name!r} has a domain on {its.to.host} as well: nothing is touched")
        _clear(job, there)
    if its.left:
        _restore(job.host, str(its.xml), record)
    else:
        job.host.write(job.domain, record)
    job.told["migration"] = {"id": its.migration, "status": "failed", "left": False}
    return True, f"its move to {its.to.host} is undone"


def confirm(job: Job, its: Resize) -> handlers.Outcome:
    """The copy of before goes, with the disks that only it had."""
    record = job.target
    with other_end(job.host, job.order.options.get("peer")) as there:
        copy = _domain(there, record)
        if copy is not None:
            _must_be_copy(copy, its)
            # From here on there is no way back: the next run goes on with this if it is cut off.
            domains.write_record(job.domain, _with(job.record, MARK, {**job.record.marks[MARK], "confirm": True}))
            domains.undefine(copy, keep_variables=host_files.has_others_variables(copy, job.host.conn))
        gone = _delete_own(job, there)
    here = {disk.pool_id for disk in record.disks}
    references = job.host.references.renewed()
    for disk in superseded(job.record):
        if disk.pool_id in here:
            pool = job.host.storage.pool(disk.pool)
            gone += delete_volume(pool, disk.volume, server_id=record.id, references=references)
    job.host.write(job.domain, record)
    return True, f"confirmed, with {gone} volumes of before deleted"


def revert(job: Job, its: Resize) -> handlers.Outcome:
    """Back to the host that it left; what only this one has of it goes."""
    handlers.must_be_off(job)
    with other_end(job.host, job.order.options.get("peer")) as there:
        copy, now = _copy_of_before(job, there)
        before = leaving(now)
        if before is not None:
            _must_be_copy(copy, its)
            record = there.settle(job.order.target)
            if not its.reverting:
                handlers.must_stand_on_its_own(job, job.record)
                _define_away(job, _with(job.record, MARK, {**job.record.marks[MARK], "reverting": True}))
            references = job.host.references.renewed()
            for disk in map(job.host.storage.identified, added(job.record)):
                pool = job.host.storage.pool(disk.pool)
                delete_volume(pool, disk.volume, server_id=record.id, references=references)
            copy = _restore(there, str(before.xml), record)
        elif its.reverting:
            record = now
        else:
            raise Conflict(f"the domain on {_name_there(job)} is not the copy that {now.name} has left there")
        _delete_own(job, there, of=job.host)
        domains.undefine(job.domain, keep_variables=host_files.has_others_variables(job.domain, there.conn))
        job.told["record"], job.told["state"] = record.to_json(), domains.state_of(copy)
        return True, f"reverted to {_name_there(job)}"


def _copy_of_before(job: Job, there: Host) -> tuple[Domain, Record]:
    """What the move has left at the other end, with its record."""
    copy = _domain(there, job.order.target)
    record = None if copy is None else domains.record_of(copy)
    if copy is None or record is None:
        raise Conflict(
            f"server {job.order.name!r} has no copy of before on {_name_there(job)} any more: it can't be "
            "reverted; confirm it"
        )
    return copy, record


def _name_there(job: Job) -> str:
    return str(job.order.options["peer"]["host"])


def _pools_known(there: Host, record: Record) -> Record:
    """What disks are in is looked up there: the plan can't know it."""
    disks = tuple(there.storage.identified(dataclasses.replace(disk, pool_id=None)) for disk in record.disks)
    return dataclasses.replace(record, disks=disks)


def _bring_disks(job: Job, there: Host, target: Record) -> Record:
    """All disks of the server at the other end: those of a shared pool are there, others are copied, new ones made.
    A swap disk is made anew, as in Nova."""
    had = {disk.volume: disk for disk in job.record.disks}
    for disk in target.disks:
        old = had.get(disk.volume)
        if old is not None and disk.role != "swap" and not shared(job.host, there, disk.pool):
            copy_disk(job.host, there, old, job.record.image)
    target = handlers.with_disks(there, target)
    for disk in target.disks:
        there.storage.grow(disk)
    return target


def _leave(job: Job, mark: t.Mapping[str, t.Any], xml: str) -> None:
    """The domain here as one that can't start; what it was is in its record."""
    record = dataclasses.replace(job.record, generation=job.record.generation + 1)
    _define_away(job, _with(record, MARK, {**mark, "source": True, "xml": xml}))


def _define_away(job: Job, record: Record) -> None:
    root = ET.fromstring(plain_xml(handlers.existing_xml(job)))  # noqa: S314 - libvirt wrote it
    for source in root.iterfind("devices/disk/source"):
        for key in ("file", "dev", "volume", "name"):
            if key in source.attrib and not source.attrib[key].endswith(_AWAY):
                source.attrib[key] += _AWAY
    job.host.conn.defineXML(with_record(ET.tostring(root, encoding="unicode"), record))
    domains.set_autostart(job.domain, False)


def _restore(host: Host, xml: str, record: Record) -> Domain:
    """The very domain of before, with a record of now."""
    host.storage.write_sidecar(record)
    domain = host.conn.defineXML(with_record(xml, record))
    domains.set_autostart(domain, handlers.autostart(record))
    return domain


def _clear(job: Job, there: Host) -> None:
    """Take away what a move has made: at the other end all, in a shared pool what the server didn't have."""
    _delete_own(job, there)
    kept = {disk.volume for disk in job.record.disks} | {volume_of(job.order.server_id, "record")}
    references = job.host.references.renewed()
    for name in sorted({disk.pool for disk in job.record.disks}):
        if shared(job.host, there, name):
            pool = job.host.storage.pool(name)
            for volume in volumes_of(pool, job.order.server_id):
                if volume not in kept:
                    delete_volume(pool, volume, server_id=job.order.server_id, references=references)


def _delete_own(job: Job, there: Host, *, of: Host | None = None) -> int:
    """Delete the server's volumes of one host, the other's if none is named, in pools that both don't share."""
    host, server_id, gone = of or there, job.order.server_id, 0
    references = host.references.renewed()
    for name in sorted({disk.pool for disk in job.record.disks}):
        if not shared(job.host, there, name):
            pool = host.storage.pool(name)
            pool.refresh_once()
            for volume in volumes_of(pool, server_id):
                gone += _delete_released(pool, volume, server_id, references)
    return gone


def _delete_released(pool: Pool, name: str, server_id: str, references: References) -> bool:
    """Delete a volume, once libvirt lets go of it: the writer of one that was cut off may have died just now."""
    deadline = time.monotonic() + _RELEASED_WITHIN
    while True:
        try:
            return delete_volume(pool, name, server_id=server_id, references=references)
        except FlotillaError as exc:
            busy = exc.__cause__ is not None and is_error(t.cast(Exception, exc.__cause__), "VIR_ERR_OPERATION_INVALID")
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _must_be_copy(copy: Domain, its: Resize) -> None:
    """Refuse what is not the copy that this very move has left."""
    record = domains.record_of(copy)
    left = None if record is None else leaving(record)
    if left is None or not left.left or left.migration != its.migration or copy.isActive():
        raise Conflict(
            f"domain {copy.name()!r} on the other host is not the copy that migration {its.migration} has left there: "
            "nothing is touched"
        )


def _domain(host: Host, record: Record) -> Domain | None:
    domain: Domain | None = found(host.conn.lookupByUUIDString, record.id)
    return domain


def _with(record: Record, mark: str, value: t.Any) -> Record:
    return dataclasses.replace(record, marks={**record.marks, mark: value})


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {"migrate": migrate, "undo_migration": undo}

__all__ = ["HANDLERS", "check", "confirm", "migrate", "revert", "undo"]
