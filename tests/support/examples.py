# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EXAMPLES of the collection's plugins, as their users copy them."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "collection/plugins"
PREFIX = "flotilla.compute."
_IMPORT = "ansible.builtin.import_playbook"

Task = dict[str, t.Any]


def names(kind: str = "modules") -> list[str]:
    """All plugins of a kind, a folder's name."""
    return sorted(file.stem for file in (PLUGINS / kind).glob("*.py"))


def text_of(name: str, kind: str = "modules") -> str:
    """A plugin's EXAMPLES."""
    for node in ast.parse((PLUGINS / kind / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{name} has no EXAMPLES")


def is_playbook(examples: list[t.Any]) -> bool:
    return any("hosts" in entry or _IMPORT in entry for entry in examples)


def tasks_of(examples: list[t.Any]) -> list[Task]:
    """The tasks, of a playbook as of a list of tasks."""
    if not is_playbook(examples):
        return examples
    return [task for play in examples for task in play.get("tasks", [])]


def example(name: str, kind: str = "modules") -> list[t.Any]:
    """EXAMPLES as YAML: plays or tasks."""
    found = yaml.safe_load(text_of(name, kind))
    assert isinstance(found, list), f"{name}: EXAMPLES is no list of tasks or plays"
    return found


def own(task: Task) -> tuple[str, dict[str, t.Any]] | None:
    """The module of this collection that a task calls, without the prefix, and its arguments."""
    for key, arguments in task.items():
        if key.startswith(PREFIX):
            return key.removeprefix(PREFIX), arguments or {}
    return None
