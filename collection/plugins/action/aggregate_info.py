# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.aggregate_info), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._aggregates import describe
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import aggregate


class ActionModule(CatalogAction):
    kind = "aggregate"
    inventory_variable = "fleet_aggregates"
    argument_spec: t.ClassVar = {"name": {"type": "str"}}

    def perform(self, args: Arguments) -> Result:
        computes = [str(host) for host in self._task_vars["groups"].get("computes", [])]
        aggregates = []
        for name, entry, source in self.all_entries(args["name"]):
            self.check(name, entry)
            aggregates.append({**describe(aggregate(name, entry, computes), entry), "source": source})
        return {"changed": False, "aggregates": aggregates}
