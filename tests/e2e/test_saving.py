# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots, shelving, rescue and rebuild, asked for and declared: a guest's disk, MAC and address go through them."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import Run
from tests.support.world import Domain


def act(fleet: Fleet, action: str, server: str = "a", **options: t.Any) -> Run:
    """The playbook action, as a person calls it."""
    given: dict[str, t.Any] = {"fleet_action_options": options} if options else {}
    return fleet.run("action", fleet_server=server, fleet_action=action, **given)


def told(run: Run) -> dict[str, t.Any]:
    (result,) = run.results("Carry out the action").values()
    return result


def refused(run: Run) -> str:
    """What an action was refused with."""
    assert run.rc != 0, str(run)
    (result,) = run.results("Plan the action").values()
    return str(result["msg"])


def same(before: Domain, after: Domain) -> bool:
    return (before.id, macs(before), before.addresses) == (after.id, macs(after), after.addresses)


def macs(domain: Domain) -> list[str]:
    return re.findall(r"<mac address='(.*?)'", domain.xml)


@pytest.mark.soak
def test_a_snapshot_is_an_image_of_the_fleet(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "tick 1")
    before = fleet.look().server("a")
    run = act(fleet, "snapshot", name="golden").ok()
    assert "a: snapshot 'golden' made: " in run.stdout
    done = told(run)
    assert done["details"]["snapshot"]["complete"]
    assert done["details"]["consistency"] == "crash-consistent"
    assert fleet.look().server("a") == before
    assert "has an image 'golden' already" in refused(act(fleet, "snapshot", name="golden"))
    assert "needs the options backup_type" in refused(act(fleet, "backup"))
    # Back to the snapshot.
    act(fleet, "rebuild", image="golden").ok()
    fleet.console("a", "boots=2")
    assert same(before, fleet.look().server("a"))
    assert fleet.reconcile().held("a") == [("rebuild", "rebuild")]


def slowed(fleet: Fleet, bytes_a_second: int) -> bool:
    """Have QEMU copy the disk of ``a`` no faster (0: as fast as it can); whether it copies at all."""

    def ask(**command: t.Any) -> t.Any:
        return json.loads(fleet.lab.virsh("kvm1", "qemu-monitor-command", "a", json.dumps(command)))["return"]

    jobs = [job["device"] for job in ask(execute="query-block-jobs")]
    for job in jobs:
        ask(execute="block-job-set-speed", arguments={"device": job, "speed": bytes_a_second})
    return bool(jobs)


