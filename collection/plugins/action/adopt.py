# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module adopt: plans which domains of a host become servers and how, has their records written, and remembers them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, vm_state
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.adopt import (
    NotAdopted,
    Wanted,
    inventory_text,
    record_of,
    refuse_copies,
    wanted,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import Variables, read_inventory
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow, Ledger, ServerSeen, preload
from ansible_collections.flotilla.compute.plugins.plugin_utils._planner import Planner

preload()  # once, in the process that forks the workers


@dataclasses.dataclass
class Plan:
    """What becomes of the domains that were asked for. ``refused``: by name, why it is left as it is."""

    wanted: list[Wanted] = dataclasses.field(default_factory=list)
    records: list[Record] = dataclasses.field(default_factory=list)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def _refusing(plan: Plan, name: str) -> t.Iterator[None]:
    """What can't be adopted is left as it is, and the others are adopted."""
    try:
        yield
    except NotAdopted as exc:
        plan.refused[name] = str(exc)


class ActionModule(Planner):
    _requires_connection = True
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "name": {"type": "list", "elements": "str"},
        "plan_only": {"type": "bool", "default": False},
        "declared": {"type": "str"},
        "uri": {"type": "str"},
        "state_dir": {"type": "str"},
        "ids": {"type": "list", "elements": "str", "default": []},
        "records": {"type": "list", "elements": "dict", "default": []},
        "run_id": {"type": "str", "default": ""},
    }

    def perform(self, args: Arguments) -> Result:
        self._place = {key: args[key] for key in ("uri", "state_dir") if args[key] is not None}
        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        ledger = self.open_ledger(create=False)
        fleet = ledger.fleet() if ledger is not None else None
        if ledger is None or fleet is None:
            raise InvalidInput("this fleet has no ledger yet: run the playbook reconcile once, which enrolls the hosts")
        computes = self.computes(declared)
        host = self._host(computes, fleet)
        plan, raw = Plan(), read_inventory(self._task_vars, self._templar)
        guests = self._guests(host, args["name"], plan)
        facts = self._facts(guests, host)
        for guest in guests:
            with _refusing(plan, guest.name):
                refuse_copies(guest, host, computes)
                self._want(plan, guest, facts[guest.id], host, declared, raw.servers.get(guest.name, {}))
        self._record(plan, host, raw.servers, ledger, fleet, computes)
        act = not self.check_mode and not args["plan_only"] and bool(plan.records)
        if act:
            failed = self._carry_out(plan, host, ledger)
            if failed:
                return failed
        return self._result(plan, host, args, act=act)

    # -- what ------------------------------------------------------------------------------------------------------

    def _host(self, computes: t.Sequence[Compute], fleet: FleetRow) -> Compute:
        name = str(self._task_vars["inventory_hostname"])
        host = next((compute for compute in computes if compute.name == name), None)
        if host is None:
            known = ", ".join(sorted(compute.name for compute in computes)) or "none"
            raise InvalidInput(f"{name} is no compute host; there are: {known}")
        if not host.up:
            raise FlotillaError(f"{name} is down: {host.why}")
        if host.marker is None or host.marker["fleet_id"] != fleet.fleet_id:
            raise InvalidInput(
                f"{name} is not enrolled in this fleet: run the playbook reconcile once, which does that"
            )
        return host

    def _guests(self, host: Compute, names: list[str] | None, plan: Plan) -> list[Guest]:
        """The domains that are asked for and that are nobody's servers."""
        foreign = {guest.name: guest for guest in host.guests if guest.record is None}
        if names is None:
            return list(foreign.values())
        ours = {guest.name: guest for guest in host.guests if guest.record is not None}
        for name in names:
            if name in ours:
                plan.notes.append(f"{name} is a server already")
            elif name not in foreign:
                known = ", ".join(sorted(foreign)) or "none"
                raise InvalidInput(f"{host.name} has no domain {name!r}; that are nobody's servers: {known}")
        return [foreign[name] for name in dict.fromkeys(names) if name in foreign]

    def _want(
        self, plan: Plan, guest: Guest, facts: Json, host: Compute, declared: Declared, written: Variables
    ) -> None:
        given = {key: value for key, value in written.items() if value is not None}
        plan.wanted.append(wanted(guest, facts, host, declared, given))
        if facts["unrecorded"]:
            told = ", ".join(facts["unrecorded"])
            plan.notes.append(f"{guest.name}: its record has no place for {told}: lost when the domain is defined anew")

    def _facts(self, guests: t.Sequence[Guest], host: Compute) -> dict[str, Json]:
        """By id, what the host says of the domains."""
        if not guests:
            return {}
        answer = self._module({"ids": [guest.id for guest in guests]})
        found: dict[str, Json] = answer.get("domains") or {}
        missing = [guest.name for guest in guests if guest.id not in found]
        if missing:
            why = answer.get("msg", "it went away meanwhile")
            raise FlotillaError(f"{', '.join(missing)} on {host.name} can't be read: {why}")
        return found

    def _record(
        self,
        plan: Plan,
        host: Compute,
        servers: t.Mapping[str, Variables],
        ledger: Ledger,
        fleet: FleetRow,
        computes: t.Sequence[Compute],
    ) -> None:
        """The whole inventory is checked with the new lines in it, and each record made of what it then declares."""
        rows = {row.name: row for row in ledger.snapshot().servers.values()}
        others = {
            guest.record.name: compute.name
            for compute in computes
            for guest in compute.guests
            if guest.record is not None and guest.record.fleet_id == fleet.fleet_id
        }
        for one in list(plan.wanted):
            taken = others.get(one.guest.name) or (rows[one.guest.name].host if one.guest.name in rows else None)
            if taken is not None:
                plan.wanted.remove(one)
                plan.refused[one.guest.name] = (
                    f"a server of that name is on {taken}; rename the domain (virsh domrename)"
                )
        lines = {one.guest.name: dict(one.variables) for one in plan.wanted}
        beside = {
            "flavors": {name: data for one in plan.wanted for name, data in one.flavors.items()},
            "images": {name: data for one in plan.wanted for name, data in one.images.items()},
        }
        declared = self.declare({**servers, **lines}, beside)
        frame = Frame(fleet.fleet_id, declared.networks, time.time())
        for one in list(plan.wanted):
            server = declared.servers[one.guest.name]
            try:
                record = record_of(server, one, host, declared, fleet_id=fleet.fleet_id, time=frame.time)
            except NotAdopted as exc:
                plan.wanted.remove(one)
                plan.refused[one.guest.name] = str(exc)
            else:
                plan.records.append(record)

    # -- doing it --------------------------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan, host: Compute, ledger: Ledger) -> Result | None:
        """The host first, the ledger then: were it cut off between, the next survey tells the ledger."""
        run_id = self.start_run(ledger)
        status = "failed"
        try:
            answer = self._module({"records": [record.to_json() for record in plan.records], "run_id": run_id})
            if answer.get("failed") or answer.get("unreachable"):
                return answer
            states = {one.guest.id: one.guest.state for one in plan.wanted}
            for record in plan.records:
                self._remember(ledger, run_id, record, host, states[record.id])
            status = "done"
        finally:
            ledger.end_run(run_id, status)
        return None

    def _remember(self, ledger: Ledger, run_id: str, record: Record, host: Compute, state: str) -> None:
        vm, power = vm_state(state, record.marks), power_state(state)
        left_out = ledger.observe(
            [ServerSeen.of(record, host=host.name, vm_state=vm, power_state=power)], since=ledger.now() + 1
        )
        if left_out:
            raise Conflict(f"{record.name} is adopted on {host.name}, but the ledger has another of its name")
        ledger.begin_task(run_id, record.id, "adopting", action="adopt")
        ledger.finish(run_id, record.id, record=record, host=host.name, vm_state=vm, power_state=power)

    def _module(self, args: dict[str, Json]) -> Result:
        answer: Result = self._execute_module(
            module_name="flotilla.compute.adopt", module_args={**self._place, **args}, task_vars=self._task_vars
        )
        return answer

    def _result(self, plan: Plan, host: Compute, args: Arguments, *, act: bool) -> Result:
        names = [record.name for record in plan.records]
        inventory = inventory_text(plan.wanted)
        text = _told(host.name, names, plan, inventory, act=act)
        Display().display(text)
        result: Result = {
            "changed": bool(names) and not args["plan_only"],
            "adopted": names,
            "refused": plan.refused,
            "notes": plan.notes,
            "inventory": inventory,
            "text": text,
        }
        if plan.refused and args["name"] is not None:
            reasons = "; ".join(f"{name}: {why}" for name, why in plan.refused.items())
            result.update(failed=True, msg=f"not adopted: {reasons}")
        return result


def _told(host: str, names: t.Sequence[str], plan: Plan, inventory: str, *, act: bool) -> str:
    verb = "adopted" if act else "to adopt"
    lines = [f"Domains of {host}: {len(names)} {verb}, {len(plan.refused)} refused"]
    lines += [f"  + {name}" for name in names]
    lines += [f"  ! {name}: {why}" for name, why in plan.refused.items()]
    lines += [f"  note: {note}" for note in plan.notes]
    if inventory:
        lines += ["Add this to the inventory before the next run of reconcile:", "", inventory]
    return "\n".join(lines)
