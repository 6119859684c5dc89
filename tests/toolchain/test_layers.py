# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may import whom: modules -> _hypervisor -> _core; action, lookup, inventory -> plugin_utils -> _core."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "collection" / "plugins"
OURS = "ansible_collections.flotilla.compute.plugins"
CORE, HYPERVISOR = f"{OURS}.module_utils._core", f"{OURS}.module_utils._hypervisor"
# What the controller's half may use: in functions, where plugin_utils/_deps.py has said that it is there.
THIRD_PARTY = ("alembic", "cryptography", "jsonschema", "numpy", "psycopg", "pycdlib", "sqlalchemy")
WITH_ANSIBLE_CORE = ("ansible", "jinja2", "yaml")
CONTROLLER = (CORE, f"{OURS}.plugin_utils", *WITH_ANSIBLE_CORE, *THIRD_PARTY)

# First match counts. Beside these, everything may import the standard library.
LAYERS = {
    "module_utils/_core": (CORE,),
    "module_utils/_hypervisor": (CORE, HYPERVISOR, "libvirt", "libvirt_qemu"),
    "module_utils": (f"{OURS}.module_utils", "ansible.module_utils"),
    "modules": (f"{OURS}.module_utils", "ansible.module_utils"),
    "plugin_utils": CONTROLLER,
    "action": CONTROLLER,
    "lookup": CONTROLLER,
    "inventory": CONTROLLER,
    "filter": CONTROLLER,
    "callback": CONTROLLER,
    "doc_fragments": (),
}

# What _core must not read: clocks, chance, files, processes, networks.
IMPURE = (
    *("asyncio", "fcntl", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "platform", "random"),
    *("secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time"),
    "urllib.request",
)
IMPURE_CALLS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "uuid.uuid1", "uuid.uuid4")


@dataclasses.dataclass(frozen=True)
class Import:
    name: str
    line: int
    at_import: bool  # runs when the file is imported: neither in a function nor for type checkers alone
    guarded: bool  # under try: ... except ImportError


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("t.TYPE_CHECKING", "TYPE_CHECKING")


def _names(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
    yield from (f"{base}.{alias.name}" for alias in node.names)


def _imports(file: Path) -> list[Import]:
    package = f"{OURS}.{'.'.join(file.relative_to(PLUGINS).parent.parts)}".split(".")
    found: list[Import] = []

    def visit(node: ast.AST, *, runs: bool, guarded: bool) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.extend(Import(name, node.lineno, runs, guarded) for name in _names(node, package))
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            runs = False
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(h.type) for h in node.handlers if h.type):
            guarded = True
        for child in ast.iter_child_nodes(node):
            only_types = isinstance(node, ast.If) and _is_type_checking(node.test) and child in node.body
            visit(child, runs=runs and not only_types, guarded=guarded)

    visit(ast.parse(file.read_text(encoding="utf-8")), runs=True, guarded=False)
    return found


def _layer(file: Path) -> tuple[str, ...]:
    relative = file.relative_to(PLUGINS).as_posix()
    for folder, allowed in LAYERS.items():
        if relative.startswith(f"{folder}/"):
            return allowed
    pytest.fail(f"{relative}: no layer is known for this folder; give it one in {Path(__file__).name}")


def _within(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def _is_stdlib(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders or ("",) for file in (PLUGINS / folder).rglob("*.py"))


def _each(*folders: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", _files(*folders), ids=lambda file: file.relative_to(PLUGINS).as_posix())


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    return ((ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


@_each()
def test_imports_go_downward_only(file: Path) -> None:
    allowed = _layer(file)
    imports = [found for found in _imports(file) if not _is_stdlib(found.name) and not _within(found.name, allowed)]
    assert not [f"line {found.line} imports {found.name}" for found in imports]


@_each()
def test_third_party_packages_are_not_imported_with_the_file(file: Path) -> None:
    wrong = [
        f"line {found.line} imports {found.name}; use need() of plugin_utils/_deps.py"
        for found in _imports(file)
        if found.at_import and not found.guarded and _within(found.name, (*THIRD_PARTY, "libvirt", "libvirt_qemu"))
    ]
    assert not wrong


@_each("module_utils/_core")
def test_the_core_is_pure(file: Path) -> None:
    wrong = [f"line {found.line} imports {found.name}" for found in _imports(file) if _within(found.name, IMPURE)]
    for name, call in _calls(_parsed(file)):
        if name in ("open", "input") or any(f".{name}".endswith(f".{impure}") for impure in IMPURE_CALLS):
            wrong.append(f"line {call.lineno} calls {name}")
    assert not wrong


@_each()
def test_plugins_neither_assert_nor_print(file: Path) -> None:
    tree = _parsed(file)
    wrong = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    wrong += [call.lineno for name, call in _calls(tree) if name == "print"]
    assert not wrong


@_each("module_utils", "modules")
def test_what_goes_to_hosts_is_python_3_9(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    newer = {"dataclasses.dataclass": {"slots", "kw_only"}, "dataclass": {"slots", "kw_only"}, "zip": {"strict"}}
    used = [(call.lineno, name, word.arg) for name, call in _calls(tree) for word in call.keywords]
    assert not [f"line {line}: {name}({word}=)" for line, name, word in used if word in newer.get(name, ())]
    future = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    assert future or not tree.body, "without `from __future__ import annotations` its annotations run on Python 3.9"


def test_the_layers_that_the_rules_speak_of_are_there() -> None:
    assert _files("module_utils/_core")
    assert _files("module_utils/_hypervisor")
    assert _files("plugin_utils")


def test_a_file_that_breaks_the_rules_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PLUGINS", tmp_path)
    file = tmp_path / "module_utils" / "_core" / "bad.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "from .errors import FlotillaError\nfrom .._hypervisor import survey\n"
        "if t.TYPE_CHECKING:\n    import numpy\ntry:\n    import libvirt\nexcept ImportError:\n    pass\n"
        "def f():\n    import sqlalchemy\n"
    )
    assert [(found.name, found.at_import, found.guarded) for found in _imports(file)] == [
        (f"{CORE}.errors.FlotillaError", True, False),
        (f"{HYPERVISOR}.survey", True, False),
        ("numpy", False, False),
        ("libvirt", True, True),
        ("sqlalchemy", False, False),
    ]
    with pytest.raises(AssertionError, match=r"_hypervisor\.survey"):
        test_imports_go_downward_only(file)
