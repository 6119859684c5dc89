# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes of servers in libvirt's storage pools: made, grown, written; never overwritten. Deletion is in `deletion`.

Note that this module util is **PRIVATE** to the collection.

Ephemeral disks are blank: libvirt has no call that makes a file system in a volume (Nova calls mkfs). A swap disk gets
its header, which is one page. No step refreshes a pool that need not be: that opens every volume in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import Source
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    BuildAbort,
    Conflict,
    FlotillaError,
    InvalidInput,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Image, Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import pack_sidecar, read_sidecar
from ansible_collections.flotilla.compute.plugins.module_utils._core.swap import PAGE, swap_header
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Volume,
    found,
    is_error,
    libvirt,
    libvirt_error,
    message_of,
    supported,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import (
    CAPABILITIES,
    MARKER,
    listed,
    markers,
)

#: A pool can't be refreshed while a volume is being made or filled in it.
_REFRESH_WITHIN = 60.0
#: A copy of an image that another call began may take long; one that takes longer is a fault.
_BUILT_WITHIN = 1800.0
_CHUNK = 1024 * 1024


class VolumeReader:
    """A volume while it is read (sources.Reader). ``size`` in bytes."""

    def __init__(self, stream: t.Any, size: int) -> None:
        self.size = size
        self._stream = stream
        self._left = size

    def read(self, length: int) -> bytes:
        """Up to *length* bytes; fewer only at the end."""
        parts: list[bytes] = []
        wanted = min(length, self._left)
        while wanted > 0:
            part = self._stream.recv(min(_CHUNK, wanted))
            if not part:
                self._left = 0
                break
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
        return b"".join(parts)


class Pool:
    """One active pool of this host, for one module call."""

    def __init__(self, conn: Connection, name: str) -> None:
        self.name = name
        self._conn = conn
        handle = found(conn.storagePoolLookupByName, name)
        if handle is None:
            raise InvalidInput(
                f"this host has no storage pool {name!r}; name another (server_pool), or define and start it"
            )
        if not handle.isActive():
            raise InvalidInput(f"storage pool {name!r} of this host is not active; start it: virsh pool-start {name}")
        self._handle = handle
        #: The volumes that this call has made here.
        self.made: list[str] = []
        self._refreshed = False
        self._markers: list[str] = []
        self._type: str | None = None

    @property
    def id(self) -> str:
        """The smallest of the pool's markers: two hosts that share it see the same."""
        marked = self.markers()
        if not marked:
            raise InvalidInput(
                f"storage pool {self.name!r} of this host has no marker volume {MARKER}…; enroll the host first"
            )
        return marked[0]

    def markers(self, wanted: str | None = None) -> list[str]:
        """The pool's ids; libvirt looks afresh where it knows none, or not the one that is wanted."""
        if not self._markers:
            self._markers = markers(self.names())
        if not self._markers or wanted not in (None, *self._markers):
            self.refresh_once()
            self._markers = markers(self.names())
        return self._markers

    def can(self, capability: str) -> bool:
        """Whether a pool of this type has a capability: ``overlay``, ``upload`` … (pools.CAPABILITIES)."""
        if self._type is None:
            self._type = self._xml().get("type", "")
        return capability in CAPABILITIES.get(self._type, ())

    def path_of(self, name: str) -> str:
        """Where a volume of that name is, or would be."""
        volume = found(self._handle.storageVolLookupByName, name)
        if volume is not None:
            return str(volume.path())
        return os.path.join(self._xml().findtext("target/path", ""), name)

    @property
    def handle(self) -> t.Any:
        """Libvirt's own object."""
        return self._handle

    def names(self) -> list[str]:
        return list(self._handle.listVolumes())

    def find(self, name: str, *, look_again: bool = True) -> Volume | None:
        """A volume by name. One that libvirt doesn't know may have come from elsewhere: it looks once more."""
        volume = found(self._handle.storageVolLookupByName, name)
        if volume is None and look_again and self.refresh_once():
            volume = found(self._handle.storageVolLookupByName, name)
        return volume

    def make(self, name: str, capacity: int, fmt: str, *, backing: tuple[str, str] | None = None) -> Volume:
        """A blank volume, or one that stands on ``backing``: a path and its format. Sparse where the pool can."""
        volume = self._handle.createXML(_volume_xml(name, capacity, fmt, backing), 0)
        self.made.append(name)
        return volume

    def copy(self, source: Volume, name: str, capacity: int, fmt: str) -> Volume:
        volume = self._handle.createXMLFrom(_volume_xml(name, capacity, fmt, None), source, 0)
        self.made.append(name)
        return volume

    def _xml(self) -> ET.Element:
        return ET.fromstring(self._handle.XMLDesc(0))  # noqa: S314 - libvirt wrote it

    def refresh_once(self) -> bool:
        """Have libvirt look at the pool afresh; at most once a call. Whether it did."""
        if self._refreshed:
            return False
        self.refresh()
        return True

    def refresh(self) -> None:
        """Have libvirt look at the pool afresh; it can't while a volume is made or filled in it."""
        self._refreshed = True
        deadline = time.monotonic() + _REFRESH_WITHIN
        while True:
            try:
                self._handle.refresh(0)
                return
            except libvirt.libvirtError as exc:
                # "pool 'x' has asynchronous jobs running": somebody makes or fills a volume.
                if not is_error(exc, "VIR_ERR_INTERNAL_ERROR") or time.monotonic() > deadline:
                    raise libvirt_error(exc, "refresh", f"storage pool {self.name!r}") from exc
            time.sleep(0.1)

    def download(self, volume: Volume, length: int) -> bytes:
        with self.open(volume, length) as reader:
            return reader.read(length)

    @contextlib.contextmanager
    def open(self, volume: Volume, size: int | None = None) -> t.Iterator[VolumeReader]:
        """The bytes of a volume, or the first *size* of them: of the file that it is, not of the disk in it."""
        stream = self._conn.newStream(0)
        size = file_size(volume) if size is None else size
        volume.download(stream, 0, size, 0)
        reader = VolumeReader(stream, size)
        try:
            yield reader
            stream.finish()
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise

    def upload(self, volume: Volume, data: bytes) -> None:
        stream = self._conn.newStream(0)
        try:
            volume.upload(stream, 0, len(data), 0)
            for start in range(0, len(data), _CHUNK):
                _send(stream, data[start : start + _CHUNK])
        except BaseException:
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
            raise
        stream.finish()


