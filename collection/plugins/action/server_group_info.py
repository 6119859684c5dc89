# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.server_group_info), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._server_groups import describe, entry_of, members


class ActionModule(CatalogAction):
    kind = "server_group"
    inventory_variable = "fleet_server_groups"
    argument_spec: t.ClassVar = {"name": {"type": "str"}}

    def perform(self, args: Arguments) -> Result:
        ledger = self.open_ledger(create=False)
        there = members(ledger.snapshot() if ledger is not None else None)
        groups = []
        for name, entry, source in self.all_entries(args["name"]):
            self.check(name, entry)
            groups.append({**describe(name, entry_of(name, entry), there.get(name, ())), "source": source})
        return {"changed": False, "server_groups": groups}
