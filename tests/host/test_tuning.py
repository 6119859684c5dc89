# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cores, NUMA cells and huge pages on a real host: what libvirt makes of them, and what a survey finds of it.

The machine of the tests has one NUMA cell; hosts of several, and PCI devices, are tested with libvirt's test driver.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing as t
from pathlib import Path

import pytest
from tests.host.guests import HostUnderTest, create, host, lab, nothing_stays, ok, step, virsh

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.guest_xml import guest_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning

__all__ = ["host", "nothing_stays"]  # fixtures

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="pins on two CPUs need two")

TWO = Flavor("pinned", 2, 128, 1)
HUGE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
#: Two cells of the guest on the host's one, each vCPU on a core of its own.
CROSSED = Fit(
    (FitCell(0, 0, (0,), 64, pinning={0: 1}), FitCell(1, 0, (1,), 64, pinning={1: 0})),
    emulator_cpus=(0, 1),
)


def guest(name: str) -> Guest:
    """As a survey reads it."""
    xml = virsh("dumpxml", "--inactive", name)
    options: dict[str, t.Any] = {"state": "running", "persistent": True, "autostart": False, "managed_save": False}
    return guest_of(xml, **options, locations={}, live=lambda: virsh("dumpxml", name))


def affinity(name: str) -> dict[int, str]:
    """The CPUs that each vCPU may run on, as the kernel has it."""
    told = virsh("vcpuinfo", name)
    cpus = re.findall(r"VCPU:\s+(\d+)\n(?:.*\n)*?CPU Affinity:\s+([y-]+)", told)
    return {int(vcpu): mask for vcpu, mask in cpus}


def made(host: HostUnderTest, name: str, fit: Fit | None, flavor: Flavor = TWO) -> Record:
    record = dataclasses.replace(host.new(name, flavor=flavor), fit=fit)
    ok(host.run(create(record), step("start", record, 1), record=record))
    return record


def test_a_guest_lies_where_its_fit_says_is_put_back_there_and_lies_otherwise_by_another(host: HostUnderTest) -> None:
    record = made(host, "db1", CROSSED)
    assert affinity("db1") == {0: "-y", 1: "y-"}
    found = guest("db1")
    assert (found.tuning, found.live) == (Tuning.of(CROSSED), None)
    assert found.record is not None
    assert found.record.fit == CROSSED
    assert "<memory mode='strict' nodeset='0'/>" in virsh("dumpxml", "db1")
    host.console(record, "tick 1")

    # Somebody moves one vCPU of the running guest, and the emulator's threads of its next start.
    virsh("vcpupin", "db1", "0", "0", "--live")
    virsh("emulatorpin", "db1", "1", "--config")
    assert affinity("db1") == {0: "y-", 1: "y-"}
    astray = guest("db1")
    assert (astray.tuning, astray.live) != (Tuning.of(CROSSED), None)
    assert ok(host.run(step("pin", record, 1))) == [("pin", True, "running")]
    assert affinity("db1") == {0: "-y", 1: "y-"}
    assert (guest("db1").tuning, guest("db1").live) == (Tuning.of(CROSSED), None)
    assert ok(host.run(step("pin", record, 1))) == [("pin", False, "running")]
    host.console(record, r"tick 1\n(?:.*\n)*tick 2")

    for generation, fit in enumerate((Fit(cpus=(1,)), None), start=2):
        after = dataclasses.replace(record, generation=generation, fit=fit)
        down = step("stop", record, generation - 1, timeout=0)
        ok(host.run(down, step("reconfigure", record, generation - 1, to=after), step("start", after, generation)))
        assert affinity("db1") == dict.fromkeys((0, 1), "-y" if fit else "yy")
        assert (guest("db1").tuning or Tuning(), guest("db1").live) == (Tuning.of(fit), None)
    assert not re.search("<(cputune|numatune|numa)>", virsh("dumpxml", "--inactive", "db1"))


@contextlib.contextmanager
def huge_pages(count: int) -> t.Iterator[None]:
    """Set aside by the machine for as long as the test takes, and mounted on kvm1 before its libvirtd starts."""
    before = HUGE.read_text()
    HUGE.write_text(str(int(before) + count))
    try:
        if int(HUGE.read_text()) < int(before) + count:
            pytest.skip("the machine can't set huge pages aside")
        lab("exec", "kvm1", "sh", "-c", "mkdir -p /tmp/huge && mount -t hugetlbfs none /tmp/huge")
        lab("exec", "kvm1", "sh", "-c", "echo 'hugetlbfs_mount = \"/tmp/huge\"' >>/etc/libvirt/qemu.conf")
        lab("crash", "kvm1")
        lab("restart", "kvm1")
        yield
    finally:
        HUGE.write_text(before)


@pytest.mark.skipif(not os.access(HUGE, os.W_OK), reason="needs huge pages")
def test_a_guest_on_huge_pages(host: HostUnderTest) -> None:
    fit = Fit((FitCell(0, 0, (0, 1), 128, 2048, cpus=(0, 1)),), emulator_cpus=(0, 1))
    with huge_pages(70):
        record = made(host, "db1", fit)
        assert "<page size='2048' unit='KiB' nodeset='0'/>" in virsh("dumpxml", "db1")
        assert (guest("db1").tuning, guest("db1").live) == (Tuning.of(fit), None)
        free = virsh("freepages", "--cellno", "0", "--pagesize", "2048")
        assert int(free.split(":")[1]) <= 70 - 64
        ok(host.run(step("delete", record, 1)))
