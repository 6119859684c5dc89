# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator's page about hardware tells every wish that is read, and its examples can be asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciAlias
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "collection" / "docs" / "hardware.md").read_text(encoding="utf-8")


def test_every_wish_is_told(page: str, root: Path) -> None:
    source = root / "collection" / "plugins" / "plugin_utils" / "_scheduler" / "wanted.py"
    read = set(re.findall(r'wishes\.(?:spec|chosen|equal|property)\("(\w+)"', source.read_text(encoding="utf-8")))
    assert {"cpu_policy", "mem_page_size", "cpu_realtime"} <= read
    assert [name for name in sorted(read) if f"`hw:{name}`" not in page] == []


def test_examples_can_be_asked_for(page: str) -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    shapes = Shapes()
    for block in blocks:
        for name, value in block.items():
            assert shapes.findings(name, value) == (), name
    fleet = next(block for block in blocks if "fleet_flavors" in block)
    aliases = [PciAlias(name=name, **alias) for name, alias in fleet["fleet_pci_aliases"].items()]
    for name, flavor in fleet["fleet_flavors"].items():
        request = Request("web1", Flavor(name, **flavor), pci_aliases=aliases)
        assert request.topology is not None
