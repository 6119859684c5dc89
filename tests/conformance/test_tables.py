# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that Nova 34 has no more, or whose recordings show little: tables of their rules as Nova states them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    HostCell,
    HostTopology,
    Pages,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Inventory,
    Pool,
    Request,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table


def passes(name: str, host: HostState, request: Request) -> bool:
    """Both views of the rule, which have to agree."""
    rule, table = FILTERS[name](Settings()), Table([host])
    mask = bool(rule.mask(table, request)[0])
    assert mask is (rule.reason(table, 0, request) is None)
    return mask


# total >= asked, and total x ratio - used >= asked: a server may not be larger than the host, whatever the ratio.
OVERCOMMIT = [
    # total, ratio, used, asked, passes
    (16, 1.0, 0, 16, True),
    (16, 1.0, 0, 17, False),
    (16, 1.0, 1, 16, False),
    (16, 1.0, 16, 0, True),
    (16, 2.0, 16, 16, True),
    (16, 2.0, 17, 16, False),
    (16, 4.0, 0, 17, False),
    (16, 0.5, 0, 8, True),
    (16, 0.5, 0, 9, False),
    (16, 1.5, 8, 16, True),
    (16, 1.5, 9, 16, False),
    (1, 4.0, 0, 2, False),
]
# Of a host whose vCPUs nobody has counted Nova says nothing bad; without memory or disk it takes nothing.
UNKNOWN_TOTAL = [("RamFilter", False), ("CoreFilter", True), ("DiskFilter", False)]


@pytest.mark.parametrize(
    ("name", "total", "ratio", "used", "asked", "expected"),
    [
        *((name, *case) for name, _passes in UNKNOWN_TOTAL for case in OVERCOMMIT),
        *((name, 0, 4.0, used, 1, expected) for name, expected in UNKNOWN_TOTAL for used in (0, 3)),
    ],
)
def test_ram_core_and_disk(name: str, total: int, ratio: float, used: int, asked: int, expected: bool) -> None:
    inventory = Inventory(total, used=used, allocation_ratio=ratio)
    host = HostState(
        "kvm1",
        inventories={VCPU: inventory, MEMORY_MB: inventory},
        pools={"local": Pool("kvm1/local", inventory)},
        default_pool="local",
    )
    amounts = {"RamFilter": (0, asked, 0), "CoreFilter": (asked, 0, 0), "DiskFilter": (0, 0, asked)}[name]
    assert passes(name, host, Request("web1", Flavor("flavor", *amounts))) is expected


def test_core_passes_a_host_that_tells_no_vcpus() -> None:
    assert passes("CoreFilter", HostState("kvm1"), Request("web1", Flavor("flavor", 4, 512, 1)))


@pytest.mark.parametrize(("swap", "ephemeral", "expected"), [(0, 0, True), (0, 6, True), (0, 7, False), (1, 6, False)])
def test_disk_counts_root_ephemeral_and_swap(swap: int, ephemeral: int, expected: bool) -> None:
    host = HostState("kvm1", pools={"local": Pool("kvm1/local", Inventory(16))}, default_pool="local")
    flavor = Flavor("flavor", 1, 512, 10, ephemeral=ephemeral, swap=swap)
    assert passes("DiskFilter", host, Request("web1", flavor)) is expected


@pytest.mark.parametrize(
    ("tried", "expected"),
    [([], True), (["kvm2"], True), (["kvm1"], False), (["kvm2", "kvm1"], False), (["kvm10"], True)],
)
def test_retry(tried: list[str], expected: bool) -> None:
    request = Request("web1", Flavor("flavor", 1, 512, 1), retry_hosts=tried)
    assert passes("RetryFilter", HostState("kvm1"), request) is expected


@pytest.mark.parametrize(
    ("aggregates", "asked", "expected"),
    [
        ([], None, True),
        ([{"availability_zone": "east"}], None, True),
        ([], "nova", True),  # a host without a zone is in the default one
        ([{"ssd": "true"}], "nova", True),
        ([], "east", False),
        ([{"availability_zone": "east"}], "east", True),
        ([{"availability_zone": "east"}], "nova", False),
        ([{"availability_zone": "east"}], "eas", False),
        ([{"ssd": "true"}, {"availability_zone": "east"}], "east", True),
    ],
)
def test_availability_zone(aggregates: list[dict[str, str]], asked: str | None, expected: bool) -> None:
    request = Request("web1", Flavor("flavor", 1, 512, 1), zone=asked)
    assert passes("AvailabilityZoneFilter", HostState("kvm1", aggregates=aggregates), request) is expected


