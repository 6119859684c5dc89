# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""network_data.json, as Nova writes it (nova.virt.netutils), valid against the schema that Nova publishes.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Links of the types vlan and bond are of that schema, though Nova itself writes none: they are for a port whose guest
tags its VLAN itself, and for several ports as one.
"""

from __future__ import annotations

import ipaddress
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic

__all__ = ["BOND_MODES", "network_data"]

Document = dict[str, t.Any]

#: Mode of a bond -> its number, which older images ask for. The modes of the kernel, all in Nova's schema.
BOND_MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")


def network_data(nics: Sequence[Nic]) -> Document:
    """Links, networks and services of a server's ports; ``{}`` without any, as in Nova.

    A port without addresses asks by DHCP; one with addresses gets them all, where Nova writes the first of each family.
    """
    if not nics:
        return {}
    links: list[Document] = []
    networks: list[Document] = []
    services: list[Document] = []
    for index, nic in enumerate(nics):
        links.append(_link(index, nic))
    for index, nic in enumerate(nics):
        if nic.bond and nic.bond in (other.bond for other in nics[:index]):
            continue
        upper = _upper_links(index, nics)
        links += upper
        carrier = upper[-1]["id"] if upper else _link_id(index)
        for network in _networks_of(nic):
            place = {"id": f"network{len(networks)}", "link": carrier, "network_id": nic.network}
            networks.append({**place, **network})
        services += [service for service in _dns_of(nic) if service not in services]
    return {"links": links, "networks": networks, "services": services}


def _link_id(index: int) -> str:
    return f"interface{index}"


def _link(index: int, nic: Nic) -> Document:
    """Type ``phy``: Nova's other types say how the host plugs the port, which a guest has no use for."""
    return {
        "id": _link_id(index),
        "vif_id": f"{nic.network}-{nic.mac}",
        "type": "phy",
        "mtu": _mtu(nic),
        "ethernet_mac_address": nic.mac,
    }


def _mtu(nic: Nic) -> int | None:
    """None where DHCP says it."""
    asks = not nic.addresses or 4 in nic.dhcp or any(address.mode == "dhcp" for address in nic.addresses)
    return None if asks else nic.mtu


def _upper_links(index: int, nics: Sequence[Nic]) -> list[Document]:
    """The bond and the VLAN on a port, the topmost last."""
    nic = nics[index]
    found = []
    below = _link_id(index)
    if nic.bond:
        members = [_link_id(at) for at, other in enumerate(nics) if other.bond == nic.bond]
        found.append(
            {
                "id": nic.bond,
                "type": "bond",
                "bond_links": members,
                "bond_mode": nic.bond_mode or BOND_MODES[1],
                "bond_miimon": 100,
                "ethernet_mac_address": nic.mac,
                "mtu": _mtu(nic),
            }
        )
        below = nic.bond
    if nic.vlan:
        found.append(
            {
                "id": f"{below}.{nic.vlan}",
                "type": "vlan",
                "vlan_id": nic.vlan,
                "vlan_link": below,
                "vlan_mac_address": nic.mac,
                "ethernet_mac_address": nic.mac,
                "mtu": _mtu(nic),
            }
        )
    return found


def _networks_of(nic: Nic) -> list[Document]:
    asked = [{"type": f"ipv{family}_dhcp"} for family in nic.dhcp]
    return asked + [_network(address) for address in nic.addresses] or [{"type": "ipv4_dhcp"}]


def _network(address: Address) -> Document:
    interface = ipaddress.ip_interface(f"{address.address}/{address.prefix}")
    kind = f"ipv{interface.version}"
    if address.mode == "dhcp":
        return {"type": f"{kind}_dhcp"}
    any_address = "0.0.0.0" if interface.version == 4 else "::"  # noqa: S104  # the default route, nothing is bound to it
    routes = [{"network": any_address, "netmask": any_address, "gateway": address.gateway}] if address.gateway else []
    return {
        "type": f"{kind}_{address.mode}" if address.mode else kind,
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
        "routes": routes + [_route(route) for route in address.routes],
        "services": _dns(address),
    }


def _route(route: t.Mapping[str, str]) -> Document:
    to = ipaddress.ip_network(route["destination"])
    return {"network": str(to.network_address), "netmask": str(to.netmask), "gateway": route["gateway"]}


def _dns(address: Address) -> list[Document]:
    return [{"type": "dns", "address": server} for server in address.dns]


def _dns_of(nic: Nic) -> list[Document]:
    return [service for address in nic.addresses for service in _dns(address)]
