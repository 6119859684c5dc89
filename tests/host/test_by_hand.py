# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that somebody has worked on by hand, past Flotilla, on real hosts."""

from __future__ import annotations

import dataclasses

from tests.host.guests import (
    SMALL,
    HostUnderTest,
    create,
    host,
    lab,
    nothing_stays,
    ok,
    sentence,
    step,
    virsh,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["host", "nothing_stays"]  # fixtures


def test_a_disk_under_a_snapshot_is_left_until_it_is_merged(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), step("start", record, 1), record=record))
    host.console(record, r"boots=1\b")
    virsh("snapshot-create-as", "web1", "s1", "--disk-only", "--no-metadata", "--diskspec", "sda,snapshot=no")
    ok(host.run(step("stop", record, 1)))
    path = "/var/lib/libvirt/pools/local"
    image = lab("exec", "kvm1", "md5sum", f"{path}/{host.image.volume}")
    before = virsh("dumpxml", "--inactive", "web1")
    assert f"{record.root.volume}.s1'" in before
    bigger = dataclasses.replace(SMALL, ram=160, disk=2)
    disks = tuple(dataclasses.replace(disk, size=2 * disk.size) for disk in record.disks)
    second = dataclasses.replace(record, generation=2, flavor=bigger, disks=disks)
    for kind in ("reconfigure", "rebuild"):
        refused = sentence(host.run(step(kind, record, 1, to=second), record=record))
        assert f"disk vda of server 'web1' is '{path}/{record.root.volume}.s1'" in refused
        assert f"virsh blockcommit web1 vda --base {path}/{record.root.volume} --active --pivot" in refused
    assert virsh("dumpxml", "--inactive", "web1") == before
    assert host.look()["volumes"]["local"][record.root.volume] == record.root.size
    # It starts where it was; what the sentence says brings it back.
    ok(host.run(step("start", record, 1)))
    host.console(record, r"boots=2\b")
    for disk in disks[:3]:
        virsh("blockcommit", "web1", disk.target, "--base", f"{path}/{disk.volume}", "--active", "--pivot")
    assert lab("exec", "kvm1", "md5sum", f"{path}/{host.image.volume}") == image
    done = host.run(
        step("stop", record, 1), step("reconfigure", record, 1, to=second), step("start", record, 2), record=record
    )
    assert ok(done)[1:] == [("reconfigure", True, "shutoff"), ("start", True, "running")]
    host.console(record, r"boots=3\b")
    lab("exec", "kvm1", "sh", "-c", f"rm {path}/{record.id}-*.s1")


def test_a_guest_that_was_migrated_away_is_not_started_here(host: HostUnderTest) -> None:
    record = host.new("web1", pool="shared")
    ok(host.run(create(record), step("start", record, 1), record=record))
    host.console(record, r"boots=1\b")
    virsh("migrate", "--live", "--persistent", "--unsafe", "web1", "qemu+tcp://kvm2/system")
    assert "shut off (migrated)" in virsh("domstate", "--reason", "web1")
    second = dataclasses.replace(record, generation=2)
    for refused in (
        step("start", record, 1),
        step("rebuild", record, 1, to=second),
        step("delete", record, 1),
    ):
        assert "it was migrated away, and may run on another host" in sentence(host.run(refused, record=record))
    assert "running" in lab("exec", "kvm2", "virsh", "domstate", "web1")
    assert host.volumes_of(record.id, "shared") == {"root", "ephemeral0", "swap", "config", "record"}
    # Once it is on no other host, it is started by hand and is a server like any other again.
    lab("exec", "kvm2", "virsh", "destroy", "web1")
    lab("exec", "kvm2", "virsh", "undefine", "web1")
    virsh("start", "web1")
    assert ok(host.run(step("stop", record, 1, timeout=0), step("start", record, 1)))[1] == ("start", True, "running")


def test_a_killed_soft_deletion_that_is_no_more_wanted_gives_the_name_back(host: HostUnderTest) -> None:
    record = host.new("web1")
    ok(host.run(create(record), record=record))
    renamed = f"web1.deleted-{record.id[:8]}"
    virsh("domrename", "web1", renamed)
    second = dataclasses.replace(record, generation=2, flavor=dataclasses.replace(SMALL, ram=160))
    done = host.run(step("reconfigure", record, 1, to=second), record=record)
    assert ok(done) == [("reconfigure", True, "shutoff")]
    assert host.look()["domains"] == {record.id: "web1"}
    virsh("domrename", "web1", renamed)
    # Or it is wanted still: then the mark is all that is missing.
    marked = dataclasses.replace(second, generation=3, marks={"soft_delete": {"at": 1.0}})
    done = host.run(step("soft_delete", record, 2, to=marked))
    assert ok(done) == [("soft_delete", True, "shutoff")]
    assert Record.from_json(done[0]["record"]).marks == {"soft_delete": {"at": 1.0}}
    assert host.look()["domains"] == {record.id: renamed}
