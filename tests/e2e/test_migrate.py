# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers moved while they run: asked for, refused, aborted, and with their run killed."""

from __future__ import annotations

import os
import re
import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.pinging import Pinging
from tests.support.runs import Run

#: A guest that writes to its memory faster than 4 MiB/s carry it away.
DIRTY = """#!/bin/sh
# flotilla-guest: run
mkdir -p /dirty && mount -t tmpfs -o size=40m none /dirty
while :; do dd if=/dev/urandom of=/dirty/a bs=1M count=16 2>/dev/null; echo dirty; done
"""


def migrate(fleet: Fleet, host: str | None = None, **options: object) -> Run:
    if host is None:
        return fleet.run("migrate", fleet_server="a", fleet_action_options=options)
    return fleet.run("migrate", fleet_server="a", fleet_host=host, fleet_action_options=options)


def ticks(fleet: Fleet, host: str, server_id: str) -> list[int]:
    return [int(tick) for tick in re.findall(r"^tick (\d+)\s*$", fleet.lab.console(host, server_id), re.MULTILINE)]


def journal(fleet: Fleet) -> list[tuple[str, str, str | None, str]]:
    return [(row.kind, row.source, row.destination, row.status) for row in fleet.ledger.migrations()]


def place(fleet: Fleet) -> tuple[str | None, str, str | None]:
    (row,) = fleet.snapshot.servers.values()
    return row.host, row.vm_state, row.task_state


def test_a_cold_move_that_is_taken_back_has_failed_with_its_cause_and_claims_nothing(fleet: Fleet) -> None:
    """Right after the run that failed: no other has looked since."""
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    del fleet.servers["a"]["server_host"]
    fleet.console("a", "tick 1", timeout=180)
    before = fleet.look().server("a")
    assert before.record is not None
    # kvm2 has no image yet, and gets none that isn't the one whose checksum the server's record has.
    image = fleet.lab.pool("local", "kvm1") / f"image-{before.record['image']['checksum'].removeprefix('sha256:')}"
    whole = image.stat().st_size
    with image.open("ab") as file:  # the guest reads from it
        file.write(b"more")
    failed = migrate(fleet, "kvm2", live=False).failed()
    moved = failed.results("Move the server")["kvm1"]
    assert moved["steps"] == ["stop", "migrate"]
    (row,) = fleet.ledger.migrations()
    assert (row.kind, row.source, row.destination, row.status) == ("migration", "kvm1", "kvm2", "failed")
    assert row.cause is not None
    assert row.cause.startswith("image 'tick': its checksum should be sha256:")
    assert row.cause.endswith("; it runs again as before")
    assert row.cause in failed.message
    assert fleet.snapshot.claims == {}
    assert place(fleet) == ("kvm1", "active", None)
    after = fleet.look().server("a")
    assert (after.host, after.state, after.record) == ("kvm1", "running", before.record)
    os.truncate(image, whole)
    fleet.console("a", "boots=2", timeout=180)
    migrate(fleet, "kvm2", live=False, confirm=True).ok()
    assert [(row.status, row.cause is None) for row in fleet.ledger.migrations()] == [
        ("failed", False),
        ("confirmed", True),
    ]
    assert fleet.whole().server("a").host == "kvm2"


# Not in every run: emulated guests that write all the time have crashed at their new host now and then.
@pytest.mark.soak
def test_moved_while_it_runs(fleet: Fleet) -> None:
    fleet.all["fleet_flavors"]["tiny"].update(ephemeral=1, swap=64)
    fleet.declare("a", user_data=DIRTY)
    fleet.computes["kvm2"]["compute_state"] = fleet.computes["kvm3"]["compute_state"] = "disabled"
    fleet.reconcile()
    fleet.console("a", "dirty", timeout=180)
    fleet.computes["kvm2"]["compute_state"] = "enabled"
    before = fleet.look().server("a")
    same = migrate(fleet, "kvm1").failed()
    assert "Cannot migrate to the host where the server exists." in same.message
    shown = fleet.run("migrate", "--check", "--diff", fleet_server="a", fleet_host="kvm2").ok()
    assert "live_migrate from kvm1 to kvm2" in shown.stdout
    assert shown.stdout.count("  machine and CPU: nothing stands against it") == 1
    assert fleet.look().server("a") == before
    late = migrate(fleet, "kvm2", bandwidth=4, timeout=10).failed()
    assert re.search(r"a: live_migrate: \d+ of \d+ MiB .*MiB left at", late.stdout)
    assert "it took more than 10 s; it is on kvm1 as before" in late.message
    still = fleet.whole().server("a")
    assert (still.host, still.state, still.record) == (before.host, before.state, before.record)
    assert journal(fleet) == [("live-migration", "kvm1", "kvm2", "cancelled")]
    last = ticks(fleet, "kvm1", before.id)[-1]
    # The scheduler's choice is the only host that is left.
    done = migrate(fleet).ok()
    after = fleet.whole().server("a")
    assert (after.host, after.state, place(fleet)) == ("kvm2", "running", ("kvm2", "active", None))
    moved = done.results("Move the server")["kvm1"]["migration"]
    assert f"a is on kvm2: moved live in {moved['total_time'] / 1000:.1f} s, stood still for" in done.stdout
    assert (moved["status"], moved["downtime"] > 0, moved["iterations"] > 0) == ("completed", True, True)
    until(lambda: bool(ticks(fleet, "kvm2", before.id)), "the guest to tick at its new host")
    assert ticks(fleet, "kvm2", before.id)[0] - ticks(fleet, "kvm1", before.id)[-1] in (0, 1)
    assert ticks(fleet, "kvm2", before.id)[0] > last
    fleet.computes["kvm2"]["compute_state"] = "enabled"
    assert fleet.reconcile().all_steps == {}


