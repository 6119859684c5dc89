# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._network_data import (
    BOND_MODES,
    network_data,
)

jsonschema = pytest.importorskip("jsonschema")

IPV4 = {"type": "string", "format": "ipv4"}
IPV6 = {"type": "string", "format": "ipv6"}


def _services(address: dict[str, t.Any]) -> dict[str, t.Any]:
    service = {
        "type": "object",
        "required": ["address", "type"],
        "properties": {"address": address, "type": {"enum": ["dns"]}},
    }
    return {"type": "array", "items": service}


def _network(types: list[str], address: dict[str, t.Any]) -> dict[str, t.Any]:
    route = {
        "type": "object",
        "required": ["gateway", "netmask", "network"],
        "properties": {"gateway": address, "netmask": address, "network": address, "services": _services(address)},
    }
    return {
        "type": "object",
        "required": ["id", "link", "network_id", "type"],
        "properties": {
            "id": {"type": "string"},
            "link": {"type": "string"},
            "network_id": {"type": "string"},
            "type": {"enum": types},
            "ip_address": address,
            "netmask": address,
            "routes": {"type": "array", "items": route},
            "services": _services(address),
        },
    }


# The rules of the schema that Nova publishes (doc/api_schemas/network_data.json), as far as a port can break them.
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["links", "networks", "services"],
    "properties": {
        "links": {
            "type": "array",
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "required": ["ethernet_mac_address", "id", "type"],
                        "properties": {
                            "id": {"type": "string"},
                            "vif_id": {"type": "string"},
                            "ethernet_mac_address": {
                                "type": "string",
                                "pattern": "^([0-9a-fA-F]{2}[:-]){5}([0-9a-fA-F]{2})$",
                            },
                            "mtu": {"anyOf": [{"type": "number", "minimum": 1, "maximum": 65535}, {"type": "null"}]},
                            "type": {
                                "enum": ["bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif", "phy"]
                            },
                        },
                    },
                    {
                        "type": "object",
                        "required": ["ethernet_mac_address", "id", "type", "bond_mode", "bond_links"],
                        "properties": {
                            "type": {"enum": ["bond"]},
                            "bond_mode": {"enum": list(BOND_MODES)},
                            "bond_links": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                    {
                        "type": "object",
                        "required": ["vlan_mac_address", "id", "type", "vlan_link", "vlan_id"],
                        "properties": {
                            "type": {"enum": ["vlan"]},
                            "vlan_id": {"type": "integer"},
                            "vlan_link": {"type": "string"},
                        },
                    },
                ]
            },
        },
        "networks": {
            "type": "array",
            "items": {
                "oneOf": [
                    _network(["ipv4", "ipv4_dhcp"], IPV4),
                    _network(["ipv6", "ipv6_dhcp", "ipv6_slaac"], IPV6),
                ]
            },
        },
        "services": _services({"anyOf": [IPV4, IPV6]}),
    },
}


def nic(index: int, *addresses: Address, mtu: int | None = None) -> Nic:
    return Nic(f"net{index}", "bridge", "br0", f"52:54:00:00:00:0{index}", mtu=mtu, addresses=addresses)


V4 = Address("192.0.2.10", 24, gateway="192.0.2.1", dns=("192.0.2.2", "192.0.2.3"))
V4_BARE = Address("198.51.100.7", 25)
ROUTED = Address("203.0.113.9", 24, routes=({"destination": "10.0.0.0/8", "gateway": "203.0.113.2"},))
V6 = Address("2001:db8::10", 64, gateway="2001:db8::1", dns=("2001:db8::2",))


@pytest.mark.parametrize(
    "nics",
    [
        [nic(0)],
        [nic(0, V4)],
        [nic(0, V4_BARE, mtu=9000)],
        [nic(0, V6)],
        [nic(0, V4, V6), nic(1), nic(2, V4_BARE)],
        [dataclasses.replace(nic(0, V4), vlan=42, bond="bond0"), dataclasses.replace(nic(1), bond="bond0")],
        [dataclasses.replace(nic(0, V6, ROUTED), dhcp=(4,))],
        [nic(0, dataclasses.replace(V6, mode="slaac"), dataclasses.replace(V4, mode="dhcp"))],
    ],
)
def test_every_document_is_valid_by_novas_schema(nics: list[Nic]) -> None:
    checker = jsonschema.FormatChecker(formats=["ipv4", "ipv6"])
    jsonschema.Draft7Validator(SCHEMA, format_checker=checker).validate(network_data(nics))


