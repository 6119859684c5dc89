# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The laws of the scheduler, over clusters and batches that hypothesis makes up."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import typing as t
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import ALWAYS, FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    HostState,
    Instance,
    Inventory,
    Pool,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler, place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import examples

EVERY_FILTER = tuple(dict.fromkeys((*ALWAYS, *FILTERS.values())))
GROUPS = {
    "spread": ServerGroup("spread", "anti-affinity"),
    "pairs": ServerGroup("pairs", "anti-affinity", 2),
    "together": ServerGroup("together", "affinity"),
    "near": ServerGroup("near", "soft-affinity"),
    "apart": ServerGroup("apart", "soft-anti-affinity"),
    "elsewhere": ServerGroup("elsewhere", "affinity", hosts=("kvm1", "gone")),
}
ZONES = st.sampled_from([None, "east", "west"])
SETTINGS = st.builds(
    Settings,
    batch=st.sampled_from(["auto", "off"]),
    host_subset_size=st.integers(1, 3),
    shuffle_best_same_weighed_hosts=st.booleans(),
    enabled_filters=st.lists(st.sampled_from(sorted(FILTERS)), unique=True).map(
        lambda names: [*names, "ServerGroupAffinityFilter", "ServerGroupAntiAffinityFilter"]
    ),
    max_instances_per_host=st.integers(1, 6),
    isolated_hosts=st.lists(st.sampled_from(["kvm0", "kvm1"]), unique=True),
    isolated_images=st.lists(st.just("cirros"), max_size=1),
    metrics_weight_setting=st.sampled_from([{}, {"cpu.idle": 1.0}]),
    metrics_required=st.just(False),
)


