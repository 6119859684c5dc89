# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest's cells on a host's: what is given, and why not. (Nova's own answers: tests/conformance.)"""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    TYPE_PF,
    TYPE_VF,
    Fit,
    FitCell,
    HostCell,
    HostTopology,
    Pages,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Inventory, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.numa import fit
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import place
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7))
THREADS = HostTopology(
    (
        HostCell(0, (0, 1), (2, 3, 4, 5, 6, 7), PAIRS, 4096, (Pages(4, 524288), Pages(2048, 1024)), socket=0),
        HostCell(1, (8, 9), (10, 11, 12, 13), ((8, 9), (10, 11), (12, 13)), 4096, (Pages(4, 1048576),), socket=0),
    ),
    cpu_ratio=2.0,
)
PLAIN = HostTopology((HostCell(0, (0, 1), (2, 3), memory=2048), HostCell(1, (4, 5), (6, 7), memory=2048)))
ALIASES = (PciAlias("nic", "8086", "1520", TYPE_VF), PciAlias("port", "8086", "1521", TYPE_PF))
NEAR = PciDevice("0000:03:00.0", "8086", "1520", TYPE_VF, numa_node=1)
NOWHERE = PciDevice("0000:04:00.0", "8086", "1520", TYPE_VF)
PINNED = {"hw:cpu_policy": "dedicated"}


def asked(vcpus: int = 2, ram: int = 512, **specs: str) -> Request:
    names = {"alias": "pci_passthrough:alias"}
    extra = {names.get(key, "hw:" + key.replace("__", ".")): value for key, value in specs.items()}
    return request(vcpus=vcpus, ram=ram, extra_specs=extra, pci_aliases=ALIASES)


def given(topology: HostTopology, wish: Request, devices: t.Sequence[PciDevice] = ()) -> Fit:
    found = fit(topology, devices, wish.topology, wish.devices)
    assert isinstance(found, Fit), found
    return found


@pytest.mark.parametrize(
    ("topology", "wish", "pinned"),
    [
        (THREADS, asked(cpu_policy="dedicated"), {0: 2, 1: 3}),
        (THREADS, asked(4, cpu_policy="dedicated", cpu_thread_policy="require"), {0: 2, 1: 3, 2: 4, 3: 5}),
        (THREADS, asked(5, cpu_policy="dedicated", cpu_thread_policy="prefer"), {0: 2, 1: 3, 2: 4, 3: 5, 4: 6}),
        (PLAIN, asked(cpu_policy="dedicated", cpu_thread_policy="isolate"), {0: 2, 1: 3}),
        (THREADS, asked(4, cpu_policy="mixed", cpu_dedicated_mask="^0-1"), {2: 2, 3: 3}),
        (THREADS, asked(numa_nodes="1"), {}),
    ],
)
def test_cores(topology: HostTopology, wish: Request, pinned: dict[int, int]) -> None:
    cell = given(topology, wish).cells[0]
    assert cell.pinning == pinned
    assert cell.cpus == ((0, 1) if cell.floating else ())


def test_the_emulators_threads() -> None:
    isolated = given(PLAIN, asked(1, cpu_policy="dedicated", emulator_threads_policy="isolate"))
    assert (isolated.cells[0].reserved, isolated.emulator_cpus) == ((3,), (3,))
    shared = given(PLAIN, asked(1, cpu_policy="dedicated", emulator_threads_policy="share"))
    assert (shared.cells[0].reserved, shared.emulator_cpus) == ((), (0, 1, 4, 5))
    assert given(PLAIN, asked(1, cpu_policy="dedicated")).emulator_cpus == (2,)


@pytest.mark.parametrize(
    ("size", "pages"),
    [("small", 4), ("large", 2048), ("any", 2048), ("2MB", 2048), ("4", 4)],
)
def test_pages(size: str, pages: int) -> None:
    found = given(THREADS, asked(mem_page_size=size)).cells[0]
    assert (found.host_cell, found.page_size) == (0, pages)


def test_cells_with_room_are_found_in_any_order() -> None:
    one, two = HostCell(0, (0,), memory=1024), HostCell(1, (1,), memory=4096)
    wish = asked(2, 4096, numa_nodes="2", numa_cpus__0="0", numa_cpus__1="1", numa_mem__0="3072", numa_mem__1="1024")
    assert [cell.host_cell for cell in given(HostTopology((one, two)), wish).cells] == [1, 0]


