# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share that plan: the inventory checked and as values, the compute hosts with their surveys, the run.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import FleetAction
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute, surveyed
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import (
    BadTemplate,
    RawInventory,
    Variables,
    read_inventory,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import merge
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.personality import doubts
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.planned import planned
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import (
    InventoryInput,
    Mistake,
    validate,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

#: Catalogs that modules write into the ledger, and what inventory calls the same.
_CATALOGS = {
    "flavor": "flavors",
    "keypair": "keypairs",
    "server_group": "server_groups",
    "aggregate": "aggregates",
    "image": "images",
}
#: What says where the ledger is.
_WHERE = ("fleet_ledger", "fleet_name", "fleet_state_dir")


class Planner(FleetAction):
    """An action that makes a plan."""

    def declare(
        self,
        servers: t.Mapping[str, Variables] | None = None,
        beside: t.Mapping[str, t.Mapping[str, Json]] | None = None,
    ) -> Declared:
        """The fleet as inventory declares it; with *servers* those instead of inventory's (server_* variables by name).

        *beside*: catalog entries that count where inventory and ledger have none of the name. InvalidInput with every
        mistake in one go.
        """
        raw = read_inventory(self._task_vars, self._templar, servers=servers is None)
        found = _says_where(raw)
        ledger = self.open_ledger(create=False) if found else None
        written = {name: ledger.catalog(kind) for kind, name in _CATALOGS.items()} if ledger is not None else {}
        for name, entries in (beside or {}).items():
            known = raw.fleet.get(f"fleet_{name}") or {}
            written[name] = {
                **{key: entry for key, entry in entries.items() if key not in known},
                **written.get(name, {}),
            }
        wanted = raw.servers if servers is None else servers
        given = InventoryInput(
            fleet=raw.fleet,
            computes=raw.computes,
            servers=wanted,
            ledger=written if found else None,
            mistakes=[_mistake(bad) for bad in raw.bad],
        )
        mistakes = [*validate(given), *merge(planned(given))]
        if mistakes:
            raise InvalidInput(_told(mistakes))
        for doubt in doubts(wanted, raw.fleet.get("fleet_vendor_data")):
            Display().warning(str(doubt))
        return declare(raw.fleet, raw.computes, wanted, written)

    def computes(self, declared: Declared, fresh: t.Mapping[str, Json] | None = None) -> list[Compute]:
        """The compute hosts with the survey that each has registered in this run, or a *fresh* one by host.

        Beside a fresh one the others may be of before this run enrolled their hosts.
        """
        hostvars = self._task_vars["hostvars"]
        registered = {name: hostvars.raw_get(name) for name in declared.computes}
        surveys = {name: its.get("fleet_survey") for name, its in registered.items()}
        if not fresh:
            return surveyed(declared.computes, surveys)
        enrolled = {name: its.get("fleet_enrolled") for name, its in registered.items() if name not in fresh}
        return surveyed(declared.computes, {**surveys, **fresh}, enrolled)

    def now(self, ledger: Ledger | None) -> float:
        """The ledger's clock, one for all controllers: deletions wait by it."""
        return time.time() if ledger is None else ledger.now()

    def start_run(self, ledger: Ledger) -> str:
        """A run that lives as long as Ansible's main process: its workers end with their task."""
        what = str(self._task_vars.get("ansible_play_name") or "flotilla")
        return ledger.start_run(what, dataclasses.replace(Controller.here(os.getppid()), user=self.operator()))

    def operator(self) -> str:
        """Who does this: AWX's user where it is a job of AWX, which are all one user of the system; else that one."""
        names = (self.variable(name) for name in ("awx_user_name", "tower_user_name"))
        return str(next((name for name in names if name), None) or Controller.here().user)


def _says_where(raw: RawInventory) -> bool:
    """Whether the ledger can be looked for. If not, what keeps it from that is one of the mistakes that are told."""
    shapes, bad = Shapes(), {one.variable for one in raw.bad}
    given = {name: raw.fleet[name] for name in _WHERE if raw.fleet.get(name) is not None}
    return bad.isdisjoint(_WHERE) and not any(shapes.findings(name, value) for name, value in given.items())


def _mistake(bad: BadTemplate) -> Mistake:
    hosts = () if bad.host == "localhost" else (bad.host,)
    return Mistake(bad.variable, bad.variable, hosts=hosts, reason=f"its template can't be resolved: {bad.error}")


def _told(mistakes: t.Sequence[Mistake]) -> str:
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    return f"the inventory has {count}; no host was touched:\n" + "\n".join(f"- {mistake}" for mistake in mistakes)


__all__ = ["Planner"]
