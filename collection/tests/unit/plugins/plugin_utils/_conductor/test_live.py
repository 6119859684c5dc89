# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migration as a plan: what the host is given, what a move that was cut off is followed by, and its journal."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FittedDevice, PciDevice
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import DESTINATION, SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined, plan_server
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import cut_off, move_of, under_way
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import MigrationRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import ended, is_back, is_running
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_moving import (
    again,
    fleet,
    kinds,
    only,
    world,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    claimed,
    hosts,
    reconcile,
    rows,
    server_row,
    survey,
)

__all__ = ["world"]  # a fixture


def on_the_way(world: World, role: str = SOURCE) -> Guest:
    """The guest at one end of a move whose worker is gone."""
    move = Move("m1", role, End("kvm2" if role == SOURCE else "kvm1", "qemu+tls://there/system", "id"))
    guest = world.guests["kvm1"][0]
    return dataclasses.replace(guest, record=marked(world.record, move))


def test_what_the_host_is_given(world: World) -> None:
    entry = only(world.plan("migrate", live="auto", to="kvm2", bandwidth=9, block_migration="true"))
    assert (entry.host, entry.destination, kinds(entry)) == ("kvm1", "kvm2", ["live_migrate"])
    (deed,) = entry.deeds
    target, options = Record.from_json(deed["record"]), deed["options"]
    assert (target.generation, target.host_id, target.marks) == (world.record.generation + 1, "id-kvm2", {})
    assert options["live"] == {"bandwidth": 9, "block_migration": True}
    assert options["watch"] < 5  # people see how far it is at least so often
    peer = options["peer"]
    assert (peer["host"], peer["uri"]) == ("kvm2", "qemu+tls://kvm2/system")
    assert (peer["own_host"], peer["own_uri"]) == ("kvm1", "qemu+tls://kvm1/system")
    row = move_of(entry.deeds, entry.applied)
    assert row is not None
    assert (row.id, row.kind, row.destination, row.begun) == (
        options["migration"],
        "live-migration",
        "kvm2",
        "running",
    )
    assert (row.ended(target), row.ended(world.record)) == ("completed", "failed")


def test_the_fleet_says_how_servers_move_that_run_and_the_task_goes_before_it(world: World) -> None:
    how = {"bandwidth": 400, "auto_converge": True}
    settings = dataclasses.replace(world.declared.settings, live_migration=how)
    of_fleet = world._replace(declared=dataclasses.replace(world.declared, settings=settings))
    (moved,) = only(of_fleet.plan("migrate", live="auto", bandwidth=9, auto_converge=False, tls=True)).deeds
    assert moved["options"]["live"] == {"bandwidth": 9, "auto_converge": False, "tls": True}
    (plain,) = only(of_fleet.plan("migrate", live="auto")).deeds
    assert plain["options"]["live"] == how
    # What a run that was killed has begun goes on as the fleet says.
    guests = {"kvm1": [on_the_way(world)]}
    (ended,) = only(claimed(reconcile(of_fleet.declared, hosts(of_fleet.declared, guests)))).deeds
    assert (ended["kind"], ended["options"]["live"]) == ("end_move", how)


def test_what_the_fleet_says_is_what_a_host_takes() -> None:
    its = document("fleet")["properties"]["fleet_live_migration"]["properties"]
    known = {field.name: field.default for field in dataclasses.fields(Wish) if field.name != "block_migration"}
    assert set(its) == set(known)
    assert {name: its[name].get("default") for name in its} == known


@pytest.mark.parametrize(
    ("state", "live", "steps"),
    [
        ("running", "auto", ["live_migrate"]),
        ("paused", "auto", ["live_migrate"]),
        ("running", "false", ["stop", "migrate", "start"]),
        ("shutoff", "auto", ["migrate"]),
    ],
)
def test_live_where_it_runs(world: World, state: str, live: str, steps: list[str]) -> None:
    guest = dataclasses.replace(world.guests["kvm1"][0], state=state)
    assert kinds(only(world._replace(guests={"kvm1": [guest]}).plan("migrate", live=live))) == steps


