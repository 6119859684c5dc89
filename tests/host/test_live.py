# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migration between two real hosts: what the guest notices, what stays where, and what a fault leaves."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import typing as t
import uuid

import pytest
from tests.host.guests import (
    STATE,
    HostUnderTest,
    Json,
    create,
    enroll,
    host,
    lab,
    nothing_stays,
    ok,
    sentence,
    step,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays"]  # fixtures

pytestmark = pytest.mark.soak
OTHER_ID = "2f1b3c4d-0000-4000-8000-000000000002"
OTHER_POOL = "2f1b3c4d-0000-4000-8000-00000000b002"
FLAVOR = Flavor("tiny", 1, 128, 1, ephemeral=1, swap=64)
#: No move of a test takes longer, though libvirt gives up a dead host only after half a minute.
_ENDS_WITHIN = 600.0
#: A guest that writes to its memory faster than a shaped link carries it away.
DIRTY = """#!/bin/sh
# flotilla-guest: run
mount -o remount,size=100% /dev 2>/dev/null
mkdir -p /dirty && mount -t tmpfs -o size=40m none /dirty
while :; do dd if=/dev/urandom of=/dirty/a bs=1M count=16 2>/dev/null; echo dirty; done
"""


def virsh(at: str, *arguments: str, check: bool = True) -> str:
    return lab("exec", at, "virsh", "-q", *arguments, check=check)


@pytest.fixture(scope="module")
def two(host: HostUnderTest) -> HostUnderTest:
    virsh("kvm2", "vol-create-as", "local", f"flotilla-pool-{OTHER_POOL}", "0")
    enroll("kvm2", OTHER_ID)
    return host


@pytest.fixture(autouse=True)
def nothing_there(two: HostUnderTest) -> Iterator[None]:
    yield
    assert lab("exec", "kvm2", "virsh", "-q", "list", "--all", "--name").strip() == ""
    assert volumes("kvm2") <= {two.image.volume, f"{two.image.volume}.ok", f"flotilla-pool-{OTHER_POOL}"}


def volumes(at: str, pool: str = "local") -> set[str]:
    virsh(at, "pool-refresh", pool)
    return {line.split()[0] for line in virsh(at, "vol-list", pool).splitlines() if line.strip()}


def console(at: str, record: Record) -> str:
    return lab("exec", at, "cat", f"/var/log/libvirt/qemu/{record.id}.console.log", check=False)


def wait(what: t.Callable[[], t.Any], within: float = 60) -> t.Any:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        got = what()
        if got:
            return got
        time.sleep(0.1)
    raise AssertionError(f"not within {within:g} s")


def ticks(at: str, record: Record) -> list[int]:
    return [int(tick) for tick in re.findall(r"^tick (\d+)\s*$", console(at, record), re.MULTILINE)]


def running(two: HostUnderTest, name: str, pool: str, **more: Json) -> Record:
    record = two.new(name, flavor=FLAVOR, pool=pool)
    done = two.run(create(record), step("start", record, 1), record=record, **more)
    ok(done)
    two.console(record, r"tick 2\b")
    return Record.from_json(done[0]["record"])


def order(record: Record, to: str = "kvm2", **live: Json) -> dict[str, Json]:
    peer = {"host": to, "host_id": OTHER_ID, "uri": f"qemu+tcp://{to}/system", "hostname": to, "bridges": ["br0"]}
    peer.update(own_host="kvm1", own_uri="qemu+tcp://kvm1/system")
    disks = tuple(dataclasses.replace(disk, pool_id=None) for disk in record.disks)
    target = dataclasses.replace(record, generation=record.generation + 1, host_id=OTHER_ID, disks=disks)
    options = {"peer": peer, "migration": str(uuid.uuid4()), "live": live, "watch": 1}
    return step("live_migrate", record, record.generation, to=target, options=options)


def follow(two: HostUnderTest, asked: dict[str, Json]) -> list[dict[str, Json]]:
    """Asked again and again, as the controller does it, up to the end."""
    deadline = time.monotonic() + _ENDS_WITHIN
    while time.monotonic() < deadline:
        results = two.run(asked)
        if not results[-1].get("running"):
            return results
    raise AssertionError(f"{asked['kind']} has not ended within {_ENDS_WITHIN:g} s: {results}")


def gone_from(two: HostUnderTest, record: Record) -> None:
    """The server is deleted by hand at the destination; what the source had is gone already."""
    assert not [name for name in volumes("kvm1") if name.startswith(record.id)]
    virsh("kvm2", "destroy", record.id, check=False)
    virsh("kvm2", "undefine", record.id)
    for pool in ("local", "shared"):
        for name in volumes("kvm2", pool):
            if name.startswith(record.id):
                virsh("kvm2", "vol-delete", "--pool", pool, name)
    virsh("kvm1", "pool-refresh", "shared")


@pytest.mark.parametrize(("pool", "paused"), [("local", False), ("shared", True)])
def test_moved_while_it_runs(two: HostUnderTest, pool: str, paused: bool) -> None:
    record = running(two, "web1", pool)
    if paused:
        ok(two.run(step("pause", record, 1)))
    before = ticks("kvm1", record)
    (done,) = follow(two, order(record))
    assert not done.get("failed"), done
    assert (done["state"], done["changed"]) == ("paused" if paused else "running", True)
    assert done["told"]["migration"]["status"] == "completed"
    assert done["told"]["migration"]["data"] > 0
    after = Record.from_json(done["record"])
    assert (after.generation, after.host_id, after.marks) == (2, OTHER_ID, {})
    assert {disk.pool_id for disk in after.disks} == {OTHER_POOL} if pool == "local" else True
    assert two.look()["domains"] == {}
    if paused:
        virsh("kvm2", "resume", record.id)
    # Its counter goes on where it was: libvirt begins a log of the console at each host.
    first = wait(lambda: ticks("kvm2", record))[0]
    last = ticks("kvm1", record)[-1]
    assert first in (last, last + 1)
    assert last >= before[-1]
    assert "boots" not in console("kvm2", record)
    virsh("kvm2", "reset", record.id)
    wait(lambda: "boots=2" in console("kvm2", record))  # what it has written is there
    assert re.search(r"disks=vda:1073741824,vdb:1073741824,vdc:67108864 config_drive=sr0", console("kvm2", record))
    gone_from(two, record)


def refused(two: HostUnderTest, record: Record, **live: Json) -> str:
    """The sentence of a move that is refused, which has touched nothing."""
    before = two.look(), volumes("kvm2"), virsh("kvm1", "dumpxml", record.id)
    words = sentence(follow(two, order(record, **live)))
    assert (two.look(), volumes("kvm2"), virsh("kvm1", "dumpxml", record.id)) == before
    return words


def end_move(record: Record) -> dict[str, Json]:
    other = order(record)["options"]["peer"]
    return step("end_move", record, record.generation, options={"migration": "later", "other": other, "watch": 1})


def begun(two: HostUnderTest, record: Record, **live: Json) -> dict[str, Json]:
    """A migration whose memory is on its way."""
    asked = order(record, **live)

    def far() -> bool:
        (result,) = two.run(asked)
        assert result.get("running"), result
        return bool(result["told"]["progress"].get("done"))

    wait(far)
    return asked


def still_here(two: HostUnderTest, record: Record) -> None:
    """The guest runs on where it was, and nothing of it is at the destination."""
    count = len(ticks("kvm1", record))
    wait(lambda: len(ticks("kvm1", record)) > count + 1)
    (server,) = two.look()["servers"]
    assert (server["state"], server["record"]) == ("running", record.to_json())
    assert virsh("kvm2", "list", "--all", "--name").strip() == ""
    assert not [name for name in volumes("kvm2") if name.startswith(record.id)]


def test_what_goes_wrong_leaves_the_guest_where_it_was(two: HostUnderTest) -> None:
    record = running(two, "web2", "local", user_data=DIRTY)
    wait(lambda: "dirty" in console("kvm1", record))
    # Refused before anything is touched.
    assert f"Unable to migrate instance ({record.id}) to current host (kvm1)." in refused_to_itself(two, record)
    assert "is not on shared storage: Shared storage live-migration requires" in refused(
        two, record, block_migration=False
    )
    virsh("kvm2", "vol-create-as", "local", f"{record.id}-swap", "1M")
    assert f"{record.id}-swap) already exists, it is expected not to exist" in refused(two, record)
    virsh("kvm2", "vol-delete", "--pool", "local", f"{record.id}-swap")
    # Faster than its link: it ends by its timeout action.
    (late,) = follow(two, order(record, bandwidth=4, timeout=3))
    assert (late["failed"], late["told"]["migration"]["status"]) == (True, "cancelled")
    assert "it took more than 3 s; it is on kvm1 as before" in late["message"]
    still_here(two, record)
    # Aborted by somebody.
    asked = begun(two, record, bandwidth=4)
    ok(two.run(step("abort_migration", record, record.generation)))
    (aborted,) = follow(two, asked)
    assert (aborted["failed"], aborted["told"]["migration"]["status"]) == (True, "cancelled")
    still_here(two, record)
    # The destination's libvirt is killed: it can't be cleaned before it is back.
    asked = begun(two, record, bandwidth=4)
    lab("crash", "kvm2")
    (broken,) = follow(two, asked)
    assert (broken["failed"], broken["told"]["migration"]["status"]) == (True, "failed")
    lab("restart", "kvm2")
    assert "kvm2" in broken["message"]
    ok(follow(two, end_move(record)))
    still_here(two, record)
    # The worker is killed: libvirt goes on, and the next call sees it to its end.
    asked = begun(two, record, bandwidth=8, timeout=4, timeout_action="pause")
    journal = json.loads(lab("exec", "kvm1", "cat", f"{STATE}/moves/{record.id}.json"))
    lab("exec", "kvm1", "kill", "-9", str(journal["pid"]))
    (done,) = follow(two, asked)
    assert (done.get("failed"), done["told"]["migration"]["status"]) == (None, "completed"), done
    assert done["state"] == "running"
    before = ticks("kvm1", record)[-1]
    assert wait(lambda: ticks("kvm2", record))[0] in (before, before + 1)
    gone_from(two, record)


def refused_to_itself(two: HostUnderTest, record: Record) -> str:
    asked = order(record, to="kvm1")
    return sentence(follow(two, asked))
