# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every step that a module carries out is one that hosts know, and nothing is read for it that is others'.

A worker has it where it must go on alone.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils import _hypervisor
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import AFTER
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import shelving
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import is_watched
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Order
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.registry import KINDS, handler_of

#: What one of the steps that most calls have needs none of.
RARE = ("live", "landing", "moving", "resizing", "shelving", "snapshots", "evacuation", "images", "watching", "agent")


def rooms() -> dict[str, dict[str, object]]:
    modules = (
        importlib.import_module(f"{_hypervisor.__name__}.{m.name}") for m in pkgutil.iter_modules(_hypervisor.__path__)
    )
    return {module.__name__: module.HANDLERS for module in modules if hasattr(module, "HANDLERS")}


def test_every_handler_is_found_by_its_kind() -> None:
    by_kind = {kind: handler for handlers in rooms().values() for kind, handler in handlers.items()}
    by_kind["delete"] = shelving.HANDLERS["delete"]  # knows of shelved servers, too
    assert set(by_kind) == KINDS
    assert [kind for kind, handler in by_kind.items() if handler_of(kind) is not handler] == []
    assert set(AFTER) <= KINDS


@pytest.mark.parametrize("kind", ["create", "start"])
def test_what_carries_out_other_steps_is_not_read(kind: str) -> None:
    said = (
        f"import sys; from {_hypervisor.__name__} import guests, registry; registry.handler_of({kind!r}); "
        "print(*(name.rpartition('.')[2] for name in sys.modules if '._hypervisor.' in name))"
    )
    read = subprocess.run(
        [sys.executable, "-c", said], check=True, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    names = read.stdout.split()
    assert "handlers" in names
    assert not set(names) & set(RARE)


@pytest.mark.parametrize(
    ("kind", "options", "watched"),
    [
        ("live_migrate", {}, True),
        ("evacuate", {"wait": False, "watch": 3}, True),
        ("evacuate", {}, False),
        ("migrate", {"watch": 3}, True),
        ("migrate", {}, False),
        ("snapshot", {"watch": 4}, False),
        ("shelve", {"watch": 4}, False),
        ("stop", {"wait": False}, False),
        ("reboot", {"wait": False}, False),
    ],
)
def test_a_worker_has_only_what_goes_on_without_its_call(kind: str, options: dict[str, t.Any], watched: bool) -> None:
    assert is_watched(Order(kind, "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a99", "web1", options=options)) is watched
