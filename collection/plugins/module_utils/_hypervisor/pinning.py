# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a guest that runs lies on its host, and its vCPUs put back on the CPUs that it was given.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import CpuSet, format_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    is_error,
    libvirt,
)


def pin(domain: Domain, wanted: Tuning) -> bool:
    """Pin vCPUs and the emulator's threads, in the running guest and for its next start. Whether that changed any."""
    # Each is looked at by itself: `virsh vcpupin` changes one of them alone.
    changed = [_pin(domain, wanted, flag, xml_flag) for flag, xml_flag in _configurations(domain)]
    return any(changed)


def astray(domain: Domain, given: Tuning) -> list[str]:
    """In what a guest that runs lies otherwise than it was *given*, by libvirt and by the kernel. One that was given
    nothing lies as it likes."""
    if not (given.cpuset or given.nodes):
        return []
    has = Tuning.read(ET.fromstring(domain.XMLDesc(0)))  # noqa: S314 - libvirt wrote it
    found = []
    if given.cpuset and given.cpuset != has.cpuset:
        found.append(f"it floats on CPU {format_cpus(has.cpuset) or 'any'}, not on {format_cpus(given.cpuset)}")
    if not given.nodes:
        return found
    if given.places != has.places:
        found.append(f"its vCPUs are pinned {has.pins_text or 'nowhere'}, not {given.pins_text}")
    really = _really(domain)
    found += [
        f"the thread of vCPU {vcpu} runs on CPU {format_cpus(really[vcpu])}, not on {format_cpus(cpus)} alone"
        for vcpu, cpus in given.pins.items()
        if has.pins.get(vcpu) == cpus and not set(really.get(vcpu, ())) <= set(cpus)
    ]
    found += [
        f"the memory of its cell {number} is bound to cell {format_cpus(lies.cells) or 'none'} of the host, "
        f"not to {format_cpus(node.cells)}"
        for number, (lies, node) in enumerate(zip(has.nodes, given.nodes))
        if lies.cells != node.cells
    ]
    return found


def _really(domain: Domain) -> dict[int, CpuSet]:
    """vCPU -> the CPUs that the kernel lets its thread run on; empty for a guest that is off by now."""
    try:
        vcpus, maps = domain.vcpus()
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_OPERATION_INVALID"):
            return {}
        raise
    return {vcpu[0]: tuple(cpu for cpu, may in enumerate(runs_on) if may) for vcpu, runs_on in zip(vcpus, maps)}


def _configurations(domain: Domain) -> t.Iterator[tuple[int, int]]:
    if domain.isActive():
        yield libvirt.VIR_DOMAIN_AFFECT_LIVE, 0
    if domain.isPersistent():
        yield libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_XML_INACTIVE


def _pin(domain: Domain, wanted: Tuning, flag: int, xml_flag: int) -> bool:
    has = Tuning.read(ET.fromstring(domain.XMLDesc(xml_flag)))  # noqa: S314 - libvirt wrote it
    astray = {vcpu: cpus for vcpu, cpus in wanted.pins.items() if has.pins.get(vcpu) != cpus}
    for vcpu, cpus in astray.items():
        domain.pinVcpuFlags(vcpu, _map(cpus), flag)
    if wanted.emulator and has.emulator != wanted.emulator:
        domain.pinEmulator(_map(wanted.emulator), flag)
        return True
    return bool(astray)


def _map(cpus: t.Collection[int]) -> tuple[bool, ...]:
    """As libvirt's bindings take it: for each CPU from 0 on whether it is in the set."""
    return tuple(cpu in cpus for cpu in range(max(cpus) + 1))


__all__ = ["astray", "pin"]
