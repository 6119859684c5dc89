# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils import _bytecode

#: Ansible's own way to an action plugin, in a process of its own: what is loaded here is loaded already.
LOADED = """
import sys
from ansible.plugins.loader import action_loader, init_plugin_loader
init_plugin_loader([sys.argv[1]])
action_loader.get("flotilla.compute.plan", class_only=True)
print(sys.modules["ansible_collections.flotilla.compute.plugins.plugin_utils._planner"].__cached__)
"""
IMPORT_ROOT = next(
    parent for parent in Path(os.path.abspath(_bytecode.__file__)).parents if parent.name == "ansible_collections"
).parent


def loaded(cache: Path, **variables: str) -> Path:
    """Where Python says that it keeps the compiled planner."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env.update(PYTHONPYCACHEPREFIX=str(cache), **variables)
    command = [sys.executable, "-c", LOADED, str(IMPORT_ROOT)]
    return Path(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip())


def test_what_ansible_loads_is_compiled_once(tmp_path: Path) -> None:
    kept = loaded(tmp_path)
    assert kept.is_relative_to(tmp_path)
    written = kept.stat().st_mtime_ns
    assert loaded(tmp_path) == kept
    assert kept.stat().st_mtime_ns == written


def test_nothing_is_kept_where_python_is_told_to_keep_nothing(tmp_path: Path) -> None:
    assert not loaded(tmp_path, PYTHONDONTWRITEBYTECODE="1").exists()


@pytest.mark.parametrize(
    "name",
    [
        "ansible_collections.flotilla.compute.plugins.plugin_utils.not_there",
        "ansible_collections.flotilla.compute.plugins.modules.server",
        "ansible_collections.community.libvirt.plugins.module_utils.libvirt",
    ],
)
def test_other_modules_are_left_to_the_loader_that_knows_them(name: str) -> None:
    assert _bytecode._Finder.find_spec(name, [os.path.dirname(_bytecode.__file__)]) is None