class Storage:
    """The pools of this host, and the volumes of servers in them, for one module call."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._pools: dict[str, Pool] = {}

    def pool(self, name: str) -> Pool:
        if name not in self._pools:
            self._pools[name] = Pool(self._conn, name)
        return self._pools[name]

    def active_pools(self) -> list[Pool]:
        return [self.pool(pool.name()) for pool in listed(self._conn, active=True)]

    def made_for(self, server_id: str) -> list[tuple[Pool, str]]:
        """The volumes of a server that this call has made."""
        return [(pool, name) for pool in self._pools.values() for name in pool.made if name.startswith(server_id)]

    def identified(self, disk: Disk) -> Disk:
        """The disk with its pool's id; Conflict when the pool of that name is another one than the disk was made in.

        Two hosts may mark a shared pool at once: then a record may have any of its ids, and gets the smallest.
        """
        pool = self.pool(disk.pool)
        if disk.pool_id not in (None, *pool.markers(disk.pool_id)):
            raise Conflict(
                f"volume {disk.volume!r} is in a pool {disk.pool!r} with id {disk.pool_id}, "
                f"the pool of that name on this host has id {pool.id}: nothing is touched; is the right pool mounted?"
            )
        return dataclasses.replace(disk, pool_id=pool.id)

    def settled(self, disk: Disk) -> Disk:
        """The disk with its pool's id, and its size where the plan could not know it."""
        disk = self.identified(disk)
        volume = None if disk.size else self.pool(disk.pool).find(disk.volume, look_again=False)
        return disk if volume is None else dataclasses.replace(disk, size=int(volume.info()[1]))

    def source(self, disk: Disk) -> Source:
        volume = self.existing(disk)
        path = volume.path()
        return Source(
            path, kind="block" if volume.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK else "file", cache=_cache(path)
        )

    def existing(self, disk: Disk) -> Volume:
        volume = self.pool(disk.pool).find(disk.volume)
        if volume is None:
            raise FlotillaError(
                f"volume {disk.volume!r} is not in pool {disk.pool!r} of this host, and the server needs it"
            )
        return volume

    def require_image(self, disk: Disk, image: Image) -> None:
        """Refuse an image that is not in the disk's pool, or that the disk is too small for."""
        _size_for(disk, self._image(self.pool(disk.pool), image), image)

    def ensure_root(self, disk: Disk, image: Image) -> Disk:
        """The root disk, on its image's volume where the pool can, else a copy of it."""
        pool = self.pool(disk.pool)
        if not pool.can("overlay"):
            disk = dataclasses.replace(disk, backing=None, format="raw")
        unfinished = pool.find(_copying(disk), look_again=False)
        volume = pool.find(disk.volume, look_again=False)
        if volume is not None and unfinished is None:
            return self._checked(disk, volume)
        base = self._image(pool, image)
        disk = dataclasses.replace(disk, size=_size_for(disk, base, image))
        if disk.backing is None:
            return self._copy(pool, disk, base, volume)
        return self._made(pool, disk, backing=(base.path(), image.format))

    def ensure_blank(self, disk: Disk, server_id: str) -> Disk:
        """An ephemeral or a swap disk."""
        pool = self.pool(disk.pool)
        if not pool.can("overlay"):
            disk = dataclasses.replace(disk, format="raw")
        volume = pool.find(disk.volume, look_again=False)
        disk = self._made(pool, disk) if volume is None else self._checked(disk, volume)
        if disk.role == "swap":
            self._format_swap(pool, disk, server_id)
        return disk

    def ensure_config(self, disk: Disk, data: bytes | None) -> Disk:
        """The config drive, with just these bytes. We alone make it: one that differs is half written or old."""
        pool = self.pool(disk.pool)
        volume = pool.find(disk.volume, look_again=data is None)
        if data is None:
            if volume is None:
                raise InvalidInput(
                    f"volume {disk.volume!r} is not in pool {disk.pool!r}, and the run sent no config drive for it"
                )
            return dataclasses.replace(disk, size=int(volume.info()[1]))
        self._written(pool, disk.volume, data)
        return dataclasses.replace(disk, size=len(data))

    def write_sidecar(self, record: Record, *, role: str = "record", pool: str | None = None) -> bool:
        """The record beside its root disk, for what outlives the domain; where libvirt can write into a volume."""
        return self.write_volume(pool or record.root.pool, volume_of(record.id, role), pack_sidecar(record))

    def read_sidecar(self, pool: Pool, server_id: str, *, role: str = "record") -> Record | None:
        data = self.read_volume(pool, volume_of(server_id, role))
        return None if data is None else read_sidecar(data)

    def write_volume(self, pool: str, name: str, data: bytes) -> bool:
        """A small volume of our own, with just these bytes; whether that changed it."""
        its = self.pool(pool)
        return its.can("upload") and self._written(its, name, data)

    def read_volume(self, pool: Pool, name: str) -> bytes | None:
        volume = pool.find(name, look_again=False)
        return None if volume is None else pool.download(volume, int(volume.info()[1]))

    def grow(self, disk: Disk) -> bool:
        """Grow a volume to the disk's size; never shrink it. The guest must be off."""
        volume = self.existing(disk)
        if disk.role == "config" or disk.size <= int(volume.info()[1]):
            return False
        volume.resize(disk.size)
        return True

    def _image(self, pool: Pool, image: Image) -> Volume:
        """The image's volume, if all of it is there: its marker is made last."""
        marker = pool.find(f"{image.volume}.ok")
        volume = pool.find(image.volume) if marker is not None else None
        if volume is None:
            raise InvalidInput(
                f"image {image.name!r} is not in pool {pool.name!r} of this host (no volume {image.volume}.ok); "
                "put it there with the module image, or run reconcile, which does"
            )
        if image.format == "raw" and _kind(volume) != "raw":
            # Equal bytes are stored once, whatever they were declared as when they were fetched.
            raise BuildAbort(
                f"image {image.name!r} is declared as raw, and its volume {image.volume} in pool {pool.name!r} is "
                f"{_kind(volume)}; correct its format"
            )
        return volume

    def _made(self, pool: Pool, disk: Disk, *, backing: tuple[str, str] | None = None) -> Disk:
        """Make a volume. Libvirt refuses if there is one that it didn't know of; then that one is used."""
        try:
            pool.make(disk.volume, disk.size, disk.format, backing=backing)
        except libvirt.libvirtError as exc:
            there = pool.find(disk.volume)
            if there is None:
                raise _cant_make(exc, disk) from exc
            return self._checked(disk, there)
        return disk

    def _copy(self, pool: Pool, disk: Disk, base: Volume, unfinished: Volume | None) -> Disk:
        """A full copy of the image. While ``…-root.copying`` is beside it, it isn't complete, and nobody's disk yet."""
        flag = pool.find(_copying(disk), look_again=False) or pool.make(_copying(disk), 0, "raw")
        if unfinished is not None:
            wait_built(pool, unfinished)
            unfinished.delete(0)
        try:
            volume = pool.copy(base, disk.volume, disk.size, disk.format)
            if int(volume.info()[1]) < disk.size:
                volume.resize(disk.size)
        except libvirt.libvirtError as exc:
            raise _cant_make(exc, disk) from exc
        flag.delete(0)
        return disk

    def _checked(self, disk: Disk, volume: Volume) -> Disk:
        """A volume that was there already, as the disk that it shall be: used as it is, at the size it has."""
        wait_built(self.pool(disk.pool), volume)
        kind = _kind(volume)
        if disk.format == "qcow2" and kind != "qcow2":
            raise Conflict(
                f"volume {disk.volume!r} in pool {disk.pool!r} is {kind}, its server's record says {disk.format}: "
                "it is left as it is; if it holds nothing of worth, delete it and run again"
            )
        return disk if disk.size else dataclasses.replace(disk, size=int(volume.info()[1]))

    def _format_swap(self, pool: Pool, disk: Disk, server_id: str) -> None:
        """Write the header, if the first page has never been written: a killed run may have left it so."""
        header = swap_header(disk.size, server_id)
        if header is None or disk.format != "raw":
            return
        volume = self.existing(disk)
        if disk.volume in pool.made or not any(pool.download(volume, PAGE)):
            pool.upload(volume, header)

    def _written(self, pool: Pool, name: str, data: bytes) -> bool:
        """Whether a volume of our own had other bytes than these, which it has now. What is half written differs."""
        volume = pool.find(name, look_again=False)
        if volume is not None:
            wait_built(pool, volume)
            capacity = int(volume.info()[1])
            # Pools of block devices round up to whole extents.
            if capacity == len(data) or (capacity > len(data) and not pool.can("overlay")):
                if pool.download(volume, len(data)) == data:
                    return False
                pool.upload(volume, data)
                return True
            volume.delete(0)
        try:
            volume = pool.make(name, len(data), "raw")
        except libvirt.libvirtError as exc:
            if pool.find(name) is None:
                raise FlotillaError(f"can't make volume {name!r} in pool {pool.name!r}: {message_of(exc)}") from exc
            return self._written(pool, name, data)
        pool.upload(volume, data)
        return True


