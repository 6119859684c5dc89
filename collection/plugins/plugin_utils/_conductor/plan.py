# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as data: what will be done to which host and server, in which order, and what will not and why.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Difference, Step

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation

#: Verdicts on a server, and whether a run that leaves one so has failed.
OK = "ok"
CHANGE = "change"
HELD = "held"
BUSY = "busy"
AWAY = "away"
NO_HOST = "no valid host"
CONFLICT = "conflict"
ERROR = "error"
FAILURES = frozenset({AWAY, NO_HOST, CONFLICT, ERROR})


@dataclasses.dataclass(frozen=True)
class HostStep:
    """Something to do on a compute host before its servers: enroll, image or network. ``args`` are its module's
    arguments."""

    kind: str
    what: str
    args: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "what": self.what, "args": dict(self.args)}


@dataclasses.dataclass(frozen=True)
class HostPlan:
    """A compute host in the plan; ``why`` says why it is down or takes no new servers."""

    name: str
    up: bool
    why: str = ""
    steps: tuple[HostStep, ...] = ()


@dataclasses.dataclass(frozen=True)
class ServerEntry:
    """One server in the plan. ``steps`` is for people, ``deeds`` for the compute host (module ``server``);
    ``applied`` is the record before them; ``destination`` the host that they take it to, if that is another. ``way``:
    how it leaves a host that is emptied, or ``stays``; ``journal``: what the row of its migration says beside."""

    name: str
    verdict: str
    id: str | None = None
    host: str | None = None
    flavor: str = ""
    steps: tuple[Step, ...] = ()
    held: tuple[Step, ...] = ()
    differences: tuple[Difference, ...] = ()
    message: str = ""
    declared: bool = True
    copy: bool = False
    unseen: tuple[str, ...] = ()
    deeds: tuple[Json, ...] = ()
    applied: Json = None
    destination: str | None = None
    way: str = ""
    journal: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole run. ``servers`` in the order in which they are carried out; ``explanations`` of those that were refused
    a host, and of the one that fleet_explain names."""

    fleet_name: str
    hosts: tuple[HostPlan, ...]
    servers: tuple[ServerEntry, ...]
    notes: tuple[str, ...] = ()
    explanations: tuple[Explanation, ...] = ()

    @property
    def changed(self) -> bool:
        return any(host.steps for host in self.hosts) or any(entry.steps for entry in self.servers)

    @property
    def failures(self) -> tuple[ServerEntry, ...]:
        return tuple(entry for entry in self.servers if entry.verdict in FAILURES)


__all__ = [
    "AWAY",
    "BUSY",
    "CHANGE",
    "CONFLICT",
    "ERROR",
    "FAILURES",
    "HELD",
    "NO_HOST",
    "OK",
    "HostPlan",
    "HostStep",
    "Plan",
    "ServerEntry",
]
