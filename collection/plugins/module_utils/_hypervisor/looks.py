# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the destination of a move must have, whether the guest runs or is off: each look yields what stands against it.

Note that this module util is **PRIVATE** to the collection.

Libvirt is asked, never the inventory. The words are Nova's where it has some (nova/exception.py). Nothing is touched.
"""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import format_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Image, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import is_hosts_own
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.capabilities import cpu_lacks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    found,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, Storage


@dataclasses.dataclass(frozen=True)
class Far:
    """The other end of a move: its libvirt, and its volumes."""

    end: End
    conn: Connection
    storage: Storage
    bridges: t.Sequence[str] | None = None

    def pool(self, name: str) -> Pool:
        """Its pool of that name; Refused if it has none that is up."""
        try:
            return self.storage.pool(name)
        except InvalidInput as exc:
            raise Refused(f"on {self.end.host} {exc}") from exc


@dataclasses.dataclass(frozen=True)
class Look:
    """One thing that was looked at; ``against``: what stands against the move, a sentence each."""

    what: str
    against: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        return {"check": self.what, "against": list(self.against)}


def looked(what: str, look: t.Callable[[], t.Iterable[str]]) -> Look:
    """What a look finds, or why it could not be taken."""
    try:
        return Look(what, tuple(look()))
    except (FlotillaError, libvirt.libvirtError) as exc:
        return Look(what, (message_of(exc),))


# -- the guest ----------------------------------------------------------------------------------------------------


def cpu(root: ET.Element, far: Far, *, emulator: str | None, virt_type: str | None) -> t.Iterator[str]:
    """The CPU of a domain (its XML), with all of it that is written out, against what the destination can give."""
    asked, kind = root.find("cpu"), root.find("os/type")
    if asked is None or asked.find("model") is None or kind is None:
        return
    of: dict[str, t.Any] = {"arch": kind.get("arch"), "machine": kind.get("machine"), "virt_type": virt_type}
    why = cpu_lacks(far.conn, ET.tostring(asked, encoding="unicode"), emulator=emulator, **of)
    if why:
        named = f"{far.end.host} {why}" if why.startswith("lacks ") else why
        yield f"Unacceptable CPU info: CPU doesn't have compatibility. ({named})"


def given(its: Tuning, far: Far) -> t.Iterator[str]:
    """The cores and the pages of the destination that the guest is to have there."""
    if its.cpus:
        online = {cpu for cpu, is_online in enumerate(far.conn.getCPUMap(0)[1]) if is_online}
        if not its.cpus <= online:
            yield f"it would be given CPU {format_cpus(its.cpus - online)} there, which is not online"
    for (cell, size), count in its.huge_pages.items():
        free = far.conn.getFreePages([size], cell, 1, 0)[cell][size]
        if free < count:
            yield f"its memory takes {count} pages of {size} KiB on cell {cell} there, and {free} are free"


# -- its networks -------------------------------------------------------------------------------------------------


def networks(job: Job, target: Record, far: Far) -> t.Iterator[str]:
    """What its ports are in. Option ``host_network`` of the step: there is leave to leave its peers."""
    for nic in target.nics:
        if nic.kind == "bridge":
            if far.bridges is not None and nic.source not in far.bridges:
                yield f"there is no bridge {nic.source!r} for network {nic.network!r} there"
            continue
        network = found(far.conn.networkLookupByName, nic.source)
        if network is None or not network.isActive():
            yield f"the libvirt network {nic.source!r} of network {nic.network!r} is not active there"
            continue
        if is_hosts_own(network.XMLDesc(0)) and not job.order.options.get("host_network"):
            yield (
                f"the libvirt network {nic.source!r} is one of each host's own: its peers would not find it there; "
                "-e fleet_allow=host_network moves it all the same"
            )


def filters(job: Job, far: Far) -> t.Iterator[str]:
    """The filters that its ports name."""
    root = ET.fromstring(job.domain.XMLDesc(0))  # noqa: S314 - libvirt wrote it
    names = {str(each.get("filter")) for each in root.iterfind("devices/interface/filterref")}
    for name in sorted(names):
        if found(far.conn.nwfilterLookupByName, name) is None:
            yield f"the filter {name!r} of its ports is not there"


# -- its disks ----------------------------------------------------------------------------------------------------


def backing(here: Storage, far: Far, disks: t.Iterable[Disk], image: Image) -> t.Iterator[str]:
    """What those of its *disks* stand on that are copied: there, or here, from where it is brought."""
    standing = [disk for disk in disks if disk.backing is not None]
    for disk in standing:
        if disk.backing != image.volume:
            yield f"its disk {disk.volume!r} stands on {disk.backing!r}, which is not its image {image.volume!r}"
    for name in sorted({disk.pool for disk in standing if disk.backing == image.volume}):
        if not _is_there(far, name, image) and here.pool(name).find(image.volume) is None:
            yield f"its image {image.name!r} ({image.volume}) is in pool {name!r} of neither host"


def images_to_bring(here: Storage, far: Far, disks: t.Iterable[Disk], image: Image) -> dict[str, int]:
    """The pools there that get the image first, with what it takes, in bytes."""
    found: dict[str, int] = {}
    for name in sorted({disk.pool for disk in disks if disk.backing == image.volume}):
        volume = None if _is_there(far, name, image) else here.pool(name).find(image.volume)
        if volume is not None:
            found[name] = int(volume.info()[2])
    return found


def room(far: Far, needed: t.Mapping[str, int], image: t.Mapping[str, int]) -> t.Iterator[str]:
    """What is *needed* of each pool there for disks, and for the *image* under them, in bytes. Sparse stays sparse:
    what is really written is what is needed."""
    for name in sorted({*needed, *image}):
        size, free = needed.get(name, 0) + image.get(name, 0), int(far.pool(name).handle.info()[3])
        if free < size:
            what = f"its disks{', with the image under them,' if image.get(name) else ''}"
            yield f"{what} take {size / GIB:.3g} GiB, and pool {name!r} there has {free / GIB:.3g} GiB free"


def _is_there(far: Far, pool: str, image: Image) -> bool:
    its = far.pool(pool)
    stored = None if its.find(image.volume) is None else images.look_up(its.handle, image)
    return stored is not None and stored.complete


__all__ = [
    "Far",
    "Look",
    "backing",
    "cpu",
    "filters",
    "given",
    "images_to_bring",
    "looked",
    "networks",
    "room",
]