def _volume_xml(name: str, capacity: int, fmt: str, backing: tuple[str, str] | None) -> str:
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "capacity", unit="bytes").text = str(capacity)
    # Without it libvirt allocates a raw volume in full.
    ET.SubElement(root, "allocation").text = "0"
    ET.SubElement(ET.SubElement(root, "target"), "format", type=fmt)
    if backing is not None:
        store = ET.SubElement(root, "backingStore")
        ET.SubElement(store, "path").text = backing[0]
        ET.SubElement(store, "format", type=backing[1])
    return ET.tostring(root, encoding="unicode")


def _size_for(disk: Disk, base: Volume, image: Image) -> int:
    """The size in bytes of a root disk from the image's volume *base*: its own, else the image's."""
    least = int(base.info()[1])
    size = disk.size or least
    if size < least:
        raise BuildAbort(
            f"Flavor's disk is too small for requested image. The root disk of {size / GIB:.3g} GiB is smaller than "
            f"image {image.name!r}, which has {least / GIB:.3g} GiB"
        )
    return size


def _copying(disk: Disk) -> str:
    return f"{disk.volume}.copying"


def _kind(volume: Volume) -> str:
    """The format that libvirt saw in the volume."""
    fmt = ET.fromstring(volume.XMLDesc(0)).find("target/format")  # noqa: S314 - libvirt wrote it
    return "raw" if fmt is None else fmt.get("type", "raw")