@pytest.mark.parametrize(("had", "gets"), [(4, 4), (2048, 2048), (None, 2048)])
def test_a_guest_that_runs_keeps_its_pages(had: int | None, gets: int) -> None:
    """Of a flavor that leaves their size open; one that runs on none of a said size is given what the flavor asks for."""
    wish = asked(mem_page_size="any")
    runs = Fit((FitCell(0, 1, (0, 1), 512, had),))
    assert given(THREADS, dataclasses.replace(wish, running=runs)).cells[0].page_size == gets
    gone = dataclasses.replace(wish, running=Fit((FitCell(0, 1, (0, 1), 512, 1048576),)))
    told = fit(THREADS, (), gone.topology, gone.devices)
    assert told == "no cell has 512 MiB in free pages of 1048576 KiB (cell 0: none, cell 1: none)"


def test_a_guest_that_runs_without_a_topology_asks_for_none_and_for_no_device() -> None:
    wish = dataclasses.replace(asked(cpu_policy="dedicated", alias="nic:1"), running=Fit())
    assert (wish.topology, wish.devices) == (None, ())
    assert wish.resources["VCPU"] == 2


@pytest.mark.parametrize(
    ("topology", "wish", "reason"),
    [
        (None, asked(numa_nodes="1"), "needs a NUMA topology, the host's is not known"),
        (PLAIN, asked(3, 513, numa_nodes="3"), "needs 3 NUMA cells, has 2"),
        (PLAIN, asked(4, cpu_policy="dedicated"), "no cell has 4 free dedicated CPUs (cell 0: 2, cell 1: 2)"),
        (PLAIN, asked(2, cpu_policy="dedicated", emulator_threads_policy="isolate"), "no cell has 3 free dedicated CPUs (cell 0: 2, cell 1: 2)"),
        (PLAIN, asked(cpu_policy="dedicated", cpu_thread_policy="require"), "no cell has cores of several threads (CPU thread policy require) (cell 0: cores of one, cell 1: cores of one)"),
        (THREADS, asked(cpu_policy="dedicated", cpu_thread_policy="isolate"), "no cell has cores of one thread (CPU thread policy isolate) (cell 0: cores of 2, cell 1: cores of 2)"),
        (PLAIN, asked(mem_page_size="large"), "no cell has 512 MiB in free large pages (cell 0: none, cell 1: none)"),
        (THREADS, asked(mem_page_size="1GB"), "no cell has 512 MiB in free pages of 1048576 KiB (cell 0: none, cell 1: none)"),
        (THREADS, asked(ram=3072, mem_page_size="2048"), "no cell has 3 GiB in free pages of 2048 KiB (cell 0: 1024 of 2048 KiB, cell 1: none)"),
        (PLAIN, asked(ram=4096, numa_nodes="1"), "no cell has 4 GiB (cell 0: 2 GiB, cell 1: 2 GiB)"),
        (PLAIN, asked(ram=4096, cpu_policy="dedicated"), "no cell has 4 GiB free (cell 0: 2 GiB, cell 1: 2 GiB)"),
        (PLAIN, asked(3, numa_nodes="1"), "no cell has 3 shared CPUs (cell 0: 2, cell 1: 2)"),
        (PLAIN, asked(3, 2048, numa_nodes="2", numa_cpus__0="0-2", numa_cpus__1="", numa_mem__0="1024", numa_mem__1="1024"), "no cell has 3 shared CPUs for guest cell 0 (cell 0: 2, cell 1: 2)"),
        (THREADS, asked(2, 2048, numa_nodes="2", mem_page_size="2048"), "its NUMA cells fit on too few of the host's: guest cell 0 on 0, guest cell 1 on 0"),
        (HostTopology((HostCell(0, (0,), (2, 3), memory=64), HostCell(1, (1,), (4,), memory=2048))), asked(cpu_policy="dedicated"), "no cell fits: cell 0 needs 512 MiB free, has 64 MiB; cell 1 needs 2 free dedicated CPUs, has 1"),
    ],
)  # fmt: skip
def test_reasons(topology: HostTopology | None, wish: Request, reason: str) -> None:
    assert fit(topology, (), wish.topology, wish.devices) == reason


