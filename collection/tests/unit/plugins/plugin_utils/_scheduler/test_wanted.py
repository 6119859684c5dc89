# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What flavor and image ask of a host's hardware, and the sentence for what can't be asked. (Nova's own answers:
tests/conformance.)"""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciAlias
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.devices import wanted_devices
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import (
    WantedCell,
    WantedTopology,
    wanted_topology,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request

Texts = dict[str, t.Any]


def flavor(specs: Texts, vcpus: int = 4, ram: int = 1024) -> Flavor:
    return Flavor("m1.pinned", vcpus, ram, 10, extra_specs=specs)


@pytest.mark.parametrize(
    ("specs", "image", "wanted"),
    [
        ({}, {}, None),
        ({"hw:cpu_policy": "shared"}, {}, None),
        ({"hw:pci_numa_affinity_policy": "required"}, {"hw_disk_bus": "scsi"}, None),
        ({"hw:cpu_realtime": "no"}, {}, None),
        ({"hw:numa_nodes": 2}, {}, WantedTopology((WantedCell(0, (0, 1), (), 512), WantedCell(1, (2, 3), (), 512)))),
        ({}, {"hw_cpu_policy": "dedicated"}, WantedTopology((WantedCell(0, (), (0, 1, 2, 3), 1024),), "dedicated")),
        ({"hw:cpu_policy": "dedicated"}, {"hw_cpu_policy": "shared", "hw_cpu_thread_policy": "require"}, WantedTopology((WantedCell(0, (), (0, 1, 2, 3), 1024),), "dedicated", "require")),
        ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0-1"}, {}, WantedTopology((WantedCell(0, (0, 1), (2, 3), 1024),), "mixed")),
        ({"hw:mem_page_size": "large"}, {"hw_mem_page_size": "1GB"}, WantedTopology((WantedCell(0, (0, 1, 2, 3), (), 1024),), page_size=1048576)),
        ({"hw:mem_page_size": "16Mbit"}, {}, WantedTopology((WantedCell(0, (0, 1, 2, 3), (), 1024),), page_size=2048)),
        ({"resources:PCPU": "4", "trait:HW_CPU_HYPERTHREADING": "forbidden"}, {}, WantedTopology((WantedCell(0, (), (0, 1, 2, 3), 1024),), "dedicated", "isolate")),
    ],
)  # fmt: skip
def test_what_is_wanted(specs: Texts, image: Texts, wanted: WantedTopology | None) -> None:
    assert wanted_topology(flavor(specs), image) == wanted


DEDICATED = {"hw:cpu_policy": "dedicated"}
TWO = {"hw:numa_nodes": "2", "hw:numa_mem.0": "512", "hw:numa_mem.1": "512"}


@pytest.mark.parametrize(
    ("specs", "image", "sentence"),
    [
        ({"hw:cpu_policy": "pinned"}, {}, "flavor 'm1.pinned': extra spec 'hw:cpu_policy' should be one of dedicated, mixed, shared, found 'pinned'"),
        ({}, {"hw_cpu_policy": "pinned"}, "image property 'hw_cpu_policy' should be one of dedicated, mixed, shared, found 'pinned'"),
        ({"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}, "its extra spec 'hw:cpu_policy' is 'shared', which image property 'hw_cpu_policy' 'dedicated' may not change"),
        ({**DEDICATED, "hw:cpu_thread_policy": "all"}, {}, "should be one of prefer, isolate, require, found 'all'"),
        ({**DEDICATED, "hw:cpu_thread_policy": "isolate"}, {"hw_cpu_thread_policy": "require"}, "image property 'hw_cpu_thread_policy' 'require' may not change"),
        ({"hw:cpu_thread_policy": "isolate"}, {}, "CPU thread policy isolate needs 'hw:cpu_policy' dedicated or mixed"),
        ({**DEDICATED, "hw:cpu_thread_policy": "isolate", "trait:HW_CPU_HYPERTHREADING": "required"}, {}, "can't be asked for together; use one of them"),
        ({"hw:emulator_threads_policy": "isolate"}, {}, "extra spec 'hw:emulator_threads_policy' isolate needs 'hw:cpu_policy' dedicated or mixed"),
        ({"hw:emulator_threads_policy": "alone"}, {}, "should be one of isolate, share, found 'alone'"),
        ({"hw:cpu_policy": "mixed"}, {}, "CPU policy mixed needs the extra spec 'hw:cpu_dedicated_mask', such as 0-1"),
        ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-3"}, {}, "should name some of the vCPUs 0-3, and leave some to be shared, found '0-3'"),
        ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "some"}, {}, "'hw:cpu_dedicated_mask': 'some' is no set of CPUs"),
        ({**DEDICATED, "hw:cpu_dedicated_mask": "0"}, {}, "needs 'hw:cpu_policy' mixed, found dedicated"),
        ({**DEDICATED, "resources:PCPU": "4"}, {}, "'hw:cpu_policy' (dedicated) and 'resources:VCPU' or 'resources:PCPU' can't be asked for together"),
        ({"resources:PCPU": "4", "resources:VCPU": "4"}, {}, "'resources:VCPU' and 'resources:PCPU' can't be asked for together"),
        ({"resources:PCPU": "3"}, {}, "'resources:PCPU' should be 4, one for each vCPU"),
        ({"hw:numa_nodes": "none"}, {}, "extra spec 'hw:numa_nodes' should be a whole number from 1, found 'none'"),
        ({}, {"hw_numa_nodes": "0"}, "image property 'hw_numa_nodes' should be a whole number from 1, found '0'"),
        ({"hw:numa_nodes": "2"}, {"hw_numa_nodes": "2"}, "image property 'hw_numa_nodes' '2' may not change"),
        ({"hw:numa_nodes": "3"}, {}, "its 4 vCPUs and 1024 MiB can't be divided evenly among 3 NUMA nodes"),
        ({"hw:numa_nodes": "2", "hw:numa_cpus.0": "0-1"}, {}, "for each of its 2 NUMA nodes, from 0 on, or for none; found them for 1 and 0"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2-4"}, {}, "'hw:numa_cpus.1' is '2-4', the vCPUs are 0-3"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "1-3"}, {}, "'hw:numa_cpus.1' names vCPU 1, which is on another NUMA node already"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2"}, {}, "no 'hw:numa_cpus.N' names vCPU 3"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2-3", "hw:numa_mem.1": "511"}, {}, "should make 1024 MiB together, found 1023"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2-3", "hw:numa_mem.1": "half"}, {}, "'hw:numa_mem.1' should be a number of MiB, found 'half'"),
        ({**TWO, "hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2-3"}, {"hw_numa_cpus.0": "0-3"}, "'hw_numa_cpus.0' of the image may not change 'hw:numa_cpus.0' of the flavor"),
        ({"hw:numa_cpus.0": "0-3"}, {}, "'hw:numa_cpus.0' is about a NUMA node that isn't asked for: 'hw:numa_nodes' is none"),
        ({"hw:numa_nodes": "1", "hw:numa_mem.1": "512"}, {}, "'hw:numa_mem.1' is about a NUMA node that isn't asked for: 'hw:numa_nodes' is 1"),
        ({"hw:mem_page_size": "huge"}, {}, "should be small, large, any, or a size such as 2048 (KiB), 2MB or 1GB, found 'huge'"),
        ({"hw:mem_page_size": "2"}, {"hw_mem_page_size": "any"}, "image property 'hw_mem_page_size' 'any' may not change"),
        ({"hw:mem_page_size": "any"}, {"hw_mem_page_size": "10b"}, "image property 'hw_mem_page_size' should be small, large, any"),
        ({}, {"hw_mem_page_size": "large"}, "image property 'hw_mem_page_size' is 'large', which a flavor must allow"),
        ({**DEDICATED, "hw:cpu_realtime": "yes"}, {}, "extra spec 'hw:cpu_realtime' asks for real-time vCPUs, which Flotilla can't give; remove it"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_a_sentence(specs: Texts, image: Texts, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        wanted_topology(flavor(specs), image)
    assert sentence in str(caught.value)


ALIASES = (PciAlias("gpu", "10de", "1eb8", numa_policy="required"), PciAlias("nic", "8086", "1520"))


def test_devices_by_alias() -> None:
    wishes = wanted_devices(flavor({"pci_passthrough:alias": "gpu:2, nic:1"}), {}, ALIASES)
    assert [(wish.alias, wish.count, wish.policy) for wish in wishes] == [("gpu", 2, "required"), ("nic", 1, "legacy")]
    specs = {"pci_passthrough:alias": "gpu:1", "hw:pci_numa_affinity_policy": "preferred"}
    assert wanted_devices(flavor(specs), {}, ALIASES)[0].policy == "preferred"


@pytest.mark.parametrize(
    ("specs", "image", "aliases", "sentence"),
    [
        ({"pci_passthrough:alias": "gpu"}, {}, ALIASES, "extra spec 'pci_passthrough:alias' should be like gpu:2,nic:1, found 'gpu'"),
        ({"pci_passthrough:alias": "gpu:0"}, {}, ALIASES, "should be like gpu:2,nic:1, found 'gpu:0'"),
        ({"pci_passthrough:alias": "gpu:1,"}, {}, ALIASES, "should be like gpu:2,nic:1, found ''"),
        ({"pci_passthrough:alias": "gqu:1"}, {}, ALIASES, "asks for 'gqu', which is no alias of fleet_pci_aliases; did you mean 'gpu'?"),
        ({"pci_passthrough:alias": "gpu:1"}, {}, (), "known are none"),
        ({"pci_passthrough:alias": "gpu:1"}, {}, (*ALIASES, PciAlias("gpu", "10de", "1db6")), "the entries of 'gpu' should have one numa_policy and one device_type"),
        ({"pci_passthrough:alias": "gpu:1"}, {}, (PciAlias("gpu", "10de", "1db6", numa_policy="near"),), "numa_policy of 'gpu' should be one of legacy, preferred, required, socket, found 'near'"),
        ({"hw:pci_numa_affinity_policy": "near"}, {}, (), "should be one of legacy, preferred, required, socket, found 'near'"),
        ({"hw:pci_numa_affinity_policy": "legacy"}, {"hw_pci_numa_affinity_policy": "socket"}, (), "image property 'hw_pci_numa_affinity_policy' 'socket' may not change"),
    ],
)  # fmt: skip
def test_devices_that_can_not_be_asked_for(
    specs: Texts, image: Texts, aliases: tuple[PciAlias, ...], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        wanted_devices(flavor(specs), image, aliases)
    assert sentence in str(caught.value)


def test_a_request_that_can_not_be_met_anywhere_is_refused_by_its_sentence() -> None:
    refused = place([host()], [request(extra_specs={"hw:cpu_policy": "pinned"})]).refused["web1"]
    assert refused.sentence().startswith(
        "web1 can't be scheduled: flavor 'm1.small': extra spec 'hw:cpu_policy' should"
    )
