# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about actions: each has its command there, and the commands do what they say, in the page's order."""

from __future__ import annotations

import shlex
import typing as t

import pytest
from tests.e2e.test_saving import same
from tests.support.disk_mark import lost_mark, write_mark
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import ROOT
from tests.support.world import Domain

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import ACTIONS
from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import given

PAGE = ROOT / "collection/docs/actions.md"
PLAYBOOK = "flotilla.compute.action"
#: The same by another name.
_ALIASES = {"crash_dump": "inject_nmi", "soft_delete": "delete"}


def commands() -> list[dict[str, t.Any]]:
    """The extra variables of each command."""
    lines = (
        shlex.split(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    ansible")
    )
    return [_variables(words) for words in lines if PLAYBOOK in words]


def _variables(words: t.Sequence[str]) -> dict[str, str]:
    """As Ansible takes them: one name=value each, whose value may be quoted once more."""
    assert words[:4] == ["ansible-playbook", "-i", "inventory", PLAYBOOK]
    assert set(words[4::2]) == {"-e"}
    pairs = (word.split("=", 1) for word in words[5::2])
    return {name: shlex.split(value)[0] if value[:1] in "'\"" else value for name, value in pairs}


def test_every_action_has_a_command_whose_options_it_takes() -> None:
    told = {command["fleet_action"] for command in commands()}
    assert {_ALIASES.get(action, action) for action in ACTIONS} == told
    for command in commands():
        given(command["fleet_action"], command.get("fleet_action_options", {}))


#: What the walk meets no chance for: no agent is in the lab's guest, and no live migration under way.
_REFUSED = {"set_password": "because its guest agent does not answer", "abort_migration": "live migration"}
#: What is done anew the second time, as in Nova.
_ANEW = {"backup", "inject_nmi", "migrate", "reboot", "rebuild"}
#: Refusals of what is done already.
_DONE = ("while it is in vm_state", "has an image 'web1-golden' already", "there is no server 'web1'")


def standing(fleet: Fleet, server_id: str) -> Domain | None:
    """The server; of the two copies that wait for a resize to be confirmed, the one that counts."""
    copies = [domain for domain in fleet.look().domains if domain.id == server_id and not domain.softly_deleted]
    return max(copies, key=lambda domain: (domain.record or {})["generation"], default=None)


def counts_on(fleet: Fleet, now: Domain, command: dict[str, t.Any]) -> None:
    """A guest that runs goes on to count."""
    if now.state != "running":
        return

    def ticks() -> int:
        return fleet.lab.console(now.host, now.id).count("tick ")

    begun = ticks()
    until(lambda: ticks() > begun, lambda: f"the guest to count on after {command}", timeout=90)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_commands_are_one_walk_and_each_may_come_twice(fleet: Fleet) -> None:
    fleet.all["fleet_flavors"]["m1.large"] = {"vcpus": 2, "ram": 192, "disk": 2}
    fleet.declare("web1", shutdown_timeout=20, state="stopped")
    fleet.reconcile()
    before = fleet.look().server("web1")
    write_mark(fleet.lab, before.host, *before.disk("root"))
    fleet.declare("web1", state="active")
    fleet.reconcile()
    fleet.console("web1", "tick 1")
    for command in commands():
        first, second = (fleet.run("action", **command) for _turn in range(2))
        if command["fleet_action"] in _REFUSED:
            assert _REFUSED[command["fleet_action"]] in first.failed().message
            continue
        first.ok()
        if command["fleet_action"] in _ANEW:
            second.ok()
        elif second.civil().rc == 0:
            assert second.changed == 0, str(second)
        else:
            assert any(words in second.message for words in _DONE), str(second)
        now = standing(fleet, before.id)
        if now is not None:
            assert same(before, now), command
            # Rebuilt, too, it is from a snapshot of this very disk.
            assert lost_mark(fleet.lab, now.host, *now.disk("root")) == "", command
            counts_on(fleet, now, command)
    assert fleet.look().servers == {}
    history = [(row.action, row.result) for row in fleet.ledger.actions(before.id)]
    for command in commands():
        if command["fleet_action"] not in _REFUSED:
            assert (command["fleet_action"], "Success") in history
