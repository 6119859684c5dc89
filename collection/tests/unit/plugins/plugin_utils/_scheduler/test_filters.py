# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each filter as a table: a host, a request, and the reason of the refusal (None: the host passes)."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    HostCell,
    HostTopology,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import (
    ALWAYS,
    FILTERS,
    build_filters,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Instance,
    Inventory,
    Pool,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request

EVERY_FILTER = {rule.__name__: rule for rule in (*ALWAYS, *FILTERS.values())}

CELLS = HostTopology((HostCell(0, (0,), (2, 3), memory=4096), HostCell(1, (1,), (4, 5, 6), memory=4096)))
PINNED = {"hw:cpu_policy": "dedicated"}
GPU = [PciAlias("gpu", "10de", "1eb8")]
ONE_GPU = [PciDevice("0000:03:00.0", "10de", "1eb8", numa_node=0)]
SPREAD = ServerGroup("web", "anti-affinity")
PAIRS = ServerGroup("web", "anti-affinity", 2)
TOGETHER = ServerGroup("web", "affinity")
ONE = [Instance("id-1", "web1", "web")]
CPU: dict[str, t.Any] = {"cpu_info": '{"vendor": "Intel", "features": ["aes", "avx"], "maxphysaddr": {"bits": 42}}'}
KVM: dict[str, t.Any] = {"supported_instances": [["x86_64", "kvm", "hvm"]], "hypervisor_version": 6002003}


def memory(total: int, **more: t.Any) -> dict[str, t.Any]:
    return {"inventories": {VCPU: Inventory(8), MEMORY_MB: Inventory(total, **more)}}


def disk(total: int, **more: t.Any) -> dict[str, t.Any]:
    return {"pools": {"local": Pool("local", Inventory(total, **more))}}


CASES: list[tuple[str, HostState, Request, str | None]] = [
    ("ComputeFilter", host(), request(), None),
    ("ComputeFilter", host(up=False), request(), "down"),
    ("ComputeFilter", host(enabled=False, reason="broken fan"), request(), "disabled (broken fan)"),
    ("ComputeFilter", host(up=False, enabled=False, reason="no route"), request(), "down (no route)"),
    ("RequestedHost", host(), request(host="kvm1"), None),
    ("RequestedHost", host(), request(host="kvm2"), "it is to be on 'kvm2'"),
    ("IgnoreHosts", host(), request(ignore_hosts=["KVM1"]), "ruled out for this operation"),
    ("IgnoreHosts", host(), request(ignore_hosts=["kvm11"]), None),
    ("AvailabilityZoneFilter", host(zone="east"), request(), None),
    ("AvailabilityZoneFilter", host(zone="east"), request(zone="east"), None),
    ("AvailabilityZoneFilter", host(), request(zone="nova"), None),
    ("AvailabilityZoneFilter", host(aggregates=[{"availability_zone": "west"}]), request(zone="west"), None),
    (
        "AvailabilityZoneFilter",
        host(zone="east"),
        request(zone="west"),
        "needs availability zone 'west', is in 'east'",
    ),
    ("Traits", host(traits=["A", "B"]), request(extra_specs={"trait:A": "required"}), None),
    ("Traits", host(traits=["B"]), request(extra_specs={"trait:A": "required"}), "lacks trait 'A'"),
    ("Traits", host(traits=["B"]), request(extra_specs={"trait:B": "forbidden"}), "has forbidden trait 'B'"),
    ("Traits", host(), request(image_properties={"trait:A": "required"}), "lacks trait 'A'"),
    ("Networks", host(networks=["lan", "dmz"]), request(networks=["dmz"]), None),
    ("Networks", host(networks=["lan"]), request(networks=["lan", "dmz"]), "has no network 'dmz'"),
    ("StoragePool", host(), request(), None),
    ("StoragePool", host(), request(pool="ssd"), "has no storage pool 'ssd', has 'local'"),
    ("StoragePool", host(default_pool=None), request(), "has no default storage pool (compute_default_pool)"),
    ("StoragePool", host(default_pool=None), request(pool="local"), None),
    ("Placement", host(**memory(2048)), request(ram=2048), None),
    ("Placement", host(**memory(2048, reserved=1)), request(ram=2048), "needs 2 GiB, 2047 MiB free of 2 GiB x 1.0, 1 MiB reserved"),
    ("Placement", host(**memory(32768, used=29184)), request(ram=8192), "needs 8 GiB, 3.5 GiB free of 32 GiB x 1.0"),
    ("Placement", host(**memory(2048, allocation_ratio=4.0)), request(ram=4096), "needs 4 GiB, one server can have at most 2 GiB"),
    ("Placement", host(**memory(2048, allocation_ratio=1.5, used=1024)), request(ram=2048), None),
    ("Placement", host(**memory(2048, used=4096)), request(ram=512), "needs 512 MiB, 0 MiB free of 2 GiB x 1.0"),
    ("Placement", host(**memory(4096, max_unit=1024)), request(ram=2048), "needs 2 GiB, one server can have at most 1 GiB"),
    ("Placement", host(**memory(4096, step_size=1024)), request(ram=1536), "needs 1.5 GiB, only multiples of 1 GiB are given"),
    ("Placement", host(**memory(4096, min_unit=2048)), request(ram=1024), "needs 1 GiB, at least 2 GiB must be asked for"),
    ("Placement", host(vcpus=2), request(vcpus=3), "needs 3 vCPUs, one server can have at most 2 vCPUs"),
    ("Placement", host(**disk(20)), request(disk=20), None),
    ("Placement", host(**disk(20, used=11)), request(disk=10), "needs 10 GiB, 9 GiB free of 20 GiB x 1.0 in pool 'local'"),
    ("Placement", host(pools={}), request(disk=10), "has no storage pool 'local'"),
    ("Placement", host(), request(extra_specs={"resources:CUSTOM_FPGA": "1"}), "needs 1 CUSTOM_FPGA, one server can have at most 0 CUSTOM_FPGA"),
    ("Placement", host(vcpus=1), request(vcpus=9, extra_specs={"resources:VCPU": "0"}), None),
    ("ServerGroupAntiAffinityFilter", host(instances=ONE), request(group=SPREAD), "has 1 of server group 'web' (anti-affinity, at most 1 per host)"),
    ("ServerGroupAntiAffinityFilter", host(instances=ONE), request(group=PAIRS), None),
    ("ServerGroupAntiAffinityFilter", host(instances=ONE), request(group=TOGETHER), None),
    ("ServerGroupAntiAffinityFilter", host(instances=ONE), request(group=SPREAD, id="id-1"), None),
    ("ServerGroupAffinityFilter", host(), request(group=TOGETHER), None),
    ("ServerGroupAffinityFilter", host(instances=ONE), request(group=TOGETHER), None),
    ("ServerGroupAffinityFilter", host(), request(group=ServerGroup("web", "affinity", hosts=["kvm2"])), "server group 'web' (affinity) is on 'kvm2'"),
    ("DifferentHostFilter", host(instances=ONE), request(hints={"different_host": "db1"}), None),
    ("DifferentHostFilter", host(instances=ONE),
     request(hints={"different_host": ["db1", "id-1"]}), "has 'id-1', which the server must not be with (different_host)"),
    ("DifferentHostFilter", host(instances=ONE), request(hints={"different_host": "web1"}), "has 'web1', which the server must not be with (different_host)"),
    ("SameHostFilter", host(instances=ONE), request(hints={"same_host": ["db1", "web1"]}), None),
    ("SameHostFilter", host(instances=ONE), request(hints={"same_host": "db1"}), "has none of 'db1', which the server must be with (same_host)"),
    ("SimpleCIDRAffinityFilter", host(address="10.8.1.9"), request(hints={"build_near_host_ip": "10.8.1.100"}), None),
    ("SimpleCIDRAffinityFilter", host(address="10.8.2.9"),
     request(hints={"build_near_host_ip": "10.8.1.100", "cidr": "/24"}), "needs an address in 10.8.1.0/24, has 10.8.2.9"),
    ("SimpleCIDRAffinityFilter", host(), request(hints={"build_near_host_ip": "10.8.1.100"}), "needs an address in 10.8.1.0/24, has none (compute_address)"),
    ("ComputeCapabilitiesFilter", host(**CPU), request(extra_specs={"capabilities:cpu_info:vendor": "Intel"}), None),
    ("ComputeCapabilitiesFilter", host(**CPU), request(extra_specs={"capabilities:cpu_info:features": "<all-in> aes avx"}), None),
    ("ComputeCapabilitiesFilter", host(**CPU),
     request(extra_specs={"capabilities:cpu_info:vendor": "AMD"}), "needs capabilities:cpu_info:vendor 'AMD', has 'Intel'"),
    ("ComputeCapabilitiesFilter", host(**CPU),
     request(extra_specs={"capabilities:cpu_info:model": "x"}), "needs capabilities:cpu_info:model 'x', has no such capability"),
    ("ComputeCapabilitiesFilter", host(cpu_info="not JSON"),
     request(extra_specs={"capabilities:cpu_info:model": "x"}), "needs capabilities:cpu_info:model 'x', has no such capability"),
    ("ComputeCapabilitiesFilter", host(**CPU), request(extra_specs={"hw:maxphysaddr_bits": "46"}), "needs hw:maxphysaddr_bits '>= 46', has 42"),
    ("ComputeCapabilitiesFilter", host(), request(extra_specs={"colour": "red"}), None),
    ("ComputeCapabilitiesFilter", host(facts={"colour": "blue"}), request(extra_specs={"colour": "red"}), "needs colour 'red', has 'blue'"),
    ("ComputeCapabilitiesFilter", host(memory=2560), request(extra_specs={"free_ram_mb": ">= 2049"}), "needs free_ram_mb '>= 2049', has 2048"),
    ("ImagePropertiesFilter", host(), request(), None),
    ("ImagePropertiesFilter", host(**KVM), request(image_properties={"hw_architecture": "AMD64", "img_hv_type": "kvm"}), None),
    ("ImagePropertiesFilter", host(**KVM),
     request(image_properties={"hw_architecture": "aarch64"}), "the image needs hw_architecture 'aarch64', the host runs x86_64 kvm hvm"),
    ("ImagePropertiesFilter", host(), request(image_properties={"hw_vm_mode": "hvm"}), "the image needs hw_vm_mode 'hvm', the host runs nothing known"),
    ("ImagePropertiesFilter", host(**KVM), request(image_properties={"hw_vm_mode": "hv", "img_hv_requested_version": ">=6.0,<6.3"}), None),
    ("ImagePropertiesFilter", host(**KVM),
     request(image_properties={"hw_vm_mode": "hvm", "img_hv_requested_version": ">=6.2.4"}), "the image needs hypervisor version >=6.2.4, has 6.2.3"),
    ("ImagePropertiesFilter", host(**KVM, **CPU),
     request(image_properties={"hw_vm_mode": "hvm", "hw_maxphysaddr_bits": 43}), "the image needs 43 bits of physical addresses, has 42"),
    ("AggregateInstanceExtraSpecsFilter", host(), request(), None),
    ("AggregateInstanceExtraSpecsFilter", host(), request(extra_specs={"hw:cpu_policy": "dedicated"}), None),
    ("AggregateInstanceExtraSpecsFilter", host(), request(extra_specs={"ssd": "true"}), "needs ssd 'true', is in no aggregate with 'ssd'"),
    ("AggregateInstanceExtraSpecsFilter", host(aggregates=[{"ssd": "false"}, {"ssd": "true, yes"}]),
     request(extra_specs={"aggregate_instance_extra_specs:ssd": "yes"}), None),
    ("AggregateInstanceExtraSpecsFilter", host(aggregates=[{"gen": "3"}]), request(extra_specs={"gen": ">= 4"}), "needs gen '>= 4', its aggregates have '3'"),
    ("AggregateImagePropertiesIsolation", host(aggregates=[{"os_type": "windows"}]), request(), None),
    ("AggregateImagePropertiesIsolation", host(aggregates=[{"os_type": "windows"}]),
     request(image_properties={"os_type": "linux"}), "its aggregates take images with os_type 'windows', the image has 'linux'"),
    ("AggregateImagePropertiesIsolation", host(aggregates=[{"colour": "red"}]), request(image_properties={"colour": "blue"}), None),
    ("AggregateTypeAffinityFilter", host(aggregates=[{"instance_type": "m1.tiny,m1.small"}]), request(), None),
    ("AggregateTypeAffinityFilter", host(aggregates=[{"instance_type": "m1.tiny"}]), request(), "its aggregates take flavors 'm1.tiny', not 'm1.small'"),
    ("AggregateMultiTenancyIsolation", host(), request(project="p1"), None),
    ("AggregateMultiTenancyIsolation", host(aggregates=[{"filter_tenant_id_2": "p1,p2"}]), request(project="p2"), None),
    ("AggregateMultiTenancyIsolation", host(aggregates=[{"filter_tenant_id": "p1"}]), request(), "its aggregates take projects 'p1', the server has None"),
    ("IoOpsFilter", host(num_io_ops=7), request(), None),
    ("IoOpsFilter", host(num_io_ops=8), request(), "has 8 builds, moves or snapshots going on, at most 8 (max_io_ops_per_host)"),
    ("AggregateIoOpsFilter", host(num_io_ops=8, aggregates=[{"max_io_ops_per_host": "9"}]), request(), None),
    ("AggregateIoOpsFilter", host(num_io_ops=8, aggregates=[{"max_io_ops_per_host": "x"}]),
     request(), "has 8 builds, moves or snapshots going on, at most 8 (max_io_ops_per_host)"),
    ("NumInstancesFilter", host(instances=[Instance(str(n)) for n in range(49)]), request(), None),
    ("NumInstancesFilter", host(instances=[Instance(str(n)) for n in range(50)]), request(), "has 50 instances, at most 50 (max_instances_per_host)"),
    ("AggregateNumInstancesFilter", host(instances=ONE, aggregates=[{"max_instances_per_host": "2"}, {"max_instances_per_host": "1"}]),
     request(), "has 1 instances, at most 1 (max_instances_per_host)"),
    ("JsonFilter", host(), request(), None),
    ("JsonFilter", host(), request(hints={"query": '["and", [">=", "$free_ram_mb", 1024], ["=", "$host", "kvm1"]]'}), None),
    ("JsonFilter", host(), request(hints={"query": '["<", "$free_ram_mb", 1024]'}), 'doesn\'t meet the query ["<", "$free_ram_mb", 1024]'),
    ("JsonFilter", host(**CPU), request(hints={"query": '["=", "$cpu_info.vendor", "Intel"]'}), None),
    ("JsonFilter", host(), request(hints={"query": '["not", true]'}), 'doesn\'t meet the query ["not", true]'),
    ("JsonFilter", host(), request(hints={"query": '["and", ["not", true]]'}), None),
    ("AllHostsFilter", host(up=False), request(), None),
    ("RetryFilter", host(), request(retry_hosts=["kvm2"]), None),
    ("RetryFilter", host(), request(retry_hosts=["kvm1"]), "this build has failed there already"),
    ("CoreFilter", host(vcpus=2), request(vcpus=3), "needs 3 vCPUs, has 2 vCPUs in all"),
    ("CoreFilter", host(inventories={}), request(vcpus=3), None),
    ("CoreFilter", host(inventories={VCPU: Inventory(4, used=7, allocation_ratio=2.0)}), request(vcpus=2), "needs 2 vCPUs, 1 vCPU free of 4 vCPUs x 2.0"),
    ("CoreFilter", host(inventories={VCPU: Inventory(4, used=7, allocation_ratio=2.0)}), request(vcpus=1), None),
    ("RamFilter", host(**memory(2048)), request(ram=2048), None),
    ("RamFilter", host(**memory(2048, reserved=512)), request(ram=2048), "needs 2 GiB, 1.5 GiB free of 2 GiB x 1.0"),
    ("DiskFilter", host(**disk(20, used=15)), request(disk=10), "needs 10 GiB, 5 GiB free of 20 GiB x 1.0"),
    ("DiskFilter", host(pools={}), request(disk=10), "needs 10 GiB, has none"),
    ("PciPassthroughFilter", host(), request(), None),
    ("PciPassthroughFilter", host(pci_devices=ONE_GPU), request(pci_aliases=GPU, extra_specs={"pci_passthrough:alias": "gpu:1"}), None),
    ("PciPassthroughFilter", host(pci_devices=ONE_GPU), request(pci_aliases=GPU, extra_specs={"pci_passthrough:alias": "gpu:2"}), "needs 2 of PCI alias 'gpu' (10de:1eb8), has 1 free"),
    ("NUMATopologyFilter", host(), request(), None),
    ("NUMATopologyFilter", host(), request(extra_specs=PINNED), "needs a NUMA topology, the host's is not known"),
    ("NUMATopologyFilter", host(topology=CELLS), request(vcpus=3, extra_specs=PINNED), None),
    ("NUMATopologyFilter", host(topology=CELLS), request(vcpus=4, extra_specs=PINNED), "no cell has 4 free dedicated CPUs (cell 0: 2, cell 1: 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "found", "asked", "reason"), CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)])
def test_filter(name: str, found: HostState, asked: Request, reason: str | None) -> None:
    table, rule = Table([found]), EVERY_FILTER[name](Settings())
    assert rule.reason(table, 0, asked) == reason
    assert rule.mask(table, asked).tolist() == [reason is None]
    assert rule.concerns(asked) or reason is None


SETTINGS_CASES: list[tuple[str, Settings, HostState, Request, bool]] = [
    (
        "IsolatedHostsFilter",
        Settings(isolated_images=("i",), isolated_hosts=("kvm1",)),
        host(),
        request(image="i"),
        True,
    ),
    (
        "IsolatedHostsFilter",
        Settings(isolated_images=("i",), isolated_hosts=("kvm1",)),
        host(),
        request(image="j"),
        False,
    ),
    (
        "IsolatedHostsFilter",
        Settings(isolated_images=("i",), isolated_hosts=("kvm2",)),
        host(),
        request(image="i"),
        False,
    ),
    ("IsolatedHostsFilter", Settings(isolated_hosts=("kvm1",)), host(), request(image="j"), False),
    (
        "IsolatedHostsFilter",
        Settings(isolated_hosts=("kvm1",), restrict_isolated_hosts_to_isolated_images=False),
        host(),
        request(image="j"),
        True,
    ),
    ("ImagePropertiesFilter", Settings(image_properties_default_architecture="x86_64"), host(**KVM), request(), True),
    ("ImagePropertiesFilter", Settings(image_properties_default_architecture="aarch64"), host(**KVM), request(), False),
    ("MetricsFilter", Settings(metrics_weight_setting={"idle": 1.0}), host(), request(), False),
    ("MetricsFilter", Settings(metrics_weight_setting={"idle": 1.0}), host(metrics={"idle": 3}), request(), True),
    ("AvailabilityZoneFilter", Settings(default_availability_zone="here"), host(), request(zone="nova"), False),
]


@pytest.mark.parametrize(("name", "settings", "found", "asked", "passes"), SETTINGS_CASES)
def test_filter_with_settings(name: str, settings: Settings, found: HostState, asked: Request, passes: bool) -> None:
    table, rule = Table([found]), EVERY_FILTER[name](settings)
    assert rule.mask(table, asked).tolist() == [passes]
    assert (rule.reason(table, 0, asked) is None) is passes


def test_every_filter_has_a_case() -> None:
    assert {case[0] for case in (*CASES, *SETTINGS_CASES)} == set(EVERY_FILTER)


@pytest.mark.parametrize(
    ("name", "asked", "sentence"),
    [
        ("JsonFilter", request(hints={"query": "[1"}), "'query' is not JSON"),
        ("JsonFilter", request(hints={"query": '["~", 1]'}), "should be a list that begins with one of = <"),
        ("JsonFilter", request(hints={"query": '"true"'}), "should be a list"),
        ("JsonFilter", request(hints={"query": '[">", 1, "a"]'}), "compares what can't be compared"),
        ("JsonFilter", request(hints={"query": "[" * 100000}), "'query' is not JSON"),
        ("JsonFilter", request(hints={"query": {"a": 1}}), "'query' should be text or a list of text"),
        ("SameHostFilter", request(hints={"same_host": 5}), "'same_host' should be text or a list of text, found 5"),
        ("SimpleCIDRAffinityFilter", request(hints={"build_near_host_ip": "here"}), "give no network"),
        ("ImagePropertiesFilter", request(image_properties={"hw_vm_mode": "hvm", "img_hv_requested_version": "6"}), "should be like '>=6.0,<8.2'"),
        ("ImagePropertiesFilter", request(image_properties={"hw_vm_mode": "hvm", "hw_maxphysaddr_bits": "many"}), "'hw_maxphysaddr_bits' should be a whole number, found 'many'"),
        ("Placement", request(extra_specs={"resources:VCPU": "-1"}), "should be a whole number, found '-1'"),
        ("ComputeCapabilitiesFilter", request(extra_specs={"hypervisor_version": ">= new"}), "compares numbers, found 'new'"),
    ],
)  # fmt: skip
def test_what_nova_crashes_on_is_a_sentence(name: str, asked: Request, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        EVERY_FILTER[name](Settings()).mask(Table([host(**KVM)]), asked)
    assert sentence in str(caught.value)


def test_a_version_that_can_not_be_read_is_told_where_no_host_tells_its_own() -> None:
    asked = request(image_properties={"hw_vm_mode": "hvm", "img_hv_requested_version": "new"})
    with pytest.raises(InvalidInput, match="img_hv_requested_version 'new' should be like"):
        EVERY_FILTER["ImagePropertiesFilter"](Settings()).mask(
            Table([host(supported_instances=[["x86_64", "kvm", "hvm"]])]), asked
        )


def test_an_unknown_filter_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="'RAMFilter', which is no filter; did you mean 'RamFilter'"):
        build_filters(Settings(enabled_filters=["RAMFilter"]))
