# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three-way comparison and its steps: tables for what each change costs, and the law that a second plan is empty."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell, FittedDevice, PciDevice
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import grown, room_for
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Nic,
    Record,
    Server,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import AFTER
from ansible_collections.flotilla.compute.plugins.module_utils._core.step import DRIVE_OUT
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    IMPOSSIBLE,
    LIVE,
    Leave,
    ServerPlan,
    Step,
    as_defined,
    plan_prune,
    plan_server,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Node, Tuning

ID = "5a0c7a0e-0000-4000-8000-000000000001"
SMALL = Flavor("m1.small", vcpus=1, ram=256, disk=1)
BIG = Flavor("m1.big", vcpus=2, ram=512, disk=2)
WIDE = Flavor("m1.wide", vcpus=2, ram=512, disk=1)
TICK = Image("tick", "qcow2", "sha256:aa")
TOCK = Image("tock", "qcow2", "sha256:bb")
EVERYTHING = Leave(allow=frozenset({"restart", "rebuild", "delete", "locked", "migrate", "data_loss"}))
NOTHING = Leave()


def declared(state_: str = "active", flavor: Flavor = SMALL, image: Image = TICK, **spec: t.Any) -> Server:
    return Server("web1", state_, flavor, image, {"flavor": flavor.to_json(), "image": image.to_json(), **spec})


def applied(server: Server, **changes: t.Any) -> Record:
    record = Record(
        id=ID,
        name="web1",
        fleet_id="f",
        generation=1,
        spec=server.spec,
        flavor=server.flavor,
        image=server.image,
        disks=(Disk("root", "local", f"{ID}-root", "qcow2", server.flavor.disk * GIB, "vda", "virtio"),),
        nics=(Nic("lan", "bridge", "br0", "52:54:00:00:00:01"),),
        hardware=Hardware(),
    )
    return dataclasses.replace(record, **changes)


def found(record: Record, state: str = "running", **changes: t.Any) -> Guest:
    guest = dataclasses.replace(as_defined(record), state=state, autostart=bool(record.spec.get("autostart")))
    return dataclasses.replace(guest, **changes)


def kinds(steps: t.Sequence[Step]) -> list[str]:
    return [step.kind for step in steps]


def plan(desired: Server, guest: Guest | None, leave: Leave = NOTHING) -> ServerPlan:
    record = guest.record if guest is not None else None
    return plan_server(desired, record, guest, volumes=frozenset({f"{ID}-root"}), leave=leave)


@pytest.mark.parametrize(
    ("desired", "state", "leave", "steps", "held"),
    [
        pytest.param(declared(), "running", NOTHING, [], [], id="nothing to do"),
        pytest.param(declared(), "shutoff", NOTHING, ["start"], [], id="off, should run"),
        pytest.param(declared("stopped"), "running", NOTHING, ["stop"], [], id="started by hand"),
        pytest.param(
            declared("stopped"), "suspended", NOTHING, ["resume", "stop"], [], id="memory is shut down in order"
        ),
        pytest.param(declared("paused"), "shutoff", NOTHING, ["start", "pause"], [], id="pause what is off"),
        pytest.param(declared(metadata={"a": "1"}), "running", NOTHING, ["update"], [], id="metadata is live"),
        pytest.param(
            declared(flavor=BIG), "shutoff", NOTHING, ["reconfigure", "start"], [], id="more memory while off"
        ),
        pytest.param(
            declared("stopped", flavor=BIG), "shutoff", NOTHING, ["reconfigure"], [], id="more memory, stays off"
        ),
        pytest.param(
            declared(flavor=BIG), "running", NOTHING, [], ["reconfigure"], id="more memory while running is held"
        ),
        pytest.param(
            declared(flavor=BIG),
            "running",
            EVERYTHING,
            ["stop", "reconfigure", "start"],
            [],
            id="more memory with leave",
        ),
        pytest.param(
            declared("stopped", flavor=BIG),
            "running",
            NOTHING,
            ["stop", "reconfigure"],
            [],
            id="it should be off anyway",
        ),
        pytest.param(
            declared(image=TOCK), "shutoff", NOTHING, ["start"], ["rebuild"], id="another image is held even when off"
        ),
        pytest.param(
            declared(image=TOCK), "running", EVERYTHING, ["stop", "rebuild", "start"], [], id="another image with leave"
        ),
        pytest.param(
            declared(image=TOCK, flavor=BIG),
            "running",
            Leave(frozenset({"rebuild"})),
            ["stop", "reconfigure", "rebuild", "start"],
            [],
            id="a rebuild takes the hardware with it",
        ),
        pytest.param(
            declared(image=TOCK, flavor=BIG),
            "running",
            Leave(frozenset({"restart"})),
            ["stop", "reconfigure", "start"],
            ["rebuild"],
            id="a restart does not take the image with it",
        ),
        pytest.param(declared("absent"), "running", NOTHING, ["soft_delete"], [], id="absent is soft for a day"),
        pytest.param(declared("absent"), "running", Leave(reclaim=0), [], ["delete"], id="deleting for good is held"),
    ],
)
def test_steps_of_a_server_that_is_there(
    desired: Server, state: str, leave: Leave, steps: list[str], held: list[str]
) -> None:
    result = plan(desired, found(applied(declared()), state), leave)
    assert (kinds(result.steps), kinds(result.held)) == (steps, held)


