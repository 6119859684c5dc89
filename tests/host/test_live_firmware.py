# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migrations of guests with UEFI: the file with the variables of their firmware is where they are, and no other
goes. Libvirt makes it at the destination before any of the guest is there."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from tests.host.guests import (
    LAB_NAME,
    HostUnderTest,
    create,
    host,
    lab,
    nothing_stays,
    ok,
    sentence,
    step,
)
from tests.host.test_live import (
    FLAVOR,
    begun,
    end_move,
    follow,
    nothing_there,
    order,
    two,
    virsh,
    volumes,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

pytestmark = pytest.mark.soak
FOLDER = "/var/lib/libvirt/qemu/nvram"


def running(two: HostUnderTest, name: str) -> tuple[Record, str]:
    """A guest with UEFI, and the file with its variables."""
    made = two.new(name, flavor=FLAVOR)
    made = dataclasses.replace(made, hardware=dataclasses.replace(made.hardware, firmware="uefi", machine="q35"))
    done = two.run(create(made), step("start", made, 1), record=made)
    ok(done)
    record = Record.from_json(done[0]["record"])
    file = re.search(r"<nvram[^>]*>([^<]+)</nvram>", virsh("kvm1", "dumpxml", record.id))
    assert file is not None
    return record, file[1]


def file_at(at: str, path: str) -> Path:
    return Path("/var/lib/flotilla-lab") / LAB_NAME / "hosts" / at / "tree" / path.lstrip("/")


def files(record: Record, variables: str) -> dict[str, tuple[bool, bool]]:
    """Whether each host has the variables, and a log of the console."""
    log = f"/var/log/libvirt/qemu/{record.id}.console.log"
    return {at: (file_at(at, variables).exists(), file_at(at, log).exists()) for at in ("kvm1", "kvm2")}


@pytest.fixture
def one_folder(host: HostUnderTest) -> Iterator[HostUnderTest]:
    """Both hosts have the variables of their guests in one and the same folder, that of kvm1."""
    folder = file_at("kvm1", FOLDER)
    folder.mkdir(exist_ok=True)
    lab("exec", "kvm2", "mkdir", "-p", FOLDER)
    lab("exec", "kvm2", "mount", "--bind", str(folder), FOLDER)
    yield host
    lab("exec", "kvm2", "umount", FOLDER)
    assert list(folder.iterdir()) == []


def gone_from_there(record: Record) -> None:
    virsh("kvm2", "destroy", record.id)
    virsh("kvm2", "undefine", "--nvram", record.id)
    for name in volumes("kvm2"):
        if name.startswith(record.id):
            virsh("kvm2", "vol-delete", "--pool", "local", name)


HERE_ALONE = {"kvm1": (True, True), "kvm2": (False, False)}


def test_variables_go_along_and_stay_nowhere_else(two: HostUnderTest) -> None:
    record, file = running(two, "web8")
    (moved,) = follow(two, order(record))
    assert moved["told"]["migration"]["status"] == "completed", moved
    assert files(record, file) == {"kvm1": (False, True), "kvm2": (True, True)}
    assert not [name for name in volumes("kvm1") if name.startswith(record.id)]
    gone_from_there(record)


def test_a_move_that_fails_leaves_no_variables_there(two: HostUnderTest) -> None:
    record, file = running(two, "web9")
    (late,) = follow(two, order(record, bandwidth=1, timeout=3))
    assert "it took more than 3 s; it is on kvm1 as before" in late["message"], late
    assert files(record, file) == HERE_ALONE
    # Aborted by somebody.
    asked = begun(two, record, bandwidth=1)
    ok(two.run(step("abort_migration", record, record.generation)))
    (aborted,) = follow(two, asked)
    assert aborted["told"]["migration"]["status"] == "cancelled", aborted
    assert files(record, file) == HERE_ALONE
    # What can't be removed now, a later run does.
    asked = begun(two, record, bandwidth=1)
    lab("crash", "kvm2")
    (broken,) = follow(two, asked)
    lab("restart", "kvm2")
    assert (broken["failed"], broken["told"]["migration"]["left"]) == (True, True), broken
    assert files(record, file)["kvm2"][0]
    ok(follow(two, end_move(record)))
    assert files(record, file) == HERE_ALONE
    assert "flotilla-folder-" not in virsh("kvm2", "pool-list", "--all")


def test_variables_that_were_there_before_stay(two: HostUnderTest) -> None:
    """Nobody knows whose they are: those of a domain that was undefined without them, say, or a folder of both."""
    record, file = running(two, "web10")
    shutil.copy(file_at("kvm1", file), file_at("kvm2", file))
    (late,) = follow(two, order(record, bandwidth=1, timeout=3))
    assert "it took more than 3 s; it is on kvm1 as before" in late["message"], late
    assert files(record, file) == {"kvm1": (True, True), "kvm2": (True, False)}
    # They are another domain's: it would find those of this guest in them.
    firmware = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
    firmware += f"<nvram>{file}</nvram>"
    xml = "<domain type='qemu'><name>b</name><memory>65536</memory><features><acpi/></features><os>"
    xml += f"<type machine='q35'>hvm</type>{firmware}</os></domain>"
    lab("exec", "kvm2", "virsh", "define", "/dev/stdin", stdin=xml)
    said = sentence(follow(two, order(record)))
    assert f"the variables of its UEFI firmware go to {file}, where domain 'b' there has its own" in said
    assert files(record, file) == {"kvm1": (True, True), "kvm2": (True, False)}
    virsh("kvm2", "undefine", "--nvram", "b")


def test_variables_in_a_folder_of_both_hosts_stay(one_folder: HostUnderTest) -> None:
    """What the guest left behind and what it has are one file."""
    record, file = running(one_folder, "web11")
    (late,) = follow(one_folder, order(record, bandwidth=1, timeout=3))
    assert "it took more than 3 s; it is on kvm1 as before" in late["message"], late
    with file_at("kvm1", file).open("rb") as made:
        (moved,) = follow(one_folder, order(record))
        assert os.fstat(made.fileno()).st_nlink == 1
    assert moved["told"]["migration"]["status"] == "completed", moved
    assert virsh("kvm1", "list", "--all", "--name").strip() == ""
    assert [left.name for left in file_at("kvm1", FOLDER).iterdir()] == [Path(file).name]
    gone_from_there(record)
