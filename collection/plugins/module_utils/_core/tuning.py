# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a domain lies on its host's hardware: CPUs that its threads may run on, NUMA cells, pages, PCI devices.

Note that this module util is **PRIVATE** to the collection.

One value stands between a server's record and its domain's XML: what the record's fit asks for is written from it, and
what a survey finds is read into it, so that both can be compared. The XML is what Nova's libvirt driver makes
(driver.py, _get_guest_numa_config and _get_guest_memory_backing_config).
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from xml.etree.ElementTree import Element, SubElement

from .cpu_set import CpuSet, format_cpus, parse_cpus
from .errors import InvalidInput
from .fit import Fit, FitCell
from .serial import Json, fields, from_json

#: KiB. Memory in pages of this size is ordinary memory; all that are larger are set aside by the host.
SMALLEST_PAGE = 4

_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")


@dataclasses.dataclass(frozen=True)
class Node:
    """A NUMA cell of the guest. ``cells`` are the host's that its memory is bound to (none: it isn't bound),
    ``memory`` is in MiB, ``page_size`` in KiB (None: ordinary pages)."""

    vcpus: CpuSet
    memory: int
    cells: tuple[int, ...] = ()
    page_size: int | None = None

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Node:
        return from_json(cls, data, "NUMA node", {"vcpus": tuple, "cells": tuple})


