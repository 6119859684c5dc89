# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host dies: its servers live again elsewhere, each with what can be kept of it, and when it is back each is there
once."""

from __future__ import annotations

from tests.support.fleet import Fleet
from tests.support.world import World

FENCED = "the test has switched it off"


def copies(world: World, name: str) -> list[tuple[str, str]]:
    return sorted((domain.host, domain.state) for domain in world.domains if domain.server == name)


def test_the_servers_of_a_dead_host_live_again_and_each_of_them_once(fleet: Fleet) -> None:
    fleet.all["fleet_timeout"] = 12
    fleet.declare("kept", "idle", pool="shared")
    fleet.declare("idle", state="stopped")
    fleet.declare("local")
    for host in ("kvm2", "kvm3"):
        fleet.computes[host] = {"compute_state": "disabled"}
    fleet.reconcile()
    for host in ("kvm2", "kvm3"):
        fleet.computes[host] = {}
    before = fleet.look()
    assert set(before.placement.values()) == {"kvm1"}
    fleet.console("kept", "boots=1 ")

    # A host that answers is no dead one; one that doesn't isn't either, until somebody says so.
    assert "Compute service of kvm1 is still in use." in fleet.run("evacuate", fleet_host="kvm1").failed().stdout
    fleet.lab.ok("power", "off", "kvm1")
    assert "unreachable is not dead" in fleet.run("evacuate", fleet_host="kvm1").failed().stdout
    shown = fleet.run("evacuate", "--check", fleet_host="kvm1").civil()
    assert "Evacuation of kvm1: 2 of 3 servers go, 1 held, 0 can't go" in shown.text
    assert "from kvm1: built anew from image tick, what was on its disk root is lost; started" in shown.text
    assert fleet.look().domains == []
    assert [row.host for row in fleet.snapshot.servers.values()] == ["kvm1"] * 3

    run = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED).failed()
    assert run.all_steps == {name: ["evacuate"] for name in ("idle", "kept")}
    assert run.failures == ["local: it was not evacuated; allow it with -e fleet_allow=data_loss"]
    run = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED, fleet_allow="data_loss").ok()
    assert run.all_steps == {"local": ["evacuate"]}
    after = fleet.look()
    assert after.states == {"idle": "shutoff", "kept": "running", "local": "running"}
    assert "kvm1" not in after.placement.values()
    for name, server in after.servers.items():
        assert (server.id, server.addresses) == (before.server(name).id, before.server(name).addresses)
        assert server.record is not None
    fleet.console("kept", "boots=2 ")  # its disk knows that it has run before
    fleet.console("local", "boots=1 ")
    assert fleet.lab.console(after.server("idle").host, before.server("idle").id) == ""  # never started
    rows = {row.server_id: row for row in fleet.ledger.migrations()}
    assert {row.status for row in rows.values()} == {"done"}
    proof = rows[before.server("kept").id].data["proof"]
    assert (proof["kind"], proof["host"], proof["reason"]) == ("operator", "kvm1", FENCED)
    assert fleet.reconcile().all_steps == {}
    assert "0 of 0 servers go" in fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED).ok().text

    # The host is back: nothing starts there by itself, and what is replaced goes.
    fleet.lab.heal()
    assert copies(fleet.look(), "kept") == sorted([("kvm1", "shutoff"), (after.server("kept").host, "running")])
    assert fleet.reconcile().changed > 0
    world = fleet.look()
    assert world.states == after.states
    assert world.placement == after.placement
    assert {row.status for row in fleet.ledger.migrations()} == {"completed"}
    fleet.console("kept", "boots=2 ")
    left = {volume for _pool, volume in world.volumes(before.server("local").id) if volume.endswith("-replaced")}
    assert left, "the local disks of the copy that was replaced should be kept for a while"

    fleet.all["fleet_reclaim"] = 0
    fleet.reconcile()
    assert fleet.reconcile().changed == 0
    fleet.whole()
