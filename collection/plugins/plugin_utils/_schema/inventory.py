# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory as the validator takes it, and the review of it that the checks write into.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import INTERNAL, coerced, variables
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake, Path, nearest, path_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes

__all__ = ["CATALOGS", "REQUIRED", "InventoryInput", "Review"]

Variables = c.Mapping[str, Json]

#: Catalog variable -> what the ledger calls the same catalog.
CATALOGS = {
    "fleet_aggregates": "aggregates",
    "fleet_flavors": "flavors",
    "fleet_images": "images",
    "fleet_keypairs": "keypairs",
    "fleet_networks": "networks",
    "fleet_security_groups": "security_groups",
    "fleet_server_groups": "server_groups",
    "fleet_volumes": "volumes",
}

#: Variables that each server needs. (Not in the JSON Schema: a group_vars file may have some of a server's variables.)
REQUIRED = {"server_flavor": "the name of a flavor", "server_image": "the name of an image"}


@dataclasses.dataclass(frozen=True)
class InventoryInput:
    """Everything to validate, as plain data.

    ``fleet`` has the fleet_* variables, ``computes`` and ``servers`` the compute_* or server_* variables of each host
    of the groups. ``ledger`` has the catalogs that modules have filled: ``{"flavors": {name: data}, "keypairs": …}``,
    data as in the inventory's catalogs; None where a mistake keeps the ledger from being found, so that nobody knows
    what names there are. ``sources`` says where a variable was set, where that is known: host ("" for the fleet's) ->
    variable -> text. ``names`` are further names with our prefixes that were seen: host -> names. ``mistakes`` are
    those that the caller has found already, such as templating errors: their variables are not looked at.
    """

    fleet: Variables
    computes: c.Mapping[str, Variables]
    servers: c.Mapping[str, Variables]
    ledger: c.Mapping[str, c.Mapping[str, Json]] | None = dataclasses.field(default_factory=dict)
    sources: c.Mapping[str, c.Mapping[str, str]] = dataclasses.field(default_factory=dict)
    names: c.Mapping[str, c.Iterable[str]] = dataclasses.field(default_factory=dict)
    mistakes: c.Sequence[Mistake] = ()


class Review:
    """The mistakes so far, and what of the inventory is fit to be looked at more closely.

    ``fleet``, ``computes`` and ``servers`` hold only what has the right shape, so that later checks need not ask again
    and report nothing that follows from an earlier mistake.
    """

    def __init__(self, inventory: InventoryInput) -> None:
        self.inventory = inventory
        self.mistakes = list(inventory.mistakes)
        self._spoilt = {(host, one.variable) for one in inventory.mistakes for host in one.hosts or ("",)}
        self._shapes = Shapes()
        self.fleet = self._shaped("", "fleet_", {name: coerced(name, value) for name, value in inventory.fleet.items()})
        self.computes = {host: self._shaped(host, "compute_", data) for host, data in inventory.computes.items()}
        self.servers = {host: self._shaped(host, "server_", data) for host, data in inventory.servers.items()}
        for host, names in inventory.names.items():
            self._unknown(host, names)
        self._require()

    def add(self, variable: str, path: Path = (), *, hosts: c.Iterable[str] = (), **clauses: t.Any) -> None:
        """Note a mistake in the variable of these hosts, or of the fleet. ``clauses`` are Mistake's."""
        named = tuple(hosts)
        sources = {self.inventory.sources.get(host, {}).get(variable) for host in named or ("",)}
        source = sources.pop() if len(sources) == 1 else None
        clauses.setdefault("source", source)
        self.mistakes.append(Mistake(variable, path_text(variable, path), hosts=named, **clauses))

    def spoilt(self, variable: str, hosts: c.Iterable[str] = ("",)) -> bool:
        """Whether a mistake in the variable keeps its value from being known."""
        return any((host, variable) in self._spoilt for host in hosts)

    def entries(self, catalog: str) -> Variables:
        """The fit entries of a catalog variable, and the ledger's."""
        return {**self.written(catalog), **self.fleet.get(catalog, {})}

    def written(self, catalog: str) -> Variables:
        """What modules have written of a catalog into the ledger."""
        return (self.inventory.ledger or {}).get(CATALOGS[catalog], {})

    def names(self, catalog: str) -> frozenset[str] | None:
        """All names in the catalog, of entries with mistakes too; None when they can't be known."""
        if self.spoilt(catalog) or self.inventory.ledger is None:
            return None
        declared = self.inventory.fleet.get(catalog) or {}
        return frozenset(self.written(catalog)) | {name for name in declared if isinstance(name, str)}

    def _shaped(self, host: str, prefix: str, data: Variables) -> dict[str, Json]:
        """The variables, or of catalogs the entries, that have the right shape. Null counts as not given."""
        ours = {name: value for name, value in data.items() if isinstance(name, str) and name.startswith(prefix)}
        self._unknown(host, ours)
        fit: dict[str, Json] = {}
        for name, value in ours.items():
            if value is None or name not in variables() or (host, name) in self._spoilt:
                continue
            findings = self._shapes.findings(name, value)
            for finding in findings:
                source = self.inventory.sources.get(host, {}).get(name)
                hosts = (host,) if host else ()
                self.mistakes.append(dataclasses.replace(finding.mistake, hosts=hosts, source=source))
            if not findings:
                fit[name] = value
            elif name in CATALOGS and all(finding.path for finding in findings):
                bad = {finding.path[0] for finding in findings}
                fit[name] = {key: entry for key, entry in value.items() if isinstance(key, str) and key not in bad}
            else:
                self._spoilt.add((host, name))
        return fit

    def _unknown(self, host: str, names: c.Iterable[str]) -> None:
        for name in names:
            if name not in variables() and name not in INTERNAL:
                hint = nearest(name, variables())
                reason = "no variable has this name"
                self.add(name, hosts=(host,) if host else (), reason=reason, hint=hint)

    def _require(self) -> None:
        for host, data in self.servers.items():
            for variable, what in REQUIRED.items():
                if variable not in data and not self.spoilt(variable, (host,)):
                    self.add(variable, hosts=(host,), reason=f"is missing, it must be {what}")
