# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts with servers keep their availability zone, whatever inventory says now."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    survey,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    reconcile as draft_of,
)

SERVERS = {f"web{n}": {**WEB, "server_host": "kvm1"} for n in (1, 2)}


def aggregates(**zones: str) -> dict[str, t.Any]:
    """An aggregate for each host, which gives it a zone."""
    return {f"rack-{host}": {"hosts": [host], "metadata": {"availability_zone": zone}} for host, zone in zones.items()}


class Site:
    """A ledger, and hosts of which kvm1 has two servers."""

    def __init__(self, folder: Path) -> None:
        ledger = Ledger.open(f"sqlite:///{folder / 'fleet.db'}", create=True)
        assert ledger is not None
        self.ledger = ledger
        ours = {"ledger_id": ledger.establish("office", "F").ledger_id}
        self.guests = applied(draft_of(fleet(SERVERS), hosts(fleet(SERVERS))))
        self.marks = {
            name: {**survey(name), "marker": {**survey(name)["marker"], **ours}} for name in ("kvm1", "kvm2", "kvm3")
        }

    def run(self, declared: Declared, *, check: bool = False, down: t.Sequence[str] = ()) -> None:
        run_id = None if check else self.ledger.start_run("test")
        surveys = {name: None if name in down else mark for name, mark in self.marks.items()}
        guests = {name: found for name, found in self.guests.items() if name not in down}
        computes = hosts(declared, guests, **surveys)
        try:
            reconcile(declared, computes, Run(self.ledger, run_id, self.ledger.now()), now=self.ledger.now())
        finally:
            if run_id is not None:
                self.ledger.end_run(run_id, "done")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.run(fleet(SERVERS, fleet_aggregates=aggregates(kvm1="east", kvm2="east")))
    return made


MOVED = {
    "aggregate changed": ({"fleet_aggregates": aggregates(kvm1="west", kvm2="east")}, "'west'", "aggregate rack-kvm1"),
    "aggregate gone": ({"fleet_aggregates": aggregates(kvm2="east")}, "'nova'", "nothing gives it another zone"),
    "default zone changed": (
        {"fleet_aggregates": {}, "fleet_scheduler": {"default_availability_zone": "main"}},
        "'main'",
        "nothing gives it another zone",
    ),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("down", [(), ("kvm1",)])
@pytest.mark.parametrize("name", MOVED)
def test_a_host_with_servers_keeps_its_zone(site: Site, name: str, down: tuple[str, ...], check: bool) -> None:
    changes, zone, said_by = MOVED[name]

    with pytest.raises(Conflict) as caught:
        site.run(fleet(SERVERS, **changes), check=check, down=down)

    told = str(caught.value)
    assert told.startswith("One or more hosts contain instances in this zone; no host was touched: kvm1: ")
    assert f"from 'east' to {zone} but the host already has 2 instance(s): web1, web2." in told
    assert said_by in told
    assert "kvm2" not in told  # it has no servers
    site.run(fleet(SERVERS, fleet_aggregates=aggregates(kvm1="east", kvm2="east")))  # as it was


def test_a_host_without_servers_may_change_its_zone_and_keeps_the_new_one_once_it_has_some(site: Site) -> None:
    site.run(fleet(SERVERS, fleet_aggregates=aggregates(kvm1="east", kvm2="west")))
    site.guests["kvm2"] = [site.guests["kvm1"].pop()]

    with pytest.raises(Conflict, match=r"kvm2: .* from 'west' to 'east' but the host already has 1 instance"):
        site.run(fleet(SERVERS, fleet_aggregates=aggregates(kvm1="east", kvm2="east")), check=True)


def test_the_same_zone_given_by_another_is_no_change(site: Site) -> None:
    both = {"all": {"hosts": ["kvm*"], "metadata": {"availability_zone": "east"}}}

    site.run(fleet(SERVERS, fleet_aggregates=both))
