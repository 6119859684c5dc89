# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact holds what git tracks under collection/, no less (a link that leads out) and no more (junk)."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path


def _listing(root: Path) -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    output = subprocess.run(command, cwd=root / "collection", capture_output=True, text=True, check=True).stdout
    return {name for name in output.split("\0") if name and (root / "collection" / name).exists()}


def test_the_artifact_holds_what_git_tracks(root: Path, tmp_path: Path) -> None:
    before = _listing(root)
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(root / "collection")]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    after = _listing(
        root
    )  # where somebody works in the checkout meanwhile, only what was there throughout is asked for

    with tarfile.open(tmp_path / "flotilla-compute-0.1.0.tar.gz") as artifact:
        packed = {member.name for member in artifact if not member.isdir()}

    assert "WARNING" not in built.stderr
    made_by_the_build = {"MANIFEST.json", "FILES.json"}
    assert packed - made_by_the_build <= (before | after) - {"galaxy.yml"}
    assert (before & after) - {"galaxy.yml"} <= packed
