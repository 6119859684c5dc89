# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as the ledger remembers them: what a survey found there, so that a plan can be rehearsed with no host in reach.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A remembered host is a compute host like a surveyed one. Its servers are the ledger's; what is remembered beside them is
the host's size, its pools, networks and devices, and the guests that are none of the fleet's.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack, unpack
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import ComputeSettings

__all__ = ["KEY", "memory_of", "remembered", "with_marks"]

#: Where a host's summary in the ledger has its survey.
KEY = "survey"
# Of the moment, or the ledger's own: the service state, records of shelved servers, what was at work.
_FORGOTTEN = ("marker", "shelved", "running_steps", "guests")
_POOL = ("id", "active", "type", "path", "capacity", "available", "capabilities", "volumes_total")


def memory_of(compute: Compute, ours: t.Container[str]) -> str:
    """What the ledger keeps of a surveyed host, packed: about 2 KiB. *ours*: the ids of all servers of the fleet."""
    survey = t.cast("t.Mapping[str, Json]", compute.survey)
    kept = {key: value for key, value in survey.items() if key not in _FORGOTTEN}
    kept["pools"] = {name: _pool(pool, ours) for name, pool in survey["pools"].items()}
    kept["guests"] = [guest.to_json() for guest in compute.guests if guest.id not in ours]
    return pack(kept)


def remembered(settings: t.Mapping[str, ComputeSettings], snapshot: Snapshot) -> list[Compute]:
    """The compute hosts of inventory as they were last surveyed; one that never was is down, and says so."""
    found = []
    for name, its in settings.items():
        row = snapshot.hosts.get(name)
        packed = row.summary.get(KEY) if row is not None else None
        if packed is None:
            found.append(Compute(name, its, why="the ledger remembers no survey of it: run reconcile once"))
            continue
        survey = unpack(packed)
        guests = tuple(Guest.from_json(guest) for guest in survey.pop("guests"))
        found.append(Compute(name, its, {**survey, "marker": None, "running_steps": []}, guests))
    return found


def with_marks(packed: str, marks: t.Mapping[str, str]) -> str:
    """What is remembered, after pools of the host were marked: their ids by their names."""
    survey = unpack(packed)
    for name, pool in survey["pools"].items():
        pool["id"] = marks.get(name, pool["id"])
    return pack(survey)


def _pool(pool: t.Mapping[str, Json], ours: t.Container[str]) -> dict[str, Json]:
    """The pool without its volumes: thousands of them, in a pool that is shared on each host again. What the fleet's
    servers hold of it is counted by their records."""
    volumes = pool.get("volumes", {})
    held = sum(volume.get("allocation", 0) for name, volume in volumes.items() if name[:36] in ours)
    kept = {key: pool.get(key) for key in _POOL}
    return {**kept, "allocation": max(0, pool["allocation"] - held), "volumes": {}}
