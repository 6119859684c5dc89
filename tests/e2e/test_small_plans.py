# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change in inventory is one small plan: all other servers stay as they are."""

from __future__ import annotations

import pytest
from tests.support.fleet import Fleet


def test_each_change_is_a_plan_of_one_server(fleet: Fleet) -> None:
    fleet.declare("a", "b", state="stopped", metadata={"role": "old"})
    fleet.declare("c")
    fleet.reconcile()
    fleet.console("c", "boots=1")

    # One more server; a key of the metadata renamed.
    fleet.declare("d", state="stopped")
    fleet.declare("a", metadata={"part": "old"})
    before = fleet.look().server("a")
    run = fleet.touching("a", "d")
    assert run.all_steps == {"a": ["update"], "d": ["create"]}
    assert 'metadata.role [live]: "old" -> (none)' in run.text
    assert fleet.look().server("a").spec["metadata"] == {"part": "old"}
    assert fleet.look().server("a").generation == before.generation + 1  # type: ignore[operator]

    # More memory while it is off; a running guest stopped.
    fleet.declare("b", flavor="small")
    fleet.declare("c", state="stopped")
    assert fleet.touching("b", "c").all_steps == {"b": ["reconfigure"], "c": ["update", "stop"]}
    assert fleet.look().server("b").memory == 192
    assert fleet.look().states["c"] == "shutoff"

    # Started again it has the same disk.
    fleet.declare("c", state="active")
    assert fleet.touching("c").all_steps == {"c": ["update", "start"]}
    fleet.console("c", "boots=2")
    fleet.whole()


@pytest.mark.soak
def test_a_server_declared_absent_waits_for_its_end_and_can_come_back(fleet: Fleet) -> None:
    fleet.declare("a", state="stopped")
    fleet.declare("b")
    fleet.reconcile()
    before = fleet.look().server("b")

    fleet.declare("b", state="absent")
    assert fleet.touching("b").all_steps == {"b": ["soft_delete"]}
    (deleted,) = [domain for domain in fleet.look().domains if domain.server == "b"]
    assert (deleted.name, deleted.state, deleted.id) == (f"b.deleted-{before.id[:8]}", "shutoff", before.id)
    assert fleet.reconcile().all_steps == {}

    fleet.declare("b", state="active")
    assert fleet.touching("b").all_steps == {"b": ["restore", "start"]}
    assert fleet.look().server("b").id == before.id
    fleet.console("b", "tick 1")
    fleet.whole()

    fleet.declare("b", state="absent")
    fleet.reconcile()
    # Who wants to keep it locks it, and its end waits.
    fleet.run("action", fleet_server=deleted.name, fleet_action="lock").ok()
    held = fleet.reconcile(fleet_reclaim=0)
    assert (held.all_steps, held.held("b")) == ({}, [("delete", "locked")])
    assert fleet.look().volumes(before.id) != set()
    fleet.run("action", fleet_server=deleted.name, fleet_action="unlock").ok()
    assert fleet.touching("b", fleet_reclaim=0).all_steps == {"b": ["delete"]}
    world = fleet.whole()
    assert world.volumes(before.id) == set()
    assert "b" not in {row.name for row in fleet.snapshot.servers.values()}
    assert fleet.reconcile().changed == 0


@pytest.mark.soak
def test_a_server_that_left_inventory_is_noted_and_pruned_by_leave_alone(fleet: Fleet) -> None:
    fleet.declare("a", "b", state="stopped")
    fleet.reconcile()
    del fleet.servers["b"]
    run = fleet.touching()
    assert "b on " in run.text
    assert "is managed and not in inventory; declare server_state: absent, or run with fleet_prune: true" in run.text

    held = fleet.touching(fleet_prune=True)
    assert "held: soft_delete on " in held.text
    assert "allow it with -e fleet_allow=delete" in held.text

    pruned = fleet.touching("b", fleet_prune=True, fleet_allow="delete")
    assert pruned.all_steps == {"b": ["soft_delete"]}
    assert fleet.look().states == {"a": "shutoff"}
    assert [domain.server for domain in fleet.look().domains if domain.softly_deleted] == ["b"]
