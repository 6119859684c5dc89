# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resize as plans: what is refused, the way there and back, what reconcile runs do meanwhile, and the journal."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Image, Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import (
    added,
    check_flavor,
    resize_mark,
    resize_of,
    superseded,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    Leave,
    ServerPlan,
    Step,
    as_defined,
    plan_server,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute, host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import cut_off, move_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame, deeds
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import MigrationRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import MEMORY_MB, VCPU
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
)

NOW = 1766312345.0
LARGE: dict[str, t.Any] = {"vcpus": 2, "ram": 4096, "disk": 30, "ephemeral": 5}


@pytest.fixture
def world() -> World:
    flavors = {
        "m1.small": {"vcpus": 1, "ram": 2048, "disk": 20, "swap": 512},
        "large": LARGE,
        "huge": {"vcpus": 1, "ram": 10**6, "disk": 20},
        "same": {**LARGE, "disk": 20},
    }
    declared = fleet({"web1": {**WEB, "server_flavor": "m1.small"}}, fleet_flavors=flavors)
    return World(declared, applied(reconcile(declared, hosts(declared))))


def after(world: World, plan: t.Any) -> World:
    """The world once the one entry of a plan has been carried out."""
    record = Record.from_json([deed["record"] for deed in plan.servers[0].deeds if "record" in deed][-1])
    guest = dataclasses.replace(as_defined(record), state="running")
    return World(world.declared, {world.host: [guest]})


def kinds(plan: t.Any) -> list[str]:
    return [step.kind for step in plan.servers[0].steps]


def flavor(**changes: t.Any) -> Flavor:
    return dataclasses.replace(Flavor("new", 1, 2048, 20), **changes)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Flavor("m1.small", 1, 2048, 20, swap=512), "When resizing, instances must change flavor!"),
        (
            flavor(disk=19),
            "Resize error: Unable to resize disk down. Flavor 'new' has a disk of 19 GiB, server 'web1' has 20",
        ),
        (flavor(disk=0), "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed."),
        (flavor(ram=64), "Flavor's memory is too small for requested image."),
    ],
)
def test_what_nova_refuses_is_refused_in_its_words(world: World, wanted: Flavor, words: str) -> None:
    image = Image("tick", "qcow2", "sha256:aa", min_ram=128)
    record = dataclasses.replace(world.record, image=image)
    with pytest.raises(InvalidInput) as refused:
        check_flavor(record, wanted)
    assert str(refused.value).startswith(words)


def test_a_flavor_without_a_disk_has_the_size_of_its_image(world: World) -> None:
    root = dataclasses.replace(world.record.root, size=3 * GIB)
    record = dataclasses.replace(world.record, flavor=flavor(name="old", disk=0), disks=(root,))
    check_flavor(record, flavor(disk=0))
    check_flavor(record, flavor(disk=3))
    with pytest.raises(InvalidInput, match="has a disk of 2 GiB, server 'web1' has 3 GiB"):
        check_flavor(record, flavor(disk=2))
    wide = dataclasses.replace(record, image=dataclasses.replace(record.image, min_disk=5))
    check_flavor(wide, flavor(disk=5))
    check_flavor(wide, flavor(disk=0))
    with pytest.raises(
        InvalidInput, match=r"^Flavor's disk is too small for requested image\. .* needs 5 GiB, flavor 'new'"
    ):
        check_flavor(wide, flavor(disk=4))
    with pytest.raises(InvalidInput, match="ephemeral disks of 0 GiB, server 'web1' has 2 GiB"):
        check_flavor(dataclasses.replace(record, flavor=flavor(ephemeral=2)), flavor())


def test_the_way_there_and_back(world: World) -> None:
    plan = world.plan("resize", flavor="large")
    assert kinds(plan) == ["stop", "resize", "start"]
    resized = after(world, plan)
    record = resized.record
    assert vm_state("running", record.marks) == "resized"
    assert (record.flavor.name, record.spec["flavor"]["name"]) == ("large", "large")
    # The swap disk is out, its place is taken; the root disk has grown.
    places = [(disk.role, disk.target, disk.size) for disk in record.disks if disk.role != "config"]
    assert places == [("root", "vda", 30 * GIB), ("ephemeral0", "vdb", 5 * GIB)]
    assert [disk.role for disk in added(record)] == ["ephemeral0"]
    assert [disk.role for disk in superseded(record)] == ["swap"]
    assert plan.notes == (
        "inventory declares flavor m1.small: the reconcile run after the resize is confirmed goes back to it; "
        "set server_flavor: large to keep the new one",
    )
    for action in ("stop", "pause", "resize", "rebuild", "shelve", "rescue"):
        with pytest.raises(Refused, match=r"while it is in vm_state resized$"):
            resized.plan(action)
    confirmed = after(resized, resized.plan("confirm_resize"))
    assert (confirmed.record.flavor.name, confirmed.record.marks) == ("large", {})
    for action in ("confirm_resize", "revert_resize"):
        with pytest.raises(Refused, match=r"while it is in vm_state active$"):
            confirmed.plan(action)
    with pytest.raises(Refused, match=r"disk ephemeral0 is lost.*fleet_allow=data_loss"):
        resized.plan("revert_resize")
    back = resized.plan("revert_resize", leave=Leave(frozenset({"data_loss"})))
    assert kinds(back) == ["stop", "revert_resize", "start"]
    reverted = after(resized, back).record
    assert (reverted.flavor, reverted.spec, reverted.marks) == (world.record.flavor, world.record.spec, {})
    # It has grown, and nothing makes it smaller.
    grown = dataclasses.replace(world.record.root, size=30 * GIB)
    assert list(reverted.disks) == [grown if disk.role == "root" else disk for disk in world.record.disks]


