# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resource classes and traits in an inventory: what is wrong with them, a sentence for each."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

WHERE = "compute_resources.{} (host kvm1): "


def resources(**classes: t.Any) -> t.Callable[[Example], object]:
    return lambda e: e.kvm1.update(compute_resources=classes)


BROKEN: list[tuple[t.Callable[[Example], object], str]] = [
    (
        resources(GPU=2),
        WHERE.format("GPU")
        + "found 'GPU', allowed is a class of your own, which begins with CUSTOM_, or VCPU, MEMORY_MB, DISK_GB; "
        "did you mean 'CUSTOM_GPU'?",
    ),
    (
        resources(MEMORY_GB={"step_size": 1}),
        WHERE.format("MEMORY_GB")
        + "found 'MEMORY_GB', allowed is a class of your own, which begins with CUSTOM_, or VCPU, MEMORY_MB, DISK_GB; "
        "did you mean 'MEMORY_MB'?",
    ),
    (
        resources(VGPU=1),
        WHERE.format("VGPU") + "found 'VGPU', a class of Placement's that no host here has, allowed is a class of your "
        "own, which begins with CUSTOM_, or VCPU, MEMORY_MB, DISK_GB.",
    ),
    (
        resources(custom_gpu=1),
        "compute_resources.custom_gpu (host kvm1): found 'custom_gpu' as a name, allowed is a resource class: CUSTOM_ "
        "and capital letters, digits and '_', or VCPU, MEMORY_MB, DISK_GB.",
    ),
    (resources(CUSTOM_GPU=0), WHERE.format("CUSTOM_GPU") + "found 0, allowed is a number of at least 1."),
    (resources(CUSTOM_GPU="2"), WHERE.format("CUSTOM_GPU") + "found '2', allowed is a whole number or a mapping."),
    (
        resources(CUSTOM_GPU={"reserved": 1}),
        WHERE.format("CUSTOM_GPU") + "total is missing: how many of it the host has.",
    ),
    (
        resources(CUSTOM_GPU={"total": 2, "reserved": 3}),
        WHERE.format("CUSTOM_GPU.reserved") + "found 3, allowed is at most the total, 2.",
    ),
    (
        resources(CUSTOM_GPU={"total": 2, "min_unit": 3}),
        WHERE.format("CUSTOM_GPU.min_unit") + "found 3, allowed is at most the total, 2.",
    ),
    (
        resources(CUSTOM_GPU={"total": 9, "min_unit": 3, "max_unit": 2}),
        WHERE.format("CUSTOM_GPU.max_unit") + "found 2, allowed is at least min_unit, 3.",
    ),
    (
        resources(MEMORY_MB={"max_unit": 256, "step_size": 512}),
        WHERE.format("MEMORY_MB.step_size") + "found 512, allowed is at most max_unit, 256: no amount would do.",
    ),
    (
        resources(CUSTOM_GPU={"total": 2, "totals": 2}),
        WHERE.format("CUSTOM_GPU.totals")
        + "'totals' is not known here, allowed are allocation_ratio, max_unit, min_unit, "
        "reserved, step_size, total; did you mean 'total'?",
    ),
    (
        resources(VCPU={"reserved": 2}),
        WHERE.format("VCPU.reserved") + "is compute_reserved's to say for VCPU; put it there.",
    ),
    (resources(VCPU=64), WHERE.format("VCPU") + "how much VCPU a host has is measured; leave it out."),
    (
        lambda e: e.kvm1.update(compute_traits=["HW_CPU_X86_AVX3"]),
        "compute_traits[0] (host kvm1): found 'HW_CPU_X86_AVX3', allowed is a trait of os-traits, or one of your own, "
        "which begins with CUSTOM_; did you mean 'HW_CPU_X86_AVX'?",
    ),
    (
        lambda e: e.kvm1.update(compute_traits=["COMPUTE_STATUS_DISABLED"]),
        "compute_traits[0] (host kvm1): COMPUTE_STATUS_DISABLED is a host's whose compute_state is not enabled; "
        "set that instead.",
    ),
    (
        lambda e: (
            e.kvm1.update(compute_resources={"CUSTOM_GPU": 2}),
            e.flavor.update(extra_specs={"resources:CUSTOM_GPUS": 1}),
        ),
        "fleet_flavors.m1.small.extra_specs.resources:CUSTOM_GPUS: no compute host has the resource class CUSTOM_GPUS "
        "(compute_resources); did you mean 'CUSTOM_GPU'?",
    ),
    (
        lambda e: (
            e.kvm1.update(compute_traits=["CUSTOM_NVME"]),
            e.image.update(properties={"trait:CUSTOM_NVMES": "required"}),
        ),
        "fleet_images.debian-12.properties.trait:CUSTOM_NVMES: no compute host has the trait CUSTOM_NVMES "
        "(compute_traits); did you mean 'CUSTOM_NVME'?",
    ),
    (
        lambda e: e.image.update(properties={"trait:HW_CPU_X86_AVX2": "wanted"}),
        "fleet_images.debian-12.properties.trait:HW_CPU_X86_AVX2: found 'wanted', allowed is one of required, "
        "forbidden.",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BROKEN)
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)
    assert example.mistaken() == [sentence]


def test_what_is_right_is_taken(example: Example) -> None:
    given = {
        "CUSTOM_GPU": 2,
        "CUSTOM_LICENSE": {"total": 10, "reserved": 1, "allocation_ratio": 2.0, "min_unit": 2, "max_unit": 4},
        "MEMORY_MB": {"step_size": 512},
    }
    example.kvm1.update(compute_resources=given, compute_traits=["CUSTOM_SSD", "HW_CPU_X86_AVX2"])
    # Like none that a host has: the host that has it may be away.
    example.flavor.update(extra_specs={"resources:CUSTOM_FPGA": 1, "resources1:CUSTOM_GPU": 1})
    assert example.mistaken() == []
    settings = compute_settings(example.kvm1)
    assert settings.custom_resources == {"CUSTOM_GPU": {"total": 2}, "CUSTOM_LICENSE": given["CUSTOM_LICENSE"]}
    assert settings.units("MEMORY_MB") == {"step_size": 512}
    assert settings.units("VCPU") == {}
