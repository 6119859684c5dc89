# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions as plans: their steps, what a second one does, their options, and what reconcile makes of what they leave."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import (
    ACTIONS,
    Request,
    check_options,
    outlook,
    plan_action,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
    Server,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import Room
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import AFTER, RULES, TASKS
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    Leave,
    ServerPlan,
    as_defined,
    plan_prune,
    plan_server,
)

ID = "5a0c7a0e-0000-4000-8000-000000000001"
FLAVOR = Flavor("m1.small", vcpus=1, ram=256, disk=1)
IMAGE = Image("tick", "qcow2", "sha256:aa")
OTHER = Image("tock", "qcow2", "sha256:bb")
NOW = 1766312345.0


def declared(state: str = "active", **spec: t.Any) -> Server:
    whole = {"flavor": FLAVOR.to_json(), "image": IMAGE.to_json(), "state": state, **spec}
    return Server("web1", state, FLAVOR, IMAGE, whole)


def record(state: str = "active", **changes: t.Any) -> Record:
    its = Record(
        id=ID,
        name="web1",
        fleet_id="f",
        generation=1,
        spec=declared(state).spec,
        flavor=FLAVOR,
        image=IMAGE,
        disks=(Disk("root", "local", f"{ID}-root", "qcow2", 1, "vda", "virtio"),),
        nics=(),
        hardware=Hardware(),
    )
    return dataclasses.replace(its, **changes)


def grown(state: str) -> Record:
    """Given a flavor while it ran that inventory doesn't declare."""
    wide = dataclasses.replace(FLAVOR, name="m1.wide", vcpus=2)
    spec = declared(state, resize="live", flavor=wide.to_json()).spec
    return record(spec=spec, flavor=wide, room=Room(4, 1024))


def rebuilt(**spec: t.Any) -> Record:
    """With what an action was given and inventory doesn't declare."""
    return record(spec={**declared().spec, **spec})


def found(its: Record, state: str) -> Guest:
    return dataclasses.replace(as_defined(its), state=state)


def ask(action: str, *allow: str, reclaim: int = 3600, **options: t.Any) -> Request:
    return Request(action, options, by="ops", leave=Leave(frozenset(allow), reclaim, NOW))


@pytest.mark.parametrize(
    ("action", "state", "kinds", "left"),
    [
        ("start", "shutoff", ["start"], "active"),
        ("stop", "running", ["stop"], "stopped"),
        ("stop", "crashed", ["stop"], "stopped"),
        ("pause", "running", ["pause"], "paused"),
        ("unpause", "paused", ["unpause"], "active"),
        ("suspend", "running", ["suspend"], "suspended"),
        ("resume", "suspended", ["resume"], "active"),
        ("soft_delete", "running", ["soft_delete"], None),
        ("delete", "running", ["soft_delete"], None),
        ("reboot", "running", ["reboot"], None),
        ("inject_nmi", "running", ["inject_nmi"], None),
        ("crash_dump", "paused", ["inject_nmi"], None),
        ("set_password", "running", ["set_password"], None),
    ],
)
def test_an_action_is_steps_that_say_what_they_leave(
    action: str, state: str, kinds: list[str], left: str | None
) -> None:
    its = record("suspended")  # none of those that an action leaves here
    if left == "suspended":
        its = record("active")
    plan = plan_action(ask(action), its, found(its, state))
    assert [step.kind for step in plan.steps] == kinds
    assert not plan.held
    spec = plan.steps[0].spec
    assert (spec or {}).get("state") == left


def test_every_action_has_a_rule_and_every_step_of_one_a_task_or_none_that_nova_has() -> None:
    assert set(ACTIONS) <= set(RULES)
    assert {"start", "stop", "reboot", "hard_reboot", "pause", "unpause", "suspend", "resume", "set_password"} <= set(
        TASKS
    )


