# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The joint search: what it finds where one by one fails, what it proves, and where it steps back."""

from __future__ import annotations

import dataclasses
import re
import sys
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler import joint
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
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Placement, Scheduler, place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import DEFAULT_FILTERS, Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import (
    parse_case,
    request,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import examples
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.test_laws import (
    PLAIN_BATCHES,
    PLAIN_CLUSTERS,
)

# 5 + 5 and 4 + 3 + 3 GiB fill two hosts of 10 GiB; one by one, the second 5 goes to the emptier host.
PACKED = """
host kvm1 vcpus=8 ram=10240 disk=100
host kvm2 vcpus=8 ram=10240 disk=100
server a vcpus=1 ram=5120 disk=10
server b vcpus=1 ram=5120 disk=10
server c vcpus=1 ram=4096 disk=10
server d vcpus=1 ram=3072 disk=10
server e vcpus=1 ram=3072 disk=10
"""


def placed(text: str, **options: t.Any) -> Placement:
    case = parse_case(f"{text}---\n")
    return place(case.hosts, case.requests, Settings(**options))


def hosts_of(placement: Placement) -> dict[str, str]:
    return {name: choice.host for name, choice in sorted(placement.placed.items())}


def without_time(note: str) -> str:
    return re.sub(r"\d+\.\d s", "N s", note)


def test_what_one_by_one_refuses_is_placed_jointly() -> None:
    assert list(placed(PACKED, joint_time_limit=0).refused) == ["e"]
    both = placed(PACKED)
    assert not both.refused
    assert hosts_of(both) == {"a": "kvm1", "b": "kvm1", "c": "kvm2", "d": "kvm2", "e": "kvm2"}
    assert both.notes == (
        "placed jointly: e had no host left one by one, now all 5 have one; "
        "moved b from kvm2 to kvm1, c from kvm1 to kvm2",
    )


def test_what_is_placed_jointly_counts_for_what_comes_after() -> None:
    case = parse_case(f"{PACKED}---\n")
    scheduler = Scheduler(case.hosts)
    scheduler.place(case.requests)
    memory = scheduler.table.stock(MEMORY_MB)
    assert (memory.capacity - memory.used).tolist() == [0, 0]
    assert list(scheduler.place([request("more", ram=512)]).refused) == ["more"]


def test_what_was_placed_before_the_batch_is_left_alone() -> None:
    case = parse_case(f"{PACKED}host kvm3 vcpus=8 ram=2048 disk=10\n---\n")
    scheduler = Scheduler(case.hosts)
    scheduler.place([request("first", ram=2048, host="kvm3")])
    assert not scheduler.place(case.requests).refused
    assert scheduler.table.stock(MEMORY_MB).used.tolist() == [10240, 10240, 2048]


def test_without_enough_room_it_is_proved() -> None:
    text = PACKED + "server f vcpus=1 ram=1024 disk=10\n"
    both = placed(text)
    assert len(both.placed) == 5
    assert "no placement of all 6 exists (proved in N s)" in without_time(both.notes[0])
    (refused,) = both.refused.values()
    assert refused.sentence().startswith(f"No valid host was found for {refused.server} (")
    assert set(refused.refusals) == {"kvm1", "kvm2"}


def test_as_many_as_can_be_are_placed_where_not_all_can() -> None:
    """Not even without the smallest would all have room; but more than one by one places."""
    text = PACKED + "server f vcpus=1 ram=2048 disk=10\nserver g vcpus=1 ram=5120 disk=10\n"
    greedy, both = placed(text, joint_time_limit=0), placed(text)
    assert len(both.placed) > len(greedy.placed)
    assert {*both.placed, *both.refused} == {*"abcdefg"}
    assert f"now {len(both.placed)} of 7 have one" in both.notes[0]
    assert "no placement of all 7 exists (proved in N s)" in without_time(both.notes[0])


def test_servers_that_fit_nowhere_at_all_keep_no_one_from_being_placed() -> None:
    both = placed(PACKED + "server huge vcpus=1 ram=65536 disk=10\n")
    assert list(both.refused) == ["huge"]
    assert both.notes[0].startswith("placed jointly: e had no host left one by one, now all 5 have one")


def test_alone_a_server_is_not_searched_for() -> None:
    both = placed("host kvm1 vcpus=8 ram=1024 disk=100\nserver a vcpus=1 ram=2048 disk=10\n")
    assert (list(both.refused), both.notes) == (["a"], ())


def test_off_is_nova_s_order_and_nothing_more() -> None:
    both = placed(PACKED, batch="off", joint_time_limit=10)
    assert (list(both.refused), both.notes) == (["e"], ())


def test_a_limit_that_is_none_is_refused() -> None:
    assert Settings.from_variable({"joint_time_limit": 0}).joint_time_limit == 0
    with pytest.raises(InvalidInput, match="joint_time_limit should be a number of seconds from 0, found -1"):
        Settings.from_variable({"joint_time_limit": -1})


def test_without_the_package_the_plan_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python.cp_model", None)
    monkeypatch.setitem(sys.modules, "ortools", None)
    both = placed(PACKED)
    assert list(both.refused) == ["e"]
    assert both.notes[0].startswith(
        "e: a joint search might have found a place; the controller needs the Python package 'ortools' for placing"
    )


def test_a_limit_that_ends_the_search_is_told() -> None:
    """Three servers fill each host exactly, and no other three do: there is an answer, and it takes long to find."""
    hosts = [
        HostState(
            f"kvm{number}",
            inventories={MEMORY_MB: Inventory(100_003), VCPU: Inventory(999)},
            pools={"local": Pool(f"{number}", Inventory(9999))},
            default_pool="local",
        )
        for number in range(9)
    ]
    pairs = [(26_003 + 811 * number, 31_007 + 577 * number) for number in range(9)]
    sizes = [size for one, two in pairs for size in (one, two, 100_003 - one - two)]
    batch = [request(f"s{number:02}", ram=size) for number, size in enumerate(sizes)]
    both = place(hosts, batch, Settings(joint_time_limit=0.001))
    assert both.refused
    assert both.notes == ("a placement of all 27 may exist: none found within 0.001 s (joint_time_limit)",)


def test_a_batch_that_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "MOST_CHOICES", 5)
    assert placed(PACKED).notes == ("no joint search for all 5: the batch is too large for it",)


