# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resize asked for and declared: VERIFY_RESIZE, there and back, with what the guest has written; and as it runs."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import typing as t

import pytest
from tests.e2e.test_saving import act, refused, same, told
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until

GIB = 1024**3


def journal(fleet: Fleet) -> list[tuple[str, str, str | None, str]]:
    return [(row.kind, row.source, row.destination, row.status) for row in fleet.ledger.migrations()]


def flavor(fleet: Fleet) -> tuple[str, t.Any]:
    record = fleet.look().server("a").record
    assert record is not None
    return record["flavor"]["name"], record["marks"]


#: Puts what is plugged in to use, as udev does in a larger guest, and says each second what there is.
USES_ALL = """#!/bin/sh
# flotilla-guest: run
PATH=/bin
while :; do
    for one in /sys/devices/system/cpu/cpu*/online /sys/devices/system/memory/memory*/online; do
        [ "$(cat "$one")" != 0 ] || echo 1 > "$one"
    done
    echo "now vcpus=$(nproc) memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
    sleep 1
done
"""


def with_processors(fleet: Fleet) -> dict[str, str]:
    """The lab's image, with a kernel that can use a second processor: it boots without for the sake of speed."""
    raw, image = fleet.folder / "smp.raw", fleet.folder / "smp.qcow2"
    partition = f"{raw}@@1M"
    ran("qemu-img", "convert", "-O", "raw", str(fleet.all["fleet_images"]["tick"]["file"]), str(raw))
    config = ran("mtype", "-i", partition, "::syslinux.cfg")
    assert "acpi=noirq" in config
    ran("mcopy", "-o", "-i", partition, "-", "::syslinux.cfg", stdin=config.replace("acpi=noirq", ""))
    ran("qemu-img", "convert", "-O", "qcow2", str(raw), str(image))
    checksum = hashlib.sha256(image.read_bytes()).hexdigest()
    return {"file": str(image), "format": "qcow2", "checksum": f"sha256:{checksum}"}


def ran(*command: str, stdin: str = "") -> str:
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run(command, input=stdin, env=env, check=True, capture_output=True, text=True).stdout


def test_grown_while_it_runs_and_held_where_that_is_not_enough(fleet: Fleet) -> None:
    fleet.all["fleet_flavors"]["large"] = {"vcpus": 2, "ram": 256, "disk": 1}
    fleet.all["fleet_flavors"]["wide"] = {"vcpus": 4, "ram": 256, "disk": 1}
    fleet.all["fleet_images"]["smp"] = with_processors(fleet)
    fleet.declare("a", host="kvm1", image="smp", resize="live", resize_max={"vcpus": 3}, user_data=USES_ALL)
    fleet.reconcile()
    fleet.console("a", "now vcpus=1 ")
    before = fleet.look().server("a")
    fleet.declare("a", flavor="large")
    run = fleet.touching("a")
    assert run.steps("a") == ["grow"]
    assert "grow on kvm1 (declared, to flavor large: 2 vCPU and 256 MiB while it runs)" in run.text

    def sizes() -> list[tuple[int, int]]:
        said = re.findall(r"now vcpus=(\d+) memory=(\d+)", fleet.lab.console("kvm1", before.id))
        return [(int(vcpus), int(memory)) for vcpus, memory in said]

    first = sizes()[0]
    until(
        lambda: sizes()[-1][0] == 2 and sizes()[-1][1] >= first[1] + 100,
        lambda: f"the guest to have a second vCPU and twice the memory of {sizes()[0]}, now it has {sizes()[-1]}",
        timeout=90,
    )
    # It is the same boot of the same guest, and the next start gives it the same.
    assert "boots=2" not in fleet.lab.console("kvm1", before.id)
    inactive = fleet.lab.virsh("kvm1", "dumpxml", "--inactive", "a")
    assert "current='2'>3</vcpu>" in inactive
    assert "<memory unit='KiB'>262144</memory>" in inactive
    (row,) = fleet.snapshot.servers.values()
    record = fleet.look().server("a").record
    assert record is not None
    assert (record["flavor"]["name"], record["room"], row.vm_state) == (
        "large",
        {"vcpus": 3, "ram": 512, "taken": 1, "refused": None},
        "active",
    )
    fleet.declare("a", flavor="wide", resize_max={"vcpus": 4})
    held = fleet.reconcile()
    assert (held.all_steps, held.held("a")) == ({}, [("reconfigure", "restart")])
    assert "not while it runs: its domain has room for 3 vCPU and 512 MiB" in held.text


