# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's config drive made anew: before it starts, or by changing the medium of a running guest.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.step import DRIVE_OUT
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import libvirt

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job

__all__ = ["renew", "renew_live"]


def renew(job: Job, record: Record) -> bool:
    """Write the drive that came with the step, if one did and the guest is off. Whether that changed it."""
    disk, data = _drive(job, record)
    if disk is None or data is None or domains.state_of(job.domain) != "shutoff":
        return False
    return job.host.storage.write_volume(disk.pool, disk.volume, data)


def renew_live(job: Job, record: Record) -> str:
    """The same where the guest may run: its medium is taken out, written and put in again, so that it sees a change of
    medium. A guest that keeps its tray locked (it has the drive mounted) gets the drive at its next start. What there
    is to say of it; nothing where nothing changed.

    While the medium is out the record says so: what is to be on it may be another's wish by the next run, or nobody's.
    """
    if domains.state_of(job.domain) == "shutoff":
        return "config drive made anew" if renew(job, record) else ""
    disk, data = _drive(job, record)
    if disk is None or not job.domain.isActive():
        return ""
    own = _cdrom(job, disk, libvirt.VIR_DOMAIN_XML_INACTIVE)
    if data is None or not _differs(job, disk, data):
        return "" if own is None else _put_in_again(job, disk, own)
    if own is None:
        return "its config drive is a disk, which is made anew at its next start"
    without = copy.deepcopy(own)
    for name in ("source", "backingStore"):
        for element in without.findall(name):
            without.remove(element)
    domains.write_record(job.domain, _marked(job.record, {DRIVE_OUT: True}))
    try:
        _change(job, without)
    except libvirt.libvirtError:
        domains.write_record(job.domain, _marked(job.record, {}))
        return "the guest holds its config drive, which is made anew at its next start"
    try:
        job.host.storage.write_volume(disk.pool, disk.volume, data)
    finally:
        _change(job, own)
    domains.write_record(job.domain, _marked(job.record, {}))
    return "config drive made anew, medium changed"


def _marked(record: Record, mark: t.Mapping[str, bool]) -> Record:
    marks = {key: value for key, value in record.marks.items() if key != DRIVE_OUT}
    return dataclasses.replace(record, marks={**marks, **mark})


def _put_in_again(job: Job, disk: Disk, own: ET.Element) -> str:
    """The medium that a run took out and was killed before it put it in again; nothing where it is in."""
    live = _cdrom(job, disk, 0)
    if live is None or _has_medium(live):
        return ""
    _change(job, own)
    return "config drive put in again"


def _has_medium(drive: ET.Element) -> bool:
    """Libvirt keeps the source of a drive whose tray is empty, with nothing but its number."""
    source = drive.find("source")
    return source is not None and bool(set(source.keys()) - {"index"})


def _drive(job: Job, record: Record) -> tuple[Disk | None, bytes | None]:
    disk = next((disk for disk in record.disks if disk.role == "config"), None)
    return disk, job.host.drive(record)


def _differs(job: Job, disk: Disk, data: bytes) -> bool:
    pool = job.host.storage.pool(disk.pool)
    if not pool.can("upload"):
        return False
    found = job.host.storage.read_volume(pool, disk.volume)
    return found is None or found[: len(data)] != data


def _cdrom(job: Job, disk: Disk, flags: int) -> ET.Element | None:
    """The drive, if it has a medium to change; with that where it is in, as in the configuration (flag INACTIVE)."""
    root = ET.fromstring(str(job.domain.XMLDesc(flags)))  # noqa: S314 - libvirt wrote it
    found = (one for one in root.iterfind("devices/disk") if one.get("device") == "cdrom")
    return next((one for one in found if one.find(f"target[@dev='{disk.target}']") is not None), None)


def _change(job: Job, disk: ET.Element) -> None:
    job.domain.updateDeviceFlags(ET.tostring(disk, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
