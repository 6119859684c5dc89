# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation as a site: it is built with no warning, and has a page for all that there is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.mark.soak
def test_the_site_is_built_with_no_warning(root: Path, tmp_path: Path) -> None:
    done = subprocess.run([root / "tools/docs", tmp_path / "site"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {str(page.relative_to(tmp_path / "site")) for page in (tmp_path / "site").rglob("*.html")}
    guides = {f"guides/{guide.stem}.html" for guide in (root / "collection/docs").glob("*.md")}
    modules = {f"reference/{file.stem}_module.html" for file in (root / "collection/plugins/modules").glob("*.py")}
    roles = {f"reference/{role.name}_role.html" for role in (root / "collection/roles").iterdir()}
    assert guides | modules | roles <= pages


def test_every_guide_is_in_the_index(root: Path) -> None:
    index = (root / "docs/index.md").read_text()
    named = {line.removeprefix("guides/") for line in index.splitlines() if line.startswith("guides/")}
    assert named == {guide.stem for guide in (root / "collection/docs").glob("*.md")}
