# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lint that looks at nothing passes too: what it looks at is compared with what git tracks."""

from __future__ import annotations

import subprocess
import typing as t

if t.TYPE_CHECKING:
    from pathlib import Path


def test_ruff_looks_at_every_python_file(root: Path) -> None:
    shown = subprocess.run(
        [root / ".venv/bin/ruff", "check", ".", "--show-files"], cwd=root, capture_output=True, text=True, check=True
    )
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True)
    looked_at = {line.removeprefix(f"{root}/") for line in shown.stdout.splitlines()}
    assert set(tracked.stdout.split()) - looked_at == set()
