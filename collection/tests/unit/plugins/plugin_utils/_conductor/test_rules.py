# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that are where their zone or group no longer lets them be get a move, by leave."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rules import Broken, broken, places_of
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_doctor import (
    guest,
    patient,
    record,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_drain import (
    World,
    fleet,
    kinds,
    world,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    claimed,
    entries,
    hosts,
    reconcile,
    survey,
)

GROUPS = {
    "apart": {"policy": "anti-affinity"},
    "two": {"policy": "anti-affinity", "rules": {"max_server_per_host": 2}},
    "close": {"policy": "affinity"},
    "soft": {"policy": "soft-anti-affinity"},
}


@pytest.mark.parametrize(
    ("group", "places", "found"),
    [
        ("apart", {"a": ("kvm1", False), "b": ("kvm2", False)}, {}),
        ("apart", {"a": ("kvm1", False), "b": ("kvm1", False)}, {"b": None}),
        ("apart", {"a": ("kvm1", True), "b": ("kvm1", False)}, {"a": None}),
        ("two", {"a": ("kvm1", False), "b": ("kvm1", False)}, {}),
        ("two", {"a": ("kvm1", False), "b": ("kvm1", False), "c": ("kvm1", False)}, {"c": None}),
        ("close", {"a": ("kvm1", False), "b": ("kvm1", True)}, {}),
        ("close", {"a": ("kvm3", False), "b": ("kvm2", False), "c": ("kvm3", True)}, {"b": "kvm3"}),
        ("close", {"a": ("kvm3", False), "b": ("kvm2", False)}, {"a": "kvm2"}),
        ("soft", {"a": ("kvm1", False), "b": ("kvm1", False)}, {}),
    ],
)
def test_rules_of_groups(group: str, places: dict[str, tuple[str, bool]], found: dict[str, str | None]) -> None:
    declared = fleet({name: {"server_group": group} for name in "abc"}, fleet_server_groups=GROUPS)
    assert {name: rule.host for name, rule in broken(declared, places).items()} == found


def test_a_zone_that_its_host_is_not_in() -> None:
    computes = {name: {**COMPUTE, "compute_availability_zone": f"z{name[-1]}"} for name in ("kvm1", "kvm2")}
    declared = declare(FLEET, computes, {"a": {**WEB, "server_availability_zone": "z2"}, "b": WEB}, {})
    places = {"a": ("kvm1", False), "b": ("kvm1", False), "stranger": ("kvm1", False)}
    assert broken(declared, places) == {"a": Broken("declared in zone z2, kvm1 is in z1")}
    assert broken(declared, {"a": ("kvm2", False)}) == {}


def test_a_copy_that_an_evacuation_has_left_is_in_no_group() -> None:
    old = record(generation=4)
    entry = {"host_id": "id-kvm1", "generation": 4, "migration": "m"}
    new = record(host="kvm2", generation=5, marks={"replaces": [entry]})
    copies = {"kvm2": [guest(new)], "kvm1": [guest(old, "shutoff")]}
    computes = patient(copies).computes
    where = types.SimpleNamespace(ours=lambda: ((one.name, each) for one in computes[::-1] for each in one.guests))
    given: t.Any = types.SimpleNamespace(computes=computes, fleet_id="F")
    assert places_of(given, t.cast("t.Any", where)) == {"web1": ("kvm2", False)}


def plan(made: World, *allow: str) -> Plan:
    large = {"kvm1": survey("kvm1", memory=65536)}
    return claimed(reconcile(made.declared, hosts(made.declared, made.guests, **large), leave=Leave(frozenset(allow))))


@pytest.mark.parametrize(
    ("state", "declared", "allow", "steps", "held"),
    [
        ("running", "active", (), [], ["migrate"]),
        ("running", "active", ("migrate",), ["live_migrate"], []),
        ("shutoff", "stopped", (), [], ["migrate"]),
        ("shutoff", "stopped", ("migrate",), ["migrate", "confirm_resize"], []),
    ],
)
def test_a_group_that_became_stricter_gets_a_move_by_leave(
    state: str, declared: str, allow: t.Sequence[str], steps: list[str], held: list[str]
) -> None:
    servers = {name: {"server_group": "two", "server_state": declared} for name in ("a", "b")}
    made = world(servers, state, fleet_server_groups=GROUPS)
    assert all(kinds(entry) == [] and not entry.held for entry in plan(made).servers)
    strict = {**GROUPS, "two": {"policy": "anti-affinity"}}
    stricter = made._replace(declared=fleet(servers, fleet_server_groups=strict))
    first, second = (entries(plan(stricter, *allow))[name] for name in ("a", "b"))
    assert (kinds(first), first.held) == ([], ())
    assert (kinds(second), [step.hold for step in second.held]) == (steps, held)
    assert (second.destination in ("kvm2", "kvm3")) == bool(steps)
    why = "kvm1 has 2 of server group 'two' (anti-affinity, at most 1 per host)"
    assert [step.why for step in (*second.steps, *second.held) if step.kind in MOVES] == [why]


def test_what_else_is_to_be_done_comes_first() -> None:
    servers = {name: {"server_group": "two"} for name in ("a", "b")}
    made = world(servers, "running", fleet_server_groups=GROUPS)
    strict = {**GROUPS, "two": {"policy": "anti-affinity"}}
    resized = {**servers, "b": {"server_group": "two", "server_flavor": "big"}}
    stricter = made._replace(declared=fleet(resized, fleet_server_groups=strict))
    assert [step.kind for step in entries(plan(stricter))["b"].held] == ["reconfigure"]
    described = {**servers, "b": {"server_group": "two", "server_description": "x"}}
    both = made._replace(declared=fleet(described, fleet_server_groups=strict))
    entry = entries(plan(both, "migrate", "restart"))["b"]
    assert kinds(entry) == ["live_migrate"]  # which takes the description along
    assert entry.deeds[-1]["record"]["spec"]["description"] == "x"
