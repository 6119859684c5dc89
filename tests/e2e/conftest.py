# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of three hosts for all tests here; each begins with hosts on which no fleet has ever been."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab, running_lab
from tests.support.lab_names import lab_name
from tests.support.postgres import PostgreSQL, running_postgresql

# Another name, for tests beside these.
LAB_NAME = lab_name("e2e")


@pytest.fixture(scope="session")
def lab() -> t.Iterator[Lab]:
    with running_lab(LAB_NAME) as made:
        yield made


@pytest.fixture
def empty_lab(lab: Lab) -> Lab:
    lab.heal()
    lab.wipe()
    return lab


@pytest.fixture
def fleet(request: pytest.FixtureRequest, empty_lab: Lab, tmp_path: Path) -> Fleet:
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    return Fleet(empty_lab, tmp_path, name)


@pytest.fixture(scope="session")
def postgresql() -> t.Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server
