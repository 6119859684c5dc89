# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people do to guests by hand, beside Flotilla: mended, adopted, reported, or none of its business."""

from __future__ import annotations

import re
import subprocess
import uuid

import pytest
from tests.e2e.test_actions import ask, said
from tests.support.fleet import Fleet
from tests.support.world import Domain

FOREIGN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>{disk}</devices>
</domain>
"""


def define(fleet: Fleet, host: str, xml: str) -> None:
    file = fleet.folder / "domain.xml"
    file.write_text(xml)
    fleet.lab.virsh(host, "define", str(file))


def cloned(server: Domain, name: str) -> str:
    """As virt-clone does it: another name, UUID and MACs, the metadata as they were."""
    head, metadata, tail = re.split("(<metadata.*</metadata>)", server.xml, flags=re.DOTALL)
    other = str(uuid.uuid4())
    tail = re.sub("<mac address=[^>]*>", "", tail.replace(server.id, other))
    return (
        head.replace(server.id, other).replace(f"<name>{server.name}</name>", f"<name>{name}</name>") + metadata + tail
    )


def on_disk(fleet: Fleet, server: Domain, command: str) -> str:
    """qemu-io on a server's root disk, on its host: there its backing image is where the disk says."""
    pool, volume = server.disk("root")
    path = f"/var/lib/libvirt/pools/{pool}/{volume}"
    return fleet.lab.ok("exec", server.host, "qemu-io", "-f", "qcow2", "-c", command, path)


def test_what_was_destroyed_undefined_or_started_by_hand_is_as_declared_again(fleet: Fleet) -> None:
    fleet.declare("destroyed")
    fleet.declare("undefined", "started", "bystander", state="stopped")
    fleet.reconcile()
    fleet.console("destroyed", "boots=1")
    before = fleet.look()
    on_disk(fleet, before.server("undefined"), "write -P 0x5a 900M 64k")
    fleet.lab.virsh(before.server("destroyed").host, "destroy", "destroyed")
    fleet.lab.virsh(before.server("undefined").host, "undefine", "undefined")
    fleet.lab.virsh(before.server("started").host, "start", "started")

    run = fleet.touching("destroyed", "undefined", "started")
    assert run.all_steps == {"destroyed": ["start"], "undefined": ["define"], "started": ["stop"]}
    assert "started" in run.text
    assert "declared stopped" in run.text
    world = fleet.whole()
    assert world.states == {
        "destroyed": "running",
        "undefined": "shutoff",
        "started": "shutoff",
        "bystander": "shutoff",
    }
    for name in ("destroyed", "undefined", "started"):
        was, now = before.server(name), world.server(name)
        assert (now.id, now.host, now.addresses) == (was.id, was.host, was.addresses)
    fleet.console("destroyed", "boots=2")
    assert "verification failed" not in on_disk(fleet, world.server("undefined"), "read -P 0x5a 900M 64k")
    assert fleet.reconcile().all_steps == {}


def test_what_is_not_ours_is_never_touched_and_takes_its_room(fleet: Fleet) -> None:
    """One guest of others fills a host; another has the record of ours, copied with its XML under another UUID."""
    for host in fleet.lab.hosts[1:]:
        fleet.computes[host] = {"compute_state": "disabled"}
    fleet.compute_defaults = {"compute_allocation_ratio": {"vcpus": 1.0}}  # kvm1 has two
    define(fleet, "kvm1", FOREIGN.format(name="stranger", disk=""))
    fleet.lab.virsh("kvm1", "start", "stranger")
    fleet.declare("a", state="stopped")
    fleet.reconcile()
    server = fleet.look().server("a")
    define(fleet, "kvm2", cloned(server, "a-clone"))
    (clone,) = [domain for domain in fleet.look().domains if domain.name == "a-clone"]
    assert clone.id != server.id

    before = fleet.look()
    fleet.declare("b", state="stopped")
    run = fleet.run().failed()
    assert [cause for cause in run.failures if cause.startswith("b: ")] == run.failures
    assert "kvm1" in run.failures[0]
    assert fleet.look().but() == before.but()

    fleet.servers = {}
    fleet.run("reconcile", fleet_prune=True, fleet_allow="delete")
    after = fleet.look()
    names = ("stranger", "a-clone")
    assert {d.name: (d.id, d.state, d.xml) for d in after.domains if d.name in names} == {
        d.name: (d.id, d.state, d.xml) for d in before.domains if d.name in names
    }


