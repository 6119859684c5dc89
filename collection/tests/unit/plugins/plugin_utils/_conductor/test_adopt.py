# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guests of other tools become servers that reconcile has nothing to do with, or are refused with a reason."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, Step, plan_server
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.adopt import (
    NotAdopted,
    Wanted,
    inventory_text,
    record_of,
    refuse_copies,
    wanted,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame, deeds
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import InventoryInput, validate

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a09"
FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"m1.small": {"vcpus": 2, "ram": 2048, "disk": 20}},
    "fleet_images": {"debian": {"url": "https://x/y", "format": "qcow2", "checksum": "sha256:" + "a" * 64}},
    "fleet_networks": {
        "lan": {"bridge": "br0", "cidr": "192.0.2.0/24", "gateway": "192.0.2.1"},
        "inside": {"libvirt_network": "default"},
    },
}
GUEST = Guest(
    ID, "mail", "running", True, False, 2, 2048, macs=("52:54:00:aa:bb:01",), sources=(("local", "mail.qcow2"),)
)
FACTS: dict[str, t.Any] = {
    "arch": "x86_64",
    "machine": "pc-q35-7.2",
    "firmware": "uefi",
    "video_model": "qxl",
    "guest_agent": True,
    "disks": [
        {
            "target": "sda",
            "bus": "sata",
            "format": "qcow2",
            "boot": 1,
            "readonly": False,
            "pool": "local",
            "volume": "mail.qcow2",
            "size": 20 * GIB,
        }
    ],
    "nics": [{"kind": "bridge", "source": "br0", "mac": "52:54:00:aa:bb:01", "model": "e1000e", "mtu": None}],
    "addresses": {"52:54:00:aa:bb:01": ["fe80::1", "192.0.2.25"]},
    "unrecorded": [],
}
SURVEY = {"host_id": "id-kvm1", "marker": None, "pools": {"local": {"id": "P", "active": True, "volumes": {}}}}


def inventory(servers: dict[str, t.Any] | None = None, **more: t.Any) -> Declared:
    given = InventoryInput(fleet={**FLEET, **more}, computes={"kvm1": {}}, servers=servers or {})
    assert [str(mistake) for mistake in validate(given)] == []
    return declare(given.fleet, given.computes, given.servers, {})


def host() -> Compute:
    return Compute("kvm1", inventory().computes["kvm1"], SURVEY, (GUEST,))


def want(guest: Guest = GUEST, written: dict[str, t.Any] | None = None, **facts: t.Any) -> Wanted:
    return wanted(guest, {**copy.deepcopy(FACTS), **facts}, host(), inventory(), written or {})


def adopted(one: Wanted) -> tuple[Record, Declared]:
    """The record, and the fleet as it is declared with the lines that adopt prints."""
    added = [yaml.safe_load(part) for part in inventory_text([one]).split("# the inventory\n")]
    lines = added[-1]["servers"]["hosts"] if added[-1] else {}
    catalogs = added[0] or {}
    more = {name: {**FLEET[name], **entries} for name, entries in catalogs.items() if name in FLEET}
    servers = {one.guest.name: {**lines.get(one.guest.name, {}), **one.written}}
    declared = inventory(servers, **more)
    record = record_of(
        declared.servers[one.guest.name], one, host(), declared, fleet_id="F", time="2026-01-01T00:00:00Z"
    )
    return record, declared


def changed(part: str, **changes: t.Any) -> dict[str, t.Any]:
    """The first disk or interface, changed."""
    return {part: [{**FACTS[part][0], **changes}]}


