# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.server_group), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import read_inventory
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed
from ansible_collections.flotilla.compute.plugins.plugin_utils._server_groups import (
    describe,
    entry_of,
    members,
    refuse_change,
)


class ActionModule(CatalogAction):
    kind = "server_group"
    inventory_variable = "fleet_server_groups"
    argument_spec: t.ClassVar = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "policy": {"type": "str"},
        "rules": {"type": "dict", "options": {"max_server_per_host": {"type": "int"}}},
        "description": {"type": "str"},
    }
    constraints: t.ClassVar = {"required_if": [("state", "present", ("policy",))]}

    def perform(self, args: Arguments) -> Result:
        name = args["name"]
        self.refuse_inventory_name(name)
        before = self.in_ledger().get(name)
        if args["state"] == "absent":
            if before is not None:
                self._refuse_if_named(name)
            return self.store(name, before, None)
        written = {key: args[key] for key in ("policy", "description") if args[key] is not None}
        rules = {key: value for key, value in (args["rules"] or {}).items() if value is not None}
        written.update({"rules": rules} if rules else {})
        self.check(name, written)
        after = entry_of(name, written)
        refuse_change(name, before, after)
        ledger = self.open_ledger(create=False)
        there = members(ledger.snapshot() if ledger is not None else None)
        return {**self.store(name, before, after), "server_group": describe(name, after, there.get(name, ()))}

    def _refuse_if_named(self, name: str) -> None:
        """Nova lets a group with members go. So it is here, but for servers whose declaration would then be wrong."""
        declared = read_inventory(self._task_vars, self._templar).servers
        naming = sorted(host for host, data in declared.items() if data.get("server_group") == name)
        if naming:
            raise Conflict(
                f"server group {name!r} is named by server_group of {listed(naming)} in inventory, which would be an "
                "error without it; take it out there first"
            )
