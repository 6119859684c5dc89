# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build that fails on its host comes up on another in the same run, and leaves nothing on the first."""

from __future__ import annotations

import typing as t

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab

POOL = "/var/lib/libvirt/pools/local"
LOGS = "/var/log/libvirt/qemu"


class Frozen:
    """Folders of lab hosts in which nobody can write any more, whoever it is."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._frozen: list[tuple[str, str]] = []

    def freeze(self, host: str, folder: str) -> None:
        self._lab.ok("exec", host, "mount", "--bind", folder, folder)
        self._frozen.append((host, folder))
        self._lab.ok("exec", host, "mount", "-o", "remount,bind,ro", folder)

    def thaw(self) -> None:
        while self._frozen:
            host, folder = self._frozen.pop()
            self._lab.ok("exec", host, "umount", folder)


@pytest.fixture
def frozen(empty_lab: Lab) -> t.Iterator[Frozen]:
    made = Frozen(empty_lab)
    yield made
    made.thaw()


@pytest.fixture
def ready(fleet: Fleet) -> Fleet:
    """A fleet whose scheduler prefers kvm1, then kvm2, and whose hosts are enrolled; only kvm1 has the image."""
    others = ("cpu_weight_multiplier", "disk_weight_multiplier", "io_ops_weight_multiplier")
    fleet.all["fleet_scheduler"] = dict.fromkeys(others, 0.0)
    for host, reserved in (("kvm2", 1024), ("kvm3", 2048)):
        fleet.computes[host] = {"compute_reserved": {"memory": reserved}}
    fleet.declare("seed", state="stopped", host="kvm1")
    fleet.reconcile()
    return fleet


def causes(run_failures: list[str], name: str) -> list[str]:
    return [cause for cause in run_failures if cause.startswith(f"{name}: ")]


@pytest.mark.soak
def test_a_build_that_fails_comes_up_on_another_host_and_leaves_nothing(ready: Fleet, frozen: Frozen) -> None:
    frozen.freeze("kvm1", POOL)
    ready.declare("web1")
    run = ready.reconcile()
    world = ready.whole()
    assert world.placement["web1"] == "kvm2"
    assert world.states["web1"] == "running"
    server_id = world.server("web1").id
    assert not any(volume.startswith(server_id) for volume in world.hosts["kvm1"].pools["local"])
    assert run.steps("web1") == ["create", "start"]
    (told,) = run.verdict["rescheduled"]
    assert told.startswith("web1: tried kvm1: can't make volume")
    assert told.endswith("; then kvm2")
    assert told in run.stdout
    # The journal has each try, and the address is the one that was claimed first.
    journal = [(row.action, row.host, row.result) for row in ready.ledger.actions(server_id)]
    assert journal == [("create", "kvm1", "Error"), ("create", "kvm2", "Success")]
    snapshot = ready.snapshot
    assert [snapshot.hosts[name].failed_builds for name in ("kvm1", "kvm2")] == [1, 0]
    assert not snapshot.claims
    # A host on which a build has failed is not the first choice any more: no second try is needed.
    ready.declare("web2", state="stopped")
    run = ready.reconcile()
    assert run.verdict["rescheduled"] == []
    assert ready.look().placement["web2"] == "kvm2"
    frozen.thaw()
    assert ready.reconcile().changed == 0


@pytest.mark.soak
def test_a_guest_that_cannot_be_started_goes_again_and_starts_elsewhere(ready: Fleet, frozen: Frozen) -> None:
    frozen.freeze("kvm1", LOGS)
    ready.declare("web1")
    run = ready.reconcile()
    world = ready.whole()
    assert (world.placement["web1"], world.states["web1"]) == ("kvm2", "running")
    assert run.verdict["rescheduled"][0].startswith("web1: tried kvm1: ")
    frozen.thaw()
    assert ready.reconcile().changed == 0


@pytest.mark.soak
def test_no_more_hosts_than_max_attempts_are_tried_and_a_pinned_server_has_one(ready: Fleet, frozen: Frozen) -> None:
    for host in ("kvm1", "kvm2", "kvm3"):
        frozen.freeze(host, POOL)
    ready.all["fleet_scheduler"]["max_attempts"] = 2
    ready.declare("web1", state="stopped")
    ready.declare("pinned", state="stopped", host="kvm1")
    run = ready.run().failed()
    (cause,) = causes(run.failures, "web1")
    # On kvm2 there is no image yet, and no room for it now.
    assert cause.startswith("web1: tried kvm1: can't make volume")
    assert "; then tried kvm2: its image could not be brought to kvm2: " in cause
    assert cause.endswith("; then Exceeded maximum number of retries (max_attempts of fleet_scheduler)")
    (cause,) = causes(run.failures, "pinned")
    assert "tried" not in cause
    assert ready.look().placement == {"seed": "kvm1"}
    frozen.thaw()
    assert ready.touching("web1", "pinned").rc == 0
    ready.whole()