@dataclasses.dataclass(frozen=True)
class Tuning:
    """``cpuset``: where the guest's threads run, unless ``pins`` (by vCPU) and ``emulator`` say otherwise.

    ``devices`` are the addresses of the host's PCI devices that it has, sorted. A guest with none of this is Tuning().
    """

    cpuset: CpuSet = ()
    pins: t.Mapping[int, CpuSet] = dataclasses.field(default_factory=dict)
    emulator: CpuSet = ()
    nodes: tuple[Node, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[t.Mapping[int, CpuSet], CpuSet]:
        """Where each vCPU and the emulator's threads run: what can be changed while the guest runs."""
        return self.pins, self.emulator

    @property
    def pins_text(self) -> str | None:
        """``0 on 4, 1 on 20, emulator on 4,20``; None for a guest that is pinned to nothing."""
        named = [(str(vcpu), cpus) for vcpu, cpus in sorted(self.pins.items())]
        named += [("emulator", self.emulator)] if self.emulator else []
        return ", ".join(f"{name} on {format_cpus(cpus)}" for name, cpus in named) or None

    @property
    def pinned(self) -> frozenset[int]:
        """All host CPUs that some vCPU is pinned to."""
        return frozenset(cpu for cpus in self.pins.values() for cpu in cpus)

    @property
    def cpus(self) -> frozenset[int]:
        """All host CPUs that it names."""
        return self.pinned.union(self.cpuset, self.emulator)

    @property
    def shape(self) -> tuple[tuple[CpuSet, int, int | None], ...]:
        """What the guest itself sees of its cells, which stays as long as it runs: vCPUs, memory, and size of pages."""
        return tuple((node.vcpus, node.memory, node.page_size) for node in self.nodes)

    @property
    def shape_text(self) -> str:
        """``vCPU 0-1 with 512 MiB in pages of 2048 KiB``; ``none``."""
        named = (
            f"vCPU {format_cpus(vcpus) or 'none'} with {memory} MiB" + (f" in pages of {size} KiB" if size else "")
            for vcpus, memory, size in self.shape
        )
        return "; ".join(named) or "none"

    @property
    def huge_pages(self) -> dict[tuple[int, int], int]:
        """How many huge pages its memory takes, by the host's cell and their size in KiB."""
        found: dict[tuple[int, int], int] = {}
        for node in self.nodes:
            if node.page_size is not None and node.cells:
                where = (node.cells[0], node.page_size)
                found[where] = found.get(where, 0) + node.memory * 1024 // node.page_size
        return found

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Tuning:
        return from_json(cls, data, "tuning", _NESTED)

    @classmethod
    def of(cls, fit: Fit | None) -> Tuning:
        """What a server with this fit should have."""
        if fit is None:
            return cls()
        cells = sorted(fit.cells, key=lambda cell: cell.id)
        return cls(
            cpuset=() if cells else tuple(sorted(fit.cpus)),
            pins={vcpu: cpus for cell in cells for vcpu, cpus in _pins(cell)},
            emulator=tuple(sorted(fit.emulator_cpus)),
            nodes=tuple(
                Node(tuple(sorted(cell.vcpus)), cell.memory, (cell.host_cell,), _huge(cell.page_size)) for cell in cells
            ),
            devices=tuple(sorted(fit.addresses)),
        )

    @classmethod
    def read(cls, root: Element) -> Tuning:
        """What a domain's XML says, whoever's it is."""
        return cls(
            cpuset=_cpus(root.find("vcpu")),
            pins={
                int(pin.get("vcpu", "0")): _cpus(pin)
                for pin in sorted(root.iterfind("cputune/vcpupin"), key=lambda pin: int(pin.get("vcpu", "0")))
            },
            emulator=_cpus(root.find("cputune/emulatorpin")),
            nodes=_nodes(root),
            devices=tuple(sorted(_read_devices(root))),
        )

    def write(self, root: Element) -> None:
        """Into a domain that has its ``vcpu`` and ``cpu`` elements already; devices are written by write_devices."""
        vcpu, cpu = root.find("vcpu"), root.find("cpu")
        if self.cpuset and vcpu is not None:
            vcpu.set("cpuset", format_cpus(self.cpuset))
        if self.pins or self.emulator:
            self._write_pins(SubElement(root, "cputune"))
        if self.nodes:
            _write_memory(root, self.nodes)
            if cpu is not None:
                _write_nodes(SubElement(cpu, "numa"), self.nodes)

    def _write_pins(self, cputune: Element) -> None:
        for vcpu in sorted(self.pins):
            SubElement(cputune, "vcpupin", vcpu=str(vcpu), cpuset=format_cpus(self.pins[vcpu]))
        if self.emulator:
            SubElement(cputune, "emulatorpin", cpuset=format_cpus(self.emulator))

    def rewrite(self, root: Element) -> None:
        """Into the domain of a guest that goes on running on another host: where its threads run and its cells lie.

        What the guest sees stays, and so does what others have tuned: shares, and pins of a guest that was given none.
        """
        vcpu = root.find("vcpu")
        if vcpu is not None:
            vcpu.attrib.pop("cpuset", None)
            if self.cpuset:
                vcpu.set("cpuset", format_cpus(self.cpuset))
        if not self.nodes:
            return
        cputune = root.find("cputune")
        if cputune is None:
            cputune = SubElement(root, "cputune")
        for old in (*cputune.findall("vcpupin"), *cputune.findall("emulatorpin")):
            cputune.remove(old)
        self._write_pins(cputune)
        for binding in root.findall("numatune"):
            root.remove(binding)
        _write_binding(root, self.nodes)

    def write_devices(self, devices: Element) -> None:
        for address in self.devices:
            hostdev = SubElement(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
            SubElement(SubElement(hostdev, "source"), "address", _address(address))


def _pins(cell: FitCell) -> t.Iterator[tuple[int, CpuSet]]:
    """Each vCPU of the cell with the host CPUs for it: its own core, or those that the cell's others float on."""
    floats = tuple(sorted(cell.cpus))
    for vcpu in sorted(cell.vcpus):
        cpus = (cell.pinning[vcpu],) if vcpu in cell.pinning else floats
        if cpus:
            yield vcpu, cpus


def _huge(page_size: int | None) -> int | None:
    return page_size if page_size is not None and page_size > SMALLEST_PAGE else None


def _write_memory(root: Element, nodes: t.Sequence[Node]) -> None:
    huge = [(number, node.page_size) for number, node in enumerate(nodes) if node.page_size is not None]
    if huge:
        pages = SubElement(SubElement(root, "memoryBacking"), "hugepages")
        for number, size in huge:
            SubElement(pages, "page", size=str(size), unit="KiB", nodeset=str(number))
    _write_binding(root, nodes)


def _write_binding(root: Element, nodes: t.Sequence[Node]) -> None:
    """Strict: a guest that doesn't fit into its cells fails to start, rather than being slow for ever."""
    bound = sorted({cell for node in nodes for cell in node.cells})
    if not bound:
        return
    numatune = SubElement(root, "numatune")
    SubElement(numatune, "memory", mode="strict", nodeset=format_cpus(bound))
    for number, node in enumerate(nodes):
        if node.cells:
            SubElement(numatune, "memnode", cellid=str(number), mode="strict", nodeset=format_cpus(node.cells))


def _write_nodes(numa: Element, nodes: t.Sequence[Node]) -> None:
    for number, node in enumerate(nodes):
        cell = SubElement(numa, "cell", id=str(number))
        if node.vcpus:
            cell.set("cpus", format_cpus(node.vcpus))
        cell.set("memory", str(node.memory))
        cell.set("unit", "MiB")
        if any(each.page_size is not None for each in nodes):
            # As Nova does: a back end outside of QEMU (vhost-user) needs it, and a running guest can't be given it.
            cell.set("memAccess", "shared")


def _nodes(root: Element) -> tuple[Node, ...]:
    nodes = tuple(_read_nodes(root))
    # A domain that memory can be plugged into must have a cell, which says nothing of where it lies.
    plain = root.find("maxMemory") is not None and not any(node.cells or node.page_size for node in nodes)
    return () if plain else nodes


def _read_nodes(root: Element) -> t.Iterator[Node]:
    pages, others = _read_pages(root)
    for number, cell in enumerate(root.iterfind("cpu/numa/cell")):
        memnode = root.find(f"numatune/memnode[@cellid='{number}']")
        binding = root.find("numatune/memory") if memnode is None else memnode
        yield Node(
            vcpus=_cpus(cell, "cpus"),
            memory=int(cell.get("memory", "0")) * _KIB.get(cell.get("unit", "KiB"), 1) // 1024,
            cells=_cpus(binding, "nodeset"),
            page_size=pages.get(number, others),
        )


def _read_pages(root: Element) -> tuple[dict[int, int], int | None]:
    """The sizes of pages by the guest's cell, and that of all cells that are not named."""
    backing = root.find("memoryBacking/hugepages")
    if backing is None:
        return {}, None
    named: dict[int, int] = {}
    others = None if len(backing) else _DEFAULT_PAGE
    for page in backing.iterfind("page"):
        size = int(page.get("size", "0")) * _KIB.get(page.get("unit", "KiB"), 1)
        if page.get("nodeset") is None:
            others = size
        else:
            named.update(dict.fromkeys(parse_cpus(page.get("nodeset", "")), size))
    return named, others


#: KiB. Huge pages of no said size are the host's default ones: on x86 of 2 MiB, unless its kernel was told otherwise.
_DEFAULT_PAGE = 2048
#: libvirt's units of memory as KiB; it writes KiB itself.
_KIB = {"KiB": 1, "k": 1, "MiB": 1024, "M": 1024, "GiB": 1024**2, "G": 1024**2}


def _read_devices(root: Element) -> t.Iterator[str]:
    """PCI devices of the host: passed through as such, or as network interfaces."""
    holders = (*root.iterfind("devices/hostdev[@type='pci']"), *root.iterfind("devices/interface[@type='hostdev']"))
    for holder in holders:
        address = holder.find("source/address")
        if address is not None:
            parts = [int(address.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function")]
            yield "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _address(text: str) -> dict[str, str]:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise InvalidInput(f"a PCI device has the address {text!r}; it should be as 0000:03:00.0")
    return {name: f"0x{part}" for name, part in zip(("domain", "bus", "slot", "function"), match.groups())}


def _cpus(element: Element | None, attribute: str = "cpuset") -> CpuSet:
    """A set of CPUs (or cells) that libvirt wrote; it refuses to define a domain with one that can't be read."""
    return () if element is None else parse_cpus(element.get(attribute, ""))


_NESTED: dict[str, t.Callable[[Json], t.Any]] = {
    "cpuset": tuple,
    "pins": lambda value: {int(vcpu): tuple(cpus) for vcpu, cpus in value.items()},
    "emulator": tuple,
    "nodes": lambda value: tuple(Node.from_json(item) for item in value),
    "devices": tuple,
}

__all__ = ["SMALLEST_PAGE", "Node", "Tuning"]