def test_a_server_that_is_off_stays_off(world: World) -> None:
    off = World(world.declared, {world.host: [dataclasses.replace(world.guests[world.host][0], state="shutoff")]})
    plan = off.plan("resize", flavor="same")
    assert kinds(plan) == ["resize"]
    assert kinds(after(world, plan).plan("revert_resize", leave=Leave(frozenset({"data_loss"})))) == [
        "stop",
        "revert_resize",
    ]


def test_what_a_resize_needs_is_said(world: World) -> None:
    with pytest.raises(InvalidInput, match="a resize needs the option flavor"):
        world.plan("resize")
    with pytest.raises(InvalidInput, match=r"the fleet has no flavor 'larg'; did you mean 'large'\?"):
        world.plan("resize", flavor="larg")


def test_what_does_not_fit_on_its_host_is_not_moved(world: World) -> None:
    (entry,) = world.plan("resize", flavor="huge").servers
    assert (entry.verdict, entry.steps) == ("no valid host", ())
    assert entry.message.endswith(
        f"(a resize leaves a server on its host if it can; beside {world.host} no host takes it)"
    )


def resized_record(world: World, **mark: t.Any) -> Record:
    record = world.record
    its = {**resize_mark(record, state="running", migration="m", at=NOW), **mark}
    large = Flavor("large", **LARGE)
    return dataclasses.replace(
        record, flavor=large, spec={**record.spec, "flavor": large.to_json()}, marks={"resize": its}
    )


def planned(world: World, record: Record, state: str, declared: str = "active", **leave: t.Any) -> ServerPlan:
    server = world.declared.servers["web1"]
    server = dataclasses.replace(server, state=declared, spec={**server.spec, "state": declared})
    guest = dataclasses.replace(as_defined(record), state=state)
    return plan_server(server, record, guest, volumes=frozenset(), leave=Leave(**leave))


@pytest.mark.parametrize(
    ("state", "declared", "steps"),
    [
        ("running", "active", []),
        ("shutoff", "active", ["start"]),
        ("running", "stopped", ["stop"]),
        ("running", "shelved", []),
        ("running", "absent", ["soft_delete"]),
    ],
)
def test_until_it_is_confirmed_only_its_power_is_as_declared(
    world: World, state: str, declared: str, steps: list[str]
) -> None:
    plan = planned(world, resized_record(world), state, declared)
    assert [step.kind for step in plan.steps] == steps
    assert not plan.held


def test_it_waits_on_when_it_was_moved_deleted_softly_or_lost_its_domain(world: World) -> None:
    record = resized_record(world)
    deleted = dataclasses.replace(record, marks={**record.marks, "soft_delete": {"at": 1.0}})
    assert [step.kind for step in planned(world, deleted, "shutoff").steps] == ["restore", "start"]
    server, guest = world.declared.servers["web1"], dataclasses.replace(as_defined(record), state="running")
    volumes = frozenset({record.root.volume})
    lost = plan_server(server, record, None, volumes=volumes, leave=Leave())
    assert [step.kind for step in lost.steps] == ["define", "start"]
    moved = plan_server(server, record, guest, volumes=volumes, leave=Leave(frozenset({"restart"})), moved=True)
    assert [step.kind for step in moved.steps] == ["adopt"]


def test_nobody_confirms_by_default_and_a_window_does(world: World) -> None:
    record = resized_record(world)
    assert planned(world, record, "running", now=NOW + 10**9).steps == ()
    assert planned(world, record, "running", now=NOW + 59, confirm_after=60).steps == ()
    plan = planned(world, record, "running", now=NOW + 60, confirm_after=60)
    assert [step.kind for step in plan.steps] == ["confirm_resize"]
    # Then inventory counts again: a disk can't go back.
    assert {d.key for d in plan.differences if d.cls == "impossible"} == {"flavor.disk", "flavor.ephemeral"}
    locked = dataclasses.replace(record, marks={**record.marks, "lock": {"by": "ops", "reason": "", "at": 0}})
    plan = planned(world, locked, "running", now=NOW + 60, confirm_after=60)
    assert (plan.steps, plan.held[0].hold) == ((), "locked")


