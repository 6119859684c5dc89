# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operators of extra specs, weighers, settings."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciDevice
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Instance, ServerGroup
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.operators import match
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.weighers import BY_NAME, WEIGHERS
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request


@pytest.mark.parametrize(
    ("value", "requirement", "matches"),
    [
        ("1", "1", True),
        ("1", "", False),
        ("", "", True),
        ("3", "= 2", True),  # = is >=
        ("2", "== 2.0", True),
        ("2", "!= 3", True),
        ("11", ">= 3", True),
        ("11", "s>= 3", False),
        ("3", "<= 3 9", True),  # only the first operand counts
        ("> 2", "> 2", True),  # no operator of Nova's: the whole text
        ("3", "> 2", False),
        ("b", "s> a", True),
        ("a", "s!= b", True),
        ("x86_64", "<in> 86", True),
        ("['aes', 'avx']", "<all-in> aes avx", True),
        ("['aes']", "<all-in> aes avx", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
        ("a", "<or> a <or>", True),
        ("5", ">=", False),
    ],
)
def test_match(value: str, requirement: str, matches: bool) -> None:
    assert match(value, requirement) is matches


@pytest.mark.parametrize(("value", "requirement"), [("a", "<or>"), ("many", ">= 2"), ("2", ">= many")])
def test_match_refuses_what_nova_crashes_on(value: str, requirement: str) -> None:
    with pytest.raises(InvalidInput):
        match(value, requirement)


@pytest.mark.parametrize(
    ("name", "better", "worse", "asked"),
    [
        ("RAMWeigher", {"memory": 4096}, {"memory": 2048}, {}),
        ("CPUWeigher", {"vcpus": 4}, {"vcpus": 2}, {}),
        ("DiskWeigher", {"disk": 100}, {"disk": 50}, {}),
        ("IoOpsWeigher", {}, {"num_io_ops": 3}, {}),
        ("PCIWeigher", {}, {"pci_devices": [PciDevice("0000:03:00.0", "8086", "1520")]}, {}),
        ("MetricsWeigher", {"metrics": {"idle": 0.9}}, {"metrics": {}}, {}),
        ("ServerGroupSoftAffinityWeigher", {"instances": [Instance("a", group="g")]}, {}, {"group": ServerGroup("g", "soft-affinity")}),
        ("ServerGroupSoftAntiAffinityWeigher", {}, {"instances": [Instance("a", group="g")]}, {"group": ServerGroup("g", "soft-anti-affinity")}),
        ("BuildFailureWeigher", {}, {"failed_builds": 1}, {}),
        ("HypervisorVersionWeigher", {"hypervisor_version": 8000000}, {"hypervisor_version": 6000000}, {}),
        ("ImagePropertiesWeigher", {"instances": [Instance("a", image_properties={"os_type": "linux"})]}, {}, {"image_properties": {"os_type": "linux"}}),
        ("NumInstancesWeigher", {"instances": [Instance("a")]}, {}, {}),
    ],
)  # fmt: skip
def test_weigher(name: str, better: dict[str, t.Any], worse: dict[str, t.Any], asked: dict[str, t.Any]) -> None:
    settings = Settings(
        metrics_weight_setting={"idle": 1.0},
        metrics_required=False,
        image_props_weight_multiplier=1.0,
        num_instances_weight_multiplier=1.0,
    )
    table = Table([host("kvm1", **worse), host("kvm2", **better)])
    weights = BY_NAME[name](settings).weigh(table, table.everywhere().nonzero()[0], request(**asked))
    assert weights is not None
    assert weights[1] > weights[0]


def test_every_weigher_is_tested() -> None:
    names = {case[0] for case in next(iter(test_weigher.pytestmark)).args[1]}
    assert names == {weigher.__name__ for weigher in WEIGHERS}


def test_a_required_metric_that_is_missing_is_a_sentence() -> None:
    refused = place([host("kvm1"), host("kvm2")], [request()], Settings(metrics_weight_setting={"idle": 1.0})).refused
    assert "host 'kvm1' has no metric 'idle'" in refused["web1"].sentence()


@pytest.mark.parametrize(
    ("aggregates", "multiplier"),
    [
        ([], 1.0),
        ([{"ram_weight_multiplier": "3"}], 3.0),
        ([{"ram_weight_multiplier": "3"}, {"ram_weight_multiplier": "2"}], 2.0),
        ([{"ram_weight_multiplier": "much"}], 1.0),
    ],
)
def test_aggregates_override_multipliers(aggregates: list[dict[str, str]], multiplier: float) -> None:
    table = Table([host(aggregates=aggregates)])
    assert BY_NAME["RAMWeigher"](Settings()).multipliers(table).tolist() == [multiplier]


def test_settings_from_the_variable() -> None:
    given = {"enabled_filters": ["RamFilter"], "shuffle": True, "ram_weight_multiplier": -1, "batch": False}
    settings = Settings.from_variable(given)
    assert settings == Settings(
        enabled_filters=["RamFilter"], shuffle_best_same_weighed_hosts=True, ram_weight_multiplier=-1, batch="off"
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ram_weight_multipler": 2}, "did you mean 'ram_weight_multiplier'?"),
        ({"ram_weight_multiplier": "much"}, "ram_weight_multiplier should be a number, found 'much'"),
        ({"ram_weight_multiplier": True}, "should be a number, found True"),
        ({"host_subset_size": 0}, "host_subset_size should be a whole number from 1, found 0"),
        ({"batch": "later"}, "batch should be auto or off, found 'later'"),
        ({"enabled_filters": "RamFilter"}, "enabled_filters should be a list of names"),
        ({"shuffle": "yes"}, "should be true or false, found 'yes'"),
        ({"metrics_weight_setting": ["idle=1"]}, "should be a mapping from names to numbers"),
        ({"xyz": 1}, "'xyz' is no option of the scheduler; known are"),
    ],
)
def test_settings_refuse_with_a_sentence(given: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.from_variable(given)
    assert sentence in str(caught.value)


def test_a_hint_that_no_enabled_filter_reads_is_refused() -> None:
    refused = place([host()], [request(hints={"query": '["=", 1, 1]'})]).refused
    assert "scheduler hint 'query' is read by JsonFilter" in refused["web1"].sentence()
    settings = Settings(enabled_filters=["JsonFilter"])
    assert place([host()], [request(hints={"query": '["=", 1, 1]'})], settings).placed
