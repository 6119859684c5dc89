# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migrations that break, at every kind of place and at whatever moment: one guest is left, with its disk."""

from __future__ import annotations

import collections
import json
import os
import random
import time
import typing as t

import pytest
from tests.host.guests import HOST_ID, STATE, HostUnderTest, Json, host, lab, nothing_stays, ok, sentence, step
from tests.host.test_live import (
    DIRTY,
    OTHER_ID,
    begun,
    console,
    end_move,
    follow,
    gone_from,
    nothing_there,
    order,
    running,
    ticks,
    two,
    virsh,
    volumes,
    wait,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import replaces
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

pytestmark = pytest.mark.soak
SEED = int(os.environ.get("SEED", "1"))
FILLER = "/var/lib/libvirt/pools/local/filler"
FILL = f"fallocate -l $(($(df --output=avail -B1 {FILLER.rpartition('/')[0]} | tail -n 1) - 4194304)) {FILLER}"


def test_post_copy_has_no_way_back_and_is_resumed(two: HostUnderTest) -> None:
    record = running(two, "web3", "shared", user_data=DIRTY)
    (done,) = follow(two, order(record, bandwidth=8, timeout=3, timeout_action="post_copy"))
    assert done["told"]["migration"]["status"] == "completed", done
    wait(lambda: ticks("kvm2", record))
    gone_from(two, record)
    # Its link breaks while part of the memory is here and part is there.
    record = running(two, "web4", "shared", user_data=DIRTY)
    asked = order(record, bandwidth=2, timeout=3, timeout_action="post_copy")
    wait(lambda: two.run(asked)[-1].get("told", {}).get("progress", {}).get("phase") == "post-copy")
    lab("cut", "kvm2")
    (left,) = follow(two, asked)
    lab("join", "kvm2")
    assert left["failed"], left
    assert left["told"]["migration"]["left"], left
    assert "there is no way back" in left["message"]
    (ended,) = follow(two, end_move(record))
    assert not ended.get("failed"), ended["message"]
    assert ended["told"]["migration"]["status"] == "completed"
    before = len(ticks("kvm2", record))
    wait(lambda: len(ticks("kvm2", record)) > before)
    gone_from(two, record)


def test_a_guest_whose_hand_over_is_not_answered_runs_once(two: HostUnderTest) -> None:
    """The destination's libvirt hangs when all memory is there. Libvirt here gives up, and lets the guest go on; the
    other one, once it goes on, may do what it was asked for and start it there."""
    record = running(two, "web5", "local")
    asked = begun(two, record, bandwidth=8)
    lab("exec", "kvm2", "sh", "-c", "kill -STOP $(cat /run/libvirtd.pid)")
    try:
        (left,) = follow(two, asked)
    finally:
        lab("exec", "kvm2", "sh", "-c", "kill -CONT $(cat /run/libvirtd.pid)")
    assert (left["failed"], left["told"]["migration"]) == (
        True,
        {"id": asked["options"]["migration"], "status": "running", "left": True},
    )
    assert virsh("kvm1", "domstate", record.id).strip() == "paused"
    settle(two, record, None)


def test_a_link_that_is_cut_for_five_seconds_ends_no_migration(two: HostUnderTest) -> None:
    """Neither libvirt nor QEMU gives up before its keep-alives do."""
    record = running(two, "web6", "local", user_data=DIRTY)
    asked = begun(two, record, bandwidth=16, timeout=30, timeout_action="pause")
    count = len(ticks("kvm1", record))
    lab("cut", "kvm2")
    wait(lambda: len(ticks("kvm1", record)) > count + 5)  # it ticks once a second, at most
    lab("join", "kvm2")
    (done,) = follow(two, asked)
    assert (done.get("failed"), done["told"]["migration"]["status"]) == (None, "completed"), done
    wait(lambda: ticks("kvm2", record))
    gone_from(two, record)


def test_a_destination_that_is_cut_off_for_good_is_given_up(two: HostUnderTest) -> None:
    """The guest runs on where it was, all the time; who says that nothing of it is there ends its move."""
    record = running(two, "web7", "local", user_data=DIRTY)
    asked = begun(two, record, bandwidth=4)
    lab("cut", "kvm2")
    try:
        (left,) = follow(two, asked)
        assert (left["failed"], left["told"]["migration"]["left"]) == (True, True), left
        count = len(ticks("kvm1", record))
        wait(lambda: len(ticks("kvm1", record)) > count + 1)
        waits = sentence(follow(two, end_move(record)))
        assert "-e fleet_assume_absent=kvm2 ends the move without it" in waits
        given_up = end_move(record)
        given_up["options"]["give_up"] = True
        ok(follow(two, given_up))
        (server,) = two.look()["servers"]
        assert (server["state"], server["record"]) == ("running", record.to_json())
    finally:
        lab("join", "kvm2")
    assert virsh("kvm2", "list", "--all", "--name").strip() == ""
    for name in volumes("kvm2"):  # what stayed there, as was said
        if name.startswith(record.id):
            virsh("kvm2", "vol-delete", "--pool", "local", name)


def gone_over(two: HostUnderTest, record: Record) -> Json:
    """A move in post-copy: the guest runs at the destination, and part of its memory is still at its source."""
    asked = order(record, bandwidth=4, timeout=2, timeout_action="post_copy")

    def is_there() -> bool:
        (result,) = two.run(asked)
        assert result.get("running"), result
        return "post-copy" in virsh("kvm1", "domstate", "--reason", record.id)

    wait(is_there, within=120)
    return asked


def test_a_guest_that_is_faster_than_its_link_is_moved_by_post_copy(two: HostUnderTest) -> None:
    record = running(two, "web9", "shared", user_data=DIRTY)
    (done,) = follow(two, gone_over(two, record))
    assert (done.get("failed"), done["state"]) == (None, "running"), done
    last = ticks("kvm1", record)[-1]
    assert wait(lambda: ticks("kvm2", record))[0] in (last, last + 1)
    gone_from(two, record)


@pytest.mark.parametrize(("dead", "lives"), [("kvm2", "kvm1"), ("kvm1", "kvm2")])
def test_a_post_copy_whose_other_host_is_dead_starts_anew_where_it_is(
    two: HostUnderTest, dead: str, lives: str
) -> None:
    """Its memory is lost, its disk is not; the copy on the dead host is named as replaced."""
    record = running(two, "web10", "shared", user_data=DIRTY)
    asked = gone_over(two, record)
    lab("power", "off", dead)
    here = HostUnderTest(two.image, lives)
    if lives == "kvm1":
        (left,) = follow(two, asked)
        assert (left["failed"], left["told"]["migration"]["left"]) == (True, True), left
    (server,) = here.look()["servers"]
    ends = {**end_move(record), "expects": server["record"]["generation"]}
    word = {**ends, "options": {**ends["options"], "give_up": True}}
    assert f"the playbook evacuate ends the move (-e fleet_host={dead})" in sentence(follow(here, word))
    ok(follow(here, {**ends, "options": {**ends["options"], "dead": True, "start": True, "data_loss": False}}))
    wait(lambda: "boots=2" in console(lives, record), within=180)
    (server,) = here.look()["servers"]
    now = Record.from_json(server["record"])
    assert (server["state"], "move" in now.marks) == ("running", False)
    lab("power", "on", dead)
    entry = replaces(now)[-1]
    assert (entry.host_id, entry.migration) == (HOST_ID if dead == "kvm1" else OTHER_ID, asked["options"]["migration"])
    for each in HostUnderTest(two.image, dead).look()["servers"]:
        assert (each["state"], each["record"]["generation"]) == ("shutoff", entry.generation)
        virsh(dead, "undefine", record.id)
    if lives == "kvm1":
        ok(two.run(step("delete", now, now.generation)))
    else:
        gone_from(two, record)


#: What is done at a moment of a move, what heals it, and at which host.
FAULTS = {
    "the destination's libvirt dies": (("crash", "kvm2"), ("restart", "kvm2")),
    "the destination is cut off": (("cut", "kvm2"), ("join", "kvm2")),
    "the destination loses its power": (("power", "off", "kvm2"), ("power", "on", "kvm2")),
    "the destination's disk is full": (("exec", "kvm2", "sh", "-c", FILL), ("exec", "kvm2", "rm", "-f", FILLER)),
    "the source's libvirt is restarted": (("restart", "kvm1"), None),
    "the source loses its power": (("power", "off", "kvm1"), ("power", "on", "kvm1")),
    "the worker is killed": (None, None),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_breaks_at_whatever_moment_one_guest_is_left(
    two: HostUnderTest, fault: str, record_property: t.Callable[[str, object], None]
) -> None:
    """Six moments of one move each; then what is left is ended, and there is one copy, whole, with its disk."""
    count([broken(two, fault, turn, user_data=DIRTY, within=5) for turn in range(6)], fault, record_property)


def count(ends: t.Sequence[str], what: str, record_property: t.Callable[[str, object], None]) -> None:
    """*ends*: the host that each server was on in the end."""
    told = ", ".join(f"{number} on {host}" for host, number in sorted(collections.Counter(ends).items()))
    record_property("fault runs", f"SEED={SEED} {len(ends)} live migrations, {what}: the guest ended {told}")


def broken(two: HostUnderTest, fault: str, turn: int, *, within: float, user_data: str | None = None) -> str:
    """One move with its fault, in the first *within* seconds, and where the server is after it."""
    moment = random.Random(f"{SEED} {fault} {turn}").uniform(0, within)
    record = running(two, f"soak{turn}", "local", user_data=user_data)
    # It may write faster than that: then it stands still for the end, and is moved all the same.
    asked = order(record, bandwidth=24, timeout=60, timeout_action="pause")
    began = time.monotonic()
    results = two.run(asked)
    while time.monotonic() < began + moment:
        time.sleep(0.005)
    injury, cure = FAULTS[fault]
    if injury is None:
        kill_worker(record)
    else:
        lab(*injury)
    if fault != "the source loses its power":
        results = two.run(asked) if results[-1].get("running") else results
    if cure is not None:
        lab(*cure)
    return settle(two, record, asked if results[-1].get("running") else None)


def kill_worker(record: Record) -> None:
    said = lab("exec", "kvm1", "cat", f"{STATE}/moves/{record.id}.json", check=False)
    if said:
        lab("exec", "kvm1", "kill", "-9", str(json.loads(said)["pid"]), check=False)


def settle(two: HostUnderTest, record: Record, asked: Json | None) -> str:
    """What further runs do: they ask again, then end the move at the host whose record speaks of it."""
    if asked is not None:
        follow(two, asked)
    kvm2 = HostUnderTest(two.image, "kvm2")
    for _turn in range(3):
        active = [host for host in (two, kvm2) if any(each["state"] == "running" for each in host.look()["servers"])]
        assert len(active) < 2, "it runs twice"
        open_at = [host for host in (*active, two, kvm2) if is_open(host)]
        if not open_at:
            break
        follow(open_at[0], {**end_move(record), "expects": open_at[0].look()["servers"][0]["record"]["generation"]})
    assert not [host.name for host in (two, kvm2) if is_open(host)]
    here, there = two.look()["servers"], kvm2.look()["servers"]
    assert len(here) + len(there) == 1, (here, there)
    (at, server) = ("kvm1", here[0]) if here else ("kvm2", there[0])
    virsh(at, *(("reset",) if server["state"] == "running" else ("start",)), record.id)
    # The counter on its disk has not lost a boot, and is not another's.
    wait(lambda: "boots=2" in console(at, record), within=180)
    if there:
        gone_from(two, record)
    else:
        assert not [name for name in volumes("kvm2") if name.startswith(record.id)]
        ok(two.run(step("delete", record, record.generation)))
    return at


def is_open(host: HostUnderTest) -> bool:
    return any("move" in server["record"]["marks"] for server in host.look()["servers"])