def test_a_new_server_is_created_and_started() -> None:
    assert kinds(plan(declared(), None).steps) == ["create", "start"]


def test_an_undefined_guest_comes_back_on_its_own_disk() -> None:
    record = applied(declared())
    result = plan_server(declared(), record, None, volumes={f"{ID}-root"}, leave=NOTHING)
    assert kinds(result.steps) == ["define", "start"]


def test_an_undefined_guest_without_its_disk_is_created_again() -> None:
    result = plan_server(declared(), applied(declared()), None, volumes=frozenset(), leave=NOTHING)
    assert kinds(result.steps) == ["create", "start"]


def test_a_smaller_disk_is_impossible_and_nothing_of_the_flavor_is_applied() -> None:
    tiny = Flavor("m1.tiny", vcpus=2, ram=512, disk=0)
    result = plan(declared(flavor=tiny), found(applied(declared())), EVERYTHING)
    assert result.steps == ()
    assert ("flavor.disk", "impossible") in {(d.key, d.cls) for d in result.differences}


@pytest.mark.parametrize(("pool", "steps"), [("local", ["update"]), ("fast", [])])
def test_a_pool_may_be_named_and_not_changed(pool: str, steps: list[str]) -> None:
    result = plan(declared(pool=pool), found(applied(declared())))
    assert kinds(result.steps) == steps
    assert [d.cls for d in result.differences] == (["live"] if steps else ["impossible"])


def test_a_removed_key_is_a_removal() -> None:
    record = applied(declared(metadata={"a": "1"}, description="old"))
    result = plan(declared(), found(record))
    assert kinds(result.steps) == ["update"]
    assert result.steps[0].spec == declared().spec


def test_what_the_user_never_wrote_is_not_compared() -> None:
    guest = found(
        applied(declared()), sources=(("local", f"{ID}-root"), ("", "/dev/by-hand")), macs=("52:54:00:00:00:01", "x")
    )
    assert plan(declared(), guest).differences == ()


@pytest.mark.parametrize("change", [{"memory": 128}, {"vcpus": 7}, {"macs": ()}, {"sources": ()}])
def test_hardware_changed_on_the_host_is_put_right_at_leave(change: dict[str, t.Any]) -> None:
    guest = found(applied(declared()), **change)
    assert kinds(plan(declared(), guest).held) == ["reconfigure"]
    assert kinds(plan(declared(), guest, EVERYTHING).steps) == ["stop", "reconfigure", "start"]