def test_what_the_search_does_not_know_stays_where_it_was() -> None:
    """A JSON query may ask for anything; such a server keeps its place, and the others find theirs around it."""
    case = parse_case(f"{PACKED}---\n")
    query = dataclasses.replace(case.requests[1], hints={"query": '[">=", "$free_ram_mb", 5000]'})
    asked = [case.requests[0], query, *case.requests[2:]]
    options = Settings(enabled_filters=(*DEFAULT_FILTERS, "JsonFilter"))
    alone = place(case.hosts, asked, dataclasses.replace(options, joint_time_limit=0)).placed["b"].host
    both = place(case.hosts, asked, options)
    assert both.placed["b"].host == alone
    assert not both.refused or "exists with b where one by one put them (proved" in both.notes[0]


def test_a_shared_pool_is_counted_once() -> None:
    text = """
    host kvm1 vcpus=8 ram=9216 disk=60 pool=rbd:ceph
    host kvm2 vcpus=8 ram=9216 disk=60 pool=rbd:ceph
    server a vcpus=1 ram=1024 disk=30
    server b vcpus=1 ram=1024 disk=30
    server c vcpus=1 ram=1024 disk=30
    """
    both = placed(text)
    assert len(both.placed) == 2
    assert "no placement of all 3 exists (proved in" in both.notes[0]


def test_affinity_finds_the_host_that_has_room_for_all() -> None:
    """The first member goes to the host with the most memory, which has too few vCPUs for both."""
    text = """
    host kvm1 vcpus=1 ram=16384 disk=100
    host kvm2 vcpus=2 ram=8192 disk=90
    server a vcpus=1 ram=4096 disk=10 group=db:affinity
    server b vcpus=1 ram=4096 disk=10 group=db:affinity
    """
    assert len(placed(text, joint_time_limit=0, cpu_weight_multiplier=0.0).placed) == 1
    assert hosts_of(placed(text, cpu_weight_multiplier=0.0)) == {"a": "kvm2", "b": "kvm2"}


def test_hints_are_obeyed() -> None:
    text = """
    host kvm1 vcpus=1 ram=16384 disk=100
    host kvm2 vcpus=2 ram=8192 disk=90
    host kvm3 vcpus=1 ram=4096 disk=80
    server a vcpus=1 ram=4096 disk=10
    server b vcpus=1 ram=4096 disk=10 same_host=a
    server c vcpus=1 ram=4096 disk=10 different_host=a
    """
    found = hosts_of(placed(text, cpu_weight_multiplier=0.0))
    assert (found["a"], found["b"]) == ("kvm2", "kvm2")
    assert found["c"] != "kvm2"


def test_two_that_wait_for_each_other_are_refused() -> None:
    text = """
    host kvm1 vcpus=2 ram=16384 disk=100
    server a vcpus=1 ram=4096 disk=10 same_host=b
    server b vcpus=1 ram=4096 disk=10 same_host=a
    """
    both = placed(text)
    assert sorted(both.refused) == ["a", "b"]
    assert both.notes == ("none found: the joint search's placement doesn't pass all filters in any order",)


