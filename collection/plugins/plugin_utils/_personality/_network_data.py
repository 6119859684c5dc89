# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""network_data.json, as Nova writes it (nova.virt.netutils), valid against the schema that Nova publishes.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic

__all__ = ["network_data"]

Document = dict[str, t.Any]


def network_data(nics: Sequence[Nic]) -> Document:
    """Links, networks and services of a server's ports.

    A port without addresses asks by DHCP; one with addresses gets them all, where Nova writes the first of each family.
    """
    networks: list[Document] = []
    services: list[Document] = []
    for index, nic in enumerate(nics):
        for network in _networks_of(nic):
            place = {"id": f"network{len(networks)}", "link": _link_id(index), "network_id": nic.network}
            networks.append({**place, **network})
        services += [service for service in _dns_of(nic) if service not in services]
    return {"links": [_link(index, nic) for index, nic in enumerate(nics)], "networks": networks, "services": services}


def _link_id(index: int) -> str:
    return f"interface{index}"


def _link(index: int, nic: Nic) -> Document:
    """Type ``phy``: Nova's other types say how the host plugs the port, which a guest has no use for."""
    return {
        "id": _link_id(index),
        "vif_id": f"{nic.network}-{nic.mac}",
        "type": "phy",
        "mtu": nic.mtu,
        "ethernet_mac_address": nic.mac,
    }


def _networks_of(nic: Nic) -> list[Document]:
    return [_static(address) for address in nic.addresses] or [{"type": "ipv4_dhcp"}]


def _static(address: Address) -> Document:
    interface = ipaddress.ip_interface(f"{address.address}/{address.prefix}")
    any_address = "0.0.0.0" if interface.version == 4 else "::"  # noqa: S104  # the default route, nothing is bound to it
    routes = [{"network": any_address, "netmask": any_address, "gateway": address.gateway}] if address.gateway else []
    return {
        "type": f"ipv{interface.version}",
        "ip_address": str(interface.ip),
        "netmask": str(interface.netmask),
        "routes": routes,
        "services": _dns(address),
    }


def _dns(address: Address) -> list[Document]:
    return [{"type": "dns", "address": server} for server in address.dns]


def _dns_of(nic: Nic) -> list[Document]:
    return [service for address in nic.addresses for service in _dns(address)]
