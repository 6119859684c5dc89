# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of servers whose metadata is compared with Nova's: name -> what differs from a plain server, as JSON."""

from __future__ import annotations

import base64
import typing as t

__all__ = ["KINDS", "PLAIN"]

Json = dict[str, t.Any]

SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org"
X509 = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn+dNuaTAKBggq\n-----END CERTIFICATE-----"
MULTIPART = (
    'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n--b\nContent-Type: text/cloud-config\n\n'
    "packages: [nginx]\n--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\nuptime\n--b--\n"
)

#: What every kind has unless it says otherwise. ``volumes`` are roles and device names of disks beside the root.
PLAIN: Json = {
    "uuid": "5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11",
    "name": "web1",
    "flavor": "m1.small",
    "image": "0" * 64,
    "zone": "nova",
    "project": "acme",
    "launch_index": 0,
    "dhcp_domain": "",
    "key": None,
    "user_data": None,
    "metadata": {},
    "files": {},
    "admin_pass": None,
    "ports": [],
    "devices": [],
    "pinned": [],
    "disks": {"root": "vda"},
    "security_groups": [],
    "vendor_data": {},
    "dynamic": {},
}


def _b64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode("ascii")


def _port(index: int, *subnets: Json, mtu: int | None = 1500) -> Json:
    return {"network": f"net{index}", "mac": f"52:54:00:00:00:0{index}", "mtu": mtu, "subnets": list(subnets)}


def _subnet(cidr: str, address: str, **more: t.Any) -> Json:
    return {"cidr": cidr, "address": address, "gateway": None, "dns": [], "routes": [], "mode": None, **more}


V4 = _subnet("192.0.2.0/24", "192.0.2.10", gateway="192.0.2.1", dns=["192.0.2.53"])
BARE = _subnet("198.51.100.0/25", "198.51.100.7")
ROUTED = _subnet(
    "203.0.113.0/24",
    "203.0.113.9",
    gateway="203.0.113.1",
    dns=["192.0.2.53", "192.0.2.54"],
    routes=[
        {"destination": "10.0.0.0/8", "gateway": "203.0.113.2"},
        {"destination": "198.18.7.0/24", "gateway": "203.0.113.3"},
    ],
)
V6 = _subnet("2001:db8::/64", "2001:db8::10", gateway="2001:db8::1", dns=["2001:db8::53"])
V6_ROUTED = {**V6, "routes": [{"destination": "2001:db8:7::/48", "gateway": "2001:db8::7"}]}
SLAAC = _subnet("2001:db8:1::/64", "2001:db8:1:0:5054:ff:fe00:0", gateway="2001:db8:1::1", mode="slaac")

NIC: Json = {"type": "nic", "mac": "52:54:00:00:00:00"}
DEVICES: list[Json] = [
    {**NIC, "bus": "pci", "address": "0000:00:03.0", "tags": ["front"], "vf_trusted": False},
    {**NIC, "bus": "pci", "address": "0000:00:04.0", "tags": ["back"], "vlan": 42, "vf_trusted": True},
    {**NIC, "bus": "none", "address": "none", "vlan": 43, "vf_trusted": False},
    {**NIC, "bus": "none", "address": "none", "vf_trusted": False},
    {"type": "disk", "bus": "scsi", "address": "0:0:0:1", "tags": ["data"], "serial": "disk-vol-1"},
    {"type": "disk", "bus": "ide", "address": "0:1", "tags": ["old"], "serial": "disk-vol-2"},
    {"type": "disk", "bus": "usb", "address": "0:1", "tags": ["stick"], "path": "/dev/sdb"},
    {"type": "disk", "bus": "none", "address": "none", "tags": ["x", "y"]},
    {"type": "share", "bus": "none", "address": "none", "share_id": "share-1", "tag": "shared"},
]

