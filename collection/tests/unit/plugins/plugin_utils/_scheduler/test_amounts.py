# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What flavors and images ask for: amounts of resource classes, and traits; and the traits that hosts have."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import amounts_of, traits_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.traits import (
    ARCH_TRAITS,
    CPU_TRAITS,
    host_traits,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load


def flavor(**extra_specs: str) -> Flavor:
    return Flavor("f", 2, 1024, 10, swap=1, extra_specs={key.replace("__", ":"): v for key, v in extra_specs.items()})


PLAIN = {"VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 11}


@pytest.mark.parametrize(
    ("specs", "amounts"),
    [
        ({}, PLAIN),
        ({"resources__CUSTOM_GPU": "2"}, {**PLAIN, "CUSTOM_GPU": 2}),
        ({"resources__VCPU": "4"}, {**PLAIN, "VCPU": 4}),
        ({"resources__MEMORY_MB": "0"}, {"VCPU": 2, "DISK_GB": 11}),
        ({"resources1__CUSTOM_GPU": "2"}, {**PLAIN, "CUSTOM_GPU": 2}),
        # Both groups, and the group without a name, ask the one provider that a host is.
        (
            {
                "resources__CUSTOM_GPU": "1", "resources1__CUSTOM_GPU": "2", "resources_b__VCPU": "1",
                "group_policy": "none",
            },
            {**PLAIN, "CUSTOM_GPU": 3, "VCPU": 3},
        ),
        ({"trait__CUSTOM_SSD": "required", "hw__cpu_policy": "shared"}, PLAIN),
    ],
)  # fmt: skip
def test_amounts(specs: dict[str, str], amounts: dict[str, int]) -> None:
    assert amounts_of(flavor(**specs)) == amounts


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ({"resources__VCPU": "many"}, r"'f': extra spec 'resources:VCPU' should be a whole number, found 'many'"),
        ({"resources__VCPU": "-1"}, r"should be a whole number, found '-1'"),
        (
            {"resources1__CUSTOM_A": "1", "resources2__CUSTOM_B": "1"},
            r"2 request groups \(1, 2\); Placement then wants group_policy; set extra spec group_policy to none",
        ),
        (
            {"resources1__CUSTOM_A": "1", "resources2__CUSTOM_B": "1", "group_policy": "isolate"},
            r"isolate wants a resource provider for each, and a host is one",
        ),
    ],
)
def test_amounts_that_no_host_could_give(specs: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        amounts_of(flavor(**specs))


def test_traits_of_flavor_and_image_hold_together() -> None:
    wanted = flavor(trait__CUSTOM_SSD="required", trait1__CUSTOM_OLD="forbidden")
    assert traits_of(wanted, {"trait:HW_CPU_X86_AVX2": "required", "os_type": "linux"}) == {
        "HW_CPU_X86_AVX2": "required",
        "CUSTOM_SSD": "required",
        "CUSTOM_OLD": "forbidden",
    }
    with pytest.raises(InvalidInput, match="trait CUSTOM_SSD is both required and forbidden"):
        traits_of(wanted, {"trait:CUSTOM_SSD": "forbidden"})


def test_the_traits_in_the_tables_are_those_of_os_traits() -> None:
    known = set(load("extra_specs")["traits"].split())
    named = {trait for traits in (*CPU_TRAITS.values(), *ARCH_TRAITS.values()) for trait in traits}
    assert named - known == set()
    assert {"COMPUTE_STATUS_DISABLED", "COMPUTE_NODE", "HW_CPU_HYPERTHREADING"} <= known


@pytest.mark.parametrize(
    ("cpu", "enabled", "traits"),
    [
        ({}, True, {"CUSTOM_SSD"}),
        ({}, False, {"CUSTOM_SSD", "COMPUTE_STATUS_DISABLED"}),
        (
            {"arch": "x86_64", "features": ["avx2", "pni", "vmx", "lahf_lm"], "topology": {"threads": 2}},
            True,
            {
                "CUSTOM_SSD", "COMPUTE_NODE", "HW_ARCH_X86_64", "COMPUTE_ARCH_X86_64", "HW_CPU_HYPERTHREADING",
                "HW_CPU_X86_AVX2", "HW_CPU_X86_SSE3", "HW_CPU_X86_VMX", "HW_CPU_X86_INTEL_VMX",
            },
        ),
    ],
)  # fmt: skip
def test_traits_of_a_host(cpu: dict[str, t.Any], enabled: bool, traits: set[str]) -> None:
    assert host_traits(cpu, enabled=enabled, added=["CUSTOM_SSD"]) == traits
