# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin through Ansible's own loader, over a real ledger."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._guests import guest_variables, refusal
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, Ledger, ServerSeen

IMAGE = Image("debian-12", "qcow2", "sha256:" + "0" * 64)


def record(name: str, number: int, *networks: tuple[str, str | None], **spec: t.Any) -> Record:
    server_id = f"00000000-0000-4000-8000-{number:012d}"
    nics = [
        Nic(network, "bridge", "br0", f"52:54:00:00:00:{number:02x}", addresses=[Address(ip, 24)] if ip else ())
        for network, ip in networks
    ]
    disk = Disk("root", "local", f"{server_id}-root", "qcow2", 1, "vda", "virtio")
    flavor = Flavor("m1.small", 1, 512, 10)
    return Record(server_id, name, "fleet-id", 1, spec, flavor, IMAGE, (disk,), nics, Hardware())


WEB = record(
    "web1",
    1,
    ("storage", "198.51.100.7"),
    ("lan", "192.0.2.7"),
    group="web-spread",
    key_name={"name": "ops", "public_key": "ssh-ed25519 AAAA"},
    metadata={"role": "front", "evil": "{{ lookup('pipe', 'id') }}"},
)
DB = record("db1", 2, ("lan", None))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert found is not None
    found.establish("office", "fleet-id")
    found.save_survey([HostSeen("kvm1", "id1", summary={"zone": "az1"}), HostSeen("kvm2", "id2")])
    keep(found, WEB, "kvm1")
    keep(found, DB, "kvm2", vm_state="stopped", power_state=4)
    keep(found, record("gone", 3, ("lan", "192.0.2.9")), "kvm2", vm_state="soft-delete", power_state=4)
    return found


def keep(ledger: Ledger, what: Record, host: str, *, vm_state: str = "active", power_state: int = 1) -> None:
    seen = ServerSeen.of(what, host=host, vm_state=vm_state, power_state=power_state)
    ledger.observe([seen], since=ledger.now() + 1)


def parsed(
    tmp_path: Path, data: InventoryData | None = None, *, fresh: bool = False, **options: t.Any
) -> InventoryData:
    file = tmp_path / "guests.flotilla.yml"
    given = {"plugin": "flotilla.compute.servers", "ledger": f"sqlite:///{tmp_path}/fleet.db", **options}
    file.write_text(yaml.safe_dump(given))
    inventory = data or InventoryData()
    plugin = inventory_loader.get("flotilla.compute.servers")
    assert plugin.verify_file(str(file))
    plugin.parse(inventory, DataLoader(), str(file), cache=not fresh)
    if options.get("cache"):
        plugin.update_cache_if_changed()  # as the inventory manager does
    inventory.reconcile_inventory()
    return inventory


def names(inventory: InventoryData, group: str) -> list[str]:
    return sorted(host.name for host in inventory.groups[group].get_hosts())


def test_servers_are_guests_and_never_servers(ledger: Ledger, tmp_path: Path) -> None:
    inventory = parsed(tmp_path)
    assert names(inventory, "guests") == ["db1", "web1"]
    assert "servers" not in inventory.groups
    web, db = inventory.hosts["web1"].vars, inventory.hosts["db1"].vars
    assert {key: web[key] for key in web if key.startswith(("ansible_", "guest_"))} == {
        "ansible_host": "198.51.100.7",
        "guest_name": "web1",
        "guest_id": WEB.id,
        "guest_host": "kvm1",
        "guest_zone": "az1",
        "guest_status": "ACTIVE",
        "guest_vm_state": "active",
        "guest_task_state": None,
        "guest_power_state": 1,
        "guest_flavor": "m1.small",
        "guest_vcpus": 1,
        "guest_ram": 512,
        "guest_image": "debian-12",
        "guest_server_group": "web-spread",
        "guest_key_name": "ops",
        "guest_metadata": {"role": "front", "evil": "{{ lookup('pipe', 'id') }}"},
        "guest_networks": {"storage": ["198.51.100.7"], "lan": ["192.0.2.7"]},
        "guest_addresses": ["198.51.100.7", "192.0.2.7"],
        "guest_macs": ["52:54:00:00:00:01", "52:54:00:00:00:01"],
    }
    assert (db["guest_status"], db["guest_host"], db["guest_zone"]) == ("SHUTOFF", "kvm2", None)
    assert "ansible_host" not in db, "it asks by DHCP"
    declaring = [key for host in inventory.hosts.values() for key in host.vars if key.startswith("server_")]
    assert not declaring


