# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's states and what leads from one to another, as tables.

Note that this module util is **PRIVATE** to the collection.

Sources: nova/compute/vm_states.py, task_states.py, power_state.py, nova/api/openstack/common.py (status), and the
decorators of nova/compute/api.py (which action is taken in which state). Libvirt is the authority on what a guest does
now (``Guest.state``), a record's marks on what it can't say (rescued, deleted softly …), the inventory on what it
should do (``server_state``), the ledger on what is at work on it (task_state).
"""

from __future__ import annotations

import dataclasses
import typing as t

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

#: Mark of a record -> vm_state, whatever the domain does. The first that is there counts.
_MARKS = {
    "soft_delete": "soft-delete",
    "shelved_offloaded": "shelved_offloaded",
    "shelved": "shelved",
    "rescue": "rescued",
    "resize": "resized",
    # As Nova finds it when nova-compute starts again (_init_instance): its root disk is not whole.
    "rebuilding": "error",
}

VM_STATES = (
    "active",
    "building",
    "deleted",
    "error",
    "paused",
    "rescued",
    "resized",
    "shelved",
    "shelved_offloaded",
    "soft-delete",
    "stopped",
    "suspended",
)

#: vm_state -> status as Nova's command line shows it while nothing is at work.
_STATUS = {
    "active": "ACTIVE",
    "building": "BUILD",
    "deleted": "DELETED",
    "error": "ERROR",
    "paused": "PAUSED",
    "rescued": "RESCUE",
    "resized": "VERIFY_RESIZE",
    "shelved": "SHELVED",
    "shelved_offloaded": "SHELVED_OFFLOADED",
    "soft-delete": "SOFT_DELETED",
    "stopped": "SHUTOFF",
    "suspended": "SUSPENDED",
}
_RESIZE = dict.fromkeys(("resize_prep", "resize_migrating", "resize_migrated", "resize_finish"), "RESIZE")
_REBUILD = dict.fromkeys(("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"), "REBUILD")
#: vm_state -> task_state -> status, where a task shows.
_STATUS_AT_WORK: dict[str, dict[str, str]] = {
    "active": {
        **dict.fromkeys(("rebooting", "reboot_pending", "reboot_started"), "REBOOT"),
        **dict.fromkeys(("rebooting_hard", "reboot_pending_hard", "reboot_started_hard"), "HARD_REBOOT"),
        "updating_password": "PASSWORD",
        "migrating": "MIGRATING",
        **_REBUILD,
        **_RESIZE,
    },
    "error": _REBUILD,
    "paused": {"migrating": "MIGRATING"},
    "resized": {"resize_reverting": "REVERT_RESIZE"},
    "stopped": {**_REBUILD, **_RESIZE},
}

#: Step -> Nova's task_state while it is at work.
TASKS = {
    "create": "spawning",
    "define": "spawning",
    "start": "powering-on",
    "stop": "powering-off",
    "reboot": "rebooting",
    "hard_reboot": "rebooting_hard",
    "pause": "pausing",
    "unpause": "unpausing",
    "suspend": "suspending",
    "resume": "resuming",
    "grow": "resize_prep",
    "reconfigure": "resize_prep",
    "rebuild": "rebuilding",
    "evacuate": "rebuilding",
    "set_password": "updating_password",
    "soft_delete": "soft-deleting",
    "restore": "restoring",
    "delete": "deleting",
    "drop_stale": "deleting",
    "reclaim": "deleting",
    "undo_evacuation": "deleting",
    "snapshot": "image_snapshot",
    "tidy": "image_uploading",
    "rescue": "rescuing",
    "unrescue": "unrescuing",
    "shelve": "shelving",
    "unshelve": "unshelving",
    "end_move": "migrating",
    "resize": "resize_prep",
    "revert_resize": "resize_reverting",
    "migrate": "resize_migrating",
    "live_migrate": "migrating",
    "undo_migration": "resize_reverting",
}

_IDLE: frozenset[str | None] = frozenset({None})
_HARD_REBOOT = frozenset(
    {
        None,
        "rebooting",
        "reboot_pending",
        "reboot_started",
        "resuming",
        "rebooting_hard",
        "unpausing",
        "pausing",
        "suspending",
    }
)
_BUILT = frozenset({"active", "stopped", "paused", "suspended"})
_HAS_DISKS = frozenset({"active", "paused", "stopped", "resized", "soft-delete", "shelved", "shelved_offloaded"})
_NMI = frozenset({"active", "paused", "rescued", "resized", "error"})


@dataclasses.dataclass(frozen=True)
class Rule:
    """When Nova takes an action on a server. None means: in any state.

    ``word`` is how Nova's refusal names the action; ``lock``: a locked server refuses it; ``launched``: one that never
    ran does; ``busy_with``: task states in which it is refused although any other will do.
    """

    word: str
    vm_states: frozenset[str] | None
    tasks: frozenset[str | None] | None = _IDLE
    power: frozenset[int] | None = None
    lock: bool = True
    launched: bool = True
    busy_with: frozenset[str] = frozenset()


def _rule(word: str, *vm_states: str, **more: t.Any) -> Rule:
    return Rule(word, frozenset(vm_states), **more)


def _any(word: str, **more: t.Any) -> Rule:
    return Rule(word, None, **{"tasks": None, **more})


#: Nova's state matrix, as the decorators of nova/compute/api.py have it.
RULES: t.Final[t.Mapping[str, Rule]] = {
    "start": _rule("start", "stopped"),
    "stop": _rule("stop", "active", "error"),
    "reboot": _rule("reboot", "active"),
    "hard_reboot": Rule("reboot", _BUILT | {"error"}, tasks=_HARD_REBOOT),
    "pause": _rule("pause", "active"),
    "unpause": _rule("unpause", "paused"),
    "suspend": _rule("suspend", "active"),
    "resume": _rule("resume", "suspended"),
    "lock": _any("lock", lock=False, launched=False),
    "unlock": _any("unlock", lock=False, launched=False),
    "resize": _rule("resize", "active", "stopped"),
    "migrate": _rule("migrate", "active", "stopped"),
    "confirm_resize": _rule("confirmResize", "resized"),
    "revert_resize": _rule("revertResize", "resized"),
    "live_migrate": _rule("os-migrateLive", "active", "paused", power=frozenset({1, 3})),
    "live_migration_force_complete": _rule("force_complete", "active", tasks=frozenset({"migrating"})),
    "abort_migration": _any("abort live migration", tasks=frozenset({"migrating"})),
    "shelve": Rule("shelve", _BUILT),
    "shelve_offload": _rule("shelveOffload", "shelved"),
    "unshelve": _rule("unshelve", "shelved", "shelved_offloaded"),
    "rescue": _rule("rescue", "active", "stopped", "error"),
    "unrescue": _rule("unrescue", "rescued"),
    "rebuild": _rule("rebuild", "active", "stopped", "error"),
    "evacuate": _rule("evacuate", "active", "stopped", "error", tasks=None, lock=False),
    "snapshot": Rule("createImage", _BUILT, lock=False),
    "backup": Rule("createBackup", _BUILT, lock=False),
    "set_password": _rule("changePassword", "active", power=frozenset({1})),
    "soft_delete": _any("delete"),
    "restore": _rule("restore", "soft-delete"),
    "delete": _any("delete", launched=False),
    "force_delete": _any("forceDelete", launched=False),
    "attach_volume": Rule("attach_volume", _HAS_DISKS),
    "detach_volume": Rule("detach_volume", _HAS_DISKS),
    "attach_interface": _rule("attach_interface", "active", "paused", "stopped"),
    "detach_interface": _rule("detach_interface", "active", "paused", "stopped"),
    "crash_dump": Rule("trigger_crash_dump", _NMI),
    "inject_nmi": Rule("trigger_crash_dump", _NMI),
    "update_metadata": Rule("update metadata", _BUILT, tasks=None),
    "console_log": _any("get_console_output", lock=False, launched=False),
    "console": _any("get_vnc_console", lock=False, launched=False, busy_with=frozenset({"deleting", "migrating"})),
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

#: What a step leaves the guest in, where it changes that.
AFTER: dict[str, str] = {
    "start": "running",
    "reboot": "running",
    "hard_reboot": "running",
    "resume": "running",
    "unpause": "running",
    "stop": "shutoff",
    "pause": "paused",
    "suspend": "suspended",
    "rescue": "shutoff",
    "resize": "shutoff",
    "migrate": "shutoff",
    "revert_resize": "shutoff",
    "shelve": "shutoff",
    "unrescue": "shutoff",
    "unshelve": "shutoff",
}


def route(found: str, declared: str) -> tuple[str, ...]:
    """The power steps that lead a guest from the state it is found in to the declared one."""
    return _ROUTES.get((found, declared), ())


def vm_state(found: str, marks: t.Collection[str] = ()) -> str:
    """Nova's vm_state of a server whose guest is in state *found* and whose record has these *marks*."""
    return next((state for mark, state in _MARKS.items() if mark in marks), _NOVA[found][0])