TWO_CELLS = HostTopology(
    (
        HostCell(0, (0, 1), (2, 3), memory=2048, pages=(Pages(4, 524288), Pages(2048, 256)), socket=0),
        HostCell(1, (4, 5), (6, 7), memory=2048, pages=(Pages(4, 524288), Pages(2048, 0)), socket=1, pinned=(7,)),
    ),
    cpu_ratio=2.0,
)
UNKNOWN = None


@pytest.mark.parametrize(
    ("topology", "vcpus", "ram", "specs", "expected"),
    [
        (UNKNOWN, 2, 512, {}, True),  # no topology is asked for
        (UNKNOWN, 2, 512, {"hw:numa_nodes": "1"}, False),  # none is known
        (TWO_CELLS, 2, 512, {"hw:numa_nodes": "2"}, True),
        (TWO_CELLS, 3, 768, {"hw:numa_nodes": "3"}, False),  # more cells than the host has
        (TWO_CELLS, 3, 512, {"hw:numa_nodes": "1"}, False),  # a guest does not overcommit against itself
        (TWO_CELLS, 2, 2049, {"hw:numa_nodes": "1"}, False),
        (TWO_CELLS, 2, 512, {"hw:cpu_policy": "dedicated"}, True),
        (TWO_CELLS, 3, 512, {"hw:cpu_policy": "dedicated"}, False),  # one cell's cores, not the host's
        (TWO_CELLS, 2, 512, {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "2"}, True),
        (TWO_CELLS, 4, 512, {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "2"}, False),  # CPU 7 is taken
        (TWO_CELLS, 2, 512, {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "require"}, False),
        (TWO_CELLS, 2, 512, {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"}, True),
        (TWO_CELLS, 2, 512, {"hw:mem_page_size": "large"}, True),
        (TWO_CELLS, 2, 514, {"hw:mem_page_size": "large"}, False),
        (TWO_CELLS, 2, 511, {"hw:mem_page_size": "2048"}, False),  # whole pages alone
        (TWO_CELLS, 2, 514, {"hw:mem_page_size": "any"}, True),  # small ones serve as well
        (TWO_CELLS, 2, 1024, {"hw:mem_page_size": "large", "hw:numa_nodes": "2"}, False),
        (TWO_CELLS, 2, 512, {"hw:mem_page_size": "1GB"}, False),  # a size that the host has not
        (TWO_CELLS, 2, 512, {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"}, False),
    ],
)
def test_numa_topology(
    topology: HostTopology | None, vcpus: int, ram: int, specs: dict[str, str], expected: bool
) -> None:
    request = Request("web1", Flavor("flavor", vcpus, ram, 1, extra_specs=specs))
    assert passes("NUMATopologyFilter", HostState("kvm1", topology=topology), request) is expected


ALIASES = (
    PciAlias("gpu", "10de", "1eb8", "type-PCI"),
    PciAlias("gpu", "10DE", "1db6", "type-PCI"),
    PciAlias("nic", "8086", "1520"),
    PciAlias("port", "8086", "1520", "type-PF"),
)
DEVICES = (
    PciDevice("0000:03:00.0", "8086", "1520", "type-PF"),
    PciDevice("0000:04:00.1", "8086", "1520", "type-VF", parent="0000:04:00.0"),
    PciDevice("0000:05:00.0", "10de", "1eb8"),
    PciDevice("0000:06:00.0", "10de", "1db6"),
)


@pytest.mark.parametrize(
    ("devices", "alias", "expected"),
    [
        ((), None, True),
        ((), "gpu:1", False),
        (DEVICES, "gpu:1", True),
        (DEVICES, "gpu:2", True),  # aliases of one name are alternatives
        (DEVICES, "gpu:3", False),
        (DEVICES, "nic:1", True),
        (DEVICES, "nic:2", False),  # a physical function has to be asked for
        (DEVICES, "port:1", True),
        (DEVICES, "port:2", False),
        (DEVICES, "gpu:2,nic:1,port:1", True),
        (DEVICES, "gpu:2,gpu:1", False),
    ],
)
def test_pci_passthrough(devices: t.Sequence[PciDevice], alias: str | None, expected: bool) -> None:
    specs = {} if alias is None else {"pci_passthrough:alias": alias}
    request = Request("web1", Flavor("flavor", 1, 512, 1, extra_specs=specs), pci_aliases=ALIASES)
    assert passes("PciPassthroughFilter", HostState("kvm1", pci_devices=devices), request) is expected
