# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module plan's part in emptying a host and filling it again: the plan, what it says, and the word to stop.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.leaving import STAYS
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.drain import (
    DRAIN,
    UNDRAIN,
    Drain,
    Undrain,
    asked_for,
    to_return,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import moves_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
    from ansible_collections.flotilla.compute.plugins.plugin_utils._heard import Heard
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger, Snapshot

#: Seconds that all moves of a plan together may take: one waits for another.
_TIMEOUT = 7 * 86400


def moves(
    kind: str,
    declared: Declared,
    computes: t.Sequence[Compute],
    run: Run,
    *,
    now: float,
    by: str,
    heard: Heard,
) -> Json:
    """The plan that empties the host of ``fleet_host`` (drain) or brings back what has left it (undrain), as a result
    of module plan; *by*: who does it.

    Nothing is claimed or shown before both hosts of each move have been heard: ``ask`` in the result is what is still
    to be asked, a call for each host, and an empty one makes the result the plan.
    """
    host = asked_for(declared.settings.host, declared.settings.servers, kind)
    if declared.settings.drain is not None:
        raise InvalidInput("fleet_drain is for the playbook drain, which stops a drain, or its undoing, by it")
    ledger = run.ledger
    if ledger is None:
        raise InvalidInput(f"this fleet has no ledger and so no servers: there is nothing to move from or to {host}")
    if run.id is not None:
        ledger.hold_host(run.id, host)

    def drafting(situation: Situation) -> Reconcile:
        if kind == DRAIN:
            return Drain(situation, host, heard.against)
        places = {row.id: row.host for row in situation.snapshot.servers.values()} if situation.snapshot else {}
        return Undrain(situation, host, to_return(ledger.migrations(), host, places), heard.against)

    proposed, fleet = reconcile(declared, computes, dataclasses.replace(run, id=None), now=now, drafting=drafting)
    ask = heard.questions(proposed, declared, fleet)
    if ask:
        return {"ask": ask, "heard": heard.to_json(), "drain": {"kind": kind, "host": host}}
    if run.id is None:
        plan = proposed
    else:
        plan, fleet = reconcile(declared, computes, run, now=now, drafting=drafting)
    result = plan_result(plan, declared, run_id=run.id, fleet=fleet)
    if run.id is None:
        heard.tell(result)
    at_once = declared.settings.max_concurrent_migrations
    head = f"Drain of {host}" if kind == DRAIN else f"Back to {host}"
    text = moves_text(plan, f"{head}, {at_once} at a time")
    stop = f"to stop: Ctrl-C, or the playbook drain with -e fleet_host={host} -e fleet_drain=stop; what moves then ends"
    return {
        **result,
        "ask": [],
        "drain": {"kind": kind, "host": host, "service": _service(kind, host, computes, by)},
        "problems": [*result["problems"], *_staying(plan)],
        "strict": False,  # what stays fails the run as it is
        "throttle": at_once,
        "timeout": _TIMEOUT,
        "text": f"{text}\n  note: {stop}" if plan.changed else text,
    }


def _service(kind: str, host: str, computes: t.Sequence[Compute], by: str) -> dict[str, Json]:
    """The service state that the host is given, with its reason; a reason of before stays."""
    if kind == UNDRAIN:
        return {"state": "enabled", "reason": None}
    compute = next(compute for compute in computes if compute.name == host)
    state, reason = compute.service(None)
    return {"state": "maintenance", "reason": reason if state == "maintenance" and reason else f"drained by {by}"}


def _staying(plan: Plan) -> list[str]:
    """Why servers stay; failures say so for themselves."""
    told = {entry.name for entry in plan.failures} | {entry.name for entry in plan.servers if entry.unseen}
    return [
        f"{entry.name}: it stays on {entry.host}: {entry.message}"
        for entry in plan.servers
        if entry.way == STAYS and entry.name not in told
    ]


def stop(declared: Declared, ledger: Ledger | None, by: str) -> Json:
    """Tell the run that empties the host of ``fleet_host``, or fills it again, to stop; what is there now is said."""
    host = asked_for(declared.settings.host, (), "drain")
    if host not in declared.computes:
        raise InvalidInput(f"Compute host {host} not found. There are: {', '.join(sorted(declared.computes))}")
    run = ledger.stop_host(host, by) if ledger is not None else None
    told = f"no drain of {host} is under way" if run is None else f"{run} is told to stop"
    state = state_of(host, ledger.snapshot()) if ledger is not None else f"{host} has no servers"
    return {"changed": run is not None, "text": f"{told}; {state}"}


def state_of(host: str, snapshot: Snapshot) -> str:
    """How a host is, with the servers that are on it: those that a step is at work on, and the others."""
    row = snapshot.hosts.get(host)
    servers = sorted((each for each in snapshot.servers.values() if each.host == host), key=lambda each: each.name)
    at_work = [each.name for each in servers if each.task_state not in (None, "scheduling")]
    rest = [each.name for each in servers if each.name not in at_work]
    parts = [f"{host} is {'unknown' if row is None else row.service_state}"]
    parts += [f"under way, and ends: {listed(at_work)}"] if at_work else []
    parts += [f"stays there: {listed(rest)}"] if rest else ([] if at_work else ["it has no servers"])
    return "; ".join(parts)


__all__ = ["moves", "state_of", "stop"]
