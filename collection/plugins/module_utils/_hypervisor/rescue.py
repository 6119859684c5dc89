# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rescue and unrescue: the server defined on another boot disk, and the very domain of before brought back.

Note that this module util is **PRIVATE** to the collection.

One definition is the turning point of each: before it the server is what it was, after it what it shall be. The rescue
disk is made before the one and deleted after the other; no other disk is made, changed or deleted.
"""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core import namespace
from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import record_element
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, volume_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.rescue import (
    MARK,
    ROLE,
    image_in,
    is_rescued,
    rescue_disks,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import delete_volume
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.handlers import (
    existing_xml,
    must_be_off,
    must_be_whole,
    must_stand_on_its_own,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job

_RECORD = f"{{{namespace.URI}}}{namespace.ELEMENT}"


def _rescue(job: Job) -> tuple[bool, str]:
    if job.done:
        return False, "it is rescued"
    if is_rescued(job.record):
        raise Conflict(f"server {job.order.name!r} is rescued already; unrescue it first")
    must_be_off(job)
    must_be_whole(job)
    record, image, storage = job.target, image_in(job.target), job.host.storage
    must_stand_on_its_own(job, record)
    pool = storage.pool(record.root.pool)
    wanted = rescue_disks(record, image, overlay=pool.can("overlay"))
    rescue = next(disk for disk in wanted if disk.role == ROLE)
    storage.require_image(rescue, image)
    # What is there of an earlier rescue has been written to by it.
    _delete_rescue_disk(job, record)
    made = storage.ensure_root(storage.identified(rescue), image)
    disks = tuple(made if disk.role == ROLE else disk for disk in wanted)
    record = _marked(record, disks=[disk.to_json() for disk in disks], xml=plain_xml(existing_xml(job)))
    storage.write_sidecar(record)
    job.host.define(record, existing=existing_xml(job))
    return True, f"defined to boot from image {image.name!r}"


def _unrescue(job: Job) -> tuple[bool, str]:
    if not job.done:
        if not is_rescued(job.record):
            raise Conflict(f"server {job.order.name!r} is not rescued, so there is nothing to unrescue it from")
        must_be_off(job)
        record = job.target
        xml = with_record(_xml_before(job.record), record)
        job.host.storage.write_sidecar(record)
        job.host.conn.defineXML(xml)
    deleted = _delete_rescue_disk(job, job.target)
    return not job.done or deleted, "unrescued" if not job.done else "it is unrescued"


def _delete_rescue_disk(job: Job, record: Record) -> bool:
    pool, server_id = job.host.storage.pool(record.root.pool), record.id
    names = (volume_of(server_id, ROLE), volume_of(server_id, f"{ROLE}.copying"))
    # Read afresh: this very call may have defined the domain anew.
    references = job.host.references.renewed()
    gone = [delete_volume(pool, name, server_id=server_id, references=references) for name in names]
    return any(gone)


def _marked(record: Record, **more: t.Any) -> Record:
    return dataclasses.replace(record, marks={**record.marks, MARK: {**record.marks[MARK], **more}})


def plain_xml(xml: str) -> str:
    """The domain without its record, which is put into it anew, and without what a record must not tell: a password
    of its console that somebody has set by hand."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    metadata = root.find("metadata")
    if metadata is not None:
        for element in [child for child in metadata if child.tag == _RECORD]:
            metadata.remove(element)
    for graphics in root.iterfind("devices/graphics"):
        graphics.attrib.pop("passwd", None)
    return ET.tostring(root, encoding="unicode")


def _xml_before(rescued: Record) -> str:
    text = rescued.marks[MARK].get("xml")
    if not isinstance(text, str):
        raise InvalidRecord(f"the record of server {rescued.name!r} doesn't say what its domain was before the rescue")
    return text


def with_record(text: str, record: Record) -> str:
    """A domain as plain_xml() kept it, with a record of now."""
    root = ET.fromstring(text)  # noqa: S314 - we wrote it, from libvirt's
    metadata = root.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(root, "metadata")
    metadata.append(record_element(record))
    return ET.tostring(root, encoding="unicode")


HANDLERS = {"rescue": _rescue, "unrescue": _unrescue}

__all__ = ["HANDLERS", "plain_xml", "with_record"]
