# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tasks of one run ask of one host, asked together: one module call for many servers.

Note that this plugin util is **PRIVATE** to the collection.

Ansible has a process for each server, and each would start Python on the host anew, which costs more than most steps
do. So a process lays down what it asks for in a folder of the run, and whoever gets the folder's lock asks for all that
lies there, and lays down the answers. One that dies with the lock has answered nobody: who gets the lock next asks
again, which steps allow (a step that another carries out is waited for, and one that is done is found done).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json

Ask = t.Mapping[str, Json]
Answer = dict[str, Json]

#: Seconds without a newcomer after which those that should come are waited for no longer.
_QUIET = 1.0
_LOOK = 0.03


class Together:
    """The asking of one host; ``expected``: how many processes are about to ask it, this one among them."""

    def __init__(self, folder: Path, expected: int) -> None:
        self._folder = folder
        self._expected = expected

    def ask(self, key: str, ask: Ask, call: t.Callable[[t.Mapping[str, Ask]], t.Mapping[str, Answer]]) -> Answer:
        """The answer to what is asked under *key*, a server's id, be it from one's own call or from another's.

        *call* is given asks by key, this one among them, and gives an answer to each. What it raises is raised here,
        and nobody else hears of it.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        asked, answered = self._folder / f"{key}.ask", self._folder / f"{key}.answer"
        answered.unlink(missing_ok=True)
        with _held_while_asking(asked, ask):
            while not answered.exists():
                with _locked(self._folder / "lock") as mine:
                    if mine and not answered.exists():
                        self._ask_for_all(key, call)
                if not mine:
                    time.sleep(_LOOK)
            text = answered.read_bytes()
        # The ask is gone first: without it nobody takes the missing answer for one that is still to be given.
        answered.unlink()
        answer: Answer = json.loads(text)
        return answer

    def _ask_for_all(self, key: str, call: t.Callable[[t.Mapping[str, Ask]], t.Mapping[str, Answer]]) -> None:
        asks = {name: json.loads(text) for name, text in self._gathered(key).items()}
        answers = call(asks)
        for name in asks:
            _write(self._folder / f"{name}.answer", json.dumps(answers[name]))

    def _gathered(self, own: str) -> dict[str, bytes]:
        """What is asked for, by key, once all that are expected have come, or no more seem to come."""
        found: dict[str, bytes] = {}
        newest = time.monotonic()
        while True:
            for path in self._folder.glob("*.ask"):
                if path.stem in found or path.with_suffix(".answer").exists():
                    continue
                text = path.read_bytes() if path.stem == own else _held(path)
                if text is not None:
                    found[path.stem] = text
                    newest = time.monotonic()
            if len(found) >= self._expected or time.monotonic() > newest + _QUIET:
                return found
            time.sleep(_LOOK)


def about_to_ask(servers: int, of_all: int, *, forks: int, slots: int) -> int:
    """How many of a host's *servers* are worked on at the same time, out of all servers of a run."""
    return max(1, min(servers, slots, forks * servers // max(1, of_all)))


@contextlib.contextmanager
def _held_while_asking(path: Path, ask: Ask) -> t.Iterator[None]:
    """What is asked for is there, and its lock is held, as long as somebody waits for the answer."""
    draft = path.with_suffix(".draft")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            with open(fd, "wb", closefd=False) as file:  # all of it: half of it would fail whoever reads it
                file.write(json.dumps(ask).encode())
            draft.rename(path)
        except OSError as exc:
            raise FlotillaError(
                f"what is to be asked of the host can't be laid down in {str(path.parent)!r} on the controller: "
                f"{exc.strerror}; make room there (local_tmp of ansible.cfg)"
            ) from exc
        yield
    finally:
        path.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)
        os.close(fd)


def _held(path: Path) -> bytes | None:
    """What is asked for, if who asked is still there: one that died, or whose task has timed out, wants nothing."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read()
    return None


@contextlib.contextmanager
def _locked(path: Path) -> t.Iterator[bool]:
    """Whether the lock is ours: who has it is asking."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        mine = True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mine = False
        yield mine
    finally:
        os.close(fd)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".answer-draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.rename(path)


__all__ = ["Ask", "Together", "about_to_ask"]