def test_what_the_search_does_not_know_and_is_refused_is_noted() -> None:
    """One by one, the two that are large fill the host that has room for the query."""
    text = """
    host kvm1 vcpus=4 ram=8192 disk=100
    server a vcpus=1 ram=4096 disk=10
    server b vcpus=1 ram=4096 disk=10
    server c vcpus=1 ram=1024 disk=10
    """
    case = parse_case(f"{text}---\n")
    query = dataclasses.replace(case.requests[2], hints={"query": '[">=", "$free_ram_mb", 1024]'})
    both = place(case.hosts, [*case.requests[:2], query], Settings(enabled_filters=(*DEFAULT_FILTERS, "JsonFilter")))
    assert list(both.refused) == ["c"]
    assert both.notes == (
        "c: another order of the batch may have a place; the joint search doesn't know all of their rules",
    )


SPREAD = {
    "one": ServerGroup("one", "anti-affinity"),
    "two": ServerGroup("two", "anti-affinity", 2),
    "same": ServerGroup("same", "affinity"),
}
TIGHT = st.sampled_from([2, 3, 4, 6])


@st.composite
def tight_hosts(draw: st.DrawFn, name: str) -> HostState:
    members = draw(st.sampled_from([(), (), ("one",), ("two",)]))
    return HostState(
        name,
        zone=draw(st.sampled_from(["east", "west"])),
        inventories={VCPU: Inventory(draw(TIGHT)), MEMORY_MB: Inventory(draw(TIGHT), allocation_ratio=1.5)},
        pools={"local": Pool(draw(st.sampled_from([name, "shared"])), Inventory(draw(TIGHT) + 2))},
        default_pool="local",
        instances=[Instance(f"{name}-{group}", group=group) for group in members],
    )


@st.composite
def tight_requests(draw: st.DrawFn, name: str) -> Request:
    sizes = st.integers(1, 3)
    return Request(
        name,
        Flavor("tight", draw(sizes), draw(sizes), draw(st.integers(0, 3))),
        zone=draw(st.sampled_from([None, None, "east"])),
        group=draw(st.sampled_from([None, None, *SPREAD.values()])),
    )


TIGHT_CLUSTERS = st.integers(2, 3).flatmap(lambda n: st.tuples(*(tight_hosts(f"kvm{i}") for i in range(n))))
TIGHT_BATCHES = st.integers(2, 5).flatmap(lambda n: st.tuples(*(tight_requests(f"s{i}") for i in range(n))))


def fits_somehow(cluster: t.Sequence[HostState], batch: t.Sequence[Request], options: Settings) -> bool:
    """All placements of all servers, one after the other through the filters."""

    def fits(done: list[tuple[Request, int]], waiting: t.Sequence[Request]) -> bool:
        if not waiting:
            return True
        scheduler = Scheduler(cluster, options)
        for server, row in done:
            scheduler.table.consume(row, server)
        rows = scheduler.possible(waiting[0]).nonzero()[0].tolist()
        return any(fits([*done, (waiting[0], row)], waiting[1:]) for row in rows)

    return fits([], batch)


@examples(150)
@given(TIGHT_CLUSTERS, TIGHT_BATCHES, st.integers(1, 3))
def test_it_finds_a_placement_if_and_only_if_there_is_one(cluster: t.Any, batch: t.Any, instances: int) -> None:
    options = Settings(
        enabled_filters=(*DEFAULT_FILTERS, "AvailabilityZoneFilter", "NumInstancesFilter", "RamFilter", "DiskFilter"),
        max_instances_per_host=instances,
    )
    both = place(cluster, batch, options)
    assert (not both.refused) == fits_somehow(cluster, batch, options)
    if both.refused and any(Scheduler(cluster, options).possible(server).any() for server in batch):
        alone = [server for server in batch if Scheduler(cluster, options).possible(server).any()]
        proved = any("no placement of all" in note for note in both.notes)
        assert proved or len(alone) < 2 or {server.name for server in alone} == set(both.placed)


@examples(100)
@given(PLAIN_CLUSTERS, PLAIN_BATCHES, st.integers(1, 3))
def test_it_places_at_least_as_many_and_repeats(cluster: t.Any, batch: t.Any, subset: int) -> None:
    options = Settings(host_subset_size=subset)
    greedy = place(cluster, batch, dataclasses.replace(options, joint_time_limit=0))
    both = place(cluster, batch, options)
    assert len(both.placed) >= len(greedy.placed)
    assert {*both.placed, *both.refused} == {server.name for server in batch}
    assert place(cluster, tuple(reversed(batch)), options) == both
    if not greedy.refused:
        assert both == greedy
