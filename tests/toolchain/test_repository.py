# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requirements, licence lines and settings that stand in more than one place, held together."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
SOURCES = {".cfg", ".ini", ".j2", ".py", ".sh", ".sql", ".toml", ".yaml", ".yml"}
MOST_LINES = 500
# antsibull-changelog writes this file anew at each release, and would write such a line out of it.
GENERATED = {Path("collection/changelogs/changelog.yaml")}


def _groups(root: Path) -> dict[str, list[Requirement]]:
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    return {name: [Requirement(entry) for entry in entries] for name, entries in groups.items()}


def _locked(root: Path) -> dict[str, str]:
    lines = (root / "tools" / "requirements.lock").read_text().splitlines()
    pins = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines)
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def _is_source(root: Path, file: Path) -> bool:
    return file.suffix in SOURCES or file.name == "Makefile" or (root / file).read_bytes()[:2] == b"#!"


def test_the_lock_satisfies_the_groups(root: Path) -> None:
    groups, locked = _groups(root), _locked(root)
    wrong = [
        f"{requirement} (locked: {locked.get(canonicalize_name(requirement.name))}): run `make lock`"
        for requirement in groups["controller"] + groups["dev"]
        if locked.get(canonicalize_name(requirement.name)) is None
        or not requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
    ]
    assert not wrong


def test_every_dependency_says_why(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    entries = re.findall(
        r'^    "[^"]+",.*$', text[text.index("[dependency-groups]") : text.index("[tool.")], re.MULTILINE
    )
    assert len(entries) == sum(len(group) for group in _groups(root).values())
    assert not [entry for entry in entries if not re.search(r",\s+# \S", entry)]


def test_the_execution_environment_has_what_the_controller_needs(root: Path) -> None:
    lines = (root / "collection" / "meta" / "ee-requirements.txt").read_text().splitlines()
    required = {Requirement(line).name for line in lines if line and not line.startswith("#")}
    assert required == {requirement.name for requirement in _groups(root)["controller"]} - {"ansible-core"}


def test_both_licence_texts_are_one(root: Path) -> None:
    assert (root / "COPYING").read_bytes() == (root / "collection" / "COPYING").read_bytes()
    assert "Version 3, 29 June 2007" in (root / "COPYING").read_text()


def test_every_source_file_names_its_licence(root: Path, tracked: list[Path]) -> None:
    sources = [file for file in tracked if _is_source(root, file) and file not in GENERATED]
    assert Path("conftest.py") in sources
    assert not [str(f) for f in sources if SPDX not in "\n".join((root / f).read_text().splitlines()[:8])]


def test_no_file_names_a_package_registry(root: Path, tracked: list[Path]) -> None:
    registry = re.compile(rb"https?://[a-z.]*(debian|pypi|pythonhosted|npmjs)[a-z.]*/")
    assert not [str(file) for file in tracked if registry.search((root / file).read_bytes())]


def test_no_file_grows_beyond_reading(root: Path, tracked: list[Path]) -> None:
    long = {str(f): len((root / f).read_text().splitlines()) for f in tracked if f.suffix == ".py"}
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES}


def _sleeps(tree: ast.AST, *, in_loop: bool = False) -> Iterator[tuple[int, bool]]:
    """The line of each call of time.sleep, and whether it is in a loop of its function: between two looks at a fact."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep"):
            yield node.lineno, in_loop
        entered = isinstance(node, (ast.For, ast.While)) or (in_loop and not isinstance(node, ast.FunctionDef))
        yield from _sleeps(node, in_loop=entered)


def test_nothing_sleeps_for_a_fixed_time(root: Path, tracked: list[Path]) -> None:
    found = {str(f): list(_sleeps(ast.parse((root / f).read_text()))) for f in tracked if f.suffix == ".py"}
    assert sum(map(len, found.values())) > 10, "the calls are spelt in another way now"
    assert not {name: line for name, its in found.items() for line, in_loop in its if not in_loop}
    wrong = ast.parse("import time\nwhile True:\n    def f():\n        time.sleep(1)\n")
    assert list(_sleeps(wrong)) == [(4, False)]


@pytest.mark.parametrize("beside", [True, False], ids=["beside a good one", "alone"])
@pytest.mark.parametrize("broken", ["servers: [unclosed", "servers:\n  hosts:\n    web[1:: {}\n"])
def test_half_an_inventory_is_refused(root: Path, tmp_path: Path, broken: str, *, beside: bool) -> None:
    (tmp_path / "good.yml").write_text("computes:\n  hosts:\n    kvm1:\n")
    (tmp_path / "broken.yml").write_text(broken)
    sources = [*(["-i", str(tmp_path / "good.yml")] if beside else []), "-i", str(tmp_path / "broken.yml")]
    command = ["ansible-inventory", *sources, "--list"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "broken.yml" in result.stderr
