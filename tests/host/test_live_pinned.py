# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests with cores, cells and pages of their host's, moved while they run: they get others, or nothing is touched.

The machine of the tests has one NUMA cell; what is written for several is tested without libvirt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import typing as t
from pathlib import Path

import pytest
from tests.host.guests import STATE, HostUnderTest, create, host, lab, nothing_stays, ok, sentence, step
from tests.host.test_live import (
    DIRTY,
    console,
    end_move,
    follow,
    gone_from,
    nothing_there,
    order,
    still_here,
    ticks,
    two,
    virsh,
    volumes,
    wait,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.guest_xml import guest_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="pins on two CPUs need two"),
]

FLAVOR = Flavor("pinned", 2, 128, 1)
HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


def on_cores(first: int, second: int, *, cell: int = 0, page_size: int | None = None, memory: int = 64) -> Fit:
    """Two cells of the guest on the host's one, each vCPU on a core of its own."""
    return Fit(
        (
            FitCell(0, cell, (0,), memory, page_size, pinning={0: first}),
            FitCell(1, cell, (1,), memory, page_size, pinning={1: second}),
        ),
        emulator_cpus=(first, second),
    )


CROSSED, STRAIGHT = on_cores(1, 0), on_cores(0, 1)


def made(two: HostUnderTest, name: str, fit: Fit | None, pool: str = "shared", **more: t.Any) -> Record:
    record = dataclasses.replace(two.new(name, flavor=FLAVOR, pool=pool), fit=fit)
    done = two.run(create(record), step("start", record, 1), record=record, **more)
    ok(done)
    two.console(record, r"tick 2\b")
    return Record.from_json(done[0]["record"])


def given(record: Record, fit: Fit | None, **live: t.Any) -> dict[str, t.Any]:
    """The order to move it, with what the destination gives it."""
    return order(dataclasses.replace(record, fit=fit), **live)


def lies(at: str, record: Record) -> tuple[Tuning, Tuning | None, dict[int, str]]:
    """How the guest is defined, how it runs where that is another, and what the kernel says of its vCPUs."""
    xml = virsh(at, "dumpxml", "--inactive", record.id)
    options: dict[str, t.Any] = {"state": "running", "persistent": True, "autostart": False, "managed_save": False}
    guest = guest_of(xml, **options, locations={}, live=lambda: virsh(at, "dumpxml", record.id))
    told = re.findall(r"VCPU:\s+(\d+)\n(?:.*\n)*?CPU Affinity:\s+([y-]{2})", virsh(at, "vcpuinfo", record.id))
    return guest.tuning or Tuning(), guest.live, {int(vcpu): mask for vcpu, mask in told}


def moved(two: HostUnderTest, record: Record, fit: Fit | None) -> Record:
    last = ticks("kvm1", record)[-1]
    (done,) = follow(two, given(record, fit))
    assert not done.get("failed"), done["message"]
    after = Record.from_json(done["record"])
    assert (after.fit, after.marks) == (fit, {})
    assert wait(lambda: ticks("kvm2", record))[0] >= last
    assert "boots" not in console("kvm2", record)
    return after


@pytest.mark.parametrize("pool", ["local", "shared"])
def test_its_cores_are_those_that_the_destination_gives_it(two: HostUnderTest, pool: str) -> None:
    record = made(two, "db1", CROSSED, pool)
    assert lies("kvm1", record) == (Tuning.of(CROSSED), None, {0: "-y", 1: "y-"})
    # A vCPU that was moved by hand runs there on the core that it is given.
    virsh("kvm1", "vcpupin", record.id, "0", "0", "--live")
    moved(two, record, STRAIGHT)
    assert lies("kvm2", record) == (Tuning.of(STRAIGHT), None, {0: "y-", 1: "-y"})
    gone_from(two, record)


@pytest.mark.parametrize(("before", "after"), [((0,), (1,)), ((0,), None), (None, (1,))])
def test_one_that_floats_floats_on_the_cpus_that_are_shared_there(
    two: HostUnderTest, before: tuple[int, ...] | None, after: tuple[int, ...] | None
) -> None:
    had, gets = (None if cpus is None else Fit(cpus=cpus) for cpus in (before, after))
    record = made(two, "web1", had)
    moved(two, record, gets)
    mask = "yy" if after is None else "-y"
    assert lies("kvm2", record) == (Tuning.of(gets), None, {0: mask, 1: mask})
    gone_from(two, record)


def test_what_the_destination_has_not_is_refused_and_nothing_is_touched(two: HostUnderTest) -> None:
    record = made(two, "db2", CROSSED)
    before = virsh("kvm1", "dumpxml", record.id)
    told = sentence(follow(two, given(record, on_cores(0, 900))))
    assert "it would be given CPU 900 there, which is not online" in told
    told = sentence(follow(two, given(record, Fit((FitCell(0, 0, (0, 1), 128, cpus=(0, 1)),), emulator_cpus=(0, 1)))))
    assert (
        "its NUMA cells as it runs (vCPU 0 with 64 MiB; vCPU 1 with 64 MiB) are not those that it would have there "
        "(vCPU 0-1 with 128 MiB), and a guest keeps its own as long as it runs: move it cold, with live: false"
    ) in told
    told = sentence(follow(two, given(record, None)))
    assert "are not those that it would have there (none)" in told
    assert virsh("kvm1", "dumpxml", record.id) == before
    still_here(two, record)


