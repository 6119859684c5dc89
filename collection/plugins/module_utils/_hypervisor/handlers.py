# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each kind of step does to a server on this host.

Note that this module util is **PRIVATE** to the collection.

A handler is called under the server's lock, with its domain and record as they are now. It may be killed between any
two calls of libvirt, and run again: so what marks a thing as complete always comes last (the root disk after the other
volumes, the domain after its disks, the record after the deed), and what is there is never made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import (
    console_log,
    domain_name,
    read_domain,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidRecord,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import defined_anew
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Image, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.rebuilding import begun, cut_off
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import config_drive, domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import libvirt
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    check_deletable,
    delete_volume,
    is_ours,
    volumes_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pinning import pin
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool

Outcome = tuple[bool, str]
Handler = t.Callable[[Job], Outcome]


# --- made and unmade


def _create(job: Job) -> Outcome:
    if job.done:
        return False, "it is there"
    make(job, job.target)
    return True, "created"


def _define(job: Job) -> Outcome:
    if job.done:
        return False, "it is there"
    record = job.target
    for disk in record.disks:
        if disk.role != "config":
            job.host.storage.existing(disk)
    make(job, record)
    return True, "defined on the disks that were there"


def make(job: Job, record: Record, images: t.Mapping[str, Image] | None = None) -> None:
    """Disks, sidecar, domain. What fails leaves nothing of its own: no guest has seen the volumes that it made.

    ``images``: by role, what disks are full copies of, where that isn't the record's image.
    """
    if job.present is not None:
        raise Conflict(f"server {record.name!r} is on this host already, with generation {job.record.generation}")
    storage = job.host.storage
    try:
        record = with_disks(job.host, defined_anew(record), images)
        storage.write_sidecar(record)
        job.host.define(record)
        _tell_places(job.host, record)
    except (FlotillaError, libvirt.libvirtError):
        for pool, name in storage.made_for(record.id):
            with contextlib.suppress(FlotillaError, libvirt.libvirtError):
                delete_volume(pool, name, server_id=record.id, references=job.host.references)
        raise


def delete(job: Job) -> Outcome:
    """Last of all goes the sidecar: as long as anything of the server is left, its record is."""
    record = job.order.record if job.present is None else job.record
    server_id, references = job.order.server_id, job.host.references
    named = volumes_to_delete(job, record)
    volumes = [(pool, name) for pool, name in named if is_ours(name, server_id)]
    left = ", ".join(f"{name} in pool {pool.name}" for pool, name in named if not is_ours(name, server_id))
    # All are looked at before anything is touched: what fails leaves the server as it was, running if it was.
    for pool, name in volumes:
        check_deletable(pool, name, server_id=server_id, references=references)
    if job.present is not None:
        domains.must_not_be_elsewhere(job.domain)
        domains.kill(job.domain)
        domains.undefine(job.domain)
    gone = [name for pool, name in volumes if delete_volume(pool, name, server_id=server_id, references=references)]
    with contextlib.suppress(OSError):
        os.unlink(console_log(server_id))
    changed = job.present is not None or bool(gone)
    told = f"deleted, with {len(gone)} volumes" if changed else "it was gone"
    return changed, f"{told}; left, for others have made them: {left}" if left else told


def _undefine(job: Job) -> Outcome:
    if job.present is None:
        return False, "it was gone"
    # The server, which is elsewhere, may have the variables of its firmware in the same file.
    domains.undefine(job.present.domain, keep_variables=True)
    return True, "undefined; its disks are left as they are"


def _adopt(job: Job) -> Outcome:
    """A server that came here by other ways than ours: from now on it is this host's."""
    changed = domains.keep(job.domain)
    record = job.order.record or dataclasses.replace(
        job.record, generation=job.record.generation + (0 if job.done else 1)
    )
    disks = tuple(dataclasses.replace(disk, pool_id=None) for disk in record.disks)
    record = job.host.settle(dataclasses.replace(record, host_id=None, disks=disks))
    if record == job.record or (not changed and job.order.record is None and job.record.host_id == job.host.host_id):
        return changed, "it was this host's"
    job.host.write(job.domain, record)
    return True, "adopted"


def _soft_delete(job: Job) -> Outcome:
    """Off, renamed and marked, so that a successor can have its name; the disks wait to be reclaimed."""
    changed = domains.kill(job.domain)
    # A saved memory would stand in the way of the new name; Nova, too, only keeps the disks.
    if job.domain.hasManagedSaveImage():
        job.domain.managedSaveRemove()
    domains.set_autostart(job.domain, False)
    record, marked = job.record, job.done or "soft_delete" in job.record.marks
    if not marked:
        mark = {"at": time.time()}
        record = job.order.record or dataclasses.replace(
            record, marks={**record.marks, "soft_delete": mark}, generation=record.generation + 1
        )
        record = job.host.settle(record)
    # The name first: one that is marked counts as done, and its old name must be free then.
    changed |= domains.rename(job.host.conn, job.domain, domain_name(record))
    if not marked:
        job.host.write(job.domain, record)
        changed = True
    return changed, f"deleted softly, as {domain_name(record)!r}"


def _restore(job: Job) -> Outcome:
    marks = {key: value for key, value in job.record.marks.items() if key != "soft_delete"}
    record = job.order.record or dataclasses.replace(job.record, marks=marks, generation=job.record.generation + 1)
    if job.order.record is None and marks == job.record.marks:
        record = job.record
    record = job.host.settle(record)
    # The name first: while the mark is there, the server still counts as deleted.
    changed = domains.rename(job.host.conn, job.domain, domain_name(record))
    changed |= domains.set_autostart(job.domain, autostart(record))
    if record != job.record:
        job.host.write(job.domain, record)
        changed = True
    return changed, "restored"


# --- power


def _power(deed: t.Callable[[Job], bool], message: str) -> Handler:
    """A power step: the deed, then the new record if the plan has one."""

    def handler(job: Job) -> Outcome:
        changed = deed(job)
        if job.order.record is not None and not job.done:
            job.host.write(job.domain, job.host.settle(job.order.record))
            changed = True
        return changed, message if changed else "nothing to do"

    return handler


def _start(job: Job) -> bool:
    must_be_whole(job)
    renamed = _regain_name(job)
    config_drive.renew(job, job.record)
    return domains.start(job.domain) or renamed


def _stop(job: Job) -> bool:
    if not job.order.options.get("wait", True):
        return domains.press(job.domain)
    return domains.stop(job.domain, timeout=job.order.timeout)


def _pause(job: Job) -> bool:
    if domains.state_of(job.domain) != "running":
        return False
    job.domain.suspend()
    return True


def _unpause(job: Job) -> bool:
    if domains.state_of(job.domain) != "paused":
        return False
    job.domain.resume()
    _tell_time(job)
    return True


def _suspend(job: Job) -> bool:
    if not job.domain.isActive():
        return False
    domains.keep(job.domain)
    job.domain.managedSave(0)
    return True


def _resume(job: Job) -> bool:
    if domains.state_of(job.domain) != "suspended":
        return False
    job.domain.create()
    _tell_time(job)
    return True


def _tell_time(job: Job) -> None:
    # Here, for most steps need nothing of it.
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent

    if job.record.hardware.guest_agent:
        agent.tell_time(job.domain)


# --- changed


def _pin(job: Job) -> bool:
    """Its cores may be another's by now if it runs on others than its own."""
    return pin(job.domain, Tuning.of(job.record.fit))


def _update(job: Job) -> Outcome:
    record = job.host.settle(job.order.target)
    changed = domains.set_autostart(job.domain, autostart(record))
    # Before the record, by which the next run would take the drive for made where this one is killed.
    drive = config_drive.renew_live(job, record)
    if record != job.record:
        job.host.write(job.domain, record)
        changed = True
    told = [*(["record written"] if changed else []), *([drive] if drive else [])]
    return changed or bool(drive), ", ".join(told) or "nothing to do"


def _reconfigure(job: Job) -> Outcome:
    if job.done:
        return False, "it is so"
    refit(job, job.target)
    return True, "defined anew"


def refit(job: Job, record: Record) -> None:
    """The server, which must be off, as *record* says: disks made and grown, then the domain."""
    must_be_off(job)
    # By what was applied: a disk that goes may leave its place to a new one.
    must_stand_on_its_own(job, job.record)
    record = with_disks(job.host, record)
    for disk in record.disks:
        job.host.storage.grow(disk)
    redefine(job, record)


def _rebuild(job: Job) -> Outcome:
    """A fresh root disk from the record's image. Ephemeral and swap disks stay: only the root is the image's."""
    if job.done:
        return False, "it is so"
    must_be_off(job)
    record, old = job.target, job.record.root
    must_stand_on_its_own(job, job.record)
    # First see that a fresh one can be made: the old one is not given up for an image that isn't there, or too large.
    job.host.storage.require_image(record.root, record.image)
    ours, pool = is_ours(old.volume, record.id), job.host.storage.pool(old.pool)
    if ours:
        _give_up_root(job, record, pool)
    record = with_disks(job.host, record)
    redefine(job, record)
    left = "" if ours else f"; its old disk {old.volume} is left in pool {old.pool}"
    return True, f"rebuilt from image {record.image.name!r}{left}"


def _give_up_root(job: Job, record: Record, pool: Pool) -> None:
    """Delete the old root disk, and say so first: the next run must know of it, for inventory may say nothing of what
    an action was asked for. Where it can't be deleted the server is as it was, and may be started."""
    name, references = job.record.root.volume, job.host.references
    check_deletable(pool, name, server_id=record.id, references=references)
    domains.write_record(job.domain, begun(job.record, record))
    try:
        delete_volume(pool, name, server_id=record.id, references=references)
    except FlotillaError:
        if pool.find(name) is not None:
            domains.write_record(job.domain, job.record)
        raise


def redefine(job: Job, record: Record) -> None:
    """The domain as its record says, off; only what its firmware keeps is taken over from the one that is there."""
    _regain_name(job)
    record = defined_anew(record)
    job.host.storage.write_sidecar(record)
    domain = job.host.define(record, existing=existing_xml(job))
    domains.set_autostart(domain, autostart(record))


def _regain_name(job: Job) -> bool:
    """A domain that a killed soft_delete has renamed, but not marked, is a server like any other: it gets its name
    back. Whoever else renamed it meant it."""
    deleted = dataclasses.replace(job.record, marks={"soft_delete": {}})
    if job.domain.isActive() or job.domain.name() != domain_name(deleted):
        return False
    return domains.rename(job.host.conn, job.domain, domain_name(job.record))


def existing_xml(job: Job) -> str:
    return str(job.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def must_stand_on_its_own(job: Job, record: Record) -> None:
    """Refuse to give a domain back a disk that it has left: what was written since is in another file.

    An external snapshot does this (backup tools make them); the old disk, once written to, spoils it for good.
    """
    files = {disk.target: disk.source for disk in read_domain(existing_xml(job)).disks}
    for disk in record.disks:
        file, own = files.get(disk.target), job.host.storage.pool(disk.pool).path_of(disk.volume)
        if disk.role == "config" or file is None or file == f"{disk.pool}/{disk.volume}":
            continue
        if os.path.realpath(file) != os.path.realpath(own):
            # Without a base it would be merged into the image under our volume, and the image be spoiled for all.
            merge = shlex.join(["virsh", "blockcommit", job.domain.name(), disk.target, "--base", own])
            raise Conflict(
                f"disk {disk.target} of server {record.name!r} is {file!r}, not its own volume {own!r} (a snapshot "
                "made by hand?): nothing is changed. With the guest running, merge it back: "
                f"`{merge} --active --pivot`, then run again"
            )


def must_be_whole(job: Job) -> None:
    if cut_off(job.record):
        raise Conflict(
            f"a rebuild of server {job.order.name!r} was cut off, so its root disk is not whole; "
            "rebuild it, or let the reconcile playbook do so"
        )


def must_be_off(job: Job) -> None:
    domains.must_not_be_elsewhere(job.domain)
    state = domains.state_of(job.domain)
    if state != "shutoff":
        raise Conflict(
            f"server {job.order.name!r} is {state} and must be off for this ({job.order.kind}); stop it first"
        )


def with_disks(host: Host, record: Record, images: t.Mapping[str, Image] | None = None) -> Record:
    """Make the volumes that are missing, the root last: where it is, a killed run had made the others."""
    made = {}
    for disk in sorted(record.disks, key=lambda disk: disk.role == "root"):
        image = None if images is None else images.get(disk.role)
        made[disk.volume] = _ensure(host, record, disk) if image is None else host.storage.ensure_root(disk, image)
    return dataclasses.replace(record, disks=tuple(made[disk.volume] for disk in record.disks))


def _ensure(host: Host, record: Record, disk: Disk) -> Disk:
    if disk.role == "root":
        return host.storage.ensure_root(disk, record.image)
    if disk.role == "config":
        return host.storage.ensure_config(disk, host.drive(record))
    return host.storage.ensure_blank(disk, record.id)


def _tell_places(host: Host, record: Record) -> None:
    """Once libvirt has given its devices their places the server's drive says where they are."""
    if host.drives.get(record.id) is not None:
        for disk in record.disks:
            if disk.role == "config":
                host.storage.ensure_config(disk, host.drive(record))


def volumes_to_delete(job: Job, record: Record | None) -> list[tuple[Pool, str]]:
    """The server's volumes in the pools of its record, or in all pools if nobody has one; the sidecars last."""
    server_id = job.order.server_id
    record = record or _sidecar(job)
    if record is None:
        pools, named = job.host.storage.active_pools(), set()
    else:
        named = {(disk.pool, disk.volume) for disk in map(job.host.storage.identified, record.disks)}
        pools = [job.host.storage.pool(name) for name in sorted({disk.pool for disk in record.disks})]
    # Libvirt's list of a pool may be old: what the record names is looked for all the same.
    named |= {(pool.name, name) for pool in pools for name in volumes_of(pool, server_id)}
    sidecar = volume_of(server_id, "record")
    ordered = sorted(named, key=lambda pair: (pair[1] == sidecar, pair))
    return [(job.host.storage.pool(pool), name) for pool, name in ordered]


def _sidecar(job: Job) -> Record | None:
    for pool in job.host.storage.active_pools():
        with contextlib.suppress(InvalidRecord):
            record = job.host.storage.read_sidecar(pool, job.order.server_id)
            if record is not None:
                return record
    return None


def autostart(record: Record) -> bool:
    return bool(record.spec.get("autostart", False)) and "soft_delete" not in record.marks


HANDLERS: t.Final[t.Mapping[str, Handler]] = {
    "adopt": _adopt,
    "create": _create,
    "define": _define,
    "delete": delete,
    "pause": _power(_pause, "paused"),
    "pin": _power(_pin, "pinned as it was given"),
    "rebuild": _rebuild,
    "reconfigure": _reconfigure,
    "restore": _restore,
    "resume": _power(_resume, "resumed"),
    "soft_delete": _soft_delete,
    "start": _power(_start, "started"),
    "stop": _power(_stop, "stopped"),
    "suspend": _power(_suspend, "suspended"),
    "undefine": _undefine,
    "unpause": _power(_unpause, "unpaused"),
    "update": _update,
}

__all__ = [
    "HANDLERS",
    "Handler",
    "Outcome",
    "autostart",
    "existing_xml",
    "must_be_off",
    "must_be_whole",
    "must_stand_on_its_own",
    "redefine",
    "refit",
    "with_disks",
]
