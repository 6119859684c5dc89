# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a whole fleet: from inventory, surveys and ledger rows to placements, claims, deeds and text."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.preparation import whose
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import plan_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    Claimed,
    ClaimRow,
    HostRow,
    RunRow,
    ServerRow,
    Snapshot,
)

SHA = "sha256:" + "a" * 64
FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"small": {"vcpus": 1, "ram": 1024, "disk": 1}, "big": {"vcpus": 2, "ram": 4096, "disk": 2}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": SHA}},
    "fleet_networks": {"lan": {"bridge": "br0", "cidr": "192.0.2.0/24", "gateway": "192.0.2.1"}},
    "fleet_server_groups": {"apart": {"policy": "anti-affinity"}},
}
COMPUTE: dict[str, t.Any] = {"compute_reserved": {"vcpus": 0, "memory": 0, "disk": 0}}
NO_LEAVE = Leave()
WEB = {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"]}


def fleet(servers: dict[str, dict[str, t.Any]], **changes: t.Any) -> Declared:
    hosts = dict.fromkeys(("kvm1", "kvm2", "kvm3"), COMPUTE)
    return declare({**FLEET, **changes}, hosts, servers, {})


def survey(name: str, *, marked: bool = True, memory: int = 8192, volumes: t.Sequence[str] = ()) -> dict[str, t.Any]:
    marker = {
        "host_id": f"id-{name}",
        "fleet_id": "F",
        "ledger_id": "L",
        "service": {"state": "enabled", "reason": None},
    }
    pool = {
        "id": f"pool-{name}" if marked else None,
        "active": True,
        "capacity": 100 * GIB,
        "allocation": 0,
        "capabilities": ["create", "upload", "overlay"],
        "volumes": {volume: {"capacity": GIB, "allocation": 0} for volume in volumes},
    }
    return {
        "host_id": f"id-{name}" if marked else None,
        "marker": marker if marked else None,
        "libvirt": 9000000,
        "qemu": 7002000,
        "virt_types": ["qemu"],
        "cpu": {"count": 4, "arch": "x86_64"},
        "memory": memory,
        "pools": {"local": pool},
        "networks": {},
        "bridges": ["br0"],
        "running_steps": [],
    }


def hosts(declared: Declared, guests: dict[str, list[Guest]] | None = None, **surveys: t.Any) -> tuple[Compute, ...]:
    found = []
    for name, settings in declared.computes.items():
        its = surveys.get(name, survey(name))
        mine = tuple((guests or {}).get(name, ()))
        found.append(Compute(name, settings, its, mine) if its else Compute(name, settings, why="no route to host"))
    return tuple(found)


def rows(**changes: t.Any) -> Snapshot:
    known = {name: HostRow(name, f"id-{name}", 1, "enabled", None, 1.0, {}) for name in ("kvm1", "kvm2", "kvm3")}
    empty = Snapshot(now=0.0, fleet=None, hosts=known, servers={}, claims={}, addresses=(), runs={})
    return dataclasses.replace(empty, **changes)


def reconcile(
    declared: Declared, computes: tuple[Compute, ...], snapshot: Snapshot | None = None, leave: Leave = NO_LEAVE
) -> Reconcile:
    given = Situation(
        declared, computes, snapshot or rows(), fleet_id="F", ledger_id="L", leave=leave, now=1000.0, run_id="me"
    )
    draft = Reconcile(given)
    draft.schedule()
    return draft


def claimed(draft: Reconcile) -> Plan:
    """The plan when every claim is won, with ids and addresses in order."""
    won = {}
    for index, claim in enumerate(draft.claims()):
        server_id = claim.server_id or f"00000000-0000-4000-8000-{index:012d}"
        won[claim.name] = Claimed(server_id, claim.host, tuple(f"192.0.2.{10 + index}" for _wish in claim.addresses))
    return draft.plan(won)


def applied(draft: Reconcile, state: str = "running") -> dict[str, list[Guest]]:
    """The guests that the plan leaves, by host."""
    found: dict[str, list[Guest]] = {}
    for entry in claimed(draft).servers:
        record = Record.from_json(next(deed["record"] for deed in reversed(entry.deeds) if "record" in deed))
        guest = dataclasses.replace(as_defined(record), state=state)
        found.setdefault(str(entry.host), []).append(guest)
    return found


def entries(plan: Plan) -> dict[str, ServerEntry]:
    return {entry.name: entry for entry in plan.servers}


def kinds(entry: ServerEntry) -> list[str]:
    return [step.kind for step in entry.steps]


def test_new_servers_go_where_the_scheduler_says_and_a_second_plan_is_empty() -> None:
    declared = fleet({f"web{n}": {**WEB, "server_group": "apart"} for n in (1, 2, 3)})
    draft = reconcile(declared, hosts(declared))
    plan = claimed(draft)
    assert sorted(str(entry.host) for entry in plan.servers) == ["kvm1", "kvm2", "kvm3"]
    assert [kinds(entry) for entry in plan.servers] == [["create", "start"]] * 3
    second = claimed(reconcile(declared, hosts(declared, applied(draft))))
    assert [kinds(entry) for entry in second.servers] == [[], [], []]
    assert not any(host.steps for host in second.hosts)


def test_each_image_is_fetched_once_into_each_pool_that_needs_it() -> None:
    declared = fleet({"web1": WEB, "web2": WEB, "web3": WEB, "web4": WEB})
    plan = claimed(reconcile(declared, hosts(declared)))
    fetched = [(host.name, step.args["pool"]) for host in plan.hosts for step in host.steps if step.kind == "image"]
    assert sorted(fetched) == [("kvm1", "local"), ("kvm2", "local"), ("kvm3", "local")]
    there = {name: survey(name, volumes=["image-" + "a" * 64 + ".ok"]) for name in ("kvm1", "kvm2", "kvm3")}
    plan = claimed(reconcile(declared, hosts(declared, **there)))
    assert not any(host.steps for host in plan.hosts)


def test_equal_bytes_under_two_formats_are_two_fetches_so_that_the_wrong_one_fails_alone() -> None:
    images = {**FLEET["fleet_images"], "wrong": {**FLEET["fleet_images"]["tick"], "format": "raw"}}
    servers = {"web1": {**WEB, "server_image": "wrong", "server_host": "kvm1"}, "web2": {**WEB, "server_host": "kvm1"}}
    declared = fleet(servers, fleet_images=images)
    plan = claimed(reconcile(declared, hosts(declared)))
    assert [step.args["name"] for host in plan.hosts for step in host.steps] == ["wrong", "tick"]


def test_a_host_without_a_marker_is_enrolled() -> None:
    declared = fleet({})
    plan = reconcile(declared, hosts(declared, kvm2=survey("kvm2", marked=False))).plan()
    assert [(host.name, step.what) for host in plan.hosts for step in host.steps] == [
        ("kvm2", "enroll (the host's marker, pool local)")
    ]


def test_no_room_is_told_host_by_host() -> None:
    declared = fleet({"db1": {**WEB, "server_flavor": "big"}})
    small = {name: survey(name, memory=2048) for name in ("kvm1", "kvm2", "kvm3")}
    entry = entries(reconcile(declared, hosts(declared, **small)).plan())["db1"]
    assert entry.verdict == "no valid host"
    assert entry.message == (
        "No valid host was found for db1 (4 GiB, 2 vCPUs, 2 GiB disk): "
        "kvm1, kvm2, kvm3: needs 4 GiB, one server can have at most 2 GiB"
    )


def test_foreign_guests_and_claims_of_others_count() -> None:
    declared = fleet({"db1": {**WEB, "server_flavor": "big"}})
    foreign = Guest(id="x", name="x", state="shutoff", persistent=True, autostart=False, vcpus=1, memory=6000)
    other = ClaimRow("y", "y", "kvm2", 1, 6000, 1, "local", "other", True, 0.0)
    computes = hosts(declared, {"kvm1": [foreign]}, kvm3=None)
    assert entries(reconcile(declared, computes, rows(claims={"y": other})).plan())["db1"].verdict == "no valid host"
    assert entries(reconcile(declared, computes).plan())["db1"].host == "kvm2"


def test_a_dead_host_s_servers_are_left_alone_and_fail_the_run() -> None:
    declared = fleet({"web1": WEB})
    guests = applied(reconcile(declared, hosts(declared)))
    home, (guest,) = next(iter(guests.items()))
    row = server_row(guest, home)
    plan = claimed(reconcile(declared, hosts(declared, **{home: None}), rows(servers={row.id: row})))
    assert [(entry.verdict, entry.message) for entry in plan.failures] == [
        ("away", f"{home} is down: no route to host")
    ]
    assert not plan.changed


def server_row(guest: Guest, host: str, **changes: t.Any) -> ServerRow:
    record = t.cast(Record, guest.record)
    row = ServerRow(guest.id, record.name, host, record.dumps(), 1, "active", None, 1, None, None, 0.0, 0.0)
    return dataclasses.replace(row, **changes)


def test_a_server_in_another_run_s_hands_is_left_to_it() -> None:
    declared = fleet({"web1": WEB})
    run = RunRow("other", "Plan", "ctl2", "b", "n", 42, "1", "ann", 0.0, 0.0, None, "running")
    row = ServerRow("z", "web1", "kvm1", None, 0, "building", "spawning", 0, "other", None, 0.0, 0.0)
    plan = claimed(reconcile(declared, hosts(declared), rows(servers={"z": row}, runs={"other": run})))
    assert entries(plan)["web1"].verdict == "busy"
    assert "by ann on ctl2, process 42" in entries(plan)["web1"].message


def test_what_a_dead_run_began_is_finished_where_it_was_begun_under_its_id() -> None:
    declared = fleet({"web1": WEB})
    row = ServerRow("z", "web1", "kvm3", None, 0, "building", "spawning", 0, None, None, 0.0, 0.0)
    claim = ClaimRow("z", "web1", "kvm3", 1, 1024, 1, "local", "dead", True, 0.0)
    draft = reconcile(declared, hosts(declared), rows(servers={"z": row}, claims={"z": claim}))
    assert [(one.server_id, one.host) for one in draft.claims()] == [("z", "kvm3")]


def test_what_a_dead_run_left_half_built_goes_when_inventory_no_longer_names_it() -> None:
    declared = fleet({"web2": WEB})
    row = ServerRow("z", "web1", "kvm3", None, 0, "building", None, 0, None, None, 0.0, 0.0)
    claim = ClaimRow("z", "web1", "kvm3", 1, 1024, 1, "local", "dead", True, 0.0)
    plan = claimed(reconcile(declared, hosts(declared), rows(servers={"z": row}, claims={"z": claim})))
    assert [(e.host, [d["kind"] for d in e.deeds]) for e in plan.servers if e.name == "web1"] == [("kvm3", ["delete"])]


def test_a_foreign_guest_of_the_same_name_keeps_the_server_off_its_host() -> None:
    declared = fleet({"web1": {**WEB, "server_host": "kvm1"}})
    foreign = Guest(id="x", name="web1", state="running", persistent=True, autostart=False, vcpus=1, memory=1)
    assert entries(reconcile(declared, hosts(declared, {"kvm1": [foreign]})).plan())["web1"].verdict == "no valid host"


def test_a_server_that_inventory_no_longer_names_is_noted_and_with_leave_deleted() -> None:
    declared = fleet({"web1": WEB})
    guests = applied(reconcile(declared, hosts(declared)))
    without = fleet({})
    plan = claimed(reconcile(without, hosts(without, guests)))
    assert not plan.changed
    assert "is managed and not in inventory" in plan.notes[0]
    with pytest.raises(InvalidInput, match="the inventory's group servers is empty"):
        reconcile(fleet({}, fleet_prune=True), hosts(without, guests))
    pruning = fleet({"other": {**WEB, "server_state": "absent"}}, fleet_prune=True)
    held = claimed(reconcile(pruning, hosts(pruning, guests)))
    assert [(step.kind, step.hold) for entry in held.servers for step in entry.held] == [("soft_delete", "delete")]
    allowed = claimed(reconcile(pruning, hosts(pruning, guests), leave=Leave(frozenset({"delete"}))))
    assert [kinds(entry) for entry in allowed.servers] == [[], ["soft_delete"]]


def test_pruning_many_needs_the_very_number() -> None:
    declared = fleet({f"web{n}": WEB for n in range(7)})
    guests = applied(reconcile(declared, hosts(declared)))
    one = {"web0": WEB}
    with pytest.raises(InvalidInput, match=r"would delete 6 servers, and fleet_prune_max is 5.*fleet_prune_confirm=6"):
        reconcile(fleet(one, fleet_prune=True), hosts(declared, guests))
    leave = Leave(frozenset({"delete"}))
    plan = claimed(reconcile(fleet(one, fleet_prune=True, fleet_prune_confirm=6), hosts(declared, guests), leave=leave))
    assert [kinds(entry) for entry in plan.servers].count(["soft_delete"]) == 6


def test_a_second_copy_goes_only_with_leave_to_delete() -> None:
    declared = fleet({"web1": {**WEB, "server_host": "kvm1"}})
    (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).values()))
    copies = {"kvm1": [dataclasses.replace(guest, state="shutoff")], "kvm2": [guest]}
    held = claimed(reconcile(declared, hosts(declared, copies)))
    assert [(entry.host, kinds(entry), [s.kind for s in entry.held]) for entry in held.servers] == [
        ("kvm2", ["adopt"], []),
        ("kvm1", [], ["undefine"]),
    ]


