# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Extra specs by the rules of Nova 34.0.0."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import extra_specs
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.extra_specs import problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hw:cpu_policy", "mixed"),
        ("hw:boot_menu", "Yes"),
        ("hw:boot_menu", False),
        ("hw:cpu_max_cores", "8"),
        ("hw:cpu_dedicated_mask", "0-3,^1"),
        ("hw:mem_page_size", "1GB"),
        ("hw:numa_cpus.12", "4"),
        ("quota:cpu_quota", -1),
        ("quota:disk_read_bytes_sec", "0"),
        ("pci_passthrough:alias", "gpu:2, nic:1"),
        ("resources:CUSTOM_GOLD", 1),
        ("resources_gpu:VGPU", "1"),
        ("trait1:CUSTOM_A_1", "forbidden"),
        ("capabilities:cpu_info:features", "<in> avx"),
        ("capabilities:hypervisor_version", ">= 9000"),
        ("aggregate_instance_extra_specs:any thing", "s== x"),
        ("group_policy", "isolate"),
        ("somebody:else", "x"),
        ("plain", "x"),
    ],
)
def test_allowed(name: str, value: t.Any) -> None:
    assert problem(name, value) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hw:cpu_policy", "Dedicated"),
        ("hw:boot_menu", "2"),
        ("hw:cpu_max_cores", "0"),
        ("hw:cpu_max_cores", 1.5),
        ("hw:numa_cpus.x", "4"),
        ("hw:numa_mem.0", 0),
        ("hw:", "x"),
        ("quota:disk_read_bytes_sec", -1),
        ("pci_passthrough:alias", "gpu"),
        ("resources:custom_gold", 1),
        ("resources:", 1),
        ("trait:CUSTOM_", "required"),
        ("capabilities:vcpu", "1"),
        ("group_policy", "any"),
    ],
)
def test_refused(name: str, value: t.Any) -> None:
    assert problem(name, value) is not None


def test_table_is_complete_and_can_be_used() -> None:
    table = load("extra_specs")

    assert len(table["specs"]) + len(table["traits"].split()) + len(table["resources"].split()) + 2 == 525
    for name, rule in table["specs"].items():
        assert set(rule) <= {"type", "enum", "pattern", "min", "max", "deprecated"}, name
        assert rule["type"] in ("str", "int", "bool"), name
        re.compile(rule.get("pattern", ""))
    assert len(extra_specs._table()[1]) == sum("{" in name for name in table["specs"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hw:numa_cpu.12", "hw:numa_cpus.12"),
        ("hw:numa_memory.0", "hw:numa_mem.0"),
        ("hw:cpu_polcy", "hw:cpu_policy"),
        ("trait1:HW_CPU_X86_AVX22", "trait1:HW_CPU_X86_AVX2"),
    ],
)
def test_the_nearest_right_name_is_proposed(name: str, hint: str) -> None:
    clauses = problem(name, "1")

    assert clauses is not None
    assert clauses["hint"] == hint
