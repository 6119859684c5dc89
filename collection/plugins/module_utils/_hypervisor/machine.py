# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's machine is and can: libvirt's capabilities, as a survey tells them.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_model import read_cpu, write_cpu
from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import parse_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import SMALLEST_PAGE
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.capabilities import cpu_lacks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    is_error,
    libvirt,
    libvirt_error,
    supported,
)

#: Best first: what a host offers beside these comes after them.
_VIRT_TYPES = ("kvm", "qemu")

Facts = dict[str, t.Any]


def machine_facts(conn: Connection) -> Facts:
    """virt_types, machines, cpu, numa, memory and memory_free of a survey."""
    root = ET.fromstring(conn.getCapabilities())  # noqa: S314 - libvirt wrote it
    info = conn.getInfo()
    arch = root.findtext("host/cpu/arch", "")
    virt_types = _virt_types(root, arch)
    return {
        "virt_types": virt_types,
        "machines": _machines(root, arch),
        "cpu": {
            "arch": arch,
            "count": info[2],
            "topology": _topology(root, info),
            **_cpu_model(conn, root, arch, virt_types),
        },
        "numa": _cells(conn, root),
        **_memory(conn, info),
    }


def _virt_types(root: ET.Element, arch: str) -> list[str]:
    """What libvirt offers for the host's own architecture: /dev/kvm may be there and useless."""
    path = f"guest/arch[@name='{arch}']/domain"
    offered = list(dict.fromkeys(domain.get("type", "") for domain in root.iterfind(path)))
    return [kind for kind in _VIRT_TYPES if kind in offered] + [kind for kind in offered if kind not in _VIRT_TYPES]


def _machines(root: ET.Element, arch: str) -> dict[str, str]:
    """Alias -> canonical name: {"pc": "pc-i440fx-7.2"}."""
    machines = root.iterfind(f"guest/arch[@name='{arch}']//machine[@canonical]")
    return {machine.text or "": machine.get("canonical", "") for machine in machines}


def _topology(root: ET.Element, info: t.Sequence[t.Any]) -> dict[str, int]:
    topology = root.find("host/cpu/topology")
    if topology is None:
        return {"sockets": info[4] * info[5], "cores": info[6], "threads": info[7]}
    return {key: int(topology.get(key, "1")) for key in ("sockets", "cores", "threads")}


def _cpu_model(conn: Connection, root: ET.Element, arch: str, virt_types: t.Sequence[str]) -> Facts:
    """The CPU that guests see (host-model of the best virt type), with every feature by name, the model's own too.

    ``models`` are those with a name that work here, ``xml`` is what `baseline` takes; both are empty where libvirt
    can't tell.
    """
    modes = _modes(conn, arch, virt_types)
    mode = modes.find("mode[@name='host-model'][@supported='yes']")
    cpu = root.find("host/cpu") if mode is None else _expanded(conn, arch, virt_types[0], _cpu_of(mode))
    more = {
        "models": sorted(str(model.text) for model in modes.iterfind("mode[@name='custom']/model[@usable='yes']")),
        "xml": "" if mode is None else ET.tostring(_cpu_of(mode), encoding="unicode"),
    }
    if cpu is None:
        return {"model": None, "vendor": None, "features": [], **more}
    names = {feature.get("name", "") for feature in cpu.iterfind("feature") if feature.get("policy") != "disable"}
    return {"model": cpu.findtext("model"), "vendor": cpu.findtext("vendor"), "features": sorted(names), **more}


def _modes(conn: Connection, arch: str, virt_types: t.Sequence[str]) -> ET.Element:
    """The CPUs that guests of the best virt type can have; empty if libvirt can't tell."""
    text = supported(conn.getDomainCapabilities, None, arch, None, virt_types[0]) if virt_types else None
    found = None if text is None else ET.fromstring(text).find("cpu")  # noqa: S314 - libvirt wrote it
    return ET.Element("cpu") if found is None else found


def _cpu_of(mode: ET.Element) -> ET.Element:
    """A guest's CPU. One with its architecture is a host's to libvirt, which then takes all features for had, those
    too that are switched off."""
    cpu = ET.Element("cpu")
    cpu.extend(mode)
    return cpu