@pytest.mark.soak
def test_a_ping_is_answered_all_the_way(fleet: Fleet) -> None:
    """The guest announces itself at its new host: frames to it go there at once. It has the CPU that all hosts give."""
    fleet.all.update(next(iter(fleet.run("cpu_model").ok().results("Show it").values()))["msg"])
    fleet.declare("a", pool="shared", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "tick 2", timeout=180)
    server = fleet.look().server("a")
    assert f">{fleet.all['fleet_cpu_model']['model']}</model>" in server.xml
    (address, *_others) = server.addresses
    with Pinging(address) as ping:
        until(lambda: bool(ping.answers), "the guest to answer its first ping")
        ping.began = ping.answers[0]
        del fleet.servers["a"]["server_host"]
        migrate(fleet, "kvm2").ok()
        arrived = len(ping.answers)
        until(lambda: len(ping.answers) > arrived, "the guest to answer at its new host")
    print(f"longest time without an answer: {1000 * ping.longest:.0f} ms of {len(ping.answers)} answers")
    assert fleet.look().server("a").host == "kvm2"
    assert ping.longest <= 1.0


@pytest.mark.soak
def test_a_cold_move_is_looked_at_before_the_guest_is_shut_down(fleet: Fleet) -> None:
    """Each check is a line in check mode; what stands against the move refuses it while the guest runs."""
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    del fleet.servers["a"]["server_host"]
    fleet.console("a", "tick 1", timeout=180)
    before = fleet.look().server("a")
    options = {"live": False, "confirm": True}
    asked: dict[str, t.Any] = {"fleet_server": "a", "fleet_host": "kvm2", "fleet_action_options": options}
    shown = fleet.run("migrate", "--check", **asked).ok()
    looks = (
        "destination",
        "name",
        "machine and CPU",
        "devices",
        "cores and cells",
        "networks",
        "filters",
        "job",
        "disks",
    )
    for what in looks:
        assert f"  {what}: nothing stands against it\n" in shown.stdout
    fleet.lab.ok("exec", "kvm2", "virsh", "vol-create-as", "local", f"{before.id}-root", "4096")
    why = f"it has volumes in pool 'local' of the other host already ({before.id}-root): look what is in them"
    refused = fleet.run("migrate", "--check", **asked).failed()
    assert f"  disks: {why}" in refused.stdout
    late = fleet.run("migrate", **asked).failed()
    assert f"server 'a' can't be moved to kvm2: {why}" in late.message
    assert ticks(fleet, "kvm1", before.id)
    after = fleet.look().server("a")
    assert (after.host, after.state, after.record) == (before.host, "running", before.record)
    assert "boots=2" not in fleet.lab.console("kvm1", before.id)
    fleet.lab.ok("exec", "kvm2", "virsh", "vol-delete", f"{before.id}-root", "local")
    fleet.run("migrate", **asked).ok()
    assert fleet.whole().server("a").host == "kvm2"


def capabilities(fleet: Fleet, host: str, server_id: str) -> set[str]:
    """What QEMU has switched on for its migration."""
    said = fleet.lab.virsh_inside(host, "qemu-monitor-command", server_id, "--hmp", "info migrate_capabilities")
    return set(re.findall(r"^(\S+): on\s*$", said, re.MULTILINE))


