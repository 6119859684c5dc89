# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another flavor for a server while it runs (``server_resize: live``), which Nova lacks: more vCPUs, more memory.

Note that this module util is **PRIVATE** to the collection.

What can't be done so is a resize as ever, with the leave that this needs, and the plan says why.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .differences import LIVE, Difference
from .model import Flavor, Guest, Json, Record, Server, Spec
from .room import BLOCK, SLOTS, TRIES, Room
from .step import Step

#: Without server_resize_max a server can grow to so many times the flavor that it is defined with, but to no more than
#: so many vCPUs and MiB (unless its flavor has them): a machine's own limits are near there.
_TIMES = 4
_MOST = Room(vcpus=128, ram=512 * 1024)


def room_for(record: Record, spec: Spec, flavor: Flavor) -> Room | None:
    """The room that a domain with this flavor is defined with, None where nobody asked for any.

    What a server has that takes nothing more is kept, so that its domain stays as it is. Cores and pages of its own are
    counted out by its host, and can't grow.
    """
    if spec.get("resize") != "live" or (record.fit is not None and record.fit.cells):
        return None
    given, had = spec.get("resize_max") or {}, record.room or Room(0, 0)
    vcpus = given.get("vcpus") or had.vcpus
    ram = given.get("ram") or had.ram
    if vcpus < flavor.vcpus:
        vcpus = max(flavor.vcpus, min(_TIMES * flavor.vcpus, given.get("vcpus", _MOST.vcpus), _MOST.vcpus))
    if ram < flavor.ram:
        ram = max(flavor.ram, min(_TIMES * flavor.ram, given.get("ram", _MOST.ram), _MOST.ram))
    return Room(vcpus, ram)


def obstacle(record: Record, flavor: Flavor) -> str:
    """Why a running server can't get this flavor while it runs; empty if it can."""
    now, room = record.flavor, record.room
    if room is None:
        own = record.fit is not None and record.fit.cells
        return (
            "it has cores or pages of its own" if own else "its domain has no room to grow yet; a restart gives it that"
        )
    if flavor.vcpus < now.vcpus or flavor.ram < now.ram:
        return "vCPUs and memory only grow while it runs"
    if (flavor.disk, flavor.ephemeral, flavor.swap) != (now.disk, now.ephemeral, now.swap):
        return "its disks change"
    if flavor.extra_specs != now.extra_specs:
        return "its extra specs change"
    if flavor.vcpus > room.vcpus or flavor.ram > room.ram:
        return f"its domain has room for {room.vcpus} vCPU and {room.ram} MiB"
    if (flavor.ram - now.ram) % BLOCK:
        return f"memory grows by whole {BLOCK} MiB while it runs"
    if flavor.ram > now.ram and room.taken >= SLOTS:
        return f"its {SLOTS} slots for memory are taken"
    its = room.refused
    if its is not None and its.times >= TRIES and (its.vcpus, its.ram) == (flavor.vcpus, flavor.ram):
        return f"its host has refused that {its.times} times ({its.why})"
    return ""


def while_it_runs(
    desired: Server, record: Record, guest: Guest, differences: t.Sequence[Difference]
) -> tuple[list[Difference], str]:
    """The differences with what they cost where the guest can grow as it runs; and why it can't, if it was to."""
    told = list(differences)
    runs_on = guest.state == "running" and desired.state == "active"
    if desired.spec.get("resize") != "live" or not runs_on or not grows(record, desired.flavor):
        return told, ""
    half = _half_grown(record, desired.flavor, guest)
    if not half and any(difference.key in ("domain.vcpus", "domain.memory") for difference in told):
        return told, "its domain was changed on the host"
    why = obstacle(record, desired.flavor)
    if why:
        return told, why
    return [
        dataclasses.replace(each, cls=LIVE) if each.key.startswith("flavor.") else each
        for each in told
        if not (half and each.key in ("domain.vcpus", "domain.memory"))
    ], ""


def grows(record: Record, flavor: Flavor) -> bool:
    """Whether the flavor has other vCPUs or memory than the server."""
    return (flavor.vcpus, flavor.ram) != (record.flavor.vcpus, record.flavor.ram)


def grow_step(flavor: Json, why: str, spec: Spec) -> Step:
    """Another flavor (as JSON) while it runs, for good."""
    size = f"{flavor.get('vcpus')} vCPU and {flavor.get('ram')} MiB"
    return Step("grow", f"{why}, to flavor {flavor.get('name')}: {size} while it runs", spec=spec)


def grown(record: Record, spec: Spec) -> Record:
    """The record after that step."""
    flavor, room = Flavor.from_json(spec["flavor"]), record.room
    if room is not None:
        room = dataclasses.replace(room, taken=room.taken + (flavor.ram > record.flavor.ram), refused=None)
    return dataclasses.replace(record, flavor=flavor, room=room)


def defined_anew(record: Record) -> Record:
    """The record of a server whose domain is made of it alone: no slot of it has a module then."""
    return record if record.room is None else dataclasses.replace(record, room=record.room.empty())


def elsewhere(record: Record) -> Record:
    """The record of a guest that goes to another host as it runs: what one host refused the other may grant."""
    return (
        record
        if record.room is None
        else dataclasses.replace(record, room=dataclasses.replace(record.room, refused=None))
    )


def _half_grown(record: Record, flavor: Flavor, guest: Guest) -> bool:
    """Whether the domain is what a run that was killed at this very step has left."""
    return guest.vcpus in (record.flavor.vcpus, flavor.vcpus) and guest.memory in (record.flavor.ram, flavor.ram)


__all__ = ["defined_anew", "elsewhere", "grow_step", "grown", "grows", "obstacle", "room_for", "while_it_runs"]
