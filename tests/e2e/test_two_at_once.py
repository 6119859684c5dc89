# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers at once on one fleet, on both databases: no server twice, no host overbooked."""

from __future__ import annotations

import collections

import pytest
from tests.support.fleet import Fleet
from tests.support.postgres import PostgreSQL
from tests.support.runs import both


@pytest.fixture(params=["sqlite", "postgresql"])
def fleet_at(request: pytest.FixtureRequest, fleet: Fleet) -> Fleet:
    """A fleet whose three hosts have room for two servers each."""
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        fleet.ledger_url = server.new_database()
        fleet.all["fleet_ledger"] = fleet.ledger_url
    fleet.compute_defaults = {"compute_allocation_ratio": {"vcpus": 1.0}}
    return fleet


def test_two_runs_at_once_build_each_server_once(fleet_at: Fleet) -> None:
    fleet = fleet_at
    fleet.declare("a", "b", "c", "d", state="stopped")
    for run in both(fleet.start(), fleet.start(write=False)):
        run.civil()
        assert run.rc == 0 or "at work" in run.stdout, str(run)
    assert sorted(fleet.look().servers) == ["a", "b", "c", "d"]
    assert fleet.reconcile().all_steps == {}
    fleet.whole()


@pytest.mark.soak
def test_two_runs_at_once_for_different_servers_overbook_no_host(fleet_at: Fleet) -> None:
    fleet = fleet_at
    fleet.declare("s1", "s2", "s3", "t1", "t2", "t3", "t4", state="stopped")
    runs = both(fleet.start(fleet_servers="s*"), fleet.start(write=False, fleet_servers="t*"))
    world = fleet.look()
    crowd = collections.Counter(world.placement.values())
    assert crowd == {"kvm1": 2, "kvm2": 2, "kvm3": 2}
    assert len({address for server in world.servers.values() for address in server.addresses}) == 6
    (refused,) = [cause for run in runs for cause in run.civil().failures]
    assert "No valid host was found" in refused
    assert len([run for run in runs if run.rc == 0]) == 1
    left_out = refused.partition(":")[0]
    assert left_out not in world.servers
    del fleet.servers[left_out]
    assert fleet.reconcile().all_steps == {}
    fleet.whole()
