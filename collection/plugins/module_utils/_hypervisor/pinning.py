# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The vCPUs of a guest put back on the CPUs that it was given, while it runs.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Domain, libvirt


def pin(domain: Domain, wanted: Tuning) -> bool:
    """Pin vCPUs and the emulator's threads, in the running guest and for its next start. Whether that changed any."""
    # Each is looked at by itself: `virsh vcpupin` changes one of them alone.
    changed = [_pin(domain, wanted, flag, xml_flag) for flag, xml_flag in _configurations(domain)]
    return any(changed)


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


__all__ = ["pin"]
