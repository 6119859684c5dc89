# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a locked server keeps from happening.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses

from .model import Record, Server
from .step import Step

#: Power steps and deeds that a locked server keeps from happening (Nova's check_instance_lock).
_LOCKED_OUT = frozenset(
    {
        "start",
        "stop",
        "pause",
        "unpause",
        "suspend",
        "resume",
        "pin",
        "grow",
        "reconfigure",
        "rebuild",
        "soft_delete",
        "delete",
        "restore",
        "rescue",
        "unrescue",
        "shelve",
        "unshelve",
        "resize",
        "confirm_resize",
        "revert_resize",
        "live_migrate",
        "migrate",
    }
)
#: What stays possible on a locked server: it changes no guest.
_HARMLESS = frozenset({"adopt", "define", "tidy", "update"})


def lock_of(desired: Server, record: Record) -> str:
    """What keeps the server locked through this run: somebody's deed, or inventory if it still says so."""
    return record.lock if "lock" in record.marks or desired.spec.get("locked") else ""


def lock_on_deleted(record: Record) -> str:
    """What keeps a server that was deleted softly from being reclaimed: somebody has locked it since. Whoever deleted a
    locked one had leave to."""
    lock, deleted = record.marks.get("lock") or {}, record.marks["soft_delete"]
    return record.lock if float(lock.get("at") or 0) > float(deleted["at"]) else ""


def kept_out(steps: list[Step], held: list[Step], lock: str) -> tuple[list[Step], list[Step]]:
    """Nothing that changes the guest happens to a locked server; its record may change."""
    if not any(step.kind in _LOCKED_OUT for step in (*steps, *held)):
        return steps, held
    locked = [
        dataclasses.replace(step, hold="locked", why=f"{step.why}; locked {lock}")
        for step in (*steps, *held)
        if step.kind in _LOCKED_OUT
    ]
    return [step for step in steps if step.kind in _HARMLESS], locked


__all__ = ["kept_out", "lock_of", "lock_on_deleted"]
