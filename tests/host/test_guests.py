# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps on a real host with a real guest: what they do, what they never overwrite, and a kill anywhere is mended."""

from __future__ import annotations

import dataclasses
import random
import re
import time
import typing as t
import uuid

import pytest
from tests.host.guests import (
    HOST_ID,
    POOL_ID,
    SMALL,
    HostUnderTest,
    Json,
    create,
    drives,
    host,
    lab,
    moments,
    nothing_stays,
    ok,
    sentence,
    step,
    virsh,
)
from tests.support.kills import SEED, drawn

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Record

__all__ = ["host", "nothing_stays"]  # fixtures


def test_a_server_lives(host: HostUnderTest) -> None:
    record = host.new("web1")
    done = host.run(create(record), step("start", record, 1), record=record)
    assert ok(done) == [("create", True, "shutoff"), ("start", True, "running")]
    applied = Record.from_json(done[0]["record"])
    assert applied.host_id == HOST_ID
    assert {disk.pool_id for disk in applied.disks} == {POOL_ID}
    assert applied.hardware.machine is not None
    assert applied.hardware.machine.startswith("pc-i440fx-")
    assert [disk.size for disk in applied.disks][:3] == [GIB, GIB, 64 * 1024**2]
    host.console(record, rf"hostname=web1 address=10\.214\.9\.21/24 instance={record.id}")
    host.console(record, r"boots=1 .*vda:1073741824,vdb:1073741824,vdc:67108864 config_drive=sr0")
    # The same again is nothing; then down by the button, which the guest obeys within a second or so.
    again = host.run(create(record), step("start", record, 1), record=record)
    assert [result["changed"] for result in again] == [False, False]
    began = time.monotonic()
    assert ok(host.run(step("stop", record, 1))) == [("stop", True, "shutoff")]
    assert time.monotonic() - began < 15
    assert ok(host.run(step("stop", record, 1))) == [("stop", False, "shutoff")]


