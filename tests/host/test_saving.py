# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot, backup and shelve on a real host: what was written is there after, wherever they are killed."""

from __future__ import annotations

import dataclasses
import random
import re
import time
import typing as t
import uuid
import xml.etree.ElementTree as ET

import pytest
from tests.host.guests import (
    POOL_ID,
    HostUnderTest,
    Json,
    console_of,
    create,
    drives,
    host,
    lab,
    moments,
    nothing_stays,
    ok,
    ok_results,
    sentence,
    step,
    virsh,
)
from tests.host.partition import check_file_system, with_partition
from tests.host.test_rescue import WHOLE, rescued, running
from tests.support.kills import SEED, drawn

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Image, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot, snapshot_of

__all__ = ["host", "nothing_stays"]  # fixtures

PLAIN = Flavor("plain", 1, 128, 1)


def snapshot_step(record: Record, snapshot: Snapshot, **options: Json) -> dict[str, Json]:
    return step("snapshot", record, record.generation, options={"snapshot": snapshot.to_json(), **options})


def of(record: Record, name: str, *, at: int = 0, **more: t.Any) -> Snapshot:
    made = {"snapshot_id": str(uuid.uuid4()), "pool": "local", "created_at": f"2026-11-21T22:00:{at:02}Z", **more}
    return snapshot_of(record, name, **made)


def chain(record: Record) -> list[str]:
    """The files under the running guest's disks."""
    root = ET.fromstring(virsh("dumpxml", record.id))
    return [source.get("file", "") for source in root.findall("devices/disk//source")]


def rebuilt_from(record: Record, image: Image, *, declared: Record | None = None) -> Record:
    root = dataclasses.replace(record.root, backing=image.volume)
    disks = tuple(root if disk.role == "root" else disk for disk in record.disks)
    return dataclasses.replace(record, generation=record.generation + 1, image=image, disks=disks)


# -- snapshot -----------------------------------------------------------------------------------------------------


def test_a_snapshot_of_a_running_guest_boots_and_leaves_the_guest_as_it_was(host: HostUnderTest) -> None:
    record = running(host, host.new("web1", flavor=PLAIN))
    before = chain(record)
    done = host.run(snapshot_step(record, of(record, "web1-monday")))
    assert ok(done) == [("snapshot", True, "running")]
    assert re.search(r"snapshot 'web1-monday' made: \d+ MiB in [\d.]+ s, crash-consistent", done[0]["message"])
    assert chain(record) == before
    told = Snapshot.from_json(done[0]["told"]["snapshot"])
    assert told.complete
    assert host.look()["snapshots"] == [told.to_json()]
    assert (told.virtual_size, told.image.min_disk, told.pool_id) == (GIB, 1, POOL_ID)
    assert told.image.properties["image_type"] == "snapshot"
    assert told.image.properties["base_image_ref"] == record.image.checksum
    assert host.volumes_of(record.id) == {"root", "config", "record"}
    # The same again is there already; then the server is given its snapshot back.
    again = host.run(snapshot_step(record, told))
    assert ok(again) == [("snapshot", False, "running")]
    second = rebuilt_from(record, told.image)
    steps = (step("stop", record, 1), step("rebuild", record, 1, to=second), step("start", record, 2))
    ok(host.run(*steps, record=second))
    host.console(record, r"boots=2\b")
    gone = host.ask("remove_snapshots")
    assert "in use" in gone["msg"]
    assert host.look()["snapshots"] == [told.to_json()]
    ok(host.run(step("delete", second, 2)))
    host.ask("remove_snapshots")


