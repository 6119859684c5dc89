# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What carries out one of Nova's actions on one server: a user's own task, or the entry of a plan.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import Request
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import Given, given
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import Carrier, catalogs_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.act import Asked, planned
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, ended_on_error
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import read_host

#: What Acting's task is given beside the action's own options.
ARGUMENTS: t.Final[dict[str, dict[str, t.Any]]] = {
    "entry": {"type": "dict"},
    "server": {"type": "str"},
    "allow": {
        "type": "list",
        "elements": "str",
        "choices": ["restart", "rebuild", "delete", "migrate", "host_network", "locked", "data_loss"],
        "default": [],
    },
}


class Acting(Carrier):
    """An action plugin whose task is one action. ``act`` takes its arguments: ``entry`` or ``server``, ``action``,
    ``options``, ``allow``."""

    _requires_connection = True

    def act(self, args: Arguments) -> Result:
        if args["entry"]:
            return self._planned(args["entry"], args["options"] or {})
        return self._one(args)

    def _planned(self, entry: Arguments, options: t.Any) -> Result:
        """The entry of a plan that the playbook has made."""
        ledger = self.open_ledger(create=False)
        with ended_on_error(Run(ledger, None if self.check_mode else entry["run_id"], 0.0)):
            result = self._act(entry, given(entry["action"], options))
        return self._ended(entry, result)

    def _one(self, args: Arguments) -> Result:
        """An action of a user's own task, on the host that the task is delegated to."""
        asked_for = given(args["action"], args["options"] or {})
        ledger = self.open_ledger(create=False)
        if ledger is None:
            raise InvalidInput(f"this fleet has no ledger and so no servers: {args['server']!r} can't be acted on")
        host = self.target_host()
        since = self.now(ledger)
        declared, desired = self._declared(args["server"])
        if host not in declared.computes:
            known = ", ".join(sorted(declared.computes)) or "none"
            raise InvalidInput(
                f"{args['server']}: the task runs for {host!r}, which is no compute host; delegate_to one of: {known}"
            )
        allow = declared.settings.allow | frozenset(args["allow"])
        leave = Leave(allow, declared.settings.reclaim * 3600, self.now(ledger))
        asked = Asked(args["server"], Request(args["action"], asked_for.options, self.operator(), leave), desired, host)
        survey = self.survey(declared, host)
        if survey.get("failed") or survey.get("unreachable"):
            return survey
        run = Run(ledger, None, min(since, self.surveyed_since(since, declared)))
        if not self.check_mode:
            run = dataclasses.replace(run, id=self.start_run(ledger))
        with ended_on_error(run):
            computes = self.known(declared, args["server"], survey, since)
            entry = planned(declared, computes, run, asked, now=self.now(ledger))
            _check_images(entry)
            result = self._act(entry, asked_for)
        return self._ended(entry, result)

    def _declared(self, server: str) -> tuple[Declared, Server | None]:
        """The fleet with this one server in it, if inventory declares it."""
        record = self.recorded(server)
        name = record.name if record is not None else server
        mine = name in self._task_vars["groups"].get("servers", [])
        written = {name: read_host(self._task_vars, self._templar, name, "server_")} if mine else {}
        declared = self.declare(written, catalogs_of(record) if record is not None else None)
        settings = dataclasses.replace(declared.settings, servers=(name,))
        return dataclasses.replace(declared, settings=settings), declared.servers.get(name)

    def _act(self, entry: Arguments, asked_for: Given) -> Result:
        self._secrets, self._action = asked_for.secrets, str(entry["action"])
        if entry["action"] == "set_password" and entry["steps"] and not self._password(entry):
            raise InvalidInput(
                f"{entry['name']}: the action set_password needs the option password, "
                "or server_admin_password in inventory"
            )
        result = self.enter(entry)
        result["action"] = entry["action"]
        if entry["notes"] and not result.get("failed"):
            result["notes"] = entry["notes"]
        return result

    def secrets(self, entry: Arguments) -> dict[str, str]:
        return {"password": self._password(entry)} if entry["action"] == "set_password" else {}

    def _password(self, entry: Arguments) -> str:
        return str(self._secrets.get("password") or self._from_inventory(entry["name"], "server_admin_password") or "")

    def user_data_of(self, server: str) -> Json:
        return self._secrets.get("user_data") or self.own(server, "server_user_data")

    def own(self, server: str, variable: str) -> Json:
        """Inventory's word, but for what this action was given in its place."""
        if variable == "server_admin_password" and self._action == "rebuild" and self._secrets.get("password"):
            return self._secrets["password"]
        return self._from_inventory(server, variable)

    def _from_inventory(self, server: str, variable: str) -> Json:
        if server not in self._task_vars["groups"].get("servers", []):
            return None
        return read_host(self._task_vars, self._templar, server, variable).get(variable)

    def _ended(self, entry: Arguments, result: Result) -> Result:
        """The run's end: an action is all that it does."""
        if entry["run_id"] and not self.check_mode:
            self.open_ledger(create=True).end_run(entry["run_id"], "failed" if result.get("failed") else "done")
        return result


def _check_images(entry: Arguments) -> None:
    for image in entry["images"]:
        raise FlotillaError(
            f"image {image['name']!r} is not in pool {image['pool']!r} of {entry['host']}: bring it there with "
            "flotilla.compute.image first, or use the playbook action, which does"
        )


__all__ = ["ARGUMENTS", "Acting"]