@pytest.mark.parametrize("action", ["start", "stop", "pause", "unpause", "suspend", "resume"])
def test_the_second_time_nova_refuses(action: str) -> None:
    state = {"start": "shutoff", "unpause": "paused", "resume": "suspended"}.get(action, "running")
    its = record()
    (step,) = plan_action(ask(action), its, found(its, state)).steps
    after = dataclasses.replace(its, spec=step.spec or its.spec)
    with pytest.raises(Refused, match=rf"^Cannot '{action}' instance {ID} while it is in vm_state \w+$"):
        plan_action(ask(action), after, found(after, AFTER[step.kind]))


def test_reboots_are_soft_or_hard() -> None:
    its = record()
    (soft,) = plan_action(ask("reboot"), its, found(its, "running")).steps
    assert (soft.kind, soft.options, soft.spec) == ("reboot", {"timeout": 120}, None)
    (soft,) = plan_action(ask("reboot", type="soft", timeout=5, wait=False), its, found(its, "running")).steps
    assert soft.options == {"timeout": 5, "wait": False}
    with pytest.raises(Refused, match="vm_state stopped"):
        plan_action(ask("reboot"), its, found(its, "shutoff"))
    for state in ("running", "shutoff", "paused", "suspended", "crashed"):
        its = record("stopped")
        (hard,) = plan_action(ask("reboot", type="hard"), its, found(its, state)).steps
        assert (hard.kind, (hard.spec or {})["state"]) == ("hard_reboot", "active")
    with pytest.raises(InvalidInput, match="soft or hard, and its type is 'warm'"):
        plan_action(ask("reboot", type="warm"), its, found(its, "running"))
    with pytest.raises(InvalidInput, match="takes no timeout"):
        plan_action(ask("reboot", type="hard", timeout=3), its, found(its, "running"))


def test_an_unknown_action_or_option_is_one_sentence() -> None:
    with pytest.raises(
        InvalidInput, match=r"^there is no action 'dance'; there are abort_migration, backup, .*unshelve$"
    ):
        check_options("dance", ())
    with pytest.raises(InvalidInput, match=r"^the action pause takes no option type; it takes none$"):
        plan_action(ask("pause", type="soft"), record(), found(record(), "running"))
    with pytest.raises(InvalidInput, match=r"^the action stop takes no option reason, type; it takes timeout, wait$"):
        check_options("stop", ("type", "reason"))


def test_a_lock_has_its_reason_and_who_set_it_and_stays_the_first_one() -> None:
    its = record()
    (step,) = plan_action(ask("lock", reason="disk swap"), its, found(its, "shutoff")).steps
    assert step.marks == {"lock": {"by": "ops", "reason": "disk swap", "at": NOW}}
    locked = dataclasses.replace(its, marks=dict(step.marks))
    assert locked.lock == "by ops: disk swap"
    assert plan_action(ask("lock", reason="another"), locked, found(its, "shutoff")).steps == ()
    for action in ("start", "delete", "soft_delete", "force_delete", "set_password"):
        with pytest.raises(Refused, match=rf"^Instance {ID} is locked \(by ops: disk swap\)$"):
            plan_action(ask(action), locked, found(locked, "shutoff"))
    assert plan_action(ask("start", "locked"), locked, found(locked, "shutoff")).steps
    (step,) = plan_action(ask("unlock"), locked, found(locked, "shutoff")).steps
    assert step.marks == {"lock": None}
    assert plan_action(ask("unlock"), its, found(its, "shutoff")).steps == ()


def test_a_shelved_server_is_locked_where_it_is_kept() -> None:
    """It has no domain that could bear the lock."""
    shelved = record("shelved", marks={"shelved_offloaded": {}})
    (step,) = plan_action(ask("lock", reason="kept"), shelved, None).steps
    assert step.kind == "update_shelved"
    locked = dataclasses.replace(shelved, marks={**shelved.marks, **step.marks})
    for action in ("unshelve", "delete", "force_delete"):
        with pytest.raises(Refused, match=rf"^Instance {ID} is locked \(by ops: kept\)$"):
            plan_action(ask(action), locked, None)
    (step,) = plan_action(ask("unlock"), locked, None).steps
    assert (step.kind, step.marks) == ("update_shelved", {"lock": None})