def test_groups_by_all_that_is_known(ledger: Ledger, tmp_path: Path) -> None:
    inventory = parsed(
        tmp_path,
        strict=True,
        networks=["lan"],
        keyed_groups=[
            {"prefix": "zone", "key": "guest_zone", "default_value": "none"},
            {"prefix": "on", "key": "guest_host"},
            {"prefix": "flavor", "key": "guest_flavor"},
            {"prefix": "status", "key": "guest_status"},
            {"prefix": "group", "key": "guest_server_group", "default_value": "none"},
            {"prefix": "role", "key": "guest_metadata.role | default('none')"},
        ],
        groups={"running": "guest_status == 'ACTIVE'"},
        compose={"ansible_user": "'debian' if guest_image.startswith('debian') else 'root'"},
    )
    found = {name: names(inventory, name) for name in inventory.groups if name not in ("all", "ungrouped", "guests")}
    assert found == {
        "zone_az1": ["web1"],
        "zone_none": ["db1"],
        "on_kvm1": ["web1"],
        "on_kvm2": ["db1"],
        "flavor_m1_small": ["db1", "web1"],
        "status_ACTIVE": ["web1"],
        "status_SHUTOFF": ["db1"],
        "group_web_spread": ["web1"],
        "group_none": ["db1"],
        "role_front": ["web1"],
        "role_none": ["db1"],
        "running": ["web1"],
    }
    assert inventory.hosts["web1"].vars["ansible_host"] == "192.0.2.7"
    assert inventory.hosts["web1"].vars["ansible_user"] == "debian"


def test_statuses_choose(ledger: Ledger, tmp_path: Path) -> None:
    assert names(parsed(tmp_path, statuses=["active"]), "guests") == ["web1"]


def test_the_cache_is_used_until_it_is_refreshed(ledger: Ledger, tmp_path: Path) -> None:
    cached: dict[str, t.Any] = {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(tmp_path / "cache"),
    }
    first = parsed(tmp_path, **cached)
    keep(ledger, record("late", 4, ("lan", "192.0.2.11")), "kvm1")
    assert names(parsed(tmp_path, **cached), "guests") == names(first, "guests")
    assert "late" in names(parsed(tmp_path, fresh=True, **cached), "guests")


def test_no_guest_takes_the_place_of_a_host_or_a_group(ledger: Ledger, tmp_path: Path) -> None:
    data = InventoryData()
    data.add_group("computes")
    data.add_host("kvm1", group="computes")
    data.set_variable("kvm1", "ansible_host", "203.0.113.1")
    for number, name in enumerate(("kvm1", "localhost", "computes", "-oProxyCommand=id", "{{ 1 }}"), 10):
        keep(ledger, dataclasses.replace(record("x", number, ("lan", f"192.0.2.{number}")), name=name), "kvm2")
    inventory = parsed(tmp_path, data)
    assert names(inventory, "guests") == ["db1", "web1"]
    assert inventory.hosts["kvm1"].vars["ansible_host"] == "203.0.113.1"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"source": "ledger"}, "there is no ledger sqlite:///"),
        ({}, "name the inventory of the compute hosts in compute_sources"),
    ],
)
def test_without_a_ledger(tmp_path: Path, options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(AnsibleParserError, match=sentence):
        parsed(tmp_path, **options)
    assert not (tmp_path / "fleet.db").exists(), "an inventory makes no ledger"


@pytest.mark.parametrize("source", ["auto", "ledger"])
def test_a_ledger_s_password_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(Ledger, "open", lambda *_args, **_more: None)
    with pytest.raises(AnsibleParserError, match=r"no ledger postgresql://ops:\*\*\*@db/fleet[,;]") as caught:
        parsed(tmp_path, ledger="postgresql://ops:s3cret@db/fleet?sslkey=k3y", source=source)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["servers.yml", "flotilla.txt", "xflotilla.yml"])
def test_files_of_other_names_are_left_to_other_plugins(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("plugin: flotilla.compute.servers")
    assert not inventory_loader.get("flotilla.compute.servers").verify_file(str(tmp_path / name))


def test_the_first_network_with_an_address_is_taken() -> None:
    guest = {"networks": {"a": ["192.0.2.1"], "b": [], "c": ["192.0.2.3"]}, "addresses": ["192.0.2.1", "192.0.2.3"]}
    assert guest_variables(guest, ["b", "c"])["ansible_host"] == "192.0.2.3"
    assert guest_variables(guest, ["nowhere"])["ansible_host"] == "192.0.2.1"


@pytest.mark.parametrize("name", ["web1", "web-1.example.net", "1web", "_x"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert refusal(name, ["kvm1"], ["computes"]) is None
