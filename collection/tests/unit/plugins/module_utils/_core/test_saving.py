# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots, shelving, rescue and rebuild as plans: asked for and declared, and that a second plan is empty."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import Request, outlook, plan_action
from ansible_collections.flotilla.compute.plugins.module_utils._core.adopting import NO_BYTES
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
    Server,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.rescue import rescue_mark
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import AFTER
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    SHELVED,
    Leave,
    ServerPlan,
    as_defined,
    plan_prune,
    plan_server,
)

ID = "5a0c7a0e-0000-4000-8000-000000000001"
FLAVOR = Flavor("m1.small", vcpus=1, ram=256, disk=1)
IMAGE, OTHER = Image("tick", "qcow2", "sha256:aa"), Image("other", "qcow2", "sha256:bb", min_disk=1)
BIG = Image("big", "qcow2", "sha256:cc", min_disk=2)
LEAVE = Leave(now=1766312345.0)
VOLUMES = frozenset({f"{ID}-root"})


def declared(state: str = "active", **spec: t.Any) -> Server:
    whole = {"flavor": FLAVOR.to_json(), "image": IMAGE.to_json(), "state": state, **spec}
    return Server("web1", state, FLAVOR, IMAGE, whole)


def record(spec: t.Mapping[str, t.Any] | None = None, **marks: t.Any) -> Record:
    root = Disk("root", "local", f"{ID}-root", "qcow2", GIB, "vda", "virtio")
    given = declared().spec if spec is None else spec
    return Record(ID, "web1", "f", 1, given, FLAVOR, IMAGE, (root,), (), Hardware(), marks=marks)


def adopted(its: Record) -> Record:
    """Its root disk was made by others: its name says nothing of the server."""
    return dataclasses.replace(its, disks=(dataclasses.replace(its.root, volume="web1.qcow2"),))


def ask(
    action: str, its: Record, state: str | None = "running", *, leave: Leave = LEAVE, **options: t.Any
) -> ServerPlan:
    images = {image.name: image for image in (IMAGE, OTHER, BIG)}
    request = Request(action, options, leave=leave, images=images, keypairs={"ops": "ssh-ed25519 AAAA"})
    return plan_action(request, its, None if state is None else found(its, state))


def found(its: Record, state: str) -> Guest:
    return dataclasses.replace(as_defined(its), state=state)


def kinds(plan: ServerPlan) -> list[str]:
    return [step.kind for step in plan.steps]


def after(plan: ServerPlan, its: Record, state: str) -> tuple[Record, Guest | None]:
    """What the steps leave, as hosts carry them out."""
    for step in plan.steps:
        state = AFTER.get(step.kind, state)
        marks = {**its.marks, **step.marks, **({SHELVED: {}} if step.kind == "shelve" else {})}
        marks = {key: value for key, value in marks.items() if value is not None}
        its = dataclasses.replace(its, spec=its.spec if step.spec is None else step.spec, marks=marks)
    return its, None if SHELVED in its.marks else found(its, state)


# -- asked for ----------------------------------------------------------------------------------------------------


