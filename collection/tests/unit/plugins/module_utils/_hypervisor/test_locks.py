# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InProgress
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import held, server_lock

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"
OTHER = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a02"


def _hold(state_dir: str, parent: t.Any) -> None:
    with server_lock(state_dir, ID, run_id="run-1", step="create"):
        parent.send("held")
        parent.poll(20)


@pytest.fixture
def holder(tmp_path: Path) -> t.Iterator[t.Any]:
    """Another process that holds ID's lock until it is told to let go.

    By a pipe: an Event whose waiter was killed keeps the one who sets it waiting for ever.
    """
    context: t.Any = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(str(tmp_path), theirs))
    process.start()
    assert mine.poll(20)
    assert mine.recv() == "held"
    process.let_go = lambda: mine.send("go")
    yield process
    with contextlib.suppress(OSError):
        process.let_go()
    process.join(20)


def test_a_free_lock_is_taken_and_leaves_no_file(tmp_path: Path) -> None:
    with server_lock(str(tmp_path), ID, run_id="run-1", step="create"):
        assert [entry["server_id"] for entry in held(str(tmp_path))] == [ID]
    assert held(str(tmp_path)) == []
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_held_lock_says_who_does_what_since_when(tmp_path: Path, holder: t.Any) -> None:
    with pytest.raises(InProgress) as caught, server_lock(str(tmp_path), ID, run_id="run-2", step="stop"):
        pass
    [entry] = held(str(tmp_path))
    assert entry["run_id"] == "run-1"
    assert entry["step"] == "create"
    assert str(caught.value) == (
        f"server {ID} is being worked on by run run-1 (step create, since {entry['since']}); "
        "wait for that to end, then run again"
    )


def test_another_server_is_not_locked(tmp_path: Path, holder: t.Any) -> None:
    with server_lock(str(tmp_path), OTHER, run_id="run-2", step="stop"):
        assert [entry["server_id"] for entry in held(str(tmp_path))] == [ID, OTHER]


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path, holder: t.Any) -> None:
    threading.Timer(0.5, holder.let_go).start()
    with server_lock(str(tmp_path), ID, run_id="run-2", step="stop", wait=20):
        [entry] = held(str(tmp_path))
    assert entry["run_id"] == "run-2"


def test_waiting_has_an_end(tmp_path: Path, holder: t.Any) -> None:
    with (
        pytest.raises(InProgress, match=r"still was after 0\.4 s"),
        server_lock(str(tmp_path), ID, run_id="run-2", step="stop", wait=0.4),
    ):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path, holder: t.Any) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(20)
    assert held(str(tmp_path)) == []
    with server_lock(str(tmp_path), ID, run_id="run-2", step="stop"):
        assert held(str(tmp_path))[0]["run_id"] == "run-2"


def test_a_look_never_keeps_a_step_from_its_lock(tmp_path: Path) -> None:
    """A survey that looks at the very moment does not make a step fail."""
    (tmp_path / "locks").mkdir()
    path = tmp_path / "locks" / ID
    path.touch()
    look = os.open(path, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [look]).start()
    with server_lock(str(tmp_path), ID, run_id="run-1", step="create"):
        assert len(held(str(tmp_path))) == 1


def test_a_holder_that_has_not_yet_said_who_it_is_is_one(tmp_path: Path) -> None:
    with server_lock(str(tmp_path), ID, run_id="run-1", step="create"):
        (tmp_path / "locks" / ID).write_text("")
        assert held(str(tmp_path)) == [{"server_id": ID, "run_id": "", "step": "", "since": ""}]


def _count(state_dir: str, rounds: int) -> None:
    """Read, wait, write: loses counts where two do it at once."""
    number = Path(state_dir, "number")
    for _round in range(rounds):
        with server_lock(state_dir, ID, run_id="run", step="count", wait=60):
            value = int(number.read_text())
            time.sleep(0.001)
            number.write_text(str(value + 1))


def test_of_many_one_at_a_time(tmp_path: Path) -> None:
    """Files are removed while others wait for them: nobody may hold a lock on a file that is gone."""
    (tmp_path / "number").write_text("0")
    context: t.Any = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(str(tmp_path), 8)) for _worker in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert (tmp_path / "number").read_text() == "24"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x\0"])
def test_a_name_can_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(FlotillaError, match="can't name a lock"), server_lock(str(tmp_path), name, run_id="", step=""):
        pass


def test_the_files_are_for_root_alone(tmp_path: Path) -> None:
    with server_lock(str(tmp_path / "state"), ID, run_id="run-1", step="create"):
        path = tmp_path / "state" / "locks" / ID
        assert json.loads(path.read_text())["run_id"] == "run-1"
        assert [oct(each.stat().st_mode & 0o777) for each in (path, path.parent, path.parent.parent)] == [
            "0o600",
            "0o700",
            "0o700",
        ]
