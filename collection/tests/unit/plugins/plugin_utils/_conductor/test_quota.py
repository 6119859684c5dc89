# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Quotas: what is counted, what is refused, in which words; in the plan and under the claim's lock."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.quota import Share, refusals
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import reconcile as run_reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, Ledger, ServerRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.quota import Quota, quota
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    reconcile,
    rows,
    server_row,
)


def share(
    name: str, project: str | None = None, *, cores: int = 2, ram: int = 1024, server_id: str | None = None
) -> Share:
    return Share(name, server_id, project, cores, ram)


def claim(name: str, *, cores: int = 2, ram: int = 1024, project: str | None = None) -> ClaimRow:
    return ClaimRow(name, name, "kvm1", cores, ram, 1, "local", "other", True, 0.0, {}, project)


def refused(given: dict[str, t.Any], wanted: list[Share], *claims: ClaimRow) -> dict[str, str]:
    return refusals(quota(given), rows(claims={one.server_id: one for one in claims}), wanted)


@pytest.mark.parametrize(
    ("given", "wanted", "reasons"),
    [
        ({}, [share("a")], {}),
        ({"instances": 4, "cores": 8, "ram": 4096}, [share("a")], {}),
        ({"instances": -1, "cores": -1, "ram": -1}, [share("a", cores=1000)], {}),
        ({"cores": 5}, [share("a")], {"a": "Quota exceeded for cores: Requested 2, but already used 4 of 5 cores"}),
        (
            {"servers": 2, "cores": 5, "ram": "2GiB"},
            [share("a")],
            {
                "a": "Quota exceeded for cores, instances, ram: Requested 2, 1, 1024, "
                "but already used 4, 2, 2048 of 5, 2, 2048 cores, instances, ram"
            },
        ),
        # Those that fit have their place, in the order given; a smaller one may still fit.
        (
            {"cores": 7},
            [share("a"), share("b"), share("c", cores=1)],
            {"b": "Quota exceeded for cores: Requested 2, but already used 6 of 7 cores"},
        ),
        # By project: one of db's is there.
        ({"per_project": {"instances": 1}}, [share("a", "web"), share("b")], {}),
        (
            {"per_project": {"instances": 1}},
            [share("a", "db")],
            {"a": "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances (project 'db')"},
        ),
        ({"per_project": {"instances": 1}, "projects": {"db": {"instances": 2}}}, [share("a", "db")], {}),
        (
            {"per_project": {"instances": 9, "cores": 3}, "projects": {"db": {"instances": 2}}},
            [share("a", "db")],
            {"a": "Quota exceeded for cores: Requested 2, but already used 2 of 3 cores (project 'db')"},
        ),
        # What is there already asks for no more than its growth, and for none if it stays or shrinks.
        ({"cores": 1}, [share("one", server_id="one")], {}),
        ({"cores": 4}, [share("one", server_id="one", cores=1)], {}),
        (
            {"cores": 4},
            [share("one", server_id="one", cores=3)],
            {"one": "Quota exceeded for cores: Requested 1, but already used 4 of 4 cores"},
        ),
        # A server that comes into a project is wholly new to it.
        (
            {"per_project": {"cores": 3}},
            [share("one", "db", server_id="one")],
            {"one": "Quota exceeded for cores: Requested 2, but already used 2 of 3 cores (project 'db')"},
        ),
    ],
)
def test_what_is_refused(given: dict[str, t.Any], wanted: list[Share], reasons: dict[str, str]) -> None:
    assert refused(given, wanted, claim("one"), claim("two", project="db")) == reasons


def test_what_is_deleted_softly_does_not_count() -> None:
    declared = fleet({"web1": WEB})
    home, (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).items()))
    for vm_state, count in (("active", 1), ("soft-delete", 0)):
        row = server_row(guest, home, vm_state=vm_state)
        assert len(refusals(Quota({"instances": 1}), rows(servers={row.id: row}), [share("a")])) == count


def test_a_plan_refuses_what_would_exceed_a_quota_and_builds_the_rest() -> None:
    servers = {name: {**WEB, "server_project": "acme"} for name in ("web1", "web2")}
    limits = {"per_project": {"ram": "1GiB"}}
    declared = fleet({**servers, "web3": WEB}, fleet_quota=limits)
    plan = entries(claimed(reconcile(declared, hosts(declared))))
    assert {name: entry.verdict for name, entry in plan.items()} == {
        "web1": "change",
        "web2": "error",
        "web3": "change",
    }
    assert plan["web2"].message == (
        "Quota exceeded for ram: Requested 1024, but already used 1024 of 1024 ram (project 'acme')"
    )


def test_two_controllers_cannot_exceed_a_quota_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other claims after this one has made its plan: the check under the lock has the last word."""
    ledger = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert ledger is not None
    here, there = (fleet({name: WEB}, fleet_name="office", fleet_quota={"instances": 1}) for name in ("web1", "web2"))
    ledger.establish("office")
    claims = Ledger.claim
    raced: list[bool] = []

    def race(self: Ledger, *args: t.Any, **options: t.Any) -> t.Any:
        if not raced:
            raced.append(True)
            plan, _fleet = run_reconcile(there, fresh(there), Run(ledger, self.start_run("other"), self.now()), now=1.0)
            assert [entry.verdict for entry in plan.servers] == ["change"]
        return claims(self, *args, **options)

    monkeypatch.setattr(Ledger, "claim", race)
    plan, _fleet = run_reconcile(here, fresh(here), Run(ledger, ledger.start_run("me"), ledger.now()), now=1.0)
    assert [(entry.verdict, entry.message) for entry in plan.servers] == [
        ("error", "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances")
    ]
    assert [row.name for row in ledger.snapshot().servers.values()] == ["web2"]


def fresh(declared: t.Any) -> t.Any:
    """The hosts as before any fleet's first run."""
    found = []
    for compute in hosts(declared):
        survey = {**(compute.survey or {}), "host_id": None, "marker": None}
        found.append(dataclasses.replace(compute, survey=survey))
    return tuple(found)


def test_rows_of_the_ledger_are_read_as_they_are_written() -> None:
    declared = fleet({"web1": {**WEB, "server_project": "acme"}})
    home, (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).items()))
    row: ServerRow = server_row(guest, home)
    wanted = [share("a", "acme", cores=1)]
    reason = refusals(Quota(projects={"acme": {"cores": 1}}), rows(servers={row.id: row}), wanted)["a"]
    assert reason.endswith("already used 1 of 1 cores (project 'acme')")
