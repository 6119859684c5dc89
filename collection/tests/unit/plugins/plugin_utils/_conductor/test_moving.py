# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves to other hosts as plans: who goes where and with whose leave, and what is made of two copies of a server."""

from __future__ import annotations

import dataclasses
import types
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving, resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.doctor import examine
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Patient
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import (
    cut_off,
    move_of,
    why_cut_off,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import _follow
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import server_lines
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import MigrationRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import cause, end_told, ended, is_back
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import MEMORY_MB
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    claimed,
    hosts,
    reconcile,
    rows,
    server_row,
    survey,
)

FLAVORS = {
    "m1.small": {"vcpus": 1, "ram": 2048, "disk": 20},
    "large": {"vcpus": 1, "ram": 6000, "disk": 20},
}
ALL = Leave(frozenset({"migrate", "restart", "data_loss", "delete"}))


def fleet(*, unnamed: str = "", **server: t.Any) -> Declared:
    """Three hosts; the one that is *unnamed* has no address for the others."""
    computes = {
        name: COMPUTE if name == unnamed else {**COMPUTE, "compute_migration_uri": f"qemu+tls://{name}/system"}
        for name in ("kvm1", "kvm2", "kvm3")
    }
    web = {**WEB, "server_flavor": "m1.small", **server}
    return declare({**FLEET, "fleet_flavors": FLAVORS}, computes, {"web1": web}, {})


@pytest.fixture
def world() -> World:
    """web1 runs on kvm1."""
    declared = fleet()
    guests = next(iter(applied(reconcile(declared, hosts(declared, None, kvm2=None, kvm3=None))).values()))
    return World(declared, {"kvm1": guests})


def only(plan: Plan) -> ServerEntry:
    (entry,) = plan.servers
    return entry


def kinds(entry: ServerEntry) -> list[str]:
    return [step.kind for step in entry.steps]


def deed(entry: ServerEntry, kind: str) -> dict[str, Json]:
    return next(each for each in entry.deeds if each["kind"] == kind)


def moved(world: World, **options: t.Any) -> tuple[Guest, Guest, str]:
    """The two copies that a cold migration leaves, and the host that it went to."""
    entry = only(world.plan("migrate", **options))
    target = Record.from_json(deed(entry, "migrate")["record"])
    disks = tuple(dataclasses.replace(disk, pool_id=f"pool-{entry.destination}") for disk in target.disks)
    there = dataclasses.replace(as_defined(dataclasses.replace(target, disks=disks)), state="running")
    return left(world, target, str(entry.destination)), there, str(entry.destination)


def left(world: World, target: Record, host: str, **mark: t.Any) -> Guest:
    its = resize_of(target)
    assert its is not None
    to = {"host": host, "host_id": f"id-{host}"}
    mark = {"source": True, "migration": its.migration, "at": its.at, "to": to, "xml": "<domain/>", **mark}
    record = dataclasses.replace(world.record, generation=target.generation, marks={"resize": mark})
    return as_defined(record)


def again(guests: dict[str, list[Guest]], leave: Leave | None = None, **surveys: t.Any) -> Plan:
    """What a reconcile run does about these guests."""
    declared = fleet()
    return claimed(reconcile(declared, hosts(declared, guests, **surveys), leave=leave or Leave()))


# -- asked for ----------------------------------------------------------------------------------------------------


