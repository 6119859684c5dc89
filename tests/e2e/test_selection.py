# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server or some; and what looks like a selection and is none."""

from __future__ import annotations

from tests.support.fleet import Fleet


def test_a_selection_reconciles_the_selected_alone(fleet: Fleet) -> None:
    fleet.declare("web1", "web2", "db1", state="stopped")
    assert fleet.reconcile(fleet_servers="web1").all_steps == {"web1": ["create"]}
    assert fleet.look().states == {"web1": "shutoff"}
    assert fleet.touching("db1", fleet_servers="db*").all_steps == {"db1": ["create"]}
    assert fleet.touching("web2").all_steps == {"web2": ["create"]}
    fleet.whole()


def test_a_limit_that_hides_the_hosts_ends_with_the_right_command(fleet: Fleet) -> None:
    fleet.declare("web1", state="stopped")
    for limit in ("web1", "web1:kvm1", "servers"):
        run = fleet.run("reconcile", "-l", limit).failed()
        assert f"-l {limit} hides compute hosts or localhost" in run.stdout
        assert f"-e fleet_servers='{limit}'" in run.stdout
    assert fleet.look().domains == []
    assert not fleet.ledger_file.exists()


def test_an_unknown_variable_is_refused_with_the_nearest_name(fleet: Fleet) -> None:
    fleet.declare("web1", state="stopped")
    run = fleet.run(fleet_server_s="web1").failed()
    assert "fleet_server_s" in run.message
    assert "did you mean 'fleet_servers'?" in run.message
    run = fleet.run(fleet_servers="wbe*").failed()
    assert "wbe*" in run.message
    assert fleet.look().domains == []
    assert not fleet.ledger_file.exists()
