# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's special hardware and what of it a server has been given: NUMA cells, dedicated cores, pages, PCI devices.

Note that this module util is **PRIVATE** to the collection.

Memory is in MiB, page sizes in KiB. All values are frozen; what is used is counted by ``with_usage``, which gives a new
topology. The rules are Nova's (nova/virt/hardware.py: numa_usage_from_instance_numa; nova/objects/numa.py).
"""

from __future__ import annotations

import dataclasses
import typing as t

from .serial import Json, fields, from_json

SHARED = "shared"
DEDICATED = "dedicated"
MIXED = "mixed"

PREFER = "prefer"
ISOLATE = "isolate"
REQUIRE = "require"

SHARE = "share"  # emulator threads on the shared cores; their other policy is ISOLATE

TYPE_PCI = "type-PCI"
TYPE_PF = "type-PF"
TYPE_VF = "type-VF"


@dataclasses.dataclass(frozen=True)
class Pages:
    """Memory pages of one size on a host's cell; ``used`` and ``reserved`` are numbers of pages."""

    size_kb: int
    total: int
    used: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        return self.total - self.used - self.reserved

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Pages:
        return from_json(cls, data, "page size", {})


@dataclasses.dataclass(frozen=True)
class HostCell:
    """A NUMA cell of a host.

    ``cpus`` serve shared vCPUs, ``dedicated`` are given to one vCPU each; ``siblings`` are the groups of threads of one
    core (empty when the host has no threads). ``memory`` is all of the cell's, MiB. ``cpu_usage`` (shared vCPUs) and
    ``memory_usage`` count servers that asked for a topology; ``pinned`` are the dedicated cores that are in use.
    """

    id: int
    cpus: tuple[int, ...]
    dedicated: tuple[int, ...] = ()
    siblings: tuple[tuple[int, ...], ...] = ()
    memory: int = 0
    pages: tuple[Pages, ...] = ()
    socket: int | None = None
    cpu_usage: int = 0
    memory_usage: int = 0
    pinned: tuple[int, ...] = ()

    @property
    def free_dedicated(self) -> frozenset[int]:
        return frozenset(self.dedicated).difference(self.pinned)

    def with_siblings(self, cpus: t.Iterable[int]) -> frozenset[int]:
        """*cpus* and the other threads of their cores: what policy isolate takes."""
        taken = frozenset(cpus)
        return taken.union(*(group for group in self.siblings if taken.intersection(group)))

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> HostCell:
        return from_json(cls, data, "host cell", _CELL)


@dataclasses.dataclass(frozen=True)
class FitCell:
    """A guest's NUMA cell on a host's.

    ``vcpus`` are all of the guest cell's; ``pinning`` maps those that have a dedicated core to it, the others float on
    ``cpus``, the host cell's shared ones. ``reserved`` are dedicated cores for the emulator's threads.
    ``page_size`` None is the host's default.
    """

    id: int
    host_cell: int
    vcpus: tuple[int, ...]
    memory: int
    page_size: int | None = None
    pinning: t.Mapping[int, int] = dataclasses.field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()
    cpu_policy: str = SHARED
    thread_policy: str | None = None

    @property
    def floating(self) -> tuple[int, ...]:
        """The vCPUs that have no core of their own."""
        return tuple(vcpu for vcpu in self.vcpus if vcpu not in self.pinning)

    @property
    def cores(self) -> frozenset[int]:
        """The dedicated cores, without siblings that policy isolate keeps idle."""
        return frozenset(self.pinning.values()).union(self.reserved)

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> FitCell:
        return from_json(cls, data, "cell", _CELL)


@dataclasses.dataclass(frozen=True)
class HostTopology:
    """A host's cells. No more shared vCPUs go on a cell than ``cpu_ratio`` per CPU, no more memory than ``ram_ratio``
    times its own; a single server never exceeds the cell itself (Nova: NUMATopologyLimits)."""

    cells: tuple[HostCell, ...]
    cpu_ratio: float = 1.0
    ram_ratio: float = 1.0

    def with_usage(self, fits: t.Iterable[Fit]) -> HostTopology:
        """The same host with these servers on it as well. A cell that the host lacks (a record from another host) is
        passed over: it takes nothing here."""
        cells = {cell.id: cell for cell in self.cells}
        for fit in fits:
            for given in fit.cells:
                if given.host_cell in cells:
                    cells[given.host_cell] = _used(cells[given.host_cell], given)
        return dataclasses.replace(self, cells=tuple(cells[cell.id] for cell in self.cells))

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> HostTopology:
        return from_json(cls, data, "host topology", {"cells": _list_of(HostCell)})


@dataclasses.dataclass(frozen=True)
class PciDevice:
    """A PCI device of a host that servers may have.

    ``address`` is ``0000:03:00.0``; ids are four hexadecimal digits; ``dev_type`` one of the TYPE_ values. ``parent``
    is the address of a VF's physical function. ``attributes`` are further tags of the host's device_spec, as text.
    """

    address: str
    vendor_id: str
    product_id: str
    dev_type: str = TYPE_PCI
    numa_node: int | None = None
    physical_network: str | None = None
    parent: str | None = None
    attributes: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> PciDevice:
        return from_json(cls, data, "PCI device", {})


