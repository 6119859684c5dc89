# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap area's header is mkswap's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import MIB
from ansible_collections.flotilla.compute.plugins.module_utils._core.swap import PAGE, swap_header

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize("size", [10 * PAGE, MIB, 64 * MIB, 4096 * MIB])
def test_as_mkswap_writes_it(size: int, tmp_path: Path) -> None:
    mkswap = shutil.which("mkswap", path="/usr/sbin:/sbin:/usr/bin")
    assert mkswap is not None, "mkswap is of util-linux, which every Debian has"
    file = tmp_path / "swap"
    with file.open("wb") as made:
        made.truncate(size)
    subprocess.run([mkswap, "-q", "--uuid", ID, "--label", "swap", "--pagesize", str(PAGE), file], check=True)
    with file.open("rb") as made:
        assert swap_header(size, ID) == made.read(PAGE)


def test_too_small_for_one() -> None:
    assert swap_header(9 * PAGE, ID) is None