def test_one_that_can_not_start_there_keeps_its_own_cores(two: HostUnderTest) -> None:
    """The destination has no such cell, which only its QEMU finds: all has been made there, and goes again."""
    record = made(two, "db3", CROSSED, "local")
    (failed,) = follow(two, given(record, on_cores(0, 1, cell=7)))
    assert (failed["failed"], failed["told"]["migration"]["status"]) == (True, "failed"), failed
    assert "it is on kvm1 as before" in failed["message"]
    assert lies("kvm1", record) == (Tuning.of(CROSSED), None, {0: "-y", 1: "y-"})
    still_here(two, record)


def test_a_move_whose_worker_was_killed_ends_on_the_cores_that_were_given(two: HostUnderTest) -> None:
    """Whoever comes next finds them in the record that is on its way, and, as long as nothing of the guest is there, in
    the mark of the one at its source."""
    record = made(two, "db4", CROSSED, user_data=DIRTY)
    wait(lambda: "dirty" in console("kvm1", record))
    asked = given(record, STRAIGHT, bandwidth=8, timeout=2, timeout_action="pause")
    # What is left of it then is its memory as it stands still, and comes to an end without the worker.
    wait(lambda: two.run(asked)[-1].get("told", {}).get("progress", {}).get("phase") == "paused")
    (server,) = two.look()["servers"]
    here = Record.from_json(server["record"])
    mark = move_of(here)
    assert mark is not None
    assert (here.fit, mark.fit) == (CROSSED, STRAIGHT)
    journal = json.loads(lab("exec", "kvm1", "cat", f"{STATE}/moves/{record.id}.json"))
    lab("exec", "kvm1", "kill", "-9", str(journal["pid"]))
    (done,) = follow(two, end_move(record))
    assert not done.get("failed"), done
    assert (done["told"]["migration"]["id"], done["told"]["migration"]["status"]) == (
        asked["options"]["migration"],
        "completed",
    )
    assert Record.from_json(done["record"]).fit == STRAIGHT
    assert lies("kvm2", record) == (Tuning.of(STRAIGHT), None, {0: "y-", 1: "-y"})
    gone_from(two, record)


@contextlib.contextmanager
def hook(script: str) -> Iterator[None]:
    """What libvirt on kvm2 asks before it takes a guest: it may write its XML anew."""
    file = "/etc/libvirt/hooks/qemu"
    lab("exec", "kvm2", "sh", "-c", f"mkdir -p /etc/libvirt/hooks && cat >{file} && chmod +x {file}", stdin=script)
    lab("crash", "kvm2")
    lab("restart", "kvm2")
    try:
        yield
    finally:
        lab("exec", "kvm2", "rm", file)
        lab("crash", "kvm2")
        lab("restart", "kvm2")


def test_one_that_arrives_on_others_cores_is_a_failure_that_says_so(two: HostUnderTest) -> None:
    record = made(two, "db5", CROSSED)
    with hook(
        """#!/bin/sh\n[ "$2" = migrate ] && sed "s/vcpupin vcpu='0' cpuset='0'/vcpupin vcpu='0' cpuset='1'/"\n:\n"""
    ):
        (done,) = follow(two, given(record, STRAIGHT))
    assert done["failed"], done
    assert (
        "server 'db5' is on kvm2 now, and doesn't lie there as it was given: "
        "its vCPUs are pinned 0 on 1, 1 on 1, emulator on 0-1, not 0 on 0, 1 on 1, emulator on 0-1. "
        "The reconcile playbook pins it back"
    ) in done["message"]
    # Its move is over all the same, and whoever asks knows where it is.
    assert (done["told"]["migration"]["status"], done["told"]["migration"]["host"]) == ("completed", "kvm2")
    after = Record.from_json(done["record"])
    assert (after.fit, after.marks) == (STRAIGHT, {})
    ok(HostUnderTest(two.image, "kvm2").run(step("pin", after, after.generation)))
    assert lies("kvm2", record) == (Tuning.of(STRAIGHT), None, {0: "y-", 1: "-y"})
    gone_from(two, record)


@contextlib.contextmanager
def huge_pages(count: int) -> Iterator[None]:
    """Set aside by the machine as long as the test takes, and mounted on both hosts before their libvirtd starts."""
    before = HUGE.read_text()
    HUGE.write_text(str(int(before) + count))
    try:
        if int(HUGE.read_text()) < int(before) + count:
            pytest.skip("the machine can't set huge pages aside")
        for name in ("kvm1", "kvm2"):
            lab("exec", name, "sh", "-c", "mkdir -p /tmp/huge && mount -t hugetlbfs none /tmp/huge")
            lab("exec", name, "sh", "-c", "echo 'hugetlbfs_mount = \"/tmp/huge\"' >>/etc/libvirt/qemu.conf")
            lab("crash", name)
            lab("restart", name)
        yield
    finally:
        HUGE.write_text(before)


@pytest.mark.skipif(not os.access(HUGE, os.W_OK), reason="needs huge pages")
def test_its_pages_stay_as_large_and_must_be_free_there(two: HostUnderTest) -> None:
    before, after = (on_cores(*cores, page_size=2048) for cores in ((1, 0), (0, 1)))
    # The hosts of the lab have their pages of one machine, each guest takes 64.
    with huge_pages(140):
        record = made(two, "db6", before)
        virsh("kvm1", "dumpxml", record.id)
        moved(two, record, after)
        assert lies("kvm2", record)[:2] == (Tuning.of(after), None)
        assert "<page size='2048' unit='KiB' nodeset='0'/>" in virsh("kvm2", "dumpxml", record.id)
        gone_from(two, record)
    with huge_pages(70):
        record = made(two, "db7", before)
        told = sentence(follow(two, given(record, after)))
        assert re.search(r"its memory takes 64 pages of 2048 KiB on cell 0 there, and \d+ are free", told)
        ok(two.run(step("delete", record, 1)))
    assert not [name for name in volumes("kvm2", "shared") if name.startswith(record.id)]