def baseline(conn: Connection, cpus: t.Sequence[str]) -> dict[str, t.Any]:
    """The best CPU that guests can have on each of the hosts that *cpus* are of (``cpu.xml`` of their surveys), and
    that can be migrated: {"model", "features"}."""
    root = ET.fromstring(conn.getCapabilities())  # noqa: S314 - libvirt wrote it
    arch = root.findtext("host/cpu/arch", "")
    virt_type = next(iter(_virt_types(root, arch)), None)
    flags = libvirt.VIR_CONNECT_BASELINE_CPU_MIGRATABLE
    try:
        text = conn.baselineHypervisorCPU(None, arch, None, virt_type, list(cpus), flags)
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "find", "the CPU that all of these hosts can give") from exc
    return read_cpu(ET.fromstring(text))  # noqa: S314 - libvirt wrote it


def asked(conn: Connection, model: Json) -> dict[str, Json]:
    """Whether guests here can have a CPU ({"model", "features"}): {"model": that, "lacks": what of it they can't}."""
    root = ET.fromstring(conn.getCapabilities())  # noqa: S314 - libvirt wrote it
    arch = root.findtext("host/cpu/arch", "")
    cpu = ET.Element("cpu")
    write_cpu(cpu, model)
    virt_type = next(iter(_virt_types(root, arch)), None)
    text = ET.tostring(cpu, encoding="unicode")
    why = cpu_lacks(conn, text, emulator=None, arch=arch, machine=None, virt_type=virt_type)
    return {"model": model, "lacks": f"its CPU {why}" if why.startswith("lacks ") else why}


def _expanded(conn: Connection, arch: str, virt_type: str, cpu: ET.Element) -> ET.Element:
    """A model with all its features written out, where libvirt can say (it can't for every architecture)."""
    try:
        flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        text = conn.baselineHypervisorCPU(None, arch, None, virt_type, [ET.tostring(cpu, encoding="unicode")], flags)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_NO_SUPPORT", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_OPERATION_UNSUPPORTED"):
            return cpu
        raise
    return ET.fromstring(text)  # noqa: S314 - libvirt wrote it


def _cells(conn: Connection, root: ET.Element) -> list[Facts]:
    """The host's NUMA cells: CPUs that are online, the threads of each core, and its pages by size in KiB."""
    cells = [_cell(cell) for cell in root.iterfind("host/topology/cells/cell")]
    sizes = sorted(
        {pages["size_kib"] for cell in cells for pages in cell["pages"] if pages["size_kib"] > SMALLEST_PAGE}
    )
    if cells and sizes:
        ids = [cell["id"] for cell in cells]
        free = supported(conn.getFreePages, sizes, min(ids), max(ids) - min(ids) + 1) or {}
        for cell in cells:
            for pages in cell["pages"]:
                pages["free"] = free.get(cell["id"], {}).get(pages["size_kib"])
    return cells


def _cell(cell: ET.Element) -> Facts:
    # Of a CPU that is offline libvirt knows neither socket nor siblings.
    online = [cpu for cpu in cell.iterfind("cpus/cpu") if cpu.get("siblings") is not None]
    groups = {parse_cpus(cpu.get("siblings", "")) for cpu in online}
    return {
        "id": int(cell.get("id", "0")),
        "memory_mib": int(cell.findtext("memory", "0")) // 1024,
        "cpus": sorted(int(cpu.get("id", "0")) for cpu in online),
        "siblings": sorted(list(group) for group in groups if len(group) > 1),
        "socket": int(online[0].get("socket_id", "0")) if online else None,
        "pages": [
            {"size_kib": int(pages.get("size", "0")), "count": int(pages.text or "0"), "free": None}
            for pages in cell.iterfind("pages")
        ],
    }


def _memory(conn: Connection, info: t.Sequence[t.Any]) -> dict[str, int]:
    """Free is what guests could have at once: caches are given up for them."""
    stats = supported(conn.getMemoryStats, libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    if stats is None:
        return {"memory": info[1], "memory_free": conn.getFreeMemory() // 1024**2}
    free = sum(stats.get(key, 0) for key in ("free", "buffers", "cached"))
    return {"memory": stats["total"] // 1024, "memory_free": free // 1024}


__all__ = ["asked", "baseline", "machine_facts"]