@pytest.mark.parametrize(
    ("state", "options", "error", "said"),
    [
        ("shutoff", {"live": "true"}, Refused, "Cannot 'os-migrateLive' instance .* while it is in vm_state stopped"),
        ("suspended", {"live": "true"}, Refused, "while it is in vm_state suspended"),
        ("running", {"live": "auto", "to": "kvm1"}, Refused, "Cannot migrate to the host where the server exists."),
        ("running", {"live": "false", "tls": True}, InvalidInput, "and is moved cold, which takes no tls"),
        ("running", {"live": "true", "bandwidth": -1}, InvalidInput, "bandwidth of a live migration is a number"),
    ],
)
def test_refused(world: World, state: str, options: dict[str, t.Any], error: type[Exception], said: str) -> None:
    guest = dataclasses.replace(world.guests["kvm1"][0], state=state)
    with pytest.raises(error, match=said):
        world._replace(guests={"kvm1": [guest]}).plan("migrate", **options)


def test_check_mode_has_what_the_host_can_look_at(world: World) -> None:
    entry = only(world.plan("migrate", live="auto", to="kvm2", claimed=False))
    assert [(deed["kind"], deed["options"]["peer"]["host"]) for deed in entry.deeds] == [("live_migrate", "kvm2")]
    entry = only(world.plan("migrate", live="false", to="kvm2", claimed=False))
    peers = {deed["kind"]: (deed.get("options") or {}).get("peer", {}).get("host") for deed in entry.deeds}
    assert peers == {"stop": None, "migrate": "kvm2", "start": None}


def test_one_that_is_not_waited_for(world: World) -> None:
    (deed,) = only(world.plan("migrate", live="auto", wait=False)).deeds
    assert deed["options"]["wait"] is False
    with pytest.raises(InvalidInput, match="is moved cold, which is always waited for"):
        world.plan("migrate", live="false", wait=False)
    answer = {"results": [{"running": True, "told": {"progress": {}}}]}
    entry = {"deeds": [deed], "record": world.record.to_json()}
    assert is_running(answer)
    assert ended(move_of([deed], entry["record"]), entry, answer) is None


def test_what_has_devices_of_its_host_is_moved_cold(world: World) -> None:
    device = FittedDevice("gpu", PciDevice("0000:3b:00.0", "10de", "1eb8"))
    fitted = world.with_record(fit=Fit(pci=(device,)))
    words = "has PCI devices of its host's, and can't be moved while it runs: move it cold, with live: false"
    with pytest.raises(Refused, match=words):
        fitted.plan("migrate", live="auto")
    assert kinds(only(fitted.plan("migrate", live="false"))) == ["stop", "migrate", "start"]
    floats = world.with_record(fit=Fit(cpus=(0,)))
    assert kinds(only(floats.plan("migrate", live="auto"))) == ["live_migrate"]


@pytest.mark.parametrize(
    ("told", "status", "back"),
    [
        ({"status": "cancelled", "left": False}, "cancelled", True),
        ({"status": "running", "left": True}, "running", False),
        ({}, "failed", False),
    ],
)
def test_how_a_move_that_failed_has_ended(world: World, told: dict[str, t.Any], status: str, back: bool) -> None:
    entry = only(world.plan("migrate", live="auto"))
    planned = {"deeds": list(entry.deeds), "record": entry.applied}
    answer = {"failed": True, "results": [{"kind": "live_migrate", "failed": True, "told": {"migration": told}}]}
    assert ended(move_of(entry.deeds, entry.applied), planned, answer) == status
    assert is_back(planned, answer) == back


