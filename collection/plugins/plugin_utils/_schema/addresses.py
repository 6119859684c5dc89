# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixed addresses and MACs that servers ask for.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Path, listed

__all__ = ["IPAddress", "IPNetwork", "check_ports", "unusable"]

IPAddress = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
IPNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def unusable(address: IPAddress, cidr: IPNetwork) -> str | None:
    """Why no port in the network can have the address, as a clause."""
    if address not in cidr:
        return f"found {address}, allowed is an address in the network's cidr {cidr}"
    if cidr.prefixlen >= cidr.max_prefixlen - 1:
        return None  # of two addresses, or one, each can be used (RFC 3021, RFC 6164)
    if address == cidr.network_address:
        return f"found {address}, which is the address of the network {cidr} itself"
    if cidr.version == 4 and address == cidr.broadcast_address:
        return f"found {address}, which is the broadcast address of the network {cidr}"
    return None


def check_ports(review: Review) -> None:
    claims: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    macs: dict[str, list[str]] = collections.defaultdict(list)
    networks = review.entries("fleet_networks")
    for host, data in review.servers.items():
        for index, port in enumerate(data.get("server_networks", ())):
            if not isinstance(port, dict):
                continue
            if "mac" in port:
                macs[port["mac"].lower()].append(host)
            for path, text in _asked(port):
                address = ipaddress.ip_address(text)
                claims[port["network"], str(address)].append(host)
                wrong = _misplaced(address, port["network"], networks)
                if wrong:
                    review.add("server_networks", (index, *path), hosts=(host,), reason=wrong)
    _twice(review, claims, macs)


def _asked(port: t.Mapping[str, t.Any]) -> t.Iterator[tuple[Path, str]]:
    """The addresses that a port asks for, each with its path in it."""
    if "fixed_ip" in port:
        yield ("fixed_ip",), port["fixed_ip"]
    for index, address in enumerate(port.get("fixed_ips", ())):
        yield ("fixed_ips", index), address


def _misplaced(address: IPAddress, name: str, networks: t.Mapping[str, t.Any]) -> str | None:
    network = networks.get(name)
    if network is None:
        return None  # unknown, or with a mistake: reported there
    subnets = [one for one in (network, *network.get("subnets", ())) if "cidr" in one]
    if not subnets:
        return f"found {address}, but network {name!r} has no cidr, so that no address in it can be asked for"
    if any("gateway" in one and address == ipaddress.ip_address(one["gateway"]) for one in subnets):
        return f"found {address}, which is the gateway of network {name!r}"
    blocks = [ipaddress.ip_network(one["cidr"]) for one in subnets]
    mine = next((block for block in blocks if address in block), blocks[0])
    if len(blocks) > 1 and address not in mine:
        return f"found {address}, allowed is an address in a cidr of the network ({listed(blocks)})"
    return unusable(address, mine)


def _twice(review: Review, claims: t.Mapping[tuple[str, str], list[str]], macs: t.Mapping[str, list[str]]) -> None:
    for (network, address), hosts in claims.items():
        if len(hosts) > 1:
            reason = f"{len(hosts)} ports ask for {address} in network {network!r}, allowed is one"
            review.add("server_networks", hosts=sorted(set(hosts)), reason=reason)
    for mac, hosts in macs.items():
        if len(hosts) > 1:
            reason = f"{len(hosts)} ports ask for the MAC address {mac}, allowed is one"
            review.add("server_networks", hosts=sorted(set(hosts)), reason=reason)