@pytest.mark.parametrize("state", ["running", "shutoff"])
def test_a_disk_that_stands_on_a_snapshot_is_shown_and_never_put_back(state: str) -> None:
    """What the guest wrote since the snapshot is in another file; the host would refuse, once the guest was stopped."""
    guest = found(applied(declared()), state, sources=(("local", f"{ID}-root.s1"),), vcpus=7)
    desired = declared(flavor=BIG, image=TOCK, metadata={"a": "1"})
    result = plan(desired, guest, EVERYTHING)
    assert kinds(result.steps) == (["update"] if state == "running" else ["update", "start"])
    assert result.held == ()
    assert {difference.cls for difference in result.differences if difference.key != "metadata"} == {LIVE, IMPOSSIBLE}
    shown = next(difference for difference in result.differences if difference.key == "domain.disks")
    assert (shown.cls, shown.old, shown.new) == (IMPOSSIBLE, f"{ID}-root.s1", f"{ID}-root")
    spec = result.steps[0].spec
    assert spec is not None
    assert (spec["flavor"], spec["image"]) == (SMALL.to_json(), TICK.to_json())


def test_a_locked_server_is_left_as_it_is_but_its_record_may_change() -> None:
    record = applied(declared(locked=True))
    result = plan(declared("stopped", locked=True, metadata={"a": "1"}), found(record))
    assert kinds(result.steps) == ["update"]
    assert [(step.kind, step.hold) for step in result.held] == [("stop", "locked")]


def test_the_record_of_a_locked_server_does_not_say_what_was_held() -> None:
    record = applied(declared(locked=True, state="active"))
    result = plan(declared("stopped", locked=True, state="stopped"), found(record))
    assert (kinds(result.steps), kinds(result.held)) == ([], ["stop"])


def test_an_unlocked_server_is_free_in_the_same_run() -> None:
    result = plan(declared("stopped"), found(applied(declared(locked=True))))
    assert kinds(result.steps) == ["update", "stop"]


def test_a_softly_deleted_server_waits_and_then_goes() -> None:
    record = applied(declared(), marks={"soft_delete": {"at": 1000}})
    guest = found(record, "shutoff")
    day = 24 * 3600
    assert plan(declared("absent"), guest, Leave(now=1000 + day - 1)).steps == ()
    assert kinds(plan(declared("absent"), guest, Leave(now=1000 + day)).steps) == ["delete"]


def test_a_softly_deleted_server_that_is_declared_again_is_restored() -> None:
    record = applied(declared(), marks={"soft_delete": {"at": 1000}})
    assert kinds(plan(declared(), found(record, "shutoff")).steps) == ["restore", "start"]


def test_a_rebuild_that_was_cut_off_goes_on_with_what_it_was_asked_for() -> None:
    wanted = declared(image=TOCK, description="asked for by an action").spec
    record = applied(declared(), marks={"rebuilding": {"spec": wanted}})
    first, *rest = plan(declared(), found(record, "shutoff")).steps
    assert (first.kind, first.why, first.spec) == ("rebuild", "a rebuild of it was cut off", wanted)
    # Then inventory counts again: its own image waits for leave.
    assert kinds(rest) == ["update", "start"]
    assert kinds(plan(declared(), found(record, "shutoff")).held) == ["rebuild"]
    assert kinds(plan(declared("stopped", image=TOCK), found(record, "shutoff")).steps)[0] == "rebuild"
    # Somebody has started it by hand, and may have written to its disk.
    (held,) = plan(declared(), found(record)).held
    assert (held.kind, held.hold) == ("rebuild", "rebuild")
    assert kinds(plan(declared(), found(record), EVERYTHING).steps)[:2] == ["stop", "rebuild"]
    locked = dataclasses.replace(record, marks={**record.marks, "lock": {"by": "ops", "reason": "", "at": 0}})
    assert [step.hold for step in plan(declared(), found(locked, "shutoff")).held] == ["locked"]


