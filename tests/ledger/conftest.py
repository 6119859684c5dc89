# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each test here runs on both databases, on a ledger of its own."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tests.support.postgres import PostgreSQL, running_postgresql

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, Ledger


@pytest.fixture(scope="session")
def postgresql() -> t.Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where no ledger is yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/fleet.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def ledger(url: str) -> Ledger:
    """A new ledger with the hosts kvm1 to kvm3."""
    made = Ledger.open(url, create=True)
    assert made is not None
    made.establish("default")
    made.save_survey([HostSeen(f"kvm{number}", f"id-{number}") for number in (1, 2, 3)])
    return made


@pytest.fixture
def run_id(ledger: Ledger) -> str:
    return ledger.start_run("reconcile")
