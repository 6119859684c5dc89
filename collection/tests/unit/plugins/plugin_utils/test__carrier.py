# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a build that failed may be tried on another host: only if the host that failed has said that nothing is left.
What a dead host's server comes back without, and which steps of several servers go in one call."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import Carrier, is_quick
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import table_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import (
    attempts_left,
    is_host_s_fault,
    may_try_again,
    nothing_left,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_evacuate import dead

BUILD: dict[str, t.Any] = {"deeds": [{"kind": "create"}, {"kind": "start"}], "attempts": 3}
START: dict[str, t.Any] = {"deeds": [{"kind": "start"}], "attempts": 1}


def failed(**last: t.Any) -> dict[str, t.Any]:
    return {"failed": True, "results": [{"kind": "create", "failed": True, **last}]}


@pytest.mark.parametrize(
    ("entry", "outcome", "again"),
    [
        (BUILD, failed(nothing_left=True), True),
        # It may still be there, or be built: the host did not say, did not answer, or its module died or hangs.
        (BUILD, failed(), False),
        (BUILD, {}, False),
        (BUILD, {"unreachable": True, "failed": True}, False),
        (BUILD, {"failed": True, "msg": "MODULE FAILURE"}, False),
        (BUILD, {"failed": True, "results": []}, False),
        # No other host would do better.
        (BUILD, failed(nothing_left=True, abort=True), False),
        # Not a build.
        (START, {"failed": True, "results": [{"kind": "start", "failed": True, "nothing_left": True}]}, False),
        (BUILD, {"results": [{"kind": "create"}, {"kind": "start"}]}, False),
    ],
)
def test_a_build_goes_elsewhere(entry: dict[str, t.Any], outcome: dict[str, t.Any], again: bool) -> None:
    assert (is_host_s_fault(entry, outcome) and nothing_left(outcome)) is again


@pytest.mark.parametrize(
    ("attempts", "tried", "says"),
    [
        (3, [], {"reschedule": True}),
        (3, ["kvm1"], {"reschedule": True}),
        (3, ["kvm1", "kvm2"], {"exhausted": True}),
        (1, [], {}),
        (None, [], {}),
    ],
)
def test_no_more_hosts_than_max_attempts(attempts: int | None, tried: list[str], says: dict[str, bool]) -> None:
    entry = {**BUILD, "attempts": attempts, "tried": [{"host": host, "cause": "no"} for host in tried]}
    assert may_try_again(entry) == says
    assert attempts_left(entry) is bool(says.get("reschedule"))


class Forgetful(Carrier):
    """Inventory has changed or lost the server's user data; its record has the digest alone."""

    def __init__(self) -> None:
        self.made: list[Record] = []

    def perform(self, args: Json) -> Json:
        raise NotImplementedError

    def _drive(self, entry: t.Any, record: Record) -> bytes:
        if "user_data" in record.spec:
            raise FlotillaError(f"{record.name}: its user data in inventory is not what this step is for")
        self.made.append(record)
        return b"drive"


@pytest.mark.parametrize(("kind", "comes_back"), [("evacuate", True), ("create", False)])
def test_a_dead_hosts_server_comes_back_without_what_inventory_has_lost(kind: str, comes_back: bool) -> None:
    record = dead().records["web1"]
    record = dataclasses.replace(record, spec={**record.spec, "user_data": "digest"})
    deed = {"kind": kind, "record": record.to_json(), "options": {"drive": True}}
    carrier, entry = Forgetful(), dict[str, t.Any]()
    if not comes_back:
        with pytest.raises(FlotillaError, match="its user data in inventory"):
            carrier._drives(entry, [deed])
        return
    assert carrier._drives(entry, [deed]).keys() == {record.id}
    assert entry["without"] == "its user data or files: its user data in inventory is not what this step is for"
    assert [made.name for made in carrier.made] == ["web1"]
    told = table_text([], {}, {}, {}, {"web1": entry["without"]})
    assert told.splitlines()[-1] == f"web1 came back without {entry['without']}"


@pytest.mark.parametrize(
    ("kind", "options", "backing", "asked_together"),
    [
        ("create", {}, "image-1", True),
        ("create", {}, None, False),
        ("evacuate", {"rebuild": False, "drive": False}, None, True),
        ("evacuate", {"rebuild": True, "drive": True}, "image-1", True),
        ("evacuate", {"rebuild": True, "drive": True}, None, False),
        ("evacuate", {"rebuild": False, "drive": False, "wait": False}, None, False),
        ("start", {}, "image-1", True),
        ("stop", {}, "image-1", False),
    ],
)
def test_steps_that_wait_for_nothing_are_asked_for_together(
    kind: str, options: dict[str, t.Any], backing: str | None, asked_together: bool
) -> None:
    record = {"disks": [{"role": "root", "backing": backing}]}
    assert is_quick([{"kind": kind, "options": options, "record": record}]) is asked_together


class Interrupted(Carrier):
    """A carrier that has just restarted a server whose inventory says how it is known to be well."""

    def __init__(self, health: Json, answer: dict[str, t.Any]) -> None:
        self.health, self.answer = health, answer
        self.asked: list[Json] = []

    def perform(self, args: Json) -> Json:
        raise NotImplementedError

    def variable(self, name: str, default: t.Any = None) -> t.Any:
        return self.health

    def _call(self, _entry: dict[str, t.Any], deeds: t.Sequence[Json]) -> dict[str, t.Any]:
        self.asked += deeds
        return self.answer


ENTRY: dict[str, t.Any] = {"id": "id-1", "name": "web1", "deeds": [{"kind": "reboot", "options": {}}]}
MOVED = {**ENTRY, "deeds": [{"kind": "live_migrate", "options": {"at": "qemu+tls://kvm2/system"}}]}


@pytest.mark.parametrize(
    ("entry", "done", "health", "asked"),
    [
        (ENTRY, "reboot", {"agent": True, "timeout": 7}, {}),
        (MOVED, "reboot", {"agent": True, "timeout": 7}, {"options": {"at": "qemu+tls://kvm2/system"}}),
        (ENTRY, "reboot", None, None),
        (ENTRY, "update", {"agent": True, "timeout": 7}, None),
    ],
)
def test_a_server_that_was_interrupted_is_asked_by_its_agent_whether_it_is_well(
    entry: dict[str, t.Any], done: str, health: Json, asked: dict[str, Json] | None
) -> None:
    carrier = Interrupted(health, {"results": []})
    carrier._wait_healthy(entry, {"results": [{"kind": done, "record": {"generation": 4}}]})
    ping = {"kind": "wait_agent", "server_id": "id-1", "name": "web1", "timeout": 7, "expects": 4}
    assert carrier.asked == ([] if asked is None else [{**ping, **asked}])


def test_an_agent_that_does_not_answer_fails_the_server() -> None:
    sentence = "it is not healthy: its guest agent did not answer within 7 s"
    carrier = Interrupted({"agent": True, "timeout": 7}, {"failed": True, "msg": sentence})
    with pytest.raises(FlotillaError, match=sentence):
        carrier._wait_healthy(ENTRY, {"results": [{"kind": "reboot", "record": {"generation": 4}}]})
