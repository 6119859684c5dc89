# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleet variables of the wrong shape: a table of broken inventories with the sentence for each."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

# What was meant, how it is broken, and all that the validator says of it.
BROKEN: list[tuple[str, t.Callable[[Example], object], str]] = [
    (
        "fleet variable misspelt",
        lambda e: e.fleet.update(fleet_flavours={}),
        "fleet_flavours: no variable has this name; did you mean 'fleet_flavors'?",
    ),
    (
        "compute variable misspelt",
        lambda e: e.kvm1.update(compute_reserve={}),
        "compute_reserve (host kvm1): no variable has this name; did you mean 'compute_reserved'?",
    ),
    (
        "server variable misspelt",
        lambda e: e.web1.update(server_flavour="m1.small"),
        "server_flavour (host web1): no variable has this name; did you mean 'server_flavor'?",
    ),
    (
        "misspelt name seen elsewhere",
        lambda e: e.names.update({"web1": ["fleet_serverz"]}),
        "fleet_serverz (host web1): no variable has this name; did you mean 'fleet_server'?",
    ),
    (
        "boolean that is a word",
        lambda e: e.fleet.update(fleet_strict="maybe"),
        "fleet_strict: found 'maybe', allowed is true or false.",
    ),
    (
        "number that is text",
        lambda e: e.fleet.update(fleet_timeout="soon"),
        "fleet_timeout: found 'soon', allowed is a whole number.",
    ),
    (
        "number below its least",
        lambda e: e.fleet.update(fleet_timeout=0),
        "fleet_timeout: found 0, allowed is a number of at least 1.",
    ),
    (
        "number that is negative text",
        lambda e: e.fleet.update(fleet_prune_max="-1"),
        "fleet_prune_max: found '-1', allowed is a whole number.",
    ),
    (
        "unknown leave",
        lambda e: e.fleet.update(fleet_allow="restart,rebuilt"),
        (
            "fleet_allow[1]: found 'rebuilt', allowed is one of restart, rebuild, delete, migrate, host_network, "
            "locked, data_loss; did you mean 'rebuild'?"
        ),
    ),
    (
        "percent above hundred",
        lambda e: e.fleet.update(fleet_max_disrupted="120%"),
        "fleet_max_disrupted: found '120%', allowed is a whole number from 0 up, or percent such as 20%.",
    ),
    (
        "fleet name with a slash",
        lambda e: e.fleet.update(fleet_name="a/b"),
        ("fleet_name: found 'a/b', allowed is 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit."),
    ),
    (
        "relative state folder",
        lambda e: e.fleet.update(fleet_state_dir="var/lib"),
        "fleet_state_dir: found 'var/lib', allowed is an absolute path.",
    ),
    (
        "ledger of another kind",
        lambda e: e.fleet.update(fleet_ledger="mysql://flotilla:secret-ledger@db/flotilla"),
        (
            "fleet_ledger: found a value that is not shown, allowed is a database URL that begins with "
            "sqlite:// or postgresql://."
        ),
    ),
    (
        "secret key too short",
        lambda e: e.fleet.update(fleet_secret_key="hunter2"),
        "fleet_secret_key: found a value that is not shown, allowed is text of at least 16 characters.",
    ),
    (
        "catalog that is a list",
        lambda e: e.fleet.update(fleet_server_groups=["spread"]),
        "fleet_server_groups: found ['spread'], allowed is a mapping.",
    ),
    (
        "flavor that is text",
        lambda e: e.fleet["fleet_flavors"].update(big="8GiB"),
        "fleet_flavors.big: found '8GiB', allowed is a mapping.",
    ),
    (
        "flavor name with spaces at its ends",
        lambda e: e.fleet["fleet_flavors"].update({" m1": {"vcpus": 1, "ram": 1, "disk": 1}}),
        (
            "fleet_flavors. m1: found ' m1' as a name, allowed is text of 1 to 255 characters on one line, "
            "without space at its ends."
        ),
    ),
    (
        "catalog name that is a number",
        lambda e: e.fleet["fleet_flavors"].update({1: {"vcpus": 1, "ram": 1, "disk": 1}}),
        "fleet_flavors.1: found 1 as a name, allowed is text: write it in quotes.",
    ),
    (
        "flavor key misspelt",
        lambda e: e.flavor.update(rma=1),
        (
            "fleet_flavors.m1.small.rma: 'rma' is not known here, allowed are description, disk, ephemeral, "
            "extra_specs, ram, swap, vcpus; did you mean 'ram'?"
        ),
    ),
    (
        "flavor without vcpus",
        lambda e: e.flavor.pop("vcpus"),
        "fleet_flavors.m1.small.vcpus: is missing, it must be a whole number such as 2.",
    ),
    (
        "flavor without ram",
        lambda e: e.flavor.pop("ram"),
        ("fleet_flavors.m1.small.ram: is missing, it must be a whole number of MiB, or text such as 512MiB or 8GiB."),
    ),
    (
        "flavor with no vcpus",
        lambda e: e.flavor.update(vcpus=0),
        "fleet_flavors.m1.small.vcpus: found 0, allowed is a number of at least 1.",
    ),
    (
        "flavor with half a vcpu",
        lambda e: e.flavor.update(vcpus=0.5),
        "fleet_flavors.m1.small.vcpus: found 0.5, allowed is a whole number.",
    ),
    (
        "flavor with vcpus as float",
        lambda e: e.flavor.update(vcpus=1.0),
        "fleet_flavors.m1.small.vcpus: found 1.0, allowed is a whole number.",
    ),
    (
        "flavor with no ram",
        lambda e: e.flavor.update(ram=0),
        "fleet_flavors.m1.small.ram: found 0, allowed is at least 1 MiB.",
    ),
    (
        "flavor with ram in GB",
        lambda e: e.flavor.update(ram="2GB"),
        ("fleet_flavors.m1.small.ram: found '2GB', allowed is a whole number of MiB, or text such as 512MiB or 8GiB."),
    ),
    (
        "flavor with ram as list",
        lambda e: e.flavor.update(ram=[2]),
        ("fleet_flavors.m1.small.ram: found [2], allowed is a whole number of MiB, or text such as 512MiB or 8GiB."),
    ),
    (
        "flavor with ram true",
        lambda e: e.flavor.update(ram=True),
        ("fleet_flavors.m1.small.ram: found true, allowed is a whole number of MiB, or text such as 512MiB or 8GiB."),
    ),
    (
        "flavor with too much ram",
        lambda e: e.flavor.update(ram=2**31),
        "fleet_flavors.m1.small.ram: found 2147483648, allowed is a number of at most 2147483647 MiB.",
    ),
    (
        "flavor with too much ram as text",
        lambda e: e.flavor.update(ram="99999999TiB"),
        "fleet_flavors.m1.small.ram: found '99999999TiB', allowed is at most 2147483647 MiB.",
    ),
    (
        "flavor with negative disk",
        lambda e: e.flavor.update(disk=-1),
        "fleet_flavors.m1.small.disk: found -1, allowed is at least 0 GiB.",
    ),
    (
        "flavor with disk not whole",
        lambda e: e.flavor.update(disk="1536MiB"),
        "fleet_flavors.m1.small.disk: found '1536MiB', allowed is a whole number of GiB.",
    ),
    (
        "extra spec that is a list",
        lambda e: e.flavor.update(extra_specs={"hw:cpu_policy": ["dedicated"]}),
        (
            "fleet_flavors.m1.small.extra_specs.hw:cpu_policy: found ['dedicated'], allowed is text or a "
            "number or true or false."
        ),
    ),
    (
        "extra spec with a bad name",
        lambda e: e.flavor.update(extra_specs={"hw/cpu": "1"}),
        (
            "fleet_flavors.m1.small.extra_specs.hw/cpu: found 'hw/cpu' as a name, allowed is letters, "
            "digits, '_', '.', '-', ' ' and ':'."
        ),
    ),
    (
        "keypair name with a slash",
        lambda e: e.fleet["fleet_keypairs"].update({"a/b": e.fleet["fleet_keypairs"]["ops"]}),
        (
            "fleet_keypairs.a/b: found 'a/b' as a name, allowed is 1 to 255 letters, digits, spaces, '-', "
            "'_', '@' or '.'."
        ),
    ),
    (
        "keypair without its key",
        lambda e: e.fleet["fleet_keypairs"].update(ci={}),
        (
            "fleet_keypairs.ci.public_key: is missing, it must be text such as 'ssh-ed25519 "
            "AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0…."
        ),
    ),
    (
        "image from nowhere",
        lambda e: e.image.pop("url"),
        "fleet_images.debian-12: found none of them, allowed is exactly one of url, file.",
    ),
    (
        "image from two places",
        lambda e: e.image.update(file="/srv/debian-12.qcow2"),
        "fleet_images.debian-12: found url and file, allowed is exactly one of url, file.",
    ),
    (
        "image from an unknown scheme",
        lambda e: e.image.update(url="gopher://example.org/debian"),
        (
            "fleet_images.debian-12.url: found 'gopher://example.org/debian', allowed is a URL that begins "
            "with https://, http:// or file://."
        ),
    ),
    (
        "image without checksum",
        lambda e: e.image.pop("checksum"),
        ("fleet_images.debian-12.checksum: is missing, it must be sha256: and 64 hexadecimal digits in lower case."),
    ),
    (
        "image with an MD5 checksum",
        lambda e: e.image.update(checksum="md5:d41d8cd98f00b204e9800998ecf8427e"),
        (
            "fleet_images.debian-12.checksum: found 'md5:d41d8cd98f00b204e9800998ecf8427e', allowed is "
            "sha256: and 64 hexadecimal digits in lower case."
        ),
    ),
    (
        "image with a short checksum",
        lambda e: e.image.update(checksum="sha256:abc"),
        (
            "fleet_images.debian-12.checksum: found 'sha256:abc', allowed is sha256: and 64 hexadecimal "
            "digits in lower case."
        ),
    ),
    (
        "image with a checksum and a newline",
        lambda e: e.image.update(checksum=e.image["checksum"] + "\n"),
        (
            "fleet_images.debian-12.checksum: found "
            "'sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\\n', allowed is sha256: "
            "and 64 hexadecimal digits in lower case."
        ),
    ),
    (
        "image of unknown format",
        lambda e: e.image.update(format="qcow"),
        ("fleet_images.debian-12.format: found 'qcow', allowed is one of qcow2, raw; did you mean 'qcow2'?"),
    ),
    (
        "image min_disk in no unit",
        lambda e: e.image.update(min_disk="ten"),
        (
            "fleet_images.debian-12.min_disk: found 'ten', allowed is a whole number of GiB, or text such as "
            "20GiB or 1TiB."
        ),
    ),
    (
        "image property that is a mapping",
        lambda e: e.image["properties"].update(os_type={}),
        ("fleet_images.debian-12.properties.os_type: found {}, allowed is text or a number or true or false."),
    ),
    (
        "network on nothing",
        lambda e: e.lan.pop("bridge"),
        "fleet_networks.lan: found none of them, allowed is exactly one of bridge, libvirt_network.",
    ),
    (
        "network on two things",
        lambda e: e.lan.update(libvirt_network="default"),
        ("fleet_networks.lan: found bridge and libvirt_network, allowed is exactly one of bridge, libvirt_network."),
    ),
    (
        "bridge name too long",
        lambda e: e.lan.update(bridge="a-very-long-bridge"),
        (
            "fleet_networks.lan.bridge: found 'a-very-long-bridge', allowed is the name of a network "
            "interface: 1 to 15 characters without space or '/'."
        ),
    ),
    (
        "cidr without prefix",
        lambda e: e.lan.update(cidr="192.0.2.0"),
        (
            "fleet_networks.lan.cidr: found '192.0.2.0', allowed is the address of a network and its prefix "
            "length, such as 192.0.2.0/24."
        ),
    ),
    (
        "cidr with host bits",
        lambda e: e.lan.update(cidr="192.0.2.7/24"),
        ("fleet_networks.lan.cidr: found '192.0.2.7/24', allowed is 192.0.2.0/24, which has no host bits set."),
    ),
    (
        "gateway that is a name",
        lambda e: e.lan.update(gateway="router"),
        "fleet_networks.lan.gateway: found 'router', allowed is an IP address.",
    ),
    (
        "gateway with a scope",
        lambda e: e.fleet["fleet_networks"]["six"].update(gateway="fe80::1%eth0"),
        "fleet_networks.six.gateway: found 'fe80::1%eth0', allowed is an IP address without a scope.",
    ),
    (
        "allocation pool without end",
        lambda e: e.lan["allocation_pools"][0].pop("end"),
        "fleet_networks.lan.allocation_pools[0].end: is missing, it must be text such as '192.0.2.199'.",
    ),
    (
        "mtu too small",
        lambda e: e.lan.update(mtu=10),
        "fleet_networks.lan.mtu: found 10, allowed is a number of at least 68.",
    ),
    (
        "server group without policy",
        lambda e: e.fleet["fleet_server_groups"].update(x={}),
        (
            "fleet_server_groups.x.policy: is missing, it must be one of affinity, anti-affinity, "
            "soft-affinity, soft-anti-affinity."
        ),
    ),
    (
        "server group of unknown policy",
        lambda e: e.fleet["fleet_server_groups"].update(x={"policy": "antiaffinity"}),
        (
            "fleet_server_groups.x.policy: found 'antiaffinity', allowed is one of affinity, anti-affinity, "
            "soft-affinity, soft-anti-affinity; did you mean 'anti-affinity'?"
        ),
    ),
    (
        "server group with no server per host",
        lambda e: e.fleet["fleet_server_groups"]["spread"].update(rules={"max_server_per_host": 0}),
        ("fleet_server_groups.spread.rules.max_server_per_host: found 0, allowed is a number of at least 1."),
    ),
    (
        "aggregate with hosts as text",
        lambda e: e.fleet["fleet_aggregates"]["rack1"].update(hosts="kvm1"),
        "fleet_aggregates.rack1.hosts: found 'kvm1', allowed is a list.",
    ),
    (
        "scheduler option misspelt",
        lambda e: e.fleet["fleet_scheduler"].update(ram_wieght_multiplier=1),
        (
            "fleet_scheduler.ram_wieght_multiplier: 'ram_wieght_multiplier' is not known here, allowed are "
            "aggregate_image_properties_isolation_namespace, aggregate_image_properties_isolation_separator, "
            "batch, build_failure_weight_multiplier, cpu_weight_multiplier, default_availability_zone, "
            "disk_weight_multiplier, enabled_filters, host_subset_size, "
            "hypervisor_version_weight_multiplier, image_properties_default_architecture and 21 more; did "
            "you mean 'ram_weight_multiplier'?"
        ),
    ),
    (
        "scheduler filter unknown",
        lambda e: e.fleet["fleet_scheduler"].update(enabled_filters=["ComputFilter"]),
        (
            "fleet_scheduler.enabled_filters[0]: found 'ComputFilter', allowed is one of "
            "AggregateImagePropertiesIsolation, AggregateInstanceExtraSpecsFilter, AggregateIoOpsFilter, "
            "AggregateMultiTenancyIsolation, AggregateNumInstancesFilter, AggregateTypeAffinityFilter, "
            "AllHostsFilter, AvailabilityZoneFilter, ComputeCapabilitiesFilter, ComputeFilter, CoreFilter "
            "and 16 more; did you mean 'ComputeFilter'?"
        ),
    ),
    (
        "scheduler multiplier not finite",
        lambda e: e.fleet["fleet_scheduler"].update(ram_weight_multiplier=float("nan")),
        "fleet_scheduler.ram_weight_multiplier: found nan, allowed is a finite number.",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)

    assert example.mistaken() == [sentence]
