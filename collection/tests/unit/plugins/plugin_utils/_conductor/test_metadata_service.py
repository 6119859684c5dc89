# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks with a metadata service: ports, hosts, drives, and trees that are missing or old."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t
import zlib

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import fingerprint
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils import _teller
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import NO_HOST
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.result import entry_result, plan_result
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import RunRow, ServerRow, Snapshot
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import digest
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    FLEET,
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    rows,
    survey,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils.test_told_guests import Inventory

LAN = {**FLEET["fleet_networks"]["lan"], "metadata_service": True}
NETWORKS = {"fleet_networks": {"lan": LAN}}


def served(name: str, *old: str) -> dict[str, t.Any]:
    return {**survey(name), "metadata": {"bridges": ["br0"], "old": list(old)}}


def everywhere(*old: str) -> dict[str, dict[str, t.Any]]:
    return {name: served(name, *old) for name in ("kvm1", "kvm2", "kvm3")}


def record_of(declared: Declared) -> Record:
    guests = next(iter(applied(reconcile(declared, hosts(declared, **everywhere()))).values()))
    assert guests[0].record is not None
    return guests[0].record


def test_a_server_goes_only_where_its_network_has_the_service() -> None:
    declared = fleet({"web1": WEB}, **NETWORKS)
    plan = claimed(reconcile(declared, hosts(declared, kvm2=served("kvm2"))))
    assert entries(plan)["web1"].host == "kvm2"
    (web1,) = reconcile(declared, hosts(declared)).plan().servers
    assert web1.verdict == NO_HOST
    assert "lan" in web1.message


def test_a_libvirt_network_is_known_by_its_bridge() -> None:
    lan = {**LAN, "libvirt_network": "inside"}
    del lan["bridge"]
    declared = fleet({"web1": WEB}, fleet_networks={"lan": lan})
    inside = {"networks": {"inside": {"active": True, "bridge": "br0", "forward": "nat"}}}
    surveys = {"kvm1": {**survey("kvm1"), **inside}, "kvm3": {**served("kvm3"), **inside}}
    plan = claimed(reconcile(declared, hosts(declared, **surveys)))
    assert entries(plan)["web1"].host == "kvm3"


@pytest.mark.parametrize(
    ("variables", "has_drive"),
    [
        ({}, False),
        ({"server_config_drive": "auto"}, False),
        ({"server_config_drive": True}, True),
        ({"server_config_drive_format": "nocloud"}, True),
        ({"server_personality": {"/etc/motd": "hello"}}, True),
        ({"server_networks": []}, True),
    ],
)
def test_auto_makes_a_drive_where_the_service_does_not_tell_it_all(variables: t.Any, has_drive: bool) -> None:
    record = record_of(fleet({"web1": {**WEB, **variables}}, **NETWORKS))
    assert any(disk.role == "config" for disk in record.disks) == has_drive


def test_addresses_are_claimed_also_where_the_guest_asks_by_dhcp() -> None:
    for dhcp, mode in ((False, None), (True, "dhcp")):
        record = record_of(fleet({"web1": WEB}, fleet_networks={"lan": {**LAN, "dhcp": dhcp}}))
        (nic,) = record.nics
        assert [(one.address, one.mode) for one in nic.addresses] == [("192.0.2.10", mode)]
        assert (nic.metadata_service, nic.dhcp) == (True, ())


def test_ports_of_bonds_and_vlans_are_not_served() -> None:
    ports = [{"network": "lan", "vlan": 4}, {"network": "lan", "bond": "bond0"}, {"network": "lan", "bond": "bond0"}]
    record = record_of(fleet({"web1": {**WEB, "server_networks": ports}}, **NETWORKS))
    assert [nic.metadata_service for nic in record.nics] == [False, False, False]