def test_power(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    host.console(record, r"tick 1\b")
    done = host.run(*(step(kind, record, 1) for kind in ("pause", "pause", "unpause", "suspend", "suspend", "resume")))
    assert ok(done) == [
        ("pause", True, "paused"),
        ("pause", False, "paused"),
        ("unpause", True, "running"),
        ("suspend", True, "suspended"),
        ("suspend", False, "suspended"),
        ("resume", True, "running"),
    ]
    # A paused guest can't hear the button: it isn't waited for.
    began = time.monotonic()
    assert ok(host.run(step("pause", record, 1), step("stop", record, 1, timeout=60)))[-1] == ("stop", True, "shutoff")
    assert time.monotonic() - began < 20


def test_reboots_an_nmi_and_a_password(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    host.console(record, r"boots=1\b")
    assert ok(host.run(step("inject_nmi", record, 1))) == [("inject_nmi", True, "running")]
    # A guest that runs hears the button, and the plug need not be pulled.
    (soft,) = host.run(step("reboot", record, 1, options={"timeout": 60}))
    assert (soft["message"], soft["state"]) == ("rebooted", "running")
    host.console(record, r"boots=2\b")
    # One that has no time for it is power cycled.
    (hard,) = host.run(step("reboot", record, 1, options={"timeout": 0}))
    assert (hard["message"], hard["state"]) == ("rebooted hard: it did not shut down within 0 s", "running")
    host.console(record, r"boots=3\b")

    # The repair: a saved memory and a domain that somebody has spoilt are thrown away, the disk is not.
    ok(host.run(step("suspend", record, 1)))
    virsh("detach-disk", "web1", "vda", "--config")
    (mended,) = host.run(step("hard_reboot", record, 1))
    assert (mended["changed"], mended["state"]) == (True, "running")
    host.console(record, r"boots=4\b")
    # What can't come up again is left running.
    virsh("vol-delete", "--pool", "local", f"{record.id}-swap")
    assert f"{record.id}-swap" in sentence(host.run(step("hard_reboot", record, 1)))
    assert virsh("domstate", "web1").strip() == "running"

    said = sentence(host.run(step("set_password", record, 1, options={"user": "root"})))
    assert said == "a new password for server 'web1' came without one; give it as the option password"
    secrets = {record.id: {"password": "s3cr3t-w0rd"}}
    said = sentence(host.run(step("set_password", record, 1, options={"user": "root"}), secrets=secrets))
    assert said.startswith(f"Failed to set admin password on {record.id} because its guest agent does not answer")
    assert "s3cr3t" not in said


def test_a_domain_undefined_by_hand_comes_back_on_its_own_disk(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    host.console(record, r"boots=1\b")
    ok(host.run(step("stop", record, 1)))
    virsh("undefine", "web1")
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "swap", "config", "record"}
    second = dataclasses.replace(record, generation=2)
    done = host.run(step("define", record, 1, to=second), step("start", record, 2), record=record)
    assert ok(done) == [("define", True, "shutoff"), ("start", True, "running")]
    host.console(record, r"boots=2\b")


def test_define_makes_no_disk(host: HostUnderTest) -> None:
    record = host.new("web1")
    done = host.run(step("define", record, 1, to=record), record=record)
    assert "-root' is not in pool 'local'" in sentence(done)
    assert host.volumes_of(record.id) == set()


def test_a_volume_that_is_there_is_used_even_if_libvirt_does_not_know_of_it(host: HostUnderTest) -> None:
    record = host.new("web1")
    path = virsh("pool-dumpxml", "local").partition("<path>")[2].partition("</path>")[0]
    base = f"{path}/{host.image.volume}"
    root = f"{path}/{record.root.volume}"
    lab("exec", "kvm1", "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", root, "1G")
    before = lab("exec", "kvm1", "sh", "-c", f"stat -c '%i %s' {root}; md5sum {root}")
    done = host.run(create(record), record=record)
    assert ok(done) == [("create", True, "shutoff")]
    assert lab("exec", "kvm1", "sh", "-c", f"stat -c '%i %s' {root}; md5sum {root}") == before


def test_reconfigure_and_rebuild(host: HostUnderTest) -> None:
    record = host.new("web1")
    applied = Record.from_json(host.run(create(record), step("start", record, 1), record=record)[0]["record"])
    host.console(record, r"boots=1 .*vda:1073741824")
    bigger = dataclasses.replace(SMALL, ram=160, disk=2)
    root = dataclasses.replace(applied.root, size=2 * GIB)
    second = dataclasses.replace(applied, generation=2, flavor=bigger, disks=(root, *applied.disks[1:]))
    assert "must be off" in sentence(host.run(step("reconfigure", record, 1, to=second)))
    done = host.run(step("stop", record, 1), step("reconfigure", record, 1, to=second), step("start", record, 2))
    assert [result["state"] for result in done] == ["shutoff", "shutoff", "running"]
    host.console(record, r"boots=2 .*vda:2147483648")
    third = dataclasses.replace(second, generation=3)
    steps = (step("stop", record, 2), step("rebuild", record, 2, to=third), step("start", record, 3))
    assert [result["state"] for result in host.run(*steps, record=third)] == ["shutoff", "shutoff", "running"]
    host.console(record, r"boots=1 .*vda:2147483648")


def test_update_writes_the_record_and_autostart(host: HostUnderTest) -> None:
    record = host.new("web1")
    applied = Record.from_json(host.run(create(record), step("start", record, 1), record=record)[0]["record"])
    hostile = {"autostart": True, "metadata": {"note": "]]> <b> \x00 \U0001f6a2 'quoted\"", "long": "x" * 65536}}
    second = dataclasses.replace(applied, generation=2, spec=hostile)
    # As the controller has it, which knows neither sizes nor ids of the host.
    sent = dataclasses.replace(second, disks=record.disks, hardware=record.hardware)
    assert ok(host.run(step("update", record, 1, to=sent))) == [("update", True, "running")]
    assert host.look()["servers"][0]["record"] == second.to_json()
    assert re.search(r"Autostart:\s+enable", virsh("dominfo", "web1"))
    assert ok(host.run(step("update", record, 1, to=sent))) == [("update", False, "running")]
    assert ok(host.run(step("soft_delete", record, 2))) == [("soft_delete", True, "shutoff")]
    assert re.search(r"Autostart:\s+disable", virsh("dominfo", record.id))


def test_a_transient_domain_is_adopted(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    virsh("undefine", "web1")
    assert re.search(r"Persistent:\s+no", virsh("dominfo", "web1"))
    second = dataclasses.replace(record, generation=2)
    assert ok(host.run(step("adopt", record, 1, to=second))) == [("adopt", True, "running")]
    assert ok(host.run(step("adopt", record, 1, to=second))) == [("adopt", False, "running")]
    virsh("undefine", "web1")
    # What is stopped without having been adopted doesn't vanish either.
    assert ok(host.run(step("stop", record, 2, timeout=0))) == [("stop", True, "shutoff")]


def test_an_undefined_copy_leaves_its_disks_and_they_are_found_by_the_sidecar(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), record=record))
    assert ok(host.run(step("undefine", record, 1), step("undefine", record, 1))) == [
        ("undefine", True, None),
        ("undefine", False, None),
    ]
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "swap", "config", "record"}
    assert ok(host.run(step("delete", record, 1), step("delete", record, 1))) == [
        ("delete", True, None),
        ("delete", False, None),
    ]
    assert host.volumes_of(record.id) == set()


