# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tutorial as a reader follows it: its files written, its commands run in order, its output compared line by line.

What a command has printed is left beside in .cache/artifacts/tutorial.txt, for whoever writes the tutorial.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from tests.support.lab_names import lab_name

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "collection/docs/tutorial.md"
PRINTED = ROOT / ".cache/artifacts/tutorial.txt"
LAB_NAME = lab_name("tut")
_BLOCK = re.compile(r"(?:Write `(?P<file>[^`]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: What differs from run to run: times, addresses of a lab that isn't the first, ids, durations.
_VARIES = (
    (re.compile(r"\b10\.(21[34])\.\d+\.(\d+)\b"), r"10.\1.0.\2"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?Z?)?"), "2026-11-22 10:00:00"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\*{3,}"), "***"),
    (re.compile(r"\s+"), " "),
)


@dataclasses.dataclass
class Command:
    text: str
    printed: list[str]


def _steps() -> t.Iterator[tuple[Path, str] | Command]:
    for block in _BLOCK.finditer(TUTORIAL.read_text()):
        if block["file"]:
            yield Path(block["file"]), block["text"]
        elif block["kind"] == "console":
            command: Command | None = None
            for line in block["text"].splitlines():
                if line.startswith("$ "):
                    if command is not None:
                        yield command
                    command = Command(line[2:], [])
                elif command is not None:
                    command.printed.append(line)
            if command is not None:
                yield command


def _plain(line: str) -> str:
    for pattern, same in _VARIES:
        line = pattern.sub(same, line)
    return line.strip()


def _missing(wanted: list[str], printed: str) -> str | None:
    """The first line that isn't printed after those before it; without `...` between two, right after."""
    lines = [plain for plain in map(_plain, printed.splitlines()) if plain]
    place, free = 0, True
    for line in filter(None, map(_plain, wanted)):
        if line == "...":
            free = True
            continue
        try:
            found = lines.index(line, place)
        except ValueError:
            return line
        if not free and found != place:
            return f"{line} (after other lines: {lines[place:found]})"
        place, free = found + 1, False
    return None


@pytest.mark.soak
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    for name in ("inventories", "playbooks", "tests", "ansible.cfg", ".dev", "collection"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "FLOTILLA_LAB": LAB_NAME,
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "100",
    }
    lab = str(ROOT / "tests/lab/lab")
    PRINTED.parent.mkdir(parents=True, exist_ok=True)
    wrong = []
    subprocess.run([lab, "down"], env=environment, check=True, capture_output=True)
    subprocess.run([lab, "up", "--hosts", "3"], env=environment, check=True, capture_output=True)
    try:
        with PRINTED.open("w") as record:
            for step in _steps():
                if not isinstance(step, Command):
                    file, text = step
                    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / file).write_text(text)
                    continue
                done = subprocess.run(
                    ["bash", "-c", f"{step.text} 2>&1"],
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=False,
                    timeout=300,
                )
                record.write(f"$ {step.text}\n{done.stdout}(rc {done.returncode})\n\n")
                missing = _missing(step.printed, done.stdout)
                if missing is not None:
                    wrong.append(f"$ {step.text}\ndoes not print: {missing}\nbut:\n{done.stdout}")
    finally:
        subprocess.run([lab, "down"], env=environment, check=True, capture_output=True)
    assert not wrong, "\n".join(wrong)


def test_every_command_of_the_tutorial_says_what_it_prints() -> None:
    commands = [step for step in _steps() if isinstance(step, Command)]
    silent = [step.text for step in commands if not step.printed and not step.text.startswith("tests/lab/lab ")]
    assert len(commands) > 8
    assert not silent
