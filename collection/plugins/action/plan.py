# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module plan: reads inventory, makes the plan of a run, claims it and shows it. All of it happens on the
controller."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import unpack
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import fleet_text, status_rows
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import plan_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import BadTemplate, read_inventory
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import (
    InventoryInput,
    Mistake,
    validate,
)

if t.TYPE_CHECKING:
    pass

#: Catalogs that modules write into the ledger, and what inventory calls the same.
_CATALOGS = {"flavor": "flavors", "keypair": "keypairs", "server_group": "server_groups", "aggregate": "aggregates"}


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "kind": {"type": "str", "choices": ["validate", "reconcile", "status"], "default": "reconcile"},
        "declared": {"type": "str"},
        "run": {"type": "dict"},
        "show": {"type": "bool", "default": True},
    }

    def perform(self, args: Arguments) -> Result:
        if args["kind"] == "validate":
            return self._validate()
        if args["kind"] == "status":
            return self._status(args)
        return self._reconcile(args)

    def _validate(self) -> Result:
        # Before anything is made: a broken inventory leaves not even an empty ledger behind.
        declared = self._declare()
        ledger = self.open_ledger(create=not self.check_mode)
        run: dict[str, Json] = {"id": None, "since": time.time()}
        if ledger is not None:
            run["since"] = ledger.now()
            if not self.check_mode:
                run["id"] = ledger.start_run(self._command(), Controller.here(os.getppid()))
        return {"changed": False, "declared": declared.pack(), "run": run}

    def _declare(self) -> Declared:
        raw = read_inventory(self._task_vars, self._templar)
        ledger = self.open_ledger(create=False)
        written = {name: ledger.catalog(kind) for kind, name in _CATALOGS.items()} if ledger is not None else {}
        mistakes = validate(
            InventoryInput(
                fleet=raw.fleet,
                computes=raw.computes,
                servers=raw.servers,
                ledger=written,
                mistakes=[_mistake(bad) for bad in raw.bad],
            )
        )
        if mistakes:
            raise InvalidInput(_told(mistakes))
        return declare(raw.fleet, raw.computes, raw.servers, written)

    def _reconcile(self, args: Arguments) -> Result:
        declared = Declared.unpack(args["declared"]) if args["declared"] else self._declare()
        run = args["run"] or {"id": None, "since": time.time()}
        ledger = self.open_ledger(create=not self.check_mode)
        plan, fleet = reconcile(
            declared, self._computes(declared), Run(ledger, run["id"], float(run["since"])), now=time.time()
        )
        text = plan_text(plan)
        if args["show"]:
            Display().display(text)
        result = plan_result(
            plan,
            declared,
            run_id=run["id"],
            fleet_id=fleet.fleet_id if fleet else None,
            ledger_id=fleet.ledger_id if fleet else None,
        )
        return {**result, "changed": False, "text": text}

    def _status(self, args: Arguments) -> Result:
        declared = Declared.unpack(args["declared"]) if args["declared"] else self._declare()
        ledger = self.open_ledger(create=False)
        computes = self._computes(declared)
        rows = status_rows(declared, computes, ledger.snapshot() if ledger is not None else None)
        text = "\n".join([fleet_text(rows), *(f"{c.name} is down: {c.why}" for c in computes if not c.up)])
        if args["show"]:
            Display().display(text)
        return {"changed": False, "text": text, "servers": [row.to_json() for row in rows]}

    def _computes(self, declared: Declared) -> list[Compute]:
        """The compute hosts with the survey that each of them has registered in this run."""
        hostvars = self._task_vars["hostvars"]
        found = []
        for name, settings in declared.computes.items():
            answer = hostvars.raw_get(name).get("fleet_survey") or {}
            if not answer.get("survey"):
                found.append(Compute(name, settings, why=_why(answer)))
                continue
            survey = unpack(str(answer["survey"]))
            guests = tuple(Guest.from_json(guest) for guest in survey.pop("guests"))
            found.append(Compute(name, settings, survey, guests))
        return found

    def _command(self) -> str:
        """What this run is, for others that meet it at the ledger."""
        return str(self._task_vars.get("ansible_play_name") or "flotilla")


def _why(answer: t.Mapping[str, Json]) -> str:
    """Why a host gave no survey, on one line."""
    text = " ".join(str(answer.get("msg") or "it was not surveyed in this run").split())
    return text if len(text) <= 300 else text[:297] + "..."


def _mistake(bad: BadTemplate) -> Mistake:
    hosts = () if bad.host == "localhost" else (bad.host,)
    return Mistake(bad.variable, bad.variable, hosts=hosts, reason=f"its template can't be resolved: {bad.error}")


def _told(mistakes: t.Sequence[Mistake]) -> str:
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    return f"the inventory has {count}; no host was touched:\n" + "\n".join(f"- {mistake}" for mistake in mistakes)
