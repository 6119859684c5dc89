# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that leave a host, or come back to it, where the hosts themselves say what stands against a move."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import moves_text
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_drain import (
    only,
    ways,
    world,
)


def test_who_is_refused_by_a_host_goes_to_another_or_stays() -> None:
    base = world({"web1": {}, "web2": {}})
    first = t.cast(str, ways(base.drain())["web1"][1])
    other = "kvm2" if first == "kvm3" else "kvm3"
    assert ways(base.drain(against={"web1": {first: "its disk is in the way"}}))["web1"] == ("offline", other)
    plan = base.drain(against={"web1": {first: "its disk is in the way", other: "no bridge br7"}})
    assert (ways(plan)["web1"], ways(plan)["web2"][0]) == (("stays", None), "offline")
    (failed,) = plan.failures
    assert f"{first}: its disk is in the way" in failed.message
    assert f"{other}: no bridge br7" in failed.message
    assert any(f"{other}: no bridge br7 (the hosts)" in line for line in moves_text(plan, "Drain of kvm1").splitlines())


def test_what_a_host_refuses_takes_its_group_along() -> None:
    base = world(
        {name: {"server_group": "close"} for name in ("web1", "web2")},
        fleet_server_groups={"close": {"policy": "affinity"}},
    )
    first = t.cast(str, ways(base.drain())["web1"][1])
    other = "kvm2" if first == "kvm3" else "kvm3"
    plan = base.drain(against={"web2": {first: "no"}})
    assert ways(plan) == {"web1": ("offline", other), "web2": ("offline", other)}
    assert {way for way, _to in ways(base.drain(against={"web2": {first: "no", other: "no"}})).values()} == {"stays"}


def test_who_is_refused_on_the_way_back_stays_where_it_is() -> None:
    base = world({"web1": {}})
    (guest,) = base.guests["kvm1"]
    away = dataclasses.replace(guest, record=dataclasses.replace(t.cast(Record, guest.record), host_id="id-kvm2"))
    gone = base._replace(guests={"kvm2": [away]})
    assert ways(gone.undrain([base.id("web1")])) == {"web1": ("offline", "kvm1")}
    entry = only(gone.undrain([base.id("web1")], against={"web1": {"kvm1": "no room"}}))
    assert (entry.way, entry.steps) == ("stays", ())
    assert "kvm1: no room" in entry.message
