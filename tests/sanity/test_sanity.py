# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity finds nothing in the collection as it is published."""

from __future__ import annotations

import subprocess
from pathlib import Path

RUN = Path(__file__).with_name("run")


def test_ansible_test_finds_nothing() -> None:
    done = subprocess.run([RUN], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