def test_what_a_rebuild_was_asked_for_and_nobody_knows_any_more_comes_from_inventory() -> None:
    """An action's user data: the record has its digest, and what is behind that was in the run that is over."""
    mine, theirs = {"sha256": "1"}, {"sha256": "2"}
    wanted = declared(image=TOCK, user_data=theirs, personality={"/a": "3"}).spec
    record = applied(declared(user_data=mine), marks={"rebuilding": {"spec": wanted}})
    first = plan(declared(user_data=mine), found(record, "shutoff")).steps[0]
    assert first.why == (
        "a rebuild of it was cut off; with the files and user data of inventory, for what it was asked for is gone"
    )
    assert first.spec is not None
    assert (first.spec["user_data"], first.spec["image"]) == (mine, TOCK.to_json())
    assert "personality" not in first.spec
    first = plan(declared(), found(record, "shutoff")).steps[0]
    assert first.spec is not None
    assert "user_data" not in first.spec
    same = plan(declared(user_data=theirs, personality={"/a": "3"}), found(record, "shutoff")).steps[0]
    assert (same.spec, same.why) == (wanted, "a rebuild of it was cut off")


def test_a_rebuild_that_was_cut_off_is_ended_before_it_is_started_again_from_wherever() -> None:
    marks = {"rebuilding": {"spec": declared(image=TOCK).spec}}
    deleted = applied(declared(), marks={**marks, "soft_delete": {"at": 0}})
    assert kinds(plan(declared(), found(deleted, "shutoff")).steps)[:2] == ["restore", "rebuild"]
    record = applied(declared(), marks=marks)
    gone = plan_server(declared(), record, None, volumes=frozenset({record.root.volume}), leave=NOTHING)
    assert kinds(gone.steps)[:2] == ["define", "rebuild"]
    transient = dataclasses.replace(found(record, "shutoff"), persistent=False)
    assert kinds(plan(declared(), transient).steps)[:2] == ["adopt", "rebuild"]


def test_pruning_is_held() -> None:
    record = applied(declared())
    assert kinds(plan_prune(record, found(record), volumes=frozenset(), leave=NOTHING).held) == ["soft_delete"]
    leave = Leave(frozenset({"delete"}))
    assert kinds(plan_prune(record, found(record), volumes=frozenset(), leave=leave).steps) == ["soft_delete"]


def test_a_disk_without_its_domain_is_not_deleted_without_leave() -> None:
    record = applied(declared())
    disks = frozenset({f"{ID}-root"})
    assert kinds(plan_server(declared("absent"), record, None, volumes=disks, leave=NOTHING).held) == ["delete"]
    assert kinds(plan_server(declared("absent"), record, None, volumes=frozenset(), leave=NOTHING).steps) == ["delete"]


def carry_out(steps: t.Sequence[Step], desired: Server, record: Record | None, guest: Guest | None) -> Guest | None:
    """The world after the steps, as the hosts are held to leave it (tests of the host's half prove that they do)."""
    for step in steps:
        if step.kind in AFTER:
            guest = dataclasses.replace(t.cast(Guest, guest), state=AFTER[step.kind])
            continue
        if step.kind == "delete":
            return None
        base = record if record is not None else applied(desired)
        spec = dict(step.spec if step.spec is not None else base.spec)
        record = dataclasses.replace(
            base,
            spec=spec,
            flavor=Flavor.from_json(spec["flavor"]) if step.kind != "update" else base.flavor,
            image=Image.from_json(spec["image"]) if step.kind in ("create", "rebuild") else base.image,
            marks={"soft_delete": {"at": 0}} if step.kind == "soft_delete" else {},
        )
        if step.kind == "grow":
            record = grown(dataclasses.replace(record, flavor=base.flavor), spec)
            size = record.flavor
            guest = dataclasses.replace(t.cast(Guest, guest), record=record, vcpus=size.vcpus, memory=size.ram)
            continue
        if step.kind in ("create", "reconfigure", "rebuild"):
            record = dataclasses.replace(record, room=room_for(record, spec, record.flavor))
        if step.kind == "update":
            guest = dataclasses.replace(t.cast(Guest, guest), record=record, autostart=bool(spec.get("autostart")))
        elif step.kind == "adopt":
            guest = dataclasses.replace(t.cast(Guest, guest), persistent=True, record=record)
        else:
            # Defining over a domain that is there keeps its autostart (libvirt does); a new domain has none.
            autostart = guest.autostart if guest is not None and step.kind in ("reconfigure", "rebuild") else False
            guest = dataclasses.replace(as_defined(record), record=record, autostart=autostart)
    return guest


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.dictionaries(st.sampled_from("abc"), st.text(max_size=3), max_size=2),
        "description": st.text(max_size=3),
        "locked": st.booleans(),
        "autostart": st.booleans(),
        "key_name": st.sampled_from(["k1", "k2"]),
        "networks": st.sampled_from([[{"network": "lan"}], [{"network": "dmz"}]]),
        "user_data": st.sampled_from([{"sha256": "1"}, {"sha256": "2"}]),
        "group": st.sampled_from(["g"]),
        "resize": st.sampled_from(["direct", "live"]),
    },
)
SERVERS = st.builds(
    lambda state, flavor, image, spec: declared(state, flavor, image, state=state, **spec),
    st.sampled_from(["active", "stopped", "paused", "suspended", "absent"]),
    st.sampled_from([SMALL, BIG, WIDE]),
    st.sampled_from([TICK, TOCK]),
    SPECS,
)