def test_a_sidecar_that_was_never_written_goes_unless_somebody_is_about_to_write_it(host: HostUnderTest) -> None:
    record = Record.from_json(host.run(create(fresh := host.new("web1", flavor=PLAIN)), record=fresh)[0]["record"])
    empty, foreign, others = f"snapshot-{uuid.uuid4()}", "snapshot-foreign", f"{uuid.uuid4()}-snapshot"
    for name in (empty, foreign, others):
        virsh("vol-create-as", "--pool", "local", name, "65536")
    path = virsh("vol-path", "--pool", "local", foreign).strip()
    lab("exec", "kvm1", "qemu-io", "-f", "raw", "-c", "write -P 9 0 512", path)
    assert ok(host.run(step("tidy", record, 1))) == [("tidy", False, "shutoff")]
    virsh("vol-delete", "--pool", "local", others)
    assert ok(host.run(step("tidy", record, 1))) == [("tidy", True, "shutoff")]
    assert [name for name in host.look()["volumes"]["local"] if name.startswith("snapshot-")] == [foreign]
    virsh("vol-delete", "--pool", "local", foreign)
    ok(host.run(step("delete", record, 1)))


@pytest.mark.soak
def test_a_snapshot_is_watched_and_one_whose_guest_goes_off_is_none(host: HostUnderTest) -> None:
    record = Record.from_json(host.run(create(fresh := host.new("web1", flavor=PLAIN)), record=fresh)[0]["record"])
    path = virsh("vol-path", "--pool", "local", record.root.volume).strip()
    # Enough for the copy to last, until somebody looks.
    lab("exec", "kvm1", "qemu-io", "-c", "write -P 9 200M 400M", path)
    ok(host.run(step("start", record, 1)))
    wanted = of(record, "watched")
    begun = host.run(snapshot_step(record, wanted, watch=0))[0]
    assert begun["running"], begun
    assert begun["told"]["progress"]["total"] > 0
    virsh("destroy", record.id)
    assert "ended early" in sentence(host.run(snapshot_step(record, wanted, watch=0)))
    assert host.volumes_of(record.id) == {"root", "config", "record"}
    assert host.look()["snapshots"] == []
    ok(host.run(step("start", record, 1)))
    calls = 0
    while (result := host.run(snapshot_step(record, wanted, watch=0))[0]).get("running"):
        calls += 1
    ok([result])
    assert calls > 0
    assert Snapshot.from_json(result["told"]["snapshot"]).size > 400 * 1024**2
    assert host.volumes_of(record.id) == {"root", "config", "record"}
    host.ask("remove_snapshots")


@pytest.mark.soak
def test_a_snapshot_of_a_guest_that_is_off_has_no_backing_file(host: HostUnderTest) -> None:
    record = running(host, host.new("web1", flavor=PLAIN))
    ok(host.run(step("stop", record, 1)))
    done = host.run(snapshot_step(record, of(record, "off", pool="shared")))
    assert ok(done) == [("snapshot", True, "shutoff")]
    told = Snapshot.from_json(done[0]["told"]["snapshot"])
    path = virsh("vol-path", "--pool", "shared", told.image.volume).strip()
    assert "backing file" not in lab("exec", "kvm1", "qemu-img", "info", path)
    root = virsh("vol-path", "--pool", "local", record.root.volume).strip()
    assert "identical" in lab("exec", "kvm1", "qemu-img", "compare", root, path)
    host.ask("remove_snapshots")


def test_backups_rotate_by_type_and_count(host: HostUnderTest) -> None:
    record = Record.from_json(host.run(create(fresh := host.new("web1", flavor=PLAIN)), record=fresh)[0]["record"])
    path = virsh("vol-path", "--pool", "local", record.root.volume).strip()

    def back_up(name: str, kind: str, at: int, rotation: int) -> list[str]:
        # Each of other bytes, or they would share one volume.
        lab("exec", "kvm1", "qemu-io", "-c", f"write -P {at} 512M 64k", path)
        wanted = of(record, name, at=at, backup_type=kind)
        done = host.run(snapshot_step(record, wanted, rotation=rotation))
        ok(done)
        return sorted(snapshot["image"]["name"] for snapshot in host.look()["snapshots"])

    assert back_up("d1", "daily", 1, 2) == ["d1"]
    assert back_up("w1", "weekly", 2, 1) == ["d1", "w1"]
    assert back_up("d2", "daily", 3, 2) == ["d1", "d2", "w1"]
    assert back_up("d3", "daily", 4, 2) == ["d2", "d3", "w1"]
    assert back_up("d4", "daily", 5, 0) == ["w1"]
    host.ask("remove_snapshots")


