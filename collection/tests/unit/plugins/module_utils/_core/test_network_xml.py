# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import (
    LibvirtNetwork,
    desired_network,
    network_differences,
    network_of,
    network_xml,
)

NETWORKS: list[dict[str, t.Any]] = [
    {"forward": "bridge", "bridge": "br0"},
    {"forward": "bridge", "bridge": "br0", "mtu": 9000, "autostart": False},
    {"forward": "isolated"},
    {"forward": "isolated", "cidr": "192.0.2.0/24"},
    {"forward": "nat", "cidr": "192.0.2.0/24", "dhcp": True, "bridge": "virbr7"},
    {"forward": "nat", "cidr": "192.0.2.0/24", "gateway": "192.0.2.254"},
    {
        "forward": "route",
        "cidr": "2001:db8::/64",
        "dhcp": True,
        "allocation_pools": [{"start": "2001:db8::10", "end": "2001:db8::20"}],
    },
]


@pytest.mark.parametrize("arguments", NETWORKS)
def test_what_is_written_reads_back_without_a_difference(arguments: dict[str, t.Any]) -> None:
    desired = desired_network("lan <&'\"> ü", **arguments)
    read = network_of(network_xml(desired), autostart=desired.autostart)
    assert network_differences(desired, read) == {}
    assert read.name == desired.name


@pytest.mark.parametrize(
    ("arguments", "address", "ranges"),
    [
        ({"cidr": "192.0.2.0/24"}, "192.0.2.1/24", ()),
        ({"cidr": "192.0.2.0/24", "dhcp": True}, "192.0.2.1/24", (("192.0.2.2", "192.0.2.254"),)),
        (
            {"cidr": "192.0.2.0/24", "dhcp": True, "allocation_pools": [{"start": "192.0.2.9", "end": "192.0.2.10"}]},
            "192.0.2.1/24",
            (("192.0.2.9", "192.0.2.10"),),
        ),
        # Without DHCP the pools are the fleet's to hand out, not libvirt's.
        (
            {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.9", "end": "192.0.2.10"}]},
            "192.0.2.1/24",
            (),
        ),
    ],
)
def test_addresses(arguments: dict[str, t.Any], address: str, ranges: tuple[tuple[str, str], ...]) -> None:
    network = desired_network("lan", forward="nat", **arguments)
    assert (network.address, network.ranges) == (address, ranges)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"forward": "bridge"}, "needs bridge"),
        ({"forward": "bridge", "bridge": "br0", "cidr": "192.0.2.0/24"}, "and no cidr"),
        ({"forward": "nat"}, "needs a cidr"),
        ({"forward": "isolated", "gateway": "192.0.2.1"}, "but no cidr"),
        ({"forward": "nat", "cidr": "192.0.2.1/24"}, "has host bits set"),
        ({"forward": "nat", "cidr": "x"}, "can't have the cidr 'x'"),
        ({"forward": "nat", "cidr": "192.0.2.0/24", "gateway": "198.51.100.1"}, "not in its cidr"),
        ({"forward": "nat", "cidr": "192.0.2.0/24", "gateway": "x"}, "is no address"),
        ({"forward": "nat", "cidr": "192.0.2.0/31", "dhcp": True}, "no room for DHCP"),
        ({"forward": "nat", "cidr": "192.0.2.0/24", "dhcp": True, "gateway": "192.0.2.254"}, "no room for DHCP"),
    ],
)
def test_what_can_not_be_is_refused(arguments: dict[str, t.Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        desired_network("lan", **arguments)


def test_only_what_the_user_wrote_is_compared() -> None:
    """Libvirt names the bridge of an isolated network itself."""
    found = LibvirtNetwork("lan", "isolated", bridge="virbr0", mtu=1500)
    assert network_differences(LibvirtNetwork("lan", "isolated"), found) == {}
    assert network_differences(LibvirtNetwork("lan", "isolated", mtu=9000), found) == {"mtu": (1500, 9000)}


def test_a_definition_with_a_netmask_is_read() -> None:
    xml = "<network><name>default</name><forward/><ip address='192.0.2.1' netmask='255.255.255.0'/></network>"
    assert network_of(xml, autostart=True) == LibvirtNetwork("default", "nat", address="192.0.2.1/24")


def test_without_dhcp_libvirt_needs_no_dnsmasq() -> None:
    assert '<dns enable="no"' in network_xml(desired_network("lan", forward="isolated", cidr="192.0.2.0/24"))
    assert "<dns" not in network_xml(desired_network("lan", forward="nat", cidr="192.0.2.0/24", dhcp=True))