@given(
    desired=SERVERS,
    before=SERVERS,
    state=st.sampled_from(["running", "paused", "shutoff", "suspended", "crashed"]),
    there=st.sampled_from(["guest", "transient", "volume", "nothing"]),
    drift=st.sampled_from(
        [{}, {"memory": 17}, {"macs": ()}, {"autostart": True}, {"sources": ()}, {"sources": (("local", "s1"),)}]
    ),
    allow=st.frozensets(st.sampled_from(["restart", "rebuild", "delete", "locked"])),
)
def test_after_its_steps_a_server_has_none(
    desired: Server, before: Server, state: str, there: str, drift: dict[str, t.Any], allow: frozenset[str]
) -> None:
    leave = Leave(allow=allow)
    record = applied(before) if there != "nothing" else None
    if record is not None:
        record = dataclasses.replace(record, room=room_for(record, record.spec, record.flavor))
    guest = None
    if there in ("guest", "transient") and record is not None:
        if there == "transient" and state not in ("running", "paused"):
            state = "running"
        guest = found(record, state, persistent=there == "guest", **drift)
    volumes = frozenset({f"{ID}-root"})
    first = plan_server(desired, record, guest, volumes=volumes if record else frozenset(), leave=leave)
    after = carry_out(first.steps, desired, record, guest)
    if after is None and first.steps:
        return  # deleted: the ledger's row goes with it
    record = after.record if after is not None else record
    second = plan_server(desired, record, after, volumes=volumes, leave=leave)
    assert kinds(second.steps) == []
    assert {step.hold for step in second.held} <= {step.hold for step in first.held} | {"locked"}


# -- what the guest has of its host

FIT = Fit(
    (FitCell(0, 0, (0, 1), 256, 2048, {0: 4, 1: 20}),),
    emulator_cpus=(4, 20),
    pci=(FittedDevice("gpu", PciDevice("0000:af:00.0", "10de", "1eb8")),),
)
GIVEN = Tuning.of(FIT)


def pinned(state: str = "running", fit: Fit | None = FIT, **changes: t.Any) -> Guest:
    return found(applied(declared(), fit=fit), state, **changes)


def test_a_guest_that_is_as_it_was_given_has_no_differences() -> None:
    for state in ("running", "shutoff", "suspended"):
        assert plan(declared(), pinned(state)).differences == ()
    assert plan(declared(), pinned(fit=Fit(cpus=(0, 1)))).differences == ()


def test_what_is_tuned_by_hand_on_a_server_that_was_given_nothing_is_left_alone() -> None:
    by_hand = Tuning(cpuset=(1,), pins={0: (1,)}, emulator=(0,))
    assert plan(declared(), pinned(fit=None, tuning=by_hand)).differences == ()
    assert plan(declared(), pinned(fit=Fit(cpus=(1,)), tuning=by_hand)).differences == ()


