# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The licence; that every file names it is `reuse lint`, of tools/lint."""

from __future__ import annotations

from pathlib import Path


def test_the_licence_is_the_one_that_ships(root: Path) -> None:
    assert (root / "LICENSES" / "GPL-3.0-or-later.txt").read_bytes() == (root / "COPYING").read_bytes()