# Sampled, not drawn number by number: that costs hypothesis ten times as much as scheduling does.
INVENTORIES = st.sampled_from(
    [
        Inventory(total, reserved=reserved, allocation_ratio=ratio, used=used, min_unit=least, step_size=step)
        for total in (0, 1, 8, 40)
        for reserved in (0, total // 4)
        for ratio in (0.5, 1.0, 4.0)
        for used in (0, total // 2, total + 1)
        for least, step in ((1, 1), (2, 1), (1, 2))
    ]
)
AGGREGATES = st.sampled_from(
    [
        [],
        [],
        [{"ssd": "true", "hw_vm_mode": "hvm"}],
        [{"ssd": "false", "instance_type": "large,small"}, {"ssd": "true", "filter_tenant_id": "p1"}],
        [{"instance_type": "large", "max_instances_per_host": "3"}, {"max_instances_per_host": "1"}],
        [{"hw_vm_mode": "xen", "max_instances_per_host": "many", "filter_tenant_id_2": "p2"}],
    ]
)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostState:
    members = draw(st.lists(st.sampled_from([None, "pairs", "near", "apart"]), max_size=2))
    shared = draw(st.booleans())
    return HostState(
        name,
        up=draw(st.sampled_from([True, True, True, False])),
        enabled=draw(st.sampled_from([True, True, True, False])),
        zone=draw(ZONES),
        aggregates=draw(AGGREGATES),
        inventories={VCPU: draw(INVENTORIES), MEMORY_MB: draw(INVENTORIES), "CUSTOM_X": draw(INVENTORIES)},
        pools={"local": Pool("shared" if shared else name, draw(INVENTORIES))} if draw(st.booleans()) else {},
        default_pool=draw(st.sampled_from(["local", "local", None])),
        networks=draw(st.sampled_from([["lan"], ["lan"], []])),
        failed_builds=draw(st.integers(0, 2)),
        instances=[Instance(f"{name}-{index}", f"{name}-{index}", group) for index, group in enumerate(members)],
        traits=draw(st.sampled_from([(), ("HW_CPU_X86_AVX",)])),
        num_io_ops=draw(st.integers(0, 9)),
        address=draw(st.sampled_from([None, "10.0.0.1", "10.0.9.1"])),
        cpu_info=draw(
            st.sampled_from([None, {"vendor": "Intel", "features": ["aes"]}, '{"maxphysaddr": {"bits": 42}}'])
        ),
        supported_instances=draw(st.sampled_from([(), (("x86_64", "kvm", "hvm"),)])),
        hypervisor_version=draw(st.sampled_from([None, 6000000, 8002000])),
        metrics=draw(st.sampled_from([{}, {"cpu.idle": 0.5}])),
    )


@st.composite
def requests(draw: st.DrawFn, name: str) -> Request:
    specs: st.SearchStrategy[dict[str, str]] = st.sampled_from(
        [
            {},
            {},
            {},
            {"ssd": "true"},
            {"ssd": ">= 1"},
            {"capabilities:cpu_info:vendor": "Intel"},
            {"free_ram_mb": ">= 10"},
            {"capabilities:free_disk_mb": "<= 20480", "capabilities:vcpus_used": "== 4"},
            {"capabilities:num_instances": "<or> 0 <or> 2"},
            {"hw:maxphysaddr_bits": "40"},
            {"aggregate_instance_extra_specs:ssd": "<in> ru"},
            {"resources:CUSTOM_X": "1"},
            {"resources:VCPU": "many"},
            {"trait:HW_CPU_X86_AVX": "required"},
            {"trait:HW_CPU_X86_AVX": "forbidden"},
        ]
    )
    hints: st.SearchStrategy[dict[str, t.Any]] = st.sampled_from(
        [
            {},
            {},
            {"same_host": ["kvm0-0", "server0"]},
            {"different_host": "kvm0-0"},
            {"different_host": ["server1", "server2"], "same_host": "kvm1-1"},
            {"build_near_host_ip": "10.0.0.9"},
            {"build_near_host_ip": "10.0.9.9", "cidr": "/20"},
            {"query": '[">", "$free_ram_mb", 8]'},
            {"query": '["or", ["<", "$free_disk_mb", 8192], ["=", "$num_instances", 1]]'},
        ]
    )
    flavor = Flavor(
        draw(st.sampled_from(["small", "large"])),
        draw(st.integers(0, 8)),
        draw(st.integers(0, 32)),
        draw(st.integers(0, 30)),
        extra_specs=draw(specs),
    )
    return Request(
        name,
        flavor,
        image=draw(st.sampled_from(["debian", "cirros"])),
        id=draw(st.sampled_from([None, None, None, f"id-{name}", "kvm0-0"])),
        image_properties=draw(
            st.sampled_from(
                [
                    {},
                    {"hw_vm_mode": "hvm"},
                    {"hw_architecture": "amd64", "img_hv_requested_version": ">=7"},
                    {"hw_vm_mode": "hvm", "hw_maxphysaddr_bits": 44},
                    {"trait:HW_CPU_X86_AVX": "required"},
                ]
            )
        ),
        pool=draw(st.sampled_from([None, None, None, "local", "fast"])),
        zone=draw(st.sampled_from([None, None, None, "east"])),
        group=draw(st.sampled_from([None, *GROUPS.values()])),
        hints=draw(hints),
        networks=["lan"],
        host=draw(st.sampled_from([None, None, None, None, "kvm0"])),
        ignore_hosts=draw(st.sampled_from([(), (), ("KVM1",)])),
        retry_hosts=draw(st.sampled_from([(), ("kvm2",)])),
        project=draw(st.sampled_from([None, "p1"])),
    )


@st.composite
def plain_hosts(draw: st.DrawFn, name: str) -> HostState:
    """A host that nothing but capacity and groups speaks against: so that most servers find a place."""
    members = draw(st.lists(st.sampled_from([None, "pairs", "near", "apart"]), max_size=2))
    key = draw(st.sampled_from([name, "shared"]))
    return HostState(
        name,
        inventories={VCPU: draw(PLAIN), MEMORY_MB: draw(PLAIN)},
        pools={"local": Pool(key, draw(PLAIN))},
        default_pool="local",
        instances=[Instance(f"{name}-{index}", group=group) for index, group in enumerate(members)],
    )


@st.composite
def plain_requests(draw: st.DrawFn, name: str) -> Request:
    vcpus, ram, disk = draw(st.tuples(*[st.integers(0, 8)] * 3))
    return Request(name, Flavor("plain", vcpus, ram, disk), group=draw(st.sampled_from([None, None, *GROUPS.values()])))


def several(make: t.Callable[[str], t.Any], name: str, least: int, most: int) -> st.SearchStrategy[t.Any]:
    numbers = st.integers(least, most)
    return numbers.flatmap(lambda count: st.tuples(*(make(f"{name}{number}") for number in range(count))))


PLAIN = st.builds(
    Inventory,
    st.sampled_from([10, 25, 40]),
    reserved=st.sampled_from([0, 3]),
    allocation_ratio=st.sampled_from([1.0, 1.5]),
    used=st.integers(0, 12),
)
PLAIN_SETTINGS = st.builds(
    Settings,
    batch=st.sampled_from(["auto", "off"]),
    host_subset_size=st.integers(1, 3),
    shuffle_best_same_weighed_hosts=st.booleans(),
)
CLUSTERS = several(hosts, "kvm", 0, 5)
BATCHES = several(requests, "server", 0, 8)
PLAIN_CLUSTERS = several(plain_hosts, "kvm", 1, 4)
PLAIN_BATCHES = several(plain_requests, "server", 4, 14)
ANY = st.one_of(st.tuples(CLUSTERS, BATCHES, SETTINGS), st.tuples(PLAIN_CLUSTERS, PLAIN_BATCHES, PLAIN_SETTINGS))


def answer(ask: t.Callable[..., t.Any], *about: t.Any) -> t.Any:
    """What a view says; a request that it refuses as wrong is an answer too."""
    try:
        return ask(*about)
    except InvalidInput:
        return "wrong"


@examples(150)
@given(ANY)
def test_mask_and_reason_agree(given_all: t.Any) -> None:
    cluster, batch, options = given_all
    scheduler = Scheduler(cluster, options)
    scheduler.place(batch[: len(batch) // 2])
    table = scheduler.table
    for rule in (rule(options) for rule in EVERY_FILTER):
        for request in batch:
            mask = answer(rule.mask, table, request)
            reasons = [answer(rule.reason, table, row, request) for row in range(len(table))]
            if isinstance(mask, str):
                assert "wrong" in reasons or not reasons, rule.name
                continue
            assert "wrong" not in reasons, rule.name
            assert mask.tolist() == [reason is None for reason in reasons], rule.name
            assert answer(rule.concerns, request) or mask.all(), rule.name


@examples(150)
@given(PLAIN_CLUSTERS, PLAIN_BATCHES, PLAIN_SETTINGS)
def test_no_provider_is_ever_over_capacity(cluster: t.Any, batch: t.Any, options: Settings) -> None:
    """Counted anew from the placement, not read from the table that made it."""
    by_name = {host.name: host for host in cluster}
    added: Counter[tuple[str, str]] = Counter()
    for name, placed in place(cluster, batch, options).placed.items():
        request = next(request for request in batch if request.name == name)
        for resource, amount in request.resources.items():
            provider = by_name[placed.host].pools["local"].key if resource == DISK_GB else placed.host
            added[provider, resource] += amount
    for host in cluster:
        views = [(host.name, resource, inventory) for resource, inventory in host.inventories.items()]
        views += [(pool.key, DISK_GB, pool.disk) for pool in host.pools.values()]
        for provider, resource, inventory in views:
            amount = added[provider, resource]
            limit = (inventory.total - inventory.reserved) * inventory.allocation_ratio
            assert not amount or inventory.used + amount <= limit


@examples(150)
@given(PLAIN_CLUSTERS, PLAIN_BATCHES, PLAIN_SETTINGS)
def test_group_policies_hold(cluster: t.Any, batch: t.Any, options: Settings) -> None:
    placed = place(cluster, batch, options).placed
    members: Counter[tuple[str, str]] = Counter()
    for host in cluster:
        members.update((instance.group, host.name) for instance in host.instances if instance.group)
    for request in batch:
        if request.group and request.name in placed:
            members[request.group.name, placed[request.name].host] += 1
    new = {
        (request.group.name, placed[request.name].host) for request in batch if request.group and request.name in placed
    }
    for name, host in new:
        group = GROUPS[name]
        if group.policy == "anti-affinity":
            assert members[name, host] <= group.max_server_per_host
        if group.policy == "affinity":
            assert len({where for member, where in members if member == name}) == 1


@examples(100)
@given(PLAIN_CLUSTERS, PLAIN_BATCHES, PLAIN_SETTINGS, st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_makes_no_difference(
    cluster: t.Any, batch: t.Any, options: Settings, chance: t.Any
) -> None:
    options = dataclasses.replace(options, batch="auto")
    mixed_hosts, mixed_batch = list(cluster), list(batch)
    chance.shuffle(mixed_hosts)
    chance.shuffle(mixed_batch)
    assert place(mixed_hosts, mixed_batch, options) == place(cluster, batch, options)


@examples(100)
@given(CLUSTERS, requests("server0"), SETTINGS)
def test_one_host_more_never_makes_a_server_unplaceable(cluster: t.Any, request: Request, options: Settings) -> None:
    more = (*cluster, HostState("new", pools={"local": Pool("new", Inventory(1000))}, default_pool="local"))
    if place(cluster, [request], options).placed:
        assert place(more, [request], options).placed


@examples(100)
@given(CLUSTERS, BATCHES, SETTINGS)
def test_every_server_is_placed_or_explained(cluster: t.Any, batch: t.Any, options: Settings) -> None:
    placement = place(cluster, batch, options)
    assert {*placement.placed, *placement.refused} == {request.name for request in batch}
    for explanation in placement.refused.values():
        assert explanation.problem or set(explanation.refusals) == {host.name for host in cluster}
        assert all(refusal.reason for refusal in explanation.refusals.values())
        assert explanation.host is None


@examples(100)
@given(CLUSTERS, requests("server0"), SETTINGS)
def test_the_explanation_names_the_host_that_is_chosen(cluster: t.Any, request: Request, options: Settings) -> None:
    scheduler = Scheduler(cluster, options)
    explanation = scheduler.explain(request)
    placed = scheduler.place([request]).placed.get("server0")
    assert explanation.host == (placed and placed.host)


@examples(100)
@given(CLUSTERS)
def test_pools_are_counted_once(cluster: t.Any) -> None:
    keys = {pool.key for host in cluster for pool in host.pools.values()}
    assert len(Table(cluster).disk.inventories) == len(keys)


@examples(60)
@given(ANY)
def test_the_same_input_gives_the_same_placement(given_all: t.Any) -> None:
    """With host_subset_size and shuffle too: chance is seeded by the server's name."""
    cluster, batch, options = given_all
    again = [dataclasses.replace(request, flavor=dataclasses.replace(request.flavor)) for request in batch]
    assert place(list(cluster), again, options) == place(cluster, batch, options)


_PLACE = """
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request
hosts = [host(f"kvm{number}", memory=10752, networks=["lan", "wan"]) for number in range(6)]
batch = [request(f"s{number:02}", ram=[5120, 4096, 3072][number % 3], networks=["lan"]) for number in range(15)]
for options in ({}, {"host_subset_size": 4}, {"shuffle_best_same_weighed_hosts": True}):
    placement = place(hosts, batch, Settings(**options))
    print({name: placed.host for name, placed in placement.placed.items()}, list(placement.refused))
"""


def test_another_process_places_the_same() -> None:
    """Whatever order Python's sets have there."""
    said = {
        subprocess.run(
            [sys.executable, "-c", _PLACE],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert len(said.pop().splitlines()) == 3