def test_shared_cpus_and_memory_are_overcommitted_within_the_ratios() -> None:
    first = given(THREADS, asked(2, 1024, numa_nodes="1"))
    used = THREADS.with_usage([first, first])
    reason = fit(HostTopology(used.cells[:1], 2.0), (), asked(numa_nodes="1").topology, ())
    assert reason == "no cell has room for 2 shared vCPUs (cell 0: 0)"


@pytest.mark.parametrize(
    ("policy", "devices", "found"),
    [
        ("required", [NEAR], NEAR),
        ("required", [NOWHERE], None),
        ("legacy", [NOWHERE, NEAR], NEAR),
        ("legacy", [NOWHERE], NOWHERE),
        ("preferred", [PciDevice("0000:05:00.0", "8086", "1520", TYPE_VF, numa_node=7)], "0000:05:00.0"),
        ("legacy", [PciDevice("0000:05:00.0", "8086", "1520", TYPE_VF, numa_node=7)], None),
        ("socket", [PciDevice("0000:05:00.0", "8086", "1520", TYPE_VF, numa_node=0)], "0000:05:00.0"),
        ("socket", [NOWHERE], None),
    ],
)
def test_devices_near_the_cells(policy: str, devices: list[PciDevice], found: t.Any) -> None:
    """On cell 1, which alone has dedicated CPUs left."""
    busy = HostTopology((HostCell(0, (0,), memory=4096, socket=0), THREADS.cells[1]))
    wish = asked(cpu_policy="dedicated", alias="nic:1", pci_numa_affinity_policy=policy)
    chosen = fit(busy, devices, wish.topology, wish.devices)
    if found is None:
        assert isinstance(chosen, str)
        assert f"near its NUMA cells (policy {policy})" in chosen
        return
    assert isinstance(chosen, Fit)
    assert chosen.pci[0].device.address == getattr(found, "address", found)


def test_a_physical_function_is_not_spoilt_without_need() -> None:
    devices = (
        PciDevice("0000:03:00.0", "8086", "1521", TYPE_PF),
        PciDevice("0000:03:00.1", "8086", "1520", TYPE_VF, parent="0000:03:00.0"),
        PciDevice("0000:04:00.0", "8086", "1521", TYPE_PF),
    )
    both = asked(alias="port:1,nic:1").devices
    found = fit(None, devices, None, both)
    assert isinstance(found, Fit)
    assert [(one.alias, one.device.address) for one in found.pci] == [("port", "0000:04:00.0"), ("nic", "0000:03:00.1")]
    assert fit(None, devices[:2], None, both) == "needs 1 of PCI alias 'nic' (8086:1520), has 0 free"


def test_a_batch_gives_no_core_twice() -> None:
    found = host(topology=PLAIN, inventories={"VCPU": Inventory(4), "PCPU": Inventory(4), "MEMORY_MB": Inventory(4096)})
    batch = [request(f"web{number}", vcpus=1, ram=64, extra_specs=PINNED) for number in range(5)]
    placement = place([found], batch)
    cores = [core for placed in placement.placed.values() if placed.fit for core in placed.fit.cells[0].cores]
    assert sorted(cores) == [2, 3, 6, 7]
    assert list(placement.refused) == ["web4"]
    assert "needs 1 dedicated CPU, 0 dedicated CPUs free of 4" in placement.refused["web4"].sentence()


def test_a_dedicated_server_asks_for_pcpu() -> None:
    assert asked(3, cpu_policy="dedicated").resources == {"PCPU": 3, "MEMORY_MB": 512, "DISK_GB": 10}
    mixed = asked(3, cpu_policy="mixed", cpu_dedicated_mask="0", emulator_threads_policy="isolate").resources
    assert mixed == {"VCPU": 2, "PCPU": 2, "MEMORY_MB": 512, "DISK_GB": 10}
    by_resource = request(vcpus=3, ram=512, extra_specs={"resources:PCPU": "3"}).resources
    assert by_resource == {"PCPU": 3, "MEMORY_MB": 512, "DISK_GB": 10}
