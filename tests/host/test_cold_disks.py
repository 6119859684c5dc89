# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks of servers that are moved cold: what was on them is on them at the other host."""

from __future__ import annotations

import re

import pytest
from tests.host.guests import console_of, host, lab, nothing_stays, ok, step
from tests.host.test_moving import Pair, delete, migration, pair, running

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import cold_steps

__all__ = ["host", "nothing_stays", "pair"]  # fixtures

pytestmark = pytest.mark.soak
ALL = Flavor("all", 1, 128, 1, ephemeral=1, swap=64)
#: A guest that writes one entry after the other to its ephemeral disk, says so once it is there, and goes on after a
#: start where it was.
JOURNAL = """#!/bin/sh
# flotilla-guest: run
entry=$(dd if=/dev/vdb bs=512 count=4000 2>/dev/null | tr -d '\\000' | grep -c entry)
echo "found $entry"
while :; do
    entry=$((entry + 1))
    printf 'entry %d\\n' $entry | dd of=/dev/vdb bs=512 seek=$entry conv=notrunc,fsync 2>/dev/null || continue
    echo "wrote $entry"
    usleep 20000
done
"""


def path_of(at: str, volume: str) -> str:
    return lab("exec", at, "virsh", "-q", "vol-path", "--pool", "local", volume).strip()


def said(at: str, record: Record) -> list[int]:
    return [int(number) for number in re.findall(r"wrote (\d+)\s", console_of(record.id, at))]


def checksum(at: str, volume: str) -> str:
    return lab("exec", at, "sha256sum", path_of(at, volume)).split()[0]


def test_a_journal_is_complete_after_a_cold_move(pair: Pair) -> None:
    """The guest is shut down as it writes: what it was told to be on its disk it finds there again."""
    record = running(pair, "local", flavor=ALL, user_data=JOURNAL)
    pair.hosts["kvm1"].console(record, "wrote 20\\b")
    pair.do(migration(pair, ALL, confirmed=True))
    found = pair.hosts["kvm2"].console(record, r"found (\d+)\s")
    before = said("kvm1", record)
    assert before == list(range(1, len(before) + 1))
    assert int(found.group(1)) - len(before) in (0, 1)  # it may not have come to say so
    pair.hosts["kvm2"].console(record, rf"wrote {int(found.group(1)) + 10}\b")
    lab("exec", "kvm2", "virsh", "destroy", record.id)
    last = said("kvm2", record)[-1]
    disk = path_of("kvm2", f"{record.id}-ephemeral0")
    read = f"qemu-img dd -O raw if={disk} of=/run/journal bs=512 count={last + 1}"
    written = lab("exec", "kvm2", "sh", "-c", f"{read} && tr -d '\\000' </run/journal; rm -f /run/journal")
    assert [int(number) for number in re.findall(r"entry (\d+)", written)] == list(range(1, last + 1))
    delete(pair)


def test_the_disks_of_a_stopped_server_are_the_same_files_there(pair: Pair) -> None:
    """All but its swap disk, which is made anew."""
    record = running(pair, "local", flavor=ALL, user_data=JOURNAL)
    pair.hosts["kvm1"].console(record, "wrote 20\\b")
    ok(pair.hosts["kvm1"].run(step("stop", record, 1)))
    assert {disk.role for disk in record.disks} == {"root", "ephemeral0", "swap", "config"}
    copied = [disk.volume for disk in record.disks if disk.role != "swap"]
    before = {volume: checksum("kvm1", volume) for volume in copied}
    written = len(said("kvm1", record))
    pair.do(cold_steps(record, "shutoff", "asked for", spec=record.spec, confirm=True))
    location = pair.where()
    assert (location.host, location.guest and location.guest.state) == ("kvm2", "shutoff")
    assert {volume: checksum("kvm2", volume) for volume in copied} == before
    assert pair.volumes(record)["kvm1/local"] == set()
    moved = location.record
    assert moved is not None
    ok(pair.hosts["kvm2"].run(step("start", moved, moved.generation)))
    found = pair.hosts["kvm2"].console(moved, r"found (\d+)\s")
    assert int(found.group(1)) - written in (0, 1)
    delete(pair)
