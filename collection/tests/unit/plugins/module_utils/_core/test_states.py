# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every action in every state against Nova's matrix, and Nova's words for each refusal."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.states import (
    AFTER,
    RULES,
    TASKS,
    VM_STATES,
    Standing,
    power_state,
    refusal,
    status,
    vm_state,
)

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
RUNNING = 1

#: What Nova 34.0.0's decorators say, read out of their closures: action | vm_states | task_states | what it looks at
#: beside. ``-`` is an idle server, ``*`` any state.
NOVA = """
start | stopped | - | lock
stop | active error | - | lock
reboot | active | - | lock
hard_reboot | active stopped paused suspended error | - rebooting reboot_pending reboot_started resuming \
rebooting_hard unpausing pausing suspending | lock
pause | active | - | lock
unpause | paused | - | lock
suspend | active | - | lock
resume | suspended | - | lock
lock | * | * | unlaunched
unlock | * | * | unlaunched
resize | active stopped | - | lock
migrate | active stopped | - | lock
confirm_resize | resized | - | lock
revert_resize | resized | - | lock
live_migrate | active paused | - | lock power
live_migration_force_complete | active | migrating | lock
abort_migration | * | migrating | lock
shelve | active stopped paused suspended | - | lock
shelve_offload | shelved | - | lock
unshelve | shelved shelved_offloaded | - | lock
rescue | active stopped error | - | lock
unrescue | rescued | - | lock
rebuild | active stopped error | - | lock
evacuate | active stopped error | * |
snapshot | active stopped paused suspended | - |
backup | active stopped paused suspended | - |
set_password | active | - | lock power
soft_delete | * | * | lock
restore | soft-delete | - | lock
delete | * | * | lock unlaunched
force_delete | * | * | lock unlaunched
attach_volume | active paused stopped resized soft-delete shelved shelved_offloaded | - | lock
detach_volume | active paused stopped resized soft-delete shelved shelved_offloaded | - | lock
attach_interface | active paused stopped | - | lock
detach_interface | active paused stopped | - | lock
crash_dump | active paused rescued resized error | - | lock
inject_nmi | active paused rescued resized error | - | lock
update_metadata | active paused suspended stopped | * | lock
console_log | * | * | unlaunched
console | * | !deleting !migrating | unlaunched
"""


class Row(t.NamedTuple):
    action: str
    vm_states: list[str]
    tasks: list[str]
    looks_at: list[str]

    def takes(self, state: str, task: str | None) -> bool:
        return self._in(self.vm_states, state) and self._in(self.tasks, task)

    @staticmethod
    def _in(allowed: list[str], state: str | None) -> bool:
        if allowed[0].startswith("!"):
            return f"!{state}" not in allowed
        return allowed == ["*"] or (state or "-") in allowed


def rows() -> list[Row]:
    cells = [[cell.split() for cell in line.split("|")] for line in NOVA.replace("\\\n", "").strip().splitlines()]
    return [Row(action[0], *rest) for action, *rest in cells]


#: All that steps set, and what only Nova's own services pass through.
EVERY_TASK = sorted(
    {*TASKS.values(), "migrating", "reboot_pending", "reboot_started", "image_snapshot", "scheduling", "shelving"}
)


def test_the_table_has_every_action_of_novas_matrix() -> None:
    assert [row.action for row in rows()] == list(RULES)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.action)
@pytest.mark.parametrize("state", VM_STATES)
def test_an_action_is_taken_where_nova_takes_it(row: Row, state: str) -> None:
    for task in (None, *EVERY_TASK):
        refused = refusal(row.action, ID, Standing(state, RUNNING, task))
        assert (refused is None) == row.takes(state, task), (row.action, state, task, refused)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.action)
def test_what_an_action_looks_at_beside(row: Row) -> None:
    state = next(state for state in VM_STATES if Row._in(row.vm_states, state))
    task = None if row.tasks[0] in ("*", "-", "!deleting") else row.tasks[0]
    told = refusal(row.action, ID, Standing(state, RUNNING, task, lock="by ops: disk swap"))
    assert told == (f"Instance {ID} is locked (by ops: disk swap)" if "lock" in row.looks_at else None)
    told = refusal(row.action, ID, Standing(state, RUNNING, task, launched=False))
    assert (told is None) == ("unlaunched" in row.looks_at)
    told = refusal(row.action, ID, Standing(state, 0, task))
    assert (told is None) == ("power" not in row.looks_at)


