# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module verdict: ends a run. Shows the fleet as it is now, and fails if something is not as declared."""

from __future__ import annotations

import json
import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import IMPOSSIBLE
from ansible_collections.flotilla.compute.plugins.plugin_utils import _cut_short
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import (
    Row,
    fleet_rows,
    fleet_text,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import AWAY, BUSY, FAILURES, HELD
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import together, told
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload

_LONGEST_TABLE = 60
#: vm_state of servers of which no domain that could run is on their host.
_NOT_THERE = frozenset({"shelved_offloaded", "soft-delete"})
_EXHAUSTED = "Exceeded maximum number of retries (max_attempts of fleet_scheduler)"  # Nova's words


preload()  # once, in the process that forks the workers


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "plan": {"type": "dict", "required": True},
    }

    def perform(self, args: Arguments) -> Result:
        plan = args["plan"]
        _cut_short.over()
        if plan.get("evacuation"):
            self._evacuated(plan)
        failures = [*self._hosts(plan), *self._planned(plan), *self._acted(plan), *self._come_since(plan)]
        if plan["run_id"] and not self.check_mode:
            self.open_ledger(create=True).end_run(plan["run_id"], "failed" if failures else "done")
        rows = self._rows(plan)
        self._show(rows)
        rescheduled = [*self._rescheduled(plan)]
        for one in rescheduled:
            Display().display(one)
        result: Result = {"changed": False, "failures": failures, "rescheduled": rescheduled}
        if failures:
            # Ansible prints all of a failed result: the sentences are not to be looked for among a thousand servers.
            told = _sentence(failures, _host_now(plan, left=True, checked=self.check_mode))
            return {**result, "failed": True, "msg": "\n".join([told, *_way_out(plan)])}
        if plan.get("drain") and not self.check_mode:
            Display().display(_host_now(plan, left=False))
        return {**result, "servers": [row.to_json() for row in rows]}

    def _evacuated(self, plan: Arguments) -> None:
        """What has become of the servers of a dead host."""
        from ansible_collections.flotilla.compute.plugins.plugin_utils._evacuation import conclude

        if self.check_mode or not plan["run_id"] or not plan["evacuation"]["servers"]:
            return
        answers = {name: self._registered(name, "fleet_result") for name in plan["act_servers"]}
        for host in plan["act_hosts"]:
            for item in self._registered(host, "fleet_result").get("results", []):
                answers[(item.get("server") or {}).get("name") or host] = item
        without = {name: answer["without"] for name, answer in answers.items() if answer.get("without")}
        ledger = self.open_ledger(create=True)
        Display().display(conclude(ledger, plan["run_id"], plan["evacuation"]["servers"], without))

    def _show(self, rows: t.Sequence[Row]) -> None:
        if self.check_mode:
            return  # it would show what the ledger remembers, as if that were what the plan has just told otherwise
        if len(rows) <= _LONGEST_TABLE:
            Display().display(fleet_text(rows))
        else:
            Display().display(f"{len(rows)} servers; the status playbook lists them")

    def _rows(self, plan: Arguments) -> list[Row]:
        ledger = self.open_ledger(create=False)
        down = [name for name, host in plan["hosts"].items() if not host["up"]]
        return fleet_rows(ledger.snapshot() if ledger is not None else None, plan["servers"], down=down)

    def _hosts(self, plan: Arguments) -> t.Iterator[str]:
        """Hosts whose preparation failed. A host that is down fails the run by its servers, in the plan's own
        verdicts."""
        for name in plan["act_hosts"]:
            for variable in ("fleet_enrolled", "fleet_images_done"):
                yield from (f"{name}: {cause}" for cause in self._causes(name, variable))
            answer = self._registered(name, "fleet_result")
            for item in answer.get("results", []):
                if item.get("failed") or item.get("unreachable"):
                    yield f"{item.get('server', {}).get('name') or name}: {_cause(item)}"

    def _planned(self, plan: Arguments) -> t.Iterator[str]:
        strict = plan["strict"]
        yield from plan["problems"]
        for name, entry in plan["servers"].items():
            yield from (f"{name}: {_impossible(d)}" for d in entry["differences"] if d["class"] == IMPOSSIBLE)
            if entry["verdict"] in FAILURES or entry["unseen"]:
                yield _named(name, entry["message"])
            elif plan.get("evacuation") and not self.check_mode and (entry["held"] or entry["verdict"] in (HELD, BUSY)):
                yield _not_evacuated(entry)
            elif strict and (entry["held"] or entry["verdict"] in (HELD, BUSY)):
                yield f"{name}: it is {'busy' if entry['verdict'] == BUSY else 'held'}, and fleet_strict is set"

    def _acted(self, plan: Arguments) -> t.Iterator[str]:
        if self.check_mode:
            yield from self._refused(plan)
            return
        for name in plan["act_servers"]:
            answer = self._registered(name, "fleet_result")
            if not answer or answer.get("skipped"):
                yield f"{name}: its steps were not carried out; run again"
            elif answer.get("failed") or answer.get("unreachable"):
                yield self._gave_up(name, answer)

    def _refused(self, plan: Arguments) -> t.Iterator[str]:
        """What the hosts say stands against moves that nobody has begun."""
        for name in plan["act_servers"]:
            answer = self._registered(name, "fleet_result")
            if answer.get("failed") or answer.get("unreachable"):
                to = plan["servers"][name]["destination"]
                yield f"{name}: it would not be moved to {to}: {_cause(answer).removeprefix(f'{name}: ')}"

    def _gave_up(self, name: str, answer: t.Mapping[str, Json]) -> str:
        """Why a server was not built or changed, with every host where its build was tried."""
        tried, cause = answer.get("tried") or [], _cause(answer).removeprefix(f"{name}: ")
        if not tried and not answer.get("reschedule"):
            return f"{name}: {cause}"
        last = _EXHAUSTED if answer.get("exhausted") else None
        if answer.get("reschedule"):
            last = _cause(self._registered(name, "fleet_elsewhere"))
        return told(name, [*tried, {"host": answer["host"], "cause": cause}], last)

    def _rescheduled(self, plan: Arguments) -> t.Iterator[str]:
        """Servers that came up on another host than was chosen first."""
        if self.check_mode:
            return
        for name in plan["act_servers"]:
            answer = self._registered(name, "fleet_result")
            if answer.get("tried") and not (answer.get("failed") or answer.get("unreachable")):
                yield told(name, answer["tried"], answer["host"])

    def _come_since(self, plan: Arguments) -> t.Iterator[str]:
        """Servers that others have brought to a host while it was emptied: they had chosen it before."""
        emptied = plan.get("drain") or {}
        if emptied.get("kind") != "drain" or self.check_mode:
            return
        ledger = self.open_ledger(create=False)
        if ledger is None:
            return
        known = {entry["id"] for entry in plan["servers"].values()}
        known.update(entry["id"] for host in plan["hosts"].values() for entry in host["servers"])
        for row in ledger.snapshot().servers.values():
            if row.host == emptied["host"] and row.id not in known and row.vm_state not in _NOT_THERE:
                yield f"{row.name}: another run has brought it to {row.host} meanwhile; run again"

    def _causes(self, host: str, variable: str) -> t.Iterator[str]:
        answer = self._registered(host, variable)
        items = answer.get("results") or [answer]
        yield from (_cause(item) for item in items if item.get("failed") or item.get("unreachable"))

    def _registered(self, host: str, variable: str) -> dict[str, Json]:
        return self._task_vars["hostvars"].raw_get(host).get(variable) or {}