def test_a_revert_that_was_cut_off_is_taken_up(world: World) -> None:
    cut = resized_record(world, dropping=[])
    assert [step.kind for step in planned(world, cut, "shutoff").steps] == ["revert_resize", "start"]


def test_declared_to_be_verified(world: World) -> None:
    server = world.declared.servers["web1"]
    large = Flavor("large", **LARGE, swap=512).to_json()
    wanted = dataclasses.replace(server, spec={**server.spec, "flavor": large, "resize": "verify", "networks": []})
    record, guest = world.record, dataclasses.replace(world.guests[world.host][0], state="running")

    def plan(wanted: Server, *allow: str) -> ServerPlan:
        return plan_server(wanted, record, guest, volumes=frozenset(), leave=Leave(frozenset(allow)))

    held = plan(wanted)
    assert ([step.kind for step in held.steps], [(step.kind, step.hold) for step in held.held]) == (
        ["update"],
        [("resize", "restart")],
    )
    allowed = plan(wanted, "restart")
    assert [step.kind for step in allowed.steps] == ["update", "stop", "resize", "start"]
    # What else changed waits: a revert leads back to one thing.
    assert allowed.steps[2].spec == {**record.spec, "flavor": large, "resize": "verify"}
    direct = dataclasses.replace(wanted, spec={**wanted.spec, "resize": "direct"})
    assert [step.kind for step in plan(direct, "restart").steps] == ["update", "stop", "reconfigure", "start"]


def test_room_for_the_way_back_is_kept(world: World) -> None:
    small = Flavor("tiny", 3, 64, 20)
    guest = as_defined(dataclasses.replace(resized_record(world), flavor=small))
    computes = hosts(world.declared, {world.host: [guest]})
    states = host_states(computes, None, fleet_id="F", catalogs=world.declared.catalogs, groups={})
    used = next(state for state in states if state.name == world.host).inventories
    assert (used[VCPU].used, used[MEMORY_MB].used) == (3, 2048)


def test_new_disks_go_where_none_is(world: World) -> None:
    record = world.record
    spec = {**record.spec, "flavor": Flavor("both", 1, 2048, 20, ephemeral=1, swap=512).to_json()}
    compute = Compute(world.host, compute_settings({}), {"host_id": record.host_id})
    (deed,) = deeds(record, [Step("reconfigure", "", spec=spec)], compute, Frame("F", {}, NOW), fit=None)
    disks = {disk.role: disk.target for disk in Record.from_json(deed["record"]).disks}
    assert (disks["root"], disks["swap"], disks["ephemeral0"]) == ("vda", "vdb", "vdc")


# -- the journal --------------------------------------------------------------------------------------------------


def test_the_journal_is_in_novas_words(world: World) -> None:
    (entry,) = world.plan("resize", flavor="large").servers
    move = move_of(entry.deeds, entry.applied)
    assert move is not None
    assert (move.begun, move.ended(world.record)) == ("migrating", "error")
    assert move.data == {"old_flavor": "m1.small", "new_flavor": "large"}
    resized = after(world, world.plan("resize", flavor="large"))
    assert move.ended(resized.record) == "finished"
    its = resize_of(resized.record)
    assert its is not None
    assert its.migration == move.id
    for action, at_work, done in (
        ("confirm_resize", "confirming", "confirmed"),
        ("revert_resize", "reverting", "reverted"),
    ):
        (entry,) = resized.plan(action, leave=Leave(frozenset({"data_loss"}))).servers
        end = move_of(entry.deeds, entry.applied)
        assert end is not None
        assert (end.id, end.begun) == (move.id, at_work)
        assert (end.ended(world.record), end.ended(resized.record), end.ended(None)) == (done, "error", "error")
    assert move_of(world.plan("pause").servers[0].deeds, None) is None


@pytest.mark.parametrize(
    ("status", "waits", "becomes"),
    [
        ("migrating", True, "finished"),
        ("confirming", True, "finished"),
        ("finished", True, None),
        ("migrating", False, "error"),
        ("confirming", False, "confirmed"),
        ("reverting", False, "reverted"),
        ("finished", False, "confirmed"),
    ],
)
def test_the_journal_follows_what_the_hosts_have(world: World, status: str, waits: bool, becomes: str | None) -> None:
    record = resized_record(world) if waits else world.record
    row = MigrationRow("m", "resize", record.id, "kvm1", "kvm1", status, None, {}, 0, 0)
    wanted = {} if becomes is None else {"m": becomes}
    assert cut_off([row], {record.id: record}, {record.id}, ()) == wanted
    assert cut_off([row], {record.id: record}, {record.id}, {record.id}) == {}
    assert cut_off([row], {}, {record.id}, ()) == {}  # its host is down
    assert cut_off([dataclasses.replace(row, kind="live-migration")], {}, (), ()) == {}
