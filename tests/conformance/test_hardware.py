# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topologies and fits: ours are what Nova's own code answered to generate_hardware.py."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    SHARED,
    Fit,
    HostTopology,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import WantedTopology

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hardware.json").read_text())
ALIASES = tuple(PciAlias(**alias) for alias in VECTORS["aliases"])
PAGES = {-1: "small", -2: "large", -3: "any"}


def request_of(server: t.Any) -> Request:
    flavor = Flavor("flavor", server["vcpus"], server["ram"], 0, extra_specs=server["extra_specs"])
    return Request("server", flavor, image_properties=server["image"], pci_aliases=ALIASES)


def as_nova(topology: WantedTopology | None) -> t.Any:
    if topology is None:
        return None
    return {
        "cells": [
            {"shared": list(cell.shared), "dedicated": list(cell.dedicated), "memory": cell.memory}
            for cell in topology.cells
        ],
        "cpu_policy": topology.cpu_policy,
        "thread_policy": topology.thread_policy,
        "page_size": topology.page_size,
        "emulator_policy": topology.emulator_policy,
    }


def answer(request: Request) -> t.Any:
    try:
        _devices, topology = request.devices, request.topology
    except InvalidInput:
        return "refused"
    return as_nova(topology)


@pytest.mark.parametrize("vector", VECTORS["topologies"], ids=range(len(VECTORS["topologies"])))
def test_the_wanted_topology(vector: t.Any) -> None:
    expected = vector.get("wanted", "refused")
    if isinstance(expected, dict):
        expected["page_size"] = PAGES.get(expected["page_size"], expected["page_size"])
        expected["cpu_policy"] = expected["cpu_policy"] or SHARED
    assert answer(request_of(vector)) == expected, vector


@pytest.mark.parametrize("host", VECTORS["hosts"], ids=range(len(VECTORS["hosts"])))
def test_what_a_host_gives(host: t.Any) -> None:
    """Servers come to it one after the other; each that fits stays."""
    topology = HostTopology.from_json(host["topology"])
    table = Table([HostState("kvm1", topology=topology, pci_devices=tuple(map(PciDevice.from_json, host["devices"])))])
    for number, server in enumerate(host["servers"]):
        request = request_of(server)
        found = table.fit(0, request)
        assert isinstance(found, Fit) == server["fits"], (number, server, found)
        if isinstance(found, Fit):
            cells = [
                {
                    "host": cell.host_cell,
                    "pins": {str(vcpu): cpu for vcpu, cpu in cell.pinning.items()},
                    "pages": cell.page_size,
                    "reserved": list(cell.reserved),
                }
                for cell in found.cells
            ]
            assert cells == server["cells"], (number, server)
            table.consume(0, request)