def test_a_snapshot_is_named_by_its_user_or_by_the_time() -> None:
    (step,) = ask("snapshot", record(), name="golden", pool="shared").steps
    assert (step.kind, step.options, step.spec) == ("snapshot", {"name": "golden", "pool": "shared"}, None)
    (step,) = ask("snapshot", record(), "shutoff").steps
    assert step.options == {"name": "web1-20251221-101905"}
    (step,) = ask("backup", record(), "suspended", backup_type="daily", rotation=2).steps
    assert step.options == {"name": "web1-daily-20251221-101905", "backup_type": "daily", "rotation": 2}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rotation": 1}, "needs the options backup_type"),
        ({"backup_type": "daily"}, "needs the options backup_type"),
        ({"backup_type": "daily", "rotation": -1}, "rotation is -1"),
    ],
)
def test_a_backup_says_of_which_row_it_is(options: dict[str, t.Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        ask("backup", record(), **options)


@pytest.mark.parametrize(
    ("state", "before"),
    [("running", ["stop"]), ("shutoff", []), ("paused", ["stop"]), ("suspended", ["resume", "stop"])],
)
def test_shelving_turns_the_guest_off_in_order(state: str, before: list[str]) -> None:
    plan = ask("shelve", record(), state)
    assert kinds(plan) == [*before, "shelve"]
    shelved, guest = after(plan, record(), state)
    assert (shelved.spec["state"], guest) == ("shelved", None)
    assert "will unshelve and start it" in outlook(declared(), shelved, "shutoff", LEAVE)
    with pytest.raises(Refused, match=r"'shelve' instance .* while it is in vm_state shelved_offloaded"):
        ask("shelve", shelved, None)
    back = ask("unshelve", shelved, None)
    assert kinds(back) == ["unshelve", "start", "tidy"]
    assert after(back, shelved, "shutoff")[0].marks == {}


@pytest.mark.parametrize(
    ("state", "before", "back"),
    [("running", ["stop"], ["start"]), ("shutoff", [], []), ("crashed", ["stop"], [])],
)
def test_unrescue_leaves_the_state_of_before(state: str, before: list[str], back: list[str]) -> None:
    plan = ask("rescue", record(), state, image="other")
    assert kinds(plan) == [*before, "rescue", "start"]
    rescued, guest = after(plan, record(), state)
    assert rescued.marks["rescue"]["image"]["name"] == "other"
    assert guest is not None
    assert kinds(ask("unrescue", rescued, guest.state)) == ["stop", "unrescue", *back]
    with pytest.raises(Refused, match="vm_state rescued"):
        ask("rescue", rescued, "running")
    with pytest.raises(InvalidInput, match="no image 'othr'; did you mean 'other'"):
        ask("rescue", record(), image="othr")


@pytest.mark.parametrize(("state", "before", "back"), [("running", ["stop"], ["start"]), ("shutoff", [], [])])
def test_rebuild_changes_what_it_is_told_to(state: str, before: list[str], back: list[str]) -> None:
    plan = ask("rebuild", record(), state, image="other", key_name="ops", metadata={"a": "b"})
    assert kinds(plan) == [*before, "rebuild", *back]
    spec = plan.steps[len(before)].spec or {}
    assert spec["image"] == OTHER.to_json()
    assert spec["key_name"] == {"name": "ops", "public_key": "ssh-ed25519 AAAA"}
    assert (spec["metadata"], spec["flavor"]) == ({"a": "b"}, FLAVOR.to_json())
    assert ask("rebuild", record(), state).steps[len(before)].spec == record().spec
    with pytest.raises(InvalidInput, match="disk is too small for requested image"):
        ask("rebuild", record(), image="big")
    with pytest.raises(Refused, match="vm_state paused"):
        ask("rebuild", record(), "paused")


@pytest.mark.parametrize(("was", "back"), [("active", ["start"]), ("stopped", [])])
def test_a_rebuild_that_was_cut_off_is_done_again_and_leaves_the_state_of_before(was: str, back: list[str]) -> None:
    """The guest was turned off for it: that says nothing of what it was in before. The record does."""
    spec = declared(was).spec
    cut = record(spec, rebuilding={"spec": dict(spec)})
    assert kinds(ask("rebuild", cut, "shutoff")) == ["rebuild", *back]


def test_a_server_without_a_whole_root_disk_is_not_rescued() -> None:
    cut = record(rebuilding={"spec": dict(declared().spec)})
    with pytest.raises(
        Refused, match=rf"^Instance {ID} cannot be rescued: a rebuild of web1 was cut off, .*; rebuild it first$"
    ):
        ask("rescue", cut, "shutoff", image="other")


# -- declared -----------------------------------------------------------------------------------------------------


def settled(desired: Server, its: Record, state: str) -> tuple[list[str], Record, Guest | None]:
    """The steps to what is declared; a second plan has none."""
    guest = None if SHELVED in its.marks else found(its, state)
    plan = plan_server(desired, its, guest, volumes=VOLUMES, leave=LEAVE)
    its, guest = after(plan, its, state)
    left = frozenset() if guest is None else VOLUMES
    again = plan_server(desired, its, guest, volumes=left, leave=LEAVE)
    assert again.steps == (), again
    return kinds(plan), its, guest


@pytest.mark.parametrize(
    ("state", "before"), [("running", ["stop"]), ("shutoff", []), ("suspended", ["resume", "stop"])]
)
def test_declared_shelved(state: str, before: list[str]) -> None:
    steps, its, _guest = settled(declared("shelved"), record(), state)
    assert steps == ["update", *before, "shelve"]
    steps, its, guest = settled(declared("stopped"), its, "shutoff")
    assert steps == ["unshelve", "tidy"]
    assert guest is not None
    assert guest.state == "shutoff"


def test_a_shelving_that_was_cut_off_is_carried_on() -> None:
    its = record(declared("shelved").spec, shelved_offloaded={})
    assert kinds(plan_server(declared("shelved"), its, None, volumes=VOLUMES, leave=LEAVE)) == ["shelve"]


def test_a_new_server_may_be_declared_shelved_or_rescued() -> None:
    plan = plan_server(declared("shelved"), None, None, volumes=frozenset(), leave=LEAVE)
    assert kinds(plan) == ["create", "shelve"]
    plan = plan_server(declared(rescue=OTHER.to_json()), None, None, volumes=frozenset(), leave=LEAVE)
    assert kinds(plan) == ["create", "rescue", "start"]


def test_a_locked_shelved_server_stays_so() -> None:
    its = record({**declared("shelved").spec, "locked": True}, shelved_offloaded={})
    plan = plan_server(declared(locked=True), its, None, volumes=frozenset(), leave=LEAVE)
    assert (plan.steps, [(step.kind, step.hold) for step in plan.held]) == ((), [("unshelve", "locked")])


def test_a_shelved_server_is_not_deleted_without_leave() -> None:
    its = record(declared("shelved").spec, shelved_offloaded={})
    plan = plan_server(declared("absent"), its, None, volumes=frozenset(), leave=LEAVE)
    assert [(step.kind, step.hold) for step in plan.held] == [("delete", "delete")]


def test_declared_rescue_and_its_end() -> None:
    rescued = declared(rescue=OTHER.to_json())
    steps, its, _guest = settled(rescued, record(), "running")
    assert steps == ["stop", "rescue", "start"]
    # All else waits.
    other = declared(rescue=OTHER.to_json(), description="new")
    assert plan_server(other, its, found(its, "running"), volumes=VOLUMES, leave=LEAVE).steps == ()
    steps, changed, _guest = settled(declared(rescue=IMAGE.to_json()), its, "running")
    assert steps == ["stop", "unrescue", "rescue", "start"]
    assert changed.marks["rescue"]["state"] == "running"
    steps, its, guest = settled(declared("stopped", description="new"), its, "running")
    assert steps == ["stop", "unrescue", "update"]
    assert guest is not None
    assert (guest.state, its.marks) == ("shutoff", {})


def test_a_server_that_somebody_rescued_is_left_alone() -> None:
    its = record(rescue=rescue_mark(OTHER, "running"))
    for desired in (declared(), declared("stopped"), declared(description="new")):
        assert plan_server(desired, its, found(its, "running"), volumes=VOLUMES, leave=LEAVE).steps == ()
    # Declared so afterwards, it is so already.
    desired = declared(rescue=OTHER.to_json())
    assert kinds(plan_server(desired, its, found(its, "running"), volumes=VOLUMES, leave=LEAVE)) == ["update"]


def test_a_locked_server_is_not_rescued() -> None:
    its = record({**declared().spec, "locked": True})
    desired = declared(rescue=OTHER.to_json(), locked=True)
    plan = plan_server(desired, its, found(its, "running"), volumes=VOLUMES, leave=LEAVE)
    assert (plan.steps, {step.hold for step in plan.held}) == ((), {"locked"})


@pytest.mark.parametrize("left", ["snapshot", "shelved"])
def test_what_was_cut_off_is_tidied_away(left: str) -> None:
    volumes = VOLUMES | {f"{ID}-{left}"}
    its = record()
    assert kinds(plan_server(declared(), its, found(its, "running"), volumes=volumes, leave=LEAVE)) == ["tidy"]
    plan = plan_server(declared("shelved"), its, found(its, "shutoff"), volumes=volumes, leave=LEAVE)
    assert kinds(plan) == ["update", "shelve"]  # which begins anew


# -- what others have made ----------------------------------------------------------------------------------------

LOSES = (
    "its root disk web1.qcow2 in pool local was made by others, not of an image: it is left there, and the server "
    "loses it"
)


def test_a_root_disk_that_was_made_of_no_image_is_rebuilt_only_with_leave_to_lose_it() -> None:
    its = adopted(record())
    plan = ask("rebuild", its, image="other")
    assert [(step.kind, step.hold, step.why) for step in plan.held] == [
        ("rebuild", "data_loss", f"asked for, from image other; {LOSES}")
    ]
    assert plan.steps == ()
    plan = ask("rebuild", its, leave=dataclasses.replace(LEAVE, allow=frozenset({"data_loss"})), image="other")
    assert [step.kind for step in plan.steps] == ["stop", "rebuild", "start"]
    # One that Flotilla made of an image needs none.
    assert [step.kind for step in ask("rebuild", record(), image="other").steps] == ["stop", "rebuild", "start"]


@pytest.mark.parametrize(
    ("allow", "held"),
    [((), "rebuild"), (("data_loss",), "rebuild"), (("rebuild",), "data_loss"), (("data_loss", "rebuild"), None)],
)
def test_so_is_one_that_is_declared_otherwise(allow: tuple[str, ...], held: str | None) -> None:
    its, wanted = adopted(record()), declared(image=OTHER.to_json())
    leave = dataclasses.replace(LEAVE, allow=frozenset(allow))
    plan = plan_server(wanted, its, found(its, "running"), volumes=frozenset(), leave=leave)
    assert [(step.kind, step.hold, step.why) for step in plan.held] == (
        [("rebuild", held, f"image; {LOSES}")] if held else []
    )
    assert [step.kind for step in plan.steps] == ([] if held else ["stop", "rebuild", "start"])


def test_an_adopted_server_is_not_rebuilt_or_rescued_from_the_image_without_bytes_that_stands_for_its_own() -> None:
    nothing = Image("adopted-raw", "raw", NO_BYTES)
    with pytest.raises(InvalidInput, match=r"'web1' was adopted, and no image is known .*; name one: image=NAME$"):
        ask("rebuild", dataclasses.replace(adopted(record()), image=nothing))
    with pytest.raises(InvalidInput, match=rf"^Instance {ID} cannot be rescued: web1 was adopted, "):
        ask("rescue", dataclasses.replace(adopted(record()), image=nothing))
    assert ask("rescue", dataclasses.replace(adopted(record()), image=nothing), image="other").steps


def test_what_is_lost_of_uefi_firmware_is_said_before_it_is_shelved() -> None:
    told = "; the variables of its UEFI firmware are made anew when it is unshelved"
    its = dataclasses.replace(record(), hardware=dataclasses.replace(Hardware(), firmware="uefi"))
    assert ask("shelve", its).steps[-1].why == f"asked for{told}"
    assert ask("shelve", record()).steps[-1].why == "asked for"
    uefi = dataclasses.replace(IMAGE, properties={"hw_firmware_type": "uefi"})
    wanted = dataclasses.replace(declared("shelved"), image=uefi)
    plan = plan_server(wanted, its, found(its, "running"), volumes=VOLUMES, leave=LEAVE)
    assert plan.steps[-1].why == f"declared shelved{told}"


# -- deleted softly -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "paused", "suspended"])
def test_a_deleted_server_that_somebody_has_started_is_not_reclaimed_unasked(state: str) -> None:
    """Its time is over, and whoever started it by hand may need what is on it."""
    its = record(soft_delete={"at": LEAVE.now - 10 * LEAVE.reclaim})
    for plan_of in (
        lambda leave: plan_server(declared("absent"), its, found(its, state), volumes=VOLUMES, leave=leave),
        lambda leave: plan_prune(its, found(its, state), volumes=VOLUMES, leave=leave),
    ):
        plan = plan_of(LEAVE)
        assert ([step.kind for step in plan.steps], [(step.kind, step.hold) for step in plan.held]) == (
            [],
            [("delete", "delete")],
        )
        assert "somebody has started it since" in plan.held[0].why
        plan = plan_of(dataclasses.replace(LEAVE, allow=frozenset({"delete"})))
        assert [step.kind for step in plan.steps] == ["delete"]
    off = plan_server(declared("absent"), its, found(its, "shutoff"), volumes=VOLUMES, leave=LEAVE)
    assert [step.kind for step in off.steps] == ["delete"]
