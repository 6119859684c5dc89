# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is served by the metadata service, by which port, and what a change of the record has to do with it."""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import HostFacts, Source, domain_xml
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import (
    fingerprint,
    is_here,
    port_device,
    ports,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MAC = "52:54:00:AA:bb:01"
ADDRESSES = (Address("192.0.2.10", 24), Address("192.0.2.11", 24))


def record(**changes: t.Any) -> Record:
    values: dict[str, t.Any] = {
        "id": ID,
        "name": "web1",
        "fleet_id": "F",
        "generation": 1,
        "spec": {"metadata": {"role": "web"}, "flavor": {}},
        "flavor": Flavor("small", 1, 512, 1),
        "image": Image("debian", "qcow2", "sha256:" + "ab" * 32),
        "disks": (Disk("root", "local", f"{ID}-root", "qcow2", 1, "vda", "virtio"),),
        "nics": (
            Nic("lan", "bridge", "br0", MAC, addresses=ADDRESSES, metadata_service=True),
            Nic("san", "bridge", "br1", "52:54:00:aa:bb:02", addresses=(Address("198.51.100.10", 24),)),
        ),
        "hardware": Hardware(machine="pc"),
    }
    return Record(**{**values, **changes})


def test_a_server_is_known_by_each_address_of_its_served_ports() -> None:
    assert ports(record()) == [("bridge", "br0", "192.0.2.10", MAC), ("bridge", "br0", "192.0.2.11", MAC)]
    assert ports(record(nics=(Nic("lan", "bridge", "br0", MAC, metadata_service=True),))) == []
    assert ports(Record.from_json(record().to_json())) == ports(record())


def test_a_record_of_before_the_service_is_what_it_was() -> None:
    plain = record(nics=(Nic("lan", "bridge", "br0", MAC),))
    assert "metadata_service" not in plain.dumps()


def test_a_served_port_has_a_name_and_a_filter_of_its_own() -> None:
    facts = HostFacts("qemu", {("local", f"{ID}-root"): Source("/pool/root")})
    first, second = ET.fromstring(domain_xml(record(), facts)).findall("devices/interface")
    device = first.find("target")
    assert device is not None
    assert device.get("dev") == port_device(MAC) == "fmd525400aabb01"
    assert len(port_device(MAC)) <= 15
    found = first.find("filterref")
    assert found is not None
    assert found.get("filter") == "clean-traffic"
    assert [(one.get("name"), one.get("value")) for one in found] == [("IP", "192.0.2.10"), ("IP", "192.0.2.11")]
    assert (second.find("target"), second.find("filterref")) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "web2"},
        {"spec": {"metadata": {"role": "db"}, "flavor": {}}},
        {"spec": {"metadata": {"role": "web"}, "flavor": {}, "user_data": {"sha256": "0"}}},
        {"flavor": Flavor("large", 1, 512, 1)},
        {"nics": ()},
    ],
    ids=["name", "metadata", "user data", "flavor", "ports"],
)
def test_what_a_guest_is_told_is_in_the_fingerprint(change: dict[str, t.Any]) -> None:
    assert fingerprint(record(**change)) != fingerprint(record())


def test_what_a_guest_is_not_told_is_not() -> None:
    other = record(generation=7, marks={"lock": {"by": "ops"}}, host_id="h2", declared="stopped")
    other = dataclasses.replace(other, spec={**other.spec, "description": "for the courses"})
    assert fingerprint(other) == fingerprint(record())
    assert fingerprint(Record.from_json(record().to_json())) == fingerprint(record())


def test_a_deleted_server_is_not_served() -> None:
    assert is_here(record())
    assert not is_here(record(marks={"soft_delete": {"at": 1}}))
