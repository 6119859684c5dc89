# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from tests.support.lab_hosts import Lab, running_lab
from tests.support.lab_names import lab_name
from tests.support.postgres import PostgreSQL, running_postgresql

LAB_NAME = lab_name("awx")


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    with running_lab(LAB_NAME) as made:
        yield made


@pytest.fixture(scope="module")
def postgresql() -> t.Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server
