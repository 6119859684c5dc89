# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Catalogs and compute hosts that have the right shape and make no sense: a table with the sentence for each."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

# What was meant, how it is broken, and all that the validator says of it.
BROKEN: list[tuple[str, t.Callable[[Example], object], str]] = [
    (
        "extra spec with a wrong value",
        lambda e: e.flavor.update(extra_specs={"hw:cpu_policy": "dedicatd"}),
        (
            "fleet_flavors.m1.small.extra_specs.hw:cpu_policy: found 'dedicatd', allowed is one of "
            "dedicated, shared, mixed; did you mean 'dedicated'?"
        ),
    ),
    (
        "extra spec below its least",
        lambda e: e.flavor.update(extra_specs={"hw:cpu_sockets": 0}),
        ("fleet_flavors.m1.small.extra_specs.hw:cpu_sockets: found 0, allowed is a whole number of at least 1."),
    ),
    (
        "extra spec above its most",
        lambda e: e.flavor.update(extra_specs={"hw:redirected_usb_ports": 16}),
        (
            "fleet_flavors.m1.small.extra_specs.hw:redirected_usb_ports: found 16, allowed is a whole number "
            "of at most 15."
        ),
    ),
    (
        "extra spec that should be a number",
        lambda e: e.flavor.update(extra_specs={"hw:cpu_cores": "two"}),
        "fleet_flavors.m1.small.extra_specs.hw:cpu_cores: found 'two', allowed is a whole number.",
    ),
    (
        "extra spec that should be a boolean",
        lambda e: e.flavor.update(extra_specs={"hw:boot_menu": "maybe"}),
        "fleet_flavors.m1.small.extra_specs.hw:boot_menu: found 'maybe', allowed is true or false.",
    ),
    (
        "extra spec of a wrong form",
        lambda e: e.flavor.update(extra_specs={"hw:mem_page_size": "huge"}),
        (
            "fleet_flavors.m1.small.extra_specs.hw:mem_page_size: found 'huge', allowed is text that matches "
            "(large|small|any|\\d+([kKMGT]i?)?(b|bit|B)?)."
        ),
    ),
    (
        "extra spec misspelt",
        lambda e: e.flavor.update(extra_specs={"hw:cpu_polcy": "shared"}),
        (
            "fleet_flavors.m1.small.extra_specs.hw:cpu_polcy: Nova knows no extra spec 'hw:cpu_polcy', "
            "allowed is one of the 37 that begin with hw:; did you mean 'hw:cpu_policy'?"
        ),
    ),
    (
        "trait unknown",
        lambda e: e.flavor.update(extra_specs={"trait:HW_CPU_X86_AVX3": "required"}),
        (
            "fleet_flavors.m1.small.extra_specs.trait:HW_CPU_X86_AVX3: Nova knows no extra spec "
            "'trait:HW_CPU_X86_AVX3', allowed is a standard trait or CUSTOM_ and capital letters, digits and "
            "'_'; did you mean 'trait:HW_CPU_X86_AVX'?"
        ),
    ),
    (
        "trait neither required nor forbidden",
        lambda e: e.flavor.update(extra_specs={"trait:CUSTOM_SSD": "wanted"}),
        ("fleet_flavors.m1.small.extra_specs.trait:CUSTOM_SSD: found 'wanted', allowed is one of required, forbidden."),
    ),
    (
        "resource class unknown",
        lambda e: e.flavor.update(extra_specs={"resources:VCPUS": 1}),
        (
            "fleet_flavors.m1.small.extra_specs.resources:VCPUS: Nova knows no extra spec 'resources:VCPUS', "
            "allowed is a standard resource class or CUSTOM_ and capital letters, digits and '_'; did you "
            "mean 'resources:VCPU'?"
        ),
    ),
    (
        "public key that is none",
        lambda e: e.fleet["fleet_keypairs"]["ops"].update(public_key="ssh-ed25519 nonsense"),
        (
            "fleet_keypairs.ops: Keypair data is invalid: failed to generate fingerprint; public_key must be "
            "one line such as 'ssh-ed25519 AAAA... comment', found 'ssh-ed25519 nonsense'."
        ),
    ),
    (
        "private key as public key",
        lambda e: e.fleet["fleet_keypairs"]["ops"].update(public_key="-----BEGIN OPENSSH PRIVATE KEY-----"),
        "fleet_keypairs.ops: public_key holds a private key; give the content of the .pub file.",
    ),
    (
        "gateway without cidr",
        lambda e: e.fleet["fleet_networks"]["nat"].update(gateway="192.0.2.1"),
        "fleet_networks.nat.gateway: is given without cidr, which says what addresses there are.",
    ),
    (
        "gateway outside the cidr",
        lambda e: e.lan.update(gateway="198.51.100.1"),
        ("fleet_networks.lan.gateway: found 198.51.100.1, allowed is an address in the network's cidr 192.0.2.0/24."),
    ),
    (
        "gateway of the other family",
        lambda e: e.lan.update(gateway="2001:db8::1"),
        ("fleet_networks.lan.gateway: found 2001:db8::1, allowed is an address in the network's cidr 192.0.2.0/24."),
    ),
    (
        "gateway is the broadcast address",
        lambda e: e.lan.update(gateway="192.0.2.255"),
        ("fleet_networks.lan.gateway: found 192.0.2.255, which is the broadcast address of the network 192.0.2.0/24."),
    ),
    (
        "allocation pool outside the cidr",
        lambda e: e.lan.update(allocation_pools=[{"start": "192.0.2.100", "end": "192.0.3.1"}]),
        (
            "fleet_networks.lan.allocation_pools[0]: found 192.0.3.1, allowed is an address in the network's "
            "cidr 192.0.2.0/24."
        ),
    ),
    (
        "allocation pool backwards",
        lambda e: e.lan.update(allocation_pools=[{"start": "192.0.2.20", "end": "192.0.2.10"}]),
        (
            "fleet_networks.lan.allocation_pools[0]: starts at 192.0.2.20 after its end 192.0.2.10, allowed "
            "is a start that is not after the end."
        ),
    ),
    (
        "allocation pool with the gateway",
        lambda e: e.lan.update(allocation_pools=[{"start": "192.0.2.1", "end": "192.0.2.10"}]),
        (
            "fleet_networks.lan.allocation_pools[0]: 192.0.2.1 to 192.0.2.10 has the gateway 192.0.2.1 in "
            "it, allowed are pools without it."
        ),
    ),
    (
        "allocation pools overlap",
        lambda e: e.lan["allocation_pools"].append({"start": "192.0.2.150", "end": "192.0.2.210"}),
        (
            "fleet_networks.lan.allocation_pools[1]: 192.0.2.150 to 192.0.2.210 overlaps the pool "
            "192.0.2.100 to 192.0.2.199."
        ),
    ),
    (
        "metadata service without addresses",
        lambda e: e.fleet["fleet_networks"].update(bare={"bridge": "br7", "metadata_service": True}),
        (
            "fleet_networks.bare.metadata_service: needs an IPv4 cidr: guests are known by the addresses that are "
            "claimed for them in it."
        ),
    ),
    (
        "metadata service with IPv6",
        lambda e: e.lan.update(metadata_service=True, subnets=[{"cidr": "2001:db8::/64"}]),
        (
            "fleet_networks.lan.metadata_service: allowed are IPv4 subnets alone: the filter that holds guests to "
            "their addresses, clean-traffic, drops IPv6."
        ),
    ),
    (
        "metadata service on a bridge of an odd name",
        lambda e: e.fleet["fleet_networks"].update(
            odd={"bridge": "br;0", "cidr": "198.51.100.0/24", "metadata_service": True}
        ),
        (
            "fleet_networks.odd.metadata_service: found bridge 'br;0', allowed are letters, digits, '_', '.' and '-', "
            "the first a letter or digit."
        ),
    ),
    (
        "metadata services that can't tell guests apart",
        lambda e: e.fleet["fleet_networks"].update(
            one={"bridge": "br7", "cidr": "198.51.100.0/24", "metadata_service": True},
            two={"bridge": "br7", "cidr": "198.51.100.128/25", "metadata_service": True},
        ),
        (
            "fleet_networks.two.metadata_service: found 198.51.100.128/25 on br7, where network 'one' with the service "
            "has such addresses."
        ),
    ),
    (
        "rules without anti-affinity",
        lambda e: e.fleet["fleet_server_groups"]["near"].update(rules={"max_server_per_host": 2}),
        (
            "fleet_server_groups.near.rules: found rules with policy 'soft-affinity': Only anti-affinity "
            "policy supports rules."
        ),
    ),
    (
        "flavor in inventory and ledger",
        lambda e: e.fleet["fleet_flavors"].update({"from-ledger": {"vcpus": 1, "ram": 1, "disk": 1}}),
        (
            "fleet_flavors.from-ledger: the ledger has this name too, from a module; allowed is one of both: "
            "rename this one or remove that."
        ),
    ),
    (
        "no compute hosts",
        lambda e: e.computes.clear(),
        "computes (inventory): the group has no hosts, allowed is at least one compute host in it.",
    ),
    (
        "aggregate of an unknown host",
        lambda e: e.fleet["fleet_aggregates"]["rack1"]["hosts"].append("kvm3"),
        (
            "fleet_aggregates.rack1.hosts[1]: found 'kvm3', allowed is a compute host or a pattern that "
            "matches one (kvm1, kvm2); did you mean 'kvm2'?"
        ),
    ),
    (
        "aggregates that differ in zone",
        lambda e: e.fleet["fleet_aggregates"].update(r2={"hosts": ["kvm2"], "metadata": {"availability_zone": "west"}}),
        (
            "compute_availability_zone (host kvm2): One or more hosts already in availability zone(s): "
            "'east' by aggregate rack1 and 'west' by aggregate r2, allowed is one zone."
        ),
    ),
    (
        "aggregate and host differ in zone",
        lambda e: e.kvm1.update(compute_availability_zone="west"),
        (
            "compute_availability_zone (host kvm1): One or more hosts already in availability zone(s): "
            "'east' by aggregate rack1 and 'west' by compute_availability_zone, allowed is one zone."
        ),
    ),
    (
        "default pool that is not allowed",
        lambda e: e.computes["kvm2"].update(compute_default_pool="share"),
        (
            "compute_default_pool (host kvm2): found 'share', allowed is one of compute_pools (local, "
            "shared); did you mean 'shared'?"
        ),
    ),
    (
        "bridge of an unknown network",
        lambda e: e.kvm1.update(compute_networks={"lam": "br1"}),
        (
            "compute_networks.lam (host kvm1): found 'lam', allowed is a network of fleet_networks (lan, "
            "nat, six); did you mean 'lan'?"
        ),
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)

    assert example.mistaken() == [sentence]
