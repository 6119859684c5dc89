# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process a run is, and whether it is still there.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pwd
import socket
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import RunRow

__all__ = ["Controller", "is_alive", "started"]

_DEAD = ("Z", "X")  # a zombie does nothing more, though its number is still taken


@dataclasses.dataclass(frozen=True)
class Controller:
    """Where a run goes on. ``pid_started`` tells its process from a later one of the same number."""

    hostname: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_started: str
    user: str

    @classmethod
    def here(cls, pid: int | None = None) -> Controller:
        """This process, or that of *pid*: Ansible's workers end with their task, so a run is their parent's."""
        number = os.getpid() if pid is None else pid
        return cls(*_machine(), pid=number, pid_started=started(number), user=_user())


def is_alive(run: Controller | RunRow, *, pid: int | None = None, pid_started: str | None = None) -> bool | None:
    """Whether a run's process (or a worker of it) is there; None where this machine can't know.

    Containers share hostname and boot id with their host now and then, but number their processes themselves.
    """
    if (run.hostname, run.boot_id, run.pid_namespace) != _machine() or not run.boot_id:
        return None
    number = run.pid if pid is None else pid
    begun = run.pid_started if pid_started is None else pid_started
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, and there
    now = started(number)
    if now == "dead":
        return False
    return now == begun if now and begun else None  # the number alone may be a later process's


def started(pid: int) -> str:
    """The start of a process in clock ticks since boot (proc(5), field 22); empty if it can't be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return "dead" if fields[0] in _DEAD else fields[19]


def _machine() -> tuple[str, str, str]:
    return socket.gethostname(), _boot_id(), _pid_namespace()


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
