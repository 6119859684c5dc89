# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose every file is and under which licence, so that machines can tell (https://reuse.software)."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_every_file_says_whose_it_is_and_under_which_licence(root: Path) -> None:
    done = subprocess.run(["reuse", "--root", str(root), "lint"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_licence_is_the_one_that_ships(root: Path) -> None:
    assert (root / "LICENSES" / "GPL-3.0-or-later.txt").read_bytes() == (root / "COPYING").read_bytes()
