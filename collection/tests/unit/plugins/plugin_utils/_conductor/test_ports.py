# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of networks with several subnets: what is claimed, and what the guest is told."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Nic
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import nics_of, wishes
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Network, network, port

LAN = {
    "bridge": "br0",
    "cidr": "192.0.2.0/24",
    "gateway": "192.0.2.1",
    "routes": [{"destination": "10.0.0.0/8", "gateway": "192.0.2.2"}],
    "subnets": [{"cidr": "2001:db8::/64", "gateway": "2001:db8::1"}],
}
NETWORKS = {
    "lan": network("lan", LAN),
    "plain": network("plain", {"bridge": "br1"}),
    "v4": network("v4", {"bridge": "br2", "cidr": "198.51.100.0/24"}),
    "auto": network("auto", {"bridge": "br3", "cidr": "2001:db8:1::/64", "ipv6_address_mode": "slaac"}),
    "mixed": network("mixed", {"bridge": "br4", "dhcp": True, "subnets": [{"cidr": "2001:db8:2::/64"}]}),
    "leased": network("leased", {"bridge": "br5", "cidr": "203.0.113.0/24", "dhcp": True}),
}


class Host:
    def source_of(self, of: Network) -> str:
        return of.source


def asked(*ports: t.Any) -> list[tuple[str, str | None]]:
    spec = {"networks": [port(one) for one in ports]}
    return [(wish.network, wish.fixed) for wish in wishes(spec, NETWORKS, reserved={})]


def nics(*ports: t.Any, addresses: t.Sequence[str] = ()) -> tuple[Nic, ...]:
    spec = {"networks": [port(one) for one in ports]}
    return nics_of("id", spec, t.cast("t.Any", Host()), NETWORKS, addresses, model="virtio")


def told(nic: Nic) -> list[tuple[str, int, str | None, str | None]]:
    return [(one.address, one.prefix, one.gateway, one.mode) for one in nic.addresses]


def test_a_port_gets_an_address_of_each_subnet() -> None:
    assert asked("lan") == [("lan", None), ("lan", None)]
    first, second = wishes({"networks": [port("lan")]}, NETWORKS, reserved={"lan": ["192.0.2.9"]})
    assert first.pools == (("192.0.2.1", "192.0.2.254"),)
    assert set(first.reserved) == {"192.0.2.1", "192.0.2.9"}
    assert second.pools == (("2001:db8::1", "2001:db8::ffff:ffff:ffff:fffe"),)
    (nic,) = nics("lan", addresses=["192.0.2.10", "2001:db8::10"])
    assert told(nic) == [("192.0.2.10", 24, "192.0.2.1", None), ("2001:db8::10", 64, "2001:db8::1", None)]
    assert nic.addresses[0].routes == ({"destination": "10.0.0.0/8", "gateway": "192.0.2.2"},)
    assert nic.dhcp == ()


def test_addresses_that_are_asked_for_are_of_the_subnet_that_has_them() -> None:
    many = {"network": "lan", "fixed_ip": "2001:db8::5", "fixed_ips": ["192.0.2.5", "192.0.2.6"]}
    assert asked(many) == [("lan", "192.0.2.5"), ("lan", "192.0.2.6"), ("lan", "2001:db8::5")]
    (nic,) = nics(many, addresses=["192.0.2.5", "192.0.2.6", "2001:db8::5"])
    assert [address for address, *_more in told(nic)] == ["192.0.2.5", "192.0.2.6", "2001:db8::5"]


def test_a_port_of_a_network_without_addresses_is_as_it_was() -> None:
    assert asked("plain", "leased") == []
    assert [(nic.addresses, nic.dhcp) for nic in nics("plain", "leased")] == [((), ()), ((), ())]
    assert asked({"network": "leased", "fixed_ip": "203.0.113.5"}) == [("leased", "203.0.113.5")]
    (nic,) = nics({"network": "leased", "fixed_ip": "203.0.113.5"}, addresses=["203.0.113.5"])
    assert (told(nic), nic.dhcp) == ([("203.0.113.5", 24, None, None)], ())


def test_an_address_that_the_guest_derives_is_told_and_not_claimed() -> None:
    assert asked("auto") == []
    (nic,) = nics({"network": "auto", "mac": "52:54:00:12:34:56"})
    assert told(nic) == [("2001:db8:1:0:5054:ff:fe12:3456", 64, None, "slaac")]


def test_dhcp_beside_a_fixed_address() -> None:
    assert asked("mixed") == [("mixed", None)]
    (nic,) = nics("mixed", addresses=["2001:db8:2::5"])
    assert nic.dhcp == (4,)
    assert told(nic) == [("2001:db8:2::5", 64, None, None)]


def test_of_a_bond_the_first_port_alone_has_addresses() -> None:
    ports = [{"network": "v4", "bond": "bond0", "bond_mode": "802.3ad"}, {"network": "v4", "bond": "bond0"}, "v4"]
    assert asked(*ports) == [("v4", None), ("v4", None)]
    first, second, third = nics(*ports, addresses=["198.51.100.5", "198.51.100.6"])
    assert [len(nic.addresses) for nic in (first, second, third)] == [1, 0, 1]
    assert (first.bond, first.bond_mode, second.bond, third.bond) == ("bond0", "802.3ad", "bond0", None)


def test_tag_and_vlan_are_the_port_s() -> None:
    (nic,) = nics({"network": "v4", "tag": "front", "vlan": 42}, addresses=["198.51.100.5"])
    assert (nic.tag, nic.vlan) == ("front", 42)
    assert Nic.from_json(nic.to_json()).to_json() == nic.to_json()
