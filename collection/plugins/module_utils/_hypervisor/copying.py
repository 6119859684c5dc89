# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of a server's disk as it is at one moment, of a running guest too.

Note that this module util is **PRIVATE** to the collection.

A running guest's disk is copied by libvirt's backup job in push mode: QEMU puts aside what the guest overwrites until
the copy is over. Nova stacks an overlay on the disk and pivots away from it; here the guest's own chain is never
touched, so that there is nothing to mend when the copy is killed, and the moment of the copy is that of its begin: file
systems are frozen for an instant. The disk of a guest that is off is copied by its pool.

The copy is the volume ``<server id>-snapshot`` and has no backing file. It is made anew by each attempt.
"""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_domain
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Quiesce
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    Volume,
    is_error,
    libvirt,
    libvirt_error,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import became, state_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.freezing import frozen, thaw
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import StillCopying
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, wait_built
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.transit import has_job

ROLE = "snapshot"
#: How consistent the copy of a guest that is off is said to be.
OFF = "the guest is off"
#: A copy that takes longer is a fault; the task that waits for it has a limit of its own.
_COPIED_WITHIN = 4 * 3600.0
#: How long libvirt may take to end a job that was told to.
_ENDED_WITHIN = 60.0
#: The domain's XML says it: what is not here has no disk in it that can be read.
_READABLE = ("disk",)


class Copying:
    """One copy of one disk of a server into a pool."""

    def __init__(self, conn: Connection, domain: Domain, server_id: str, disk: Disk, pool: Pool) -> None:
        self._conn = conn
        self._domain = domain
        self._server_id = server_id
        self._disk = disk
        self._pool = pool
        self._name = volume_of(server_id, ROLE)

    @property
    def format(self) -> str:
        return "qcow2" if self._pool.can("overlay") else "raw"

    def check(self) -> None:
        """Refuse, before anything is made, a pool that can't be written to as an image is."""
        if not self._pool.can("upload"):
            raise InvalidInput(
                f"a snapshot can't go into pool {self._pool.name!r}: libvirt can't write images to pools of its type; "
                "name another pool"
            )

    def begin(self, source: Volume, quiesce: Quiesce) -> str:
        """Begin the copy of a running guest's disk, or make that of one that is off; how consistent it is.

        *source* is the disk's volume.
        """
        remove_copy(self._domain, self._server_id, self._pool)
        if self._domain.isActive():
            return self._begin_live(int(source.info()[1]), quiesce)
        if quiesce.required and state_of(self._domain) == "suspended":
            raise Conflict(
                f"server {self._server_id} is suspended, so its file systems can't be frozen, and its image asks for "
                "that (os_require_quiesce); resume or stop it first"
            )
        self._copy(source)
        return OFF

    def end(self, *, live: bool, watch: float | None) -> Volume:
        """The copy, once it is there; StillCopying after *watch* seconds. FlotillaError when it came to nothing.

        *live*: it was begun of a running guest, whatever that does now.
        """
        volume = self._pool.find(self._name, look_again=False)
        if volume is None:
            raise FlotillaError(f"the copy of volume {self._disk.volume!r} has vanished; run again")
        if live:
            self._wait(watch)
        return volume

    def _copy(self, source: Volume) -> None:
        try:
            self._pool.copy(source, self._name, int(source.info()[1]), self.format)
        except libvirt.libvirtError as exc:
            raise self._failed(exc) from exc

    def _begin_live(self, capacity: int, quiesce: Quiesce) -> str:
        try:
            volume = self._pool.make(self._name, capacity, self.format)
        except libvirt.libvirtError as exc:
            raise self._failed(exc) from exc
        with frozen(self._conn, self._domain, quiesce) as consistency:
            self._begin(volume)
        return consistency

    def _begin(self, volume: Volume) -> None:
        try:
            # Reuse: the volume has been made by its pool, with the rights that libvirt gives its own.
            self._domain.backupBegin(self._xml(volume), None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
        except libvirt.libvirtError as exc:
            raise self._failed(exc) from exc

    def _xml(self, volume: Volume) -> str:
        block = volume.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK
        root = ET.Element("domainbackup", mode="push")
        kind = "block" if block else "file"
        disk = ET.SubElement(ET.SubElement(root, "disks"), "disk", name=self._target(), backup="yes", type=kind)
        ET.SubElement(disk, "driver", type=self.format)
        ET.SubElement(disk, "target", {"dev" if block else "file": volume.path()})
        return ET.tostring(root, encoding="unicode")

    def _target(self) -> str:
        """The disk's name in the guest: that of the record, unless the guest was booted otherwise (a rescued one)."""
        for disk in read_domain(self._domain.XMLDesc(0)).disks:
            if disk.device in _READABLE and (disk.source or "").rpartition("/")[2] == self._disk.volume:
                return disk.target
        raise Conflict(
            f"domain {self._domain.name()!r} doesn't have volume {self._disk.volume!r} as its disk (an external "
            "snapshot made by hand?): what it writes is elsewhere, and no copy is made; merge it back first"
        )

    def _wait(self, watch: float | None) -> None:
        if not became(lambda: not has_job(self._domain), within=_COPIED_WITHIN if watch is None else watch):
            stats = self._domain.jobStats()
            if watch is None or stats.get("time_elapsed", 0) > _COPIED_WITHIN * 1000:
                hours = _COPIED_WITHIN / 3600
                raise FlotillaError(f"the copy of volume {self._disk.volume!r} took more than {hours:g} h: given up")
            raise StillCopying({"done": stats.get("disk_processed", 0), "total": stats.get("disk_total", 0)})
        flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        try:
            stats = self._domain.jobStats(flags) if self._domain.isActive() else {}
        except libvirt.libvirtError as exc:
            raise self._failed(exc) from exc
        if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP or not stats.get("success"):
            why = stats.get("errmsg") or "the guest was switched off, or somebody ended it"
            raise FlotillaError(
                f"the copy of volume {self._disk.volume!r} into pool {self._pool.name!r} ended early: {why}; run again"
            )

    def _failed(self, exc: Exception) -> FlotillaError:
        what = f"volume {self._disk.volume!r} into pool {self._pool.name!r}"
        if is_error(exc, "VIR_ERR_OPERATION_UNSUPPORTED", "VIR_ERR_NO_SUPPORT", "VIR_ERR_CONFIG_UNSUPPORTED"):
            return FlotillaError(
                f"can't copy {what} while the guest runs: {message_of(exc)}; stop the server, then run again"
            )
        return libvirt_error(exc, "copy", what)


def remove_copy(domain: Domain | None, server_id: str, pool: Pool) -> bool:
    """Take away what an attempt that was killed has left: its job, the frozen file systems, the half copy."""
    name = volume_of(server_id, ROLE)
    volume = pool.find(name, look_again=False)
    if volume is None:
        return False
    if domain is not None and domain.isActive():
        _end_job(domain, volume.path())
        thaw(domain)
    wait_built(pool, volume)
    volume.delete(0)
    return True


def _end_job(domain: Domain, path: str) -> None:
    """End the backup job that writes to this file; another's job is left to it."""
    try:
        job = domain.backupGetXMLDesc(0)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_NO_DOMAIN_BACKUP", "VIR_ERR_NO_SUPPORT"):
            return
        raise
    targets = [target.get("file") or target.get("dev") for target in ET.fromstring(job).iter("target")]  # noqa: S314
    if path not in targets:
        raise Conflict(
            f"a backup job of another tool is at work on domain {domain.name()!r} (`virsh domjobinfo`); "
            "wait for its end, then run again"
        )
    with contextlib.suppress(libvirt.libvirtError):  # it may end by itself meanwhile
        domain.abortJob()
    if not became(lambda: not has_job(domain), within=_ENDED_WITHIN):
        raise FlotillaError(f"the copy that an earlier run began of domain {domain.name()!r} doesn't end; look at it")


__all__ = ["OFF", "ROLE", "Copying", "remove_copy"]
