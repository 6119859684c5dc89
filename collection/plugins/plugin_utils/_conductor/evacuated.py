# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations for people and for the journal: the plan before, the table after.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import status
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor import evacuations
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import HELD, Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import (
    refusal_tables,
    server_lines,
    table,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ActionRow, MigrationRow, ServerRow
    from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof

_HEAD = ("SERVER", "FROM", "TO", "DISK", "STATE", "TIME")


def evacuation_text(plan: Plan, hosts: t.Sequence[str], proofs: t.Sequence[Proof]) -> str:
    """The plan of an evacuation, the same in check mode and in a run."""
    going = [entry for entry in plan.servers if entry.steps]
    held = [entry for entry in plan.servers if not entry.steps and (entry.held or entry.verdict == HELD)]
    rest = len(plan.servers) - len(going) - len(held)
    counted = f"{len(going)} of {len(plan.servers)} servers go, {len(held)} held, {rest} can't go"
    lines = [f"Evacuation of {', '.join(hosts)}: {counted}"]
    lines += [f"  {proof.sentence()}" for proof in proofs]
    lines += [f"  {host.name}  + {step.what}" for host in plan.hosts for step in host.steps if _gets(host.name, going)]
    width = max((len(entry.name) for entry in plan.servers), default=0)
    lines += [f"  {entry.name:<{width}}  {line}" for entry in plan.servers for line in server_lines(entry)]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join([*lines, *refusal_tables(plan)])


def _gets(host: str, going: t.Sequence[ServerEntry]) -> bool:
    return any(entry.host == host for entry in going)


def evacuation_rows(plan: Plan) -> list[dict[str, Json]]:
    """Each server of the plan, for the run's end and for the task's result."""
    return [_row(entry) for entry in plan.servers]


def to_be_proven(plan: Plan, hosts: t.Sequence[str]) -> list[str]:
    """Those of the *hosts* that must be proven dead before the plan is carried out. A server that is built anew may
    have been on any of them."""
    needed: set[str] = set()
    for step in (step for entry in plan.servers for step in entry.steps):
        needed.update(step.options.get("among", hosts))
    return sorted(needed)


def _row(entry: ServerEntry) -> dict[str, Json]:
    step = next((step for step in (*entry.steps, *entry.held)), None)
    options = step.options if step is not None else {}
    deed = entry.deeds[0] if entry.deeds else None
    going = bool(entry.steps)
    its = {} if deed is None else deed.get("options", {}).get("evacuating", {})
    disk = None if step is None else _disk(step)
    return {
        "name": entry.name,
        "id": entry.id,
        "from": options.get("from"),
        "to": entry.host if going else None,
        "disk": disk,
        "lost": list(options.get("lost", ())),
        "starts": bool(options.get("start")),
        "migration": its.get("migration"),
        "verdict": entry.verdict if going or not entry.held else HELD,
        "message": entry.message or (step.why if step is not None and not going else ""),
    }


def _disk(step: Step) -> str:
    """What becomes of the server's disk, as the table has it."""
    if step.kind == "create":
        return "new"
    return "rebuilt" if step.options.get("rebuild") else "kept"


def table_text(
    rows: t.Sequence[t.Mapping[str, Json]],
    migrations: t.Mapping[str, MigrationRow],
    servers: t.Mapping[str, ServerRow],
    actions: t.Mapping[str, ActionRow],
    without: t.Mapping[str, str],
) -> str:
    """What has become of each server of an evacuation: by the ledger, for the hosts have told it."""
    cells = [_cells(row, migrations, servers, actions) for row in rows]
    told = [f"{name} came back without {what}" for name, what in without.items()]
    return "\n".join([table(_HEAD, cells), *told])


def _cells(
    row: t.Mapping[str, Json],
    migrations: t.Mapping[str, MigrationRow],
    servers: t.Mapping[str, ServerRow],
    actions: t.Mapping[str, ActionRow],
) -> tuple[str, ...]:
    its, server, action = migrations.get(row["migration"]), servers.get(row["id"]), actions.get(row["id"])
    anew = row["migration"] is None and row["to"] is not None
    done = anew or (its is not None and its.status in (evacuations.DONE, evacuations.COMPLETED))
    if done and server is not None:
        state = status(server.vm_state, server.task_state)
    else:
        state = str(its.status if its is not None else row["verdict"])
    seconds = action.ended - action.started if action is not None and action.ended is not None else None
    return (
        str(row["name"]),
        str(row["from"] or "-"),
        str(row["to"] or "-") if done or its is not None else "-",
        str(row["disk"] or "-"),
        state,
        "-" if seconds is None else f"{seconds:.1f} s",
    )


__all__ = ["evacuation_rows", "evacuation_text", "table_text", "to_be_proven"]
