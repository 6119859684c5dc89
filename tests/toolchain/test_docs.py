# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation as a site: it is built with no warning, and has a page for all that there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml


@pytest.mark.soak
def test_the_site_is_built_with_no_warning(root: Path, tmp_path: Path) -> None:
    done = subprocess.run([root / "tools/docs", tmp_path / "site"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {str(page.relative_to(tmp_path / "site")) for page in (tmp_path / "site").rglob("*.html")}
    guides = {f"guides/{guide.stem}.html" for guide in (root / "collection/docs").glob("*.md")}
    modules = {f"reference/{file.stem}_module.html" for file in (root / "collection/plugins/modules").glob("*.py")}
    roles = {f"reference/{role.name}_role.html" for role in (root / "collection/roles").iterdir()}
    assert guides | modules | roles <= pages


@pytest.mark.soak
def test_a_release_makes_the_changelog_of_all_fragments(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ansible_collections/flotilla/compute"
    shutil.copytree(root / "collection", copy)
    told = [fragment for file in (copy / "changelogs/fragments").glob("*.yml") for fragment in _entries(file)]
    command = ["antsibull-changelog", "release", "--version", "0.1.0", "--date", "2026-11-22"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = _letters(re.sub(r"</?code>", "", (copy / "CHANGELOG.md").read_text()))
    assert len(told) > 40
    assert [entry for entry in told if _letters(entry)[:60] not in written] == []


def _letters(text: str) -> str:
    """Without what a markup may do otherwise."""
    return re.sub("[^A-Za-z0-9]", "", text)


def _entries(file: Path) -> list[str]:
    """Those for users."""
    content = yaml.safe_load(file.read_text())
    sections = [entries for name, entries in content.items() if name not in ("release_summary", "trivial")]
    return [entry for entries in sections for entry in entries]


def test_every_guide_is_in_the_index(root: Path) -> None:
    index = (root / "docs/index.md").read_text()
    named = {line.removeprefix("guides/") for line in index.splitlines() if line.startswith("guides/")}
    assert named == {guide.stem for guide in (root / "collection/docs").glob("*.md")}