@pytest.mark.soak
def test_what_an_image_requires_is_not_passed_over(host: HostUnderTest) -> None:
    """The guest has no agent."""
    wants = {"hw_qemu_guest_agent": "yes"}
    record = host.new("web1", flavor=PLAIN)
    record = running(host, dataclasses.replace(record, image=dataclasses.replace(record.image, properties=wants)))
    done = host.run(snapshot_step(record, of(record, "loose")))
    ok(done)
    assert "its agent did not freeze it" in done[0]["message"]
    strict = dataclasses.replace(record.image, properties={**wants, "os_require_quiesce": "yes"})
    second = dataclasses.replace(record, generation=2, image=strict)
    ok(host.run(step("update", record, 1, to=second)))
    assert "can't be frozen" in sentence(host.run(snapshot_step(second, of(second, "strict"))))
    assert host.volumes_of(record.id) == {"root", "config", "record"}
    assert [snapshot["image"]["name"] for snapshot in host.look()["snapshots"]] == ["loose"]
    host.ask("remove_snapshots")


# -- a guest that writes all the time -----------------------------------------------------------------------------

#: Writes and deletes files without end, and freezes as it is told to through the agent's channel.
_WRITER = r"""#!/bin/sh
# flotilla-guest: run
PATH=/bin
busybox mkdir /data
mount -t ext4 /dev/vda2 /data && echo "writer mounted"
[ ! -e /data/first ] || echo "writer found $(busybox ls /data | busybox wc -l)"
echo first > /data/first
agent() {
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat $port/name)" != org.qemu.guest_agent.0 ] || channel=/dev/${port##*/}
    done
    while :; do
        while read -r line; do
            case $line in
                *guest-sync*) answer=$(echo "$line" | sed 's/.*"id": *\([0-9]*\).*/\1/') ;;
                *fsfreeze-freeze*) busybox fsfreeze --freeze /data && echo "agent froze"; answer=1 ;;
                *fsfreeze-thaw*) busybox fsfreeze --unfreeze /data && echo "agent thawed"; answer=1 ;;
                *) answer='{}' ;;
            esac
            printf '{"return": %s}\n' "$answer" >&3
        done <&3
        sleep 1
    done 3<> "$channel"
}
agent &
count=0
while :; do
    count=$((count + 1))
    dd if=/dev/urandom of=/data/file$((count % 37)) bs=16k count=$((count % 11 + 1)) 2> /dev/null
    busybox rm -f /data/file$(((count + 20) % 37))
    busybox mkdir -p /data/folder$((count % 7)) && echo $count > /data/folder$((count % 7))/count
    [ $((count % 20)) != 0 ] || echo "written $count"
done
"""


@pytest.fixture(scope="module")
def busy_image(host: HostUnderTest) -> Image:
    return with_partition(host, "busy")


