# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build that failed on its host, tried on another in the same run (Nova: build_instances of the conductor).

Note that this plugin util is **PRIVATE** to the collection.

It is done only when the host that failed has said, under the server's lock, that nothing of the build is left on it: a
host that did not answer may still build. The claim then moves to the next host with that host's generation checked.
"""

from __future__ import annotations

import dataclasses
import glob
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import claim

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger


def reschedule(
    declared: Declared,
    computes: t.Sequence[Compute],
    ledger: Ledger,
    failed: t.Mapping[str, Json],
    tried: t.Sequence[t.Mapping[str, str]],
    *,
    run_id: str,
    now: float,
) -> dict[str, Json]:
    """The entry of a plan for another host, claimed, and what that host needs first.

    *failed*: the server as its failed task gave it (name, id). *tried*: the hosts that failed, each with its cause.
    FlotillaError says why there is no other host.
    """
    name, server_id = str(failed["name"]), str(failed["id"])
    settings = dataclasses.replace(declared.settings, servers=(glob.escape(name),))
    declared = dataclasses.replace(declared, settings=settings)
    snapshot = ledger.snapshot()
    if snapshot.fleet is None:
        raise FlotillaError(f"the ledger {ledger.name} knows no fleet any more; run again")
    situation = Situation(
        declared=declared,
        computes=tuple(computes),
        snapshot=snapshot,
        fleet_id=snapshot.fleet.fleet_id,
        ledger_id=snapshot.fleet.ledger_id,
        leave=Leave(settings.allow, settings.reclaim * 3600, now),
        now=now,
        run_id=run_id,
        tried={name: tuple(one["host"] for one in tried)},
    )
    draft = Reconcile(situation)
    draft.schedule()
    plan = claim(draft, ledger, run_id, nothing_left=[server_id])
    result = plan_result(plan, declared, run_id=run_id, fleet=snapshot.fleet)
    entry = result["servers"].get(name)
    if entry is None or not entry["deeds"]:
        raise FlotillaError(entry["message"] if entry is not None else f"{name} is not to be built any more")
    ready = result["hosts"][entry["host"]]
    return {
        "host": entry["host"],
        "entry": {**entry, "tried": [dict(one) for one in tried]},
        "enroll": ready["enroll"],
        "images": ready["images"],
    }


__all__ = ["reschedule"]
