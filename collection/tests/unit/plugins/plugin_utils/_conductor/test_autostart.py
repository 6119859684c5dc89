# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that start by themselves: refused where another host has their disk, too, before anything is done."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import ERROR, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    rows,
    survey,
)


def with_pool(name: str, **pool: t.Any) -> dict[str, t.Any]:
    """A host with another pool beside its local one."""
    its = survey(name)
    its["pools"]["vault"] = {**its["pools"]["local"], "id": f"vault-{name}", **pool}
    return its


def unmarked(name: str) -> dict[str, t.Any]:
    """A host on which no run has been yet."""
    its = survey(name, marked=False)
    its["pools"]["local"]["volumes_total"] = 0
    return its


def planned(web: dict[str, t.Any], *, made: bool, **pool: t.Any) -> ServerEntry:
    """The entry of a server that is to be made, or is there."""
    declared = fleet({"web1": {**WEB, "server_host": "kvm1", **web}})
    surveys = {name: with_pool(name, **pool) for name in ("kvm1", "kvm2")}
    guests = None
    if made:
        before = fleet(
            {"web1": {**WEB, "server_host": "kvm1", **web, "server_autostart": False, "server_state": "active"}}
        )
        guests = applied(reconcile(before, hosts(before, **surveys)))
    return entries(reconcile(declared, hosts(declared, guests, **surveys)).plan())["web1"]


ASKED = {"server_autostart": True, "server_pool": "vault"}


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"id": "one-and-the-same"}, "kvm2 has pool 'vault' of kvm1, too: a host that comes back"),
        ({"type": "netfs"}, "pool 'vault' of kvm1 is of type netfs"),
    ],
)
def test_on_a_disk_that_other_hosts_have_it_is_refused(made: bool, pool: dict[str, t.Any], words: str) -> None:
    entry = planned(ASKED, made=made, **pool)
    assert (entry.verdict, entry.steps) == (ERROR, ())
    assert words in entry.message
    assert "leave it out, or name a local pool (server_pool)" in entry.message


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize(
    ("web", "pool"),
    [
        (ASKED, {}),
        ({"server_autostart": True}, {"id": "one-and-the-same"}),
        ({"server_pool": "vault"}, {"id": "one-and-the-same"}),
        ({**ASKED, "server_state": "absent"}, {"id": "one-and-the-same"}),
    ],
    ids=["a pool of its own", "another pool than the shared one", "doesn't ask for it", "is to go"],
)
def test_elsewhere_it_is_as_declared(web: dict[str, t.Any], pool: dict[str, t.Any], made: bool) -> None:
    assert planned(web, made=made, **pool).verdict != ERROR


def test_one_that_may_come_to_any_host_is_refused_for_each_of_them() -> None:
    declared = fleet({"web1": {**WEB, **ASKED}})
    surveys = {name: with_pool(name, id="one-and-the-same") for name in ("kvm2", "kvm3")}
    entry = entries(reconcile(declared, hosts(declared, **surveys)).plan())["web1"]
    assert (entry.verdict, kinds(entry)) == (ERROR, [])
    assert "kvm3 has pool 'vault' of kvm2, too" in entry.message


def test_a_host_that_is_down_counts_by_what_the_ledger_knows_of_its_pools() -> None:
    declared = fleet({"web1": {**WEB, **ASKED, "server_host": "kvm2"}})
    computes = hosts(declared, kvm2=with_pool("kvm2", id="one-and-the-same"), kvm3=None)
    assert kinds(entries(reconcile(declared, computes).plan())["web1"]) == ["create", "update", "start"]
    knows = HostRow("kvm3", "id-kvm3", 1, "enabled", None, 1.0, {"pools": ["other", "one-and-the-same"]})
    entry = entries(reconcile(declared, computes, rows(hosts={"kvm3": knows})).plan())["web1"]
    assert (entry.verdict, kinds(entry)) == (ERROR, [])
    assert "kvm3 has pool 'vault' of kvm2, too" in entry.message


def test_before_pools_are_marked_it_is_built_and_starts_by_itself_from_the_next_run_on() -> None:
    declared = fleet({"web1": {**WEB, "server_autostart": True, "server_host": "kvm1"}})
    fresh = {name: unmarked(name) for name in ("kvm1", "kvm2", "kvm3")}
    first = reconcile(declared, hosts(declared, **fresh))
    entry = entries(first.plan())["web1"]
    assert kinds(entry) == ["create", "start"]
    assert first.plan().notes[0].startswith("web1: server_autostart waits for the next run; which hosts share a pool")
    (guest,) = applied(first)["kvm1"]
    assert guest.record is not None
    assert not guest.record.spec["autostart"]
    guest = dataclasses.replace(guest, record=dataclasses.replace(guest.record, host_id="id-kvm1"))

    shared = {name: survey(name) for name in ("kvm1", "kvm2", "kvm3")}
    second = reconcile(declared, hosts(declared, {"kvm1": [guest]}, **shared)).plan()
    assert (kinds(entries(second)["web1"]), second.notes) == (["update"], ())
    shared["kvm2"]["pools"]["local"]["id"] = "pool-kvm1"
    assert entries(reconcile(declared, hosts(declared, {"kvm1": [guest]}, **shared)).plan())["web1"].verdict == ERROR


@pytest.mark.parametrize("others", [{"kvm2": None, "kvm3": None}, {}], ids=["alone", "beside hosts with marks"])
def test_a_host_whose_pool_no_other_can_have_says_so_at_once(others: dict[str, None]) -> None:
    declared = fleet({"web1": {**WEB, "server_autostart": True, "server_host": "kvm1"}})
    plan = reconcile(declared, hosts(declared, kvm1=unmarked("kvm1"), **others)).plan()
    assert (kinds(entries(plan)["web1"]), plan.notes) == (["create", "update", "start"], ())