@pytest.mark.soak
def test_a_snapshot_prints_how_far_it_is_and_then_its_size_and_its_time(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1", state="stopped")
    fleet.reconcile()
    server = fleet.look().server("a")
    path = f"/var/lib/libvirt/pools/local/{server.disk('root')[1]}"
    # Enough for the copy to be found at its work.
    fleet.lab.ok("exec", "kvm1", "qemu-io", "-f", "qcow2", "-c", "write -P 9 200M 600M", path)
    fleet.declare("a", state="active")
    fleet.reconcile()
    options: dict[str, t.Any] = {"fleet_action_options": {"name": "large"}}
    running = fleet.start("action", fleet_server="a", fleet_action="snapshot", **options)
    until(lambda: slowed(fleet, 1024**2), "QEMU to copy the disk", timeout=120)
    far = r"a: snapshot: (\d+) of (\d+) MiB \((\d+) %\), \d+ s"

    def seen() -> list[tuple[str, ...]]:
        return [found for event in running.events for found in re.findall(far, event["stdout"])]

    until(lambda: len(seen()) >= 2, lambda: f"the run to say how far it is, twice; it has: {seen()}", timeout=120)
    assert slowed(fleet, 0)
    run = running.wait().ok()
    done = [tuple(map(int, line)) for line in seen()]
    assert done == sorted(done)
    assert all(copied <= total and abs(percent - 100 * copied / total) < 2 for copied, total, percent in done)
    made = re.search(r"a: snapshot 'large' made: (\d+) MiB in (\d+\.\d) s, crash-consistent", run.stdout)
    assert made, str(run)
    details = told(run)["details"]
    assert (int(made[1]), float(made[2])) == (round(details["snapshot"]["size"] / 1024**2), details["seconds"])
    assert details["snapshot"]["size"] > 600 * 1024**2
    assert details["seconds"] > 8  # it was told twice, each after four seconds


@pytest.mark.soak
def test_servers_from_a_snapshot_are_where_it_is(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "tick 1")
    before = fleet.look().server("a")
    act(fleet, "snapshot", name="golden").ok()
    fleet.declare("b", image="golden")
    fleet.reconcile()
    fleet.console("b", "boots=2")
    assert fleet.look().server("b").host == "kvm1"
    # The image is brought into another pool of the host; on another host it is refused.
    fleet.declare("c", image="golden", pool="shared", state="stopped")
    fleet.declare("d", image="golden", host="kvm2")
    run = fleet.run()
    assert run.rc != 0
    assert fleet.look().states == {"a": "running", "b": "running", "c": "shutoff"}
    del fleet.servers["d"]
    # Back to the snapshot, and to the image that inventory declares.
    act(fleet, "rebuild", image="golden").ok()
    fleet.console("a", "boots=2")
    assert same(before, fleet.look().server("a"))
    fleet.reconcile(fleet_allow="rebuild")
    fleet.console("a", "boots=1")
    assert same(before, fleet.whole().server("a"))
    for day, kept in ((1, {"d1"}), (2, {"d1", "d2"}), (3, {"d2", "d3"})):
        act(fleet, "backup", name=f"d{day}", backup_type="daily", rotation=2).ok()
        assert set(fleet.ledger.catalog("image")) == {"golden", *kept}
    # Back to a backup, which is an image as a snapshot is; one that was rotated away is none.
    assert "d1" in refused(act(fleet, "rebuild", image="d1"))
    act(fleet, "rebuild", image="d2").ok()
    fleet.console("a", "boots=2")
    assert same(before, fleet.look().server("a"))


@pytest.mark.soak
def test_a_shelved_server_keeps_its_disk_and_its_address(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1", pool="shared")
    fleet.declare("b", host="kvm1", state="stopped")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    act(fleet, "shelve").ok()
    assert set(fleet.look().servers) == {"b"}
    assert fleet.look().volumes(before.id) == {("shared", f"{before.id}-shelved")}
    (row,) = [row for row in fleet.snapshot.servers.values() if row.name == "a"]
    assert (row.id, row.vm_state) == (before.id, "shelved_offloaded")
    assert "while it is in vm_state shelved_offloaded" in refused(act(fleet, "start"))
    act(fleet, "lock", reason="kept").ok()
    assert refused(act(fleet, "unshelve")) == f"Instance {before.id} is locked (by root: kept)"
    act(fleet, "unlock").ok()
    assert fleet.look().volumes(before.id) == {("shared", f"{before.id}-shelved")}
    # It goes where there is room, and the pool: its first host takes nobody.
    fleet.computes["kvm1"] = {"compute_state": "disabled"}
    fleet.declare("a", host="kvm2")
    act(fleet, "unshelve").ok()
    fleet.console("a", "boots=2")
    after = fleet.look().server("a")
    assert after.host == "kvm2"
    assert same(before, after)
    del fleet.computes["kvm1"]
    fleet.whole()


@pytest.mark.soak
def test_shelved_as_declared_and_by_a_run_that_could_not_say_so(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1", pool="shared")
    fleet.declare("b", host="kvm1", state="stopped")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    fleet.declare("a", host="kvm2")
    # It died before it could say in the ledger that it shelved the server: the host knows it.
    ledger = {file: file.read_bytes() for file in fleet.folder.glob("fleet.db*")}
    act(fleet, "shelve").ok()
    for file in fleet.folder.glob("fleet.db*"):
        file.unlink()
    for file, content in ledger.items():
        file.write_bytes(content)
    assert fleet.reconcile().steps("a") == ["unshelve", "update", "start", "tidy"]  # its pin is another now
    fleet.console("a", "boots=2")
    fleet.whole()
    # Declared; the second run has nothing to do.
    fleet.declare("a", state="shelved")
    fleet.declare("b", state="shelved")
    fleet.reconcile()
    assert fleet.look().servers == {}
    assert fleet.reconcile().all_steps == {}
    fleet.declare("a", state="active")
    fleet.declare("b", state="stopped")
    fleet.reconcile()
    fleet.console("a", "boots=3")
    assert same(before, fleet.whole().server("a"))
    assert fleet.reconcile().all_steps == {}
    fleet.declare("a", state="shelved")
    fleet.reconcile()
    fleet.declare("a", state="absent")
    fleet.reconcile(fleet_allow="delete")
    assert fleet.whole().volumes(before.id) == set()


@pytest.mark.soak
def test_rescue_asked_for_and_declared(fleet: Fleet) -> None:
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "boots=1")
    before = fleet.look().server("a")
    act(fleet, "rescue").ok()
    fleet.console("a", "disks=vda:33554432,vdb:1073741824")
    assert fleet.reconcile().all_steps == {}  # somebody is at it
    assert "while it is in vm_state rescued" in refused(act(fleet, "stop"))
    act(fleet, "unrescue").ok()
    fleet.console("a", "disks=vda:1073741824")
    assert same(before, fleet.whole().server("a"))
    fleet.declare("a", rescue="tick")
    fleet.reconcile()
    fleet.console("a", "disks=vda:33554432,vdb:1073741824")
    assert fleet.reconcile().all_steps == {}
    fleet.declare("a", rescue=False, state="stopped")
    fleet.reconcile()
    assert fleet.whole().server("a").state == "shutoff"
    assert fleet.reconcile().all_steps == {}