def test_reconcile_holds_every_step_of_a_locked_server_by_name_and_reason() -> None:
    its = record(marks={"lock": {"by": "ops", "reason": "disk swap", "at": NOW}})
    volumes = frozenset({f"{ID}-root"})
    for desired, state, kinds in (
        (declared("stopped"), "running", ["stop"]),
        (declared(), "shutoff", ["start"]),
        (declared("paused"), "suspended", ["resume", "pause"]),
        (declared("absent"), "running", ["soft_delete"]),
    ):
        plan = plan_server(desired, its, found(its, state), volumes=volumes, leave=Leave())
        assert [(step.kind, step.hold) for step in plan.held] == [(kind, "locked") for kind in kinds]
        assert all("locked by ops: disk swap" in step.why for step in plan.held)
        assert not {step.kind for step in plan.steps} - {"update"}
    gone = plan_server(declared("absent"), its, None, volumes=volumes, leave=Leave(frozenset({"delete"})))
    assert [(step.kind, step.hold) for step in gone.held] == [("delete", "locked")]
    let_go = plan_server(
        declared("stopped"), its, found(its, "running"), volumes=volumes, leave=Leave(frozenset({"locked"}))
    )
    assert [step.kind for step in let_go.steps] == ["update", "stop"]


@pytest.mark.parametrize(("declared_absent", "gone"), [(True, False), (False, False), (False, True)])
def test_what_was_locked_after_its_deletion_is_not_reclaimed(declared_absent: bool, gone: bool) -> None:
    """The lock that it had before, whoever deleted it had leave to pass. Its domain may be *gone*, by hand."""
    deleted = {"soft_delete": {"at": NOW}}
    later = Leave(reclaim=3600, now=NOW + 9999)

    def plan(at: float, leave: Leave) -> ServerPlan:
        its = record(marks={**deleted, "lock": {"by": "ops", "reason": "evidence", "at": at}})
        guest = None if gone else found(its, "shutoff")
        if declared_absent:
            return plan_server(declared("absent"), its, guest, volumes=frozenset(), leave=leave)
        return plan_prune(its, guest, volumes=frozenset(), leave=leave)

    held = plan(NOW + 1, later)
    assert (held.steps, [(step.kind, step.hold) for step in held.held]) == ((), [("delete", "locked")])
    assert "locked by ops: evidence" in held.held[0].why
    allowed = plan(NOW + 1, dataclasses.replace(later, allow=frozenset({"locked"})))
    assert [step.kind for step in allowed.steps] == ["delete"]
    assert [step.kind for step in plan(NOW - 1, later).steps] == ["delete"]


def test_deleting_is_soft_where_the_fleet_gives_time_and_needs_leave_where_it_is_for_good() -> None:
    its = record()
    guest = found(its, "running")
    for action in ("delete", "force_delete"):
        plan = plan_action(ask(action, reclaim=0), its, guest)
        assert ([step.kind for step in plan.steps], [step.hold for step in plan.held]) == ([], ["delete"])
        plan = plan_action(ask(action, "delete", reclaim=0), its, guest)
        assert [(step.kind, step.hold) for step in plan.steps] == [("delete", None)]
    with pytest.raises(Refused, match="fleet_reclaim is 0"):
        plan_action(ask("soft_delete", reclaim=0), its, guest)
    deleted = dataclasses.replace(its, marks={"soft_delete": {"at": NOW}})
    assert plan_action(ask("delete"), deleted, found(deleted, "shutoff")).steps == ()
    plan = plan_action(ask("restore"), deleted, found(deleted, "shutoff"))
    assert [step.kind for step in plan.steps] == ["restore", "start"]
    with pytest.raises(Refused, match=r"Cannot 'restore' instance .* vm_state active"):
        plan_action(ask("restore"), its, guest)