def test_more_memory_must_fit_where_the_server_is() -> None:
    declared = fleet({"web1": {**WEB, "server_host": "kvm1"}})
    guests = applied(reconcile(declared, hosts(declared)), "shutoff")
    grown = fleet({"web1": {**WEB, "server_host": "kvm1", "server_flavor": "big"}})
    fits = claimed(reconcile(grown, hosts(grown, guests)))
    assert kinds(entries(fits)["web1"]) == ["reconfigure", "start"]
    tight = claimed(reconcile(grown, hosts(grown, guests, kvm1=survey("kvm1", memory=2048))))
    assert entries(tight)["web1"].verdict == "no valid host"


def test_deeds_follow_each_other_s_generation() -> None:
    declared = fleet({"web1": {**WEB, "server_autostart": True}})
    (entry,) = claimed(reconcile(declared, hosts(declared))).servers
    assert [(deed["kind"], deed["expects"]) for deed in entry.deeds] == [("create", None), ("update", 1), ("start", 2)]
    record = Record.from_json(entry.deeds[0]["record"])
    assert record.nics[0].addresses[0].to_json() == {
        "address": "192.0.2.10",
        "prefix": 24,
        "gateway": "192.0.2.1",
        "dns": [],
    }
    assert [disk.role for disk in record.disks] == ["root", "config"]


