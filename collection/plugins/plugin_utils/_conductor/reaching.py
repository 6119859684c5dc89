# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps with two ends: whether the other one can be reached, and whether the server is reached there.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving, resize_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import AWAY, ERROR, HELD

#: The leave to move a server out of a network that each host has for itself; the step's option bears its name, too.
HOST_NETWORK = "host_network"

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record


def reaching(given: Situation, draft: Draft) -> Draft:
    """The draft, refused if the host at the other end of one of its steps is down, or has no address for others.

    What a move that was cut off has left there, before the server was given up here, can wait for that host.
    """
    draft = _given_up(given, draft)
    why = next((why for why in (_missing(given, draft, str(id_)) for id_ in _peers(draft)) if why), "")
    if why:
        its = leaving(draft.record) if draft.record is not None else None
        if its is not None and not its.left:
            rest = tuple(step for step in draft.plan.steps if step.kind != "undo_migration")
            return draft.to_do(dataclasses.replace(draft.plan, steps=rest))
        return draft.refuse(AWAY, why)
    here = given.by_name.get(str(draft.location.host))
    ends = draft.move is not None or any(_peers(draft))
    if ends and here is not None and not here.settings.migration_uri:
        return draft.refuse(ERROR, _unnamed(here.name))
    asked = next((step.options.get("host") for step in draft.plan.steps if step.kind in MOVES), None)
    wanted = given.by_name.get(str(asked))
    if asked is not None and wanted is None:
        return draft.refuse(ERROR, f"Compute host {asked} not found. There are: {', '.join(sorted(given.by_name))}")
    if wanted is not None and not wanted.settings.migration_uri:
        return draft.refuse(ERROR, _unnamed(wanted.name))
    return _among_peers(given, draft)


def _among_peers(given: Situation, draft: Draft) -> Draft:
    """A server leaves a network that its host has for itself, and so its peers, by leave alone. The steps say so to the
    host, which looks at both ends."""
    here = given.by_name.get(str(draft.location.host))
    own = here.own_networks(draft.record.nics) if here is not None and draft.record is not None else {}
    if draft.move is None or here is None or not own:
        return draft
    if HOST_NETWORK not in given.leave.allow:
        name, what = next(iter(own.items()))
        return draft.refuse(
            HELD,
            f"network {name!r} is one of {here.name}'s own ({what}), and it would find none of its peers there "
            f"elsewhere; -e fleet_allow={HOST_NETWORK} moves it all the same",
        )
    names = ", ".join(map(repr, own))
    steps = (
        dataclasses.replace(
            step, why=f"{step.why}; without its peers in network {names}", options={**step.options, HOST_NETWORK: True}
        )
        if step.kind in MOVES
        else step
        for step in draft.plan.steps
    )
    return dataclasses.replace(draft, plan=dataclasses.replace(draft.plan, steps=tuple(steps)))


def _given_up(given: Situation, draft: Draft) -> Draft:
    """A live migration that was cut off waits for both of its hosts, unless the operator says that one has nothing."""
    steps = draft.plan.steps
    if draft.record is None or not any(step.kind == "end_move" for step in steps):
        return draft
    its = move_of(draft.record)
    other = None if its is None else given.by_name.get(its.other.host)
    absent = given.declared.settings.assume_absent
    if its is None or its.other.host not in absent or (other is not None and other.up):
        return draft
    ends = tuple(
        dataclasses.replace(step, options={**step.options, "give_up": True}) if step.kind == "end_move" else step
        for step in steps
    )
    return draft.to_do(dataclasses.replace(draft.plan, steps=ends))


def _peers(draft: Draft) -> list[object]:
    return [step.options["peer"] for step in draft.plan.steps if step.options.get("peer") is not None]


def _missing(given: Situation, draft: Draft, host_id: str) -> str:
    """Why the host of this id can't be asked; empty if it can."""
    compute = next((compute for compute in given.computes if compute.host_id == host_id), None)
    if compute is not None:
        return "" if compute.settings.migration_uri else _unnamed(compute.name)
    name = _name(draft.record, host_id)
    down = given.by_name.get(name)
    why = f"is down: {down.why}" if down is not None and not down.up else "is not in inventory"
    return f"its other copy is on {name}, which {why}"


def _name(record: Record | None, host_id: str) -> str:
    """What the server's marks call that host."""
    its = None if record is None else resize_of(record)
    going = None if record is None else leaving(record)
    if its is not None and its.source is not None:
        return its.source.host
    return host_id if going is None else going.to.host


def _unnamed(host: str) -> str:
    return f"{host} has no compute_migration_uri, by which other compute hosts reach its libvirt; set it"


__all__ = ["reaching"]