@pytest.mark.soak
def test_a_server_moved_with_virsh_is_adopted_where_it_is(fleet: Fleet) -> None:
    fleet.declare("wanderer", pool="shared")
    fleet.reconcile()
    fleet.console("wanderer", "tick 1")
    server = fleet.look().server("wanderer")
    other = next(host for host in fleet.lab.hosts if host != server.host)
    fleet.lab.virsh_inside(server.host, "migrate", "--live", "--unsafe", "wanderer", f"qemu+tcp://{other}/system")

    # No action is taken on it meanwhile, by the playbook or by a task on either host.
    before, past = fleet.look().but(), fleet.ledger.actions(server.id)
    run = fleet.run("action", fleet_server="wanderer", fleet_action="stop").failed()
    assert run.message == (
        f"wanderer is on {other}, and its record says another host: somebody moved it by hand; "
        "the reconcile playbook adopts it there, then ask again"
    )
    stop = {"server": "wanderer", "action": "stop"}
    assert said(ask(fleet, stop, host=other), 0) == run.message
    assert said(ask(fleet, stop, host=server.host), 0) == (
        f"wanderer is on {other}, and this task runs for {server.host}; delegate_to {other}"
    )
    assert (fleet.look().but(), fleet.ledger.actions(server.id)) == (before, past)

    run = fleet.reconcile()
    assert run.steps("wanderer")[0] == "adopt"
    copies = {domain.host: domain for domain in fleet.look().domains if domain.name == "wanderer"}
    assert (copies[other].state, copies[other].persistent, copies[other].id) == ("running", True, server.id)
    assert copies[server.host].state == "shutoff", "the copy left behind is undefined by leave alone"
    ticks = fleet.lab.console(other, server.id).count("tick ")
    fleet.lab.wait_for(other, server.id, "tick ", times=ticks + 2)

    fleet.reconcile(fleet_allow="delete")
    world = fleet.whole()
    assert (world.placement, world.states) == ({"wanderer": other}, {"wanderer": "running"})
    assert fleet.reconcile().changed == 0


def test_a_server_that_runs_twice_is_a_conflict_and_nothing_is_touched(fleet: Fleet) -> None:
    fleet.declare("twin", "other", state="stopped")
    fleet.reconcile()
    twin = fleet.look().server("twin")
    second = next(host for host in fleet.lab.hosts if host != twin.host)
    # The disks too: it could run there.
    for _pool, volume in fleet.look().volumes(twin.id):
        source, target = fleet.lab.pool("local", twin.host), fleet.lab.pool("local", second)
        subprocess.run(["cp", "--sparse=always", source / volume, target / volume], check=True)
    image = next(name for name in fleet.look().hosts[twin.host].pools["local"] if name.startswith("image-"))
    if not (fleet.lab.pool("local", second) / image).exists():
        subprocess.run(["cp", fleet.lab.pool("local", twin.host) / image, fleet.lab.pool("local", second)], check=True)
    define(fleet, second, twin.xml)
    for host in (twin.host, second):
        fleet.lab.virsh(host, "start", "twin")
    fleet.declare("other", metadata={"still": "served"})

    before = {(d.host, d.name): (d.state, d.xml) for d in fleet.look().domains if d.name == "twin"}
    run = fleet.run().failed()
    assert len(run.failures) == 1
    assert f"runs on {' and '.join(sorted((twin.host, second)))} at once" in run.failures[0]
    assert {(d.host, d.name): (d.state, d.xml) for d in fleet.look().domains if d.name == "twin"} == before
    assert run.all_steps == {"other": ["update"]}
