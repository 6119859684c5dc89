# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One command, measured: wall clock, processor time and peak memory of what runs on the controller."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import time
import typing as t
from pathlib import Path

_CHANGED = re.compile(r"\bchanged=(\d+)")


class BenchError(Exception):
    """A command that should have been measured went wrong, so there is nothing to compare."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """``cpu``: of the controller's processes, not of the hosts'. ``peak``: MiB of the largest one of them.
    ``load``: the machine's load average of the last minute, before the command began."""

    seconds: float
    cpu: float
    peak: float
    load: float
    output: str = dataclasses.field(repr=False)

    @property
    def changed(self) -> int:
        """Over all hosts, as Ansible's recap counts."""
        return sum(int(count) for count in _CHANGED.findall(self.output))

    def to_json(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in ("seconds", "cpu", "peak", "load")}


def measured(command: t.Sequence[str | Path], env: t.Mapping[str, str], log: Path) -> Sample:
    """Run *command*, its output into the file *log*; any exit code but 0 is a BenchError with the output's end."""
    load = os.getloadavg()[0]
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command], env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        # The kernel's account of the process and of all its descendants that were waited for: times added up, and the
        # resident memory of the largest one.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        end = "\n".join(text.splitlines()[-40:])
        raise BenchError(f"{' '.join(process.args)} ended with code {process.returncode}; see {log}:\n{end}")  # type: ignore[arg-type]
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, load, text)