def _impossible(difference: t.Mapping[str, Json]) -> str:
    old, new = (json.dumps(difference[key]) for key in ("old", "new"))
    return f"{difference['key']} can't be changed from {old} to {new}; put it back, or make the server anew"


def _named(name: str, message: str) -> str:
    return message if message.startswith(f"{name} ") else f"{name}: {message}"


def _cause(answer: t.Mapping[str, Json]) -> str:
    return " ".join(str(answer.get("msg") or "it failed without a word").split())


def _not_evacuated(entry: Arguments) -> str:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._evacuation import left_behind

    return left_behind({**entry, "steps": ()})


def _way_out(plan: Arguments) -> t.Iterator[str]:
    """What brings the servers of hosts that are down back, if these are dead."""
    if plan.get("evacuation") or plan.get("drain"):
        return
    away = {entry["host"] for entry in plan["servers"].values() if entry["verdict"] == AWAY}
    for host in sorted(host for host in away if host in plan["hosts"] and not plan["hosts"][host]["up"]):
        yield f"If {host} is dead, the playbook evacuate builds its servers elsewhere: -e fleet_host={host}"


def _host_now(plan: t.Mapping[str, Json], *, left: bool, checked: bool = False) -> str:
    """How a host is after it was emptied or filled again; *left*: not all has gone as it was to, or, if that was only
    *checked*, would. Empty for any other plan."""
    moved = plan.get("drain")
    if not moved:
        return ""
    host = moved["host"]
    if checked:
        return f"{host} would not be empty" if moved["kind"] == "drain" else f"not all would come back to {host}"
    if moved["kind"] == "drain":
        return f"{host} is in maintenance, and {'not empty' if left else 'has no servers any more'}"
    return f"{host} is enabled, and {'not all have come back' if left else 'what had left it is back'}"


def _sentence(failures: t.Sequence[str], host: str = "") -> str:
    what = "1 thing is" if len(failures) == 1 else f"{len(failures)} things are"
    lines = "\n".join(f"- {line}" for line in together(failures))
    how = f"{what} not as declared" if not host else f"{host}: {what} in the way"
    return f"{how}; run again when the cause is mended:\n{lines}"
