# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the hosts of planned moves say stands against them, before the first of them is begun or even shown.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.drain import Against
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow


class Heard:
    """Server -> the host that it was to go to -> ``{"against": sentence, "checks": [...]}``; a server whose move was
    refused is asked for once more, with another host, as long as there is one."""

    def __init__(self, said: t.Mapping[str, t.Mapping[str, Json]] | None = None) -> None:
        self._said = {name: dict(by_host) for name, by_host in (said or {}).items()}

    @property
    def against(self) -> Against:
        """What stands against moves, where something does."""
        refused = {
            name: {host: said["against"] for host, said in by_host.items() if said["against"]}
            for name, by_host in self._said.items()
        }
        return {name: by_host for name, by_host in refused.items() if by_host}

    def questions(self, plan: Plan, declared: Declared, fleet: FleetRow | None) -> list[Json]:
        """What is still to be asked of hosts that servers leave, one call for each, as ``ask_of`` takes it."""
        found: dict[str, Json] = {}
        for entry in plan.servers:
            steps = [deed for deed in entry.deeds if deed["kind"] in MOVES]
            host, settings = str(entry.host), declared.computes.get(str(entry.host))
            if not steps or settings is None or fleet is None or entry.destination in self._said.get(entry.name, {}):
                continue
            ask = found.setdefault(
                host,
                {
                    "host": host,
                    "uri": settings.uri,
                    "state_dir": settings.state_dir,
                    "fleet_id": fleet.fleet_id,
                    "steps": [],
                    "to": {},
                },
            )
            ask["steps"] += steps
            ask["to"][entry.name] = entry.destination
        return list(found.values())

    def hear(self, answers: t.Iterable[t.Mapping[str, Json]]) -> None:
        """The results of the tasks that have asked the hosts. FlotillaError for a host that gave no answer: nothing
        could be moved from it either."""
        for answer in answers:
            if "silent" in answer:
                raise FlotillaError(
                    f"{answer['host']} could not be asked what stands against moving its servers, and none was moved: "
                    f"{answer['silent']}"
                )
            for name, by_host in answer["said"].items():
                self._said.setdefault(name, {}).update(by_host)

    def tell(self, result: Json) -> None:
        """Give the entries of a plan's result what was looked at, so that a checked run need not ask again."""
        entries = [*result["servers"].values(), *(one for host in result["hosts"].values() for one in host["servers"])]
        for entry in entries:
            said = self._said.get(entry["name"], {}).get(entry["destination"])
            if said is not None:
                entry["looked"] = said["checks"]

    def to_json(self) -> Json:
        return self._said


def module_args(ask: t.Mapping[str, Json]) -> dict[str, Json]:
    """The call of module server, in check mode, that asks one host."""
    return {
        "name": ", ".join(sorted(ask["to"])),
        "uri": ask["uri"],
        "state_dir": ask["state_dir"],
        "fleet_id": ask["fleet_id"],
        "run_id": "check mode",
        "steps": ask["steps"],
    }


def said(ask: t.Mapping[str, Json], results: t.Iterable[t.Mapping[str, Json]]) -> Json:
    """What a host's answer says of each server, as Heard has it."""
    found: dict[str, Json] = {}
    for result in results:
        name = str(result["name"])
        against = " ".join(str(result["message"]).split()).removeprefix(f"{name}: ") if result.get("failed") else ""
        checks = list((result.get("told") or {}).get("checks", ()))
        found[name] = {ask["to"][name]: {"against": against, "checks": checks}}
    return found


__all__ = ["Heard", "module_args", "said"]
