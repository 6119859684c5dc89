# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tools/bootstrap refuses in one sentence, before it changes anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

NOWHERE = "http://127.0.0.1:9/"  # port 9: nobody listens
NOBODY = 65534


@pytest.fixture
def checkout(root: Path) -> Iterator[Path]:
    """A checkout with nothing made in it, that other users may read too."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copytree(root / "tools", folder / "tools")
    shutil.copytree(root / "tests/lab", folder / "tests/lab")
    shutil.copy(root / "pyproject.toml", folder)
    yield folder
    shutil.rmtree(folder)


def _bootstrap(
    checkout: Path, *arguments: str, under: Sequence[str] = (), user: int | None = None, **environment: str
) -> str:
    """Its one sentence; the test fails unless it is one, the exit status is 2 and nothing was made."""
    result = subprocess.run(
        [*under, str(checkout / "tools" / "bootstrap"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        user=user,
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert not (checkout / ".venv").exists()
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


def test_the_lab_wants_root(checkout: Path) -> None:
    sentence = _bootstrap(checkout, "--lab", user=NOBODY if os.geteuid() == 0 else None)
    assert sentence.startswith("bootstrap: the lab makes network namespaces")
    assert sentence.endswith("run as root; nothing was changed")


def test_a_container_that_can_have_no_lab_is_told_before_anything_is_installed(checkout: Path) -> None:
    """Root without the right to make namespaces, and a package that is missing."""
    (checkout / "tools" / "debian-packages").write_text("hello-of-a-package-that-is-not-there\n")
    sentence = _bootstrap(checkout, "--lab", under=("setpriv", "--bounding-set", "-sys_admin"))
    assert sentence.startswith(
        "bootstrap: This kernel, or the container around it, doesn't let the lab make namespaces"
    )
    assert sentence.endswith("run it on a machine or virtual machine where root may; nothing was changed")
    assert not (checkout / ".cache").exists()


def test_a_package_index_out_of_reach(checkout: Path) -> None:
    sentence = _bootstrap(
        checkout, PIP_INDEX_URL=NOWHERE, PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull
    )
    assert "the Python package index can't be reached" in sentence
    assert sentence.endswith("nothing was changed")


def test_debian_packages_out_of_reach(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tools" / "debian-packages").write_text("hello-of-a-package-that-is-not-there\n")
    own_folders = {"Dir::State::lists": tmp_path, "Dir::Cache": tmp_path}
    settings = {"Acquire::Retries": 0, "Acquire::http::Proxy": NOWHERE, **own_folders}
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    sentence = _bootstrap(checkout, APT_CONFIG=str(tmp_path / "apt.conf"))
    assert "apt can't fetch the Debian packages hello-of-a-package-that-is-not-there" in sentence
    assert sentence.endswith("nothing was changed")


def test_an_unknown_argument_is_named(checkout: Path) -> None:
    assert _bootstrap(checkout, "--everything") == "usage: tools/bootstrap [--lab] [--bench]"