def writes_again(record: Record, *, thawed: int) -> None:
    """Wait until the guest has written something after it was thawed so often."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        before, *after = console_of(record.id).split("agent thawed")
        if len(after) >= thawed and "written" in after[-1]:
            assert before.count("agent froze") + sum(part.count("agent froze") for part in after) >= thawed
            return
        time.sleep(0.1)
    raise AssertionError(console_of(record.id)[-2000:])


def test_a_guest_that_writes_all_the_time_is_caught_clean(host: HostUnderTest, busy_image: Image) -> None:
    fresh = host.new("web1", flavor=PLAIN)
    root = dataclasses.replace(fresh.root, backing=busy_image.volume)
    disks = tuple(root if disk.role == "root" else disk for disk in fresh.disks)
    record = dataclasses.replace(fresh, image=busy_image, disks=disks)
    done = host.run(create(record), step("start", record, 1), record=record, user_data=_WRITER)
    record = Record.from_json(ok_results(done)[0]["record"])
    host.console(record, "written 20")
    frozen = host.run(snapshot_step(record, of(record, "frozen")))
    ok(frozen)
    assert frozen[0]["told"]["consistency"] == "file systems frozen"
    writes_again(record, thawed=1)
    strict = dataclasses.replace(record.image, properties={})
    second = dataclasses.replace(record, generation=2, image=strict)
    ok(host.run(step("update", record, 1, to=second)))
    crash = host.run(snapshot_step(second, of(second, "crash")))
    ok(crash)
    for result in (frozen, crash):
        check_file_system(host, Snapshot.from_json(result[0]["told"]["snapshot"]))
    # Killed while it is frozen: somebody thaws it, and the next run makes the snapshot.
    ok(host.run(step("update", second, 2, to=(third := dataclasses.replace(record, generation=3)))))
    again = snapshot_step(third, of(third, "again"))
    assert host.ask("steps", killed=True, steps=[again], drives={}, kill_before="backupBegin") == {"killed": True}
    writes_again(record, thawed=2)
    ok(host.run(again))
    ok(host.run(step("stop", third, 3, timeout=0)))
    image = Snapshot.from_json(crash[0]["told"]["snapshot"]).image
    fourth = rebuilt_from(third, image)
    ok(host.run(step("rebuild", third, 3, to=fourth), step("start", fourth, 4), record=fourth, user_data=_WRITER))
    host.console(record, r"boots=2\b")
    host.console(record, r"writer mounted\s+writer found \d+")
    ok(host.run(step("delete", fourth, 4)))
    host.ask("remove_snapshots")


# -- shelve -------------------------------------------------------------------------------------------------------


def shelve_steps(record: Record, *, pool: str = "local") -> list[dict[str, Json]]:
    roles = [disk.role for disk in record.disks if disk.role in ("root", "ephemeral0")]
    wanted = [of(record, f"web1-shelved-{role}", role=role, pool=pool, shelved=True).to_json() for role in roles]
    mark = {"at": "2026-11-21T22:00:00Z", "pool": pool, "state": "running"}
    target = dataclasses.replace(record, generation=record.generation + 1, marks={"shelved_offloaded": mark})
    return [
        step("stop", record, record.generation, timeout=5),
        step("shelve", record, record.generation, to=target, options={"snapshots": wanted}),
    ]


def unshelve_steps(shelved: Record) -> list[dict[str, Json]]:
    mark = shelved.marks["shelved_offloaded"]
    target = dataclasses.replace(shelved, generation=shelved.generation + 1, marks={})
    return [
        step("unshelve", shelved, None, to=target, options={"snapshots": mark["snapshots"]}),
        step("start", target, target.generation),
        step("tidy", target, target.generation),
    ]


def test_a_shelved_server_is_on_no_host_and_comes_back_with_its_data(host: HostUnderTest) -> None:
    record = running(host, host.new("web1", flavor=Flavor("tiny", 1, 128, 1, ephemeral=1)))
    mac = re.findall(r"<mac address='(.*?)'", virsh("dumpxml", record.id))
    ephemeral = virsh("vol-path", "--pool", "local", record.disks[1].volume).strip()
    ok(host.run(step("stop", record, 1, timeout=20)))
    lab("exec", "kvm1", "qemu-io", "-c", "write -P 77 100M 64k", ephemeral)
    done = host.run(*shelve_steps(record))
    assert [result["state"] for result in ok_results(done)] == ["shutoff", None]
    seen = host.look()
    assert seen["domains"] == {}
    assert host.volumes_of(record.id) == {"shelved"}
    shelved = Record.from_json(done[-1]["record"])
    assert [Record.from_json(record) for record in seen["shelved"]] == [shelved]
    again = host.run(*shelve_steps(record)[1:])
    assert ok(again) == [("shelve", False, None)]
    assert Record.from_json(again[0]["record"]) == shelved
    done = host.run(*unshelve_steps(shelved), record=shelved)
    assert [result["state"] for result in ok_results(done)] == ["shutoff", "running", "running"]
    host.console(record, rf"address=10\.214\.9\.21/24 instance={record.id}")
    host.console(record, r"boots=2\b")
    assert re.findall(r"<mac address='(.*?)'", virsh("dumpxml", record.id)) == mac
    assert host.volumes_of(record.id) == WHOLE
    assert host.look()["snapshots"] == []
    ok(host.run(step("stop", record, 3, timeout=20)))
    lab("exec", "kvm1", "qemu-io", "-r", "-c", "read -P 77 100M 64k", ephemeral)


def test_a_shelved_server_is_deleted_with_its_snapshots(host: HostUnderTest) -> None:
    record = Record.from_json(host.run(create(fresh := host.new("web1", flavor=PLAIN)), record=fresh)[0]["record"])
    done = host.run(*shelve_steps(record, pool="shared"))
    shelved = Record.from_json(ok_results(done)[-1]["record"])
    assert host.volumes_of(record.id, "shared") == {"shelved"}
    gone = host.run(step("delete", shelved, 2, to=shelved))
    assert ok(gone) == [("delete", True, None)]
    assert ok(host.run(step("delete", shelved, 2, to=shelved))) == [("delete", False, None)]


@pytest.mark.soak
def test_a_server_that_has_run_since_is_shelved_anew(host: HostUnderTest) -> None:
    """A shelving that was killed just before the domain went: what it kept is old by the time it is taken up."""
    record = running(host, host.new("web1", flavor=PLAIN))
    first = host.ask("steps", killed=True, steps=shelve_steps(record), drives={}, kill_before="undefineFlags")
    assert first == {"killed": True}
    assert host.volumes_of(record.id) == {"root", "config", "record", "shelved"}
    ok(host.run(step("start", record, 1)))
    host.console(record, r"boots=2\b")
    shelved = Record.from_json(ok_results(host.run(*shelve_steps(record)))[-1]["record"])
    ok(host.run(*unshelve_steps(shelved), record=shelved))
    host.console(record, r"boots=3\b")
    assert host.look()["snapshots"] == []


def test_what_a_shelving_that_was_cut_off_has_copied_goes(host: HostUnderTest) -> None:
    """Killed between the last copy and the record that names them: a run of reconcile knows them by what they are."""
    fresh = host.new("web1", flavor=Flavor("tiny", 1, 128, 1, ephemeral=1))
    record = Record.from_json(host.run(create(fresh), record=fresh)[0]["record"])
    first = host.ask("steps", killed=True, steps=shelve_steps(record), drives={}, kill_before="undefineFlags")
    assert first == {"killed": True}
    virsh("vol-delete", "--pool", "local", f"{record.id}-shelved")
    assert [(kept["image_type"], kept["complete"]) for kept in host.look()["snapshots"]] == [("shelved", True)] * 2
    assert ok(host.run(step("tidy", record, 1))) == [("tidy", True, "shutoff")]
    assert host.look()["snapshots"] == []
    assert host.volumes_of(record.id) == WHOLE
    assert ok(host.run(step("tidy", record, 1))) == [("tidy", False, "shutoff")]


# -- killed anywhere ----------------------------------------------------------------------------------------------


class Killed(t.NamedTuple):
    """What is killed: the steps from the record that is found, and what is there when all has been carried out."""

    plan: t.Callable[[Record], list[dict[str, Json]]]
    volumes: set[str]
    generation: int
    snapshots: int = 0


def scenario(name: str, record: Record) -> Killed:
    image = dataclasses.replace(record.image, name="rescue")
    second = rescued(record, image)
    third = dataclasses.replace(record, generation=3)
    kept = of(record, "kept")
    return {
        "snapshot": Killed(lambda _now: [snapshot_step(record, kept)], WHOLE, 1, 1),
        "rescue": Killed(
            lambda now: (
                [step("stop", record, 1, timeout=0)] * (now.generation == 1)
                + [step("rescue", record, 1, to=second), step("start", record, 2)]
            ),
            {*WHOLE, "rescue"},
            2,
        ),
        "unrescue": Killed(
            lambda now: (
                [step("stop", record, 2, timeout=0)] * (now.generation == 2)
                + [step("unrescue", record, 2, to=third), step("start", record, 3)]
            ),
            WHOLE,
            3,
        ),
        "shelve": Killed(
            lambda now: shelve_steps(record)[now.generation - 1 :] if now.generation == 1 else shelve_steps(record)[1:],
            {"shelved"},
            2,
            2,
        ),
        "unshelve": Killed(
            lambda now: (
                unshelve_steps(now)
                if "shelved_offloaded" in now.marks
                else [step("start", now, 3), step("tidy", now, 3)]
            ),
            WHOLE,
            3,
        ),
    }[name]


def found(host: HostUnderTest, record: Record) -> Record:
    """The record as a survey finds it: a domain's, else a shelved server's."""
    seen = host.look()
    records = [server["record"] for server in seen["servers"]] or seen["shelved"]
    return Record.from_json(records[0])


def kill_and_mend(host: HostUnderTest, name: str, **kill: Json) -> list[str]:
    record = running(host, host.new("web1", flavor=Flavor("tiny", 1, 128, 1, ephemeral=1)))
    if name == "unrescue":
        ok(host.run(*scenario("rescue", record).plan(record), record=record))
    if name == "unshelve":
        ok(host.run(*shelve_steps(record)))
    what = scenario(name, record)
    given = drives(record)
    first = host.ask("steps", killed=bool(kill), steps=what.plan(found(host, record)), drives=given, **kill)
    if kill:
        assert first == {"killed": True}
        ok(host.run(*what.plan(found(host, record)), record=record))
    else:
        ok(first["results"])
    now = found(host, record)
    assert now.generation == what.generation
    assert host.volumes_of(record.id) == what.volumes
    seen = host.look()
    assert [kept["complete"] for kept in seen["snapshots"]] == [True] * what.snapshots
    stored = {volume for volume in seen["volumes"]["local"] if volume.startswith("image-")}
    assert len(stored - host.kept) == 2 * what.snapshots, "an image is left over"
    if name == "shelve":
        ok(host.run(*unshelve_steps(now), record=now))
    if name in ("shelve", "unshelve", "unrescue"):
        host.console(record, r"boots=2\b .*vda:1073741824,vdb:1073741824")
    ok(host.run(step("delete", record, found(host, record).generation)))
    host.ask("remove_snapshots")
    return t.cast("list[str]", first.get("calls", []))


#: The calls that count, by kind of step: what is there before and after each of them differs.
DECISIVE = {
    "snapshot": ["backupBegin", "jobStats", "upload", "finish", "delete"],
    "rescue": ["destroy", "createXML", "upload", "defineXML", "create"],
    "unrescue": ["destroy", "upload", "defineXML", "delete", "create"],
    "shelve": ["createXMLFrom", "upload", "createXML", "undefineFlags", "delete"],
    "unshelve": ["createXMLFrom", "createXML", "defineXML", "create", "delete"],
}


@pytest.mark.parametrize("name", random.Random(SEED).sample(sorted(DECISIVE), 2))
def test_killed_before_a_call_and_mended(host: HostUnderTest, name: str) -> None:
    kill_and_mend(host, name, kill_before=random.Random(f"{SEED} {name}").choice(DECISIVE[name]))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", DECISIVE)
def test_killed_after_any_call_and_mended(host: HostUnderTest, name: str) -> None:
    calls = kill_and_mend(host, name)
    for kill_at in drawn(moments(calls, SEED)):
        kill_and_mend(host, name, kill_at=kill_at)
