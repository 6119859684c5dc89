# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One action as a plan: which server is meant, whether it is free, what the host is given, and what it will leave."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import ACTIONS, Request
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InProgress,
    InvalidInput,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.act import Act, Asked, planned
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    Claimed,
    Ledger,
    RunRow,
    ServerRow,
    Snapshot,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
    rows,
    survey,
)

RUN = RunRow("other", "Action", "ctl", "", "", 17, "1", "ops", 1.0, 1.0, None, "running")


class World(t.NamedTuple):
    declared: Declared
    guests: dict[str, list[Guest]]

    @property
    def host(self) -> str:
        return next(iter(self.guests))

    @property
    def record(self) -> Record:
        return t.cast(Record, self.guests[self.host][0].record)

    def with_record(self, **changes: t.Any) -> World:
        guest = self.guests[self.host][0]
        changed = dataclasses.replace(guest, record=dataclasses.replace(self.record, **changes))
        return self._replace(guests={self.host: [changed]})

    def row(self, **changes: t.Any) -> Snapshot:
        its = self.record
        row = ServerRow(its.id, its.name, self.host, its.dumps(), 1, "active", None, 1, None, None, 1.0, 1.0)
        return rows(servers={its.id: dataclasses.replace(row, **changes)}, runs={RUN.id: RUN})

    def plan(
        self,
        action: str,
        server: str = "web1",
        *,
        snapshot: Snapshot | None = None,
        host: str | None = None,
        leave: Leave | None = None,
        surveys: dict[str, t.Any] | None = None,
        computes: tuple[Compute, ...] | None = None,
        to: str | None = None,
        claimed: bool = True,
        **options: t.Any,
    ) -> Plan:
        """``host``: the one that the task runs for; ``to``: the action's option host; not ``claimed``: check mode."""
        if to is not None:
            options["host"] = to
        given = Situation(
            self.declared,
            computes or hosts(self.declared, self.guests, **(surveys or {})),
            snapshot or self.row(),
            fleet_id="F",
            ledger_id="L",
            leave=leave or Leave(),
            now=1000.0,
            run_id="me",
        )
        request = Request(action, options, "ops", leave or Leave())
        act = Act(given, Asked(server, request, self.declared.servers.get("web1"), host))
        act.schedule()
        won = {claim.name: Claimed(str(claim.server_id), claim.host, ()) for claim in act.claims()}
        return act.plan(won if claimed else None)


@pytest.fixture
def world() -> World:
    declared = fleet({"web1": WEB})
    return World(declared, applied(reconcile(declared, hosts(declared))))


def test_an_action_is_an_entry_of_a_plan_with_a_claim_and_deeds(world: World) -> None:
    plan = world.plan("pause")
    (entry,) = plan.servers
    assert (entry.name, entry.host, [step.kind for step in entry.steps]) == ("web1", world.host, ["pause"])
    (deed,) = entry.deeds
    assert (deed["kind"], deed["expects"]) == ("pause", world.record.generation)
    left = Record.from_json(deed["record"])
    assert (left.generation, left.declared, left.spec["state"]) == (world.record.generation + 1, "paused", "paused")
    assert plan.notes == (
        "inventory declares active: the next reconcile run will unpause it; set server_state: paused to keep it "
        "as it is",
    )


def test_options_and_timeouts_travel_with_the_deed(world: World) -> None:
    (deed,) = world.plan("stop", timeout=7, wait=False).servers[0].deeds
    assert (deed["timeout"], deed["options"]) == (7, {"timeout": 7, "wait": False})
    (deed,) = world.plan("stop").servers[0].deeds
    assert deed["timeout"] == 60
    image = dataclasses.replace(world.record.image, properties={"os_shutdown_timeout": "240"})
    (deed,) = world.with_record(image=image).plan("stop").servers[0].deeds
    assert deed["timeout"] == 240
    spec = {**world.record.spec, "shutdown_timeout": 5}
    (deed,) = world.with_record(image=image, spec=spec).plan("stop").servers[0].deeds
    assert deed["timeout"] == 5


