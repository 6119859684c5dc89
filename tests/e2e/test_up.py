# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's own inventory: six servers come up, and a second run finds nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.runs import ROOT
from tests.support.world import leftovers

SERVERS = ["batch1", "db1", "db2", "web1", "web2", "web3"]


@pytest.mark.soak
def test_six_servers_come_up_and_a_second_run_changes_nothing(fleet: Fleet) -> None:
    fleet.source = ROOT / "inventories" / "lab"
    fleet.ledger_file = Path(fleet.lab.facts["folder"]) / "fleet.db"
    fleet.ledger_url = f"sqlite:///{fleet.ledger_file}"
    for file in fleet.ledger_file.parent.glob("fleet.db*"):
        file.unlink()
    fleet.env = {"FLOTILLA_LAB": fleet.lab.name}

    first = fleet.reconcile()
    assert first.all_steps == {name: ["create", "start"] for name in SERVERS}
    world = fleet.look()
    assert leftovers(world, fleet.snapshot, dict.fromkeys(SERVERS, "active"), fleet.ledger.catalog("image")) == []
    assert len({world.placement[name] for name in ("web1", "web2", "web3")}) == 3
    for name, server in world.servers.items():
        said = fleet.console(name, "tick 2")
        assert f"flotilla-guest hostname={name} address={server.addresses[0]}/24 instance={server.id}" in said
    assert "flotilla-guest meta role=batch" in fleet.console("batch1", "tick 2")

    before = fleet.look()
    second = fleet.reconcile()
    assert (second.changed, second.all_steps, second.plan["act_hosts"]) == (0, {}, [])
    assert "0 to create, 0 to change, 0 to delete, 0 held, 6 as declared; 3 of 3 hosts up" in second.text
    assert fleet.look().but() == before.but()

    status = fleet.run("status").ok()
    assert status.changed == 0
    table = [line.split() for line in status.stdout.splitlines() if line.startswith(("SERVER", *SERVERS))]
    assert table[0] == ["SERVER", "STATUS", "HOST", "FLAVOR", "ADDRESSES", "SINCE"]
    assert [row[:5] for row in table[1:]] == [
        [
            name,
            "ACTIVE",
            server.host,
            "m1.small" if name.startswith("db") else "m1.tiny",
            f"lan={server.addresses[0]}",
        ]
        for name, server in sorted(world.servers.items())
    ]
