# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the metadata services of the hosts tell, and are not to tell: trees that are old, and trees of who is not there.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import FORGET
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import ServerPlan, Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import MISSING, Location

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Server

#: Steps that bring the metadata service on the server's host up to date.
TELLS = frozenset(
    "adopt bring_metadata create define evacuate grow rebuild reconfigure restore start unshelve update".split()
)


def told(given: Situation, plan: ServerPlan, server: Server, location: Location) -> ServerPlan:
    """*plan*, and the step that brings the server's metadata up to date, if it isn't and no other step does."""
    compute, record = given.by_name.get(location.host or ""), location.record
    if compute is None or record is None or location.guest is None or server.state == "absent":
        return plan
    if record.id not in compute.old_metadata or any(step.kind in TELLS for step in plan.steps):
        return plan
    step = Step("update", "its metadata at the metadata service is not what it is to be told", spec=record.spec)
    return dataclasses.replace(plan, steps=(step, *plan.steps))


def forgotten(given: Situation) -> t.Iterator[Draft]:
    """Servers that a host's metadata service still tells who they are, and that are not there: their move failed, or
    they left while nobody looked. Whoever is given their address is not to be told of them."""
    for compute in given.computes:
        for server_id in sorted(compute.left_metadata):
            if given.is_busy(server_id):
                continue
            step = Step(FORGET, "the metadata service here still tells of it, and it is not here")
            name = f"{server_id} ({compute.name}, metadata)"
            location = Location(MISSING, compute.name)
            draft = Draft(name, None, location, host=compute.name, copy=True, left_over=server_id)
            yield draft.to_do(ServerPlan(steps=(step,)))


__all__ = ["TELLS", "forgotten", "told"]
