# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of module compute: the ledger says whose the host becomes, and records its state."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.remembered import KEY, with_marks
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, preload

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

preload()  # once, in the process that forks the workers


class ActionModule(FleetAction):
    _requires_connection = True
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "state": {"type": "str", "choices": ["enabled", "disabled", "maintenance", "down"]},
        "reason": {"type": "str"},
        "pools": {"type": "list", "elements": "str"},
        "fleet_id": {"type": "str"},
        "ledger_id": {"type": "str"},
        "take_over": {"type": "bool", "default": False},
        "uri": {"type": "str"},
        "state_dir": {"type": "path"},
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {"required_by": {"reason": ["state"]}}

    def perform(self, args: Arguments) -> Result:
        ledger = self.open_ledger(create=not self.check_mode)
        fleet = ledger.fleet() if ledger is not None else None
        if fleet is None and ledger is not None and not self.check_mode:
            fleet = ledger.establish(self.fleet_name)
        if fleet is None:
            # Check mode before the first run: the fleet that the host would become part of has no id yet.
            return {"changed": True, "msg": "the host would be enrolled in a fleet that this run would found"}
        given = {key: value for key, value in args.items() if value is not None}
        module_args = {"fleet_id": fleet.fleet_id, "ledger_id": fleet.ledger_id, **given}
        result: Result = self._execute_module(
            module_name="flotilla.compute.compute", module_args=module_args, task_vars=self._task_vars
        )
        if ledger is not None and not self.check_mode and not result.get("failed"):
            self._remember(ledger, result)
        if args["state"] and ledger is not None and not self.check_mode and not result.get("failed"):
            recorded = ledger.set_service(self._host(), args["state"], args["reason"])
            result["changed"] = result.get("changed", False) or recorded
        return result

    def _remember(self, ledger: Ledger, result: Result) -> None:
        """What enrolling has changed of a host that this ledger has surveyed; any other stays unknown to it."""
        row = ledger.snapshot().hosts.get(self._host())
        marker = result.get("host") or {}
        if row is None or row.surveyed is None or not marker.get("host_id"):
            return
        pools = sorted({*row.summary.get("pools", []), *(result.get("pools") or {}).values()})
        if (row.host_id, list(row.summary.get("pools", []))) != (marker["host_id"], pools):
            summary = {**row.summary, "pools": pools}
            if KEY in summary:
                summary[KEY] = with_marks(summary[KEY], result.get("pools") or {})
            seen = HostSeen(row.name, marker["host_id"], row.service_state, row.service_reason, summary)
            ledger.save_survey([seen])

    def _host(self) -> str:
        return str(self._task.delegate_to or self._task_vars["inventory_hostname"])
