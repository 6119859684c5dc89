# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

import pytest
from tests.support.lab_hosts import Lab
from tests.support.lab_names import lab_name
from tests.support.postgres import PostgreSQL, running_postgresql

LAB_NAME = lab_name("awx")


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    made = Lab(LAB_NAME)
    os.environ.pop("FLOTILLA_LAB", None)  # the runs themselves shall not see it
    try:
        made.up(hosts=3)
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def postgresql() -> t.Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server