def test_a_cold_migration_is_carried_out_where_the_server_is_and_ends_where_it_goes(world: World) -> None:
    entry = only(world.plan("migrate", to="kvm3"))
    assert (entry.host, entry.destination, kinds(entry)) == ("kvm1", "kvm3", ["stop", "migrate", "start"])
    assert server_lines(entry) == [
        "~ stop on kvm1 (for the next step)",
        "~ migrate from kvm1 to kvm3 (asked for)",
        "~ start on kvm3 (it ran before)",
    ]
    move, start = deed(entry, "migrate"), deed(entry, "start")
    peer = move["options"]["peer"]
    assert (peer["host"], peer["host_id"], peer["uri"]) == ("kvm3", "id-kvm3", "qemu+tls://kvm3/system")
    assert (peer["own_host"], peer["bridges"]) == ("kvm1", ["br0"])
    target = Record.from_json(move["record"])
    its = resize_of(target)
    assert its is not None
    assert (its.source and its.source.host_id, its.state, its.flavor) == ("id-kvm1", "running", target.flavor)
    assert (target.host_id, target.generation) == ("id-kvm3", world.record.generation + 1)
    assert {disk.pool_id for disk in target.disks} == {None}
    assert (start["options"]["at"]["host"], start["expects"]) == ("kvm3", target.generation)
    row = move_of(entry.deeds, entry.applied)
    assert row is not None
    assert (row.kind, row.source, row.destination, row.begun) == ("migration", "kvm1", "kvm3", "migrating")
    assert (row.ended(target), row.ended(world.record)) == ("finished", "error")


def test_confirmed_at_once_there_is_no_way_back(world: World) -> None:
    entry = only(world.plan("migrate", confirm=True))
    assert kinds(entry) == ["stop", "migrate", "start", "confirm_resize"]
    confirm = deed(entry, "confirm_resize")
    assert (confirm["options"]["at"]["host"], confirm["options"]["peer"]["host"]) == (entry.destination, "kvm1")
    assert confirm["record"]["marks"] == {}
    row = move_of(entry.deeds, entry.applied)
    assert row is not None
    assert row.ended(Record.from_json(confirm["record"])) == "confirmed"


def test_an_action_that_takes_it_from_its_declared_host_says_so(world: World) -> None:
    pinned = world._replace(declared=fleet(server_host="kvm1"))
    back = (
        "inventory declares server_host kvm1: a reconcile run with leave to migrate takes it back there; set "
        "server_host: kvm3 to keep it where it is"
    )
    waits = "until the action confirm_resize or revert_resize reconcile runs only start and stop it as declared"
    assert pinned.plan("migrate", to="kvm3", confirm=True).notes == (back,)
    assert pinned.plan("migrate", to="kvm3", live="auto").notes == (back,)
    assert pinned.plan("migrate", to="kvm3").notes == (waits, back)
    assert world.plan("migrate", to="kvm3", confirm=True).notes == ()
    there = world._replace(declared=fleet(server_host="kvm3"))
    assert there.plan("migrate", to="kvm3", confirm=True).notes == ()
    absent = world._replace(declared=fleet(server_host="kvm1", server_state="absent"))
    assert back not in absent.plan("migrate", to="kvm3", confirm=True).notes
    # It is where it was.
    assert pinned.plan("pause").notes[0].startswith("inventory declares active")


