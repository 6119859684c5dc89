# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.keypair_info), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._keys import describe, parse_public


class ActionModule(CatalogAction):
    kind = "keypair"
    inventory_variable = "fleet_keypairs"
    argument_spec: t.ClassVar = {"name": {"type": "str"}}

    def perform(self, args: Arguments) -> Result:
        entries = self.all_entries(args["name"])
        keypairs = [
            {**describe(name, parse_public(entry["public_key"], name=name)), "source": source}
            for name, entry, source in entries
        ]
        return {"changed": False, "keypairs": keypairs}
