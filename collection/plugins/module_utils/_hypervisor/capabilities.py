# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guest can be on this host: virtualised or emulated, and on which machine.

Note that this module util is **PRIVATE** to the collection.

Libvirt is asked for one domain's capabilities, which it keeps; those of the host are put together anew each time.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    is_error,
    libvirt,
    message_of,
)

_MISSING = re.compile(r"does not provide required features: ([^;]+)")
#: Best first.
_VIRT_TYPES = ("kvm", "qemu")
_REFUSED = ("VIR_ERR_INVALID_ARG", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_OPERATION_UNSUPPORTED")


def virt_type(conn: Connection, arch: str) -> str:
    """``kvm`` where this host can, else ``qemu``: the presence of /dev/kvm says nothing, QEMU has tried."""
    if conn.getType() == "TEST":
        return "test"
    for kind in _VIRT_TYPES:
        if _capabilities(conn, arch, None, kind) is not None:
            return kind
    raise InvalidInput(f"this host can't run guests of architecture {arch!r}; install the QEMU that emulates it")


def machine_name(conn: Connection, arch: str, machine: str | None) -> str:
    """The canonical name of a machine here (``pc-i440fx-9.2`` for ``pc``): QEMU's upgrades must not change it."""
    alias = machine or "pc"
    if conn.getType() == "TEST":
        return alias
    for kind in _VIRT_TYPES:
        capabilities = _capabilities(conn, arch, alias, kind)
        if capabilities is not None:
            return capabilities.findtext("machine", alias)
    raise InvalidInput(f"QEMU on this host has no machine {alias!r} for {arch}; see: qemu-system-{arch} -machine help")


def cpu_lacks(
    conn: Connection,
    cpu: str,
    *,
    emulator: str | None,
    arch: str | None,
    machine: str | None,
    virt_type: str | None,
) -> str:
    """What guests of this host can't have of a CPU (its XML): ``lacks avx2, mpx``, or libvirt's own words; empty if
    they can have all of it, or if libvirt can't tell for this architecture."""
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        conn.compareHypervisorCPU(emulator, arch, machine, virt_type, cpu, flags)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_NO_SUPPORT", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_OPERATION_UNSUPPORTED"):
            return ""
        missing = _MISSING.search(message_of(exc))
        return f"lacks {missing.group(1)}" if missing else message_of(exc)
    return ""


def _capabilities(conn: Connection, arch: str, machine: str | None, kind: str) -> ET.Element | None:
    try:
        return ET.fromstring(conn.getDomainCapabilities(None, arch, machine, kind, 0))  # noqa: S314 - libvirt wrote it
    except libvirt.libvirtError as exc:
        if is_error(exc, *_REFUSED):
            return None
        raise InvalidInput(f"libvirt can't say what guests of {arch} can be here: {message_of(exc)}") from exc


__all__ = ["cpu_lacks", "machine_name", "virt_type"]
