# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that go to another host: their steps, for whoever asks for it.

Note that this module util is **PRIVATE** to the collection.

A move begins on the host that has the server, in one call that opens the other host's libvirt as well. The steps after
it are carried out where the server is then. A cold migration is a resize that keeps the flavor, as in Nova: the server
is shut down, goes, is started where it ran, and waits to be confirmed or reverted.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidInput, Refused
from .live import OPTIONS as LIVE_OPTIONS
from .live import can_go_live, live_step, wants_live
from .model import Flavor, Guest, Json, Record, Server, Spec
from .states import route
from .steps import RESIZED, Leave, ServerPlan, Step

#: Steps that take a server to another host.
MOVES = frozenset({"live_migrate", "migrate"})
#: Steps of a flavor that a host may have no room for.
_RESIZES = frozenset({"grow", "reconfigure", "resize"})


def cold_steps(
    record: Record,
    state: str,
    why: str,
    *,
    host: str | None = None,
    spec: Spec | None = None,
    confirm: bool = False,
) -> list[Step]:
    """From a guest in *state* to the same on another host. ``host``: the one that is asked for, None lets the scheduler
    choose; ``spec``: the record's to be, with another flavor, say; ``confirm``: there is no way back from it."""
    down = [Step(kind, "for the next step") for kind in route(state, "stopped")]
    mark = {"state": state, **({"confirm": True} if confirm else {})}
    options = {} if host is None else {"host": host}
    # Files of the host's own go over no connection of libvirt's.
    loses = record.hardware.firmware == "uefi"
    move = Step(
        "migrate",
        why + (_FIRMWARE if loses else ""),
        spec=record.spec if spec is None else spec,
        hold="data_loss" if loses else None,
        marks={RESIZED: mark},
        options=options,
    )
    up = [Step("start", "it ran before")] if state == "running" else []
    end = [Step("confirm_resize", "at once", marks={RESIZED: None})] if confirm else []
    return [*down, move, *up, *end]


def migrate(options: t.Mapping[str, Json], record: Record, guest: Guest | None) -> list[Step]:
    """Nova's action migrate, live or cold, to the host that is asked for or to one that the scheduler chooses."""
    state = "shutoff" if guest is None else guest.state
    host = options.get("host")
    if wants_live(options.get("live"), state):
        if not can_go_live(record):
            raise Refused(f"{record.name} {_FITTED}: move it cold, with live: false")
        return [live_step(options, "asked for", host=None if host is None else str(host))]
    given = [name for name in LIVE_OPTIONS if options.get(name) is not None]
    if given:
        raise InvalidInput(f"{record.name} is {state} and is moved cold, which takes no {', '.join(given)}")
    if options.get("wait") is False:
        raise InvalidInput(f"{record.name} is {state} and is moved cold, which is always waited for")
    return cold_steps(
        record,
        state,
        "asked for",
        host=None if host is None else str(host),
        confirm=bool(options.get("confirm")),
    )


def check_destination(record: Record, host: str | None, here: str | None) -> None:
    """Refused in Nova's words for the host that a server is on already."""
    if host is not None and host == here:
        raise Refused(f"Cannot migrate to the host where the server exists. {record.name} is on {here}")


def declared_host(
    plan: ServerPlan, desired: Server, record: Record, guest: Guest | None, *, here: str | None, leave: Leave
) -> ServerPlan:
    """*plan*, and the way to the host that inventory names, if the server isn't *here*."""
    host = desired.spec.get("host")
    if host in (None, here) or here is None or guest is None or desired.state in ("absent", "shelved"):
        return plan
    if any(mark in record.marks for mark in (RESIZED, "rescue", "soft_delete")) or desired.spec.get("rescue"):
        return plan  # that ends first
    if any(step.kind == "adopt" for step in plan.steps):
        return plan  # somebody has moved it by hand, and may have left a copy there
    state = guest.state if not plan.steps else {"active": "running", "stopped": "shutoff"}.get(desired.state, "")
    if state not in ("running", "shutoff"):
        return plan
    spec = next((step.spec for step in reversed(plan.steps) if step.spec is not None), record.spec)
    why = f"declared on {host}"
    if state == "running" and can_go_live(record):
        if any(step.kind != "update" for step in plan.steps):
            return plan  # it is moved when it is as it should be
        move = by_leave(ServerPlan(steps=(live_step({}, why, host=str(host), spec=spec),)), record, leave)
        return ServerPlan(plan.differences, move.steps or plan.steps, (*plan.held, *move.held))
    if state == "running":
        why = f"{why}; it {_FITTED}"
    steps = cold_steps(record, state, why, host=str(host), spec=spec, confirm=True)
    needs = ("migrate", "restart") if state == "running" else ("migrate",)
    move = by_leave(ServerPlan(steps=tuple(steps)), record, leave, needs)
    return ServerPlan(plan.differences, (*plan.steps, *move.steps), (*plan.held, *move.held))


def elsewhere(plan: ServerPlan, record: Record, guest: Guest | None, *, asked: bool = False) -> ServerPlan | None:
    """*plan* with its change of flavor on another host; None if it has none, or none that can be told from the rest.

    What else changes waits for the next run. *asked*: not declared, so that somebody is to confirm it.
    """
    step = next((step for step in plan.steps if step.kind in _RESIZES), None)
    if step is None or step.spec is None or Flavor.from_json(step.spec["flavor"]) == record.flavor:
        return None
    state = "shutoff" if guest is None else guest.state
    if state not in ("running", "shutoff") or any(other.kind == "rebuild" for other in plan.steps):
        return None
    why = f"to flavor {step.spec['flavor'].get('name')}, for which its host has no room"
    moved = cold_steps(record, state, why, spec=step.spec, confirm=step.kind != "resize" and not asked)
    return dataclasses.replace(plan, steps=tuple(moved))


def by_leave(plan: ServerPlan, record: Record, leave: Leave, needs: t.Sequence[str] = ("migrate",)) -> ServerPlan:
    """A plan of one move, which is held if a leave that it *needs* is missing."""
    move = next(step for step in plan.steps if step.kind in MOVES)
    missing = next((flag for flag in (*needs, move.hold) if flag and flag not in leave.allow), None)
    if record.lock and "locked" not in leave.allow:
        move = dataclasses.replace(move, why=f"{move.why}; locked {record.lock}", hold="locked")
    elif missing is not None:
        move = dataclasses.replace(move, hold=missing)
    else:
        steps = (dataclasses.replace(step, hold=None) for step in plan.steps)
        return dataclasses.replace(plan, steps=tuple(steps))
    return dataclasses.replace(plan, steps=(), held=(*plan.held, move))


_FITTED = "has PCI devices of its host's, and can't be moved while it runs"
_FIRMWARE = "; the variables of its UEFI firmware don't go with it"

__all__ = ["MOVES", "by_leave", "check_destination", "cold_steps", "declared_host", "elsewhere", "migrate"]