@pytest.mark.parametrize("role", [SOURCE, DESTINATION])
def test_a_move_that_was_cut_off_is_ended_first(world: World, role: str) -> None:
    entry = only(again({"kvm1": [on_the_way(world, role)]}))
    assert (entry.host, kinds(entry)) == ("kvm1", ["end_move"])
    (deed,) = entry.deeds
    assert ("record" in deed, deed["options"]["migration"]) == (False, "m1")
    with pytest.raises(InProgress, match="was moving it"):
        world._replace(guests={"kvm1": [on_the_way(world, role)]}).plan("pause")


@pytest.mark.parametrize(
    ("state", "marks", "start"),
    [("shutoff", {}, True), ("running", {}, False), ("paused", {}, False), ("shutoff", {"lock": {"by": "ops"}}, False)],
)
def test_a_guest_that_is_off_after_its_move_was_cut_off_is_started_where_it_is(
    world: World, state: str, marks: dict[str, t.Any], start: bool
) -> None:
    guest = on_the_way(world)
    record = t.cast(Record, guest.record)
    record = dataclasses.replace(record, marks={**record.marks, **marks})
    (deed,) = only(again({"kvm1": [dataclasses.replace(guest, record=record, state=state)]})).deeds
    assert (deed["kind"], deed["options"]["start"]) == ("end_move", start)


@pytest.mark.parametrize(
    ("declared", "state", "told"),
    [
        ({}, "running", ""),
        ({}, "paused", ""),
        ({"server_state": "stopped"}, "running", "; the next run will stop it"),
        ({"server_state": "stopped", "server_autostart": True}, "running", "; the next run will stop it"),
        ({"server_state": "absent"}, "running", "; the next run will soft delete it"),
        ({"server_state": "shelved"}, "shutoff", "; the next run will shelve it"),
        ({"server_rescue": True}, "running", "; the next run will stop and rescue it"),
    ],
)
def test_what_waits_for_the_end_of_a_move_is_told(
    world: World, declared: dict[str, t.Any], state: str, told: str
) -> None:
    wanted = fleet(**declared)
    guests = {"kvm1": [dataclasses.replace(on_the_way(world), state=state)]}
    entry = only(claimed(reconcile(wanted, hosts(wanted, guests))))
    assert [step.why for step in entry.steps] == [f"its move to kvm2 was cut off{told}"]


def test_a_move_is_ended_whatever_else_is_wrong_with_the_server(world: World) -> None:
    guest = on_the_way(world)
    record = t.cast(Record, guest.record)
    broken = dataclasses.replace(record, marks={**record.marks, "resize": {}})
    plan = plan_server(world.declared.servers["web1"], broken, guest, volumes=set(), leave=Leave())
    assert [(step.kind, step.why) for step in plan.steps] == [("end_move", "its move to kvm2 was cut off")]


def test_a_host_that_never_comes_back_is_not_waited_for(world: World) -> None:
    guests, given_up = {"kvm1": [on_the_way(world)]}, []
    absent: tuple[str, ...]
    for absent, surveys in ((), {"kvm2": None}), (("kvm2",), {"kvm2": None}), (("kvm2",), {}):
        settings = dataclasses.replace(world.declared.settings, assume_absent=absent)
        declared = dataclasses.replace(world.declared, settings=settings)
        (deed,) = only(claimed(reconcile(declared, hosts(declared, guests, **surveys)))).deeds
        given_up.append(deed["options"].get("give_up"))
    assert given_up == [None, True, None]


def test_a_guest_that_is_still_coming_is_no_second_copy(world: World) -> None:
    target = dataclasses.replace(world.record, generation=2, host_id="id-kvm2")
    coming = dataclasses.replace(as_defined(target), state="paused", arriving=True)
    here = dataclasses.replace(world.guests["kvm1"][0])
    entry = only(again({"kvm1": [here], "kvm2": [coming]}))
    assert (entry.host, entry.verdict, kinds(entry)) == ("kvm1", "ok", [])


