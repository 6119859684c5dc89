# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules are put together in a process beside the task, which ends with it where the task fails."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import FleetAction


class Action(FleetAction):
    """Puts a module together by writing its name down, or never comes to an end with ``endless``."""

    def __init__(self, folder: Path) -> None:  # Ansible's own wants a task and a connection
        self.folder, self._task_vars = folder, {}

    def perform(self, args: dict[str, t.Any]) -> dict[str, t.Any]:
        return {}

    def _configure_module(self, module_name: str, module_args: t.Any, task_vars: t.Any) -> t.Any:
        if module_name.endswith("broken"):
            raise RuntimeError(module_name)
        (self.folder / module_name).write_text(str(os.getpid()), encoding="ascii")
        while module_name.endswith("endless"):
            time.sleep(0.01)


def written(file: Path) -> int:
    """The process that wrote *file*."""
    until = time.monotonic() + 20
    while not file.exists() or not file.read_text(encoding="ascii"):
        assert time.monotonic() < until, f"{file.name} is not put together"
        time.sleep(0.01)
    return int(file.read_text(encoding="ascii"))


def test_modules_are_put_together_beside_the_task(tmp_path: Path) -> None:
    with Action(tmp_path).putting_together(["one", "two"]):
        beside = written(tmp_path / "flotilla.compute.two")
    assert beside != os.getpid()
    assert written(tmp_path / "flotilla.compute.one") == beside
    assert os.waitpid(beside, 0) == (beside, 0)


def test_one_that_fails_says_nothing_yet(tmp_path: Path) -> None:
    with Action(tmp_path).putting_together(["one", "broken", "two"]):
        beside = written(tmp_path / "flotilla.compute.one")
    assert os.waitpid(beside, 0) == (beside, 0)
    assert not (tmp_path / "flotilla.compute.two").exists()


def test_it_ends_with_a_task_that_fails(tmp_path: Path) -> None:
    def fail() -> t.NoReturn:
        raise ValueError(f"broken inventory, process {written(tmp_path / 'flotilla.compute.endless')}")

    with pytest.raises(ValueError, match="broken inventory") as caught, Action(tmp_path).putting_together(["endless"]):
        fail()
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(caught.value).split()[-1]), 0)