@pytest.mark.parametrize(
    ("properties", "options", "user"),
    [
        ({}, {}, "root"),
        ({"os_type": "windows"}, {}, "Administrator"),
        ({"os_admin_user": "debian"}, {}, "debian"),
        ({"os_admin_user": "debian"}, {"user": "ops"}, "ops"),
    ],
)
def test_the_password_is_that_of_the_images_administrator(
    properties: dict[str, str], options: dict[str, t.Any], user: str
) -> None:
    its = record(image=dataclasses.replace(IMAGE, properties=properties))
    (step,) = plan_action(ask("set_password", **options), its, found(its, "running")).steps
    assert step.options == {"user": user}


def test_a_password_needs_a_guest_agent() -> None:
    its = record(hardware=dataclasses.replace(Hardware(), guest_agent=False))
    with pytest.raises(Refused, match=r"^QEMU guest agent is not enabled$"):
        plan_action(ask("set_password"), its, found(its, "running"))


@pytest.mark.parametrize(
    ("desired", "left", "state", "told"),
    [
        (
            declared(),
            record("paused"),
            "paused",
            "inventory declares active: the next reconcile run will unpause it; set server_state: paused to keep it "
            "as it is",
        ),
        (
            declared("stopped"),
            record("active"),
            "running",
            "inventory declares stopped: the next reconcile run will stop it; set server_state: active to keep it "
            "as it is",
        ),
        (
            declared(),
            record(marks={"soft_delete": {"at": NOW}}),
            "shutoff",
            "inventory declares active: the next reconcile run will restore and start it; set server_state: absent to "
            "keep it as it is",
        ),
        (
            declared(locked=True),
            record(),
            "running",
            "inventory declares server_locked: the next reconcile run locks it again; leave that out to keep it free",
        ),
        (
            declared(resize="live"),
            grown("active"),
            "running",
            "inventory declares flavor m1.small: a reconcile run with leave to restart goes back to it; set "
            "server_flavor: m1.wide to keep the new one",
        ),
        (
            declared(resize="live"),
            grown("paused"),
            "paused",
            "inventory declares active: the next reconcile run will unpause it; set server_state: paused to keep it "
            "as it is",
        ),
        (
            declared(),
            rebuilt(image=OTHER.to_json()),
            "running",
            "inventory declares image tick: a reconcile run with leave to rebuild carries that out; set server_image: "
            "tock to keep the one that it has",
        ),
        (
            declared(),
            rebuilt(user_data={"sha256": "2"}),
            "running",
            "inventory declares other user_data: a reconcile run with leave to rebuild carries that out",
        ),
        (declared("paused"), record("paused"), "paused", ""),
        (
            declared(),
            record(marks={"lock": {"by": "ops"}}),
            "running",
            "inventory declares no lock: reconcile runs hold what they would do to it until the action unlock; set "
            "server_locked: true to keep it",
        ),
        (declared(locked=True), record(marks={"lock": {"by": "ops"}}), "running", ""),
        (
            declared(),
            record(marks={"rescue": {"image": OTHER.to_json(), "state": "running"}}),
            "running",
            "inventory declares no rescue: reconcile runs leave it as it is until the action unrescue; set "
            "server_rescue: tock to keep it",
        ),
        (declared(rescue=OTHER.to_json()), record(marks={"rescue": {"image": OTHER.to_json()}}), "running", ""),
        (
            declared(),
            record(marks={"resize": {"state": "running"}}),
            "running",
            "until the action confirm_resize or revert_resize reconcile runs only start and stop it as declared",
        ),
        (None, record("paused"), "paused", ""),
    ],
)
def test_an_action_says_what_reconcile_will_make_of_it(
    desired: Server | None, left: Record, state: str, told: str
) -> None:
    assert outlook(desired, left, state, Leave()) == told