def test_a_lock_is_a_mark_in_the_record_that_unlock_takes_away(world: World) -> None:
    (deed,) = world.plan("lock", reason="disk swap").servers[0].deeds
    locked = Record.from_json(deed["record"])
    assert (deed["kind"], locked.lock) == ("update", "by ops: disk swap")
    (deed,) = world.with_record(marks=locked.marks).plan("unlock").servers[0].deeds
    assert Record.from_json(deed["record"]).lock == ""
    deleted = {**locked.marks, "soft_delete": {"at": 900.0}}
    (deed,) = world.with_record(marks=deleted).plan("unlock").servers[0].deeds
    assert set(deed["record"]["marks"]) == {"soft_delete"}


def test_a_rebuild_that_was_cut_off_and_is_asked_for_again_leaves_nothing_to_do(world: World) -> None:
    cut = world.with_record(marks={"rebuilding": {"spec": dict(world.record.spec)}})
    off = cut._replace(guests={world.host: [dataclasses.replace(cut.guests[world.host][0], state="shutoff")]})
    plan = off.plan("rebuild")
    assert [step.kind for step in plan.servers[0].steps] == ["rebuild", "start"]
    assert plan.notes == ()


def test_a_server_is_known_by_name_and_by_id(world: World) -> None:
    assert world.plan("pause", world.record.id).servers[0].name == "web1"
    with pytest.raises(InvalidInput, match=r"^there is no server 'web2'; did you mean 'web1'\?$"):
        world.plan("pause", "web2")
    with pytest.raises(InvalidInput, match=r"^there is no server 'db'; the status playbook lists them$"):
        world.plan("pause", "db")


def test_a_server_elsewhere_than_asked_or_recorded_is_left_alone(world: World) -> None:
    wrong = next(name for name in world.declared.computes if name != world.host)
    with pytest.raises(
        InvalidInput, match=rf"^web1 is on {world.host}, and this task runs for {wrong}; delegate_to {world.host}$"
    ):
        world.plan("pause", host=wrong)
    with pytest.raises(Conflict, match="somebody moved it by hand"):
        world.with_record(host_id="id-of-another").plan("pause")


def test_a_server_that_somebody_has_moved_with_virsh_is_left_alone(world: World) -> None:
    """As surveys show it after ``virsh migrate``: its domain is off where the record says, and runs elsewhere."""
    other = next(name for name in world.declared.computes if name != world.host)
    (guest,) = world.guests[world.host]
    here = dataclasses.replace(guest, state="running", persistent=False)
    for left in ([dataclasses.replace(guest, state="shutoff", migrated=True)], []):  # [] is --undefinesource
        moved = world._replace(guests={world.host: left, other: [here]})
        for action in sorted(ACTIONS):
            told = rf"^web1 is on {other}, and its record says another host: somebody moved it by hand; the reconcile"
            with pytest.raises(Conflict, match=told):
                moved.plan(action, snapshot=world.row())
            with pytest.raises(Conflict, match=told):
                moved.plan(action, host=other, snapshot=world.row())
            with pytest.raises(InvalidInput, match=rf"^web1 is on {other}, and this task runs for {world.host}; "):
                moved.plan(action, host=world.host, snapshot=world.row())


def test_where_only_the_host_that_it_has_left_is_looked_at_it_is_left_alone_too(world: World) -> None:
    """A task that surveys its own host alone."""
    (guest,) = world.guests[world.host]
    others = {name: None for name in world.declared.computes if name != world.host}
    away = world._replace(guests={world.host: [dataclasses.replace(guest, state="shutoff", migrated=True)]})
    with pytest.raises(Conflict, match=r"^web1: web1 is off on \w+ because it was migrated away, and no host"):
        away.plan("start", host=world.host, surveys=others)
    gone = world._replace(guests={world.host: []})
    with pytest.raises(Conflict, match=r"^web1: web1 is gone from \w+, and it may be on "):
        gone.plan("start", host=world.host, snapshot=world.row(), surveys=others)


