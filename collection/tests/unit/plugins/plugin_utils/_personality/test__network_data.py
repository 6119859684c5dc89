# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality import network_data

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
                "type": "object",
                "required": ["ethernet_mac_address", "id", "type"],
                "properties": {
                    "id": {"type": "string"},
                    "vif_id": {"type": "string"},
                    "ethernet_mac_address": {"type": "string", "pattern": "^([0-9a-fA-F]{2}[:-]){5}([0-9a-fA-F]{2})$"},
                    "mtu": {"anyOf": [{"type": "number", "minimum": 1, "maximum": 65535}, {"type": "null"}]},
                    "type": {"enum": ["bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif", "phy"]},
                },
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
V6 = Address("2001:db8::10", 64, gateway="2001:db8::1", dns=("2001:db8::2",))


@pytest.mark.parametrize(
    "nics",
    [
        [nic(0)],
        [nic(0, V4)],
        [nic(0, V4_BARE, mtu=9000)],
        [nic(0, V6)],
        [nic(0, V4, V6), nic(1), nic(2, V4_BARE)],
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
