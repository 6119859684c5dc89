# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role fleet: what its entry points read is in their specifications, for those who read `ansible-doc -t role`."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document

_VARIABLE = re.compile(r"\bfleet_[a-z_]+\b")
#: Inventory's catalogs are checked by the entry point validate, whole.
_CATALOGS = {"fleet_images"}


def test_what_an_entry_point_reads_is_in_its_specification(root: Path) -> None:
    role = root / "collection/roles/fleet"
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    inner = {"build_elsewhere", "elsewhere", "look"}  # parts of act, and of drain and undrain
    assert set(specs) == {file.stem for file in (role / "tasks").glob("*.yml")} - inner
    variables = set(document("fleet")["properties"]) - _CATALOGS
    for name, spec in specs.items():
        lines = (role / f"tasks/{name}.yml").read_text().splitlines()
        read = {found for line in lines if not line.lstrip().startswith("#") for found in _VARIABLE.findall(line)}
        assert read & variables <= set(spec["options"]), name