def test_a_network_that_gets_the_service_changes_its_servers_hardware() -> None:
    before = fleet({"web1": WEB})
    guests = applied(reconcile(before, hosts(before)))
    after = fleet({"web1": WEB}, **NETWORKS)
    (web1,) = reconcile(after, hosts(after, guests, **everywhere())).plan().servers
    assert [(step.kind, step.hold) for step in web1.held] == [("reconfigure", "restart")]
    allowed = Leave(allow=frozenset({"restart"}))
    (web1,) = claimed(reconcile(after, hosts(after, guests, **everywhere()), leave=allowed)).servers
    assert kinds(web1) == ["stop", "reconfigure", "start"]
    (nic,) = Record.from_json(web1.deeds[1]["record"]).nics
    assert nic.metadata_service


def test_a_tree_that_is_missing_or_old_is_brought_up_to_date() -> None:
    declared = fleet({"web1": WEB}, **NETWORKS)
    guests = applied(reconcile(declared, hosts(declared, **everywhere())))
    server_id = next(iter(guests.values()))[0].id
    (web1,) = claimed(reconcile(declared, hosts(declared, guests, **everywhere()))).servers
    assert kinds(web1) == []
    (web1,) = claimed(reconcile(declared, hosts(declared, guests, **everywhere(server_id)))).servers
    assert [(step.kind, step.why) for step in web1.steps] == [
        ("update", "its metadata at the metadata service is not what it is to be told")
    ]
    stopped = fleet({"web1": {**WEB, "server_state": "stopped"}}, **NETWORKS)
    (web1,) = claimed(reconcile(stopped, hosts(stopped, guests, **everywhere(server_id)))).servers
    assert kinds(web1) == ["update", "stop"]


def test_what_is_told_of_a_server_that_is_not_there_is_taken_away() -> None:
    gone = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a99"
    declared = fleet({"web1": WEB}, **NETWORKS)
    guests = applied(reconcile(declared, hosts(declared, **everywhere())))
    surveys = everywhere()
    surveys["kvm2"]["metadata"]["left"] = [gone]

    def planned(snapshot: Snapshot | None = None) -> dict[str, t.Any]:
        plan = claimed(reconcile(declared, hosts(declared, guests, **surveys), snapshot))
        return plan_result(plan, declared, run_id="me", fleet=None)

    result = planned()
    assert result["act_hosts"] == ["kvm2"]
    (entry,) = result["hosts"]["kvm2"]["servers"]
    assert (entry["id"], entry["host"], entry["copy"]) == (gone, "kvm2", True)
    (deed,) = entry["deeds"]
    assert (deed["kind"], deed["server_id"], deed["record"]) == ("forget_metadata", gone, None)
    # It may be on its way, by another run or by itself.
    row = ServerRow(gone, "db", "kvm1", None, 0, "active", "migrating", 0, "other", None, 0.0, 0.0)
    run = RunRow("other", "Plan", "ctl2", "b", "n", 42, "1", "ann", 0.0, 0.0, None, "running")
    assert planned(rows(servers={gone: row}, runs={"other": run}))["act_hosts"] == []
    surveys["kvm1"]["running_steps"] = [{"server_id": gone, "run_id": "r", "step": "live_migrate", "since": ""}]
    assert planned()["act_hosts"] == []


