# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as module results: what the playbooks hand from play to play, and what users read in ``register``.

Note that this plugin util is **PRIVATE** to the collection.

Only servers with something to do or to say are in it: a variable of a thousand servers would be copied into every fork.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import BRING, ports
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import HostPlan, Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rolling import rounds
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import server_lines
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import count_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow


def plan_result(plan: Plan, declared: Declared, *, run_id: str | None, fleet: FleetRow | None) -> dict[str, Json]:
    """The return values of module plan; *fleet* None before the first run of all."""
    busy = sum(1 for entry in plan.servers if entry.steps)
    frame = _Frame(declared, run_id, fleet.fleet_id if fleet else None, _max_failures(declared, busy))
    servers = {entry.name: frame.server(entry) for entry in plan.servers if entry.declared and _speaks(entry)}
    hosts = {
        host.name: frame.host(
            host,
            [e for e in plan.servers if not e.declared and e.host == host.name],
            [e for e in plan.servers if e.destination == host.name],
        )
        for host in plan.hosts
    }
    kinds = {name: [step["kind"] for step in entry["steps"]] for name, entry in servers.items() if entry["steps"]}
    order = rounds(kinds, declared)
    for name, turn in order.turns.items():
        servers[name]["turn"] = turn.to_json()
    acting = [name for name, host in hosts.items() if host["enroll"] or host["images"] or host["servers"]]
    return {
        "plan": {"changed": plan.changed, "notes": list(plan.notes)},
        "run_id": run_id,
        "fleet_id": fleet.fleet_id if fleet else None,
        "hosts": hosts,
        "servers": servers,
        "act_hosts": acting,
        "act_servers": list(kinds),
        "act_together": list(order.together),
        "act_rounds": list(order.order),
        "rounds": list(order.sizes),
        "problems": [f"{e.name}: {e.message}" for e in plan.failures if not e.declared],
        "explanations": _explanations(plan),
        "strict": declared.settings.strict,
        "as_declared": sum(1 for entry in plan.servers if not _speaks(entry)),
    }


def entry_result(
    entry: ServerEntry, declared: Declared, *, run_id: str | None, fleet: FleetRow | None
) -> dict[str, Json]:
    """One server's entry alone, as in plan_result; ``arriving`` is for the host that it goes to, None if there is
    nothing to do there first."""
    frame = _Frame(declared, run_id, fleet.fleet_id if fleet else None)
    return {**frame.server(entry), "arriving": frame.arriving(entry)}


def _explanations(plan: Plan) -> list[dict[str, Json]]:
    """As data; servers that were refused alike share one, as hundreds of equal ones would fill the result."""
    alike: dict[str, dict[str, Json]] = {}
    for one in plan.explanations:
        data = one.to_json()
        key = repr({name: value for name, value in data.items() if name not in ("server", "text")})
        entry = alike.setdefault(key, {**data, "servers": []})
        entry.pop("server", None)
        entry["servers"].append(one.server)
    return list(alike.values())


def image_args(host: HostPlan) -> list[dict[str, Json]]:
    """The images that a host needs first, as arguments of module image.

    Where they come from is inventory's to say: a URL may hold credentials.
    """
    images = [step for step in host.steps if step.kind == "image"]
    return [{key: value for key, value in step.args.items() if key not in ("url", "src")} for step in images]


def _speaks(entry: ServerEntry) -> bool:
    return bool(entry.steps or entry.held or entry.message or entry.differences)


@dataclasses.dataclass(frozen=True)
class _Frame:
    """What every entry of a plan has beside its own."""

    declared: Declared
    run_id: str | None
    fleet_id: str | None
    max_failures: int | None = None

    def host(
        self, host: HostPlan, undeclared: t.Sequence[ServerEntry], coming: t.Sequence[ServerEntry] = ()
    ) -> dict[str, Json]:
        arriving = [found for found in map(self.arriving, coming) if found is not None]
        enroll = [step for step in host.steps if step.kind == "enroll"]
        marking = [step for step in enroll if "pool" in step.what]
        return {
            "up": host.up,
            "why": host.why,
            "enroll": self._enroll(enroll[0].args) if enroll else None,
            "images": image_args(host),
            # Until a pool bears its mark nobody knows whether it is shared: one host at a time may write into it.
            "image_throttle": 1 if marking else 0,
            # What is told of who is not here goes first: one of them may be about to come.
            "servers": [*(self.server(entry) for entry in undeclared if entry.steps), *arriving],
            "steps": [step.what for step in host.steps],
        }

    def _enroll(self, args: t.Mapping[str, Json]) -> dict[str, Json]:
        return {"take_over": self.declared.settings.take_over, **args}

    def _attempts(self, entry: ServerEntry) -> int:
        """On how many hosts a build may be tried (Nova: max_attempts). Who names a host wants that one."""
        server = self.declared.servers.get(entry.name)
        if server is None or entry.steps[:1] == () or entry.steps[0].kind != "create" or server.spec.get("host"):
            return 1
        return Settings.from_variable(self.declared.settings.scheduler).max_attempts

    def arriving(self, entry: ServerEntry) -> dict[str, Json] | None:
        """What the host that a server goes to has to do first: its metadata service there knows the server then."""
        records = [deed["record"] for deed in entry.deeds if deed.get("record")]
        settings = self.declared.computes.get(entry.destination or "")
        if settings is None or not records or not ports(Record.from_json(records[-1])):
            return None
        deed = {"kind": BRING, "server_id": entry.id, "name": entry.name, "record": records[-1], "timeout": 0}
        return {
            **self.server(dataclasses.replace(entry, host=entry.destination, destination=None, deeds=(deed,))),
            "steps": [{"kind": BRING, "why": "it is about to come", "flag": None}],
            "held": [],
            "text": [],
            # Nothing of the server itself is done: its claim and its task are those of its own steps.
            "copy": True,
        }

    def server(self, entry: ServerEntry) -> dict[str, Json]:
        settings = self.declared.computes.get(entry.host or "")
        zone = self.declared.catalogs.zones.get(entry.host or "")
        return {
            "name": entry.name,
            "id": entry.id,
            "host": entry.host,
            "verdict": entry.verdict,
            "message": entry.message,
            "steps": [_step(step) for step in entry.steps],
            "held": [_step(step) for step in entry.held],
            "differences": [{"key": d.key, "class": d.cls, "old": d.old, "new": d.new} for d in entry.differences],
            "deeds": list(entry.deeds),
            "text": server_lines(entry),
            "run_id": self.run_id,
            "fleet_id": self.fleet_id,
            "uri": settings.uri if settings else None,
            "host_state_dir": settings.state_dir if settings else None,
            "host_slots": self.declared.settings.host_slots,
            "max_failures": self.max_failures,
            "zone": zone,
            "copy": entry.copy,
            "unseen": list(entry.unseen),
            "attempts": self._attempts(entry),
            "record": entry.applied,
            "destination": entry.destination,
            "moves_at_once": self.declared.settings.max_concurrent_migrations,
            "way": entry.way,
            "journal": dict(entry.journal),
        }


def _max_failures(declared: Declared, servers: int) -> int | None:
    most = declared.settings.max_failures
    return None if most is None else max(1, count_of(most, servers))


def _step(step: Step) -> dict[str, Json]:
    return {"kind": step.kind, "why": step.why, "flag": step.hold}


__all__ = ["entry_result", "image_args", "plan_result"]
