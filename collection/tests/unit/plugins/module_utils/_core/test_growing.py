# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Growing while a server runs: what can, what can't and why, and how far."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import (
    defined_anew,
    elsewhere,
    grown,
    room_for,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import before, resize_mark
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import SLOTS, Room
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, ServerPlan, plan_server
from ansible_collections.flotilla.compute.tests.unit.plugins.module_utils._core.test_steps import (
    NOTHING,
    SMALL,
    applied,
    declared,
    found,
    kinds,
)

RESTART = Leave(frozenset({"restart"}))
ROOM = Room(4, 1024)


def growing(flavor: Flavor = SMALL, state: str = "active", **spec: t.Any) -> t.Any:
    return declared(state, flavor, resize="live", **spec)


def larger(**changes: t.Any) -> Flavor:
    return dataclasses.replace(SMALL, **{"name": "m1.larger", "vcpus": 2, "ram": 512, **changes})


def plan(wanted: t.Any, record: Record, leave: Leave = NOTHING, state: str = "running", **guest: t.Any) -> ServerPlan:
    return plan_server(wanted, record, found(record, state, **guest), volumes=frozenset(), leave=leave)


def test_it_grows_while_it_runs_and_needs_no_leave() -> None:
    record = applied(growing(), room=ROOM)
    found_plan = plan(growing(larger()), record)
    (step,) = found_plan.steps
    assert (step.kind, step.why) == ("grow", "declared, to flavor m1.larger: 2 vCPU and 512 MiB while it runs")
    assert step.spec == {**record.spec, "flavor": larger().to_json()}
    assert {d.key: d.cls for d in found_plan.differences} == {
        "flavor.name": "live",
        "flavor.ram": "live",
        "flavor.vcpus": "live",
    }


@pytest.mark.parametrize(
    ("flavor", "why"),
    [
        pytest.param(larger(ram=128), "vCPUs and memory only grow while it runs", id="less memory"),
        pytest.param(larger(vcpus=5), "its domain has room for 4 vCPU and 1024 MiB", id="too many vCPUs"),
        pytest.param(larger(ram=1152), "its domain has room for 4 vCPU and 1024 MiB", id="too much memory"),
        pytest.param(larger(ram=300), "memory grows by whole 128 MiB while it runs", id="half a block"),
        pytest.param(larger(disk=2), "its disks change", id="a larger disk"),
        pytest.param(larger(extra_specs={"hw:a": "b"}), "its extra specs change", id="extra specs"),
    ],
)
def test_what_can_not_be_done_so_is_held_as_ever_and_says_why(flavor: Flavor, why: str) -> None:
    record = applied(growing(), room=ROOM)
    (held,) = plan(growing(flavor), record).held
    assert (held.kind, held.hold, held.why) == ("reconfigure", "restart", f"flavor; not while it runs: {why}")
    assert kinds(plan(growing(flavor), record, RESTART).steps) == ["stop", "reconfigure", "start"]


def test_a_server_has_room_only_from_when_it_is_defined_so() -> None:
    record = applied(declared())
    (held,) = plan(growing(), record).held
    assert (held.kind, held.why) == ("reconfigure", "resize")
    (held,) = plan(growing(larger()), applied(growing())).held
    assert held.why.endswith("its domain has no room to grow yet; a restart gives it that")
    assert kinds(plan(declared(), applied(growing(), room=ROOM)).steps) == ["update"]  # and no restart to lose it


def test_room_is_four_times_the_flavor_or_as_said_and_stays_while_it_does() -> None:
    record, live = applied(growing()), {"resize": "live"}
    assert room_for(record, {}, SMALL) is None
    assert room_for(record, live, SMALL) == Room(4, 1024)
    assert room_for(record, {**live, "resize_max": {"ram": 300}}, SMALL) == Room(4, 300)
    had = dataclasses.replace(record, room=Room(3, 512, taken=2))
    assert room_for(had, live, SMALL) == Room(3, 512)
    assert room_for(had, live, larger(vcpus=4)) == Room(16, 512)
    assert room_for(record, live, larger(vcpus=100, ram=600 * 1024)) == Room(128, 600 * 1024)
    cells = dataclasses.replace(record, fit=Fit((FitCell(0, 0, (0,), 256, pinning={0: 1}),)))
    assert room_for(cells, live, SMALL) is None
    (held,) = plan(growing(larger()), cells).held
    assert "not while it runs: it has cores or pages of its own" in held.why