def test_a_refusal_is_in_novas_words() -> None:
    assert refusal("pause", ID, Standing("stopped", 4)) == (
        f"Cannot 'pause' instance {ID} while it is in vm_state stopped"
    )
    assert refusal("stop", ID, Standing("active", 1, "rebooting")) == (
        f"Cannot 'stop' instance {ID} while it is in task_state rebooting"
    )
    assert refusal("set_password", ID, Standing("active", 0)) == (
        f"Cannot 'changePassword' instance {ID} while it is in power_state 0"
    )
    assert refusal("snapshot", ID, Standing("rescued", 1)) == (
        f"Cannot 'createImage' instance {ID} while it is in vm_state rescued"
    )
    assert refusal("pause", ID, Standing("active", 1, launched=False)) == (
        f"Instance {ID} is in an invalid state for 'pause'"
    )


def test_vm_state_comes_before_task_state_and_the_lock_before_both() -> None:
    assert "vm_state" in str(refusal("pause", ID, Standing("stopped", 4, "rebooting")))
    assert "locked" in str(refusal("pause", ID, Standing("stopped", 4, "rebooting", lock="by root")))


@pytest.mark.parametrize(
    ("state", "task", "shown"),
    [
        ("active", None, "ACTIVE"),
        ("stopped", None, "SHUTOFF"),
        ("resized", None, "VERIFY_RESIZE"),
        ("resized", "resize_reverting", "REVERT_RESIZE"),
        ("paused", None, "PAUSED"),
        ("paused", "migrating", "MIGRATING"),
        ("suspended", None, "SUSPENDED"),
        ("rescued", None, "RESCUE"),
        ("shelved", None, "SHELVED"),
        ("shelved_offloaded", None, "SHELVED_OFFLOADED"),
        ("active", "rebooting", "REBOOT"),
        ("active", "rebooting_hard", "HARD_REBOOT"),
        ("active", "updating_password", "PASSWORD"),
        ("active", "rebuilding", "REBUILD"),
        ("stopped", "rebuild_spawning", "REBUILD"),
        ("error", "rebuilding", "REBUILD"),
        ("active", "resize_prep", "RESIZE"),
        ("stopped", "resize_finish", "RESIZE"),
        ("active", "migrating", "MIGRATING"),
        ("active", "powering-off", "ACTIVE"),
        ("deleted", None, "DELETED"),
        ("soft-delete", None, "SOFT_DELETED"),
        ("error", None, "ERROR"),
        ("building", "spawning", "BUILD"),
        ("from-tomorrow", None, "UNKNOWN"),
        (None, None, "UNKNOWN"),
    ],
)
def test_the_status_is_the_one_that_nova_shows(state: str | None, task: str | None, shown: str) -> None:
    assert status(state, task) == shown


def test_every_state_has_a_status() -> None:
    assert "UNKNOWN" not in {status(state) for state in VM_STATES}


@pytest.mark.parametrize(
    ("guest", "marks", "state"),
    [
        ("running", {}, "active"),
        ("other", {}, "active"),
        ("shutoff", {"lock": {}}, "stopped"),
        ("crashed", {}, "error"),
        ("shutoff", {"soft_delete": {"at": 1}}, "soft-delete"),
        ("running", {"rescue": {}}, "rescued"),
        ("running", {"resize": {}}, "resized"),
        ("shutoff", {"shelved": {}}, "shelved"),
        ("shutoff", {"rebuilding": {}}, "error"),
        ("shutoff", {"rebuilding": {}, "soft_delete": {"at": 1}}, "soft-delete"),
        ("shutoff", {"shelved": {}, "soft_delete": {"at": 1}}, "soft-delete"),
    ],
)
def test_marks_say_what_the_domain_can_not(guest: str, marks: dict[str, t.Any], state: str) -> None:
    assert vm_state(guest, marks) == state


def test_steps_that_leave_a_guest_running_have_a_task() -> None:
    assert set(AFTER) <= set(TASKS)
    assert {power_state(state) for state in AFTER.values()} == {1, 3, 4, 7}
