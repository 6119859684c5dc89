# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules in playbooks of a user's own: in check mode, for real, and a second time."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.runs import Run

Task = dict[str, t.Any]


def play(fleet: Fleet, hosts: str, *tasks: Task, options: tuple[str, ...] = (), survey: bool = False) -> Run:
    """A playbook of one play, behind a survey or not, that ends well."""
    return fleet.run(written(fleet, hosts, *tasks, survey=survey), *options).ok()


def written(fleet: Fleet, hosts: str, *tasks: Task, survey: bool = False) -> Path:
    """Its file. Tasks are named by their modules, for Run.results."""
    named = [{"name": next(iter(task)).rpartition(".")[2], **task} for task in tasks]
    playbook = fleet.folder / "own.yml"
    plays: list[Task] = [{"ansible.builtin.import_playbook": "flotilla.compute.survey"}] if survey else []
    plays.append({"hosts": hosts, "gather_facts": False, "tasks": named})
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    return playbook


def three_times(fleet: Fleet, hosts: str, *tasks: Task, survey: bool = False) -> tuple[Run, Run]:
    """In check mode, for real, again: the first two change as much, the third nothing. Gives the first two."""
    before = fleet.look(), list(fleet.folder.glob("fleet.db*"))
    checked = play(fleet, hosts, *tasks, options=("--check", "--diff"), survey=survey)
    assert (fleet.look(), list(fleet.folder.glob("fleet.db*"))) == before
    done = play(fleet, hosts, *tasks, options=("--diff",), survey=survey)
    again = play(fleet, hosts, *tasks, survey=survey)
    assert (checked.changed > 0, checked.changed, again.changed) == (True, done.changed, 0), f"{checked}{done}{again}"
    return checked, done


@pytest.mark.soak
def test_catalog_entries_are_made_read_and_used(fleet: Fleet) -> None:
    key = fleet.folder / "keys" / "build"
    key.parent.mkdir()
    _checked, done = three_times(
        fleet,
        "localhost",
        {"flotilla.compute.flavor": {"name": "from-module", "vcpus": 1, "ram": "160MiB", "disk": "1GiB"}},
        {"flotilla.compute.keypair": {"name": "build", "private_key_path": str(key)}},
    )
    assert key.exists()
    made = done.results("keypair")["localhost"]
    assert str(key) in json.dumps(made)
    assert "PRIVATE KEY" not in json.dumps(made) + done.stdout
    read = play(
        fleet,
        "localhost",
        {"flotilla.compute.flavor_info": {}},
        {"flotilla.compute.keypair_info": {"name": "build"}},
    )
    flavors = {flavor["name"]: flavor for flavor in read.results("flavor_info")["localhost"]["flavors"]}
    assert (flavors["from-module"]["ram"], flavors["from-module"]["vcpus"]) == (160, 1)
    assert [pair["name"] for pair in read.results("keypair_info")["localhost"]["keypairs"]] == ["build"]

    fleet.declare("a", flavor="from-module", key_name="build", state="stopped")
    fleet.reconcile()
    assert fleet.look().server("a").memory == 160
    fleet.all["fleet_flavors"]["from-module"] = {"vcpus": 1, "ram": 128, "disk": 1}  # the same name in both
    assert "from-module" in fleet.run().failed().message
    del fleet.all["fleet_flavors"]["from-module"]

    gone = {"name": "unused", "state": "absent"}
    run = play(fleet, "localhost", {"flotilla.compute.flavor": gone}, {"flotilla.compute.keypair": gone})
    assert run.changed == 0


