# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils import _deps


def test_a_package_that_is_there_is_imported() -> None:
    assert _deps.need("jsonschema").validate is not None


def test_a_submodule_is_imported_itself() -> None:
    assert _deps.need("cryptography.hazmat.primitives.serialization").__name__.endswith(".serialization")


def test_a_missing_package_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)  # import raises ModuleNotFoundError

    with pytest.raises(FlotillaError) as caught:
        _deps.need("sqlalchemy")

    assert str(caught.value) == (
        "the controller needs the Python package 'sqlalchemy' for the ledger; "
        f"install it for Ansible's Python: {sys.executable} -m pip install 'SQLAlchemy'"
    )


def test_a_broken_package_keeps_its_own_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pycdlib.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pycdlib", raising=False)

    with pytest.raises(ModuleNotFoundError, match="what_it_needs"):
        _deps.need("pycdlib")


def test_a_package_nobody_declared_is_a_bug_at_once() -> None:
    with pytest.raises(KeyError, match="leftpad"):
        _deps.need("leftpad")


def test_every_package_is_one_that_the_execution_environment_installs() -> None:
    requirements = (Path(__file__).parents[4] / "meta" / "ee-requirements.txt").read_text().lower()
    missing = [name for name, _purpose in _deps._PACKAGES.values() if name.lower() not in requirements]
    assert not missing