@pytest.mark.parametrize(("state", "verdict"), [("shutoff", "change"), ("paused", "change"), ("running", "conflict")])
def test_what_a_move_has_left_where_it_began_is_no_second_copy(world: World, state: str, verdict: str) -> None:
    left = dataclasses.replace(on_the_way(world), state=state)
    move = Move("m1", DESTINATION, End("kvm1", "qemu+tls://kvm1/system", "id-kvm1"))
    target = dataclasses.replace(world.record, generation=2, host_id="id-kvm2")
    there = dataclasses.replace(as_defined(marked(target, move)), state="running")
    entry = only(again({"kvm1": [left], "kvm2": [there]}))
    assert entry.verdict == verdict
    assert (entry.host, kinds(entry)) == (("kvm2", ["end_move"]) if verdict == "change" else (entry.host, []))
    assert ("it was being moved" in entry.message) == (verdict == "conflict")


@pytest.mark.parametrize("state", ["active", "absent"])
@pytest.mark.parametrize("known_by", ["journal", "arriving"])
def test_who_sees_it_on_neither_host_makes_it_on_none(world: World, known_by: str, state: str) -> None:
    """The hosts are looked at one after the other, and it went from one to the other meanwhile."""
    guest = world.guests["kvm1"][0]
    declared = dataclasses.replace(
        world.declared,
        servers={name: dataclasses.replace(its, state=state) for name, its in world.declared.servers.items()},
    )
    coming = dataclasses.replace(guest, state="paused", arriving=True)
    given = Situation(
        declared,
        hosts(declared, {"kvm2": [coming]} if known_by == "arriving" else {}),
        rows(servers={guest.id: server_row(guest, "kvm1")}),
        fleet_id="F",
        ledger_id="L",
        leave=Leave(frozenset({"delete", "data_loss"})),
        now=1000.0,
        run_id="me",
        moving={guest.id: "kvm2"} if known_by == "journal" else {},
    )
    draft = Reconcile(given)
    draft.schedule()
    entry = only(claimed(draft))
    assert (entry.verdict, kinds(entry)) == ("held", [])
    assert "gone from kvm1, and a move of it to kvm2 was under way" in entry.message


def test_what_is_under_way_is_known_from_the_journal_and_from_the_hosts(world: World) -> None:
    row = MigrationRow("m1", "live-migration", "one", "kvm1", "kvm2", "running", "r", {}, 1, 1)
    cold = dataclasses.replace(row, kind="migration", server_id="two", status="migrating")
    waits = dataclasses.replace(cold, server_id="five", status="finished")
    resized = dataclasses.replace(cold, server_id="six", kind="resize", destination=None)
    steps = [{"server_id": "three", "step": "end_move"}, {"server_id": "four", "step": "stop"}]
    at_work = {**survey("kvm3"), "running_steps": steps}
    computes = hosts(world.declared, kvm3=at_work, kvm1=None)
    journal = [row, cold, waits, resized]
    assert under_way(journal, computes, ()) == {"one": "kvm2", "two": "kvm2", "three": "another host"}
    assert under_way([row], computes, ("kvm2",)) == {"three": "another host"}


def test_it_is_aborted_beside_the_run_that_is_at_it(world: World) -> None:
    going = world._replace(guests={"kvm1": [on_the_way(world)]})
    entry = only(going.plan("abort_migration"))
    assert (entry.copy, [deed["kind"] for deed in entry.deeds]) == (True, ["abort_migration"])
    with pytest.raises(Refused, match=r"Cannot 'abort live migration' instance .* while it is in task_state None"):
        world.plan("abort_migration")


def test_the_journal_follows_the_hosts(world: World) -> None:
    row = MigrationRow("m1", "live-migration", world.record.id, "kvm1", "kvm2", "running", "r", {"generation": 2}, 1, 1)
    records = {"here": world.record, "on its way": on_the_way(world).record, "there": None}
    records["there"] = dataclasses.replace(world.record, generation=2)
    known = {world.record.id}
    found = {case: cut_off([row], {world.record.id: record}, known, ()) for case, record in records.items() if record}
    assert found == {"here": {"m1": "failed"}, "on its way": {}, "there": {"m1": "completed"}}
