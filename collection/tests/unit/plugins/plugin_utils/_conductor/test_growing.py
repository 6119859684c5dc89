# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Growing while a server runs, as plans: claimed before, moved where its host has no room, asked for by an action."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import Room
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import MEMORY_MB, VCPU
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    hosts,
    reconcile,
)

FLAVORS = {
    "m1.small": {"vcpus": 1, "ram": 2048, "disk": 20},
    "larger": {"vcpus": 2, "ram": 4096, "disk": 20},
    "huge": {"vcpus": 2, "ram": 10**6, "disk": 20},
    "wide": {"vcpus": 3, "ram": 2048, "disk": 20},
}


def fleet(web: dict[str, t.Any]) -> Declared:
    uris = {name: f"qemu+tls://{name}/system" for name in ("kvm1", "kvm2", "kvm3")}
    computes = {name: {**COMPUTE, "compute_migration_uri": uri} for name, uri in uris.items()}
    return declare({**FLEET, "fleet_flavors": FLAVORS}, computes, {"web1": web}, {})


def world_of(flavor: str = "m1.small") -> World:
    web = {**WEB, "server_flavor": "m1.small", "server_resize": "live", "server_resize_max": {"vcpus": 2}}
    before = fleet(web)
    guests = applied(reconcile(before, hosts(before)))
    running = {host: [dataclasses.replace(guest, state="running") for guest in its] for host, its in guests.items()}
    return World(fleet({**web, "server_flavor": flavor}), running)


def in_the_making(world: World, *allow: str) -> Reconcile:
    leave = Leave(frozenset(allow))
    computes = hosts(world.declared, world.guests)
    given = Situation(world.declared, computes, world.row(), "F", "L", leave, now=1000.0, run_id="me")
    made = Reconcile(given)
    made.schedule()
    return made


def test_a_new_server_has_room_and_the_larger_size_is_claimed_before_it_grows() -> None:
    world = world_of("larger")
    assert world.record.room == Room(2, 8192)
    made = in_the_making(world)
    (claim,) = made.claims()
    assert (claim.vcpus, claim.ram, claim.host) == (2, 4096, world.host)
    (entry,) = made.plan().servers
    assert [step.kind for step in entry.steps] == ["grow"]


def test_the_record_after_it_has_the_flavor_and_one_slot_less() -> None:
    world = world_of("larger")
    plan = world.plan("resize", flavor="larger")
    (deed,) = plan.servers[0].deeds
    left = Record.from_json(deed["record"])
    assert (deed["kind"], left.flavor.name, left.room) == ("grow", "larger", Room(2, 8192, taken=1))
    assert (left.disks, left.nics, left.hardware) == (world.record.disks, world.record.nics, world.record.hardware)
    assert left.spec["flavor"] == Flavor("larger", 2, 4096, 20).to_json()


def test_an_action_says_what_becomes_of_it_and_why_it_is_not_done_so() -> None:
    world = world_of()
    assert world.plan("resize", flavor="larger").notes == (
        "inventory declares flavor m1.small: a reconcile run with leave to restart goes back to it; "
        "set server_flavor: larger to keep the new one",
    )
    steps = world.plan("resize", flavor="wide").servers[0].steps
    assert [step.kind for step in steps] == ["stop", "resize", "start"]
    assert steps[1].why == ("asked for; not while it runs: its domain has room for 2 vCPU and 8192 MiB, to flavor wide")


@pytest.mark.parametrize(("allow", "held"), [((), "migrate"), (("migrate",), "restart")])
def test_where_its_host_has_no_room_it_moves_with_leave_to_move_and_to_restart(
    allow: tuple[str, ...], held: str
) -> None:
    world = full(world_of("larger"))
    made = in_the_making(world, *allow)
    assert made.claims() == []
    (entry,) = (entry for entry in made.plan().servers if entry.name == "web1")
    assert (entry.steps, [(step.kind, step.hold) for step in entry.held]) == ((), [("migrate", held)])


@pytest.mark.parametrize("resize", ["live", "direct"])
def test_a_guest_that_moves_while_it_runs_keeps_its_room_and_its_modules(resize: str) -> None:
    world = world_of()
    room = Room(2, 8192, taken=3)
    world = world.with_record(room=room, spec={**world.record.spec, "resize": resize})
    ((host, (guest,)),) = world.guests.items()
    world = world._replace(guests={host: [dataclasses.replace(guest, state="running")]})
    (deed,) = world.plan("migrate", live="auto").servers[0].deeds
    assert (deed["kind"], Record.from_json(deed["record"]).room) == ("live_migrate", room)


def test_a_hard_reboot_leaves_every_slot_free() -> None:
    """Its domain is made of its record, with all its memory in one piece."""
    world = world_of()
    world = world.with_record(room=Room(2, 8192, taken=16), spec={**world.record.spec, "state": "stopped"})
    (deed,) = world.plan("reboot", type="hard").servers[0].deeds
    assert (deed["kind"], Record.from_json(deed["record"]).room) == ("hard_reboot", Room(2, 8192))


def test_what_a_guest_has_got_is_counted_also_where_its_record_lags_behind() -> None:
    world = world_of()
    ((host, (guest,)),) = world.guests.items()
    world = world._replace(guests={host: [dataclasses.replace(guest, vcpus=2, memory=4096)]})
    computes = hosts(world.declared, world.guests)
    states = host_states(computes, None, fleet_id="F", catalogs=world.declared.catalogs, groups={})
    (state,) = (state for state in states if state.name == host)
    assert (state.inventories[VCPU].used, state.inventories[MEMORY_MB].used) == (2, 4096)


def full(world: World) -> World:
    """A foreign guest takes what is left of the server's host."""
    (guest,) = world.guests[world.host]
    compute = next(one for one in hosts(world.declared, world.guests) if one.name == world.host)
    memory = int(t.cast("dict[str, t.Any]", compute.survey)["memory"]) - guest.memory - 1024
    foreign = dataclasses.replace(guest, id="f" * 8, name="foreign", record=None, memory=memory)
    return world._replace(guests={world.host: [guest, foreign]})
