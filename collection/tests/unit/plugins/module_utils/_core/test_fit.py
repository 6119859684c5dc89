# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    ISOLATE,
    MIXED,
    TYPE_PF,
    TYPE_VF,
    Fit,
    FitCell,
    FittedDevice,
    HostCell,
    HostTopology,
    Pages,
    PciDevice,
    free_devices,
)

CELL = HostCell(
    0, cpus=(0, 4), dedicated=(1, 2, 5, 6), siblings=((0, 4), (1, 5), (2, 6)), memory=4096, pages=(Pages(2048, 512),)
)
HOST = HostTopology((CELL, HostCell(1, cpus=(3, 7), memory=4096)), cpu_ratio=4.0)
GIVEN = FitCell(0, 0, (0, 1), 512, page_size=2048, pinning={1: 5}, cpus=(0, 4), cpu_policy=MIXED)
DEVICE = PciDevice("0000:03:00.1", "8086", "1520", TYPE_VF, numa_node=0, parent="0000:03:00.0")
FIT = Fit((GIVEN,), emulator_cpus=(0, 4, 5), pci=(FittedDevice("nic", DEVICE),))


@pytest.mark.parametrize("value", [HOST, FIT, DEVICE, CELL])
def test_what_travels_as_json_is_the_same_at_the_other_end(value: t.Any) -> None:
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize(
    "spoilt",
    [
        {"cells": [{"id": 0, "host_cell": 0, "vcpus": "01", "memory": 512}]},
        {"cells": [{"id": 0, "host_cell": 0, "vcpus": [0], "memory": True}]},
        {"cells": [{"id": 0, "host_cell": 0, "vcpus": [0], "memory": 512, "pinning": {"a": 1}}]},
        {"cells": 3},
        {"cores": []},
    ],
)
def test_a_spoilt_fit_is_an_invalid_record(spoilt: t.Any) -> None:
    with pytest.raises(InvalidRecord):
        Fit.from_json(spoilt)


def test_a_server_uses_its_cores_pages_and_memory() -> None:
    used, other = HOST.with_usage([FIT]).cells
    assert (used.cpu_usage, used.memory_usage, used.pinned) == (1, 512, (5,))
    assert used.pages[0].free == 512 - 256
    assert used.free_dedicated == {1, 2, 6}
    assert other == HOST.cells[1]


def test_without_a_page_size_the_smallest_pages_are_used() -> None:
    cell = HostCell(0, (0,), pages=(Pages(4, 1024), Pages(2048, 8)))
    used = HostTopology((cell,)).with_usage([Fit((FitCell(0, 0, (0,), 2),))]).cells[0]
    assert [pages.used for pages in used.pages] == [512, 0]


def test_isolate_takes_the_siblings_too() -> None:
    isolated = FitCell(0, 0, (0,), 256, pinning={0: 5}, reserved=(2,), thread_policy=ISOLATE)
    assert HOST.with_usage([Fit((isolated,))]).cells[0].pinned == (1, 2, 5, 6)


def test_a_cell_that_the_host_lacks_takes_nothing() -> None:
    assert HOST.with_usage([Fit((FitCell(0, 7, (0,), 256),))]) == HOST


def test_a_physical_function_and_its_virtual_ones_exclude_each_other() -> None:
    physical = PciDevice("0000:03:00.0", "8086", "1521", TYPE_PF)
    devices = (physical, DEVICE, PciDevice("0000:03:00.2", "8086", "1520", TYPE_VF, parent="0000:03:00.0"))
    assert free_devices(devices, ()) == devices
    assert free_devices(devices, {"0000:03:00.0"}) == ()
    assert free_devices(devices, {"0000:03:00.1"}) == (devices[2],)
