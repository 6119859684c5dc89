# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts are asked once for each server and destination, and what they say is found again."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.drain import Drain
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._heard import Heard, module_args, said
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_drain import (
    World,
    fleet,
    world,
)

FLEET = FleetRow("L", "F", "main")
BASE = world({"web1": {}, "web2": {}})


def proposed(base: World, heard: Heard) -> Plan:
    """As a checked run plans: nothing is claimed."""
    draft = Drain(base.situation(), "kvm1", heard.against)
    draft.schedule()
    return draft.plan()


def answered(ask: t.Any, **against: str) -> dict[str, t.Any]:
    results = [
        {
            "name": step["name"],
            "failed": step["name"] in against,
            "message": f"{step['name']}: {against[step['name']]}" if step["name"] in against else "",
            "told": {"checks": [{"check": "disks", "against": []}]},
        }
        for step in ask["steps"]
    ]
    return {"host": ask["host"], "said": said(ask, results)}


def test_each_host_is_asked_in_one_call_about_all_that_leave_it() -> None:
    (ask,) = Heard().questions(proposed(BASE, Heard()), BASE.declared, FLEET)
    assert ask["host"] == "kvm1"
    assert sorted(ask["to"]) == ["web1", "web2"]
    args = module_args(ask)
    assert [step["kind"] for step in args["steps"]] == ["migrate", "migrate"]
    assert (args["name"], args["fleet_id"]) == ("web1, web2", "F")


def test_servers_that_inventory_has_not_are_asked_about_too() -> None:
    bare = BASE._replace(declared=fleet({}))
    (ask,) = Heard().questions(proposed(bare, Heard()), bare.declared, FLEET)
    assert sorted(ask["to"]) == ["web1", "web2"]


def test_only_who_was_refused_is_asked_about_again_until_no_host_is_left() -> None:
    heard, asked = Heard(), []
    while ask := heard.questions(proposed(BASE, heard), BASE.declared, FLEET):
        asked.append(ask[0]["to"])
        heard = Heard(heard.to_json())  # as it travels from task to task
        heard.hear([answered(ask[0], web2="its name is taken")])
    assert sorted(asked[0]) == ["web1", "web2"]
    moves = [move for to in asked for move in to.items()]
    assert len(moves) == len(set(moves))
    assert {host for name, host in moves if name == "web2"} == {"kvm2", "kvm3"}
    assert heard.against == {"web2": dict.fromkeys(("kvm2", "kvm3"), "its name is taken")}
    plan = proposed(BASE, heard)
    assert {entry.name: entry.way for entry in plan.servers} == {"web1": "offline", "web2": "stays"}
    result = plan_result(plan, BASE.declared, run_id=None, fleet=FLEET)
    heard.tell(result)
    assert result["servers"]["web1"]["looked"] == [{"check": "disks", "against": []}]
    assert "looked" not in result["servers"]["web2"]


def test_a_host_that_gives_no_answer_ends_the_run() -> None:
    words = "kvm1 could not be asked what stands against moving its servers, and none was moved: no route to host"
    with pytest.raises(FlotillaError, match=words):
        Heard().hear([{"host": "kvm1", "silent": "no route to host"}])
