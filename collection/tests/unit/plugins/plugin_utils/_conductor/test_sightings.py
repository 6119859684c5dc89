# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A play that moves a server twice has surveys of before the first move: no guest runs twice for that."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.sightings import left_since
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
    rows,
    server_row,
)

DECLARED = fleet({"web1": WEB})
HERE, (GUEST,) = next(iter(applied(reconcile(DECLARED, hosts(DECLARED))).items()))
THERE = next(name for name in DECLARED.computes if name != HERE)
SINCE = 100.0


def asked(guest: Guest = GUEST, server: str = "web1", **row: t.Any) -> str | None:
    """Whom to survey again when the server is on HERE, both hosts have a guest, and the ledger wrote the row at 150."""
    computes = hosts(DECLARED, {HERE: [GUEST], THERE: [guest]})
    its = dataclasses.replace(server_row(GUEST, HERE, updated=150.0), **row)
    return left_since(rows(servers={its.id: its}), server, HERE, computes, SINCE)


@pytest.mark.parametrize("server", ["web1", GUEST.id])
def test_a_host_that_it_has_left_after_its_survey_is_named(server: str) -> None:
    assert asked(server=server) == THERE


@pytest.mark.parametrize(
    "row",
    [
        {"updated": SINCE},  # nothing has been done to it since: it does run twice
        {"host": THERE},  # it is there as far as the ledger knows
        {"vm_state": "soft-delete"},
    ],
)
def test_what_the_ledger_does_not_explain_is_a_conflict_as_ever(row: dict[str, t.Any]) -> None:
    assert asked(**row) is None


def test_a_copy_that_is_kept_there_off_is_no_sign_of_an_old_survey() -> None:
    assert asked(dataclasses.replace(GUEST, state="shutoff")) is None


def test_others_and_a_missing_ledger_say_nothing() -> None:
    assert asked(dataclasses.replace(GUEST, id="other")) is None
    assert asked(server="web2") is None
    assert left_since(None, "web1", HERE, hosts(DECLARED, {THERE: [GUEST]}), SINCE) is None