def test_a_server_that_runs_twice_is_left_alone(world: World) -> None:
    other = next(name for name in world.declared.computes if name != world.host)
    (guest,) = world.guests[world.host]
    running = [dataclasses.replace(guest, state="running")]
    twice = world._replace(guests={world.host: running, other: running})
    with pytest.raises(Conflict, match=r"^web1: web1 runs on \w+ and \w+ at once, and no record says which"):
        twice.plan("stop")


def test_a_server_on_a_host_that_is_down_is_not_guessed_at(world: World) -> None:
    told = rf"^Service is unavailable at this time\. web1: {world.host} is down: no route to host$"
    with pytest.raises(FlotillaError, match=told):
        world._replace(guests={}).plan("pause", snapshot=world.row(), surveys={world.host: None})


def test_a_server_that_another_run_works_on_is_busy_in_novas_words(world: World) -> None:
    busy = world.row(run_id=RUN.id, task_state="powering-off")
    with pytest.raises(InProgress, match=r"^Cannot 'pause' instance \S+ while .* task_state powering-off: run other"):
        world.plan("pause", snapshot=busy)
    # Nova takes a delete in any task state; here one at a time works on a server all the same.
    with pytest.raises(InProgress, match=r"^web1 is busy: run other"):
        world.plan("delete", snapshot=busy)
    # A task of a run that is no more keeps nobody off.
    assert world.plan("pause", snapshot=world.row(run_id="dead", task_state="powering-off")).servers[0].steps


def test_a_step_that_outlived_its_run_is_waited_for(world: World) -> None:
    found = {**survey(world.host), "running_steps": [{"server_id": world.record.id}]}
    with pytest.raises(InProgress, match="still at work on it"):
        world.plan("pause", surveys={world.host: found})


def test_what_is_final_needs_leave(world: World) -> None:
    with pytest.raises(Refused, match=r"needs leave .* -e fleet_allow=delete, or with allow: \[delete\] in the task$"):
        world.plan("force_delete")
    plan = world.plan("force_delete", leave=Leave(frozenset({"delete"})))
    assert [step.kind for step in plan.servers[0].steps] == ["delete"]
    assert plan.notes == ("inventory declares it: the next reconcile run makes it anew; take it out of there",)
    copy = dataclasses.replace(world.guests[world.host][0], state="shutoff", record=None)
    other = next(name for name in world.declared.computes if name != world.host)
    twice = world._replace(guests={**world.guests, other: [copy]})
    with pytest.raises(Conflict, match="has a copy of it"):
        twice.plan("force_delete", leave=Leave(frozenset({"delete"})))


@pytest.mark.parametrize(("action", "options"), [("shelve", {}), ("rebuild", {}), ("force_delete", {})])
def test_no_disk_is_deleted_that_a_guest_of_another_host_stands_on(
    world: World, action: str, options: dict[str, t.Any]
) -> None:
    """A clone on the same pool, say, made by hand: only the surveys of all hosts show it."""
    leave = Leave(frozenset({"delete"}))
    assert world.plan(action, leave=leave, **options).servers[0].steps
    volumes = (("shared", f"{world.record.id}-root"),)
    clone = dataclasses.replace(world.guests[world.host][0], id="f" * 8, name="clone", record=None, volumes=volumes)
    other = next(name for name in world.declared.computes if name != world.host)
    cloned = world._replace(guests={**world.guests, other: [clone]})
    with pytest.raises(Conflict, match=rf"not deleted on {world.host}: {other} has a copy of it, or of its disks, too"):
        cloned.plan(action, leave=leave, **options)