ASTRAY = dataclasses.replace(GIVEN, pins={**GIVEN.pins, 1: (0, 1)})


@pytest.mark.parametrize("guest", [pinned(tuning=ASTRAY), pinned(live=ASTRAY)])
def test_a_guest_on_other_cores_than_its_own_is_pinned_back_while_it_runs(guest: Guest) -> None:
    made = plan(declared(), guest)
    assert [(d.key, d.cls, d.old, d.new) for d in made.differences] == [
        ("domain.pins", LIVE, "0 on 4, 1 on 0-1, emulator on 4,20", "0 on 4, 1 on 20, emulator on 4,20")
    ]
    assert [(step.kind, step.spec) for step in made.steps] == [("pin", None)]
    assert made.held == ()


def test_an_emulator_that_runs_elsewhere_is_a_difference_too() -> None:
    astray = dataclasses.replace(GIVEN, emulator=())
    assert kinds(plan(declared(), pinned("shutoff", tuning=astray)).steps) == ["pin", "start"]


def test_a_locked_guest_is_pinned_back_by_leave_alone() -> None:
    locked = declared(locked=True)
    guest = found(applied(locked, fit=FIT), live=dataclasses.replace(GIVEN, pins={}))
    assert [(step.kind, step.hold) for step in plan(locked, guest).held] == [("pin", "locked")]
    assert kinds(plan(locked, guest, EVERYTHING).steps) == ["pin"]


@pytest.mark.parametrize(
    ("key", "fit", "tuning"),
    [
        ("domain.numa", FIT, dataclasses.replace(GIVEN, nodes=())),
        ("domain.numa", FIT, dataclasses.replace(GIVEN, nodes=(Node((0, 1), 256, (0,), None),))),
        ("domain.pci_devices", FIT, dataclasses.replace(GIVEN, devices=())),
        ("domain.pci_devices", FIT, dataclasses.replace(GIVEN, devices=("0000:af:00.0", "0000:b0:00.0"))),
        ("domain.cpuset", Fit(cpus=(0, 1)), Tuning(cpuset=(0, 1, 2))),
        ("domain.cpuset", Fit(cpus=(0, 1)), None),
    ],
)
def test_what_a_running_guest_can_not_be_given_back_needs_it_off(key: str, fit: Fit, tuning: Tuning | None) -> None:
    running = plan(declared(), pinned(fit=fit, tuning=tuning))
    assert [(d.key, d.cls) for d in running.differences] == [(key, "restart")]
    assert [(step.kind, step.hold) for step in running.held] == [("reconfigure", "restart")]
    off = plan(declared("stopped"), found(applied(declared("stopped"), fit=fit), "shutoff", tuning=tuning))
    assert [d.cls for d in off.differences] == ["next boot"]
    assert kinds(off.steps) == ["reconfigure"]


def test_pins_are_put_back_with_the_rest_where_the_guest_goes_down_anyway() -> None:
    guest = pinned(tuning=Tuning(pins={0: (1,)}))
    assert kinds(plan(declared(), guest, EVERYTHING).steps) == ["stop", "reconfigure", "start"]
    assert [step.hold for step in plan(declared(), guest).held] == ["restart"]


def test_a_config_drive_that_is_out_is_put_in_whatever_else_there_is_to_do() -> None:
    record = applied(declared(), marks={DRIVE_OUT: True})
    (step,) = plan(declared(), found(record)).steps
    assert (step.kind, step.why, step.marks) == (
        "update",
        "its config drive was taken out, and not put in again",
        {DRIVE_OUT: None},
    )
    (step,) = plan(declared(metadata={"role": "db"}), found(record)).steps
    assert (step.kind, step.why, step.marks) == ("update", "metadata", {DRIVE_OUT: None})
    assert plan(declared(), found(applied(declared()))).steps == ()
