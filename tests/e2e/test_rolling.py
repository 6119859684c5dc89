# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests of a group are interrupted one after the other, and no more of them while one is not well."""

from __future__ import annotations

import itertools
import typing as t

import pytest
import yaml
from tests.support.fleet import Fleet


@pytest.mark.soak
def test_a_group_rolls_and_stops_at_the_first_that_is_not_well(fleet: Fleet) -> None:
    health = fleet.folder / "health.yml"
    well = {"name": "See what people see", "ansible.builtin.assert": {"that": "inventory_hostname not in ill"}}
    health.write_text(yaml.safe_dump([{**well, "vars": {"ill": "{{ test_ill | default([]) }}"}}]))
    fleet.all["fleet_server_groups"] = {"web": {"policy": "soft-anti-affinity"}}
    fleet.declare("a", "b", "c", group="web", health={"tasks": str(health)}, shutdown_timeout=20)
    fleet.reconcile()
    for name in ("a", "b", "c"):
        fleet.console(name, "boots=1")

    fleet.declare("a", "b", "c", flavor="small")
    fleet.declare("new", state="stopped")
    rolling: dict[str, t.Any] = {"fleet_allow": "restart", "fleet_max_disrupted": 1}
    run = fleet.run(test_ill=["b"], **rolling).failed()
    assert run.failures == [
        "b: it is not healthy: Assertion failed",
        "c: not begun: fleet_max_disrupted lets 1 of server group 'web' be down at once, and not healthy are b; "
        "mend them and run again",
    ]
    world = fleet.look()
    assert {name: world.server(name).memory for name in ("a", "b", "c")} == {"a": 192, "b": 192, "c": 128}
    assert world.states == {"a": "running", "b": "running", "c": "running", "new": "shutoff"}
    fleet.console("c", "boots=1")

    run = fleet.reconcile(**rolling)
    assert run.all_steps == {"c": ["stop", "reconfigure", "start"]}
    assert fleet.look().server("c").memory == 192

    # Once more, all well: one at a time, by the journal's clock.
    fleet.declare("a", "b", "c", flavor="tiny")
    run = fleet.reconcile(**rolling)
    assert set(run.all_steps) == {"a", "b", "c"}
    assert "guests are interrupted in 3 rounds" in run.stdout
    last = [fleet.ledger.actions(world.server(name).id)[-1] for name in ("a", "b", "c")]
    assert {action.result for action in last} == {"Success"}
    for first, second in itertools.pairwise(sorted(last, key=lambda action: action.started)):
        assert first.ended is not None
        assert first.ended <= second.started

    # A share of the group, which is two of three: c comes after them, and not at all after so many failures.
    fleet.declare("a", "b", "c", flavor="small")
    share: dict[str, t.Any] = {"fleet_allow": "restart", "fleet_max_disrupted": "67%", "fleet_max_failures": 1}
    run = fleet.run(test_ill=["a"], **share).failed()
    assert "guests are interrupted in 2 rounds" in run.stdout
    assert run.failures == [
        "a: it is not healthy: Assertion failed",
        "c: not begun: fleet_max_failures is 1, and failed have a; mend the cause and run again",
    ]
    world = fleet.look()
    assert {name: world.server(name).memory for name in ("a", "b", "c")} == {"a": 192, "b": 192, "c": 128}
    assert fleet.reconcile(**share).all_steps == {"c": ["stop", "reconfigure", "start"]}
    assert fleet.reconcile().all_steps == {}
    fleet.whole()
