# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers on hosts that live, whose move to or from a dead one was cut off: what an evacuation makes of them.

Note that this plugin util is **PRIVATE** to the collection.

Live ones are where they are, whole but for what was in memory at the other end. Only the host can tell how far that was
(``_hypervisor.bereft``); the plan says what may come of it. One that was moved cold and has left its host waits for the
other, as in Nova.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import has_data
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import SOURCE, WATCH, Move, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import AWAY, FOUND, HELD, Location

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import Whereabouts


def severed(where: Whereabouts, dead: t.Mapping[str, str | None]) -> t.Iterator[tuple[Record, Location]]:
    """The servers that are on a host which lives, and whose move leads to or from one of the *dead* hosts: their names,
    and their ids where these are known. One that is off, and may run on further hosts that nobody sees, is held."""
    for host, guest in where.ours():
        record = guest.record
        its = None if record is None else move_of(record)
        if record is None or its is None or its.other.host not in dead:
            continue
        if dead[its.other.host] not in (None, its.other.host_id):
            continue  # another host has that name now
        location = where.find(record.name, record.id)
        if location.host != host or not (location.status == FOUND or (location.status == HELD and location.unseen)):
            continue
        if set(location.unseen) <= set(dead):
            yield record, dataclasses.replace(location, status=FOUND, guest=guest, record=record, message="", doubt="")
        else:
            message = location.doubt or location.message
            yield record, dataclasses.replace(location, status=HELD, record=record, message=message)


def gone_over(where: Whereabouts, dead: t.Collection[str]) -> t.Iterator[tuple[Record, Location]]:
    """The servers of which a host that lives has no more than the copy that they left, on their way to a *dead* one."""
    for _host, guest in where.ours():
        record = guest.record
        its = None if record is None else leaving(record)
        if record is None or its is None or not its.left:
            continue
        location = where.find(record.name, record.id)
        if location.status == AWAY and location.host in dead:
            yield record, location


def end_alone(record: Record, location: Location, *, start: bool, may_lose: bool) -> Step:
    """The step that ends such a move; held where it needs leave that isn't given. ``lost`` in its options: roles of
    disks of which something may be lost."""
    its, guest = t.cast(Move, move_of(record)), t.cast("Guest", location.guest)
    other = its.other.host
    lost: list[str] = []
    if its.role != SOURCE:
        why = f"its move from {other} was cut off: it stays here, without what of its memory was still there"
    elif guest.state == "running" or its.paused:
        why = f"its move to {other} was cut off: it stays here as it is, or starts anew if it may have run there"
    else:
        lost = [disk.role for disk in its.disks if has_data(disk)]
        why = f"its move to {other} was cut off, and it may have run there: its disks here are kept, its memory is lost"
        why += f", and what it has written to its disk {', '.join(lost)} there" if lost else ""
    options = {"migration": its.migration, "dead": True, "start": start, "data_loss": may_lose, "watch": WATCH}
    hold = "data_loss" if lost and not may_lose else None
    among = sorted({other, *location.unseen})  # each of them is proved to be dead first
    return Step("end_move", why, hold=hold, options={**options, "from": other, "among": among, "lost": lost})


__all__ = ["end_alone", "gone_over", "severed"]