def test_a_running_guest_keeps_all_that_it_is() -> None:
    record, declared = adopted(want())
    assert (record.id, record.name, record.generation, record.host_id, record.fleet_id) == (
        ID,
        "mail",
        1,
        "id-kvm1",
        "F",
    )
    assert (record.flavor.name, record.image.name, record.declared) == ("m1.small", "adopted-qcow2", "active")
    (disk,), (nic,) = record.disks, record.nics
    assert (disk.role, disk.pool, disk.volume, disk.pool_id, disk.bus, disk.target) == (
        *("root", "local", "mail.qcow2", "P"),
        *("sata", "sda"),
    )
    assert (nic.network, nic.source, nic.mac, nic.model) == ("lan", "br0", "52:54:00:aa:bb:01", "e1000e")
    assert [address.address for address in nic.addresses] == ["192.0.2.25"]
    assert (record.hardware.machine, record.hardware.firmware, record.hardware.video_model) == (
        "pc-q35-7.2",
        "uefi",
        "qxl",
    )
    guest = dataclasses.replace(GUEST, record=record)
    plan = plan_server(declared.servers["mail"], record, guest, volumes=frozenset(), leave=Leave())
    assert (plan.steps, plan.held, plan.differences) == ((), (), ())
    assert Record.loads(record.dumps()).dumps() == record.dumps()


def test_the_lines_to_add() -> None:
    assert yaml.safe_load(inventory_text([want()]).partition("# the inventory\n")[2]) == {
        "servers": {
            "hosts": {
                "mail": {
                    "server_id": ID,
                    "server_pool": "local",
                    "server_state": "active",
                    "server_config_drive": False,
                    "server_networks": [{"network": "lan", "mac": "52:54:00:aa:bb:01", "fixed_ip": "192.0.2.25"}],
                    "server_flavor": "m1.small",
                    "server_image": "adopted-qcow2",
                }
            }
        }
    }


@pytest.mark.parametrize(
    ("state", "declared"), [("shutoff", "stopped"), ("paused", "paused"), ("suspended", "suspended")]
)
def test_every_state_is_kept(state: str, declared: str) -> None:
    record, _declared = adopted(want(dataclasses.replace(GUEST, state=state, autostart=True)))
    assert (record.declared, record.spec["autostart"]) == (declared, True)


def test_a_size_of_its_own_becomes_a_flavor() -> None:
    odd = dataclasses.replace(GUEST, vcpus=3, memory=3000)
    record, _declared = adopted(want(odd, **changed("disks", size=20 * GIB + 1)))
    assert (record.flavor.name, record.flavor.disk) == ("adopted-3-3000-21", 21)
    assert record.root.size == 20 * GIB + 1


def test_more_disks_are_kept_and_an_address_that_is_not_known_is_left_out() -> None:
    more = {**FACTS["disks"][0], "target": "sdb", "volume": "data.raw", "format": "raw"}
    both = dataclasses.replace(GUEST, sources=(("local", "mail.qcow2"), ("local", "data.raw")))
    record, _declared = adopted(want(both, disks=[*FACTS["disks"], more], addresses={}))
    assert [(disk.role, disk.volume) for disk in record.disks] == [("root", "mail.qcow2"), ("data1", "data.raw")]
    assert (record.nics[0].addresses, record.spec["networks"]) == (
        (),
        [{"network": "lan", "mac": "52:54:00:aa:bb:01"}],
    )


def test_what_inventory_says_already_counts() -> None:
    record, _declared = adopted(want(written={"server_image": "debian", "server_metadata": {"role": "mx"}}))
    assert (record.image.name, record.spec["metadata"]) == ("debian", {"role": "mx"})


@pytest.mark.parametrize(
    ("guest", "facts", "reason"),
    [
        ({"state": "other"}, {}, "it is other"),
        ({"persistent": False}, {}, "it is transient"),
        ({}, {"disks": []}, "it has no disk"),
        (
            {},
            changed("disks", pool=None, volume="/srv/x.qcow2"),
            r"its disk sda \(/srv/x.qcow2\) is in no storage pool",
        ),
        ({}, changed("disks", pool="elsewhere"), "pool elsewhere, which compute_pools leaves out"),
        ({}, changed("disks", format="vmdk"), "has the format vmdk"),
        ({}, changed("disks", readonly=True), "is read-only"),
        ({}, changed("disks", bus="nvme"), "is on bus nvme, where no disk of a flavor can be beside it"),
        ({}, changed("nics", kind="direct", source=None), "is of type direct"),
        ({}, changed("nics", source="br9"), r"add it: fleet_networks: \{br9: \{bridge: br9\}\}"),
    ],
)
def test_refusals(guest: dict[str, t.Any], facts: dict[str, t.Any], reason: str) -> None:
    with pytest.raises(NotAdopted, match=reason):
        want(dataclasses.replace(GUEST, **guest), **facts)


