# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that start by themselves: refused where another host has their disk, too, before anything is done."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import ERROR, ServerEntry
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    survey,
)


def with_pool(name: str, **pool: t.Any) -> dict[str, t.Any]:
    """A host with another pool beside its local one."""
    its = survey(name)
    its["pools"]["vault"] = {**its["pools"]["local"], "id": f"vault-{name}", **pool}
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
