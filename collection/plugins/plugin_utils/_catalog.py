# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules of a catalog share: entries live in the ledger or in inventory, and one name in one of them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake, path_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import InventoryInput, validate

__all__ = ["CatalogAction", "Entry"]

Entry = dict[str, t.Any]


class CatalogAction(FleetAction):
    """An action on the catalog ``kind``, whose entries of inventory are in the variable ``inventory_variable``."""

    kind: t.ClassVar[str]
    inventory_variable: t.ClassVar[str]

    def in_inventory(self) -> dict[str, Entry]:
        return dict(self.variable(self.inventory_variable, {}))

    def in_ledger(self) -> dict[str, Entry]:
        """The entries that modules have made; none while there is no ledger."""
        ledger = self.open_ledger(create=False)
        return ledger.catalog(self.kind) if ledger else {}

    def all_entries(self, name: str | None) -> list[tuple[str, Entry, str]]:
        """Name, entry and where it stands (inventory or ledger), in the names' order; of *name* alone if given."""
        entries = [(key, entry, "inventory") for key, entry in self.in_inventory().items()]
        entries += [(key, entry, "ledger") for key, entry in self.in_ledger().items()]
        return sorted((entry for entry in entries if name in (None, entry[0])), key=lambda entry: entry[0])

    def refuse_inventory_name(self, name: str) -> None:
        if name in self.in_inventory():
            raise Conflict(
                f"{self.kind} {name!r} is defined in inventory, in {self.inventory_variable}, and can't be one of the "
                "ledger too; change it there, or use another name"
            )

    def check(self, name: str, entry: Entry, *, beside: InventoryInput | None = None) -> None:
        """Refuse what would be refused in inventory, all mistakes at once; with *beside* as a part of that."""
        alone = InventoryInput({self.inventory_variable: {name: entry}}, computes={}, servers={})
        mistakes = [mistake for mistake in validate(beside or alone) if self.concerns(mistake, name, entry)]
        if mistakes:
            place = path_text(self.inventory_variable, (name,))
            told = "; ".join(_clause(mistake, place) for mistake in mistakes)
            raise InvalidInput(f"{self.kind} {name!r}: {told}")

    def concerns(self, mistake: Mistake, name: str, entry: Entry) -> bool:  # noqa: ARG002  # subclasses look at them
        """Whether a mistake is one of the entry."""
        return mistake.variable == self.inventory_variable

    def store(self, name: str, before: Entry | None, after: Entry | None) -> Result:
        """Bring the ledger's entry from *before* to *after* (None: no entry), and give the task's result."""
        result: Result = {"changed": before != after}
        if self.diff_mode:
            result["diff"] = {
                "before": before or {},
                "after": after or {},
                "before_header": f"{self.kind} {name}",
                "after_header": f"{self.kind} {name}",
            }
        if before == after or self.check_mode:
            return result
        ledger = self.open_ledger(create=True)
        if after is None:
            ledger.drop(self.kind, name)
        else:
            ledger.put(self.kind, name, after)
        return result


def _clause(mistake: Mistake, place: str) -> str:
    """A mistake in a module's words: where it is below *place*, without the variable and the file."""
    where = mistake.path.removeprefix(place).lstrip(".")
    clause = mistake.reason or f"found {mistake.found}, allowed is {mistake.allowed}"
    hint = f" (did you mean {mistake.hint!r}?)" if mistake.hint else ""
    return f"{where}: {clause}{hint}" if where else f"{clause}{hint}"
