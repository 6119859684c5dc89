# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A libvirt network as it should be, to and from XML.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t
import xml.etree.ElementTree as ET

from .errors import InvalidInput

FORWARDS = ("bridge", "isolated", "nat", "route")
#: Each host has such a network for itself: who is in it on one host doesn't find who is in it on another.
HOST_SCOPE = frozenset({"isolated", "nat", "open", "route"})


@dataclasses.dataclass(frozen=True)
class LibvirtNetwork:
    """What Flotilla says of a network.

    ``forward`` bridge puts guests on ``bridge``, a Linux bridge that is there; the others let libvirt make one.
    ``address`` is the host's own on it with its prefix (``192.0.2.1/24``); ``ranges`` are what its DHCP hands out.
    """

    name: str
    forward: str
    bridge: str | None = None
    address: str | None = None
    ranges: t.Sequence[tuple[str, str]] = ()
    mtu: int | None = None
    autostart: bool = True

    def to_json(self) -> dict[str, t.Any]:
        """As a module returns it: lists instead of tuples."""
        return {**dataclasses.asdict(self), "ranges": [list(pair) for pair in self.ranges]}


def desired_network(
    name: str,
    *,
    forward: str,
    bridge: str | None = None,
    cidr: str | None = None,
    gateway: str | None = None,
    dhcp: bool = False,
    allocation_pools: t.Sequence[t.Mapping[str, str]] = (),
    mtu: int | None = None,
    autostart: bool = True,
) -> LibvirtNetwork:
    """The network that a user's words mean; what can't be is refused."""
    if forward == "bridge" and (bridge is None or cidr is not None):
        raise InvalidInput(
            f"network {name!r} with forward 'bridge' needs bridge, a Linux bridge of the host, and no cidr"
        )
    if cidr is None:
        if gateway or dhcp or allocation_pools:
            raise InvalidInput(f"network {name!r} has a gateway, dhcp or allocation_pools but no cidr; say it as well")
        if forward in ("nat", "route"):
            raise InvalidInput(f"network {name!r} with forward {forward!r} needs a cidr")
        return LibvirtNetwork(name, forward, bridge=bridge, mtu=mtu, autostart=autostart)
    net = _network(name, cidr)
    host = _address(name, "gateway", gateway, net) if gateway else net[1]
    ranges = _ranges(name, net, host, allocation_pools) if dhcp else ()
    return LibvirtNetwork(name, forward, bridge, f"{host}/{net.prefixlen}", ranges, mtu, autostart)


def network_xml(network: LibvirtNetwork, *, uuid: str | None = None) -> str:
    """The network's definition; ``uuid`` of the one that it replaces."""
    root = ET.Element("network")
    ET.SubElement(root, "name").text = network.name
    if uuid is not None:
        ET.SubElement(root, "uuid").text = uuid
    if network.forward != "isolated":
        ET.SubElement(root, "forward", mode=network.forward)
    if network.bridge is not None:
        ET.SubElement(root, "bridge", name=network.bridge)
    if network.mtu is not None:
        ET.SubElement(root, "mtu", size=str(network.mtu))
    if network.address is not None:
        _add_address(root, network)
    return ET.tostring(root, encoding="unicode")


def network_of(xml: str, *, autostart: bool) -> LibvirtNetwork:
    """What a network's XML says, of what Flotilla speaks of."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    bridge, mtu, ip = root.find("bridge"), root.find("mtu"), root.find("ip")
    return LibvirtNetwork(
        name=root.findtext("name", ""),
        forward=_forward(root),
        bridge=None if bridge is None else bridge.get("name"),
        address=None if ip is None else _interface(ip),
        ranges=tuple((each.get("start", ""), each.get("end", "")) for each in root.iterfind("ip/dhcp/range")),
        mtu=None if mtu is None else int(mtu.get("size", "0")),
        autostart=autostart,
    )


def is_hosts_own(xml: str) -> bool:
    """Whether a network is one of each host's own."""
    return _forward(ET.fromstring(xml)) in HOST_SCOPE  # noqa: S314 - libvirt wrote it


def _forward(root: ET.Element) -> str:
    forward = root.find("forward")
    return "isolated" if forward is None else forward.get("mode", "nat")


def network_differences(desired: LibvirtNetwork, found: LibvirtNetwork) -> dict[str, tuple[t.Any, t.Any]]:
    """Key -> (found, desired). What the user left open (a bridge's name, the MTU) is no difference."""
    pairs = {key: (getattr(found, key), value) for key, value in dataclasses.asdict(desired).items()}
    left_open = {key for key in ("bridge", "mtu") if pairs[key][1] is None}
    return {key: pair for key, pair in pairs.items() if key not in left_open and pair[0] != pair[1]}


def _add_address(root: ET.Element, network: LibvirtNetwork) -> None:
    interface = ipaddress.ip_interface(network.address or "")
    if not network.ranges:
        # With neither DHCP nor DNS libvirt starts no dnsmasq for it.
        root.append(ET.Element("dns", enable="no"))
    family = "ipv6" if interface.version == 6 else "ipv4"
    ip = ET.SubElement(root, "ip", family=family, address=str(interface.ip), prefix=str(interface.network.prefixlen))
    if network.ranges:
        dhcp = ET.SubElement(ip, "dhcp")
        for start, end in network.ranges:
            ET.SubElement(dhcp, "range", start=start, end=end)


def _interface(ip: ET.Element) -> str:
    """``address/prefix``; older definitions have a netmask."""
    return str(ipaddress.ip_interface(f"{ip.get('address')}/{ip.get('prefix') or ip.get('netmask')}"))


_Net = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_Ip = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


def _network(name: str, cidr: str) -> _Net:
    try:
        return ipaddress.ip_network(cidr)
    except ValueError as exc:
        raise InvalidInput(f"network {name!r} can't have the cidr {cidr!r}: {exc}") from exc


def _address(name: str, key: str, text: str, net: _Net) -> _Ip:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise InvalidInput(f"network {name!r} has {key} {text!r}, which is no address") from exc
    if address not in net:
        raise InvalidInput(f"network {name!r} has {key} {text!r}, which is not in its cidr {net}")
    return address


def _ranges(name: str, net: _Net, host: _Ip, pools: t.Sequence[t.Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """What DHCP hands out: as written, else all behind the host's own address."""
    if pools:
        keys = ("start", "end")
        return tuple(
            (str(_address(name, keys[0], pool[keys[0]], net)), str(_address(name, keys[1], pool[keys[1]], net)))
            for pool in pools
        )
    first, last = host + 1, net[-2]
    if net.num_addresses < 4 or int(first) > int(last):
        raise InvalidInput(f"network {name!r} has no room for DHCP behind {host} in {net}; say allocation_pools")
    return ((str(first), str(last)),)


__all__ = [
    "FORWARDS",
    "HOST_SCOPE",
    "LibvirtNetwork",
    "desired_network",
    "is_hosts_own",
    "network_differences",
    "network_of",
    "network_xml",
]
