# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module plan: reads inventory, makes the plan of a run, claims it and shows it. All of it happens on the
controller."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils import _cut_short  # it is told of the end of the run
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, ended_on_error, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import plan_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger, preload
from ansible_collections.flotilla.compute.plugins.plugin_utils._planner import Planner

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

# What other kinds need is imported where they begin: Ansible compiles a collection's code anew in each run, and most
# runs are of reconcile.
preload()  # once, in the process that forks the workers


class ActionModule(Planner):
    _requires_connection = True  # kind=look alone asks a host
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "kind": {
            "type": "str",
            "choices": [
                "validate",
                "reconcile",
                "reschedule",
                "action",
                "drain",
                "undrain",
                "look",
                "stop",
                "status",
                "guests",
                "rehearse",
            ],
            "default": "reconcile",
        },
        "declared": {"type": "str"},
        "run": {"type": "dict"},
        "server": {"type": "str"},
        "action": {"type": "str"},
        "options": {"type": "raw", "no_log": True},
        "failed": {"type": "dict"},
        "ask": {"type": "dict"},
        "heard": {"type": "dict"},
        "answers": {"type": "list", "elements": "dict", "default": []},
        "show": {"type": "bool", "default": True},
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {
        "required_if": [["kind", "action", ["server", "action"]], ["kind", "look", ["ask"]]]
    }

    def perform(self, args: Arguments) -> Result:
        if args["kind"] == "validate":
            return self._validate()
        if args["kind"] == "status":
            return self._status(args)
        if args["kind"] == "guests":
            return self._guests(args)
        if args["kind"] == "action":
            return self._action(args)
        if args["kind"] in ("drain", "undrain"):
            return self._moves(args)
        if args["kind"] == "look":
            return self._look(args["ask"])
        if args["kind"] == "stop":
            return self._stop()
        if args["kind"] == "rehearse":
            return self._rehearse(args)
        if args["kind"] == "reschedule":
            return self._reschedule(args)
        return self._reconcile(args)

    def _validate(self) -> Result:
        # Before anything is made: a broken inventory leaves not even an empty ledger behind.
        with self.putting_together(self._modules()):
            declared = self.declare()
        ledger = self.open_ledger(create=not self.check_mode)
        run: dict[str, Json] = {"id": None, "since": time.time()}
        if ledger is not None:
            if not self.check_mode:
                run["id"] = self.start_run(ledger)  # first: it buries dead runs, which writes to their servers' rows
            run["since"] = ledger.now()
        return {"changed": False, "declared": declared.pack(), "run": run}

    def _modules(self) -> list[str]:
        """What the run's next tasks call on hosts, as far as the names of its variables tell."""
        if "fleet_lose" in self._task_vars:
            return []
        acts = not self.check_mode and not self._task_vars.keys().isdisjoint(("fleet_action", "fleet_host"))
        return ["compute_info", *(["server"] if acts else [])]

    def _reconcile(self, args: Arguments) -> Result:
        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        run = args["run"] or {"id": None, "since": time.time()}
        ledger = self.open_ledger(create=not self.check_mode)
        self._check_prune(declared)
        _check_asked(declared)
        here = Run(ledger, run["id"], float(run["since"]))
        with ended_on_error(here):
            plan, fleet = reconcile(declared, self.computes(declared), here, now=self.now(ledger))
        result = plan_result(plan, declared, run_id=run["id"], fleet=fleet)
        text = plan_text(plan)
        if len(result["rounds"]) > 1:
            text += (
                f"\n  note: guests are interrupted in {len(result['rounds'])} rounds, of a server group never more at "
                f"once than fleet_max_disrupted says ({declared.settings.max_disrupted})"
            )
        if args["show"]:
            Display().display(text)
        return {**result, "changed": False, "text": text}

    def _moves(self, args: Arguments) -> Result:
        """A host is emptied, or filled again."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._drain import moves
        from ansible_collections.flotilla.compute.plugins.plugin_utils._heard import Heard

        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        run = args["run"] or {"id": None, "since": time.time()}
        ledger = self.open_ledger(create=False)
        here = Run(ledger, run["id"], float(run["since"]))
        with ended_on_error(here):
            heard = Heard(args["heard"])
            heard.hear(args["answers"])
            computes, now = self.computes(declared), self.now(ledger)
            result = moves(args["kind"], declared, computes, here, now=now, by=self.operator(), heard=heard)
        if result["ask"]:
            return {**result, "changed": False}
        if not self.check_mode:
            _cut_short.begun(args["kind"], result["drain"]["host"], self.ledger_url)
        if args["show"]:
            Display().display(result["text"])
        return {**result, "changed": False}

    def _look(self, ask: Arguments) -> Result:
        """Have the host that the task is delegated to look at the moves of servers that leave it, and at nothing else.
        What it says is for the plan, so the task succeeds whatever it is."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._heard import module_args, said

        if not self.check_mode:
            raise InvalidInput("a look changes nothing; a task with kind=look needs check_mode: true")
        args = module_args(ask)
        try:
            outcome = self._execute_module("flotilla.compute.server", module_args=args, task_vars=self._task_vars)
        except AnsibleConnectionFailure as exc:
            return {"changed": False, "host": ask["host"], "silent": str(exc)}
        if "results" not in outcome:
            return {"changed": False, "host": ask["host"], "silent": str(outcome.get("msg"))}
        return {"changed": False, "host": ask["host"], "said": said(ask, outcome["results"])}

    def _stop(self) -> Result:
        from ansible_collections.flotilla.compute.plugins.plugin_utils._drain import stop

        declared, ledger = self.declare(), self.open_ledger(create=False)
        if self.check_mode:
            raise InvalidInput("to tell a drain to stop is no change that could be checked; leave --check out")
        result: Result = stop(declared, ledger, self.operator())
        Display().display(result["text"])
        return result

    def _action(self, args: Arguments) -> Result:
        """One server's entry, for module server_action."""
        from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import Request
        from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
        from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import given
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.act import Asked, planned

        ledger = self.open_ledger(create=False)
        run = args["run"] or {"id": None, "since": time.time()}
        if ledger is None:
            raise InvalidInput(f"this fleet has no ledger and so no servers: {args['server']!r} can't be acted on")
        here = Run(ledger, run["id"], float(run["since"]))
        with ended_on_error(here):
            options = given(args["action"], args["options"] or {}).options
            declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
            row = ledger.snapshot().servers.get(args["server"])
            name = row.name if row is not None else args["server"]
            settings = dataclasses.replace(declared.settings, servers=(name,))
            now = self.now(ledger)
            leave = Leave(settings.allow, settings.reclaim * 3600, now)
            request = Request(args["action"], options, self.operator(), leave)
            asked = Asked(args["server"], request, declared.servers.get(name))
            declared = dataclasses.replace(declared, settings=settings)
            entry = planned(declared, self.computes(declared), here, asked, now=now)
        text = "\n".join(entry["text"])
        if args["show"]:
            Display().display(text)
        return {"changed": False, "entry": entry, "host": entry["host"], "text": text}

    def _rehearse(self, args: Arguments) -> Result:
        """What if hosts died, by inventory and the ledger alone: no host is asked."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rehearsal import (
            cases_of,
            could_not,
            outcomes_text,
            rehearsal_of,
            surveyed_text,
        )
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.remembered import remembered

        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        cases = cases_of(declared.settings.lose, list(declared.computes))
        ledger = self.open_ledger(create=False)
        if ledger is None:
            raise InvalidInput("this fleet has no ledger, and so no servers that could be lost: run reconcile first")
        snapshot = ledger.snapshot()
        computes = remembered(declared.computes, snapshot)
        outcomes = rehearsal_of(declared, computes, snapshot).outcomes(cases)
        text = "\n".join([surveyed_text(computes, snapshot), outcomes_text(outcomes)])
        if args["show"]:
            Display().display(text)
        result: Result = {"changed": False, "rehearsal": [one.to_json() for one in outcomes], "text": text}
        problem = could_not(outcomes, declared.settings)
        if problem:
            result.update(failed=True, msg=problem)
        return result

    def _reschedule(self, args: Arguments) -> Result:
        """Another host for a build that failed, if it may be tried on another at all."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reschedule import reschedule
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import told

        failed, run = args["failed"], args["run"]
        # Ansible wants to know whom a task is delegated to before it asks whether the task is to be done.
        here = failed.get("host") or self._task_vars["inventory_hostname"]
        nowhere: Result = {"changed": False, "found": False, "host": here}
        if not failed.get("reschedule") or not run or not run["id"] or self.check_mode:
            return nowhere
        name = failed["server"]["name"]
        cause = " ".join(str(failed.get("msg")).split()).removeprefix(f"{name}: ")
        tried = [*failed.get("tried", []), {"host": failed["host"], "cause": cause}]
        declared = Declared.unpack(args["declared"])
        ledger = self.open_ledger(create=True)
        try:
            found = reschedule(
                declared,
                self.computes(declared),
                ledger,
                failed["server"],
                tried,
                run_id=run["id"],
                now=self.now(ledger),
            )
        except FlotillaError as exc:
            return {**nowhere, "tried": tried, "msg": str(exc)}
        text = told(name, tried, found["host"])
        Display().display(text)
        return {"changed": False, "found": True, "tried": tried, "text": text, **found}

    def _check_prune(self, declared: Declared) -> None:
        """Ansible only warns of an inventory source that it can't parse, and goes on with the rest."""
        if declared.settings.prune and not constants.config.get_config_value("INVENTORY_ANY_UNPARSED_IS_FAILED"):
            raise InvalidInput(
                "fleet_prune deletes what inventory doesn't name, so half an inventory must be an error: set "
                "any_unparsed_is_failed = true in section [inventory] of ansible.cfg, or leave fleet_prune out"
            )

    def _status(self, args: Arguments) -> Result:
        from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import deleted_name
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import (
            fleet_text,
            history_rows,
            history_text,
            status_rows,
        )
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.host_table import (
            host_json,
            hosts_text,
        )
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import host_states
        from ansible_collections.flotilla.compute.plugins.plugin_utils._report import write

        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        ledger = self.open_ledger(create=False)
        computes = self.computes(declared)
        snapshot = ledger.snapshot() if ledger is not None else None
        rows = status_rows(declared, computes, snapshot)
        one, history = declared.settings.server, []
        if one is not None:
            history = history_rows(ledger.history(one)) if ledger is not None else []
            name = history[-1]["name"] if history else one
            rows = [row for row in rows if row.server == name or row.server.startswith(deleted_name(name, ""))]
            if not rows and not history:
                raise InvalidInput(f"there is no server {one!r} and there was none; leave fleet_server out to see all")
        down = (f"{c.name} is down: {c.why}" for c in computes if not c.up)
        past = [f"History of {one}:", history_text(history)] if history else []
        fleet_id = snapshot.fleet.fleet_id if snapshot is not None and snapshot.fleet is not None else None
        states = host_states(computes, snapshot, fleet_id=fleet_id, catalogs=declared.catalogs, groups={})
        hosts = [hosts_text(states)] if one is None else []
        text = "\n".join([fleet_text(rows), *hosts, *down, *past])
        if declared.settings.report is not None:
            written = write(declared.settings.report, self._report(declared, computes, ledger))
            text += f"\nThe report is in {written}"
        if args["show"]:
            Display().display(text)
        return {
            "changed": False,
            "text": text,
            "servers": [row.to_json() for row in rows],
            "hosts": {state.name: host_json(state) for state in states},
            "history": history,
        }

    def _report(self, declared: Declared, computes: list[Compute], ledger: Ledger | None) -> str:
        """The fleet as a page, with what reconcile would do; where it would do nothing but fail, with its words."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.report import report
        from ansible_collections.flotilla.compute.plugins.plugin_utils._report import page

        now, plan, no_plan = self.now(ledger), None, ""
        settings = dataclasses.replace(declared.settings, report=None, server=None)
        declared = dataclasses.replace(declared, settings=settings)
        try:
            plan, _fleet = reconcile(declared, computes, Run(ledger, None, now), now=now)
        except FlotillaError as exc:
            no_plan = str(exc)
        snapshot = ledger.snapshot() if ledger is not None else None
        return page(report(declared, computes, snapshot, plan, no_plan), now=now)

    def _guests(self, args: Arguments) -> Result:
        from ansible_collections.flotilla.compute.plugins.plugin_utils._guests import guests_of_hosts

        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        computes = self.computes(declared)
        down = [f"{compute.name} is down: {compute.why}" for compute in computes if not compute.up]
        if down and len(down) == len(computes):
            raise FlotillaError(f"no compute host could be read: {'; '.join(down)}")
        for line in down:
            Display().warning(f"{line}; its servers are not among the guests")
        return {"changed": False, "guests": guests_of_hosts(computes, declared.catalogs.zones)}


def _check_asked(declared: Declared) -> None:
    """What asks for an action is never passed over in silence by a run that takes none."""
    if declared.settings.action is not None:
        raise InvalidInput("fleet_action is for the playbook action; this run brings servers to what is declared")
    if declared.settings.server is not None:
        raise InvalidInput("fleet_server is for playbooks about one server; select servers by fleet_servers")
    if declared.settings.host is not None:
        raise InvalidInput("fleet_host is for playbooks about one host; server_host says where a server is to be")
    if declared.settings.lose:
        raise InvalidInput("fleet_lose is for the playbook plan, which says what the loss of a host would mean")
    if declared.settings.report is not None:
        raise InvalidInput("fleet_report is for the playbook status, which writes the report")
    if declared.settings.drain is not None:
        raise InvalidInput("fleet_drain is for the playbook drain, which stops a drain by it")