def test_the_plan_is_told_in_lines() -> None:
    declared = fleet({"web1": {**WEB, "server_host": "kvm2"}})
    text = plan_text(reconcile(declared, hosts(declared, kvm3=None)).plan())
    assert text.splitlines() == [
        "Plan for fleet 'office': 1 to create, 0 to change, 0 to delete, 0 held, 0 as declared; 2 of 3 hosts up",
        "  kvm2  + image tick into pool local",
        "  kvm3  ! down: no route to host",
        "  web1  + create on kvm2 (small: 1 vCPU, 1024 MiB, 1 GiB, new)",
        "  web1  ~ start on kvm2 (declared active)",
    ]


def test_each_difference_is_told_with_its_class_and_both_values() -> None:
    names = ("live", "off", "running", "image", "pool")
    before = fleet({name: {**WEB, "server_state": "stopped" if name == "off" else "active"} for name in names})
    guests = {
        host: [dataclasses.replace(guest, state="shutoff" if guest.name == "off" else "running") for guest in its]
        for host, its in applied(reconcile(before, hosts(before))).items()
    }
    changes: dict[str, dict[str, t.Any]] = {
        "live": {"server_metadata": {"role": "new"}},
        "off": {"server_flavor": "big", "server_state": "stopped"},
        "running": {"server_flavor": "big"},
        "image": {"server_image": "tock"},
        "pool": {"server_pool": "shared"},
    }
    tock = {"file": "/tock.qcow2", "format": "qcow2", "checksum": "sha256:" + "b" * 64}
    images = {**FLEET["fleet_images"], "tock": tock}
    after = fleet({name: {**WEB, **changes[name]} for name in names}, fleet_images=images)
    text = plan_text(reconcile(after, hosts(after, guests)).plan())
    assert 'metadata [live]: (none) -> {"role": "new"}' in text
    assert "flavor.ram [next boot]: 1024 -> 4096" in text
    assert "flavor.ram [restart]: 1024 -> 4096" in text
    assert 'image.name [rebuild]: "tick" -> "tock"' in text
    assert 'pool [impossible]: (none) -> "shared"' in text


