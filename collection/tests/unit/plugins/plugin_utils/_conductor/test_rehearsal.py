# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What if a host died: from the ledger's memory of hosts and servers to a place for each, or the reason for none."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute, host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rehearsal import (
    Outcome,
    Rehearsal,
    Resident,
    cases_of,
    could_not,
    outcomes_text,
    rehearsal_of,
    surveyed_text,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.remembered import (
    KEY,
    memory_of,
    remembered,
    with_marks,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow, HostRow, ServerRow, Snapshot
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
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
    rows,
    survey,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared

SMALL, BIG = Flavor("small", 1, 1024, 10), Flavor("big", 2, 4096, 20)
SETTINGS = Settings(joint_time_limit=0)  # of several joint placements that are as good, any is right
APART = ServerGroup("apart", "anti-affinity")
ID = "00000000-0000-4000-8000-{:012d}"


def host(name: str, *residents: Resident, memory: int = 8192, pool: str = "shared", disk: int = 100) -> HostState:
    """A host with these servers on it, all of whose disks are in one pool."""
    of = [resident.request for resident in residents if resident.host == name]
    key = "P" if pool == "shared" else f"{name}/local"
    held = residents if pool == "shared" else [resident for resident in residents if resident.host == name]
    used = sum(resident.request.flavor.disk_gb for resident in held)
    return HostState(
        name,
        inventories={
            VCPU: Inventory(16, 0, 4.0, sum(request.flavor.vcpus for request in of)),
            MEMORY_MB: Inventory(memory, 0, 1.0, sum(request.flavor.ram for request in of)),
        },
        pools={pool: Pool(key, Inventory(disk, used=used))},
        default_pool=pool,
        networks=("lan",),
        instances=[Instance(str(r.id), r.name, r.group.name if r.group else None) for r in of],
    )


def resident(name: str, at: str, flavor: Flavor = SMALL, pool: str | None = "P", **more: t.Any) -> Resident:
    request = Request(name, flavor, id=f"id-{name}", networks=("lan",), **more)
    return Resident(at, request, (("root", pool),), pool, "P" if pool == "P" else f"{at}/local")


def rehearsed(
    states: t.Sequence[HostState], residents: t.Sequence[Resident], *lost: str, **pools: t.Collection[str]
) -> Outcome:
    known = pools or {state.name: {"P"} for state in states}
    return Rehearsal(states, residents, known, SETTINGS).outcomes([lost])[0]


def test_servers_of_a_lost_host_find_a_place_by_the_schedulers_rules() -> None:
    left = [resident("web1", "kvm1", group=APART), resident("web2", "kvm2", group=APART), resident("db1", "kvm1", BIG)]
    states = [host(name, *left) for name in ("kvm1", "kvm2", "kvm3")]
    outcome = rehearsed(states, left, "kvm1")
    assert dict(outcome.placed) == {"db1": "kvm2", "web1": "kvm3"}, "web1 must not go to web2"
    assert not outcome.refused
    assert not outcome.data_lost


def test_what_finds_no_place_is_told_with_the_schedulers_reason() -> None:
    left = [resident("db1", "kvm1", BIG), resident("db2", "kvm2", BIG)]
    states = [host(name, *left, memory=6000) for name in ("kvm1", "kvm2")]
    outcome = rehearsed(states, left, "kvm1")
    assert not outcome.placed
    assert outcome.refused["db1"].startswith("No valid host was found for db1")
    assert "needs 4 GiB" in outcome.refused["db1"]


def test_a_group_member_on_the_lost_host_is_in_nobodys_way() -> None:
    together = ServerGroup("together", "affinity")
    left = [resident(f"web{n}", "kvm1", group=together) for n in (1, 2)]
    outcome = rehearsed([host(name, *left) for name in ("kvm1", "kvm2", "kvm3")], left, "kvm1")
    assert len(set(outcome.placed.values())) == 1
    assert len(outcome.placed) == 2


def test_data_is_lost_where_no_other_host_has_the_pool() -> None:
    left = [resident("web1", "kvm1", pool="L1"), resident("web2", "kvm1", pool=None), resident("web3", "kvm1")]
    left = [dataclasses.replace(one, request=dataclasses.replace(one.request, pool=None)) for one in left]
    states = [host(name, *left) for name in ("kvm1", "kvm2", "kvm3")]
    outcome = rehearsed(states, left, "kvm1", kvm1={"L1", "P"}, kvm2={"P"}, kvm3=set())
    assert outcome.data_lost == {"web1": ("root",), "web2": ("root",)}
    assert outcome.placed["web3"] == "kvm2", "its disk lives on, and only kvm2 has it"

    both = rehearsed(states, left, "kvm1", "kvm2", kvm1={"L1", "P"}, kvm2={"P"}, kvm3=set())
    assert set(both.data_lost) == {"web1", "web2", "web3"}
    assert set(both.placed.values()) == {"kvm3"}


def test_a_disk_that_lives_on_needs_no_second_room_in_its_pool() -> None:
    left = [resident(f"web{n}", "kvm1") for n in range(5)]
    states = [host(name, *left, disk=60) for name in ("kvm1", "kvm2")]
    assert len(rehearsed(states, left, "kvm1").placed) == 5


def test_one_that_cannot_be_moved_is_refused_for_that() -> None:
    stays = dataclasses.replace(resident("vault", "kvm1"), stays="it has a virtual TPM")
    outcome = rehearsed([host("kvm1", stays), host("kvm2", stays)], [stays], "kvm1")
    assert outcome.refused == {"vault": "it has a virtual TPM"}


def test_what_one_by_one_has_no_place_for_is_placed_jointly() -> None:
    """As evacuation does it: two of 4 GiB and two of 2 GiB fit into 6 and 6 GiB in one way alone."""
    half = Flavor("half", 1, 2048, 10)
    left = [resident(f"db{n}", "kvm1", BIG) for n in (1, 2)] + [resident(f"web{n}", "kvm1", half) for n in (1, 2)]
    states = [host("kvm1", *left, memory=12288), host("kvm2", *left, memory=6144), host("kvm3", *left, memory=6144)]
    outcome = Rehearsal(states, left, {state.name: {"P"} for state in states}, Settings(batch="auto")).outcomes(
        [("kvm1",)]
    )[0]
    assert len(outcome.placed) == 4


def test_one_case_leaves_nothing_behind_for_the_next() -> None:
    left = [resident("db1", "kvm1", BIG), resident("db2", "kvm2", BIG)]
    states = [host(name, *left, memory=8192) for name in ("kvm1", "kvm2", "kvm3")]
    rehearsal = Rehearsal(states, left, {state.name: {"P"} for state in states}, SETTINGS)
    cases = [("kvm1",), ("kvm2",), ("kvm1",), ("kvm1", "kvm2"), ("kvm2",)]
    one, two, again, both, last = rehearsal.outcomes(cases)
    assert one == again
    assert two == last
    assert set(both.placed.values()) == {"kvm3"}


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.sampled_from([SMALL, BIG]), st.integers(0, 3), st.booleans()), min_size=1, max_size=12),
    memory=st.sampled_from([6144, 9000, 16384]),
    lost=st.integers(0, 3),
)
def test_it_is_what_the_scheduler_does_with_the_hosts_that_are_left(
    sizes: list[tuple[Flavor, int, bool]], memory: int, lost: int
) -> None:
    """The law: the copy of the whole fleet's table places as a table does that never knew the lost host."""
    left = [
        resident(f"s{n:02}", f"kvm{at}", flavor, group=APART if grouped else None)
        for n, (flavor, at, grouped) in enumerate(sizes)
    ]
    names = [f"kvm{n}" for n in range(4)]
    gone = f"kvm{lost}"
    outcome = rehearsed([host(name, *left, memory=memory, disk=1000) for name in names], left, gone)

    others = [one for one in left if one.host != gone]
    survivors = [host(name, *others, memory=memory, disk=1000) for name in names if name != gone]
    expected = place(survivors, [one.request for one in left if one.host == gone], SETTINGS)
    assert dict(outcome.placed) == {name: placed.host for name, placed in expected.placed.items()}
    assert set(outcome.refused) == set(expected.refused)