def test_a_static_port() -> None:
    assert network_data([nic(0, V4, mtu=1450)]) == {
        "links": [
            {
                "id": "interface0",
                "vif_id": "net0-52:54:00:00:00:00",
                "type": "phy",
                "mtu": 1450,
                "ethernet_mac_address": "52:54:00:00:00:00",
            }
        ],
        "networks": [
            {
                "id": "network0",
                "type": "ipv4",
                "link": "interface0",
                "network_id": "net0",
                "ip_address": "192.0.2.10",
                "netmask": "255.255.255.0",
                "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}],
                "services": [{"type": "dns", "address": "192.0.2.2"}, {"type": "dns", "address": "192.0.2.3"}],
            }
        ],
        "services": [{"type": "dns", "address": "192.0.2.2"}, {"type": "dns", "address": "192.0.2.3"}],
    }


def test_a_port_without_addresses_asks_by_dhcp() -> None:
    (network,) = network_data([nic(3)])["networks"]
    assert network == {"id": "network0", "type": "ipv4_dhcp", "link": "interface0", "network_id": "net3"}


def test_ipv6_has_its_mask_as_an_address_and_its_own_default_route() -> None:
    (network,) = network_data([nic(0, V6)])["networks"]
    assert network["type"] == "ipv6"
    assert network["netmask"] == "ffff:ffff:ffff:ffff::"
    assert network["routes"] == [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}]


def test_networks_are_numbered_through_and_services_named_once() -> None:
    document = network_data([nic(0, V4, V6), nic(1), nic(2, V4)])
    assert [network["id"] for network in document["networks"]] == ["network0", "network1", "network2", "network3"]
    assert [network["link"] for network in document["networks"]] == [
        "interface0",
        "interface0",
        "interface1",
        "interface2",
    ]
    assert [service["address"] for service in document["services"]] == ["192.0.2.2", "192.0.2.3", "2001:db8::2"]


def test_a_vlan_is_a_link_on_its_port() -> None:
    document = network_data([dataclasses.replace(nic(0, V4, mtu=1450), vlan=42)])
    port, vlan = document["links"]
    assert vlan == {
        "id": "interface0.42",
        "type": "vlan",
        "vlan_id": 42,
        "vlan_link": port["id"],
        "vlan_mac_address": port["ethernet_mac_address"],
        "ethernet_mac_address": port["ethernet_mac_address"],
        "mtu": 1450,
    }
    assert [network["link"] for network in document["networks"]] == ["interface0.42"]


def test_a_bond_is_a_link_over_its_ports() -> None:
    members = [dataclasses.replace(one, bond="bond0", bond_mode="802.3ad") for one in (nic(0, V4), nic(1))]
    document = network_data([*members, nic(2, V4_BARE)])
    assert [link["id"] for link in document["links"]] == ["interface0", "interface1", "interface2", "bond0"]
    bond = document["links"][-1]
    assert (bond["bond_links"], bond["bond_mode"]) == (["interface0", "interface1"], "802.3ad")
    assert [network["link"] for network in document["networks"]] == ["bond0", "interface2"]


def test_a_vlan_on_a_bond() -> None:
    members = [dataclasses.replace(one, bond="bond0", vlan=7) for one in (nic(0, V4), nic(1))]
    document = network_data(members)
    assert [link["id"] for link in document["links"]][2:] == ["bond0", "bond0.7"]
    assert [network["link"] for network in document["networks"]] == ["bond0.7"]


def test_dhcp_beside_an_address() -> None:
    document = network_data([dataclasses.replace(nic(0, V6, mtu=9000), dhcp=(4,))])
    assert [network["type"] for network in document["networks"]] == ["ipv4_dhcp", "ipv6"]
    assert document["links"][0]["mtu"] is None


def test_without_ports_there_is_nothing_to_say() -> None:
    assert network_data([]) == {}
