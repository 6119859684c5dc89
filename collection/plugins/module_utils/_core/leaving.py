# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a server leaves its host when the host is emptied: live, cold, offline, or not at all.

Note that this module util is **PRIVATE** to the collection.

``live`` keeps the guest running; ``cold`` shuts it down, moves and starts it again; ``offline`` moves one that is off
and leaves it off; ``stays`` says why it can't go. Nobody is asked to confirm: the host is to be empty.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .live import can_go_live, live_step
from .model import Guest, Record, Spec
from .move import MARK as MOVING
from .moving import cold_steps
from .rebuilding import MARK as REBUILDING
from .resize import leaving
from .steps import RESIZED, Step

WAY_LIVE = "live"
WAY_COLD = "cold"
WAY_OFFLINE = "offline"
STAYS = "stays"

#: States of guests that go live, as in Nova.
GO_LIVE = frozenset({"paused", "running"})

#: Mark of a record -> why its server waits. The first that is there counts.
_WAITING = {
    "soft_delete": "it was deleted softly; it goes for good when its time is over, or by the action force_delete",
    "evacuating": "it is half evacuated; the next reconcile run mends that",
    "migrating": "a move of it was cut off; the next reconcile run mends that",
    MOVING: "its live migration was cut off; the next reconcile run ends that",
    RESIZED: "it waits to be confirmed or reverted (VERIFY_RESIZE); do either by the playbook action",
    "rescue": "it is rescued; end that by the action unrescue",
    REBUILDING: "a rebuild of it was cut off; the next reconcile run ends that",
}
_STATES = {
    "paused": "it is paused, which only a live migration keeps, and it has PCI devices of its host's, which none takes "
    "along; unpause or stop it",
    "suspended": "it is suspended, and what it has in memory is a file of its host; resume or stop it",
    "other": "its guest is between two states; run again",
}


@dataclasses.dataclass(frozen=True)
class Way:
    """How a server leaves, or why it stays."""

    kind: str
    why: str = ""


def way_out(record: Record, guest: Guest, allow: t.AbstractSet[str]) -> Way:
    """How the server of *record* leaves the host that *guest* is on. *allow*: what the run may do (``fleet_allow``)."""
    its = leaving(record)
    if its is not None and its.left:
        return Way(STAYS, f"it is what the server has left by its move to {its.to.host}; confirm or revert that")
    waiting = next((why for mark, why in _WAITING.items() if mark in record.marks), None)
    if waiting is not None:
        return Way(STAYS, waiting)
    if record.lock and "locked" not in allow:
        return Way(STAYS, f"it is locked {record.lock}; -e fleet_allow=locked lets it go")
    if guest.state in GO_LIVE and can_go_live(record):
        return Way(WAY_LIVE)
    if guest.state in _STATES:
        return Way(STAYS, _STATES[guest.state])
    if guest.state == "running" and "restart" not in allow:
        return Way(
            STAYS,
            "it has PCI devices of its host's, which no live migration takes along; "
            "-e fleet_allow=restart moves it cold",
        )
    if record.hardware.firmware == "uefi" and "data_loss" not in allow:
        return Way(
            STAYS,
            "the variables of its UEFI firmware would not go with it; -e fleet_allow=data_loss leaves them behind",
        )
    return Way(WAY_COLD if guest.state == "running" else WAY_OFFLINE)


def steps_out(
    way: Way, record: Record, guest: Guest, why: str, *, host: str | None = None, spec: Spec | None = None
) -> list[Step]:
    """The steps of a way that leads out, with what they need leave for. ``host``: the one that it goes to, None lets
    the scheduler choose; ``spec``: the record's to be."""
    if way.kind == STAYS:
        return []
    if way.kind == WAY_LIVE:
        return [live_step({}, why, host=host, spec=spec)]
    return cold_steps(record, guest.state, why, host=host, spec=spec, confirm=True)


__all__ = ["GO_LIVE", "STAYS", "WAY_COLD", "WAY_LIVE", "WAY_OFFLINE", "Way", "steps_out", "way_out"]