# -- from the ledger alone


def as_remembered(declared: Declared, computes: t.Sequence[Compute]) -> Snapshot:
    """The ledger after a run over these hosts."""
    ours = {guest.id for compute in computes for guest in compute.guests if guest.record}
    known = {
        one.name: HostRow(one.name, one.host_id, 1, "enabled", None, 1.0, {KEY: memory_of(one, ours)})
        for one in computes
    }
    servers = {}
    for one in computes:
        for guest in one.guests:
            record = guest.record
            if record is not None:
                servers[record.id] = server_row(record, one.name)
    return rows(hosts=known, servers=servers, fleet=FleetRow("L", "F", "office"))


def server_row(record: Record, at: str, **changes: t.Any) -> ServerRow:
    row = ServerRow(
        record.id, record.name, at, record.dumps(), record.generation, "active", None, 1, None, None, 1.0, 1.0
    )
    return dataclasses.replace(row, **changes)


def shared_survey(name: str, **more: t.Any) -> dict[str, t.Any]:
    found = survey(name, **more)
    found["pools"]["local"] |= {"id": "P", "type": "dir", "path": "/p", "available": 1, "volumes_total": 0}
    return found


def running(count: int) -> tuple[Declared, tuple[Compute, ...]]:
    """A fleet of three hosts with one shared pool, as a first run has left it."""
    declared = fleet({f"web{n}": WEB for n in range(count)})
    surveys = {name: shared_survey(name) for name in ("kvm1", "kvm2", "kvm3")}
    guests = applied(reconcile(declared, hosts(declared, **surveys)))
    for of_host in guests.values():
        of_host[:] = [as_defined(in_pool(t.cast(Record, guest.record), "P")) for guest in of_host]
    return declared, hosts(declared, guests, **surveys)


