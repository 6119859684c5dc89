# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.flavor), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._flavors import KEYS, SIZES, describe, entry_of


class ActionModule(CatalogAction):
    kind = "flavor"
    inventory_variable = "fleet_flavors"
    argument_spec: t.ClassVar = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "vcpus": {"type": "int"},
        "ram": {"type": "raw"},
        "disk": {"type": "raw"},
        "ephemeral": {"type": "raw", "default": 0},
        "swap": {"type": "raw", "default": 0},
        "extra_specs": {"type": "dict", "default": {}},
        "description": {"type": "str"},
    }
    constraints: t.ClassVar = {"required_if": [("state", "present", ("vcpus", "ram", "disk"))]}

    def perform(self, args: Arguments) -> Result:
        name = args["name"]
        self.refuse_inventory_name(name)
        before = self.in_ledger().get(name)
        if args["state"] == "absent":
            return self.store(name, before, None)
        written = {key: args[key] for key in KEYS if args[key] is not None}
        written.update({key: _number(written[key]) for key in SIZES})
        self.check(name, written)
        after = entry_of(name, written)
        return {**self.store(name, before, after), "flavor": describe(name, after)}


def _number(value: t.Any) -> t.Any:
    """Sizes are raw arguments, and ``ram=2048`` on a command line arrives as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 12 else value
