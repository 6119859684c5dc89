# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be so before a running guest is moved: all of it is looked at, and nothing has been touched then.

Note that this module util is **PRIVATE** to the collection.

Both hosts' libvirt are asked, never the inventory: whether a disk is shared is proved by a file made at one end and
seen at the other. The words are Nova's where it has some (nova/virt/libvirt/driver.py, nova/exception.py).
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import lacking, strangers, variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import handlers, host_files
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    found,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import is_ours
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import state_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import (
    is_same,
    is_shared,
    must_lead_to,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
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
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.streams import must_stand_on
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.transit import has_job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ways import (
    host_of_uri,
    last_migration_port,
    unreached,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the server's disks are to be: ``shared`` stay, ``copied`` are copied by libvirt, ``config`` comes along.

    ``paths``: by target, where each is at the destination.
    """

    shared: tuple[Disk, ...]
    copied: tuple[Disk, ...]
    config: tuple[Disk, ...]
    paths: t.Mapping[str, str]

    @property
    def made(self) -> tuple[Disk, ...]:
        """What is made at the destination, and goes at the source."""
        return (*self.config, *self.copied)


def check(job: Job, target: Record, far: Far, wish: Wish) -> Layout:
    """Where the disks go. Refused with a sentence for each thing that stands against the move."""
    _check_end(job, far)  # against anything else it would be useless to look
    reasons = [reason for _what, look in _LOOKS for reason in look(job, target, far, wish)]
    layout: Layout | None = None
    try:
        layout = _layout(job, far, wish, is_shared)
        reasons += [*_room(job, far, layout), *_image(job, far, layout)]
    except (FlotillaError, libvirt.libvirtError) as exc:
        reasons.append(message_of(exc))
    if reasons or layout is None:
        raise Refused(
            f"server {job.order.name!r} can't be moved to {far.end.host} while it runs: " + "; ".join(reasons)
        )
    return layout


def looks(job: Job, target: Record, far: Far, wish: Wish) -> list[Look]:
    """The same, each by itself, and without the test files: which pools are shared their marks say."""
    found = [looked("destination", functools.partial(_end_of, job, far))]
    if found[0].against:
        return found
    found += [looked(what, functools.partial(look, job, target, far, wish)) for what, look in _LOOKS]
    try:
        layout = _layout(job, far, wish, by_marks)
    except (FlotillaError, libvirt.libvirtError) as exc:
        return [*found, Look("disks", (message_of(exc),))]
    disks, image = (functools.partial(look, job, far, layout) for look in (_room, _image))
    return [*found, looked("disks", disks), looked("image", image)]


def _end_of(job: Job, far: Far) -> tuple[str, ...]:
    _check_end(job, far)
    return ()


def _check_end(job: Job, far: Far) -> None:
    here = job.host.conn
    if _host_uuid(here) == _host_uuid(far.conn):
        raise Refused(f"Unable to migrate instance ({job.order.server_id}) to current host ({far.end.host}).")
    must_be_it(far)
    if state_of(job.domain) not in ("running", "paused"):
        raise Refused(
            f"Cannot 'os-migrateLive' instance {job.order.server_id} while its guest is {state_of(job.domain)}"
        )
    if found(far.conn.lookupByUUIDString, job.order.server_id) is not None:
        raise Conflict(
            f"{far.end.host} has a domain of server {job.order.name!r} already: nothing was moved; "
            "find out which one is right, then undefine the other"
        )


def must_be_it(far: Far) -> None:
    """Refuse a host that is not the one that is meant: what it doesn't have says nothing."""
    must_lead_to(far.conn, far.end.host, far.end.uri, far.end.hostname)


def _host_uuid(conn: Connection) -> str:
    return str(ET.fromstring(conn.getCapabilities()).findtext("host/uuid"))  # noqa: S314 - libvirt wrote it


# -- the guest and its new host -----------------------------------------------------------------------------------


def _name(job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    other = found(far.conn.lookupByName, job.domain.name())
    if other is not None:
        yield f"another domain there ({other.UUIDString()}) has the name {job.domain.name()!r}"


def _versions(job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    for what, call in (("QEMU", "getVersion"), ("libvirt", "getLibVersion")):
        here, there = getattr(job.host.conn, call)(), getattr(far.conn, call)()
        if there < here:
            yield (
                "The instance requires a newer hypervisor version than has been provided. "
                f"({what} is {_version(here)} here and {_version(there)} there)"
            )


def _version(number: int) -> str:
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def _machine(job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    xml = job.domain.XMLDesc(0)
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    kind = root.find("os/type")
    emulator, machine = root.findtext("devices/emulator"), None if kind is None else kind.get("machine")
    arch = None if kind is None else kind.get("arch")
    its = (emulator, arch, machine, root.get("type"), 0)
    try:
        there = far.conn.getDomainCapabilities(*its)
    except libvirt.libvirtError as exc:
        yield f"its machine {machine!r} with {root.get('type')} and {emulator} can't be there: {message_of(exc)}"
        return
    for what in lacking(xml, job.host.conn.getDomainCapabilities(*its), there):
        yield f"{far.end.host} lacks {what}"
    yield from cpu(root, far, emulator=emulator, virt_type=root.get("type"))


def _attached(job: Job, _target: Record, _far: Far, _wish: Wish) -> t.Iterator[str]:
    paths = [job.host.storage.pool(disk.pool).path_of(disk.volume) for disk in job.record.disks]
    for stranger in strangers(job.domain.XMLDesc(0), paths):
        yield f"it has {stranger}, which can't move with it"
    try:
        handlers.must_stand_on_its_own(job, job.record)
    except Conflict as exc:
        yield str(exc)


def _variables(job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    """Libvirt writes the variables of its firmware to the very same path there, whatever is in that file."""
    file = variables_of(job.domain.XMLDesc(0))
    user = None if file is None else host_files.user_of_variables(far.conn, file)
    if user is not None:
        yield (
            f"the variables of its UEFI firmware go to {file}, where domain {user!r} there has its own: give that "
            "domain another file (`virsh edit`, nvram)"
        )


def _hardware(job: Job, target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    """What it is to have of cores, cells and pages: the guest keeps what it sees of them, and all must be there."""
    if target.fit is None and job.record.fit is None:
        return
    runs = Tuning.read(ET.fromstring(job.domain.XMLDesc(0)))  # noqa: S314 - libvirt wrote it
    had, gets = Tuning.of(job.record.fit), Tuning.of(target.fit)
    if gets.devices and not runs.devices:
        yield f"it is to have PCI devices ({', '.join(gets.devices)}), which a guest that runs can't be given"
    if (had.nodes or gets.nodes) and runs.shape != gets.shape:
        yield (
            f"its NUMA cells as it runs ({runs.shape_text}) are not those that it would have there "
            f"({gets.shape_text}), and a guest keeps its own as long as it runs: move it cold, with live: false"
        )
        return
    yield from given(gets, far)


def _networks(job: Job, target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    yield from networks(job, target, far)


def _filters(job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    yield from filters(job, far)


def _ports(_job: Job, _target: Record, far: Far, _wish: Wish) -> t.Iterator[str]:
    host, port = host_of_uri(str(far.end.uri)), last_migration_port()
    why = None if host is None else unreached(host, port)
    if why is not None:
        yield (
            f"port {port} of {host}, the last of those that memory and disks may be sent to, is not reached from here "
            f"({why}): open compute_host_migration_ports in the firewall of {far.end.host}"
        )


def _job_free(job: Job, _target: Record, _far: Far, _wish: Wish) -> t.Iterator[str]:
    if has_job(job.domain):
        yield "another job is at work on its domain (`virsh domjobinfo`): wait for its end"


_LOOKS = (
    ("name", _name),
    ("versions", _versions),
    ("machine and CPU", _machine),
    ("devices", _attached),
    ("firmware", _variables),
    ("cores and cells", _hardware),
    ("networks", _networks),
    ("filters", _filters),
    ("ports", _ports),
    ("job", _job_free),
)


# -- disks --------------------------------------------------------------------------------------------------------


def is_read_alone(disk: Disk) -> bool:
    """Whether it is a config drive that no guest writes to. One that is a disk (vfat) is copied as any other: the guest
    may have written to it, and libvirt moves no guest on a local disk that it doesn't copy."""
    return disk.role == "config" and disk.device == "cdrom"


def _layout(job: Job, far: Far, wish: Wish, is_one: t.Callable[[Pool, Pool, str], bool]) -> Layout:
    pools = {disk.pool for disk in job.record.disks}
    shared = {name: is_one(job.host.storage.pool(name), far.pool(name), job.order.server_id) for name in sorted(pools)}
    data = [disk for disk in job.record.disks if not is_read_alone(disk)]
    staying = tuple(disk for disk in job.record.disks if shared[disk.pool])
    copied = tuple(disk for disk in data if not shared[disk.pool])
    if wish.block_migration and len(copied) < len(data):
        raise Refused(
            f"{job.order.server_id} is not on local storage: Block migration can not be used with shared storage."
        )
    if wish.block_migration is False and copied:
        raise Refused(
            f"{job.order.server_id} is not on shared storage: Shared storage live-migration requires either shared "
            "storage or boot-from-volume with no local disks."
        )
    config = tuple(disk for disk in job.record.disks if is_read_alone(disk) and not shared[disk.pool])
    layout = Layout(staying, copied, config, {})
    _check_copied(job, layout)
    _check_free_names(far, layout)
    paths = {disk.target: far.pool(disk.pool).path_of(disk.volume) for disk in job.record.disks}
    return dataclasses.replace(layout, paths=paths)


def _check_copied(job: Job, layout: Layout) -> None:
    """What is copied is deleted at one end, which only what Flotilla made may be; and libvirt copies a disk without
    what is under it, which must be there."""
    for disk in layout.copied:
        if not is_ours(disk.volume, job.order.server_id):
            raise Refused(
                f"its disk {disk.volume!r} in pool {disk.pool!r} was made by others (it was adopted), and no live "
                "migration copies it: keep it in a pool that both hosts share, or move the server cold"
            )
        must_stand_on(job.host.storage.existing(disk), disk)


def by_marks(here: Pool, there: Pool, _server_id: str) -> bool:
    """The same as far as it can be told without a test file."""
    return is_same(here, there)


def _check_free_names(far: Far, layout: Layout) -> None:
    for disk in layout.made:
        pool = far.pool(disk.pool)
        if pool.find(disk.volume) is not None:
            raise Conflict(
                f"The supplied disk path ({pool.path_of(disk.volume)}) already exists, it is expected not to exist."
            )
        if not pool.can("create") or (is_read_alone(disk) and not pool.can("upload")):
            raise Refused(f"no volume can be made in pool {disk.pool!r} of {far.end.host}")
        if disk.format == "qcow2" and not pool.can("overlay"):
            raise Refused(f"pool {disk.pool!r} of {far.end.host} holds plain disks, and volume {disk.volume} is qcow2")


def _room(job: Job, far: Far, layout: Layout) -> t.Iterator[str]:
    needed: dict[str, int] = {}
    for disk in layout.made:
        written = int(job.host.storage.existing(disk).info()[2])
        needed[disk.pool] = needed.get(disk.pool, 0) + written
    image = images_to_bring(job.host.storage, far, layout.copied, job.record.image)
    yield from room(far, needed, image)


def _image(job: Job, far: Far, layout: Layout) -> t.Iterator[str]:
    yield from backing(job.host.storage, far, layout.copied, job.record.image)


__all__ = ["Layout", "by_marks", "check", "is_read_alone", "looks", "must_be_it"]
