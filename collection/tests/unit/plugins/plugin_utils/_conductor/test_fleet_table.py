# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables that status shows: servers with what is at work on them, and one server's history."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.modules.server_info import RETURN
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import (
    fleet_rows,
    history_rows,
    history_text,
    migration_rows,
    status_rows,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claim, Ledger, ServerRow, Snapshot
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
    rows,
)


@pytest.mark.parametrize(
    ("state", "task", "shown"),
    [
        ("running", None, "ACTIVE"),
        ("running", "rebooting", "REBOOT"),
        ("running", "updating_password", "PASSWORD"),
        ("shutoff", None, "SHUTOFF"),
        ("shutoff", "powering-on", "SHUTOFF"),
        ("suspended", None, "SUSPENDED"),
    ],
)
def test_the_status_is_novas_from_the_host_and_from_the_ledger(state: str, task: str | None, shown: str) -> None:
    declared = fleet({"web1": WEB})
    guests = applied(reconcile(declared, hosts(declared)), state)
    host, (guest,) = next(iter(guests.items()))
    assert guest.record is not None
    vm_state = {"running": "active", "shutoff": "stopped"}.get(state, state)
    row = ServerRow(guest.id, "web1", host, guest.record.dumps(), 1, vm_state, task, 1, None, None, 1.0, 2.0)
    snapshot = rows(servers={guest.id: row})
    (seen,) = status_rows(declared, hosts(declared, guests), snapshot)
    assert (seen.server, seen.status, seen.host, seen.since) == ("web1", shown, host, 2.0)
    (remembered,) = fleet_rows(snapshot, ["web1"])
    assert remembered.status == shown
    (away,) = fleet_rows(snapshot, ["web1"], down=[host])
    assert away.status == "UNKNOWN"


@pytest.mark.parametrize("order", [1, -1])
def test_a_deleted_server_is_shown_beside_the_one_that_has_its_name_now(order: int) -> None:
    declared = fleet({"web1": WEB})
    host, (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).items()))
    record = guest.record
    assert record is not None
    old = dataclasses.replace(record, id="0f8fad5b-0000-4000-8000-000000000000", marks={"soft_delete": {"at": 1.0}})
    deleted = dataclasses.replace(guest, id=old.id, record=old, state="shutoff")
    both = {host: [deleted, guest][::order]}
    known = [
        ServerRow(its.id, "web1", host, its.dumps(), 1, state, None, 1, None, None, 1.0, since)
        for its, state, since in ((old, "soft-delete", 2.0), (record, "active", 3.0))
    ]
    snapshot = rows(servers={row.id: row for row in known[::order]})
    gone = "web1.deleted-0f8fad5b"
    for shown in (
        status_rows(declared, hosts(declared, both), snapshot),
        fleet_rows(snapshot, ["web1"]),
        # Nobody has told the ledger yet that the first one is deleted.
        status_rows(
            declared, hosts(declared, both), rows(servers={old.id: dataclasses.replace(known[0], vm_state="active")})
        ),
    ):
        assert [(row.server, row.status) for row in shown] == [("web1", "ACTIVE"), (gone, "SOFT_DELETED")]
    away = dataclasses.replace(known[0], host="kvm9")
    shown = fleet_rows(rows(servers={row.id: row for row in (away, known[1])[::order]}), ["web1"], down=["kvm9"])
    assert [(row.server, row.status) for row in shown] == [("web1", "ACTIVE"), (gone, "UNKNOWN")]
    # As long as nobody has its name it is known by that.
    alone = status_rows(declared, hosts(declared, {host: [deleted]}), rows(servers={old.id: known[0]}))
    assert [(row.server, row.status, row.since) for row in alone] == [("web1", "SOFT_DELETED", 2.0)]
    twice = [dataclasses.replace(known[0], id=f"{digit}{old.id[1:]}") for digit in "12"]
    assert [row.server for row in fleet_rows(rows(servers={row.id: row for row in twice}), ["web1"])] == [
        "web1",  # absent
        "web1.deleted-1f8fad5b",
        "web1.deleted-2f8fad5b",
    ]


def test_a_servers_history_outlives_it_and_says_who_did_what(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert ledger is not None
    ledger.establish("office")
    run = ledger.start_run("Action")
    won = ledger.claim(run, [Claim(None, "web1", "kvm1", 1, 1, 1)]).won["web1"]
    ledger.begin_task(run, won.server_id, "spawning", action="create")
    ledger.fail(run, won.server_id, "no space\nleft")
    ledger.begin_task(run, won.server_id, "deleting", action="delete")
    ledger.finish(run, won.server_id, record=None, message="delete")
    by_name, by_id = (history_rows(ledger.history(server)) for server in ("web1", won.server_id))
    assert by_name == by_id
    assert [(row["action"], row["result"], row["host"], row["message"]) for row in by_name] == [
        ("create", "Error", "kvm1", "no space\nleft"),
        ("delete", "Success", "kvm1", "delete"),
    ]
    user = ledger.live_runs()[run].user
    assert {row["by"].partition("@")[0] for row in by_name} == {user}
    lines = history_text(by_name).splitlines()
    assert lines[0].split() == ["ACTION", "START", "END", "RESULT", "HOST", "BY", "MESSAGE"]
    assert lines[1].endswith("no space left")
    assert history_rows(ledger.history("web2")) == []
    going_on = [dataclasses.replace(ledger.history("web1")[0][0], ended=None, result=None, message=None)]
    assert "in progress" in history_text(history_rows([(action, None) for action in going_on]))


def test_a_migration_that_came_to_nothing_is_shown_with_its_cause(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert ledger is not None
    ledger.establish("office")
    run = ledger.start_run("Migrate")
    for number, (status, cause) in enumerate((("failed", "no room"), ("migrating", None))):
        ends = {"source": "kvm1", "destination": "kvm2", "status": status}
        ledger.note_migration(run, f"m{number}", "migration", "id-1", **ends, cause=cause, new_flavor="large")
    first, second = migration_rows(ledger.migrations("id-1"))
    (row, _second) = ledger.migrations("id-1")
    assert first == {
        "id": "m0",
        "type": "migration",
        "source": "kvm1",
        "destination": "kvm2",
        "status": "failed",
        "cause": "no room",
        "run_id": run,
        "created": row.created,
        "updated": row.updated,
    }
    assert (second["status"], second["cause"]) == ("migrating", None)
    sample = yaml.safe_load(RETURN)["servers"]["contains"]["migrations"]
    assert set(first) == set(sample["contains"]) == set(sample["sample"][0])


def test_an_empty_fleet_has_no_rows() -> None:
    nothing: Snapshot | None = None
    assert fleet_rows(nothing, []) == []
    assert [row.status for row in fleet_rows(nothing, ["web1"])] == ["ABSENT"]
