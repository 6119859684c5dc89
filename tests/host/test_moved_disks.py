# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that live migration copies: what is on them at the destination is what was on them at the source."""

from __future__ import annotations

import re

import pytest
from tests.host.guests import CODE, HostUnderTest, host, lab, nothing_stays, ok, step
from tests.host.test_live import (
    console,
    follow,
    gone_from,
    nothing_there,
    order,
    running,
    two,
    virsh,
    volumes,
    wait,
)

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

pytestmark = pytest.mark.soak
#: A guest that writes one entry after the other to its ephemeral disk, and says so once it is there.
JOURNAL = """#!/bin/sh
# flotilla-guest: run
entry=0
while :; do
    entry=$((entry + 1))
    printf 'entry %d\\n' $entry | dd of=/dev/vdb bs=512 seek=$entry conv=notrunc,fsync 2>/dev/null || continue
    echo "wrote $entry"
    usleep 20000
done
"""


def path_of(at: str, volume: str) -> str:
    return virsh(at, "vol-path", "--pool", "local", volume).strip()


def test_a_journal_is_complete_at_the_destination(two: HostUnderTest) -> None:
    """What the guest was told to be on its disk is there, whichever of the two hosts wrote it."""
    record = running(two, "web1", "local", user_data=JOURNAL)
    wait(lambda: "wrote 20" in console("kvm1", record))
    (done,) = follow(two, order(record, bandwidth=32))
    assert (done.get("failed"), done["told"]["migration"]["status"]) == (None, "completed"), done
    wait(lambda: console("kvm2", record).count("wrote ") > 20)
    virsh("kvm2", "destroy", record.id)
    told = console("kvm1", record) + console("kvm2", record)  # a line may begin at one, and end at the other
    said = [int(number) for number in re.findall(r"wrote (\d+)\s", told)]
    assert said == list(range(1, len(said) + 1)), told[-2000:]
    disk = path_of("kvm2", f"{record.id}-ephemeral0")
    read = f"qemu-img dd -O raw if={disk} of=/run/journal bs=512 count={said[-1] + 1}"
    written = lab("exec", "kvm2", "sh", "-c", f"{read} && tr -d '\\000' </run/journal; rm -f /run/journal")
    assert [int(number) for number in re.findall(r"entry (\d+)", written)] == said
    gone_from(two, record)


def test_the_disks_of_a_paused_guest_are_equal_at_both_ends(two: HostUnderTest) -> None:
    record = running(two, "web2", "local")
    ok(two.run(step("pause", record, 1)))
    before = {disk.volume: CODE / disk.volume for disk in record.disks}
    assert {disk.role for disk in record.disks} == {"root", "ephemeral0", "swap", "config"}
    for name, copy in before.items():
        lab("exec", "kvm1", "qemu-img", "convert", "-U", "-O", "qcow2", path_of("kvm1", name), str(copy))
    (done,) = follow(two, order(record))
    assert (done.get("failed"), done["state"]) == (None, "paused"), done
    assert not [name for name in volumes("kvm1") if name.startswith(record.id)]
    for name, copy in before.items():
        same = lab("exec", "kvm2", "qemu-img", "compare", "-U", str(copy), path_of("kvm2", name))
        assert "Images are identical." in same
        copy.unlink()
    gone_from(two, record)
