# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes by their own pid, told from later ones that were given the same number."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from .errors import LabError

GONE_TIMEOUT = 20.0


def start_time(pid: int) -> str | None:
    """The process's start in clock ticks since the machine's; None when there is no such process."""
    try:
        # The command's name, in brackets, may hold anything: fields are counted from its end.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def write_pid_file(file: Path, pid: int) -> None:
    file.write_text(f"{pid} {start_time(pid)}\n")


def read_pid_file(file: Path) -> int | None:
    """The pid if that very process still runs."""
    try:
        pid, began = file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == began else None


def only_child(pid: int) -> int | None:
    """The first child of a process that has one at most."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def kill(pid: int) -> None:
    """Kills a process and waits until it is gone; a first process of a PID namespace takes all others with it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with contextlib.closing(os.fdopen(handle)):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        if not gone.poll(GONE_TIMEOUT * 1000):
            raise LabError(
                f"Process {pid} was killed, but is still there after {GONE_TIMEOUT:g} s; look at /proc/{pid}."
            )