def test_soft_delete_frees_the_name_and_restore_takes_it_back(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    done = host.run(step("soft_delete", record, 1))
    assert ok(done) == [("soft_delete", True, "shutoff")]
    assert host.look()["domains"] == {record.id: f"web1.deleted-{record.id[:8]}"}
    assert host.look()["servers"][0]["status"] == "SOFT_DELETED"
    successor = host.new("web1")
    ok(host.run(create(successor), record=successor))
    assert "can't be named 'web1'" in sentence(host.run(step("restore", record, 2)))
    ok(host.run(step("delete", successor, 1)))
    assert ok(host.run(step("restore", record, 2))) == [("restore", True, "shutoff")]
    assert host.look()["domains"] == {record.id: "web1"}
    assert host.look()["servers"][0]["record"]["marks"] == {}


def test_what_is_not_ours_is_not_touched(host: HostUnderTest) -> None:
    record = host.new("web1")
    foreign = (
        "<domain type='qemu'><name>web1</name><memory>65536</memory><uuid>{}</uuid><os><type>hvm</type></os></domain>"
    )
    other_id = str(uuid.uuid4())
    for server_id, said in ((record.id, "no record of Flotilla"), (other_id, "has the name 'web1'")):
        lab("exec", "kvm1", "sh", "-c", "cat >/tmp/d.xml", stdin=foreign.format(server_id))
        virsh("define", "/tmp/d.xml")
        assert said in sentence(host.run(create(record), record=record))
        assert host.volumes_of(record.id) == set()
        virsh("undefine", server_id)


def test_a_stale_plan_is_refused(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), record=record))
    assert "generation 1, the plan was made from generation 7" in sentence(host.run(step("start", record, 7)))
    other = dataclasses.replace(record, spec={"description": "another plan's"})
    assert "somebody changed it" in sentence(host.run(create(other), record=other))


def test_a_pool_that_cannot_stack_gets_a_copy_and_a_half_copy_is_made_again(host: HostUnderTest) -> None:
    record = host.new("web1", overlay=False)
    applied = Record.from_json(host.run(create(record), record=record)[0]["record"])
    assert (applied.root.format, applied.root.backing, applied.root.size) == ("raw", None, GIB)
    path = virsh("vol-path", "--pool", "local", record.root.volume).strip()
    base = virsh("vol-path", "--pool", "local", host.image.volume).strip()
    # As a host that was switched off in the middle of the copy leaves it.
    virsh("undefine", "web1")
    virsh("vol-create-as", "local", f"{record.root.volume}.copying", "0")
    lab("exec", "kvm1", "truncate", "--size", "1M", path)
    ok(host.run(create(record), record=record))
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "swap", "config", "record"}
    assert "identical" in lab("exec", "kvm1", "qemu-img", "compare", "-f", "qcow2", "-F", "raw", base, path)


def test_deletion_takes_along_what_libvirt_keeps_beside_a_domain(host: HostUnderTest) -> None:
    """A snapshot's metadata and a saved memory: each alone would keep libvirt from undefining the domain."""
    record = host.new("web1", flavor=Flavor("plain", 1, 128, 1))
    ok(host.run(create(record), record=record))
    virsh("snapshot-create-as", "web1", "before")
    ok(host.run(step("start", record, 1), step("suspend", record, 1)))
    assert ok(host.run(step("delete", record, 1, to=record))) == [("delete", True, None)]
    assert host.volumes_of(record.id) == set()


