# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scheduler's laws again, over many more made-up inputs than the normal run has time for."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import FACTOR

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "collection" / "tests" / "unit" / "plugins" / "plugin_utils"
LAWS = [str(file.relative_to(UNIT)) for file in sorted(UNIT.glob("*/test_*.py")) if "examples(" in file.read_text()]
TIMES = 10


def test_the_files_with_laws_are_found() -> None:
    scheduler = {f"_scheduler/test_{name}.py" for name in ("laws", "hardware_laws", "joint", "order")}
    assert scheduler | {"_conductor/test_capacity.py"} <= set(LAWS)


@pytest.mark.soak
@pytest.mark.parametrize("name", LAWS)
def test_no_counterexample_is_found_in_many(name: str) -> None:
    """Other inputs each time, unless SEED asks for those of an earlier run."""
    seed = os.environ.get("SEED") or str(random.randrange(10**6))
    options = ["-q", "-m", "hypothesis", f"--hypothesis-seed={seed}", "--timeout=7200"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, UNIT / name],
        cwd=ROOT,
        env={**os.environ, FACTOR: str(TIMES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"SEED={seed}\n{done.stdout[-8000:]}{done.stderr[-2000:]}"
