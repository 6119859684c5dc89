# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A volume of one host copied to another over libvirt's streams: what is sparse stays so.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import rebased
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Image
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import libvirt, libvirt_error
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, file_size

_CHUNK = 1024 * 1024
#: libvirt's answer to a read where a hole begins.
_AT_HOLE = -3
#: A copy of an image that takes longer is a fault.
_IMAGE_WITHIN = 4 * 3600.0
#: The first cluster of a qcow2 file has all that names its base.
_HEAD = 64 * 1024
#: Seconds after which the next word is said of how far a copy is.
_TELL = 1.0


def copy_disk(here: Host, there: Host, disk: Disk, image: Image) -> None:
    """Copy a volume as it is, into a volume of the same name, which is made anew. What it stands on is there first."""
    source, goal = here.storage.pool(disk.pool), there.storage.pool(disk.pool)
    must_fit(source, goal, disk)
    volume = here.storage.existing(disk)
    must_stand_on(volume, disk)
    base = None
    if disk.backing is not None:
        base = _bring_base(here, there, disk, image)
    size = file_size(volume)
    made = goal.make(disk.volume, size, "raw")
    try:
        _copy(here, there, volume, made, size, sparse=goal.can("overlay"), told=_Told(here, disk, size))
        goal.refresh()
        if base is not None:
            _stand_on(goal, disk, base)
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "copy", f"volume {disk.volume!r} to the other host") from exc


def must_fit(source: Pool, goal: Pool, disk: Disk) -> None:
    """Refuse a pool of the other host that a volume of this one can't be copied into as it is."""
    if source.can("overlay") != goal.can("overlay") or not goal.can("upload"):
        raise Conflict(
            f"volume {disk.volume!r} can't go into pool {disk.pool!r} of the other host: it is of another type than "
            "here, or one that libvirt can't write to"
        )


def must_stand_on(volume: t.Any, disk: Disk) -> None:
    """Refuse a disk that stands on what its record doesn't name: there, that would be missing, or another file."""
    base = ET.fromstring(volume.XMLDesc(0)).findtext("backingStore/path")  # noqa: S314 - libvirt wrote it
    if base is not None and base.rpartition("/")[2] != disk.backing:
        raise Conflict(
            f"volume {disk.volume!r} stands on {base!r}, which its server's record doesn't name: it is not moved; with "
            "the guest running, make it whole with virsh blockpull, and try again"
        )


class _Told:
    """How far the copy of a disk is, told every second or so."""

    def __init__(self, here: Host, disk: Disk, size: int) -> None:
        self._host, self._disk, self._size = here, disk, size
        self._done, self._last = 0, time.monotonic()

    def add(self, length: int) -> None:
        self._done += length
        now = time.monotonic()
        if now - self._last >= _TELL:
            self._last = now
            self._host.report({"done": self._done, "total": self._size, "phase": f"copying {self._disk.role}"})


def _copy(here: Host, there: Host, source: t.Any, goal: t.Any, size: int, *, sparse: bool, told: _Told) -> None:
    out, back = here.conn.newStream(0), there.conn.newStream(0)
    try:
        source.download(out, 0, size, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM if sparse else 0)
        goal.upload(back, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM if sparse else 0)
        while True:
            data = out.recvFlags(_CHUNK, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE if sparse else 0)
            if data == _AT_HOLE:
                hole = out.recvHole(0)
                back.sendHole(hole, 0)
                told.add(hole)
            elif not data:
                break
            elif isinstance(data, int):
                raise FlotillaError("libvirt gives no more of the volume; run again")
            else:
                told.add(len(data))
                while data:
                    data = data[back.send(data) :]
        back.finish()
        out.finish()
    except BaseException:
        for stream in (out, back):
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
        raise


def _bring_base(here: Host, there: Host, disk: Disk, image: Image) -> str:
    """The path, there, of the image that a disk stands on: fetched from here if it isn't there, by its checksum."""
    pool = here.storage.pool(disk.pool)
    volume = pool.find(str(disk.backing))
    if image.volume != disk.backing or volume is None:
        raise Conflict(
            f"volume {disk.volume!r} stands on {disk.backing!r}, which is not the image of its server's record, or is "
            "gone: it is not moved"
        )
    goal = there.storage.pool(disk.pool)
    here.report({"phase": f"bringing image {image.name}"})
    place: dict[str, t.Any] = {"state_dir": here.state_dir, "run_id": here.run_id, "timeout": _IMAGE_WITHIN}
    images.fetch(there.conn, image, lambda: pool.open(volume), pool=goal.handle, **place)
    return goal.path_of(image.volume)


def _stand_on(pool: Pool, disk: Disk, base: str) -> None:
    """Pools may have other paths there: the copy names its base by the path that it has there."""
    volume = pool.find(disk.volume)
    if volume is None:
        raise FlotillaError(f"the copy of volume {disk.volume!r} has vanished; run again")
    head = pool.download(volume, min(_HEAD, file_size(volume)))
    changed = rebased(head, base)
    if changed != head:
        pool.upload(volume, changed)
        pool.refresh()


__all__ = ["copy_disk", "must_fit", "must_stand_on"]