def test_a_disk_under_another_domain_is_kept(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), record=record))
    path = virsh("vol-path", "--pool", "local", record.root.volume).strip()
    overlay = "/var/lib/libvirt/images/foreign.qcow2"
    lab("exec", "kvm1", "qemu-img", "create", "-q", "-f", "qcow2", "-b", path, "-F", "qcow2", overlay)
    disk = (
        f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{overlay}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    xml = (
        "<domain type='qemu'><name>foreign</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<devices>{disk}</devices></domain>"
    )
    lab("exec", "kvm1", "sh", "-c", "cat >/tmp/d.xml", stdin=xml)
    virsh("define", "/tmp/d.xml")
    assert "used by domain 'foreign'" in sentence(host.run(step("delete", record, 1)))
    assert host.look()["servers"][0]["id"] == record.id
    assert host.volumes_of(record.id) == {"root", "ephemeral0", "swap", "config", "record"}
    virsh("undefine", "foreign")


def test_a_full_disk_leaves_nothing_half_made(host: HostUnderTest) -> None:
    """The image is missing at the last moment, after the other volumes were made: they go, too."""
    record = host.new("web1")
    absent = dataclasses.replace(record, image=dataclasses.replace(record.image, checksum="sha256:" + "0" * 64))
    assert "is not in pool 'local'" in sentence(host.run(create(absent), record=absent))
    assert host.volumes_of(record.id) == set()


Replan = t.Callable[[int | None], list[dict[str, Json]]]


def _scenario(host: HostUnderTest, name: str, record: Record) -> tuple[Replan, str, int]:
    """A plan as it is made from the generation that a survey finds, and what it ends in."""
    second = dataclasses.replace(record, generation=2, spec={"description": "second"})

    def make(generation: int | None) -> list[dict[str, Json]]:
        return [create(record)] * (generation is None) + [step("start", record, 1)]

    def rebuild(generation: int | None) -> list[dict[str, Json]]:
        first = [step("stop", record, 1, timeout=0), step("rebuild", record, 1, to=second)]
        return first * (generation == 1) + [step("start", record, 2)]

    def remove(generation: int | None) -> list[dict[str, Json]]:
        return [step("delete", record, 1, to=record)]

    def reboot(generation: int | None) -> list[dict[str, Json]]:
        return [step("hard_reboot", record, 1, to=second)] if generation == 1 else [step("start", record, 2)]

    scenarios: dict[str, tuple[Replan, str, int]] = {
        "create": (make, "running", 1),
        "rebuild": (rebuild, "running", 2),
        "delete": (remove, "gone", 0),
        "hard_reboot": (reboot, "running", 2),
    }
    return scenarios[name]


def _generation(host: HostUnderTest, record: Record) -> int | None:
    found = [server["record"]["generation"] for server in host.look()["servers"] if server["id"] == record.id]
    return found[0] if found else None


def _kill_and_mend(host: HostUnderTest, name: str, kill_at: int | None) -> list[str]:
    """Carry out a plan, killed after so many calls; plan again, carry that out, see the end. The calls made."""
    record = host.new("web1", flavor=dataclasses.replace(SMALL, ephemeral=1, swap=1))
    plan, end, generation = _scenario(host, name, record)
    if name != "create":
        ok(host.run(create(record), step("start", record, 1), record=record))
    first = host.ask(
        "steps", killed=True, steps=plan(_generation(host, record)), drives=drives(record), kill_at=kill_at
    )
    if kill_at is not None:
        assert first == {"killed": True}
        ok(host.run(*plan(_generation(host, record)), record=record))
    seen = host.look()
    volumes = {volume for volume in seen["volumes"]["local"] if volume.startswith(record.id)}
    if end == "gone":
        assert (seen["servers"], volumes) == ([], set())
    else:
        found = [(server["state"], server["record"]["generation"]) for server in seen["servers"]]
        assert found == [(end, generation)]
        assert volumes == {f"{record.id}-{role}" for role in ("root", "ephemeral0", "swap", "config", "record")}
        ok(host.run(step("delete", record, generation)))
    return t.cast("list[str]", first.get("calls", []))


@pytest.mark.parametrize("name", ["create", "rebuild", "delete", "hard_reboot"])
def test_killed_after_some_call_and_mended(host: HostUnderTest, name: str) -> None:
    calls = _kill_and_mend(host, name, None)
    for kill_at in random.Random(SEED).sample(moments(calls, SEED), 2):
        _kill_and_mend(host, name, kill_at)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["create", "rebuild", "delete", "hard_reboot"])
def test_killed_after_any_call_and_mended(host: HostUnderTest, name: str) -> None:
    calls = _kill_and_mend(host, name, None)
    for kill_at in drawn(moments(calls, SEED)):
        _kill_and_mend(host, name, kill_at)
