# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host dies: its servers live again elsewhere, each with what can be kept of it, and when it is back each is there
once."""

from __future__ import annotations

import concurrent.futures
import datetime
import time
import typing as t
from pathlib import Path

import pytest
from tests.e2e.test_adopt import declare_adopted, made_by_hand, result
from tests.e2e.test_fencing import lab_agent
from tests.e2e.test_modules import play, written
from tests.e2e.test_saving import act, macs
from tests.support.disk_mark import lost_mark, write_mark
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.runs import Run
from tests.support.world import Domain, World

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._passwords import hasher

FENCED = "the test has switched it off"


def copies(world: World, name: str) -> list[tuple[str, str]]:
    return sorted((domain.host, domain.state) for domain in world.domains if domain.server == name)


def test_the_servers_of_a_dead_host_live_again_and_each_of_them_once(fleet: Fleet) -> None:
    fleet.all["fleet_timeout"] = 12
    fleet.declare("kept", "idle", pool="shared")
    fleet.declare("idle", state="stopped")
    fleet.declare("local")
    for host in ("kvm2", "kvm3"):
        fleet.computes[host] = {"compute_state": "disabled"}
    fleet.reconcile()
    for host in ("kvm2", "kvm3"):
        fleet.computes[host] = {}
    before = fleet.look()
    assert set(before.placement.values()) == {"kvm1"}
    fleet.console("kept", "boots=1 ")

    # A host that answers is no dead one; one that doesn't isn't either, until somebody says so.
    assert "Compute service of kvm1 is still in use." in fleet.run("evacuate", fleet_host="kvm1").failed().stdout
    fleet.lab.ok("power", "off", "kvm1")
    assert "unreachable is not dead" in fleet.run("evacuate", fleet_host="kvm1").failed().stdout
    shown = fleet.run("evacuate", "--check", fleet_host="kvm1").civil()
    assert "Evacuation of kvm1: 2 of 3 servers go, 1 held, 0 can't go" in shown.text
    assert "from kvm1: built anew from image tick, what was on its disk root is lost; started" in shown.text
    assert fleet.look().domains == []
    assert [row.host for row in fleet.snapshot.servers.values()] == ["kvm1"] * 3

    run = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED).failed()
    assert run.all_steps == {name: ["evacuate"] for name in ("idle", "kept")}
    assert run.failures == ["local: it was not evacuated; allow it with -e fleet_allow=data_loss"]
    run = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED, fleet_allow="data_loss").ok()
    assert run.all_steps == {"local": ["evacuate"]}
    after = fleet.look()
    assert after.states == {"idle": "shutoff", "kept": "running", "local": "running"}
    assert "kvm1" not in after.placement.values()
    for name, server in after.servers.items():
        assert (server.id, server.addresses) == (before.server(name).id, before.server(name).addresses)
        assert server.record is not None
    fleet.console("kept", "boots=2 ")  # its disk knows that it has run before
    fleet.console("local", "boots=1 ")
    assert fleet.lab.console(after.server("idle").host, before.server("idle").id) == ""  # never started
    rows = {row.server_id: row for row in fleet.ledger.migrations()}
    assert {row.status for row in rows.values()} == {"done"}
    proof = rows[before.server("kept").id].data["proof"]
    assert (proof["kind"], proof["host"], proof["reason"]) == ("operator", "kvm1", FENCED)
    assert fleet.reconcile().all_steps == {}
    assert "0 of 0 servers go" in fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED).ok().text

    # The host is back: nothing starts there by itself, and what is replaced goes.
    fleet.lab.heal()
    assert copies(fleet.look(), "kept") == sorted([("kvm1", "shutoff"), (after.server("kept").host, "running")])
    assert fleet.reconcile().changed > 0
    world = fleet.look()
    assert world.states == after.states
    assert world.placement == after.placement
    assert {row.status for row in fleet.ledger.migrations()} == {"completed"}
    fleet.console("kept", "boots=2 ")
    left = {volume for _pool, volume in world.volumes(before.server("local").id) if volume.endswith("-replaced")}
    assert left, "the local disks of the copy that was replaced should be kept for a while"

    fleet.all["fleet_reclaim"] = 0
    fleet.reconcile()
    assert fleet.reconcile().changed == 0
    fleet.whole()


TELLS = "#!/bin/sh\n# flotilla-guest: run\necho its user data has run\n"
#: What is on a host when it dies. All but the last of them come back; nor does one that was adopted: its disks have
#: names of their own, as no survey looks for.
KINDS: dict[str, dict[str, t.Any]] = {
    "active": {"pool": "shared"},
    "stopped": {"pool": "shared", "state": "stopped"},
    "paused": {"pool": "shared", "state": "paused"},
    "suspended": {"pool": "shared", "state": "suspended"},
    "rescued": {"pool": "shared"},
    "roomy": {"pool": "shared", "flavor": "roomy", "metadata": {"role": "db"}},
    "told": {"pool": "shared", "user_data": TELLS},
    "local": {"flavor": "roomy"},
    "plain": {},
    "idle": {"state": "stopped", "user_data": TELLS},
    "waits": {"pool": "shared"},
}
ADOPTED, WAITS = "adopted", "waits"
COME_BACK = {
    **dict.fromkeys(("active", "rescued", "roomy", "told", "local", "plain"), "running"),
    **dict.fromkeys(("stopped", "paused", "suspended", "idle"), "shutoff"),
}
ON_SHARED = sorted(COME_BACK.keys() - {"local", "plain", "idle"})


def marked(domain: Domain) -> list[tuple[str, str]]:
    """Pool and volume of the disks that bear a mark: all that have data and room for it."""
    assert domain.record is not None
    disks = [disk for disk in domain.record["disks"] if disk["role"] not in ("config", "swap")]
    return [(disk["pool"], disk["volume"]) for disk in disks if disk["volume"] != f"{ADOPTED}.qcow2"]


def identity(domain: Domain) -> dict[str, t.Any]:
    assert domain.record is not None
    kept = {key: domain.record[key] for key in ("id", "name", "nics", "flavor", "image")}
    return {**kept, "macs": macs(domain), "metadata": domain.spec.get("metadata"), "user": domain.spec.get("user_data")}


def all_kinds(fleet: Fleet) -> World:
    """Servers of all kinds on kvm1, each with marks on its disks."""
    fleet.all["fleet_timeout"] = 12
    fleet.compute_defaults["compute_allocation_ratio"] = {"vcpus": 16.0}
    fleet.all["fleet_flavors"]["roomy"] = {"vcpus": 1, "ram": 128, "disk": 1, "ephemeral": 1, "swap": 64}
    fleet.all["fleet_flavors"]["large"] = {"vcpus": 1, "ram": 160, "disk": 1}
    for host in ("kvm2", "kvm3"):
        fleet.computes[host]["compute_state"] = "disabled"
    for name, variables in KINDS.items():
        fleet.declare(name, **{**variables, "state": "stopped"})
    fleet.reconcile()
    made_by_hand(fleet, "kvm1", ADOPTED, pool="shared", data=True)
    declare_adopted(fleet, result(fleet, "kvm1", fleet_server=ADOPTED))
    fleet.lab.virsh("kvm1", "destroy", ADOPTED)
    for server in fleet.look().servers.values():
        for disk in marked(server):
            write_mark(fleet.lab, "kvm1", *disk)
    for name, variables in KINDS.items():
        fleet.declare(name, state=variables.get("state", "active"))
    fleet.reconcile()
    for name in ("active", "rescued", "roomy", "told", "local", "plain", WAITS):
        fleet.console(name, "boots=1 ")
    act(fleet, "rescue", "rescued").ok()
    act(fleet, "resize", WAITS, flavor="large").ok()
    for host in ("kvm2", "kvm3"):
        del fleet.computes[host]["compute_state"]
    return fleet.look()


def from_proof_to_last(run: Run) -> float:
    """Seconds from when the host was asked to be off until the last server was built, and ran if it was to."""
    times = {
        (event["event"], event["event_data"].get("task")): datetime.datetime.fromisoformat(event["created"])
        for event in run.events
    }
    begun = times["playbook_on_task_start", "Prove that the host is dead, and plan where its servers go"]
    return (times["runner_on_ok", "Carry out the steps"] - begun).total_seconds()


def by_hand(fleet: Fleet, world: World) -> float:
    """Seconds that the same takes who has the XML of each domain at hand, and defines and starts them with virsh."""
    todo = []
    for name, server in world.servers.items():
        xml = fleet.folder / f"{name}.xml"
        xml.write_text(fleet.lab.virsh(server.host, "dumpxml", "--inactive", name))
        if server.state == "running":
            fleet.lab.virsh(server.host, "destroy", name)
        fleet.lab.virsh(server.host, "undefine", name)
        todo.append((server, xml))

    def bring_back(server: Domain, xml: Path) -> None:
        fleet.lab.virsh(server.host, "define", str(xml))
        if server.state == "running":
            fleet.lab.virsh(server.host, "start", server.name)

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(bring_back, *each) for each in todo]:
            done.result()
    return time.monotonic() - begun


def test_a_host_that_is_slow_to_answer_is_no_dead_one(fleet: Fleet, tmp_path: Path) -> None:
    """Who is silent is not waited for long; somebody on the way to a host who answers gives it all of its time."""
    fleet.declare("web1")
    fleet.reconcile()
    slow = tmp_path / "slow"
    slow.write_text('#!/bin/bash\nsleep 4\nexec 3<>"/dev/tcp/$1/$2"\ncat <&3 &\ncat >&3\n')
    slow.chmod(0o755)
    for host in fleet.computes:
        fleet.computes[host] = {"ansible_ssh_extra_args": f"-o ProxyCommand='{slow} %h %p'"}
    (host,) = fleet.look().placement.values()

    alive = fleet.run("evacuate", fleet_host=host, fleet_fenced=FENCED).failed()
    assert f"Compute service of {host} is still in use." in alive.stdout
    first, _, again = alive.stdout.partition("Ask those again that something answers for")
    assert "Connection timed out during banner exchange" in first, "it was not slow"
    assert f"[{host}]" in again.partition("TASK [Read the host]")[2]
    fleet.computes = {host: {} for host in fleet.lab.hosts}
    fleet.lab.ok("power", "off", host)
    silent = fleet.run("evacuate", "--check", fleet_host=host, fleet_allow="data_loss").civil()
    assert silent.stdout.count("TASK [Read the host]") == 1, "a silent host was asked twice"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_servers_of_all_kinds_live_again_in_the_time_that_starting_them_takes(
    fleet: Fleet, record_property: t.Callable[[str, object], None]
) -> None:
    before = all_kinds(fleet)
    assert set(before.placement.values()) == {"kvm1"}
    agent = lab_agent(fleet)
    for host in fleet.lab.hosts:
        fleet.computes[host]["compute_fence"] = {"agent": agent, "plug": host}
    fleet.lab.ok("cut", "kvm1")

    fleet.declare("idle", user_data="# what it was made with is not in inventory any more\n")
    run = fleet.run("evacuate", fleet_host="kvm1", fleet_allow="data_loss").failed()
    fleet.declare("idle", user_data=TELLS)
    assert "idle came back without its user data or files" in run.stdout
    assert run.all_steps == {key: ["evacuate"] for key in COME_BACK}
    assert sorted(failure.partition(":")[0] for failure in run.failures) == [ADOPTED, WAITS], run
    assert "Cannot 'evacuate' instance" in run.text
    assert f"its root disk '{ADOPTED}.qcow2' is in pool 'shared'" in run.text
    after = fleet.look()
    assert after.states == COME_BACK
    assert "kvm1" not in after.placement.values()
    for name, server in after.servers.items():
        assert identity(server) == identity(before.server(name)), name
        for disk in marked(server):
            assert (lost_mark(fleet.lab, server.host, *disk) == "") == (name in ON_SHARED), f"{name}: {disk}"
    for name in ("active", "roomy", "told"):
        fleet.console(name, "boots=2 ")
    for name in ("local", "plain"):
        fleet.console(name, "boots=1 ")
    fleet.console("told", "its user data has run")
    for name in ("stopped", "paused", "suspended", "idle"):
        domain = after.server(name)
        assert fleet.lab.console(domain.host, domain.id) == "", f"{name} was started"
    hand = by_hand(fleet, after)
    took = f"{run.seconds:.1f} s with the survey; defined and started by hand with virsh, {hand:.1f} s"
    record_property("times", f"10 servers evacuated in {from_proof_to_last(run):.1f} s from fencing on, {took}")

    # The host is back: each is there once, the one that waits too, and in the state that inventory says.
    fleet.lab.heal()
    fleet.all["fleet_reclaim"] = 0
    for _turn in range(3):
        back = fleet.run("reconcile").civil()
        if not back.all_steps:
            break
    assert back.all_steps == {}, str(back)
    world = fleet.look()
    assert sorted(domain.server for domain in world.domains) == sorted((*COME_BACK, ADOPTED, WAITS))
    assert lost_mark(fleet.lab, "kvm1", "shared", f"{ADOPTED}-data.qcow2") == ""
    assert {name: world.states[name] for name in COME_BACK} == {**COME_BACK, "paused": "paused"}
    for name in COME_BACK:
        assert identity(world.server(name)) == identity(before.server(name)), name
    assert {row.status for row in fleet.ledger.migrations() if row.kind == "evacuation"} == {"completed"}


@pytest.mark.soak
def test_a_task_on_a_host_evacuates_to_it_and_need_not_wait_for_the_end(fleet: Fleet) -> None:
    fleet.all["fleet_timeout"] = 12
    fleet.declare("kept", pool="shared", host="kvm1")
    fleet.reconcile()
    fleet.console("kept", "boots=1 ")
    fleet.declare("kept", host="kvm2")
    fleet.lab.ok("power", "off", "kvm1")
    asked = {
        "host": ["kvm1"],
        "fenced": {"by": "ann", "reason": FENCED},
        "wait": False,
        "declared": "{{ fleet_declared.declared }}",
        "run": "{{ fleet_declared.run }}",
    }
    run = play(fleet, "localhost", {"flotilla.compute.evacuate": asked, "delegate_to": "kvm2"}, survey=True)
    (row,) = run.results("evacuate")["localhost"]["evacuation"]["servers"]
    assert (row["name"], row["from"], row["to"], row["disk"]) == ("kept", "kvm1", "kvm2", "kept")
    until(lambda: fleet.lab.look("kvm2").states.get("kept") == "running", "the server to run on kvm2")
    fleet.console("kept", "boots=2 ")

    # Without a host it is the playbook's task, which waits.
    run = fleet.run(written(fleet, "localhost", {"flotilla.compute.evacuate": asked}, survey=True)).failed()
    assert "wait is for a task on a compute host; the playbook evacuate waits for each server" in run.message
    fleet.lab.heal()
    fleet.all["fleet_reclaim"] = 0
    fleet.reconcile()
    assert fleet.reconcile().changed == 0
    assert fleet.whole().placement == {"kept": "kvm2"}
    assert [(row.status, row.data["proof"]["by"]) for row in fleet.ledger.migrations()] == [("completed", "ann")]


@pytest.mark.soak
def test_a_new_password_is_made_and_told_where_the_disk_is_new_alone(fleet: Fleet) -> None:
    fleet.all["fleet_timeout"] = 12
    fleet.declare("lost", "kept", host="kvm1", state="stopped", config_drive=True)
    fleet.declare("kept", pool="shared")
    fleet.declare("other", host="kvm2", state="stopped")  # which brings the image there
    fleet.reconcile()
    fleet.declare("lost", "kept", host="kvm2")
    fleet.lab.ok("power", "off", "kvm1")
    file = fleet.folder / "lost.password"
    asked = {
        "host": ["kvm1"],
        "server": "lost",
        "fenced": {"by": "ann", "reason": FENCED},
        "accept_data_loss": True,
        "admin_password": f"{{{{ lookup('ansible.builtin.password', '{file}', length=20) }}}}",
        "declared": "{{ fleet_declared.declared }}",
        "run": "{{ fleet_declared.run }}",
    }
    run = play(fleet, "localhost", {"flotilla.compute.evacuate": asked, "delegate_to": "kvm2"}, survey=True)
    password = file.read_text().strip()
    assert len(password) == 20
    assert password not in run.stdout
    server = fleet.look().server("lost")
    pool, volume = server.disk("config")
    assert fleet.snapshot.fleet is not None
    hashed = hasher(fleet.snapshot.fleet.fleet_id.encode(), server.id)(password)
    drive = (fleet.lab.pool(pool, "kvm2") / volume).read_bytes()
    assert hashed.encode() in drive
    assert password.encode() not in drive

    again = {"flotilla.compute.evacuate": {**asked, "server": "kept"}, "delegate_to": "kvm2"}
    refused = fleet.run(written(fleet, "localhost", again, survey=True)).failed()
    assert "can't be changed on existing disk" in refused.message
    assert fleet.lab.look("kvm2").states.keys() == {"lost", "other"}


@pytest.mark.soak
def test_user_data_that_inventory_has_no_more_comes_back_from_the_ledger(fleet: Fleet) -> None:
    fleet.all.update({"fleet_timeout": 12, "fleet_secret_key": "fl33t-k3y-of-the-test"})
    fleet.declare("told", host="kvm1", user_data=TELLS)
    fleet.declare("other", host="kvm2", state="stopped")
    fleet.reconcile()
    fleet.console("told", "its user data has run")
    fleet.servers = {"other": {}}
    fleet.lab.ok("power", "off", "kvm1")
    run = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced=FENCED, fleet_allow="data_loss").ok()
    assert run.all_steps == {"told": ["evacuate"]}
    assert "came back without" not in run.stdout
    assert fleet.look().server("told").host != "kvm1"
    fleet.console("told", "its user data has run")
