# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of module server_info: what the ledger knows of each server beside what its host says."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.states import status
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import (
    history_rows,
    migration_rows,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload

preload()  # once, in the process that forks the workers


class ActionModule(FleetAction):
    _requires_connection = True
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "name": {"type": "list", "elements": "str"},
        "diagnostics": {"type": "bool", "default": False},
        "agent": {"type": "bool", "default": False},
        "history": {"type": "bool", "default": False},
        "uri": {"type": "str"},
    }

    def perform(self, args: Arguments) -> Result:
        result: Result = self._execute_module(
            module_name="flotilla.compute.server_info",
            module_args={key: value for key, value in args.items() if value is not None},
            task_vars=self._task_vars,
        )
        ledger = self.open_ledger(create=False)
        rows = ledger.snapshot().servers if ledger is not None else {}
        for server in result.get("servers", []):
            task = rows[server["id"]].task_state if server["id"] in rows else None
            server.update(task_state=task, status=status(server["vm_state"], task))
            if args["history"]:
                server["history"] = history_rows(ledger.history(server["id"])) if ledger is not None else []
                moves = ledger.migrations(server["id"]) if ledger is not None else []
                server["migrations"] = migration_rows(moves)
        return result