@pytest.mark.parametrize(("state", "said"), [("disabled", ""), ("maintenance", "maintenance: "), ("down", "down: ")])
def test_nothing_new_goes_to_a_host_whose_own_marker_keeps_it_out(state: str, said: str) -> None:
    """Said with module compute, on the host itself: the ledger may have been lost since."""
    kept = survey("kvm1")
    kept["marker"]["service"] = {"state": state, "reason": "smells of smoke"}
    declared = fleet({"web1": {**WEB, "server_host": "kvm1"}, "web2": WEB})
    plan = reconcile(declared, hosts(declared, kvm1=kept, kvm3=None)).plan()
    told = entries(plan)
    assert told["web2"].host == "kvm2"
    assert told["web1"].steps == ()
    assert f"kvm1: disabled ({said}smells of smoke)" in plan_text(plan)


def test_what_may_be_on_a_host_that_was_never_seen_is_held_with_one_flag_for_all() -> None:
    declared = fleet({"web1": WEB, "web2": WEB})
    plan = reconcile(declared, hosts(declared, kvm3=None), rows(hosts={})).plan()
    assert [(entry.verdict, entry.unseen) for entry in plan.servers] == [("held", ("kvm3",))] * 2
    assert [note.partition(" says")[0] for note in plan.notes] == ["-e fleet_assume_absent=kvm3"]


