# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be so before a server is shut down for a move to another host, and before it is moved while it is off.

Note that this module util is **PRIVATE** to the collection.

All of it is looked at, and nothing has been touched then. There the server is defined anew, from its record: what its
domain has beside that would be left behind.
"""

from __future__ import annotations

import functools
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import domain_name
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import unrecorded
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving, resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import handlers
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.capabilities import machine_name, virt_type
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    found,
    libvirt,
    message_of,
    supported,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import volumes_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import is_same, is_shared, other_end
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import (
    Far,
    Look,
    backing,
    cpu,
    filters,
    given,
    images_to_bring,
    looked,
    networks,
    room,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.streams import must_fit, must_stand_on
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.transit import has_job

#: Whether a pool of both hosts is one and the same: here, there, and the server's id.
_IsOne = t.Callable[[Pool, Pool, str], bool]


def check(job: Job, there: Host) -> None:
    """Refused, with a sentence for each thing that stands against the move of a server that is off, or is to be."""
    target, far = job.order.target, _far(job, there)
    _check_end(job, far)  # against anything else it would be useless to look
    found = [looked(what, functools.partial(look, job, target, far)) for what, look in _LOOKS]
    found.append(looked("disks", functools.partial(_disks, job, target, far, is_shared)))
    reasons = [reason for look in found for reason in look.against]
    if reasons:
        raise Refused(f"server {target.name!r} can't be moved to {far.end.host}: " + "; ".join(reasons))


def looks(job: Job) -> list[Look]:
    """The same, each by itself, and without the test files: which pools are shared their marks say."""
    target = job.order.target
    try:
        with other_end(job.host, job.order.options.get("peer")) as there:
            far = _far(job, there)
            _check_end(job, far)
            found = [
                Look("destination"),
                *(looked(what, functools.partial(look, job, target, far)) for what, look in _LOOKS),
            ]
            return [*found, looked("disks", functools.partial(_disks, job, target, far, _by_marks))]
    except (FlotillaError, libvirt.libvirtError) as exc:
        return [Look("destination", (message_of(exc),))]


def _far(job: Job, there: Host) -> Far:
    peer = job.order.options["peer"]
    return Far(End.from_json(peer), there.conn, there.storage, peer.get("bridges"))


def _check_end(job: Job, far: Far) -> None:
    if resize_of(job.record) is not None or leaving(job.record) is not None:
        raise Conflict(f"server {job.order.name!r} is on its way already; confirm, revert or reconcile that first")
    if found(far.conn.lookupByUUIDString, job.order.server_id) is not None:
        raise Conflict(
            f"{far.end.host} has a domain of server {job.order.name!r} already: nothing is moved; "
            "find out which one is right, then undefine the other"
        )


# -- the guest and its new host -----------------------------------------------------------------------------------


def _name(_job: Job, target: Record, far: Far) -> t.Iterator[str]:
    other = found(far.conn.lookupByName, domain_name(target))
    if other is not None:
        yield f"another domain there ({other.UUIDString()}) has the name {domain_name(target)!r}"


def _machine(job: Job, target: Record, far: Far) -> t.Iterator[str]:
    arch, machine = target.hardware.arch, target.hardware.machine
    try:
        machine_name(far.conn, arch, machine)
    except InvalidInput as exc:
        yield f"on {far.end.host}: {exc}"
        return
    kind = virt_type(far.conn, arch)
    text = supported(far.conn.getDomainCapabilities, None, arch, machine, kind)
    if text is not None and target.hardware.firmware == "uefi":
        known = {value.text for value in ET.fromstring(text).iterfind("os/enum[@name='firmware']/value")}  # noqa: S314
        if "efi" not in known:
            yield f"{far.end.host} lacks UEFI firmware"
    root = ET.fromstring(handlers.existing_xml(job))  # noqa: S314 - libvirt wrote it
    yield from cpu(root, far, emulator=None, virt_type=kind)


def _devices(job: Job, _target: Record, _far: Far) -> t.Iterator[str]:
    more = unrecorded(handlers.existing_xml(job), job.record)
    if more:
        yield (
            f"it has {', '.join(more)}, which its record doesn't know and which would not come along; take that from "
            f"its domain first (`virsh edit {job.domain.name()}`)"
        )
    try:
        handlers.must_stand_on_its_own(job, job.record)
    except Conflict as exc:
        yield str(exc)


def _hardware(_job: Job, target: Record, far: Far) -> t.Iterator[str]:
    yield from given(Tuning.of(target.fit), far)


def _filters(job: Job, _target: Record, far: Far) -> t.Iterator[str]:
    yield from filters(job, far)


def _job_free(job: Job, _target: Record, _far: Far) -> t.Iterator[str]:
    if has_job(job.domain):
        yield "another job is at work on its domain (`virsh domjobinfo`): wait for its end"


_LOOKS: t.Final = (
    ("name", _name),
    ("machine and CPU", _machine),
    ("devices", _devices),
    ("cores and cells", _hardware),
    ("networks", networks),
    ("filters", _filters),
    ("job", _job_free),
)


# -- disks --------------------------------------------------------------------------------------------------------


def _by_marks(here: Pool, there: Pool, _server_id: str) -> bool:
    return is_same(here, there)


def _disks(job: Job, target: Record, far: Far, is_one: _IsOne) -> t.Iterator[str]:
    """Those of pools that both hosts share stay where they are; the others are copied, or made anew (swap, drive)."""
    here = job.host.storage
    pools = sorted({disk.pool for disk in (*job.record.disks, *target.disks)})
    own = {name for name in pools if not is_one(here.pool(name), far.pool(name), target.id)}
    for name in sorted(own):
        yield from _left_over(job, far.pool(name))
    had = {disk.volume for disk in job.record.disks}
    coming = [disk for disk in target.disks if disk.pool in own]
    copied = [disk for disk in coming if disk.volume in had and disk.role != "swap"]
    for disk in coming:
        if not far.pool(disk.pool).can("create"):
            yield f"no volume can be made in pool {disk.pool!r} of {far.end.host}"
    for disk in copied:
        must_fit(here.pool(disk.pool), far.pool(disk.pool), disk)
        must_stand_on(here.existing(disk), disk)
    yield from backing(here, far, copied, job.record.image)
    needed: dict[str, int] = {}
    for disk in coming:
        needed[disk.pool] = needed.get(disk.pool, 0) + _size(job, far, disk, is_copied=disk in copied)
    yield from room(far, needed, images_to_bring(here, far, copied, job.record.image))


def _left_over(job: Job, pool: Pool) -> t.Iterator[str]:
    """Whatever a move made there went with its undoing; this may be the disk of another life of the server."""
    pool.refresh_once()
    left = volumes_of(pool, job.order.server_id)
    if left:
        yield (
            f"it has volumes in pool {pool.name!r} of the other host already ({', '.join(left)}): look what is in "
            "them, and delete or rename them there"
        )


def _size(job: Job, far: Far, disk: Disk, *, is_copied: bool) -> int:
    """Bytes that a disk takes there at once: all of it where the pool has no sparse ones, else what is written."""
    written = int(job.host.storage.existing(disk).info()[2]) if is_copied else 0
    return written if far.pool(disk.pool).can("overlay") else max(written, disk.size)


__all__ = ["check", "looks"]
