# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who on this machine has a disk's file open.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import os
import pathlib

_PROC = pathlib.Path("/proc")


def holders_of(path: str, proc: pathlib.Path = _PROC) -> list[str]:
    """The processes that have the file open, as ``process 12 (qemu-system-x86)``; not those of other machines, and
    QEMU's locks belong to an open file, so that the kernel's own lock table names no process for them."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    pids = sorted((int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()), key=int)
    return [f"process {pid}{_command(proc, pid)}" for pid in pids if _has_open(proc / str(pid) / "fd", wanted)]


def _has_open(folder: pathlib.Path, wanted: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(link.stat(), wanted):
                    return True
    return False


def _command(proc: pathlib.Path, pid: int) -> str:
    try:
        return f" ({(proc / str(pid) / 'comm').read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:
        return ""


__all__ = ["holders_of"]
