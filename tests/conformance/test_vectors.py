# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our scheduler answers what Nova's was recorded to answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HERE / "nova_vectors", folder], capture_output=True, text=True, check=False, timeout=120)


def test_every_vector_passes() -> None:
    done = run(HERE / "vectors")
    last = done.stdout.splitlines()[-1]
    assert (done.returncode, last.endswith(" passed, 0 failed")) == (0, True), done.stdout + done.stderr
    files = [HERE / "vectors" / f"{name}.json" for name in ("filters", "match", "weighers")]
    recorded = sum(len(json.loads(file.read_text())) for file in files)
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped:")]
    assert all("CrossCellWeigher" in line for line in skipped)
    assert int(last.split()[0]) + len(skipped) == recorded


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("match.json", lambda vector: {**vector, "result": not vector["result"]}),
        ("filters.json", lambda vector: {**vector, "passes": not vector["passes"], "test": ""}),
        ("filters.json", lambda vector: {**vector, "filter": "NoSuchFilter"}),
        (
            "weighers.json",
            lambda vector: {**vector, "result": [[host, weight + 1] for host, weight in vector["result"]]},
        ),
        ("weighers.json", lambda vector: {**vector, "result": vector["result"][:-1]}),
    ],
)
def test_a_wrong_answer_is_found(tmp_path: Path, file: str, change: object) -> None:
    shutil.copytree(HERE / "vectors", tmp_path, dirs_exist_ok=True)
    vectors = json.loads((tmp_path / file).read_text())
    first = next(index for index, vector in enumerate(vectors) if "CrossCellWeigher" not in vector.get("weighers", []))
    vectors[first] = change(vectors[first])  # type: ignore[operator]
    (tmp_path / file).write_text(json.dumps(vectors))
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith(" passed, 1 failed")