def power_state(found: str) -> int:
    """Nova's number: 0 NOSTATE 1 RUNNING 3 PAUSED 4 SHUTDOWN 6 CRASHED 7 SUSPENDED."""
    return _NOVA[found][1]


def status(state: str | None, task_state: str | None = None) -> str:
    """The status that Nova shows for a vm_state; None is a server that nobody can see now."""
    if state is None:
        return "UNKNOWN"
    return _STATUS_AT_WORK.get(state, {}).get(task_state or "") or _STATUS.get(state, "UNKNOWN")


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a server stands: Nova's states of it, and who has locked it (empty: nobody)."""

    vm_state: str
    power_state: int = 0
    task_state: str | None = None
    lock: str = ""
    launched: bool = True


def refusal(action: str, server_id: str, server: Standing) -> str | None:
    """Why the *action* can't be taken now, in Nova's words; None if it can. Looked at in Nova's order."""
    rule = RULES[action]
    if rule.lock and server.lock:
        return f"Instance {server_id} is locked ({server.lock})"
    for attr, state, allowed in (
        ("vm_state", server.vm_state, rule.vm_states),
        ("task_state", server.task_state, rule.tasks),
        ("power_state", server.power_state, rule.power),
    ):
        if attr == "power_state" and rule.launched and not server.launched:
            return f"Instance {server_id} is in an invalid state for '{rule.word}'"
        if (allowed is not None and state not in allowed) or (attr == "task_state" and state in rule.busy_with):
            return f"Cannot '{rule.word}' instance {server_id} while it is in {attr} {state}"
    return None


__all__ = [
    "AFTER",
    "DECLARED",
    "RULES",
    "TASKS",
    "VM_STATES",
    "Rule",
    "Standing",
    "power_state",
    "refusal",
    "route",
    "status",
    "vm_state",
]
