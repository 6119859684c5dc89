# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import is_gone


def test_a_process_that_is_there_is_not_gone() -> None:
    assert not is_gone(Controller.here())
    assert not is_gone(Controller.here(pid=1))  # somebody else's as a rule


def test_an_ended_one_is_gone_as_a_zombie_already() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        controller = Controller.here(pid=child.pid)
        assert not is_gone(controller)
        child.kill()
        while not is_gone(controller):
            pass
    assert is_gone(controller)


def test_a_later_process_of_the_same_number_is_another() -> None:
    assert is_gone(dataclasses.replace(Controller.here(), pid_started="1"))


@pytest.mark.parametrize("elsewhere", [{"hostname": "far"}, {"boot_id": "another"}, {"pid_namespace": "pid:[1]"}])
def test_what_is_elsewhere_can_not_be_judged(elsewhere: dict[str, str]) -> None:
    far = dataclasses.replace(Controller.here(), pid=2**22 + 1)
    assert is_gone(far)
    assert not is_gone(dataclasses.replace(far, **elsewhere))
