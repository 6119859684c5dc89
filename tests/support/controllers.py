# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controllers in short (tests/ledger/claimer.py, pinner.py) as processes of their own on one ledger."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import typing as t
from pathlib import Path

PROGRAMS = Path(__file__).parents[1] / "ledger"


@contextlib.contextmanager
def programs(name: str, url: str, numbers: t.Iterable[int], each: int) -> t.Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, str(PROGRAMS / name), url]
    started = [
        subprocess.Popen(
            [*command, str(number), str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in numbers
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def won(process: subprocess.Popen[str]) -> list[str]:
    """What a claimer got, once it has done."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stdout:
        if line == "done\n":
            return lines
        lines.append(line.strip())
    raise AssertionError(process.stderr.read())