def test_the_host_that_a_server_goes_to_knows_it_first() -> None:
    def moved(**networks: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        declared = fleet({"web1": {**WEB, "server_host": "kvm1"}}, **networks)
        guests = applied(reconcile(declared, hosts(declared, **everywhere())))
        declared = fleet({"web1": {**WEB, "server_host": "kvm2"}}, **networks)
        computes = hosts(declared, guests, **everywhere())
        computes = tuple(
            dataclasses.replace(
                one, settings=dataclasses.replace(one.settings, migration_uri=f"qemu+tcp://{one.name}/")
            )
            for one in computes
        )
        leave = Leave(allow=frozenset({"migrate", "restart"}))
        plan = claimed(reconcile(declared, computes, leave=leave))
        assert (plan.servers[0].destination, kinds(plan.servers[0])) == ("kvm2", ["live_migrate"])
        result = plan_result(plan, declared, run_id="me", fleet=None)
        return result, entry_result(plan.servers[0], declared, run_id="me", fleet=None)

    result, alone = moved(**NETWORKS)
    assert (result["act_hosts"], result["act_servers"]) == (["kvm2"], ["web1"])
    (arriving,) = result["hosts"]["kvm2"]["servers"]
    assert arriving == alone["arriving"]
    assert (arriving["host"], arriving["destination"], arriving["copy"]) == ("kvm2", None, True)
    (deed,) = arriving["deeds"]
    assert deed["kind"] == "bring_metadata"
    assert deed["record"] == result["servers"]["web1"]["deeds"][-1]["record"]
    assert list(Inventory()._trees({**arriving, "fleet_id": "fleet-1234567890"}, arriving["deeds"])) == [arriving["id"]]
    result, alone = moved()
    assert (result["hosts"]["kvm2"]["servers"], alone["arriving"]) == ([], None)


def test_which_steps_bring_the_tree_along() -> None:
    record = record_of(fleet({"web1": {**WEB, "server_metadata": {"role": "db"}}}, **NETWORKS))

    def sent(*kinds: str, destination: str | None = None, of: Record = record) -> dict[str, str]:
        entry = {"fleet_id": "fleet-1234567890", "record": of.to_json(), "zone": "east", "destination": destination}
        return Inventory()._trees(entry, [{"kind": kind, "record": None} for kind in kinds])

    for kind in ("create", "define", "evacuate", "start", "update", "adopt", "restore", "unshelve", "bring_metadata"):
        assert list(sent(kind)) == [record.id], kind
    tree = json.loads(zlib.decompress(base64.b64decode(sent("start")[record.id])))
    number, content_type = tree["answers"]["openstack/latest/meta_data.json"]
    assert content_type == "application/json"
    assert tree["made_of"] == fingerprint(record)
    assert json.loads(base64.b64decode(tree["bodies"][number]))["meta"] == {"role": "db"}
    assert sent("stop", "pause", "delete") == {}
    assert sent("stop", "migrate", "start", destination="kvm2") == {}
    plain = record_of(fleet({"web1": WEB}))
    assert sent("create", "start", of=plain) == {}


def test_vendor_data_is_asked_for_once_where_drive_and_service_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask_all(_targets: t.Any, request: t.Any, **_more: t.Any) -> dict[str, t.Any]:
        asked.append(request["instance-id"])
        return {}

    monkeypatch.setattr(_teller, "ask_all", ask_all)
    record = record_of(fleet({"web1": {**WEB, "server_config_drive": True}}, **NETWORKS))
    entry: t.Any = {"fleet_id": "fleet-1234567890", "record": record.to_json(), "zone": "east", "host": "kvm1"}
    carrier, steps = Inventory(), [{"kind": "create", "record": record.to_json()}]
    assert list(carrier._drives(entry, steps)) == list(carrier._trees(entry, steps)) == [record.id]
    assert asked == [record.id]
    other = {**entry, "zone": "west"}
    assert carrier._trees(other, steps) != carrier._trees(entry, steps)


def test_user_data_that_this_run_does_not_have_keeps_no_server_from_starting() -> None:
    record = record_of(fleet({"web1": {**WEB, "server_user_data": "#!/bin/sh\n"}}, **NETWORKS))
    entry: t.Any = {"fleet_id": "fleet-1234567890", "record": record.to_json(), "zone": "east"}
    assert record.spec["user_data"] == {"sha256": digest("#!/bin/sh\n")}
    assert Inventory()._trees(entry, [{"kind": "start"}]) == {}
    with pytest.raises(FlotillaError, match="which this run doesn't have"):
        Inventory()._trees(entry, [{"kind": "create"}])
    # A host that doesn't know it yet tells it its id at least, and the run says without what.
    for kind in ("bring_metadata", "evacuate"):
        arriving: t.Any = {**entry, "host": "kvm2"}
        told = Inventory()._trees(arriving, [{"kind": kind}])
        tree = json.loads(zlib.decompress(base64.b64decode(told[record.id])))
        assert tree["made_of"] != fingerprint(record), "the next run that knows it writes it again"
        assert "openstack/latest/user_data" not in tree["answers"]
        number, _type = tree["answers"]["openstack/latest/meta_data.json"]
        assert json.loads(base64.b64decode(tree["bodies"][number]))["uuid"] == record.id
        assert arriving["without"].startswith("its user data or files: its user data is in inventory")
