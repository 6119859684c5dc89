# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's states and what leads from one to another, as tables.

Note that this module util is **PRIVATE** to the collection.

Sources: nova/compute/vm_states.py, power_state.py and nova/api/openstack/common.py (status). Libvirt is the authority
on
what a guest does now (``Guest.state``); the inventory on what it should do (``server_state``).
"""

from __future__ import annotations

#: What ``server_state`` may say.
DECLARED = ("active", "stopped", "paused", "suspended", "shelved", "absent")

#: Guest.state -> (vm_state, power_state number).
_NOVA: dict[str, tuple[str, int]] = {
    "running": ("active", 1),
    "paused": ("paused", 3),
    "shutoff": ("stopped", 4),
    "suspended": ("suspended", 7),
    "crashed": ("error", 6),
    "other": ("active", 0),
}

#: vm_state -> status as Nova's command line shows it.
_STATUS = {
    "active": "ACTIVE",
    "building": "BUILD",
    "error": "ERROR",
    "paused": "PAUSED",
    "soft-delete": "SOFT_DELETED",
    "stopped": "SHUTOFF",
    "suspended": "SUSPENDED",
}

#: (guest state, declared state) -> the steps between them. A pair that is not here needs none.
#: A suspended guest that should be off is resumed first: its memory is shut down in order, not thrown away.
_ROUTES: dict[tuple[str, str], tuple[str, ...]] = {
    ("shutoff", "active"): ("start",),
    ("crashed", "active"): ("start",),
    ("paused", "active"): ("unpause",),
    ("suspended", "active"): ("resume",),
    ("running", "stopped"): ("stop",),
    ("paused", "stopped"): ("stop",),
    ("crashed", "stopped"): ("stop",),
    ("suspended", "stopped"): ("resume", "stop"),
    ("other", "stopped"): ("stop",),
    ("running", "paused"): ("pause",),
    ("shutoff", "paused"): ("start", "pause"),
    ("crashed", "paused"): ("start", "pause"),
    ("suspended", "paused"): ("resume", "pause"),
    ("running", "suspended"): ("suspend",),
    ("paused", "suspended"): ("unpause", "suspend"),
    ("shutoff", "suspended"): ("start", "suspend"),
    ("crashed", "suspended"): ("start", "suspend"),
    # A guest in the middle of shutting down: `start` waits for its end, then starts it.
    ("other", "active"): ("start",),
    ("other", "paused"): ("start", "pause"),
    ("other", "suspended"): ("start", "suspend"),
}

#: What a power step leaves the guest in.
AFTER: dict[str, str] = {
    "start": "running",
    "resume": "running",
    "unpause": "running",
    "stop": "shutoff",
    "pause": "paused",
    "suspend": "suspended",
}


def route(found: str, declared: str) -> tuple[str, ...]:
    """The power steps that lead a guest from the state it is found in to the declared one."""
    return _ROUTES.get((found, declared), ())


def vm_state(found: str) -> str:
    return _NOVA[found][0]


def power_state(found: str) -> int:
    """Nova's number: 0 NOSTATE 1 RUNNING 3 PAUSED 4 SHUTDOWN 6 CRASHED 7 SUSPENDED."""
    return _NOVA[found][1]


def status(state: str | None) -> str:
    """The status that Nova shows for a vm_state; None is a server that nobody can see now."""
    return "UNKNOWN" if state is None else _STATUS[state]


__all__ = ["AFTER", "DECLARED", "power_state", "route", "status", "vm_state"]
