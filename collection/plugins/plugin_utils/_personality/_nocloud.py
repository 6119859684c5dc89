# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same facts for cloud-init's datasource NoCloud, for images that have no OpenStack one.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import hostname, meta_data
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._network_data import network_data
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import composed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality

__all__ = ["nocloud"]

Document = dict[str, t.Any]


def nocloud(of: Personality) -> dict[str, bytes]:
    """The files of a volume with the label cidata. JSON is YAML too, so nothing is quoted by hand.

    ``user-data`` is there in any case: without it cloud-init takes the volume for somebody else's.
    """
    files = {
        "meta-data": _json(_meta_data(of)),
        "user-data": of.user_data or b"",
        "vendor-data": _vendor_data(of.vendor_data.get("cloud-init", "")),
    }
    network = network_data(of.record.nics)
    if network:
        files["network-config"] = _json(_network_config(network))
    return files


def _meta_data(of: Personality) -> Document:
    known = meta_data(of)
    return {
        "instance-id": of.record.id,
        "local-hostname": hostname(of),
        "availability-zone": of.availability_zone,
        "launch-index": of.launch_index,
        "public-keys": [key.data for key in of.keys if key.type == "ssh"],
        "meta": known.get("meta", {}),
        "random_seed": base64.b64decode(known["random_seed"]).hex(),
    }


def _vendor_data(value: t.Any) -> bytes:
    """The part that cloud-init reads of OpenStack's vendor data, which can be user data in any form of ours."""
    return composed(value)


def _network_config(network: Document) -> Document:
    """Version 1, which every cloud-init reads and which knows bonds and VLANs."""
    links = {link["id"]: link for link in network["links"]}
    config = []
    for name, link in links.items():
        subnets = [_subnet(one) for one in network["networks"] if one["link"] == name]
        config.append({**_device(link, links), **({"subnets": subnets} if subnets else {})})
    servers = [service["address"] for service in network["services"]]
    if servers:
        config.append({"type": "nameserver", "address": servers})
    return {"version": 1, "config": config}


def _device(link: Document, links: t.Mapping[str, Document]) -> Document:
    mtu = {"mtu": link["mtu"]} if link["mtu"] else {}
    name = _name(link["id"], links)
    if link["type"] == "bond":
        parameters = {"bond-mode": link["bond_mode"], "bond-miimon": link["bond_miimon"]}
        members = [_name(member, links) for member in link["bond_links"]]
        mac = {"mac_address": link["ethernet_mac_address"]}
        return {"type": "bond", "name": name, "bond_interfaces": members, "params": parameters, **mac, **mtu}
    if link["type"] == "vlan":
        below = _name(link["vlan_link"], links)
        return {"type": "vlan", "name": name, "vlan_link": below, "vlan_id": link["vlan_id"], **mtu}
    return {"type": "physical", "name": name, "mac_address": link["ethernet_mac_address"], **mtu}


def _name(link: str, links: t.Mapping[str, Document]) -> str:
    """The interface's name in the guest: ports are counted as eth0, eth1 …, which is what cloud images call them."""
    port, dot, vlan = link.partition(".")
    if links.get(port, {}).get("type") == "phy":
        port = port.replace("interface", "eth")
    return port + dot + vlan


def _subnet(network: Document) -> Document:
    kinds = {"ipv4_dhcp": "dhcp4", "ipv6_dhcp": "dhcp6", "ipv6_slaac": "ipv6_slaac"}
    kinds.update({f"ipv6_dhcpv6-{state}": f"ipv6_dhcpv6-{state}" for state in ("stateful", "stateless")})
    if network["type"] in kinds:
        subnet: Document = {"type": kinds[network["type"]]}
    else:
        interface = ipaddress.ip_interface(f"{network['ip_address']}/{_prefix(network['netmask'])}")
        subnet = {"type": "static" if interface.version == 4 else "static6", "address": str(interface)}
    # The default route too: that is how cloud-init has it from OpenStack.
    routes = [{key: route[key] for key in ("network", "netmask", "gateway")} for route in network.get("routes", ())]
    servers = [service["address"] for service in network.get("services", ())]
    return {**subnet, **({"routes": routes} if routes else {}), **({"dns_nameservers": servers} if servers else {})}


def _prefix(netmask: str) -> int:
    """The length of a prefix from its mask as an address, of either family."""
    return bin(int(ipaddress.ip_address(netmask))).count("1")


def _json(value: t.Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")
