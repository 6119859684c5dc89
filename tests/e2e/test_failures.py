# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server's failure leaves the others done, is named with its cause at the end, and is mended by another run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab

SMALL_POOL = """\
<pool type='dir'>
  <name>small</name>
  <target><path>/var/tmp/small</path></target>
</pool>
"""


def wide(fleet: Fleet) -> dict[str, str]:
    """An image of which nobody says that it needs 2 GiB."""
    file = fleet.folder / "wide.qcow2"
    shutil.copyfile(fleet.all["fleet_images"]["tick"]["file"], file)
    subprocess.run(["qemu-img", "resize", "-q", file, "2G"], check=True)
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"file": str(file), "format": "qcow2", "checksum": f"sha256:{checksum}"}


def test_broken_images_and_too_large_servers_leave_the_others_done(fleet: Fleet) -> None:
    image = fleet.all["fleet_images"]["tick"]
    fleet.all["fleet_images"]["changed"] = {**image, "checksum": f"sha256:{'0' * 64}"}
    fleet.all["fleet_images"]["missing"] = {**image, "file": "/nowhere/at-all.qcow2", "checksum": f"sha256:{'1' * 64}"}
    fleet.all["fleet_images"]["mislabelled"] = {**image, "format": "raw"}
    fleet.all["fleet_images"]["wide"] = wide(fleet)
    fleet.all["fleet_flavors"]["huge"] = {"vcpus": 1, "ram": "1TiB", "disk": 1}
    fleet.all["fleet_flavors"]["roomy"] = {"vcpus": 1, "ram": 128, "disk": 2}
    fleet.declare("good1", "good2", state="stopped")
    fleet.declare("changed", image="changed", state="stopped")
    fleet.declare("missing", image="missing", state="stopped")
    # Beside one that says what the same bytes are, on one host: neither may stand for the other.
    fleet.declare("good1", "mislabelled", host="kvm1")
    fleet.declare("mislabelled", image="mislabelled", state="stopped")
    fleet.declare("huge", flavor="huge", state="stopped")
    fleet.declare("wide", image="wide", state="stopped")

    run = fleet.run().failed()
    assert fleet.look().states == {"good1": "shutoff", "good2": "shutoff"}
    causes = {name: [cause for cause in run.failures if cause.startswith(f"{name}: ")] for name in fleet.servers}
    assert {name: len(found) for name, found in causes.items()} == {
        "good1": 0,
        "good2": 0,
        "changed": 1,
        "missing": 1,
        "mislabelled": 1,
        "huge": 1,
        "wide": 1,
    }, run.failures
    assert "Flavor's disk is too small for requested image. The root disk of 1 GiB" in causes["wide"][0]
    assert "No valid host was found" in causes["huge"][0]
    for host in fleet.lab.hosts:
        assert host in causes["huge"][0]
    said = "\n".join(run.failures)
    assert "its checksum should be sha256:0000" in said
    assert "'/nowhere/at-all.qcow2' is not on the controller" in said
    assert "raw" in said
    assert "or run reconcile" not in said  # which is what ran
    assert all(cause in run.stdout for cause in run.failures)
    assert "run again when the cause is mended" in run.stdout

    fleet.all["fleet_images"].update(dict.fromkeys(("changed", "missing", "mislabelled"), image))
    fleet.all["fleet_flavors"]["huge"]["ram"] = 128
    fleet.declare("wide", flavor="roomy")
    assert fleet.touching("changed", "missing", "mislabelled", "huge", "wide").rc == 0
    fleet.whole()
    assert fleet.reconcile().changed == 0


@pytest.fixture
def small_pool(empty_lab: Lab) -> t.Iterator[Lab]:
    """kvm1 with a pool of 96 MiB: a file system of its own."""
    lab = empty_lab
    lab.ok("exec", "kvm1", "mkdir", "-p", "/var/tmp/small")
    lab.ok("exec", "kvm1", "mount", "-t", "tmpfs", "-o", "size=96M", "none", "/var/tmp/small")
    xml = Path(lab.facts["folder"]) / "small.xml"
    xml.write_text(SMALL_POOL)
    lab.virsh("kvm1", "pool-define", str(xml))
    lab.virsh("kvm1", "pool-start", "small")
    yield lab
    lab.virsh("kvm1", "pool-destroy", "small")
    lab.ok("exec", "kvm1", "umount", "/var/tmp/small")


@pytest.mark.soak
def test_a_full_pool_fails_its_server_alone(small_pool: Lab, fleet: Fleet) -> None:
    # The scheduler is told of more room than there is; no GiB fits into 96 MiB.
    fleet.computes["kvm1"] = {"compute_allocation_ratio": {"disk": 1000.0}, "compute_reserved": {"disk": 0}}
    fleet.all["fleet_flavors"]["dense"] = {"vcpus": 1, "ram": 128, "disk": 0}
    fleet.declare("good", state="stopped", host="kvm2")
    fleet.declare("cramped", state="stopped", host="kvm1", pool="small", flavor="dense")
    filler = ["exec", "kvm1", "dd", "if=/dev/zero", "of=/var/tmp/small/filler", "bs=1M", "count=90"]
    small_pool.ok(*filler)

    run = fleet.run().failed()
    assert fleet.look().states == {"good": "shutoff"}
    assert {cause.partition(":")[0] for cause in run.failures} <= {"kvm1", "cramped"}, run.failures
    assert "pool 'small' has 6 MiB free" in "\n".join(run.failures)

    small_pool.ok("exec", "kvm1", "rm", "/var/tmp/small/filler")
    assert fleet.touching("cramped").steps("cramped") == ["create"]
    fleet.whole()


def test_a_controller_without_its_ledger_folder_says_so(fleet: Fleet) -> None:
    blocked = fleet.folder / "blocked"
    blocked.write_text("a file where a folder should be")
    fleet.all["fleet_ledger"] = f"sqlite:///{blocked}/fleet.db"
    fleet.declare("web1", state="stopped")
    run = fleet.run().failed()
    assert str(blocked) in run.message
    assert fleet.look().domains == []


@pytest.mark.soak
def test_qemu_that_fails_to_start_a_guest_is_a_cause_with_a_name(fleet: Fleet) -> None:
    fleet.declare("a", "b", state="stopped")
    fleet.reconcile()
    server = fleet.look().server("a")
    pool, volume = server.disk("root")
    disk = fleet.lab.pool(pool, server.host) / volume
    hidden = disk.rename(disk.with_name("hidden"))
    fleet.declare("a", "b", state="active")
    run = fleet.run().failed()
    assert len(run.failures) == 1, run.failures
    assert run.failures[0].startswith("a: ")
    assert fleet.look().states == {"a": "shutoff", "b": "running"}
    subprocess.run(["mv", hidden, disk], check=True)
    assert fleet.touching("a").steps("a") == ["start"]
    fleet.whole()