def test_resized_and_reverted(fleet: Fleet) -> None:
    fleet.all["fleet_flavors"]["large"] = {"vcpus": 2, "ram": 192, "disk": 2}
    fleet.all["fleet_flavors"]["huge"] = {"vcpus": 1, "ram": 10**6, "disk": 1}
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    assert "No valid host was found" in refused(act(fleet, "resize", flavor="huge"))
    assert fleet.look().server("a") == before
    done = told(act(fleet, "resize", flavor="large").ok())
    assert done["steps"] == ["stop", "resize", "start"]
    assert "set server_flavor: large to keep" in done["notes"][0]
    # What was written is there: the guest counts its boots on its disk.
    fleet.console("a", "boots=2")
    fleet.console("a", f"vda:{2 * GIB}")
    (row,) = fleet.snapshot.servers.values()
    assert (row.vm_state, journal(fleet)) == ("resized", [("resize", "kvm1", "kvm1", "finished")])
    assert fleet.reconcile().all_steps == {}  # it waits
    assert "while it is in vm_state resized" in refused(act(fleet, "stop"))
    act(fleet, "revert_resize").ok()
    fleet.console("a", "boots=3")
    assert same(before, fleet.whole().server("a"))
    assert flavor(fleet) == ("tiny", {})
    assert [status for *_more, status in journal(fleet)] == ["reverted"]
    assert fleet.reconcile().all_steps == {}


@pytest.mark.soak
def test_resized_as_declared_and_confirmed_when_its_window_is_over(fleet: Fleet) -> None:
    fleet.all["fleet_flavors"]["large"] = {"vcpus": 2, "ram": 192, "disk": 2}
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    fleet.declare("a", flavor="large", resize="verify")
    fleet.reconcile(fleet_allow="restart")
    fleet.console("a", "boots=2")
    assert fleet.reconcile().all_steps == {}
    fleet.all["fleet_resize_confirm_window"] = 1
    fleet.reconcile()
    after = fleet.whole().server("a")
    assert same(before, after)
    assert flavor(fleet) == ("large", {})
    assert [status for *_more, status in journal(fleet)] == ["confirmed"]
    assert fleet.reconcile().all_steps == {}


@pytest.mark.soak
def test_moved_to_another_host_and_back(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    assert "Cannot migrate to the host where the server exists." in refused(act(fleet, "migrate", host="kvm1"))
    done = told(act(fleet, "migrate", host="kvm2").ok())
    assert (done["steps"], done["server"]["host"]) == (["stop", "migrate", "start"], "kvm2")
    fleet.lab.wait_for("kvm2", before.id, "boots=2", times=1, timeout=90)
    (row,) = fleet.snapshot.servers.values()
    assert (row.host, row.vm_state) == ("kvm2", "resized")
    assert journal(fleet) == [("migration", "kvm1", "kvm2", "finished")]
    assert fleet.reconcile().all_steps == {}  # it waits
    assert "fleet_allow=data_loss" in refused(act(fleet, "revert_resize"))
    fleet.run("action", fleet_server="a", fleet_action="revert_resize", fleet_allow="data_loss").ok()
    fleet.console("a", "boots=2")
    assert same(before, fleet.whole().server("a"))
    assert [status for *_more, status in journal(fleet)] == ["reverted"]


@pytest.mark.soak
def test_moved_as_declared_with_leave_while_it_runs(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    fleet.declare("a", host="kvm2")
    held = fleet.reconcile(fleet_allow="restart")
    assert "migrate" not in str(held.all_steps)
    fleet.reconcile(fleet_allow="migrate")
    fleet.console("a", "tick")
    after = fleet.whole().server("a")
    assert (after.host, after.state, same(before, after)) == ("kvm2", "running", True)
    assert "boots" not in fleet.lab.console("kvm2", after.id)  # its log begins anew at each host, and it has not booted
    assert [status for *_more, status in journal(fleet)] == ["completed"]
    assert fleet.reconcile().all_steps == {}
