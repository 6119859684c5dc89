# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of module server: makes a server's entry of a plan, or takes it from one, and has it done."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import (
    LOCK_TIMEOUT,
    Carrier,
    catalogs_of,
    names_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import BUSY, FAILURES
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, ended_on_error, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import read_host
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload

#: Option of a user's task -> its type, and the inventory variable that it stands for.
_OPTIONS = {
    "state": ("str", "server_state"),
    "flavor": ("str", "server_flavor"),
    "image": ("str", "server_image"),
    "networks": ("list", "server_networks"),
    "key_name": ("str", "server_key_name"),
    "metadata": ("dict", "server_metadata"),
    "description": ("str", "server_description"),
    "availability_zone": ("str", "server_availability_zone"),
    "server_group": ("str", "server_group"),
    "pool": ("str", "server_pool"),
    "user_data": ("raw", "server_user_data"),
    "config_drive": ("bool", "server_config_drive"),
}
#: Variables that Server.spec calls otherwise.
_SPEC = {"server_scheduler_hints": "hints"}


# Once, in the process that forks the workers: each would pay for it otherwise.
preload()
with contextlib.suppress(FlotillaError):
    need("pycdlib.pycdlib")


class ActionModule(Carrier):
    """Carries out one server's entry of a plan; for a task of a user's own it makes that entry first."""

    _requires_connection = True
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "entry": {"type": "dict"},
        "unhealthy": {"type": "str"},
        "name": {"type": "str"},
        **{name: {"type": kind} for name, (kind, _variable) in _OPTIONS.items()},
        "allow": {
            "type": "list",
            "elements": "str",
            "choices": ["restart", "rebuild", "delete", "migrate", "host_network", "locked", "data_loss"],
            "default": [],
        },
        "uri": {"type": "str"},
        "state_dir": {"type": "path"},
        "lock_timeout": {"type": "int", "default": LOCK_TIMEOUT},
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {
        "required_one_of": [["entry", "name"]],
        "mutually_exclusive": [["entry", "name"]],
        "required_by": {"unhealthy": ["entry"]},
    }

    def perform(self, args: Arguments) -> Result:
        if args["unhealthy"] is not None:
            return self._unhealthy(args["entry"], args["unhealthy"])
        return self.enter(args["entry"]) if args["entry"] else self._one(args)

    def own(self, server: str, variable: str) -> Json:
        """Also where the task runs for a host: the server is about to come to it."""
        named = server in self._task_vars["groups"].get("servers", [])
        if not named or self._task_vars["inventory_hostname"] == server:
            return super().own(server, variable)
        return read_host(self._task_vars, self._templar, server, variable).get(variable)

    def _unhealthy(self, entry: Arguments, why: str) -> Result:
        """The server's health tasks have failed: in the journal it is a failure of this run as any other."""
        reason = f"it is not healthy: {' '.join(why.split())}"
        if not self.check_mode:
            ledger = self.open_ledger(create=True)
            ledger.begin_task(entry["run_id"], entry["id"], "updating", action="health")
            ledger.fail(entry["run_id"], entry["id"], reason)
        raise FlotillaError(reason)

    def _one(self, args: Arguments) -> Result:
        """One server of a user's own task, on the host that the task is delegated to."""
        host = self.target_host()
        declared = self._declared(args, host)
        if declared is None:
            return {"changed": False, "host": host, "steps": [], "server": {"name": args["name"], "id": None}}
        ledger = self.open_ledger(create=not self.check_mode)
        since = self.now(ledger)
        survey = self.survey(declared, host)
        if survey.get("failed") or survey.get("unreachable"):
            return survey
        run = Run(ledger, None, min(since, self.surveyed_since(since, declared)))
        if ledger is not None and not self.check_mode:
            run = dataclasses.replace(run, id=self.start_run(ledger))
        with ended_on_error(run):
            plan, fleet = reconcile(
                declared, self.known(declared, args["name"], survey, since), run, now=self.now(ledger), host=host
            )
            result = self._planned(args["name"], host, plan_result(plan, declared, run_id=run.id, fleet=fleet))
        if ledger is not None and run.id is not None:
            ledger.end_run(run.id, "failed" if result.get("failed") else "done")
        return result

    def _declared(self, args: Arguments, host: str) -> Declared | None:
        """The fleet with this one server in it; None for one that is to be absent and that nobody knows.

        What the task doesn't give stays as it was applied: a task may say no more than a name and a state.
        """
        name = args["name"]
        given = {variable: args[option] for option, (_kind, variable) in _OPTIONS.items() if args[option] is not None}
        record = self.recorded(name)
        if record is None and args["state"] == "absent":
            return None
        written = given if record is None else {**names_of(record), **given}
        declared = self.declare({name: written}, catalogs_of(record) if record is not None else None)
        if host not in declared.computes:
            known = ", ".join(sorted(declared.computes)) or "none"
            raise InvalidInput(
                f"{name}: the task runs for {host!r}, which is no compute host; delegate_to one of: {known}"
            )
        server = declared.servers[name]
        if record is not None:
            asked = {_SPEC.get(variable, variable.removeprefix("server_")) for variable in given}
            changed = {key: value for key, value in server.spec.items() if key in asked}
            server = dataclasses.replace(server, spec={**record.spec, "state": server.state, **changed})
        settings = dataclasses.replace(
            declared.settings, servers=(name,), allow=declared.settings.allow | frozenset(args["allow"])
        )
        return dataclasses.replace(declared, settings=settings, servers={name: server})

    def _planned(self, name: str, host: str, plan: Result) -> Result:
        """Carry out the one entry of a plan that was made for it."""
        mine, entry = plan["hosts"][host], plan["servers"].get(name)
        if entry is None:
            return {"changed": False, "host": host, "steps": [], "server": {"name": name, "host": host}}
        if entry["verdict"] in FAILURES or entry["verdict"] == BUSY:
            raise FlotillaError(f"{name}: {entry['message']}")
        if entry["host"] not in (None, host):
            raise FlotillaError(
                f"{name} is on {entry['host']}, and this task runs for {host}; delegate_to {entry['host']}"
            )
        if not self.check_mode and (mine["enroll"] or mine["images"]):
            raise FlotillaError(
                f"{host} is not ready for {name}: {', '.join(mine['steps'])} is still to be done; "
                "use flotilla.compute.compute and flotilla.compute.image first, or the reconcile playbook"
            )
        # A user's task is for the host that it runs for.
        result = self.enter({**entry, "attempts": 1})
        return {**result, "held": entry["held"]} if entry["held"] else result