def in_pool(record: Record, pool_id: str) -> Record:
    return dataclasses.replace(record, disks=[dataclasses.replace(disk, pool_id=pool_id) for disk in record.disks])


def test_remembered_hosts_are_to_the_scheduler_what_surveyed_ones_are() -> None:
    declared, computes = running(6)
    foreign = dataclasses.replace(computes[0].guests[0], id=ID.format(99), record=None, memory=512)
    computes = (dataclasses.replace(computes[0], guests=(*computes[0].guests, foreign)), *computes[1:])
    snapshot = as_remembered(declared, computes)
    known = remembered(declared.computes, snapshot)

    def states(of: t.Sequence[Compute]) -> list[HostState]:
        return host_states(of, snapshot, fleet_id="F", catalogs=declared.catalogs, groups={})

    for seen, recalled in zip(states(computes), states(known), strict=True):
        assert recalled.inventories == seen.inventories
        assert {name: pool.disk for name, pool in recalled.pools.items()} == {
            name: pool.disk for name, pool in seen.pools.items()
        }
        assert {one.id for one in recalled.instances} == {one.id for one in seen.instances}
        assert (recalled.networks, recalled.up) == (seen.networks, True)


def test_a_fleet_is_rehearsed_from_its_ledger() -> None:
    declared, computes = running(6)
    snapshot = as_remembered(declared, computes)
    known = remembered(declared.computes, snapshot)
    outcomes = rehearsal_of(declared, known, snapshot).outcomes(cases_of(["every"], list(declared.computes)))
    assert [one.lost for one in outcomes] == [("kvm1",), ("kvm2",), ("kvm3",)]
    for one in outcomes:
        theirs = {guest.name for compute in computes if compute.name in one.lost for guest in compute.guests}
        assert set(one.placed) == theirs
        assert not one.refused
        assert not one.data_lost
        assert not set(one.placed.values()) & set(one.lost)
    both = rehearsal_of(declared, known, snapshot).outcomes([("kvm1", "kvm2")])[0]
    assert set(both.placed.values()) == {"kvm3"}


def test_a_server_pinned_to_the_lost_host_goes_elsewhere_as_evacuation_lets_it() -> None:
    declared, computes = running(1)
    snapshot = as_remembered(declared, computes)
    ((server_id, row),) = snapshot.servers.items()
    record = t.cast(Record, row.loads())
    pinned = dataclasses.replace(record, spec={**record.spec, "host": row.host})
    servers = {server_id: dataclasses.replace(row, record=pinned.dumps())}
    snapshot = dataclasses.replace(snapshot, servers=servers)
    known = remembered(declared.computes, snapshot)
    outcome = rehearsal_of(declared, known, snapshot).outcomes([(str(row.host),)])[0]
    assert (list(outcome.placed), outcome.refused) == ([record.name], {})


