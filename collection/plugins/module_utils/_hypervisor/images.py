# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in a host's storage pools: brought in once, looked at first, complete or not there.

Note that this module util is **PRIVATE** to the collection.

An image is the volume ``image-<sha256>``; the volume ``image-<sha256>.ok`` beside it is made last and says that the
first is complete. Nothing uses an image without its .ok, so a fetch that was killed anywhere is simply done again.

Who makes the volume fetches. On one host a lock keeps others waiting. Another host that shares the pool shows only by
the volume's growth: it is left alone while it grows, and counts as dead after LEASE seconds without. A fetch that could
not write for half of that gives up by itself, so that there are never two.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import re
import time
import typing as t
from xml.etree import ElementTree

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    BuildAbort,
    FlotillaError,
    InProgress,
    InvalidInput,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import HEAD_SIZE, check, inspect
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Pool,
    Volume,
    found,
    is_error,
    libvirt,
    libvirt_error,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import named_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.sources import Reader

LEASE = 90.0  # s; NFS clients show another's writes with up to 60 s of delay (acregmax)
_CHUNK = 1024**2
_SETTLE = 20.0  # s that libvirt may still be busy with a volume whose writer was killed
_POLL = 0.25
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")

# Types of pools that libvirt's streams can write to: those of files, and those of plain disks.
_FILE_POOLS = ("dir", "fs", "netfs", "vstorage")
_BLOCK_POOLS = ("logical", "disk", "zfs")

OpenSource = t.Callable[[], t.ContextManager["Reader"]]


@dataclasses.dataclass(frozen=True)
class Stored:
    """An image in a pool. ``virtual_size`` is that of the disk in it, ``size`` what it takes in the pool, in bytes."""

    volume: str
    pool: str
    complete: bool
    virtual_size: int
    size: int

    def to_json(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "checksum": "sha256:" + self.volume[len("image-") :]}


def check_checksum(checksum: str, *, what: str) -> None:
    if not _CHECKSUM.fullmatch(checksum):
        raise InvalidInput(f"{what}: checksum {checksum!r} should be 'sha256:' and 64 digits of lower-case hex")


def find_pool(conn: Connection, name: str) -> Pool:
    """A pool of this host that is up."""
    pool = found(conn.storagePoolLookupByName, name)
    if pool is None:
        names = ", ".join(sorted(pool.name() for pool in listed(conn))) or "none"
        raise InvalidInput(f"this host has no storage pool {name!r} (it has: {names})")
    if not pool.isActive():
        raise FlotillaError(f"the storage pool {name!r} is not started on this host; start it: virsh pool-start {name}")
    return pool


def pool_names(conn: Connection) -> list[str]:
    """The pools of this host that are up."""
    return sorted(pool.name() for pool in listed(conn, active=True))


def list_images(pool: Pool) -> list[Stored]:
    """The images of a pool, those too that are not complete."""
    names = set(pool.listVolumes())
    volumes = (name for name in sorted(names) if re.fullmatch(r"image-[0-9a-f]{64}", name))
    stored = (_stored(pool, name, complete=_ok(name) in names) for name in volumes)
    return [image for image in stored if image is not None]


def look_up(pool: Pool, image: Image) -> Stored | None:
    """The image, if it is in the pool, complete or not."""
    return _stored(pool, image.volume, complete=found(pool.storageVolLookupByName, _ok(image.volume)) is not None)


def fetch(
    conn: Connection, image: Image, source: OpenSource, *, pool: Pool, state_dir: str, run_id: str, timeout: float
) -> tuple[Stored, bool]:
    """Bring *image* into *pool*; the image there, and whether it was this call that brought it."""
    what = f"image {image.name!r}"
    check_checksum(image.checksum, what=what)
    deadline = time.monotonic() + timeout
    with named_lock(state_dir, image.volume, run_id=run_id, step="image", wait=timeout, what=what):
        job = _Fetch(conn, image, pool, note=_note(state_dir, pool, image), deadline=deadline)
        if not job.ready():
            with source() as reader:
                job.bring(reader)
            return job.stored(), True
        return job.stored(), False


def remove(conn: Connection, image: Image, *, pool: Pool, state_dir: str, run_id: str, timeout: float) -> bool:
    """Delete *image* from *pool* unless something stands on it; whether it was there."""
    what = f"image {image.name!r}"
    check_checksum(image.checksum, what=what)
    with named_lock(state_dir, image.volume, run_id=run_id, step="image", wait=timeout, what=what):
        _refresh(pool)
        users = users_of(conn, pool, image)
        if users:
            raise FlotillaError(f"{what} is in use in pool {pool.name()!r} by {', '.join(users)}; nothing was deleted")
        # The mark first: from then on nobody begins to use the volume.
        there = [_delete(pool, name) for name in (_ok(image.volume), image.volume)]
        _note(state_dir, pool, image).unlink(missing_ok=True)
        return any(there)