KINDS: dict[str, Json] = {
    "plain": {},
    "name in capitals": {"name": "Web_1.Example (Test)"},
    "name of Latin letters": {"name": "W\u00e9b \u00dcber"},
    "name that leaves no hostname": {"name": "\u4e2d\u6587"},
    "name that is too long": {"name": "a" * 70 + ".b"},
    "domain of Nova": {"dhcp_domain": "novalocal"},
    "domain of a site": {"dhcp_domain": "example.org", "name": "\u4e2d"},
    "zone": {"zone": "east"},
    "project": {"project": "b6c1a0f0"},
    "one of several": {"launch_index": 3},
    "ssh key": {"key": {"name": "ops", "type": "ssh", "data": SSH}},
    "x509 key": {"key": {"name": "windows", "type": "x509", "data": X509}},
    "key of a strange name": {"key": {"name": "o p.s@example_1", "type": "ssh", "data": SSH}},
    "user data: script": {"user_data": _b64("#!/bin/sh\necho w\u00e9b\n")},
    "user data: cloud-config": {"user_data": _b64("#cloud-config\npackages: [nginx]\n")},
    "user data: parts": {"user_data": _b64(MULTIPART)},
    "user data: binary": {"user_data": _b64(bytes(range(256)))},
    "user data: empty": {"user_data": ""},
    "metadata": {"metadata": {"role": "web", "color": "blue"}},
    "metadata of any text": {"metadata": {"quote": "\"'<&\\", "w\u00e9b \U0001f600": "\u4e2d\n", "empty": ""}},
    "metadata of 128 keys": {"metadata": {**{f"key{index}": "x" for index in range(127)}, "k" * 255: "x" * 255}},
    "file": {"files": {"/etc/motd": _b64("hello\n")}},
    "files": {"files": {f"/srv/w\u00e9b {index}": _b64(bytes([index]) * index) for index in range(5)}},
    "password": {"admin_pass": 'hunter2"\u00e9'},
    "IPv4": {"ports": [_port(0, V4)]},
    "IPv4 without a gateway": {"ports": [_port(0, BARE, mtu=9000)]},
    "IPv4 with routes": {"ports": [_port(0, ROUTED)]},
    "IPv6": {"ports": [_port(0, V6)]},
    "IPv6 with routes": {"ports": [_port(0, V6_ROUTED, mtu=None)]},
    "both families": {"ports": [_port(0, V4, V6)]},
    "DHCP": {"ports": [_port(0, {**V4, "mode": "dhcp"})]},
    "DHCP of IPv6": {"ports": [_port(0, {**V6, "mode": "dhcp"})]},
    "SLAAC": {"ports": [_port(0, SLAAC)]},
    "DHCPv6, stateful": {"ports": [_port(0, {**V6, "mode": "dhcpv6-stateful"})]},
    "DHCPv6, stateless": {"ports": [_port(0, {**SLAAC, "mode": "dhcpv6-stateless"})]},
    "static and SLAAC": {"ports": [_port(0, V4, SLAAC)]},
    "two ports": {"ports": [_port(0, {**V4, "mode": "dhcp"}), _port(1, BARE, V6)]},
    "three ports, one name server": {"ports": [_port(0, V4), _port(1, ROUTED), _port(2, V6, mtu=9000)]},
    "devices": {"devices": DEVICES},
    "dedicated cores": {"pinned": [1, 0, 3]},
    "disks": {"disks": {"root": "vda", "ephemeral0": "vdb", "swap": "vdc"}},
    "disks of SCSI and volumes": {"disks": {"root": "sda", "volume-b": "sdc", "volume-a": "sdb"}},
    "security groups": {"security_groups": ["default", "web"]},
    "vendor data": {"vendor_data": {"cloud-init": "#cloud-config\n", "nested": {"a": [1, None, True]}}},
    "dynamic vendor data": {"vendor_data": {"a": 1}, "dynamic": {"one": {"b": [2]}, "two": {}}},
    "dynamic vendor data named static": {"vendor_data": {"a": 1}, "dynamic": {"static": {"b": 2}, "more": "text"}},
}
KINDS["everything"] = {key: value for kind in reversed(list(KINDS.values())) for key, value in kind.items()}
