# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that have the right shape and make no sense: a table with the sentence for each."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

# What was meant, how it is broken, and all that the validator says of it.
BROKEN: list[tuple[str, t.Callable[[Example], object], str]] = [
    (
        "flavor unknown",
        lambda e: e.web1.update(server_flavor="m1.smal"),
        (
            "server_flavor (host web1): found 'm1.smal', allowed is a flavor of fleet_flavors or of the "
            "ledger (from-ledger, m1.large, m1.small); did you mean 'm1.small'?"
        ),
    ),
    (
        "room for what does not grow",
        lambda e: e.web1.update(server_resize_max={"vcpus": 8}),
        "server_resize_max (host web1): is only for servers with server_resize: live.",
    ),
    (
        "room for less than the flavor",
        lambda e: e.web1.update(server_resize="live", server_resize_max={"ram": "1GiB"}),
        (
            "server_resize_max.ram (host web1): ram is 1024, flavor 'm1.small' has 2048; "
            "room to grow holds at least the flavor."
        ),
    ),
    (
        "image unknown",
        lambda e: e.web1.update(server_image="debian-13"),
        (
            "server_image (host web1): found 'debian-13', allowed is an image of fleet_images or of the ledger "
            "(debian-12, probe); did you mean 'debian-12'?"
        ),
    ),
    (
        "keypair unknown",
        lambda e: e.web1.update(server_key_name="opps"),
        (
            "server_key_name (host web1): found 'opps', allowed is a keypair of fleet_keypairs or of the "
            "ledger (ops); did you mean 'ops'?"
        ),
    ),
    (
        "network unknown",
        lambda e: e.web1.update(server_networks=["lan", "net"]),
        (
            "server_networks[1] (host web1): found 'net', allowed is a network of fleet_networks (lan, nat, "
            "six); did you mean 'nat'?"
        ),
    ),
    (
        "network unknown in a mapping",
        lambda e: e.web1.update(server_networks=[{"network": "Lan"}]),
        (
            "server_networks[0].network (host web1): found 'Lan', allowed is a network of fleet_networks "
            "(lan, nat, six); did you mean 'lan'?"
        ),
    ),
    (
        "server group unknown",
        lambda e: e.web1.update(server_group="spred"),
        (
            "server_group (host web1): found 'spred', allowed is a server group of fleet_server_groups or of the "
            "ledger (near, spread); did you mean 'spread'?"
        ),
    ),
    (
        "security group unknown",
        lambda e: e.web1.update(server_security_groups=["wbe"]),
        (
            "server_security_groups[0] (host web1): found 'wbe', allowed is a security group of "
            "fleet_security_groups (web); did you mean 'web'?"
        ),
    ),
    (
        "volume unknown",
        lambda e: e.web1.update(server_volumes=["date"]),
        (
            "server_volumes[0] (host web1): found 'date', allowed is a volume of fleet_volumes (data); did "
            "you mean 'data'?"
        ),
    ),
    (
        "host unknown",
        lambda e: e.web1.update(server_host="kvm7"),
        ("server_host (host web1): found 'kvm7', allowed is a compute host (kvm1, kvm2); did you mean 'kvm2'?"),
    ),
    (
        "zone unknown",
        lambda e: e.web1.update(server_availability_zone="est"),
        (
            "server_availability_zone (host web1): found 'est', allowed is a zone that a compute host is in "
            "(east); did you mean 'east'?"
        ),
    ),
    (
        "default zone that no host is in",
        lambda e: e.web1.update(server_availability_zone="nova"),
        ("server_availability_zone (host web1): found 'nova', allowed is a zone that a compute host is in (east)."),
    ),
    (
        "host not in the zone",
        lambda e: (e.fleet["fleet_aggregates"]["rack1"].update(hosts=["kvm2"]), e.web1.update(server_host="kvm1")),
        'server_host (host web1): Host "kvm1" is not in the availability zone "east".',
    ),
    (
        "selection of nothing",
        lambda e: e.fleet.update(fleet_servers="wbe1"),
        (
            "fleet_servers[0]: found 'wbe1', allowed is a server of inventory or a pattern that matches one; "
            "did you mean 'web1'?"
        ),
    ),
    (
        "explanation of nobody",
        lambda e: e.fleet.update(fleet_explain="wbe1"),
        "fleet_explain: found 'wbe1', allowed is a server of inventory; did you mean 'web1'?",
    ),
    (
        "flavor disk too small",
        lambda e: e.image.update(min_disk=40),
        (
            "server_flavor (host web1): flavor 'm1.small' with image 'debian-12': Flavor's disk is smaller "
            "than the minimum size specified in image metadata. Flavor disk is 21474836480 bytes, minimum "
            "size is 42949672960 bytes."
        ),
    ),
    (
        "flavor memory too small",
        lambda e: e.image.update(min_ram="4GiB"),
        (
            "server_flavor (host web1): flavor 'm1.small' with image 'debian-12': Flavor's memory is too "
            "small for requested image. It has 2048 MiB, the image needs 4096 MiB."
        ),
    ),
    (
        "server named like a compute host",
        lambda e: e.servers.update(kvm1=e.servers.pop("web2")),
        "inventory_hostname (host kvm1): is in the groups computes and servers, allowed is one of them.",
    ),
    (
        "names that differ only in case",
        lambda e: e.servers.update(Web1=e.servers.pop("web2")),
        (
            "inventory_hostname (hosts Web1, web1): names that differ only in case, which DNS and people "
            "take for one; rename all but one."
        ),
    ),
    (
        "server name with a control character",
        lambda e: e.servers.update({"web\x07": e.servers.pop("web2")}),
        (
            "inventory_hostname (host 'web\\x07'): found 'web\\x07', allowed is a name of printable characters "
            "without '/' and without space at its ends."
        ),
    ),
    (
        "server name with a slash",
        lambda e: e.servers.update({"web/2": e.servers.pop("web2")}),
        (
            "inventory_hostname (host web/2): found 'web/2', allowed is a name of printable characters "
            "without '/' and without space at its ends."
        ),
    ),
    (
        "server name with a leading hyphen",
        lambda e: e.servers.update({"-web2": e.servers.pop("web2")}),
        (
            "inventory_hostname (host -web2): found '-web2', allowed is a name that does not begin with '-', "
            "which commands take for an option."
        ),
    ),
    (
        "server name not UTF-8",
        lambda e: e.servers.update({"web\udce9": e.servers.pop("web2")}),
        (
            "inventory_hostname (host 'web\\udce9'): found 'web\\udce9', allowed is a name of printable "
            "characters without '/' and without space at its ends."
        ),
    ),
    (
        "server name too long",
        lambda e: e.servers.update({"w" * 235: e.servers.pop("web2")}),
        (
            "inventory_hostname (host "
            "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww…): found "
            "'wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww…, allowed is a "
            "name of at most 234 bytes."
        ),
    ),
    (
        "server name without a letter",
        lambda e: e.servers.update({"__": e.servers.pop("web2")}),
        (
            "inventory_hostname (host __): found '__', allowed is a name with a letter or digit in it, "
            "because Nova's rule for hostnames leaves nothing of this one."
        ),
    ),
    (
        "server name of a deleted one",
        lambda e: e.servers.update({"web2.deleted-6f2c1a54": e.servers.pop("web2")}),
        (
            "inventory_hostname (host web2.deleted-6f2c1a54): found 'web2.deleted-6f2c1a54', allowed is a "
            "name that does not end like that of a deleted server (.deleted- and 8 digits)."
        ),
    ),
    (
        "server id twice",
        lambda e: e.web1.update(server_id=e.web2["server_id"].upper()),
        ("server_id (hosts web1, web2): 2 servers have the id 6f2c1a54-6a3f-4c55-9f0e-8b6c1c0f6c11, allowed is one."),
    ),
    (
        "fixed address outside the cidr",
        lambda e: e.web1["server_networks"][0].update(fixed_ip="198.51.100.7"),
        (
            "server_networks[0].fixed_ip (host web1): found 198.51.100.7, allowed is an address in the "
            "network's cidr 192.0.2.0/24."
        ),
    ),
    (
        "fixed address is the gateway",
        lambda e: e.web1["server_networks"][0].update(fixed_ip="192.0.2.1"),
        ("server_networks[0].fixed_ip (host web1): found 192.0.2.1, which is the gateway of network 'lan'."),
    ),
    (
        "fixed address is the network",
        lambda e: e.web1["server_networks"][0].update(fixed_ip="192.0.2.0"),
        (
            "server_networks[0].fixed_ip (host web1): found 192.0.2.0, which is the address of the network "
            "192.0.2.0/24 itself."
        ),
    ),
    (
        "fixed address is the broadcast address",
        lambda e: e.web1["server_networks"][0].update(fixed_ip="192.0.2.255"),
        (
            "server_networks[0].fixed_ip (host web1): found 192.0.2.255, which is the broadcast address of "
            "the network 192.0.2.0/24."
        ),
    ),
    (
        "fixed address without cidr",
        lambda e: e.web1["server_networks"].append({"network": "nat", "fixed_ip": "192.0.2.11"}),
        (
            "server_networks[2].fixed_ip (host web1): found 192.0.2.11, but network 'nat' has no cidr, so "
            "that no address in it can be asked for."
        ),
    ),
    (
        "fixed address twice",
        lambda e: e.web2.update(server_networks=[{"network": "lan", "fixed_ip": "192.0.2.10"}]),
        ("server_networks (hosts web1, web2): 2 ports ask for 192.0.2.10 in network 'lan', allowed is one."),
    ),
    (
        "fixed address twice in two forms",
        lambda e: (
            e.web1.update(server_networks=[{"network": "six", "fixed_ip": "2001:db8::0:7"}]),
            e.web2.update(server_networks=[{"network": "six", "fixed_ip": "2001:db8::7"}]),
        ),
        ("server_networks (hosts web1, web2): 2 ports ask for 2001:db8::7 in network 'six', allowed is one."),
    ),
    (
        "MAC twice",
        lambda e: e.web2.update(server_networks=[{"network": "lan", "mac": "52:54:00:00:00:0A"}]),
        ("server_networks (hosts web1, web2): 2 ports ask for the MAC address 52:54:00:00:00:0a, allowed is one."),
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)

    assert example.mistaken() == [sentence]