@dataclasses.dataclass(frozen=True)
class FittedDevice:
    """A device that a server has, and the alias it asked by."""

    alias: str
    device: PciDevice

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> FittedDevice:
        return from_json(cls, data, "fitted PCI device", {"device": PciDevice.from_json})


@dataclasses.dataclass(frozen=True)
class Fit:
    """What of its special hardware a host has given to a server.

    ``cells`` is empty for a server that asked for PCI devices alone. ``emulator_policy`` is as asked (share, isolate,
    None); ``emulator_cpus`` are the host CPUs that the emulator's threads belong on, empty without a topology. ``cpus``
    are those that a server without a topology floats on (compute_cpu_shared_set), empty where any will do.
    """

    cells: tuple[FitCell, ...] = ()
    emulator_policy: str | None = None
    emulator_cpus: tuple[int, ...] = ()
    pci: tuple[FittedDevice, ...] = ()
    cpus: tuple[int, ...] = ()

    @property
    def addresses(self) -> frozenset[str]:
        """The PCI addresses in use."""
        return frozenset(given.device.address for given in self.pci)

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Fit:
        return from_json(cls, data, "fit", _FIT)


@dataclasses.dataclass(frozen=True)
class PciAlias:
    """One way to meet a request for the device ``name`` (Nova: [pci] alias). Several of one name are alternatives.

    ``device_type`` None is any but a physical function; ``numa_policy`` None is that of flavor or image, else legacy.
    """

    name: str
    vendor_id: str
    product_id: str
    device_type: str | None = None
    numa_policy: str | None = None

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> PciAlias:
        return from_json(cls, data, "PCI alias", {})


def free_devices(devices: t.Iterable[PciDevice], used: t.Collection[str]) -> tuple[PciDevice, ...]:
    """The devices that can still be given, when those at the addresses *used* are not.

    A physical function is taken with its virtual ones, and can't be given while one of them is (Nova: pci/stats.py).
    """
    everything = tuple(devices)
    parents = {device.parent for device in everything if device.address in used and device.parent}
    return tuple(
        device
        for device in everything
        if device.address not in used and device.address not in parents and device.parent not in used
    )


def _used(cell: HostCell, given: FitCell) -> HostCell:
    cores = cell.with_siblings(given.cores) if given.thread_policy == ISOLATE else given.cores
    # A guest that asked for no page size is on the smallest.
    taken = given.page_size or min((pages.size_kb for pages in cell.pages), default=None)
    return dataclasses.replace(
        cell,
        cpu_usage=cell.cpu_usage + len(given.floating),
        memory_usage=cell.memory_usage + given.memory,
        pinned=tuple(sorted(cores.union(cell.pinned))),
        pages=tuple(_pages_used(pages, given.memory, taken == pages.size_kb) for pages in cell.pages),
    )


def _pages_used(pages: Pages, memory: int, taken: bool) -> Pages:
    return dataclasses.replace(pages, used=pages.used + memory * 1024 // pages.size_kb) if taken else pages


def _list_of(cls: t.Any) -> t.Callable[[Json], tuple[t.Any, ...]]:
    return lambda value: tuple(cls.from_json(item) for item in value)


def _number(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} should be a whole number")
    return value


def _number_or_none(value: Json) -> int | None:
    return None if value is None else _number(value)


def _numbers(value: Json) -> tuple[int, ...]:
    return tuple(map(_number, value))


# Of cells, host's and guest's: their keys don't contradict each other. A record comes from a domain's metadata, which
# anybody on the host can write: what is counted is looked at.
_CELL: dict[str, t.Callable[[Json], t.Any]] = {
    "id": _number,
    "cpus": _numbers,
    "dedicated": _numbers,
    "siblings": lambda value: tuple(map(_numbers, value)),
    "memory": _number,
    "pages": _list_of(Pages),
    "pinned": _numbers,
    "host_cell": _number,
    "vcpus": _numbers,
    "page_size": _number_or_none,
    "pinning": lambda value: {int(vcpu): _number(core) for vcpu, core in value.items()},
    "reserved": _numbers,
}
_FIT: dict[str, t.Callable[[Json], t.Any]] = {
    "cells": _list_of(FitCell),
    "emulator_cpus": _numbers,
    "cpus": _numbers,
    "pci": _list_of(FittedDevice),
}

__all__ = [
    "DEDICATED",
    "ISOLATE",
    "MIXED",
    "PREFER",
    "REQUIRE",
    "SHARE",
    "SHARED",
    "TYPE_PCI",
    "TYPE_PF",
    "TYPE_VF",
    "Fit",
    "FitCell",
    "FittedDevice",
    "HostCell",
    "HostTopology",
    "Pages",
    "PciAlias",
    "PciDevice",
    "free_devices",
]