@pytest.mark.parametrize("kind", ["reconfigure", "resize", "migrate"])
def test_its_disks_stay_its_own_whatever_flavor_it_gets(kind: str) -> None:
    more = {**FACTS["disks"][0], "target": "sdb", "volume": "data.raw", "format": "raw"}
    both = dataclasses.replace(GUEST, sources=(("local", "mail.qcow2"), ("local", "data.raw")))
    record, declared = adopted(want(both, disks=[*FACTS["disks"], more]))
    big = Flavor("big", vcpus=2, ram=4096, disk=40, ephemeral=1)
    spec = {**record.spec, "flavor": big.to_json()}
    step = Step(kind, "", spec=spec, marks={} if kind == "reconfigure" else {"resize": {"state": "running"}})
    other = dataclasses.replace(host(), name="kvm2", survey={**SURVEY, "host_id": "id-kvm2"})
    frame = Frame("F", declared.networks, 0.0, (host(), other))
    (deed,) = deeds(record, [step], host(), frame, fit=None, destination=other if kind == "migrate" else None)
    disks = {disk.role: disk for disk in Record.from_json(deed["record"]).disks}
    assert {role: disk.volume for role, disk in disks.items()} == {
        "root": "mail.qcow2",
        "ephemeral0": f"{ID}-ephemeral0",
        "data1": "data.raw",
    }
    assert (disks["root"].size, disks["root"].target, disks["root"].backing) == (40 * GIB, "sda", None)
    assert disks["data1"].target == "sdb"
    assert disks["ephemeral0"].target not in ("sda", "sdb")


def test_a_rebuild_gives_it_a_root_disk_of_flotilla_s_beside_the_old_one() -> None:
    record, declared = adopted(want())
    spec = {**record.spec, "image": declared.catalogs.images["debian"].to_json()}
    (deed,) = deeds(record, [Step("rebuild", "", spec=spec)], host(), Frame("F", {}, 0.0), fit=None)
    (root,) = Record.from_json(deed["record"]).disks
    assert (root.volume, root.pool, root.pool_id, root.target) == (f"{ID}-root", "local", None, "vda")
    assert root.backing == "image-" + "a" * 64


def test_one_whose_domain_is_gone_is_defined_again_on_its_disk() -> None:
    """The survey lists Flotilla's own volumes; that the others are there only the host knows."""
    record, declared = adopted(want())
    plan = plan_server(declared.servers["mail"], record, None, volumes=frozenset(), leave=Leave())
    assert [step.kind for step in plan.steps] == ["define", "start"]
    assert "mail.qcow2" in plan.steps[0].why


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (dataclasses.replace(GUEST, state="shutoff"), "kvm2 has a domain of its UUID, too"),
        (Guest("x", "other", "running", True, False, 1, 1, volumes=(("nfs", "mail.qcow2"),)), None),
    ],
)
def test_a_copy_on_another_host_is_settled_first(there: Guest, reason: str | None) -> None:
    """Plain ``virsh migrate`` leaves the source defined: were both servers, the wrong one would be started one day."""
    other = dataclasses.replace(host(), name="kvm2", guests=(there,))
    down = Compute("kvm3", host().settings, why="no route")
    if reason is None:
        refuse_copies(GUEST, host(), [host(), other, down])
        return
    with pytest.raises(NotAdopted, match=reason):
        refuse_copies(GUEST, host(), [host(), other, down])


def test_a_guest_that_inventory_declares_otherwise_is_left_alone() -> None:
    big = {"server_flavor": "big"}
    declared = inventory(
        {"mail": {**want(written=big).added, **big, "server_image": "debian"}},
        fleet_flavors={"big": {"vcpus": 8, "ram": 2048, "disk": 20}},
    )
    with pytest.raises(NotAdopted, match=r"domain\.vcpus is 2, declared is 8"):
        record_of(declared.servers["mail"], want(), host(), declared, fleet_id="F", time="t")