def test_a_placement_can_be_explained() -> None:
    declared = fleet({"db1": {**WEB, "server_flavor": "big"}}, fleet_explain="db1")
    (note,) = reconcile(declared, hosts(declared, kvm2=survey("kvm2", memory=2048), kvm3=None)).plan().notes
    assert note.splitlines()[0] == "db1 (4 GiB, 2 vCPUs, 2 GiB disk) goes to kvm1"
    assert "  kvm2: needs 4 GiB, one server can have at most 2 GiB (Placement)" in note.splitlines()
    assert any(line.startswith("  kvm3: ") and "no route to host" in line for line in note.splitlines())


def test_what_one_by_one_refuses_is_placed_jointly_and_noted() -> None:
    sizes = {"a": 5120, "b": 5120, "c": 4096, "d": 3072, "e": 3072}
    flavors = {f"m{size}": {"vcpus": 1, "ram": size, "disk": 1} for size in sizes.values()}
    servers = {name: {**WEB, "server_flavor": f"m{size}"} for name, size in sizes.items()}
    declared = fleet(servers, fleet_flavors=flavors)
    memory = {"kvm1": 10240, "kvm2": 10240, "kvm3": 512}
    draft = reconcile(declared, hosts(declared, **{name: survey(name, memory=size) for name, size in memory.items()}))
    (note,) = draft.plan().notes
    assert note.startswith("placed jointly: e had no host left one by one, now all 5 have one")
    assert {entry.host for entry in draft.plan().servers} == {"kvm1", "kvm2"}


def test_check_mode_and_the_run_that_follows_have_the_same_text() -> None:
    declared = fleet({f"web{n}": WEB for n in range(5)})
    draft = reconcile(declared, hosts(declared))
    assert plan_text(draft.plan()) == plan_text(claimed(draft))


def test_the_declared_fleet_survives_its_way_as_a_string() -> None:
    declared = fleet({"web1": {**WEB, "server_metadata": {"k": "v"}, "server_user_data": "secret words"}})
    again = Declared.unpack(declared.pack())
    assert (again.settings, again.catalogs) == (declared.settings, declared.catalogs)
    assert [(s.name, s.state, s.spec, s.id) for s in again.servers.values()] == [
        (s.name, s.state, s.spec, s.id) for s in declared.servers.values()
    ]
    assert "secret words" not in str(declared.raw)


@pytest.mark.parametrize(("ledger", "take_over"), [(None, False), ("other", False)])
def test_hosts_of_another_ledger_are_only_read(ledger: str | None, take_over: bool) -> None:
    declared = fleet({})
    with pytest.raises(Conflict, match="belong to ledger L of fleet F, and this run's ledger is"):
        whose(hosts(declared), fleet_id=ledger and "F", ledger_id=ledger, take_over=take_over)


def test_a_lost_ledger_takes_the_fleet_over_from_its_hosts() -> None:
    assert whose(hosts(fleet({})), fleet_id=None, ledger_id=None, take_over=True) == "F"
