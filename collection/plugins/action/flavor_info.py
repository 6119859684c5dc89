# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.flavor_info), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._flavors import describe, entry_of


class ActionModule(CatalogAction):
    kind = "flavor"
    inventory_variable = "fleet_flavors"
    argument_spec: t.ClassVar = {"name": {"type": "str"}}

    def perform(self, args: Arguments) -> Result:
        flavors = []
        for name, entry, source in self.all_entries(args["name"]):
            self.check(name, entry)
            flavors.append({**describe(name, entry_of(name, entry)), "source": source})
        return {"changed": False, "flavors": flavors}
