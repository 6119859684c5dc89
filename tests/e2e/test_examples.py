# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EXAMPLES of every plugin, run on hosts of their names, in an order that gives each of them something to do."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest
import yaml
from tests.e2e.test_adopt import made_by_hand
from tests.e2e.test_doctor import dead_run, written
from tests.e2e.test_fencing import lab_agent
from tests.support import examples
from tests.support.fleet import Fleet
from tests.support.login import new_key
from tests.support.runs import Run

Play = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Examples of a plugin, on hosts: the tasks of these names, or all. Where EXAMPLES is a playbook, that."""

    plugin: str
    hosts: str = "localhost"
    tasks: tuple[str, ...] = ()
    kind: str = "modules"


def between(hosts: str, **task: t.Any) -> Play:
    """What has to happen between two examples, and is none."""
    called = {key.replace("__", "."): value for key, value in task.items()}
    module = next(key for key in called if "." in key)
    return {"hosts": hosts, "gather_facts": False, "tasks": [{"name": f"between: {module}", **called}]}


WEB1 = "{{ lookup('flotilla.compute.scheduler', 'web1') }}"
DB1 = "{{ lookup('flotilla.compute.scheduler', 'db1') }}"
SURVEY: Play = {"ansible.builtin.import_playbook": "flotilla.compute.survey"}
RECONCILE: Play = {"ansible.builtin.import_playbook": "flotilla.compute.reconcile"}

Acts = tuple[Scene | Play, ...]

CATALOGS: Acts = (
    Scene("flavor", tasks=("Make a flavor", "Make a flavor with swap and extra specs")),
    Scene("flavor_info"),
    Scene("keypair"),
    Scene("keypair_info"),
    Scene("server_group"),
    Scene("server_group_info"),
    Scene("aggregate"),
    Scene("aggregate_info"),
    Scene("compute_service_info"),
)
#: What the examples remove.
OLD_IMAGE = {
    "name": "debian-11",
    "src": "images/old.raw",
    "format": "raw",
    "checksum": "sha256:fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
}
HOSTS: Acts = (
    Scene("storage_pool", "computes", ("Keep disks in a folder of the host",)),
    Scene("storage_pool_info", "computes"),
    Scene("network", "computes"),
    Scene("network_info", "computes"),
    Scene("compute_host_info", "kvm1"),
    Scene("tls_certificate", "kvm3"),
    Scene("tls_certificate_info"),
    Scene("fence_info"),
    between("computes", flotilla__compute__image=OLD_IMAGE),
    Scene("image", "computes"),
    Scene("image_info", "computes"),
)
SERVERS: Acts = (
    RECONCILE,
    Scene("adopt"),
    Scene("compute", "kvm3"),
    Scene("compute_info", "computes"),
    Scene("scheduler", kind="lookup"),
    Scene("server", tasks=("Have a server on the host that the scheduler proposes",)),
    Scene("server_info", "kvm1"),
    Scene("server_action"),
    between("localhost", flotilla__compute__server_action={"server": "web1", "action": "unlock"}, delegate_to="kvm1"),
    Scene("server", tasks=("Stop a server",)),
    between("localhost", flotilla__compute__server_action={"server": "web1", "action": "start"}, delegate_to="kvm1"),
    SURVEY,
    Scene("migrate"),
    SURVEY,
    between("localhost", flotilla__compute__migrate={"server": "db1", "host": "kvm1"}, delegate_to=DB1),
    SURVEY,
    Scene("plan"),
    Scene("verdict"),
    Scene("flavor", tasks=("Remove a flavor",)),
)
MENDING: Acts = (Scene("doctor"),)
DEATH: Acts = (Scene("evacuate"),)

NOT_RUN = {
    ("storage_pool", "Keep disks on an NFS server that all hosts mount"): "the lab's hosts share a kernel without NFS",
}
#: What finds things as they should be, beside what only reads.
UNCHANGED = frozenset(
    {
        "plan: Check the inventory",
        "plan: Plan what is to be done",
        "verdict: Show the fleet, and fail if something is not as declared",
        "doctor: Examine the fleet",
    }
)
_READS = ("_info", "ansible.builtin.assert", "ansible.builtin.debug")


def _named(plugin: str, task: str) -> str:
    return f"{plugin}: {task}"


def _tasks(scene: Scene, text: str) -> list[examples.Task]:
    """The scene's tasks under names that say whose they are."""
    tasks = examples.tasks_of(yaml.safe_load(text))
    chosen = [task for task in tasks if not scene.tasks or task["name"] in scene.tasks]
    assert len(chosen) == len(scene.tasks or tasks), f"{scene.plugin} has no such examples: {scene.tasks}"
    return [{**task, "name": _named(scene.plugin, task["name"])} for task in chosen]


