# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.aggregate), which is all of it."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._aggregates import (
    ZONE,
    Fleet,
    describe,
    entry_of,
    refuse_moves,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction, Entry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.zones import servers_on
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import RawInventory, read_inventory
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import aggregate, default_zone
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake, listed, path_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import InventoryInput

_ZONE_VARIABLE = "compute_availability_zone"


class ActionModule(CatalogAction):
    kind = "aggregate"
    inventory_variable = "fleet_aggregates"
    argument_spec: t.ClassVar = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "availability_zone": {"type": "str"},
        "hosts": {"type": "list", "elements": "str"},
        "purge_hosts": {"type": "bool", "default": True},
        "metadata": {"type": "dict"},
        "description": {"type": "str"},
    }

    def perform(self, args: Arguments) -> Result:
        name = args["name"]
        self.refuse_inventory_name(name)
        inventory = read_inventory(self._task_vars, self._templar, servers=False)
        stored = self.in_ledger()
        before = stored.pop(name, None)
        after = None
        if args["state"] == "present":
            after = entry_of(args, before, inventory.computes)
            if after["hosts"] and not inventory.computes:
                raise InvalidInput(
                    f"aggregate {name!r} can't have {listed(after['hosts'])}: the group computes of inventory is "
                    "empty, so nothing says which compute hosts there are"
                )
            self.check(name, after, beside=self._beside(name, after, stored, inventory))
        old = aggregate(name, before, inventory.computes) if before is not None else None
        new = aggregate(name, after, inventory.computes) if after is not None else None
        refuse_moves(old, new, self._fleet(stored, inventory), self._servers)
        result = self.store(name, before, after)
        return {**result, "aggregate": describe(new, after)} if new is not None and after is not None else result

    def _beside(self, name: str, entry: Entry, stored: dict[str, Entry], inventory: RawInventory) -> InventoryInput:
        """The aggregate as one of inventory, among the others and the compute hosts."""
        zones = {host: {_ZONE_VARIABLE: data.get(_ZONE_VARIABLE)} for host, data in inventory.computes.items()}
        entries = {**self.in_inventory(), name: entry}
        fleet = {self.inventory_variable: entries}
        return InventoryInput(fleet, computes=zones, servers={}, ledger={"aggregates": stored})

    def concerns(self, mistake: Mistake, name: str, entry: Entry) -> bool:
        """Those of this aggregate, and hosts of it that it would put into a second zone."""
        place = path_text(self.inventory_variable, (name,))
        if mistake.path == place or mistake.path.startswith(place + "."):
            return True
        gives_zone = bool(entry["metadata"].get(ZONE))
        return mistake.variable == _ZONE_VARIABLE and gives_zone and bool({*mistake.hosts} & {*entry["hosts"]})

    def _fleet(self, stored: dict[str, Entry], inventory: RawInventory) -> Fleet:
        entries = {**stored, **self.in_inventory()}
        return Fleet(
            own_zones={host: data.get(_ZONE_VARIABLE) for host, data in inventory.computes.items()},
            default_zone=default_zone(inventory.fleet),
            others=[aggregate(other, entry, inventory.computes) for other, entry in entries.items()],
        )

    def _servers(self, host: str) -> list[str]:
        """The servers that the ledger has on a host; none while there is no ledger."""
        ledger = self.open_ledger(create=False)
        return servers_on(ledger.snapshot(), host) if ledger is not None else []
