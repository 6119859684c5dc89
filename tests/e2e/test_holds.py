# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What interrupts a guest, replaces its disk or deletes it is held until the run allows it."""

from __future__ import annotations

import pytest
from tests.support.fleet import Fleet


def test_a_new_flavor_for_a_running_server_waits_for_leave(fleet: Fleet) -> None:
    fleet.declare("a")
    fleet.declare("b", state="stopped")
    fleet.reconcile()
    fleet.console("a", "boots=1")

    fleet.declare("a", flavor="small")
    run = fleet.touching()
    assert run.held("a") == [("reconfigure", "restart")]
    assert "held: reconfigure on " in run.stdout
    assert "allow it with -e fleet_allow=restart" in run.stdout
    assert "flavor.ram [restart]: 128 -> 192" in run.stdout
    strict = fleet.run(fleet_strict=True).failed()
    assert strict.failures == ["a: it is held, and fleet_strict is set"]

    done = fleet.touching("a", fleet_allow="restart")
    assert done.steps("a") == ["stop", "reconfigure", "start"]
    assert fleet.look().server("a").memory == 192
    fleet.console("a", "boots=2")  # the same disk
    assert fleet.reconcile().changed == 0


@pytest.mark.soak
def test_a_new_image_for_a_running_server_waits_for_leave(fleet: Fleet) -> None:
    """Equal bytes with a comment's worth of difference: another image, by its checksum."""
    fleet.declare("a")
    fleet.declare("b", state="stopped")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    fleet.another_image("tick2")
    fleet.declare("a", image="tick2")
    run = fleet.touching()
    assert run.held("a") == [("rebuild", "rebuild")]
    assert "allow it with -e fleet_allow=rebuild" in run.stdout
    assert 'image.name [rebuild]: "tick" -> "tick2"' in run.text
    before = fleet.look().server("a")
    run = fleet.touching("a", fleet_allow=["rebuild"])
    assert "rebuild" in run.steps("a")
    after = fleet.whole().server("a")
    assert (after.id, after.addresses, after.state) == (before.id, before.addresses, "running")
    assert after.record["image"]["name"] == "tick2"  # type: ignore[index]
    fleet.console("a", "boots=1")  # a fresh disk counts from one again
    assert fleet.reconcile().changed == 0


@pytest.mark.soak
def test_pruning_has_its_rules(fleet: Fleet) -> None:
    fleet.declare("a", "b", "c", state="stopped")
    fleet.reconcile()
    servers, fleet.servers = fleet.servers, {}

    run = fleet.run(fleet_prune=True, fleet_allow="delete").failed()  # not one server is left in inventory
    assert "prune" in run.message
    fleet.servers = {"a": servers["a"]}
    run = fleet.run(fleet_prune=True, fleet_allow="delete", fleet_servers="a").civil()  # a selection says little
    assert run.rc != 0 or run.all_steps == {}
    run = fleet.run(fleet_prune=True, fleet_allow="delete", fleet_prune_max=1).failed()
    assert "fleet_prune_confirm=2" in run.message
    assert fleet.look().states == {"a": "shutoff", "b": "shutoff", "c": "shutoff"}

    options = {"fleet_prune": True, "fleet_allow": "delete", "fleet_prune_max": 1, "fleet_prune_confirm": 2}
    assert fleet.touching("b", "c", **options).all_steps == {"b": ["soft_delete"], "c": ["soft_delete"]}
    options = {"fleet_prune": True, "fleet_reclaim": 0}
    assert fleet.touching("b", "c", **options).all_steps == {"b": ["delete"], "c": ["delete"]}
    assert fleet.whole().states == {"a": "shutoff"}


@pytest.mark.soak
def test_a_locked_server_is_left_alone(fleet: Fleet) -> None:
    fleet.declare("a", locked=True)
    fleet.reconcile()
    fleet.declare("a", state="stopped")
    for run in (fleet.reconcile(), fleet.reconcile()):  # its record may change, and it stays held
        assert run.held("a") == [("stop", "locked")]
        assert "allow it with -e fleet_allow=locked" in run.stdout
        assert fleet.look().states == {"a": "running"}
    assert fleet.touching("a", fleet_allow="locked").steps("a")[-1] == "stop"
    assert fleet.look().states == {"a": "shutoff"}


@pytest.mark.soak
def test_a_change_that_can_not_be_made_fails_the_run_and_touches_nothing(fleet: Fleet) -> None:
    fleet.declare("a", state="stopped")
    fleet.reconcile()
    before = fleet.look()
    fleet.declare("a", pool="shared")
    run = fleet.run().failed()
    assert run.failures == ['a: pool can\'t be changed from null to "shared"; put it back, or make the server anew']
    assert run.all_steps == {}
    assert fleet.look() == before
