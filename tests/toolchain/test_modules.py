# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of the collection states about itself, and the group that all of them are in."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

ATTRIBUTES = {"action_group", "check_mode", "diff_mode", "idempotent", "platform"}
SUPPORT = {"full", "partial", "none", "N/A"}


@pytest.fixture(scope="module")
def modules(root: Path) -> list[str]:
    names = sorted(file.stem for file in (root / "collection" / "plugins" / "modules").glob("*.py"))
    assert names, "the collection has no modules"
    return names


@pytest.fixture(scope="module")
def docs(root: Path, modules: list[str]) -> dict[str, dict[str, t.Any]]:
    command = ["ansible-doc", "-t", "module", "--json", *(f"flotilla.compute.{name}" for name in modules)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    documents = json.loads(result.stdout)
    return {name: documents[f"flotilla.compute.{name}"]["doc"] for name in modules}


def test_the_action_group_has_every_module(root: Path, modules: list[str]) -> None:
    runtime = yaml.safe_load((root / "collection" / "meta" / "runtime.yml").read_text())
    assert runtime["action_groups"]["all"] == modules


def test_modules_state_their_attributes(docs: dict[str, dict[str, t.Any]]) -> None:
    for name, doc in docs.items():
        attributes = doc.get("attributes", {})
        assert set(attributes) >= ATTRIBUTES, f"{name} does not state {sorted(ATTRIBUTES - set(attributes))}"
        wrong = {key: value.get("support") for key, value in attributes.items() if value.get("support") not in SUPPORT}
        assert not wrong, f"{name}: support must be one of {sorted(SUPPORT)}"
        assert attributes["action_group"]["membership"] == ["flotilla.compute.all"], name


def test_info_modules_only_read(docs: dict[str, dict[str, t.Any]]) -> None:
    for name, doc in docs.items():
        if name.endswith("_info"):
            assert doc["attributes"]["check_mode"]["support"] == "full", f"{name} must support check mode in full"


def test_modules_have_examples_and_an_info_twin(root: Path, modules: list[str]) -> None:
    for name in modules:
        text = (root / "collection" / "plugins" / "modules" / f"{name}.py").read_text()
        assert f"flotilla.compute.{name}:" in text, f"{name} has no example with its full name"
        assert "\nRETURN = " in text, f"{name} does not say what it returns"
        # plan reads and returns plans as data: it is its own twin. verdict ends a run: there is nothing to read back.
        # What server_action, migrate, adopt and evacuate do, server_info reads. doctor reads, but for what it mends.
        alone = name in ("adopt", "doctor", "evacuate", "migrate", "plan", "server_action", "verdict")
        alone = alone or name.endswith("_info")
        assert alone or f"{name}_info" in modules, f"{name} has no {name}_info"
