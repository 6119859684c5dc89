# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for any hosts and servers that need cells, cores, pages and devices. Hypothesis looks for
counterexamples."""

from __future__ import annotations

import typing as t
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    TYPE_PF,
    TYPE_VF,
    Fit,
    HostCell,
    HostTopology,
    Pages,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.hardware import (
    NUMATopologyFilter,
    PciPassthroughFilter,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    PCPU,
    VCPU,
    HostState,
    Inventory,
    Pool,
    Request,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Placement, Scheduler, place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import examples

ALIASES = (PciAlias("nic", "8086", "1520"), PciAlias("port", "8086", "1521", TYPE_PF, "preferred"))


@st.composite
def cells(draw: st.DrawFn, number: int) -> HostCell:
    """Eight CPUs, of which some are shared, some dedicated, some in use."""
    first = number * 8
    split = draw(st.integers(0, 4))
    dedicated = tuple(range(first + split, first + 8))
    cores = draw(st.sampled_from([1, 2]))
    siblings = tuple(tuple(range(cpu, cpu + cores)) for cpu in range(first, first + 8, cores))
    huge = draw(st.sampled_from([(), (Pages(2048, 256),), (Pages(2048, 512, used=100, reserved=28),)]))
    return HostCell(
        number,
        tuple(range(first, first + split)),
        dedicated,
        siblings,
        memory=2048,
        pages=(Pages(4, 524288), *huge),
        socket=draw(st.sampled_from([None, 0, number])),
        pinned=draw(st.sampled_from([(), dedicated[:1], dedicated[1:3]])),
    )


@st.composite
def devices(draw: st.DrawFn) -> tuple[PciDevice, ...]:
    """Ports with virtual functions and without."""
    found = []
    for slot in range(draw(st.integers(0, 3))):
        address, node = f"0000:0{slot}:00.", draw(st.sampled_from([None, 0, 1]))
        found.append(PciDevice(f"{address}0", "8086", "1521", TYPE_PF, node))
        virtual = range(1, 1 + draw(st.integers(0, 2)))
        found += [PciDevice(f"{address}{n}", "8086", "1520", TYPE_VF, node, parent=f"{address}0") for n in virtual]
    return tuple(found)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostState:
    topology = HostTopology(tuple(draw(cells(number)) for number in range(draw(st.integers(1, 2)))), 2.0)
    cores = [cpu for cell in topology.cells for cpu in cell.dedicated]
    return HostState(
        name,
        inventories={
            VCPU: Inventory(sum(len(cell.cpus) for cell in topology.cells), allocation_ratio=4.0),
            PCPU: Inventory(len(cores), used=sum(len(cell.pinned) for cell in topology.cells)),
            MEMORY_MB: Inventory(8192),
        },
        pools={"local": Pool(name, Inventory(100))},
        default_pool="local",
        topology=draw(st.sampled_from([topology, topology, topology, None])),
        pci_devices=draw(devices()),
    )


# Sampled, as wishes that contradict each other are refused before any host is looked at.
CPUS: tuple[dict[str, str], ...] = (
    {},
    {"hw:cpu_policy": "dedicated"},
    {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "require"},
    {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"},
    {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"},
    {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0"},
)
CELLS: tuple[dict[str, str], ...] = ({}, {}, {"hw:numa_nodes": "1"}, {"hw:numa_nodes": "2"})
PAGES: tuple[dict[str, str], ...] = ({}, {}, {"hw:mem_page_size": "large"}, {"hw:mem_page_size": "any"})
DEVICES: tuple[dict[str, str], ...] = (
    {},
    {},
    {"pci_passthrough:alias": "nic:1"},
    {"pci_passthrough:alias": "port:1,nic:2"},
    {"pci_passthrough:alias": "port:1", "hw:pci_numa_affinity_policy": "required"},
)


@st.composite
def requests(draw: st.DrawFn, name: str) -> Request:
    specs: dict[str, str] = {}
    for wishes in (CPUS, CELLS, PAGES, DEVICES):
        specs |= draw(st.sampled_from(wishes))
    flavor = Flavor("flavor", draw(st.sampled_from([2, 2, 4])), draw(st.sampled_from([128, 256])), 1, extra_specs=specs)
    return Request(name, flavor, pci_aliases=ALIASES)


def several(make: t.Callable[[str], t.Any], name: str, least: int, most: int) -> st.SearchStrategy[t.Any]:
    numbers = st.integers(least, most)
    return numbers.flatmap(lambda count: st.tuples(*(make(f"{name}{number}") for number in range(count))))


FLEETS = several(hosts, "kvm", 1, 3)
BATCHES = several(requests, "server", 1, 8)
SETTINGS = st.builds(Settings, batch=st.sampled_from(["auto", "off"]))


def fits(placement: Placement, host: str) -> list[Fit]:
    return [placed.fit for placed in placement.placed.values() if placed.host == host and placed.fit is not None]


@examples(120)
@given(FLEETS, BATCHES, SETTINGS)
def test_mask_and_reason_agree(fleet: t.Any, batch: t.Any, options: Settings) -> None:
    scheduler = Scheduler(fleet, options)
    scheduler.place(batch[: len(batch) // 2])
    for rule in (NUMATopologyFilter(options), PciPassthroughFilter(options)):
        for request in batch:
            reasons = [rule.reason(scheduler.table, row, request) for row in range(len(fleet))]
            assert rule.mask(scheduler.table, request).tolist() == [reason is None for reason in reasons]


@examples(150)
@given(FLEETS, BATCHES, SETTINGS)
def test_nothing_is_given_twice(fleet: t.Any, batch: t.Any, options: Settings) -> None:
    """Cores, pages, devices: counted anew from the placement, not read from the table that made it."""
    placement = place(fleet, batch, options)
    for host in fleet:
        given_here = fits(placement, host.name)
        addresses = Counter(address for fit in given_here for address in fit.addresses)
        assert all(count == 1 for count in addresses.values())
        assert not {one.device.parent for fit in given_here for one in fit.pci} & set(addresses)
        for cell in host.topology.cells if host.topology else ():
            here = [one for fit in given_here for one in fit.cells if one.host_cell == cell.id]
            cores = Counter(core for one in here for core in (*one.pinning.values(), *one.reserved))
            assert all(count == 1 for count in cores.values())
            assert set(cores) <= cell.free_dedicated
            for pages in cell.pages:
                memory = sum(one.memory for one in here if one.page_size == pages.size_kb)
                assert memory * 1024 <= pages.free * pages.size_kb


@examples(150)
@given(FLEETS, BATCHES, SETTINGS)
def test_a_server_gets_what_it_asked_for(fleet: t.Any, batch: t.Any, options: Settings) -> None:
    placement = place(fleet, batch, options)
    by_name = {request.name: request for request in batch}
    for name, placed in placement.placed.items():
        wanted, fit = by_name[name].topology, placed.fit
        assert (fit is None) == (wanted is None and not by_name[name].devices)
        if fit is None:
            continue
        asked = Counter({wish.alias: wish.count for wish in by_name[name].devices})
        assert Counter(one.alias for one in fit.pci) == asked
        given_cells = [(cell.vcpus, cell.memory, tuple(sorted(cell.pinning))) for cell in fit.cells]
        wanted_cells = [(cell.vcpus, cell.memory, cell.dedicated) for cell in wanted.cells] if wanted else []
        assert given_cells == wanted_cells
        assert len({cell.host_cell for cell in fit.cells}) == len(fit.cells)
        assert sum(len(cell.reserved) for cell in fit.cells) == (wanted.reserved if wanted else 0)


@examples(80)
@given(FLEETS, BATCHES, st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_fit(fleet: t.Any, batch: t.Any, chance: t.Any) -> None:
    mixed_fleet, mixed_batch = list(fleet), list(batch)
    chance.shuffle(mixed_fleet)
    chance.shuffle(mixed_batch)
    assert place(mixed_fleet, mixed_batch) == place(fleet, batch)


@examples(100)
@given(FLEETS, BATCHES)
def test_a_fit_counts_the_same_from_records_as_in_the_batch(fleet: t.Any, batch: t.Any) -> None:
    """What a survey finds of the servers leads to the table that the batch ended with."""
    scheduler = Scheduler(fleet)
    placement = scheduler.place(batch)
    for row, host in enumerate(scheduler.table.hosts):
        if host.topology is None:
            continue
        after = host.topology.with_usage([Fit.from_json(fit.to_json()) for fit in fits(placement, host.name)])
        for request in batch:
            anew = Scheduler([HostState(host.name, topology=after, pci_devices=scheduler.table.devices(row))])
            assert anew.table.fit(0, request) == scheduler.table.fit(row, request)
