# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fitting a guest's NUMA cells on a host's (Nova: virt/hardware.py, numa_fit_instance_to_host).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Pure: the same host and the same wish give the same fit. Nova keeps what an earlier attempt left in the guest's cells
(a page size once chosen, cores of another cell); here each pair of cells is looked at by itself.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    ISOLATE,
    REQUIRE,
    SHARE,
    SHARED,
    Fit,
    FitCell,
    FittedDevice,
    HostCell,
    HostTopology,
    Pages,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.devices import WantedDevices, choose_devices
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import (
    ANY,
    LARGE,
    SMALL,
    WantedCell,
    WantedTopology,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.words import mebibytes


@dataclasses.dataclass(frozen=True)
class Shortage:
    """Why a guest's cell doesn't fit on a host's: what it needs, and what that cell has."""

    needs: str
    has: str


def fit(
    topology: HostTopology | None,
    free: t.Sequence[PciDevice],
    wanted: WantedTopology | None,
    devices: t.Sequence[WantedDevices],
) -> Fit | str:
    """What the host would give, or why it can't. *free* are the devices that nobody has."""
    if wanted is None:
        chosen = choose_devices(free, devices)
        return chosen if isinstance(chosen, str) else Fit(pci=chosen)
    if topology is None or not topology.cells:
        return "needs a NUMA topology, the host's is not known"
    if len(wanted.cells) > len(topology.cells):
        return f"needs {len(wanted.cells)} NUMA cells, has {len(topology.cells)}"
    hosts = _in_order(topology, free, wanted, devices)
    tried = [[_fit_cell(host, cell, wanted, topology) for host in hosts] for cell in wanted.cells]
    options = [[index for index, one in enumerate(row) if isinstance(one, FitCell)] for row in tried]
    near: dict[frozenset[int], tuple[FittedDevice, ...] | str] = {}
    for assignment in _assignments(options):
        cells = frozenset(hosts[index].id for index in assignment)
        if cells not in near:
            near[cells] = choose_devices(free, devices, topology, cells)
        chosen = near[cells]
        if not isinstance(chosen, str):
            fitted = tuple(t.cast("FitCell", tried[cell][index]) for cell, index in enumerate(assignment))
            return Fit(fitted, wanted.emulator_policy, _emulator_cpus(topology, wanted, fitted), chosen)
    for cell, row in zip(wanted.cells, tried):
        if not any(isinstance(one, FitCell) for one in row):
            return _no_cell(wanted, cell, {host.id: t.cast("Shortage", one) for host, one in zip(hosts, row)})
    if near:
        return "; ".join(sorted({str(why) for why in near.values()}))
    return _rivals(hosts, options)


def _assignments(options: t.Sequence[t.Sequence[int]], taken: tuple[int, ...] = ()) -> t.Iterator[tuple[int, ...]]:
    """A host's cell for each of the guest's, none twice, in the order of Nova's permutations."""
    if len(taken) == len(options):
        yield taken
        return
    for index in options[len(taken)]:
        if index not in taken:
            yield from _assignments(options, (*taken, index))


def _in_order(
    topology: HostTopology, free: t.Iterable[PciDevice], wanted: WantedTopology, devices: t.Sequence[WantedDevices]
) -> list[HostCell]:
    """The cells to try first: emptiest first, those with PCI devices last, or first for a guest that asks for some."""
    cells = list(topology.cells)
    if len(cells) == len(wanted.cells):
        return cells
    cells.sort(key=lambda cell: cell.memory - cell.memory_usage, reverse=True)
    if wanted.cpu_policy == SHARED:
        cells.sort(key=lambda cell: cell.cpu_usage)
    else:
        cells.sort(key=lambda cell: len(cell.free_dedicated), reverse=True)
    nodes = [device.numa_node for device in free]
    cells.sort(key=lambda cell: nodes.count(cell.id), reverse=bool(devices))
    return cells


def _fit_cell(host: HostCell, cell: WantedCell, wanted: WantedTopology, topology: HostTopology) -> FitCell | Shortage:
    reserved = wanted.reserved if cell.id == 0 else 0
    page_size = None
    wish = wanted.page_size if cell.page_size is None else cell.page_size
    if wish is None:
        shortage = _memory_shortage(host, cell, wanted)
    else:
        pages = _pages(host, cell, wish)
        shortage = pages if isinstance(pages, Shortage) else None
        page_size = pages.size_kb if isinstance(pages, Pages) else None
    shortage = shortage or _cpu_shortage(host, cell, wanted, reserved)
    if shortage:
        return shortage
    pinning: dict[int, int] = {}
    cores: tuple[int, ...] = ()
    if wanted.cpu_policy != SHARED:
        packed = _pack(host, cell, wanted.thread_policy, reserved)
        if isinstance(packed, Shortage):
            return packed
        pinning, cores = packed
    return _limit_shortage(host, cell, wanted, topology) or FitCell(
        cell.id,
        host.id,
        cell.vcpus,
        cell.memory,
        page_size,
        pinning,
        host.cpus if cell.shared else (),
        cores,
        wanted.cpu_policy,
        wanted.thread_policy,
    )


def _pages(host: HostCell, cell: WantedCell, wish: int | str) -> Pages | Shortage:
    """The largest pages, of those that the wish allows, that the cell's memory fits on."""
    pages = sorted(host.pages, key=lambda one: one.size_kb, reverse=True)
    allowed = {ANY: pages, LARGE: pages[:-1], SMALL: pages[-1:]}.get(str(wish))
    if allowed is None:
        allowed = [one for one in pages if one.size_kb == wish]
    needed = cell.memory * 1024
    for one in allowed:
        if needed <= one.free * one.size_kb and needed % one.size_kb == 0:
            return one
    kind = f"pages of {wish} KiB" if isinstance(wish, int) else f"{wish} pages"
    has = ", ".join(f"{max(one.free, 0)} of {one.size_kb} KiB" for one in allowed) or "none"
    return Shortage(f"{mebibytes(cell.memory)} in free {kind}", has)


def _memory_shortage(host: HostCell, cell: WantedCell, wanted: WantedTopology) -> Shortage | None:
    """Memory is overcommitted on a cell, but never by one guest alone, and never for a pinned one."""
    pinned = wanted.cpu_policy != SHARED
    if host.pages:
        smallest = min(host.pages, key=lambda one: one.size_kb)
        number = smallest.free if pinned else smallest.total
        room, whole = number * smallest.size_kb / 1024, cell.memory * 1024 % smallest.size_kb == 0
    else:
        room, whole = host.memory - (host.memory_usage if pinned else 0), True
    if cell.memory <= room and whole:
        return None
    return Shortage(f"{mebibytes(cell.memory)}{' free' if pinned else ''}", mebibytes(max(room, 0)))


def _cpu_shortage(host: HostCell, cell: WantedCell, wanted: WantedTopology, reserved: int) -> Shortage | None:
    if wanted.cpu_policy != SHARED:
        cores, free = len(cell.dedicated) + reserved, len(host.free_dedicated)
        if cores > free:
            return Shortage(f"{cores} free dedicated CPU{'s' * (cores != 1)}", str(free))
    if len(cell.shared) > len(host.cpus):
        return Shortage(f"{len(cell.shared)} shared CPUs", str(len(host.cpus)))
    return None


def _limit_shortage(
    host: HostCell, cell: WantedCell, wanted: WantedTopology, topology: HostTopology
) -> Shortage | None:
    """What the guests on a cell may have together, by the host's allocation ratios."""
    if wanted.cpu_policy == DEDICATED:
        return None
    vcpus = len(host.cpus) * topology.cpu_ratio - host.cpu_usage
    if len(cell.shared) > vcpus:
        return Shortage(f"room for {len(cell.shared)} shared vCPUs", f"{max(vcpus, 0):g}")
    memory = host.memory * topology.ram_ratio - host.memory_usage
    if cell.memory > memory:
        return Shortage(f"{mebibytes(cell.memory)} free", mebibytes(max(memory, 0)))
    return None


def _pack(
    host: HostCell, cell: WantedCell, policy: str | None, reserved: int
) -> tuple[dict[int, int], tuple[int, ...]] | Shortage:
    """A core for each dedicated vCPU, and *reserved* further ones (Nova: _pack_instance_onto_cores).

    Threads of a core are given together as far as they go, the emptiest cores first; policy isolate only has cores
    without threads, require only those with some.
    """
    threads = max(map(len, host.siblings), default=1) or 1
    if policy == ISOLATE and threads > 1:
        return Shortage("cores of one thread (CPU thread policy isolate)", f"cores of {threads}")
    if policy == REQUIRE and threads == 1:
        return Shortage("cores of several threads (CPU thread policy require)", "cores of one")
    if not cell.dedicated and (reserved or policy == ISOLATE or not cell.shared):
        return Shortage("use for a guest cell without dedicated vCPUs", "none")
    cores = _free_cores(host)
    sizes = range(max(map(len, cores), default=1), 1 if policy == REQUIRE else 0, -1)
    for size in sizes:
        usable = [core for core in cores if len(core) >= size]
        given = list(itertools.chain.from_iterable(core[:size] for core in usable))[: len(cell.dedicated)]
        left = [cpu for cpu in itertools.chain.from_iterable(cores) if cpu not in given][:reserved]
        if len(given) == len(cell.dedicated) and len(left) == reserved:
            return dict(zip(cell.dedicated, given)), tuple(left)
    if policy == REQUIRE:
        return _too_few_threads(cell, cores)
    everything = list(itertools.chain.from_iterable(cores))
    pinned = len(cell.dedicated)
    return dict(zip(cell.dedicated, everything)), tuple(everything[pinned : pinned + reserved])


def _free_cores(host: HostCell) -> list[list[int]]:
    """The free dedicated threads of each core; a CPU whose siblings nobody knows is a core by itself."""
    known = frozenset(itertools.chain.from_iterable(host.siblings))
    cores = [sorted(host.free_dedicated.intersection(group)) for group in host.siblings]
    cores += [[cpu] for cpu in sorted(host.free_dedicated - known)]
    return [core for core in cores if core]


def _too_few_threads(cell: WantedCell, cores: t.Iterable[t.Sequence[int]]) -> Shortage:
    paired = sum(len(core) for core in cores if len(core) > 1)
    return Shortage(f"{len(cell.dedicated)} free dedicated CPUs on cores with several free threads", str(paired))


def _emulator_cpus(topology: HostTopology, wanted: WantedTopology, cells: t.Iterable[FitCell]) -> tuple[int, ...]:
    """Policy isolate has a core of its own, share the host's shared CPUs; else they run where the vCPUs do."""
    if wanted.emulator_policy == ISOLATE:
        return tuple(cpu for cell in cells for cpu in cell.reserved)
    shared = {cpu for host in topology.cells for cpu in host.cpus}
    if wanted.emulator_policy == SHARE and shared:
        return tuple(sorted(shared))
    return tuple(sorted({cpu for cell in cells for cpu in (*cell.pinning.values(), *cell.cpus)}))


def _no_cell(wanted: WantedTopology, cell: WantedCell, tried: t.Mapping[int, Shortage]) -> str:
    """``no cell has 4 free dedicated CPUs (cell 0: 2, cell 1: 3)``; *tried* by the ids of the host's cells."""
    whom = f" for guest cell {cell.id}" if len(wanted.cells) > 1 else ""
    found = sorted(tried.items())
    needs = {shortage.needs for shortage in tried.values()}
    if len(needs) == 1:
        return f"no cell has {needs.pop()}{whom} ({', '.join(f'cell {cell_id}: {one.has}' for cell_id, one in found)})"
    each = "; ".join(f"cell {cell_id} needs {one.needs}, has {one.has}" for cell_id, one in found)
    return f"no cell fits{whom}: {each}"


def _rivals(hosts: t.Sequence[HostCell], options: t.Sequence[t.Sequence[int]]) -> str:
    each = (
        f"guest cell {number} on {', '.join(map(str, sorted(hosts[index].id for index in row)))}"
        for number, row in enumerate(options)
    )
    return f"its NUMA cells fit on too few of the host's: {', '.join(each)}"


__all__ = ["Shortage", "fit"]
