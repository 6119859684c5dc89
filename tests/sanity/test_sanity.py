# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-test sanity is told to ignore, and what that of the newest release finds; `make lint` runs the other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run")
#: Made by `make soak`, where there is a Python for it.
NEWEST = Path(__file__).resolve().parents[2] / ".cache/bench/newest"


@pytest.mark.soak
def test_that_of_the_newest_release_finds_nothing_either() -> None:
    if not (NEWEST / ".bootstrap").exists():
        pytest.skip("this machine has no Python 3.12 to 3.14, which ansible-core 2.21 needs")
    done = subprocess.run(
        [RUN, "--core", NEWEST], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "ansible-core 2.21." in done.stdout.splitlines()[-1]


def test_every_release_ignores_the_same() -> None:
    """A release reads its own list alone. What one finds that others don't is said where it is, in the code."""
    folder = Path(__file__).resolve().parents[2] / "collection/tests/sanity"
    ignored = {file.stem: set(file.read_text().splitlines()) for file in folder.glob("ignore-*.txt")}
    assert sorted(ignored) == ["ignore-2.19", "ignore-2.20", "ignore-2.21"]
    assert ignored["ignore-2.19"] == ignored["ignore-2.20"] == ignored["ignore-2.21"]
    assert [line for line in ignored["ignore-2.21"] if "pep8:E501" not in line and " # " not in line] == []
