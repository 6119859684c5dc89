# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resize on a real host: confirmed and reverted, and the guest's disk whole, wherever they are killed."""

from __future__ import annotations

import dataclasses
import random
import typing as t

import pytest
from tests.host.guests import (
    HOST_ID,
    HostUnderTest,
    Json,
    create,
    host,
    moments,
    nothing_stays,
    ok,
    sentence,
    step,
    virsh,
)
from tests.host.test_rescue import plain_xml
from tests.support.kills import SEED, drawn

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resizing import confirm, resize, revert
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame, deeds
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings

__all__ = ["host", "nothing_stays"]  # fixtures

SMALL = Flavor("small", 1, 128, 1, swap=64)
LARGE = Flavor("large", 2, 192, 2, ephemeral=1)
FLAVORS = {"small": SMALL, "large": LARGE}
COMPUTE = Compute("kvm1", compute_settings({}), {"host_id": HOST_ID})


def running(host: HostUnderTest) -> Record:
    fresh = host.new("web1", flavor=SMALL)
    fresh = dataclasses.replace(fresh, spec={"flavor": SMALL.to_json()})
    done = host.run(create(fresh), step("start", fresh, 1), record=fresh)
    ok(done)
    host.console(fresh, r"tick 2\b")
    return Record.from_json(done[0]["record"])


def found(host: HostUnderTest) -> tuple[Record, Guest]:
    """The server as a survey shows it."""
    (server,) = host.look()["servers"]
    record = Record.from_json(server["record"])
    off = virsh("domstate", record.id).strip() == "shut off"
    return record, dataclasses.replace(as_defined(record), state="shutoff" if off else "running")


def ordered(record: Record, steps: t.Sequence[Step]) -> list[dict[str, Json]]:
    """The steps as a plan has them carried out."""
    frame = Frame(record.fleet_id, {}, 1766312345.0)
    given = deeds(record, steps, COMPUTE, frame, fit=None)
    return [{**deed, "timeout": 5} for deed in given]


def act(host: HostUnderTest, action: str) -> list[dict[str, Json]]:
    """The steps of an action on the server as it is now; of a part of it that is done already only the rest."""
    record, guest = found(host)
    resized = "resize" in record.marks
    start = [Step("start", "it ran before")] if guest.state == "shutoff" else []
    if action == "resize":
        # It ran when this was asked for; the run that was killed has stopped it.
        ran = dataclasses.replace(guest, state="running")
        return ordered(record, start if resized else resize({"flavor": "large"}, record, ran, FLAVORS))
    if action == "confirm_resize":
        return ordered(record, confirm(record) if resized else start)
    return ordered(record, revert(record, guest) if resized else start)


def results(done: list[dict[str, Json]]) -> list[tuple[str, str | None]]:
    return [(kind, state) for kind, _changed, state in ok(done)]


@pytest.mark.soak
def test_resized_and_confirmed(host: HostUnderTest) -> None:
    record = running(host)
    done = host.run(*act(host, "resize"))
    assert results(done) == [("stop", "shutoff"), ("resize", "shutoff"), ("start", "running")]
    host.console(record, rf"boots=2\b .*vda:{2 * GIB},vdb:{GIB} ")
    assert [server["status"] for server in host.look()["servers"]] == ["VERIFY_RESIZE"]
    assert "<vcpu placement='static'>2</vcpu>" in virsh("dumpxml", record.id)
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "swap", "config", "record"}
    ran = dataclasses.replace(as_defined(record), state="running")
    again = ordered(record, resize({"flavor": "large"}, record, ran, FLAVORS))
    assert ok(host.run(*again)) == [("stop", False, None), ("resize", False, "running"), ("start", False, "running")]
    second, guest = found(host)
    third = ordered(
        second, [step for step in resize({"flavor": "small-"}, second, guest, LARGER) if step.kind != "stop"]
    )
    assert "is resized already; confirm or revert that first" in sentence(host.run(third[0]))
    confirmed = act(host, "confirm_resize")
    assert ok(host.run(*confirmed)) == [("confirm_resize", True, "running")]
    assert ok(host.run(*confirmed)) == [("confirm_resize", False, "running")]
    assert [server["status"] for server in host.look()["servers"]] == ["ACTIVE"]
    # The swap disk that the new flavor doesn't have.
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "config", "record"}
    now, _guest = found(host)
    assert (now.flavor, now.marks) == (LARGE, {})


LARGER = {"small-": Flavor("small-", 1, 128, 3, ephemeral=1)}


@pytest.mark.soak
def test_resized_and_reverted(host: HostUnderTest) -> None:
    record = running(host)
    before, volumes = plain_xml(record), host.volumes_of(record.id)
    ok(host.run(*act(host, "resize")))
    host.console(record, r"boots=2\b")
    done = host.run(*act(host, "revert_resize"))
    assert results(done) == [("stop", "shutoff"), ("revert_resize", "shutoff"), ("start", "running")]
    # What was written since is there, and so is the room.
    host.console(record, rf"boots=3\b .*vda:{2 * GIB},vdb:{64 * 1024**2} ")
    assert plain_xml(record) == before
    assert host.volumes_of(record.id) == volumes
    assert [server["status"] for server in host.look()["servers"]] == ["ACTIVE"]
    now, _guest = found(host)
    assert (now.flavor, now.marks, now.root.size) == (SMALL, {}, 2 * GIB)


# -- killed anywhere ----------------------------------------------------------------------------------------------

PREPARED = {"resize": (), "confirm_resize": ("resize",), "revert_resize": ("resize",)}


def kill_and_mend(host: HostUnderTest, action: str, kill_at: int | None) -> list[str]:
    """An action killed after so many calls, and taken up again from what is there then; None kills nothing."""
    record = running(host)
    for earlier in PREPARED[action]:
        ok(host.run(*act(host, earlier)))
        host.console(record, r"boots=2\b")
    first = host.ask("steps", killed=True, steps=act(host, action), drives={}, kill_at=kill_at)
    if kill_at is None:
        ok(first["results"])
    else:
        assert first == {"killed": True}
        ok(host.run(*act(host, action)))
    now, guest = found(host)
    assert guest.state == "running"
    assert now.flavor == (SMALL if action == "revert_resize" else LARGE)
    assert ("resize" in now.marks) == (action == "resize")
    volumes = {"resize": {"ephemeral0", "swap"}, "confirm_resize": {"ephemeral0"}, "revert_resize": {"swap"}}[action]
    assert host.volumes_of(record.id) == {"root", "config", "record", *volumes}
    boots = 2 if action == "confirm_resize" else 3 if action == "revert_resize" else 2
    host.console(record, rf"boots={boots}\b .*vda:{2 * GIB},")
    ok(host.run(step("delete", now, now.generation)))
    return t.cast("list[str]", first.get("calls", []))


@pytest.mark.soak
@pytest.mark.parametrize("action", random.Random(SEED).sample(sorted(PREPARED), 1))
def test_killed_after_some_call_and_mended(host: HostUnderTest, action: str) -> None:
    calls = kill_and_mend(host, action, None)
    for kill_at in random.Random(SEED).sample(moments(calls, SEED), 1):
        kill_and_mend(host, action, kill_at)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("action", PREPARED)
def test_killed_after_any_call_and_mended(host: HostUnderTest, action: str) -> None:
    calls = kill_and_mend(host, action, None)
    for kill_at in drawn(moments(calls, SEED)):
        kill_and_mend(host, action, kill_at)
