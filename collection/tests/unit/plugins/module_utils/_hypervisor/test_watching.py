# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers outlive the calls that start them, and are watched by those that follow."""

from __future__ import annotations

import os
import signal
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import became
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Order
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import server_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.watching import Journal, watch

SERVER = "0f8fad5b-d9cb-469f-a165-70867728950e"


def order(migration: str = "m1", seconds: float = 0.2, kind: str = "live_migrate") -> Order:
    return Order(kind, SERVER, "web1", options={"migration": migration, "watch": seconds})


def watched(folder: Path, work: t.Callable[[], dict[str, t.Any]], asked: Order | None = None) -> dict[str, t.Any]:
    return watch(asked or order(), state_dir=str(folder), run_id="run", wait=0, work=work)


def when(there: Path) -> t.Callable[[], dict[str, t.Any]]:
    """Work that ends when a file is there, and says who has done it."""

    def work() -> dict[str, t.Any]:
        Journal.of(str(there.parent), SERVER).write(progress={"percent": 50})
        became(there.exists, within=30)
        return {"message": "done", "pid": os.getpid()}

    return work


def test_work_goes_on_between_calls(tmp_path: Path) -> None:
    done = tmp_path / "done"
    assert watched(tmp_path, when(done)) == {"running": True, "progress": {"percent": 50}}
    # It is no child of this process: who asks again finds it by its journal.
    assert watched(tmp_path, pytest.fail)["running"]
    done.touch()
    result = watched(tmp_path, pytest.fail, order(seconds=30))
    assert (result["message"], result["pid"] != os.getpid()) == ("done", True)
    assert Journal.of(str(tmp_path), SERVER).read() == {}


def test_a_result_comes_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert watched(tmp_path, lambda: {"message": "quick"}, order(seconds=30)) == {"message": "quick"}
    assert time.monotonic() - begin < 10


def test_a_worker_that_was_killed_has_a_successor(tmp_path: Path) -> None:
    assert watched(tmp_path, when(tmp_path / "never"))["running"]
    os.kill(Journal.of(str(tmp_path), SERVER).read()["pid"], signal.SIGKILL)
    said: list[dict[str, t.Any]] = []

    def ended() -> bool:
        said.append(watched(tmp_path, lambda: {"message": "second"}))
        return "running" not in said[-1]

    assert became(ended, within=30)
    assert said[-1] == {"message": "second"}


@pytest.mark.parametrize("failed", [False, True])
def test_the_end_of_a_move_waits_for_the_move_s_own_worker(tmp_path: Path, failed: bool) -> None:
    done, end = tmp_path / "done", order(seconds=30, kind="end_move")
    moved: dict[str, t.Any] = {"message": "moved", **({"failed": True} if failed else {})}

    def move() -> dict[str, t.Any]:
        became(done.exists, within=30)
        return moved

    assert watched(tmp_path, move)["running"]
    assert watched(tmp_path, pytest.fail, order(kind="end_move"))["running"]
    with pytest.raises(InProgress):
        watched(tmp_path, pytest.fail, order("m2", kind="end_move"))
    done.touch()
    assert became(lambda: "result" in Journal.of(str(tmp_path), SERVER).read(), within=30)
    said = watched(tmp_path, lambda: {"message": "looked after it"}, end)
    while "running" in said:
        said = watched(tmp_path, lambda: {"message": "looked after it"}, end)
    assert said["message"] == ("looked after it" if failed else "moved")


def test_who_does_not_get_the_lock_is_told_who_has_it(tmp_path: Path) -> None:
    with (
        server_lock(str(tmp_path), SERVER, run_id="other", step="stop"),
        pytest.raises(InProgress, match="run other"),
    ):
        watched(tmp_path, pytest.fail)


def test_a_worker_s_fault_is_told(tmp_path: Path) -> None:
    def work() -> dict[str, t.Any]:
        raise ValueError("a bug")

    said = watched(tmp_path, work, order(seconds=30))
    assert (said["failed"], said["message"]) == (True, "its worker failed: ValueError('a bug')")
