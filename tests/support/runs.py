# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of ansible-playbook through ansible-runner, and what they said."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
import typing as t
from pathlib import Path

import ansible_runner

ROOT = Path(__file__).resolve().parents[2]
#: Nothing that a test waits for in one run takes longer.
_LIMIT = 240
EVACUATES = "Prove that the host is dead, and plan where its servers go"
_DONE = frozenset({"runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped"})
_TRACES = ("Traceback (most recent call last)", "Unexpected Exception", "unhandled exception", "MODULE FAILURE")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has ended."""

    rc: int
    stdout: str
    events: list[dict[str, t.Any]]
    seconds: float

    def __str__(self) -> str:
        return f"rc {self.rc}, {self.seconds:.1f} s\n{self.stdout}"

    @property
    def changed(self) -> int:
        """Over all hosts, as the recap counts."""
        return sum(self.stats.get("changed", {}).values())

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        found = [event["event_data"] for event in self.events if event["event"] == "playbook_on_stats"]
        return found[-1] if found else {}

    def results(self, task: str) -> dict[str, dict[str, t.Any]]:
        """What a task has given, by host."""
        return {
            event["event_data"]["host"]: event["event_data"]["res"]
            for event in self.events
            if event["event"] in _DONE and event["event_data"].get("task") == task
        }

    @property
    def plan(self) -> dict[str, t.Any]:
        """The plan, as registered."""
        for task in ("Plan what is to be done", "Plan what would be done", EVACUATES):
            found = self.results(task)
            if found:
                return found["localhost"]
        raise AssertionError(f"the run has made no plan: {self}")

    @property
    def text(self) -> str:
        return str(self.plan["text"])

    def steps(self, name: str) -> list[str]:
        """The kinds of a server's planned steps."""
        entry = self.plan["servers"].get(name)
        return [step["kind"] for step in entry["steps"]] if entry else []

    @property
    def all_steps(self) -> dict[str, list[str]]:
        """Every server with steps, those that inventory doesn't name too."""
        found = {name: self.steps(name) for name in self.plan["servers"] if self.steps(name)}
        for host in self.plan["hosts"].values():
            for entry in host["servers"]:
                # What was deleted softly bears its id beside its name, until it is gone.
                found[entry["name"].partition(".deleted-")[0]] = [step["kind"] for step in entry["steps"]]
        return found

    def held(self, name: str) -> list[tuple[str, str]]:
        """A server's held steps with the flag that would allow each."""
        entry = self.plan["servers"].get(name)
        return [(step["kind"], step["flag"]) for step in entry["held"]] if entry else []

    @property
    def verdict(self) -> dict[str, t.Any]:
        found = self.results("Show the fleet, and fail if something is not as declared")
        assert found, f"the run has come to no verdict: {self}"
        return found["localhost"]

    @property
    def failures(self) -> list[str]:
        return list(self.verdict.get("failures", []))

    @property
    def message(self) -> str:
        """The words of the tasks that failed for good."""
        words = [
            str(event["event_data"]["res"].get("msg", ""))
            for event in self.events
            if event["event"] in ("runner_on_failed", "runner_on_unreachable")
            and not event["event_data"].get("ignore_errors")
        ]
        return "\n".join(words)

    def ok(self) -> Run:
        """This run, if it ended well."""
        assert self.rc == 0, str(self)
        return self.civil()

    def failed(self) -> Run:
        """This run, if it ended badly as a user may see it: with words."""
        assert self.rc != 0, str(self)
        return self.civil()

    def civil(self) -> Run:
        traces = [trace for trace in _TRACES if trace in self.stdout]
        assert not traces, f"{traces} in the output: {self}"
        return self


class Running:
    """A run that goes on beside the test. ``on_event`` is called with each of its events."""

    def __init__(
        self,
        private: Path,
        playbook: str | Path,
        *,
        inventory: str | Path,
        arguments: t.Sequence[str] = (),
        extra: t.Mapping[str, t.Any] | None = None,
        env: t.Mapping[str, str] | None = None,
        on_event: t.Callable[[dict[str, t.Any]], None] | None = None,
    ) -> None:
        self.events: list[dict[str, t.Any]] = []
        self._on_event = on_event
        self._started = time.monotonic()
        self._ended = 0.0
        private.mkdir(parents=True)
        self._thread, self._runner = ansible_runner.run_async(
            private_data_dir=str(private),
            playbook=str(playbook),
            inventory=str(inventory),
            cmdline=" ".join(["--forks 10", *arguments]),
            extravars=dict(extra or {}),
            envvars=_environment(env or {}),
            settings={"job_timeout": _LIMIT, "suppress_env_files": True},
            quiet=True,
            cancel_callback=lambda: False,  # or ansible-runner takes SIGINT and SIGTERM for itself
            event_handler=self._handle,
            finished_callback=self._finish,
        )

    def _handle(self, event: dict[str, t.Any]) -> bool:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)
        return True

    def _finish(self, _runner: t.Any) -> None:
        self._ended = time.monotonic()

    @property
    def alive(self) -> bool:
        return bool(self._thread.is_alive())

    @property
    def pid(self) -> int | None:
        """ansible-playbook's own process, once it has said something."""
        return next((event["pid"] for event in self.events if event.get("pid")), None)

    def wait(self) -> Run:
        self._thread.join(_LIMIT + 10)
        assert not self.alive, f"the run doesn't end; so far: {[event['stdout'] for event in self.events]}"
        stdout = self._runner.stdout.read()
        rc = self._runner.rc if self._runner.rc is not None else -1
        return Run(rc, stdout, self.events, self._ended - self._started)

    def kill(self) -> None:
        """kill -9 of ansible-playbook and all that it has started; what runs on the hosts goes on there."""
        if self.pid is not None:
            kill_tree(self.pid)


def kill_tree(pid: int) -> None:
    """The process is stopped first, so that it can't start more while its children are gathered."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in [pid, *_descendants(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def _environment(more: t.Mapping[str, str]) -> dict[str, str]:
    """Ansible as the checkout has it; ansible-runner adds the rest of this process's environment."""
    inherited = [key for key in os.environ if key.startswith(("ANSIBLE_", "FLOTILLA_"))]
    assert not inherited, f"the environment has {', '.join(inherited)}, which would change what the tests see: unset it"
    return {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        **more,
    }


def both(*running: Running) -> list[Run]:
    """The runs, when all of them have ended."""
    return [each.wait() for each in running]


class KillAt:
    """An event handler that kills its run when the *count*-th event that *wanted* accepts comes by."""

    def __init__(self, count: int, wanted: t.Callable[[dict[str, t.Any]], bool]) -> None:
        self._left = count
        self._wanted = wanted
        self.killed = threading.Event()

    def __call__(self, event: dict[str, t.Any]) -> None:
        if self.killed.is_set() or not self._wanted(event) or not event.get("pid"):
            return
        self._left -= 1
        if self._left <= 0:
            self.killed.set()
            kill_tree(event["pid"])