def test_images_and_networks_are_made_on_hosts_and_read(fleet: Fleet) -> None:
    image = fleet.all["fleet_images"]["tick"]
    there = {"name": "tick", "src": image["file"], "checksum": image["checksum"], "pool": "local"}
    _checked, done = three_times(
        fleet,
        "kvm1,kvm2",
        {"flotilla.compute.image": there},
        {"flotilla.compute.network": {"name": "lan", "bridge": "br0"}},
    )
    assert set(done.results("image")) == {"kvm1", "kvm2"}
    world = fleet.look()
    assert {host: "lan" in world.hosts[host].networks for host in world.hosts} == {
        "kvm1": True,
        "kvm2": True,
        "kvm3": False,
    }
    read = play(fleet, "computes", {"flotilla.compute.image_info": {}}, {"flotilla.compute.network_info": {}})
    images = {host: result["images"] for host, result in read.results("image_info").items()}
    assert [len(images[host]) for host in ("kvm1", "kvm2", "kvm3")] == [1, 1, 0]
    assert images["kvm1"][0]["complete"]

    # What is there is not fetched again by a run, and a server can use the libvirt network.
    fleet.all["fleet_networks"]["lan"] = {
        **{key: value for key, value in fleet.all["fleet_networks"]["lan"].items() if key != "bridge"},
        "libvirt_network": "lan",
    }
    fleet.declare("a", state="stopped")
    run = fleet.reconcile()
    assert run.plan["hosts"][fleet.look().placement["a"]]["images"] == []
    assert fleet.look().placement["a"] in ("kvm1", "kvm2")

    absent = {"name": "lan", "state": "absent"}
    assert play(fleet, "kvm2", {"flotilla.compute.network": absent}).changed == 1
    assert "lan" not in fleet.look().hosts["kvm2"].networks


@pytest.mark.soak
def test_a_host_set_aside_takes_no_new_servers_and_keeps_its_own(fleet: Fleet) -> None:
    fleet.declare("a", state="stopped", host="kvm1")
    fleet.reconcile()
    three_times(fleet, "kvm1,kvm2", {"flotilla.compute.compute": {"state": "disabled", "reason": "new disks"}})
    fleet.declare("b", "c", "d", state="stopped")
    before = fleet.look()
    run = fleet.reconcile()
    assert run.all_steps == {"b": ["create"], "c": ["create"], "d": ["create"]}
    assert fleet.look().placement == {"a": "kvm1", "b": "kvm3", "c": "kvm3", "d": "kvm3"}
    assert fleet.look().but("b", "c", "d") == before.but()

    facts = play(fleet, "computes", {"flotilla.compute.compute_info": {}}).results("compute_info")
    assert facts["kvm1"]["host"]["service"] == {"state": "disabled", "reason": "new disks"}
    assert {host: facts[host]["host"]["guests"] for host in facts} == {"kvm1": 1, "kvm2": 0, "kvm3": 3}
    play(fleet, "kvm1,kvm2", {"flotilla.compute.compute": {"state": "enabled"}})
    fleet.declare("e", state="stopped", host="kvm1")
    assert fleet.reconcile().steps("e") == ["create"]


def test_one_server_by_a_task_on_the_host_that_the_scheduler_proposes(fleet: Fleet) -> None:
    fleet.declare("first", state="stopped")
    fleet.reconcile()
    image = fleet.all["fleet_images"]["tick"]
    there = {"name": "tick", "src": image["file"], "checksum": image["checksum"]}
    play(fleet, "computes", {"flotilla.compute.image": there})
    place = "{{ lookup('flotilla.compute.scheduler', 'own1', flavor='tiny') }}"
    wanted = {"name": "own1", "flavor": "tiny", "image": "tick", "networks": ["lan"], "state": "stopped"}
    _checked, done = three_times(
        fleet,
        "localhost",
        {"flotilla.compute.server": wanted, "delegate_to": place},
        survey=True,
    )
    assert done.results("server")["localhost"]["server"]["name"] == "own1"
    server = fleet.look().server("own1")
    assert (server.state, server.spec["flavor"]["name"]) == ("shutoff", "tiny")
    info = play(fleet, "computes", {"flotilla.compute.server_info": {}}).results("server_info")
    found = {server["name"]: host for host, result in info.items() for server in result["servers"]}
    assert found == fleet.look().placement
    assert "own1" in fleet.reconcile().text  # it is managed, and inventory doesn't name it
    task = {"flotilla.compute.server": {"name": "own1", "state": "absent"}, "delegate_to": place}
    done = play(fleet, "localhost", task, survey=True)
    assert done.changed == 1
    assert "own1" not in fleet.look().servers