@pytest.mark.soak
def test_moved_as_it_is_asked_for(fleet: Fleet) -> None:
    """On several connections, slowed down, not waited for, and switched to post-copy by hand; with its disk. It starts
    with its host, but for as long as it is on its way: a host that dies then must not start what may be elsewhere."""
    fleet.declare("a", host="kvm1", autostart=True)
    fleet.reconcile()
    fleet.reconcile()  # a host that is enrolled in the same run is not known to have its disks for itself
    del fleet.servers["a"]["server_host"]
    assert fleet.look().server("a").autostart
    fleet.console("a", "tick 1", timeout=180)
    server = fleet.look().server("a")
    (address, *_others) = server.addresses
    with Pinging(address) as ping:
        until(lambda: bool(ping.answers), "the guest to answer its first ping")
        ping.began = ping.answers[0]
        migrate(fleet, "kvm2").ok()
        arrived = len(ping.answers)
        until(lambda: len(ping.answers) > arrived, "the guest to answer at its new host")
    print(f"longest time without an answer: {1000 * ping.longest:.0f} ms of {len(ping.answers)} answers")
    assert ping.longest <= 1.0

    # From here on slowly, so that QEMU can be asked. An emulated guest that takes many passes may hang at its new host
    # (QEMU 7.2; `virsh migrate` with the same bandwidth and downtime does it, too), so nothing is asked of the guest.
    asked = {"parallel": 2, "auto_converge": True, "bandwidth": 8}
    running = fleet.start("migrate", fleet_server="a", fleet_host="kvm1", fleet_action_options=asked)
    until(lambda: any("a: live_migrate: " in event["stdout"] for event in running.events), "it to be under way", 90)
    assert {"multifd", "auto-converge"} <= capabilities(fleet, "kvm2", server.id)
    assert re.search(r"Autostart: +disable", fleet.lab.virsh_inside("kvm2", "dominfo", server.id))
    running.wait().ok()
    assert (fleet.whole().server("a").host, place(fleet)) == ("kvm1", ("kvm1", "active", None))
    assert fleet.look().server("a").autostart

    begun = migrate(fleet, "kvm2", bandwidth=8, wait=False).ok()
    assert begun.results("Move the server")["kvm1"]["server"]["host"] == "kvm1"
    assert journal(fleet)[-1] == ("live-migration", "kvm1", "kvm2", "running")
    assert not {"multifd", "auto-converge"} & capabilities(fleet, "kvm1", server.id)
    fleet.reconcile()
    assert (fleet.whole().server("a").host, place(fleet)) == ("kvm2", ("kvm2", "active", None))
    assert journal(fleet)[-1] == ("live-migration", "kvm1", "kvm2", "completed")

    slow = {"post_copy": True, "bandwidth": 4}
    running = fleet.start("migrate", fleet_server="a", fleet_host="kvm1", fleet_action_options=slow)
    until(lambda: any("MiB left at" in event["stdout"] for event in running.events), "its memory to be sent", 90)
    assert "postcopy-ram" in capabilities(fleet, "kvm2", server.id)
    fleet.lab.virsh_inside("kvm2", "migrate-postcopy", server.id)
    moved = running.wait().ok().results("Move the server")["kvm2"]["migration"]
    assert (moved["status"], moved["downtime"]) == ("completed", None)
    assert (fleet.whole().server("a").host, place(fleet)) == ("kvm1", ("kvm1", "active", None))


@pytest.mark.soak
def test_killed_on_its_way(fleet: Fleet) -> None:
    """The run is killed, and the move goes on; the next run attaches to it."""
    fleet.declare("a", user_data=DIRTY, host="kvm2")
    fleet.reconcile()
    fleet.console("a", "dirty", timeout=180)
    del fleet.servers["a"]["server_host"]
    fleet.reconcile()
    running = fleet.start(
        "migrate",
        fleet_server="a",
        fleet_host="kvm1",
        fleet_action_options={"bandwidth": 6, "timeout": 6, "timeout_action": "pause"},
    )
    until(lambda: any("live_migrate: " in event["stdout"] for event in running.events), "the migration to be shown", 90)
    running.kill()
    running.wait()
    # The next run finds its move, and sees it to its end.
    ended = fleet.reconcile()
    assert ended.steps("a") == ["end_move"]
    after = fleet.whole().server("a")
    assert (after.host, after.state, place(fleet)) == ("kvm1", "running", ("kvm1", "active", None))
    assert journal(fleet)[-1] == ("live-migration", "kvm2", "kvm1", "completed")
    assert fleet.reconcile().all_steps == {}