def users_of(conn: Connection, pool: Pool, image: Image) -> list[str]:
    """What stands on an image: servers whose record names it, other domains, and volumes of its pool."""
    users = {f"domain {domain.name()!r}" for domain in conn.listAllDomains(0) if _records(domain, image)}
    volume = found(pool.storageVolLookupByName, image.volume)
    if volume is None:
        return sorted(users)
    user = References(conn).user_of(volume.path(), but="")
    if user is not None:
        users.add(f"domain {user!r}")
    users.update(f"volume {other.name()!r}" for other in pool.listAllVolumes(0) if _stands_on(other, image))
    return sorted(users)


class _Fetch:
    """One attempt to bring an image into a pool, with the image's lock held."""

    def __init__(self, conn: Connection, image: Image, pool: Pool, *, note: pathlib.Path, deadline: float) -> None:
        self._conn = conn
        self._image = image
        self._pool = pool
        self._note = note  # there while this host has an unfinished volume: one without it is another host's
        self._deadline = deadline
        self._what = f"image {image.name!r}"

    def ready(self) -> bool:
        """Whether the image is complete; if not, what was left of an earlier attempt is gone."""
        if self._complete():
            return True
        _refresh(self._pool)
        if self._complete():
            return True
        if self._volume() is not None and not self._note.exists() and self._another_brings_it():
            return True
        _delete(self._pool, _ok(self._image.volume))
        _delete(self._pool, self._image.volume)
        self._note.unlink(missing_ok=True)
        return False

    def bring(self, reader: Reader) -> None:
        self._check_pool()
        head = reader.read(HEAD_SIZE)
        virtual_size = check(inspect(head, reader.size), declared=self._image.format, what=self._what)
        available = self._pool.info()[3]
        if available < reader.size:
            raise FlotillaError(
                f"{self._what} needs {_mib(reader.size)}, and pool {self._pool.name()!r} has {_mib(available)} free; "
                "make room, or use another pool"
            )
        volume = self._create(reader.size)
        try:
            self._upload(volume, head, reader)
            _create(self._pool, _ok(self._image.volume), 1, "raw")
        except BaseException:
            self._undo()
            raise
        self._note.unlink(missing_ok=True)
        self._settle(virtual_size)

    def stored(self) -> Stored:
        stored = look_up(self._pool, self._image)
        if stored is None:
            raise FlotillaError(f"{self._what} has vanished from pool {self._pool.name()!r}; run again")
        return stored

    def _complete(self) -> bool:
        stored = look_up(self._pool, self._image)
        return stored is not None and stored.complete

    def _volume(self) -> Volume | None:
        return found(self._pool.storageVolLookupByName, self._image.volume)

    def _create(self, size: int) -> Volume:
        """The volume, as big as the file that goes into it."""
        try:
            self._note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._note.touch()
        except OSError as exc:
            folder = str(self._note.parent)
            raise FlotillaError(f"nothing can be written to {folder!r} on this host: {exc.strerror}") from exc
        try:
            return _create(self._pool, self._image.volume, size, "raw")
        except libvirt.libvirtError as exc:
            self._note.unlink(missing_ok=True)
            raise FlotillaError(
                f"{self._what} can't be made in pool {self._pool.name()!r}: {message_of(exc)}; "
                "if another host has begun it just now, run again"
            ) from exc

    def _check_pool(self) -> None:
        kind = _kind(self._pool)
        if kind not in _FILE_POOLS + _BLOCK_POOLS:
            raise InvalidInput(
                f"{self._what} can't be brought into pool {self._pool.name()!r}: libvirt can't write to pools of type "
                f"{kind!r}; use one of type {', '.join(_FILE_POOLS + _BLOCK_POOLS)}"
            )
        if kind in _BLOCK_POOLS and self._image.format != "raw":
            raise InvalidInput(
                f"{self._what} is {self._image.format}, and pool {self._pool.name()!r} of type {kind!r} holds plain "
                "disks: convert it with qemu-img convert -O raw"
            )

    def _upload(self, volume: Volume, head: bytes, reader: Reader) -> None:
        digest = hashlib.sha256()
        stream = self._conn.newStream(0)
        try:
            volume.upload(stream, 0, reader.size, 0)
            chunk = head
            while chunk:
                digest.update(chunk)
                self._send(stream, chunk)
                chunk = self._next(reader)
            if "sha256:" + digest.hexdigest() != self._image.checksum:
                raise BuildAbort(
                    f"{self._what}: its checksum should be {self._image.checksum}, the file has sha256:"
                    f"{digest.hexdigest()}; correct the checksum, or find out who has changed the file"
                )
            stream.finish()
        except libvirt.libvirtError as exc:
            _abort(stream)
            raise libvirt_error(exc, "write", f"{self._what} into pool {self._pool.name()!r}") from exc
        except BaseException:
            _abort(stream)
            raise

    def _next(self, reader: Reader) -> bytes:
        begin = time.monotonic()
        chunk = reader.read(_CHUNK)
        now = time.monotonic()
        if now > self._deadline:
            raise FlotillaError(
                f"{self._what} did not arrive in time; raise the timeout, or look why its source is slow"
            )
        if now - begin > LEASE / 2:
            raise FlotillaError(f"{self._what}: nothing could be written for {now - begin:.0f} s; run again")
        return chunk

    def _send(self, stream: t.Any, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            sent = stream.send(bytes(view))
            if sent < 0:
                raise FlotillaError(f"libvirt takes no more of {self._what}; run again")
            view = view[sent:]

    def _undo(self) -> None:
        """Leave nothing; what can't be deleted now is deleted by the next attempt, which the note tells that it may."""
        with contextlib.suppress(libvirt.libvirtError, FlotillaError):
            _delete(self._pool, self._image.volume)
            self._note.unlink(missing_ok=True)

    def _settle(self, virtual_size: int) -> None:
        """Until libvirt has seen what is in the volume now: overlays take the size of their disk from it."""
        if self._image.format == "raw":
            return
        end = time.monotonic() + _SETTLE
        while time.monotonic() < end:
            volume = self._volume()
            if volume is not None and volume.info()[1] == virtual_size:
                return
            _refresh(self._pool)
            time.sleep(_POLL)

    def _another_brings_it(self) -> bool:
        """Wait while another host's volume grows: True when it is complete, False when its maker must be dead."""
        size, since = -1, time.monotonic()
        while time.monotonic() - since < LEASE:
            if time.monotonic() > self._deadline:
                raise InProgress(
                    f"{self._what} is being brought into pool {self._pool.name()!r} by another host; run again"
                )
            if self._complete():
                return True
            volume = self._volume()
            if volume is None:
                return False
            grown = volume.info()[2]
            if grown != size:
                size, since = grown, time.monotonic()
            time.sleep(_POLL * 4)
            _refresh(self._pool)
        return False


def _create(pool: Pool, name: str, size: int, kind: str) -> Volume:
    root = ElementTree.Element("volume")
    ElementTree.SubElement(root, "name").text = name
    ElementTree.SubElement(root, "capacity", unit="bytes").text = str(size)
    ElementTree.SubElement(root, "allocation", unit="bytes").text = "0"
    ElementTree.SubElement(ElementTree.SubElement(root, "target"), "format", type=kind)
    return pool.createXML(ElementTree.tostring(root, encoding="unicode"), 0)


def _delete(pool: Pool, name: str) -> bool:
    """Delete a volume if it is there; whether it was. libvirt refuses for a while when its writer has just died."""
    end = time.monotonic() + _SETTLE
    while True:
        volume = found(pool.storageVolLookupByName, name)
        if volume is None:
            return False
        try:
            volume.delete(0)
            return True
        except libvirt.libvirtError as exc:
            if is_error(exc, "VIR_ERR_NO_STORAGE_VOL"):
                return False
            if time.monotonic() > end:
                raise libvirt_error(exc, "delete", f"volume {name!r} of pool {pool.name()!r}") from exc
        time.sleep(_POLL)


def _refresh(pool: Pool) -> None:
    """See what is in the pool now. libvirt refuses while it makes a volume in it, and then sees by itself."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.refresh(0)


def _abort(stream: t.Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        stream.abort()


def _stored(pool: Pool, name: str, *, complete: bool) -> Stored | None:
    volume = found(pool.storageVolLookupByName, name)
    if volume is None:
        return None
    try:
        _kind, capacity, allocation = volume.info()
    except libvirt.libvirtError:
        return None  # libvirt remembers it, but its file has been taken away
    return Stored(name, pool.name(), complete, virtual_size=capacity, size=allocation)


def _records(domain: t.Any, image: Image) -> bool:
    """Whether a domain's record has this image: then it may be built again from it."""
    text = found(domain.XMLDesc, libvirt.VIR_DOMAIN_XML_INACTIVE)
    return text is not None and image.checksum in text


def _stands_on(volume: Volume, image: Image) -> bool:
    text = found(volume.XMLDesc, 0)
    backing = ElementTree.fromstring(text).findtext("backingStore/path") if text else None  # noqa: S314  # libvirt's own
    return backing is not None and pathlib.PurePath(backing).name == image.volume


def _kind(pool: Pool) -> str:
    return str(ElementTree.fromstring(pool.XMLDesc(0)).get("type"))  # noqa: S314  # libvirt's own


def _ok(volume: str) -> str:
    return volume + ".ok"


def _note(state_dir: str, pool: Pool, image: Image) -> pathlib.Path:
    return pathlib.Path(state_dir, "images", f"{pool.UUIDString()}-{image.volume}")


def _mib(size: int) -> str:
    return f"{-(-size // 1024**2)} MiB"


__all__ = [
    "LEASE",
    "Stored",
    "check_checksum",
    "fetch",
    "find_pool",
    "list_images",
    "look_up",
    "pool_names",
    "remove",
    "users_of",
]