def test_a_server_whose_disk_others_have_made_is_not_shelved(world: World) -> None:
    """Its disk would be left where it is, and in the way when it is unshelved."""
    root = dataclasses.replace(world.record.root, volume="web1.qcow2")
    with pytest.raises(
        Conflict, match=r"web1: it can't be shelved: others have made its disk web1\.qcow2 in pool local"
    ):
        world.with_record(disks=(root,)).plan("shelve")


def test_a_deleted_server_comes_back_if_its_name_is_free(world: World) -> None:
    deleted = world.with_record(marks={"soft_delete": {"at": 900.0}})
    for called in ("web1", world.record.id, f"web1.deleted-{world.record.id[:8]}"):
        plan = deleted.plan("restore", called, snapshot=world.row(vm_state="soft-delete"))
        assert [step.kind for step in plan.servers[0].steps] == ["restore", "start"]
        assert plan.notes == ()
    successor = dataclasses.replace(world.guests[world.host][0], id="9b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11")
    successor = dataclasses.replace(successor, record=dataclasses.replace(world.record, id=successor.id))
    both = deleted._replace(guests={world.host: [*deleted.guests[world.host], successor]})
    with pytest.raises(Conflict, match=r"can't be restored: a server on \w+ has the name 'web1'"):
        both.plan("restore", world.record.id, snapshot=rows())


def test_a_name_that_deleted_servers_have_too_says_not_which_is_meant(world: World) -> None:
    leave = Leave(frozenset({"delete"}))
    (live,) = world.guests[world.host]
    ids = ("1b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11", "2b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11")
    records = [dataclasses.replace(world.record, id=its, marks={"soft_delete": {"at": 900.0}}) for its in ids]
    one, two = (dataclasses.replace(live, id=record.id, record=record, state="shutoff") for record in records)

    def only(guests: list[Guest], action: str, server: str) -> str | None:
        among = world._replace(guests={world.host: guests})
        (entry,) = among.plan(action, server, snapshot=rows(), leave=leave).servers
        return entry.id

    says = rf"^there are 2 servers named 'web1': {live.id}, web1\.deleted-1b2c5c0e; say which$"
    for guests in ([live, one], [one, live]):
        with pytest.raises(Conflict, match=says):
            only(guests, "force_delete", "web1")
        assert only(guests, "force_delete", live.id) == live.id
        assert only(guests, "force_delete", "web1.deleted-1b2c5c0e") == one.id
        assert only(guests, "pause", "web1") == live.id
    for action in ("force_delete", "restore"):
        with pytest.raises(Conflict, match=r": web1\.deleted-1b2c5c0e, web1\.deleted-2b2c5c0e; say which$"):
            only([one, two], action, "web1")
        assert only([one, two], action, two.id) == two.id
        assert only([one], action, "web1") == one.id


@pytest.mark.parametrize("action", ["force_delete", "lock"])
def test_what_is_done_to_a_deleted_server_claims_not_the_name_that_another_has_now(
    world: World, action: str, tmp_path: Path
) -> None:
    (live,) = world.guests[world.host]
    its = "1b2c5c0e-44f5-4a3f-8f37-6a4b1a0b7c11"
    record = dataclasses.replace(world.record, id=its, marks={"soft_delete": {"at": 900.0}})
    deleted = dataclasses.replace(live, id=its, record=record, state="shutoff")
    ledger = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert ledger is not None
    declared = fleet({"web1": WEB}, fleet_take_over=True)
    computes = hosts(declared, {world.host: [live, deleted]})
    request = Request(action, {}, "ops", Leave(frozenset({"delete"})))
    run = Run(ledger, ledger.start_run("me"), ledger.now())
    entry = planned(declared, computes, run, Asked(its, request, declared.servers["web1"]), now=1000.0)
    assert (entry["name"], entry["id"], len(entry["deeds"])) == ("web1.deleted-1b2c5c0e", its, 1)
    assert not any("inventory" in note for note in entry["notes"])  # which speaks of the other one
    claims = ledger.snapshot().claims
    assert {claim.server_id: claim.name for claim in claims.values()} == {its: "web1.deleted-1b2c5c0e"}
