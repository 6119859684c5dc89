# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact is imported as Galaxy and Automation Hub do it; nothing is found but what tools/galaxy-import names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.soak  # two minutes, and the importer, which `make soak` installs
def test_galaxy_would_take_the_artifact(root: Path) -> None:
    done = subprocess.run([root / "tools/galaxy-import"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