def test_the_room_at_both_ends_is_counted(world: World) -> None:
    here, there, to = moved(world)
    computes = hosts(world.declared, {"kvm1": [here], to: [there]})
    states = host_states(computes, None, fleet_id="F", catalogs=world.declared.catalogs, groups={})
    used = {state.name: state.inventories[MEMORY_MB].used for state in states}
    assert (used["kvm1"], used[to]) == (2048, 2048)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"to": "kvm1"}, Refused, "Cannot migrate to the host where the server exists."),
        ({"to": "kvm9"}, Conflict, "Compute host kvm9 not found. There are: kvm1, kvm2, kvm3"),
        ({"flavor": "large"}, InvalidInput, "the action migrate takes no option flavor"),
    ],
)
def test_where_it_can_t_go_is_said(world: World, options: dict[str, t.Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        world.plan("migrate", **options)


def test_a_host_that_others_can_t_reach_takes_none(world: World) -> None:
    unnamed = world._replace(declared=fleet(unnamed="kvm3"))
    with pytest.raises(Conflict, match="kvm3 has no compute_migration_uri"):
        unnamed.plan("migrate", to="kvm3")
    assert only(unnamed.plan("migrate")).destination == "kvm2"


def test_a_resize_for_which_its_host_has_no_room_goes_elsewhere(world: World) -> None:
    small = {"kvm1": survey("kvm1", memory=4096)}
    entry = only(world.plan("resize", flavor="large", surveys=small))
    assert (entry.destination is not None, kinds(entry)) == (True, ["stop", "migrate", "start"])
    row = move_of(entry.deeds, entry.applied)
    assert row is not None
    assert (row.kind, row.data) == ("resize", {"old_flavor": "m1.small", "new_flavor": "large"})
    target = Record.from_json(deed(entry, "migrate")["record"])
    assert (target.flavor.name, target.spec["flavor"]["name"]) == ("large", "large")
    assert kinds(only(world.plan("resize", flavor="large"))) == ["stop", "resize", "start"]
    pinned = only(world.plan("resize", flavor="large", to="kvm2"))
    assert (pinned.destination, kinds(pinned)) == ("kvm2", ["stop", "migrate", "start"])


# -- declared -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "allow", "steps", "held"),
    [
        ("running", (), ["update"], "migrate"),
        ("running", ("migrate",), ["live_migrate"], None),
    ],
)
def test_inventory_names_another_host(
    world: World, state: str, allow: tuple[str, ...], steps: list[str], held: str | None
) -> None:
    declared = fleet(server_host="kvm2")
    guests = {"kvm1": [dataclasses.replace(world.guests["kvm1"][0], state=state)]}
    entry = only(claimed(reconcile(declared, hosts(declared, guests), leave=Leave(frozenset(allow)))))
    assert kinds(entry) == steps
    assert [step.hold for step in entry.held] == ([] if held is None else [held])
    assert entry.destination == ("kvm2" if held is None else None)


def test_what_is_off_needs_leave_to_migrate_alone(world: World) -> None:
    declared = fleet(server_host="kvm2", server_state="stopped")
    guests = {"kvm1": [dataclasses.replace(world.guests["kvm1"][0], state="shutoff")]}
    leave = Leave(frozenset({"migrate"}))
    entry = only(claimed(reconcile(declared, hosts(declared, guests), leave=leave)))
    assert kinds(entry) == ["update", "migrate", "confirm_resize"]
    there = Record.from_json(entry.deeds[-1]["record"])
    second = claimed(reconcile(declared, hosts(declared, {"kvm2": [as_defined(there)]}), leave=leave))
    assert kinds(only(second)) == []


def test_a_declared_flavor_for_which_its_host_has_no_room(world: World) -> None:
    declared = fleet(server_flavor="large")
    computes = hosts(declared, world.guests, kvm1=survey("kvm1", memory=4096))
    held = only(claimed(reconcile(declared, computes, leave=Leave(frozenset({"restart"})))))
    assert ([step.hold for step in held.held], held.verdict) == (["migrate"], "held")
    entry = only(claimed(reconcile(declared, computes, leave=ALL)))
    assert kinds(entry) == ["stop", "migrate", "start", "confirm_resize"]


# -- two copies ---------------------------------------------------------------------------------------------------


def test_until_it_is_confirmed_both_copies_are_the_move_s(world: World) -> None:
    here, there, to = moved(world)
    plan = again({"kvm1": [here], to: [there]}, ALL)
    assert (only(plan).host, kinds(only(plan)), only(plan).message) == (to, [], "")
    both = World(world.declared, {to: [there], "kvm1": [here]})
    confirm = only(both.plan("confirm_resize"))
    assert (confirm.host, confirm.destination, kinds(confirm)) == (to, None, ["confirm_resize"])
    assert deed(confirm, "confirm_resize")["options"]["peer"]["host_id"] == "id-kvm1"
    with pytest.raises(Refused, match=r"what was written since to its disk root is lost.*fleet_allow=data_loss"):
        both.plan("revert_resize")
    back = only(both.plan("revert_resize", leave=ALL))
    assert (back.host, back.destination, kinds(back)) == (to, "kvm1", ["stop", "revert_resize", "start"])
    assert deed(back, "start")["options"]["at"]["host"] == "kvm1"
    reverted = Record.from_json(deed(back, "revert_resize")["record"])
    assert (reverted.host_id, reverted.marks, reverted.disks) == ("id-kvm1", {}, world.record.disks)
    for action in ("delete", "soft_delete"):
        assert kinds(only(both.plan(action, leave=Leave(reclaim=3600)))) == ["confirm_resize", "soft_delete"]


@pytest.mark.parametrize("down", ["kvm1", "there"])
def test_a_move_can_t_end_while_one_of_its_hosts_is_down(world: World, down: str) -> None:
    here, there, to = moved(world)
    if down == "kvm1":
        both = World(world.declared, {to: [there]})
        with pytest.raises(Conflict, match=r"its other copy is on kvm1, which is down: no route to host"):
            both.plan("confirm_resize", surveys={"kvm1": None})
        assert kinds(only(again({to: [there]}, kvm1=None))) == []
    else:
        entry = only(again({"kvm1": [here]}, **{to: None}))
        assert (entry.verdict, entry.host) == ("away", to)
        assert entry.message == f"it has left kvm1 for {to}, and it is down: no route to host"


def test_a_move_that_was_cut_off_is_undone_where_it_began(world: World) -> None:
    here, _there, to = moved(world)
    entry = only(again({"kvm1": [here]}))
    assert (entry.host, kinds(entry)) == ("kvm1", ["undo_migration", "start"])
    undo = deed(entry, "undo_migration")
    assert (undo["options"]["peer"]["host"], undo["record"]["marks"]) == (to, {})


def test_what_was_not_given_up_yet_waits_for_no_host(world: World) -> None:
    mark = {"migration": "m", "at": 1.0, "to": {"host": "kvm2", "host_id": "id-kvm2"}}
    guest = as_defined(dataclasses.replace(world.record, marks={"migrating": mark}))
    assert kinds(only(again({"kvm1": [guest]}))) == ["undo_migration", "start"]
    assert kinds(only(again({"kvm1": [guest]}, kvm2=None))) == ["start"]


def test_what_a_revert_that_was_cut_off_has_left_goes(world: World) -> None:
    here, there, to = moved(world)
    record = t.cast(Record, there.record)
    marks = {"resize": {**record.marks["resize"], "reverting": True}}
    cut = as_defined(dataclasses.replace(record, marks=marks))
    # Before it was back, it goes on with the revert; after that, the copy that it left is to go.
    before = only(again({"kvm1": [here], to: [cut]}))
    assert (before.host, kinds(before)) == (to, ["revert_resize", "start"])
    back = dataclasses.replace(as_defined(dataclasses.replace(world.record, generation=9)), state="running")
    entries = {entry.name: entry for entry in again({"kvm1": [back], to: [cut]}).servers}
    assert (entries["web1"].host, kinds(entries["web1"])) == ("kvm1", [])
    copy = entries[f"web1 ({to})"]
    assert (copy.copy, kinds(copy)) == (True, ["revert_resize"])


def test_the_doctor_finds_nothing_wrong_with_an_open_move(world: World) -> None:
    here, there, to = moved(world)

    def kinds_of(*copies: Guest) -> set[str]:
        computes = hosts(world.declared, {"kvm1": [copies[0]], to: [copies[1]]})
        return {finding.kind for finding in examine(Patient(world.declared, computes, rows()))}

    assert not kinds_of(here, there) & {"second_copy", "runs_twice"}
    assert "runs_twice" in kinds_of(dataclasses.replace(here, state="running"), there)
    assert "second_copy" in kinds_of(world.guests["kvm1"][0], as_defined(world.record))


def test_two_that_run_are_a_conflict_whatever_their_marks_say(world: World) -> None:
    here, there, to = moved(world)
    runs = dataclasses.replace(here, state="running")
    assert only(again({"kvm1": [runs], to: [there]})).verdict == "conflict"


def test_the_journal_goes_by_the_copy_that_counts(world: World) -> None:
    here, there, to = moved(world)
    record, its = t.cast(Record, there.record), leaving(t.cast(Record, here.record))
    assert its is not None
    row = MigrationRow(its.migration, "migration", record.id, "kvm1", to, "migrating", None, {}, 0, 0)
    assert cut_off([row], {record.id: record}, {record.id}, ()) == {its.migration: "finished"}
    done = dataclasses.replace(record, marks={})
    for place, status in ((to, "confirmed"), ("kvm1", "failed"), ("kvm3", "error")):
        told = cut_off([row], {record.id: done}, {record.id}, (), {record.id: place})
        assert told == {its.migration: status}
    # The module of a run that is dead may not have come to its mark yet.
    assert cut_off([row], {record.id: done}, {record.id}, (), {record.id: "kvm1"}, {record.id}) == {}
    # Until the mark is gone, something of it may be left at the other end.
    going = {"migrating": {"migration": its.migration, "to": {"host": to, "host_id": f"id-{to}"}}}
    for marks in (going, t.cast(Record, here.record).marks):
        cut = dataclasses.replace(record, marks=marks)
        assert cut_off([row], {record.id: cut}, {record.id}, (), {record.id: "kvm1"}) == {its.migration: "error"}
    assert cut_off([row], {}, (), (), {record.id: "kvm1"}) == {its.migration: "error"}
    assert why_cut_off(row, "failed", {record.id: "kvm1"}) == (
        "the run that was at it was cut off; the server was found on kvm1"
    )
    assert why_cut_off(row, "error", {}).endswith("; the server was found nowhere")
    evacuation = dataclasses.replace(row, kind="evacuation")
    assert why_cut_off(evacuation, "failed", {}).endswith(f"; nothing of the server is on {to}")
    assert why_cut_off(evacuation, "error", {}).endswith(f"; a half-built copy of the server is on {to}")


@pytest.mark.parametrize("known", [None, "kvm1 can't be reached"])
def test_a_survey_that_ends_a_row_says_why_unless_its_run_has(world: World, known: str | None) -> None:
    record = world.record
    data = {} if known is None else {"cause": known}
    row = MigrationRow("m", "migration", record.id, "kvm1", "kvm2", "migrating", None, data, 0, 0)
    noted: dict[str, dict[str, t.Any]] = {}
    ledger: t.Any = types.SimpleNamespace(
        migrations=lambda **_which: [row, dataclasses.replace(row, id="other", server_id="on a host that is down")],
        update_migration=lambda _run_id, id_, **changes: noted.update({id_: changes}),
    )
    computes = hosts(world.declared, world.guests)
    snapshot = rows(servers={"on a host that is down": server_row(as_defined(record), "kvm3")})
    _follow(ledger, "me", computes, record.fleet_id, snapshot)
    cut = "the run that was at it was cut off; the server was found on kvm1"
    assert noted == {"m": {"status": "failed", "cause": known or cut}}


# -- what is told of one that failed ------------------------------------------------------------------------------

BACK = {"migration": {"id": "m", "status": "failed", "left": False}}


def step(kind: str, record: Record | None = None, told: Json = None, message: str = "") -> dict[str, Json]:
    return {
        "kind": kind,
        "changed": True,
        "message": message,
        "record": None if record is None else record.to_json(),
        **({"told": told} if told else {}),
    }


def no(kind: str, message: str, told: Json = None) -> dict[str, Json]:
    return {**step(kind, None, told, message), "changed": False, "failed": True}


def fails(*results: dict[str, Json]) -> dict[str, t.Any]:
    return {"failed": True, "msg": "web1: it says so", "results": list(results)}


@pytest.mark.parametrize("flavor", ["m1.small", "large"])
def test_a_cold_move_has_failed_where_its_host_says_that_nothing_is_left(world: World, flavor: str) -> None:
    resized = flavor == "large"
    small = {"kvm1": {**survey("kvm1"), "memory": 4096}}
    plan = world.plan("resize", flavor=flavor, surveys=small) if resized else world.plan("migrate")
    entry = only(plan)
    planned = {"deeds": list(entry.deeds), "record": entry.applied}
    move = move_of(entry.deeds, entry.applied)
    assert move is not None
    assert (kinds(entry), move.step, move.kind) == (
        ["stop", "migrate", "start"],
        "migrate",
        "resize" if resized else "migration",
    )
    stopped, target = step("stop", world.record), Record.from_json(deed(entry, "migrate")["record"])
    cases: list[tuple[dict[str, t.Any], str | None, bool, str]] = [
        (fails(no("migrate", "refused ahead", BACK)), "failed", True, "refused ahead"),
        (fails(stopped, no("migrate", "no room", BACK)), "failed", True, "no room"),
        (fails(stopped, no("migrate", "kvm2 is silent")), "error", False, "kvm2 is silent"),
        (fails(no("migrate", "can't be reached")), "error", False, "can't be reached"),
        (fails(no("stop", "it does not stop")), "failed", False, "it does not stop"),
        # It has arrived, and is there.
        (fails(stopped, step("migrate", target), no("start", "no start")), "finished", False, "no start"),
        ({"failed": True, "msg": "MODULE FAILURE"}, None, False, "MODULE FAILURE"),
        ({}, None, False, ""),
        ({"results": [stopped, step("migrate", target), step("start", target)]}, "finished", False, ""),
    ]
    for outcome, status, back, why in cases:
        assert (ended(move, planned, outcome), is_back(planned, outcome)) == (status, back), outcome
        assert cause(outcome) == why


def test_one_that_is_undone_has_failed_and_claims_nothing_even_if_its_server_does_not_start(world: World) -> None:
    here, _there, _to = moved(world)
    entry = only(again({"kvm1": [here]}))
    planned = {"deeds": list(entry.deeds), "record": entry.applied}
    undone = step("undo_migration", world.record, BACK, "its move to kvm2 is undone")
    assert kinds(entry) == ["undo_migration", "start"]
    # Why it was cut off is not what the end of it says.
    for outcome in ({"results": [undone, step("start")]}, fails(undone, no("start", "no start"))):
        assert end_told(outcome) == ("m", "failed", None)
    assert is_back(planned, fails(undone, no("start", "no start")))
    assert end_told(fails(no("undo_migration", "kvm2 is silent"))) is None
    assert not is_back(planned, fails(no("undo_migration", "kvm2 is silent")))
    live = step("end_move", None, BACK, "it was cut off; it is on kvm1 as before")
    assert end_told({"results": [live]}) == ("m", "failed", "it was cut off; it is on kvm1 as before")
    # What is moved again right after that is at its new host.
    both = {"deeds": [{"kind": "undo_migration"}, {"kind": "migrate"}, {"kind": "start"}]}
    assert not is_back(both, fails(undone, step("migrate"), no("start", "no start")))


NATTED = {"kvm1": {**survey("kvm1"), "networks": {"default": {"active": True, "bridge": "virbr0", "forward": "nat"}}}}


def natted(world: World) -> World:
    """Its port is in a network that kvm1 has for itself."""
    (nic,) = world.record.nics
    return world.with_record(nics=(dataclasses.replace(nic, kind="network", source="default"),))


@pytest.mark.parametrize("live", ["true", "false"])
def test_out_of_a_network_of_its_host_s_own_by_leave_alone(world: World, live: str) -> None:
    with pytest.raises(Conflict, match=r"would find none of its peers there elsewhere; -e fleet_allow=host_network"):
        natted(world).plan("migrate", live=live, surveys=NATTED)
    leave = Leave(frozenset({"host_network"}))
    entry = only(natted(world).plan("migrate", live=live, leave=leave, surveys=NATTED))
    kind = "live_migrate" if live == "true" else "migrate"
    assert deed(entry, kind)["options"]["host_network"] is True


def test_a_resize_that_has_to_go_elsewhere_asks_for_that_leave_too(world: World) -> None:
    surveys = {**NATTED, "kvm1": {**NATTED["kvm1"], "memory": 4096}}
    entry = only(natted(world).plan("resize", flavor="large", surveys=surveys))
    assert (entry.steps, entry.verdict) == ((), "no valid host")
    assert "-e fleet_allow=host_network moves it all the same" in entry.message
    leave = Leave(frozenset({"host_network"}))
    moved = only(natted(world).plan("resize", flavor="large", leave=leave, surveys=surveys))
    assert deed(moved, "migrate")["options"]["host_network"] is True
