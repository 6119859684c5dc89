# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator's page about the scheduler tells every filter, weigher and option, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import ALWAYS, FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import DEFAULT_FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.weighers import WEIGHERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.extra_specs import problem
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes

OPTIONS = document("fleet")["$defs"]["scheduler"]["properties"]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "collection" / "docs" / "scheduler.md").read_text(encoding="utf-8")


def test_every_rule_is_told(page: str) -> None:
    rules = {rule.__name__ for rule in (*ALWAYS, *FILTERS.values(), *WEIGHERS)}
    assert [name for name in sorted(rules) if f"`{name}`" not in page] == []
    assert "CrossCellWeigher is left out" in page


def test_every_option_is_told_with_its_default(page: str) -> None:
    assert [name for name in OPTIONS if f"`{name}`" not in page] == []
    for weigher in WEIGHERS:
        row = f"| `{weigher.__name__}` | `{weigher.option}` | {OPTIONS[weigher.option]['default']} |"
        assert row in page, row
    for name in DEFAULT_FILTERS:
        assert name in page.partition("replaces the default list:")[2].partition("| filter |")[0] or name == (
            "ComputeFilter"
        )


def test_examples_are_valid(page: str) -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    shapes = Shapes()
    told = {name: value for block in blocks for name, value in block.items() if "{{" not in str(value)}
    assert len(told) > 5
    for block in blocks:
        for name, value in block.items():
            if "{{" not in str(value):
                assert shapes.findings(name, value) == (), name
        for flavor in block.get("fleet_flavors", {}).values():
            assert [key for key, value in flavor["extra_specs"].items() if problem(key, value)] == []