def _cant_make(exc: Exception, disk: Disk) -> FlotillaError:
    size = f"{disk.size / GIB:.3g} GiB, {disk.format}"
    return FlotillaError(f"can't make volume {disk.volume!r} ({size}) in pool {disk.pool!r}: {message_of(exc)}")


def wait_built(pool: Pool, volume: Volume) -> None:
    """A volume that libvirt still fills for a call whose caller was killed can't be opened: wait for that to end."""
    deadline = time.monotonic() + _BUILT_WITHIN
    while True:
        try:
            supported(pool.download, volume, 1)
            return
        except libvirt.libvirtError as exc:
            # "volume 'x' is still being allocated."
            if not is_error(exc, "VIR_ERR_OPERATION_INVALID") or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def file_size(volume: Volume) -> int:
    """What there is to read: a file's own length, which for qcow2 isn't the disk's, or all of a block device."""
    physical = ET.fromstring(volume.XMLDesc(0)).findtext("physical")  # noqa: S314 - libvirt wrote it
    return int(volume.info()[1]) if physical is None else int(physical)


def _send(stream: t.Any, data: bytes) -> None:
    while data:
        data = data[stream.send(data) :]


def _cache(path: str) -> str:
    """``none``, as live migration wants it, unless the file system lacks O_DIRECT; Nova looks likewise."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except FileNotFoundError:
        return "none"
    except OSError:
        return "writeback"
    return "none"


__all__ = ["Pool", "Storage", "VolumeReader", "file_size", "wait_built"]