def _plays(scene: Scene, text: str) -> list[Play]:
    found = yaml.safe_load(text)
    tasks = iter(_tasks(scene, text))
    if not examples.is_playbook(found):
        return [{"hosts": scene.hosts, "gather_facts": False, "tasks": list(tasks)}]
    return [{**play, "tasks": [next(tasks) for _task in play["tasks"]]} if "tasks" in play else play for play in found]


def _here(fleet: Fleet) -> dict[str, str]:
    """What of the examples can't be as it is written, and what is here in its place."""
    image = fleet.all["fleet_images"]["debian-12"]
    return {
        "https://example.org/debian-12.qcow2": f"file://{image['file']}",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": image["checksum"],
        "pools: [local]": "pools: [local]\n    emulation: true",  # no host here has KVM
    }


def _text(fleet: Fleet, scene: Scene) -> str:
    text = examples.text_of(scene.plugin, scene.kind)
    for written_there, here in _here(fleet).items():
        text = text.replace(written_there, here)
    return text


def perform(fleet: Fleet, acts: Acts) -> Run:
    """The acts in one run. Each example has done something, unless it is one that only looks."""
    plays = [play for act in acts for play in (_plays(act, _text(fleet, act)) if isinstance(act, Scene) else [act])]
    playbook = fleet.folder / "examples.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    run = fleet.run(playbook).ok()
    for scene in (act for act in acts if isinstance(act, Scene)):
        for task in _tasks(scene, _text(fleet, scene)):
            results = run.results(task["name"])
            assert results, f"{task['name']} has not run: {run}"
            assert not any(result.get("skipped") for result in results.values()), f"{task['name']} was skipped: {run}"
            reads = task["name"] in UNCHANGED or any(key.endswith(_READS) for key in task)
            changed = {host: result["changed"] for host, result in results.items()}
            assert set(changed.values()) == {not reads}, f"{task['name']}: {changed}: {run}"
    return run


def prepare(fleet: Fleet) -> None:
    """A home with a key, and the one image under the name that the examples have for it."""
    home = fleet.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    new_key(home / ".ssh")
    (home / ".ssh/key.pub").rename(home / ".ssh/id_ed25519.pub")
    fleet.env["HOME"] = str(home)
    fleet.all["fleet_images"] = {"debian-12": fleet.all["fleet_images"]["tick"]}


@pytest.mark.soak
def test_examples_of_the_catalogs(fleet: Fleet) -> None:
    prepare(fleet)
    run = perform(fleet, CATALOGS)
    assert run.results("flavor_info: Show those with more than one CPU")["localhost"]["msg"] == ["db.large"]
    (zone,) = run.results("aggregate_info: Show the hosts of each availability zone")["localhost"]["results"]
    assert zone["msg"] == "east: kvm1, kvm2, kvm3"


@pytest.fixture
def spent(fleet: Fleet) -> t.Iterator[Fleet]:
    """Its hosts end otherwise than the next tests expect them."""
    yield fleet
    fleet.lab.anew()


@pytest.mark.soak
def test_examples_of_all_else(spent: Fleet) -> None:
    fleet = spent
    prepare(fleet)
    as_the_examples_have_them(fleet)
    perform(fleet, CATALOGS)
    perform(fleet, HOSTS)
    made_by_hand(fleet, "kvm1", "mail", there="/srv/guests")
    run = perform(fleet, SERVERS)
    assert "mail:" in run.results("adopt: Show what belongs into the inventory")["kvm1"]["msg"]
    world = fleet.look()
    assert {name: world.server(name).host for name in ("db1", "mail", "web1")} == {
        "db1": "kvm1",
        "mail": "kvm1",
        "web1": "kvm2",
    }
    killed = dead_run(fleet)
    written(fleet).begin_task(killed, world.server("web1").id, "rebooting", action="reboot")
    perform(fleet, MENDING)
    _examples_of_the_inventory(fleet)
    fleet.lab.ok("power", "off", "kvm1")
    perform(fleet, DEATH)
    assert (fleet.look().server("db1").host, fleet.look().server("db1").id) == ("kvm2", world.server("db1").id)


