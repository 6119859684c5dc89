# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that ask one host together: each has its own answer, whoever asks, and whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import of_server
from ansible_collections.flotilla.compute.plugins.plugin_utils._together import Together, about_to_ask

FORK = multiprocessing.get_context("fork")
LIMIT = 30

Call = t.Callable[[t.Mapping[str, t.Any]], dict[str, t.Any]]


class Asking:
    """Processes that ask, what they were answered, and the calls that were made."""

    def __init__(self, folder: Path, expected: int) -> None:
        self.folder, self.expected = folder, expected
        self.answers: t.Any = FORK.SimpleQueue()
        self.calls: t.Any = FORK.SimpleQueue()
        self.processes: dict[str, t.Any] = {}

    def begin(self, key: str, call: Call | None = None) -> None:
        self.processes[key] = FORK.Process(target=self._ask, args=(key, call or answer))
        self.processes[key].start()

    def _ask(self, key: str, call: Call) -> None:
        def counted(asks: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
            self.calls.put((key, sorted(asks)))
            return call(asks)

        self.answers.put((key, Together(self.folder, self.expected).ask(key, {"of": key}, counted)))

    def end(self) -> dict[str, t.Any]:
        for process in self.processes.values():
            process.join(LIMIT)
            assert not process.is_alive()
        return dict(taken(self.answers))

    def called(self) -> list[tuple[str, list[str]]]:
        return taken(self.calls)

    def wait_until_called(self) -> None:
        deadline = time.monotonic() + LIMIT
        while self.calls.empty():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not list(self.folder.glob(pattern)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def taken(queue: t.Any) -> list[t.Any]:
    found = []
    while not queue.empty():
        found.append(queue.get())
    return found


def answer(asks: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: {"to": ask["of"]} for key, ask in asks.items()}


def hang(_asks: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    signal.pause()
    return {}


def fail(_asks: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    raise SystemExit(3)


def test_those_that_are_expected_ask_in_one_call(tmp_path: Path) -> None:
    asking = Asking(tmp_path / "f", 7)
    names = [f"s{n}" for n in range(7)]
    for name in names:
        asking.begin(name)
    assert asking.end() == {name: {"to": name} for name in names}
    assert [asks for _who, asks in asking.called()] == [names]
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["lock"]


def test_many_are_each_answered_once(tmp_path: Path) -> None:
    asking = Asking(tmp_path / "f", 3)
    names = [f"s{n:02}" for n in range(40)]
    for name in names:
        asking.begin(name)
    assert asking.end() == {name: {"to": name} for name in names}
    assert sorted(name for _who, asks in asking.called() for name in asks) == names


def test_an_answer_that_is_being_taken_away_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is slow just there would have its steps begun a second time, after it was told how they ended."""
    unlink = Path.unlink

    def slowly(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        until = time.monotonic() + 0.2  # no fact can be waited for: what is not to happen would happen meanwhile
        while path.name == "s1.answer" and time.monotonic() < until:
            time.sleep(0.001)

    def when_another_asks(asks: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        asking.wait_for("s2.ask")
        return answer(asks)

    monkeypatch.setattr(Path, "unlink", slowly)
    asking = Asking(tmp_path / "f", 2)
    asking.begin("s1", when_another_asks)
    asking.wait_until_called()
    asking.begin("s2")
    assert asking.end() == {"s1": {"to": "s1"}, "s2": {"to": "s2"}}
    assert asking.called() == [("s1", ["s1"]), ("s2", ["s2"])]


def test_one_that_is_expected_in_vain_is_not_waited_for_long(tmp_path: Path) -> None:
    asking = Asking(tmp_path / "f", 9)
    asking.begin("s1")
    assert asking.end() == {"s1": {"to": "s1"}}


@pytest.mark.parametrize("ending", [fail, hang])
def test_what_one_has_begun_and_not_ended_another_asks_for_again(tmp_path: Path, ending: Call) -> None:
    asking = Asking(tmp_path / "f", 2)
    asking.begin("s1", ending)
    asking.wait_for("s1.ask")
    asking.begin("s2")
    if ending is hang:
        asking.wait_for("s2.ask")
        asking.wait_until_called()
        os.kill(asking.processes["s1"].pid, signal.SIGKILL)
    assert asking.end() == {"s2": {"to": "s2"}}
    # What the dead one had asked for nobody wants any more.
    assert asking.called() == [("s1", ["s1", "s2"]), ("s2", ["s2"])]


@pytest.mark.parametrize(
    ("servers", "of_all", "forks", "slots", "at_once"),
    [(7, 20, 20, 10, 7), (7, 20, 20, 4, 4), (7, 20, 5, 10, 1), (10, 10, 5, 10, 5), (1, 1, 5, 10, 1), (0, 0, 5, 10, 1)],
)
def test_no_more_are_waited_for_than_are_worked_on(
    servers: int, of_all: int, forks: int, slots: int, at_once: int
) -> None:
    assert about_to_ask(servers, of_all, forks=forks, slots=slots) == at_once


def result(server: str, **more: t.Any) -> dict[str, t.Any]:
    return {"kind": "create", "server_id": server, "name": f"web{server}", "changed": True, "message": "done", **more}


def test_one_server_s_failure_is_its_own() -> None:
    broken = result("2", failed=True, changed=False, message="no room")
    outcome = {"changed": True, "failed": True, "msg": "web2: no room", "results": [result("1"), broken]}
    assert of_server(outcome, "1") == {"changed": True, "results": [result("1")], "steps": ["create"]}
    assert of_server(outcome, "2") == {
        "changed": False,
        "results": [broken],
        "steps": ["create"],
        "failed": True,
        "msg": "web2: no room",
    }


def test_a_call_that_failed_as_a_whole_failed_for_each(tmp_path: Path) -> None:
    """Ansible puts an object into such a result, which is nobody's answer."""
    failed = {"failed": True, "msg": "this host is not enrolled", "changed": False}
    outcome = {**failed, "exception": object(), "invocation": {}}
    told = Together(tmp_path / "f", 1).ask("1", {}, lambda asks: {key: of_server(outcome, key) for key in asks})
    assert told == failed


def test_what_does_not_fit_on_the_disk_is_this_server_s_failure_alone(tmp_path: Path) -> None:
    """A file system writes what it has room for, and says so only to who asks."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FlotillaError, match=r"can't be laid down in .* on the controller: File too large"):
            Together(tmp_path / "f", 1).ask("s1", {"drive": "x" * 8192}, answer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "f").iterdir()) == []