def test_its_slots_for_memory_are_counted() -> None:
    record = applied(growing(), room=Room(4, 1024, taken=SLOTS))
    (held,) = plan(growing(larger()), record).held
    assert f"its {SLOTS} slots for memory are taken" in held.why
    assert kinds(plan(growing(larger(ram=SMALL.ram)), record).steps) == ["grow"]


@pytest.mark.parametrize(
    ("state", "declared_state", "steps"),
    [("shutoff", "active", ["reconfigure", "start"]), ("running", "stopped", ["stop", "reconfigure"])],
)
def test_what_is_off_or_goes_off_is_defined_anew(state: str, declared_state: str, steps: list[str]) -> None:
    record = applied(growing(), room=ROOM)
    wanted = growing(larger(), declared_state)
    assert kinds(plan(wanted, record, state=state).steps) == steps


def test_a_growth_that_was_cut_off_is_ended_and_what_others_did_is_not_taken_for_one() -> None:
    record = applied(growing(), room=ROOM)
    half = plan(growing(larger()), record, vcpus=2)
    assert kinds(half.steps) == ["grow"]
    assert not [d for d in half.differences if d.key.startswith("domain.")]
    (held,) = plan(growing(larger()), record, vcpus=3).held
    assert held.why.endswith("not while it runs: its domain was changed on the host")


def test_a_locked_server_does_not_grow() -> None:
    record = applied(growing(), room=ROOM, marks={"lock": {"by": "ops", "reason": "", "at": 0}})
    assert [(step.kind, step.hold) for step in plan(growing(larger()), record).held] == [("grow", "locked")]


def test_a_growth_that_qemu_keeps_refusing_takes_a_restart_and_another_size_is_tried() -> None:
    once = ROOM.refusing(2, 512, "no memory")
    assert kinds(plan(growing(larger()), applied(growing(), room=once)).steps) == ["grow"]
    record = applied(growing(), room=once.refusing(2, 512, "no memory"))
    (held,) = plan(growing(larger()), record).held
    assert (held.kind, held.hold) == ("reconfigure", "restart")
    assert held.why == "flavor; not while it runs: its host has refused that 2 times (no memory)"
    assert kinds(plan(growing(larger()), record, RESTART).steps) == ["stop", "reconfigure", "start"]
    # What vCPUs it has kept of the growth is no other's work.
    assert kinds(plan(growing(larger()), record, RESTART, vcpus=2).steps) == ["stop", "reconfigure", "start"]
    assert kinds(plan(growing(larger(ram=640)), record).steps) == ["grow"]
    assert kinds(plan(growing(larger(vcpus=1)), record).steps) == ["grow"]
    other = dataclasses.replace(record, room=ROOM.refusing(3, 512, "no vCPUs").refusing(2, 512, "no memory"))
    assert kinds(plan(growing(larger()), other).steps) == ["grow"]


def test_what_was_refused_is_forgotten_with_its_domain_its_host_and_its_growth() -> None:
    room = dataclasses.replace(ROOM, taken=2).refusing(2, 512, "no memory")
    record = applied(growing(), room=room)
    assert defined_anew(record).room == ROOM
    assert elsewhere(record).room == Room(4, 1024, taken=2)
    assert grown(record, {"flavor": larger().to_json()}).room == Room(4, 1024, taken=3)
    assert grown(record, {"flavor": larger(ram=SMALL.ram).to_json()}).room == Room(4, 1024, taken=2)
    plain = applied(growing())
    assert (defined_anew(plain), elsewhere(plain)) == (plain, plain)


def test_a_revert_leads_back_to_the_room_of_before() -> None:
    record = applied(growing(), room=ROOM)
    mark = resize_mark(record, state="running", migration="m", at=1.0)
    resized = dataclasses.replace(record, room=Room(64, 8192), marks={"resize": mark})
    assert before(resized).room == ROOM


def test_room_survives_its_record_and_nonsense_in_it_is_refused() -> None:
    record = applied(growing(), room=ROOM)
    assert Record.loads(record.dumps()) == record
    assert "room" not in applied(growing()).dumps()
    refused = applied(growing(), room=ROOM.refusing(2, 512, "can't <take> it"))
    assert Record.loads(refused.dumps()) == refused
    with pytest.raises(InvalidRecord, match="should be a whole number"):
        Record.from_json({**record.to_json(), "room": {"vcpus": 4, "ram": 1, "refused": {"vcpus": "2"}}})
    with pytest.raises(InvalidRecord, match="should be a whole number"):
        Record.from_json({**record.to_json(), "room": {"vcpus": "4", "ram": 1}})