def as_the_examples_have_them(fleet: Fleet) -> None:
    """Hosts with an interface eno2 and a folder /srv of their own, without a pool, with certificates and a fence;
    db1 is declared, with its disk on a pool that all hosts have."""
    lab, agent = fleet.lab, lab_agent(fleet)
    for host in lab.hosts:
        lab.ok("exec", host, "mkdir", "/var/lib/libvirt/srv")
        lab.ok("exec", host, "mount", "--bind", "/var/lib/libvirt/srv", "/srv")
        lab.tree(host, "/srv").symlink_to("var/lib/libvirt/srv")  # as this machine sees it
        lab.ok("exec", host, "ip", "link", "add", "eno2", "master", "br0", "up", "type", "veth")
        lab.virsh(host, "pool-destroy", "local")
        lab.virsh(host, "pool-undefine", "local")
        fleet.computes[host] = {
            "compute_migration_uri": f"qemu+tls://{host}/system",
            "compute_fence": {"agent": agent, "plug": host},
        }
    # The examples look for web1 on kvm1, and move to kvm2: so much memory is free there, and nothing else counts.
    others = ("cpu_weight_multiplier", "disk_weight_multiplier", "io_ops_weight_multiplier")
    fleet.all["fleet_scheduler"] = dict.fromkeys(others, 0.0)
    for host, reserved in (("kvm2", "4GiB"), ("kvm3", "8GiB")):
        fleet.computes[host]["compute_reserved"] = {"memory": reserved}
    fleet.compute_defaults = {
        "compute_host_emulation": True,
        "compute_host_packages": ["qemu-system-x86", "python3-libvirt"],  # those that the lab's hosts have
        "compute_host_tls_folder": str(fleet.folder / "pki"),
    }
    fleet.declare("db1", host="kvm1", image="debian-12", pool="shared")
    role = fleet.folder / "role.yml"
    task = {"ansible.builtin.include_role": {"name": "flotilla.compute.compute_host"}}
    role.write_text(yaml.safe_dump([{"hosts": "kvm1,kvm2", "gather_facts": False, "tasks": [task]}]))
    fleet.run(role).ok()
    for host in ("kvm1", "kvm2"):
        lab.ok("restart", host)
    lab.ok("exec", "kvm3", "mkdir", "-p", "/etc/pki/libvirt/private")
    (fleet.folder / "images").mkdir()
    for name, content in (("appliance", b"test2"), ("old", b"test3")):  # of the checksums that the examples have
        (fleet.folder / f"images/{name}.raw").write_bytes(content)


def _examples_of_the_inventory(fleet: Fleet) -> None:
    """Each source as the file of an inventory; the one without a ledger is to find what the ledger knows."""
    (name,) = examples.names("inventory")
    (fleet.folder / "fleet.yml").symlink_to(fleet.inventory)
    file = fleet.folder / "guests.flotilla.yml"
    found: list[dict[str, t.Any]] = []
    for source in examples.text_of(name, "inventory").split("\n---\n"):
        file.write_text(source.replace("/tmp/guests", str(fleet.folder / "cache")))
        told = fleet.command("ansible-inventory", "-i", str(file), "--list", FLOTILLA_LEDGER=fleet.ledger_url)
        found.append(json.loads(told)["_meta"]["hostvars"])
    assert [set(one) for one in found] == [{"db1", "mail", "web1"}] * 3
    assert _said(found[1]["db1"]["ansible_user"]) == "debian"
    assert _said(found[2]["db1"]["guest_host"]) == "kvm1"


def _said(value: t.Any) -> t.Any:
    """What ansible-inventory prints of a variable: it marks text in which no play is to look for templates."""
    return value["__ansible_unsafe"] if isinstance(value, dict) else value


def test_no_example_is_left_out() -> None:
    acts = (*CATALOGS, *HOSTS, *SERVERS, *MENDING, *DEATH)
    played = [
        (scene.plugin, task["name"].partition(": ")[2])
        for scene in acts
        if isinstance(scene, Scene)
        for task in _tasks(scene, examples.text_of(scene.plugin, scene.kind))
    ]
    every = [
        (plugin, task["name"])
        for kind in ("modules", "lookup")
        for plugin in examples.names(kind)
        for task in examples.tasks_of(examples.example(plugin, kind))
    ]
    assert sorted([*played, *NOT_RUN]) == sorted(every)
    assert len(NOT_RUN) < 3
