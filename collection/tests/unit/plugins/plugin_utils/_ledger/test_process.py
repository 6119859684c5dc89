# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import is_alive

NOBODY = 2**22 + 1  # above Linux's largest process number


def test_a_process_that_is_there_is_alive() -> None:
    assert is_alive(Controller.here()) is True
    assert is_alive(Controller.here(pid=1)) is True  # somebody else's as a rule


def test_an_ended_one_is_not_as_a_zombie_already() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        controller = Controller.here(pid=child.pid)
        assert is_alive(controller) is True
        child.kill()
        while is_alive(controller):
            pass
        assert is_alive(controller) is False
    assert is_alive(controller) is False


def test_a_later_process_of_the_same_number_is_another() -> None:
    assert is_alive(dataclasses.replace(Controller.here(), pid_started="1")) is False


def test_a_number_alone_tells_only_who_is_not_there() -> None:
    unread = dataclasses.replace(Controller.here(), pid_started="")
    assert is_alive(unread) is None
    assert is_alive(dataclasses.replace(unread, pid=NOBODY)) is False


@pytest.mark.parametrize(
    ("field", "value"), [("hostname", "far"), ("boot_id", "another"), ("pid_namespace", "pid:[1]")]
)
def test_what_is_elsewhere_can_not_be_judged(field: str, value: str) -> None:
    gone = Controller.here(pid=NOBODY)
    assert is_alive(gone) is False
    elsewhere = {**dataclasses.asdict(gone), field: value}
    assert is_alive(Controller(**elsewhere)) is None