def test_soft_deleted_and_shelved_servers_are_nobodys_loss() -> None:
    declared, computes = running(3)
    snapshot = as_remembered(declared, computes)
    servers = dict(snapshot.servers)
    for server_id, state in zip(sorted(servers), ("soft-delete", "shelved_offloaded", "active"), strict=True):
        servers[server_id] = dataclasses.replace(servers[server_id], vm_state=state)
    snapshot = dataclasses.replace(snapshot, servers=servers)
    outcomes = rehearsal_of(declared, remembered(declared.computes, snapshot), snapshot).outcomes(
        cases_of(["every"], list(declared.computes))
    )
    assert sum(len(one.placed) + len(one.refused) for one in outcomes) == 1


def test_a_host_that_was_never_surveyed_takes_nothing() -> None:
    declared, computes = running(4)
    snapshot = as_remembered(declared, computes)
    unknown = {**snapshot.hosts, "kvm3": dataclasses.replace(snapshot.hosts["kvm3"], summary={})}
    snapshot = dataclasses.replace(snapshot, hosts=unknown)
    known = remembered(declared.computes, snapshot)
    assert known[2].why == "the ledger remembers no survey of it: run reconcile once"
    outcome = rehearsal_of(declared, known, snapshot).outcomes([("kvm1",)])[0]
    assert set(outcome.placed.values()) <= {"kvm2"}


def test_marks_that_a_run_sets_are_remembered_too() -> None:
    declared, computes = running(1)
    compute = dataclasses.replace(computes[0], survey=survey("kvm1", marked=False) | {"marker": None})
    packed = with_marks(memory_of(compute, ()), {"local": "P"})
    snapshot = rows(hosts={"kvm1": HostRow("kvm1", "id-kvm1", 1, "enabled", None, 1.0, {KEY: packed})})
    assert remembered(declared.computes, snapshot)[0].pools["local"]["id"] == "P"


def test_cases_are_hosts_of_the_fleet() -> None:
    names = ["kvm1", "kvm2", "kvm3"]
    assert cases_of(["kvm2", "kvm1", "kvm2"], names) == [("kvm1", "kvm2")]
    assert cases_of(["every"], names) == [("kvm1",), ("kvm2",), ("kvm3",)]
    with pytest.raises(InvalidInput, match="the group computes has no host 'kvm9'; did you mean 'kvm"):
        cases_of(["kvm1", "kvm9"], names)


def test_the_text_says_what_is_bad_and_counts_the_rest() -> None:
    text = outcomes_text(
        [
            Outcome(("kvm1",), {"web1": "kvm2"}, {"db1": "No valid host was found for db1"}, {"web1": ("root",)}),
            Outcome(("kvm2",), {}, {}, {}),
        ]
    )
    assert text.splitlines() == [
        "  kvm1  2 servers: 1 find a place, 1 find none, 1 lose data",
        "    ! db1 finds no place: No valid host was found for db1",
        "    ! web1 loses data, to kvm2: root",
        "  kvm2  0 servers: 0 find a place, 0 find none, 0 lose data",
    ]


def test_it_fails_for_a_server_without_a_place_and_strictly_for_lost_data() -> None:
    declared = fleet({})
    fine, homeless = Outcome(("kvm1",), {"a": "kvm2"}, {}, {}), Outcome(("kvm2",), {}, {"b": "full"}, {})
    empty = Outcome(("kvm3",), {"c": "kvm1"}, {}, {"c": ("root",)})
    assert could_not([fine, empty], declared.settings) == ""
    assert could_not([fine, homeless], declared.settings) == (
        "the fleet could not take the loss of kvm2: 1 servers would find no place (b)"
    )
    strict = dataclasses.replace(declared.settings, strict=True)
    assert "1 would lose data, which only fleet_allow=data_loss lets pass" in could_not([fine, empty], strict)
    allowed = dataclasses.replace(strict, allow=frozenset({"data_loss"}))
    assert could_not([fine, empty], allowed) == ""


def test_the_text_says_how_old_the_ledgers_knowledge_is() -> None:
    declared, computes = running(1)
    snapshot = dataclasses.replace(as_remembered(declared, computes), now=1.0 + 5 * 3600)
    unknown = {**snapshot.hosts, "kvm3": dataclasses.replace(snapshot.hosts["kvm3"], summary={})}
    snapshot = dataclasses.replace(snapshot, hosts=unknown)
    assert surveyed_text(remembered(declared.computes, snapshot), snapshot).splitlines() == [
        "Rehearsal by inventory and ledger, as surveyed up to 5 hours ago:",
        "  ! kvm3: the ledger remembers no survey of it: run reconcile once",
    ]
