# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU sets, huge pages and PCI devices in inventory: what is taken, and a sentence for what is not."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciAlias
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hardware import (
    DeviceSpec,
    HardwareSettings,
    ReservedPages,
    hardware_settings,
    pci_aliases,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

GPU = {"vendor_id": "10de", "product_id": "1db4"}
SETTINGS: dict[str, t.Any] = {
    "compute_cpu_shared_set": "0-3,^2",
    "compute_cpu_dedicated_set": 7,
    "compute_reserved_huge_pages": [{"size": 2048, "count": 64}, {"node": 1, "size": 1048576, "count": 1}],
    "compute_pci_devices": [GPU, {"address": {"bus": "82"}, "physical_network": "physnet1"}, {"address": "*:0a:00.*"}],
}
ALIASES = {
    "gpu": GPU,
    "nic": [{**GPU, "device_type": "type-VF"}, {"vendor_id": "8086", "product_id": "154c", "device_type": "type-VF"}],
}


def test_what_is_written_and_what_is_not() -> None:
    assert hardware_settings({}) == HardwareSettings(None, None, (), ())
    assert hardware_settings(SETTINGS) == HardwareSettings(
        (0, 1, 3),
        (7,),
        (ReservedPages(0, 2048, 64), ReservedPages(1, 1048576, 1)),
        (
            DeviceSpec("10de", "1db4"),
            DeviceSpec(address={"bus": "82"}, physical_network="physnet1"),
            DeviceSpec(address="*:0a:00.*"),
        ),
    )
    assert pci_aliases({}) == ()
    assert pci_aliases({"fleet_pci_aliases": ALIASES}) == (
        PciAlias("gpu", "10de", "1db4"),
        PciAlias("nic", "10de", "1db4", "type-VF"),
        PciAlias("nic", "8086", "154c", "type-VF"),
    )


def test_all_of_it_is_valid(example: Example) -> None:
    example.kvm1.update(SETTINGS)
    example.fleet["fleet_pci_aliases"] = ALIASES
    example.flavor["extra_specs"] = {"pci_passthrough:alias": "gpu:1,nic:2"}
    assert example.mistaken() == []


BROKEN: list[tuple[t.Callable[[Example], object], str]] = [
    (
        lambda e: e.kvm1.update(compute_cpu_dedicated_set="4-"),
        "compute_cpu_dedicated_set (host kvm1): found '4-', allowed is numbers and ranges of CPUs, "
        "without those after ^, such as 0-3,^2,8.",
    ),
    (
        lambda e: e.kvm1.update(compute_cpu_shared_set="1,^1"),
        "compute_cpu_shared_set (host kvm1): found '1,^1', allowed is numbers and ranges of CPUs, "
        "without those after ^, such as 0-3,^2,8; at least one is left.",
    ),
    (
        lambda e: e.kvm1.update(compute_cpu_shared_set=[0, 1]),
        "compute_cpu_shared_set (host kvm1): found [0, 1], allowed is text or a whole number.",
    ),
    (
        lambda e: e.kvm1.update(compute_cpu_shared_set="0-3", compute_cpu_dedicated_set="2-7"),
        "compute_cpu_dedicated_set (host kvm1): CPU 2-3 is in compute_cpu_shared_set too, allowed is one of both.",
    ),
    (
        lambda e: e.kvm1.update(compute_reserved_huge_pages=[{"size": "2MiB", "count": 1}]),
        "compute_reserved_huge_pages[0].size (host kvm1): found '2MiB', allowed is a whole number.",
    ),
    (
        lambda e: e.kvm1.update(compute_reserved_huge_pages=[{"size": 2048}]),
        "compute_reserved_huge_pages[0].count (host kvm1): is missing, it must be a whole number such as 64.",
    ),
    (
        lambda e: e.kvm1.update(compute_pci_devices=[{}]),
        "compute_pci_devices[0] (host kvm1): found {}, allowed is at least 1 entry.",
    ),
    (
        lambda e: e.kvm1.update(compute_pci_devices=[{"vendor_id": 8086}]),
        "compute_pci_devices[0].vendor_id (host kvm1): found 8086, "
        "allowed is four hexadecimal digits in quotes, such as '10de'.",
    ),
    (
        lambda e: e.kvm1.update(compute_pci_devices=[{"address": "82:00.0"}]),
        "compute_pci_devices[0].address (host kvm1): found '82:00.0', allowed is an address such as 0000:82:00.0, "
        "with * for any domain, bus, slot or function.",
    ),
    (
        lambda e: e.kvm1.update(compute_pci_devices=[{"address": {"bus": "8["}}]),
        "compute_pci_devices[0].address.bus (host kvm1): found '8[', "
        "allowed is a regular expression (unterminated character set at position 1).",
    ),
    (
        lambda e: e.fleet.update(fleet_pci_aliases={"gpu": {**GPU, "device_type": "type-vf"}}),
        "fleet_pci_aliases.gpu.device_type: found 'type-vf', allowed is one of type-PCI, type-PF, type-VF; "
        "did you mean 'type-VF'?",
    ),
    (
        lambda e: e.fleet.update(fleet_pci_aliases={"gpu": []}),
        "fleet_pci_aliases.gpu: found [], allowed is a list of at least 1.",
    ),
    (
        lambda e: e.fleet.update(fleet_pci_aliases={"gpu": {"vendor_id": "10de"}}),
        "fleet_pci_aliases.gpu.product_id: is missing, it must be text such as '1db4'.",
    ),
    (
        lambda e: e.fleet.update(fleet_pci_aliases={"gpu:a": GPU}),
        "fleet_pci_aliases.gpu:a: found 'gpu:a' as a name, allowed is 1 to 255 characters without space, ',' and ':'.",
    ),
    (
        lambda e: e.fleet.update(fleet_pci_aliases={"gpu": [{**GPU, "numa_policy": "required"}, GPU]}),
        "fleet_pci_aliases.gpu: its entries have different numa_policy (none, required), "
        "allowed is one for all of them.",
    ),
    (
        lambda e: (
            e.fleet.update(fleet_pci_aliases=ALIASES),
            e.flavor.update(extra_specs={"pci_passthrough:alias": "gpu:1, nics:2"}),
        ),
        "fleet_flavors.m1.small.extra_specs.pci_passthrough:alias: found 'nics', "
        "allowed is an alias of fleet_pci_aliases (gpu, nic); did you mean 'nic'?",
    ),
    (
        lambda e: e.flavor.update(extra_specs={"pci_passthrough:alias": "gpu:1"}),
        "fleet_flavors.m1.small.extra_specs.pci_passthrough:alias: found 'gpu', "
        "allowed is an alias of fleet_pci_aliases (none).",
    ),
]


@pytest.mark.parametrize(("breaks", "sentence"), BROKEN)
def test_is_told(example: Example, breaks: t.Callable[[Example], object], sentence: str) -> None:
    breaks(example)
    assert example.mistaken() == [sentence]
