# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""More vCPUs and memory for a guest while it runs, within the room that its domain has.

Note that this module util is **PRIVATE** to the collection.

Each is plugged in for the running guest and for its next start by one call, so a process that is killed leaves both or
neither; the record comes last. What is there already is not plugged in again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import obstacle
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent, domains, handlers
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    libvirt,
    libvirt_error,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job

_KIB = 1024


def _grow(job: Job) -> handlers.Outcome:
    if job.done:
        return False, "it has grown"
    domain, name = job.domain, job.order.name
    state = domains.state_of(domain)
    if state != "running":
        raise Conflict(f"server {name!r} is {state} and was to grow while it runs; plan again")
    record, had = job.target, job.record.flavor.vcpus
    wanted = record.flavor
    changed = False
    try:
        changed = _plug_vcpus(domain, wanted.vcpus)
        _plug_memory(domain, wanted.ram)
    except libvirt.libvirtError as exc:
        undone = _unplug_vcpus(domain, had) if changed else True
        kept = "" if undone else f"; it keeps the {wanted.vcpus} vCPUs that it has got, for it doesn't give them back"
        refused = libvirt_error(exc, "grow", f"server {name!r}")
        raise Conflict(f"{refused}{kept}; {_noted(job, wanted, message_of(exc))}") from exc
    job.host.write(domain, record)
    _ask_to_use(job, wanted.vcpus)
    return True, f"grown to {wanted.vcpus} vCPU and {wanted.ram} MiB while it runs"


def _noted(job: Job, wanted: Flavor, why: str) -> str:
    """Have the record say what was refused, so that it isn't tried for ever; what comes of it."""
    record = job.record
    if record.room is not None:
        record = dataclasses.replace(record, room=record.room.refusing(wanted.vcpus, wanted.ram, why))
        with contextlib.suppress(libvirt.libvirtError):
            job.host.write(job.domain, record)
    if obstacle(record, wanted):
        return "from now on it takes a restart (-e fleet_allow=restart), and it is not tried again while it runs"
    return "it is tried once more the next time"


def _configurations(domain: Domain) -> t.Iterator[tuple[int, ET.Element]]:
    """Of the running guest, and of its next start."""
    for flag, xml_flag in (
        (libvirt.VIR_DOMAIN_AFFECT_LIVE, 0),
        (libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_XML_INACTIVE),
    ):
        yield flag, ET.fromstring(domain.XMLDesc(xml_flag))  # noqa: S314 - libvirt wrote it


def _plug_vcpus(domain: Domain, wanted: int) -> bool:
    flags = 0
    for flag, root in _configurations(domain):
        vcpu = root.find("vcpu")
        if vcpu is not None and int(vcpu.get("current", vcpu.text or "1")) < wanted:
            flags |= flag
    if flags:
        domain.setVcpusFlags(wanted, flags)
    return bool(flags)


def _unplug_vcpus(domain: Domain, wanted: int) -> bool:
    """Whether the guest gave them back: it may refuse."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.setVcpusFlags(wanted, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        domain.setVcpusFlags(wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        return True
    return False


def _plug_memory(domain: Domain, wanted: int) -> None:
    """*wanted* in MiB. What is lacking is one module."""
    lacking: dict[int, int] = {}
    for flag, root in _configurations(domain):
        short = wanted * _KIB - int(root.findtext("memory", "0"))
        if short > 0:
            lacking[short] = lacking.get(short, 0) | flag
    for short, flags in sorted(lacking.items()):
        module = ET.Element("memory", model="dimm")
        target = ET.SubElement(module, "target")
        ET.SubElement(target, "size", unit="KiB").text = str(short)
        ET.SubElement(target, "node").text = "0"
        domain.attachDeviceFlags(ET.tostring(module, encoding="unicode"), flags)


def _ask_to_use(job: Job, vcpus: int) -> None:
    """Many guests leave a new vCPU idle until they are told: one with an agent is."""
    if not job.record.hardware.guest_agent:
        return
    with contextlib.suppress(libvirt.libvirtError), agent.limited(job.domain):
        if agent.answers(job.domain):
            job.domain.setVcpusFlags(vcpus, libvirt.VIR_DOMAIN_VCPU_GUEST)


HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {"grow": _grow}

__all__ = ["HANDLERS"]
