# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module evacuate: proves that hosts are dead, plans all their servers together, and claims and notes what it chose.

On the controller it only plans: the playbook carries that out on the destinations. On a compute host it carries out,
too, for that host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import port_number
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import Carrier
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuate import Evacuate
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import (
    evacuation_rows,
    evacuation_text,
    to_be_proven,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.lost import Lost
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, ended_on_error, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._evacuation import (
    accept,
    begun_elsewhere,
    conclude,
    left_behind,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import Fence, read_fence
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import read_host
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof
from ansible_collections.flotilla.compute.plugins.plugin_utils._proving import Prover, Suspect, Word
from ansible_collections.flotilla.compute.plugins.plugin_utils._services import services

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

_SSH = 22
#: Seconds that a host's silence counts, from the beginning of the run that has listened for it.
_SILENT_FOR = 10.0

# Once, in the process that forks the workers: each would pay for it otherwise.
preload()
with contextlib.suppress(FlotillaError):
    need("pycdlib.pycdlib")


class ActionModule(Carrier):
    _requires_connection = True
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "host": {"type": "list", "elements": "str", "required": True},
        "server": {"type": "str"},
        "to": {"type": "str"},
        "fenced": {"type": "raw"},
        "on_shared_storage": {"type": "str", "choices": ["auto", "true", "false"], "default": "auto"},
        "accept_data_loss": {"type": "bool", "default": False},
        "target_state": {"type": "str", "choices": ["declared", "started", "stopped"], "default": "declared"},
        "admin_password": {"type": "str", "no_log": True},
        "wait": {"type": "bool", "default": True},
        "unattended": {"type": "bool", "default": False},
        "declared": {"type": "str"},
        "run": {"type": "dict"},
        "show": {"type": "bool", "default": True},
    }

    def perform(self, args: Arguments) -> Result:
        self._given_password = args["admin_password"]
        ledger = self.open_ledger(create=False)
        if ledger is None:
            raise InvalidInput("this fleet has no ledger, so nobody knows which servers were on the host")
        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        here = self._here(declared, args)
        computes = self.computes(declared)
        self._check_surveyed(args["host"], declared)
        if args["unattended"]:
            self._check_in_service(args["host"], ledger)
        lost = self._lost(args, ledger, here)
        given = args["run"] or {"id": None, "since": self._since(ledger, declared)}
        run = Run(ledger, None, float(given["since"]))
        with ended_on_error(Run(ledger, None if self.check_mode else given["id"], 0.0)):
            prover = self._prover(lost, None if self.check_mode else args["fenced"], run)
            plan, fleet = self._plan(declared, computes, run, lost)
        if self.check_mode or not any(entry.steps for entry in plan.servers):
            # Nothing is touched that needn't be: no power either.
            told = self._told(args, declared, plan, fleet, run_id=given["id"], proofs={})
            stay = [] if here is None or self.check_mode else [*filter(None, map(left_behind, _entries(told)))]
            return _failed(told, stay)
        run = Run(ledger, given["id"] or self.start_run(ledger), float(given["since"]))
        with ended_on_error(run):
            with ledger.renewing(str(run.id)):  # an agent may take longer than the lease
                proofs = prover.prove(to_be_proven(plan, lost.hosts))
            # Room that was freed meanwhile is for servers of hosts that are proven dead.
            lost = dataclasses.replace(lost, hosts=tuple(host for host in lost.hosts if host in proofs))
            for host, proof in proofs.items():
                ledger.set_service(host, "down", proof.sentence())
            plan, fleet = self._plan(declared, computes, run, lost)
            accept(ledger, str(run.id), evacuation_rows(plan), proofs)
            result = self._told(args, declared, plan, fleet, run_id=run.id, proofs=proofs)
            return self._carry_out_here(ledger, result) if here is not None else result

    def _here(self, declared: Declared, args: Arguments) -> str | None:
        """The compute host that the task runs for, None on the controller."""
        host = self.target_host()
        if host not in declared.computes:
            if not args["wait"]:
                raise InvalidInput("wait is for a task on a compute host; the playbook evacuate waits for each server")
            return None
        if args["to"] not in (None, host):
            raise InvalidInput(f"the task runs for {host}, and to is {args['to']}: delegate_to {args['to']}")
        return host

    def _lost(self, args: Arguments, ledger: Ledger, here: str | None) -> Lost:
        return Lost(
            hosts=tuple(dict.fromkeys(args["host"])),
            named=tuple(args["host"]),
            server=args["server"],
            to=args["to"] or here,
            on_shared_storage=args["on_shared_storage"],
            accept_data_loss=args["accept_data_loss"],
            target_state=args["target_state"],
            password=args["admin_password"] is not None,
            by_word=bool(args["fenced"]),
            wait=args["wait"],
            unattended=args["unattended"],
            begun=begun_elsewhere(ledger),
        )

    def _check_surveyed(self, hosts: t.Sequence[str], declared: Declared) -> None:
        """A host that nobody has asked is not one that doesn't answer."""
        for host in hosts:
            if host in declared.computes and not self._task_vars["hostvars"].raw_get(host).get("fleet_survey"):
                raise InvalidInput(
                    f"{host} was not asked whether it is alive: import the playbook flotilla.compute.survey first, "
                    "or use the playbook evacuate, which does"
                )

    def _check_in_service(self, hosts: t.Sequence[str], ledger: Ledger) -> None:
        """A host that people have taken out of service is theirs: they may have switched it off themselves."""
        for service in services(self._task_vars, self._templar, hosts, ledger):
            if service.state != "enabled":
                raise Refused(
                    f"{service.host} doesn't answer, and {service.told}: nothing is done without a person "
                    "(fleet_unattended)"
                )

    def _since(self, ledger: Ledger, declared: Declared) -> float:
        return self.surveyed_since(self.now(ledger), declared)

    def _plan(self, declared: Declared, computes: list[Compute], run: Run, lost: Lost) -> tuple[Plan, t.Any]:
        now = self.now(run.ledger)
        return reconcile(declared, computes, run, now=now, drafting=lambda situation: Evacuate(situation, lost))

    def _prover(self, lost: Lost, fenced: Json, run: Run) -> Prover:
        said = fenced if isinstance(fenced, dict) else {"reason": fenced}
        word = Word(str(said.get("by") or self.operator()), str(said.get("reason") or "")) if fenced else None
        just_now = self.now(run.ledger) - run.since < _SILENT_FOR
        suspects = [self._suspect(host, just_now=just_now) for host in lost.hosts]
        return Prover(suspects, word, self._fence_of, now=lambda: self.now(run.ledger), tell=Display().display)

    def _suspect(self, host: str, *, just_now: bool) -> Suspect:
        if not self._is_compute(host):
            return Suspect(host, None, _SSH)
        silent = just_now and bool(self._task_vars["hostvars"].raw_get(host).get("fleet_silent"))
        names = ("ansible_host", "ansible_port")
        address, port = (read_host(self._task_vars, self._templar, host, name).get(name) for name in names)
        return Suspect(host, str(address or host), port_number(port or _SSH, f"ansible_port of {host}"), silent)

    def _fence_of(self, host: str) -> Fence | None:
        """What inventory says of fencing the host; None for one that it no longer names."""
        return read_fence(self._task_vars, self._templar, host) if self._is_compute(host) else None

    def _is_compute(self, host: str) -> bool:
        return host in self._task_vars["groups"].get("computes", [])

    def _told(
        self,
        args: Arguments,
        declared: Declared,
        plan: Plan,
        fleet: t.Any,
        *,
        run_id: str | None,
        proofs: t.Mapping[str, Proof],
    ) -> Result:
        text = evacuation_text(plan, args["host"], list(proofs.values()))
        if args["show"]:
            Display().display(text)
        result = plan_result(plan, declared, run_id=run_id, fleet=fleet)
        rows = evacuation_rows(plan)
        proven = {host: proof.to_json() for host, proof in proofs.items()}
        evacuation = {"hosts": list(args["host"]), "servers": rows, "proofs": proven}
        return {**result, "changed": plan.changed, "evacuation": evacuation, "text": text}

    # -- on a destination ---------------------------------------------------------------------------------------

    def _carry_out_here(self, ledger: Ledger, result: Result) -> Result:
        """The servers one after the other; one that fails leaves the others going."""
        failed, without = [], {}
        for entry in _entries(result):
            if not entry["steps"]:
                failed += [why for why in (left_behind(entry),) if why]
                continue
            done = self.enter({**entry, "attempts": 1})
            if done.get("failed") or done.get("unreachable"):
                failed.append(f"{entry['name']}: {str(done.get('msg')).removeprefix(entry['name'] + ': ')}")
            if done.get("without"):
                without[entry["name"]] = done["without"]
        table = conclude(ledger, result["run_id"], result["evacuation"]["servers"], without)
        Display().display(table)
        ledger.end_run(result["run_id"], "failed" if failed else "done")
        return _failed({**result, "table": table}, failed)

    def own(self, server: str, variable: str) -> Json:
        if variable == "server_admin_password" and self._given_password is not None:
            return self._given_password
        if server not in self._task_vars["groups"].get("servers", []):
            return None
        return read_host(self._task_vars, self._templar, server, variable).get(variable)


def _entries(result: Result) -> list[Arguments]:
    """The entries of all servers in a plan's result."""
    return [*result["servers"].values(), *(entry for host in result["hosts"].values() for entry in host["servers"])]


def _failed(result: Result, why: t.Sequence[str]) -> Result:
    return {**result, "failed": True, "msg": "; ".join(why)} if why else result
