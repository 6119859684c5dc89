# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What migrate can't be asked for: each has its sentence, in Nova's words where Nova has them, and no step."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import RUN, World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_moving import only, world
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import survey

__all__ = ["world"]  # a fixture
LOCK = {"lock": {"by": "ann", "reason": "audit"}}


def sentence(world: World, **asked: t.Any) -> str:
    with pytest.raises(FlotillaError) as said:
        world.plan("migrate", **asked)
    return str(said.value)


def in_state(world: World, state: str, **marks: t.Any) -> World:
    world = world.with_record(marks={**world.record.marks, **marks})
    return world._replace(guests={"kvm1": [dataclasses.replace(world.guests["kvm1"][0], state=state)]})


@pytest.mark.parametrize("live", ["true", "false"])
@pytest.mark.parametrize(
    ("state", "marks", "said"),
    [
        ("running", LOCK, "Instance .* is locked"),
        ("running", {"rescue": {"image": {}, "state": "running", "disks": []}}, "while it is in vm_state rescued"),
        ("suspended", {}, "while it is in vm_state suspended"),
    ],
)
def test_a_server_in_such_a_state_is_not_moved(
    world: World, live: str, state: str, marks: dict[str, t.Any], said: str
) -> None:
    word = "os-migrateLive" if live == "true" else "migrate"
    words = sentence(in_state(world, state, **marks), live=live, to="kvm2")
    assert re.search(said, words)
    assert "locked" in words or f"Cannot '{word}' instance" in words


@pytest.mark.parametrize("live", ["auto", "false"])
def test_it_goes_to_no_host_that_nobody_knows_and_not_where_it_is(world: World, live: str) -> None:
    assert "Compute host kvm9 not found. There are: kvm1, kvm2, kvm3" in sentence(world, live=live, to="kvm9")
    assert "Cannot migrate to the host where the server exists." in sentence(world, live=live, to="kvm1")


def test_a_server_that_nobody_knows(world: World) -> None:
    assert "there is no server 'web9'" in sentence(world, server="web9", live="auto")


@pytest.mark.parametrize("live", ["auto", "false"])
def test_a_host_that_is_down_or_in_maintenance_takes_none(world: World, live: str) -> None:
    down = only(world.plan("migrate", live=live, to="kvm2", surveys={"kvm2": None}))
    assert (down.verdict, down.steps, "kvm2" in down.message) == ("no valid host", (), True)
    its = survey("kvm2")
    its["marker"]["service"] = {"state": "maintenance", "reason": "new memory"}
    away = HostRow("kvm2", "id-kvm2", 1, "maintenance", "new memory", 1.0, {})
    known = dataclasses.replace(world.row(), hosts={"kvm2": away})
    kept_out = only(world.plan("migrate", live=live, to="kvm2", surveys={"kvm2": its}, snapshot=known))
    assert (kept_out.verdict, kept_out.steps) == ("no valid host", ())
    assert "maintenance" in kept_out.message


def test_a_shelved_server_is_on_no_host_that_it_could_leave(world: World) -> None:
    shelved = world.with_record(marks={"shelved_offloaded": {"image": {}}})
    gone = shelved._replace(guests={"kvm1": []})
    words = sentence(gone, live="false", snapshot=shelved.row(vm_state="shelved_offloaded"))
    assert "Cannot 'migrate' instance" in words
    assert words.endswith("while it is in vm_state shelved_offloaded")


@pytest.mark.parametrize(("live", "word"), [("true", "os-migrateLive"), ("false", "migrate")])
def test_one_that_is_being_moved_is_left_to_who_moves_it(world: World, live: str, word: str) -> None:
    moving = world.row(task_state="migrating", run_id=RUN.id)
    words = sentence(in_state(world, "running"), live=live, to="kvm2", snapshot=moving)
    assert f"Cannot '{word}' instance {world.record.id} while it is in task_state migrating" in words
    assert "is at work on it; run again when it has ended" in words
