# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From inventory data to values."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Image
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import (
    Aggregate,
    Catalogs,
    ImageSource,
    Network,
    ServerGroup,
    catalogs,
    declared,
    matching,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import PUBLIC_KEY, Example


def known(example: Example) -> Catalogs:
    return catalogs(example.fleet, example.computes, example.ledger)


def test_flavors_are_in_novas_units(example: Example) -> None:
    flavors = known(example).flavors

    assert flavors["m1.small"] == Flavor("m1.small", vcpus=1, ram=2048, disk=20)
    assert flavors["from-ledger"] == Flavor("from-ledger", vcpus=1, ram=64, disk=1)
    large = flavors["m1.large"]
    assert (large.ram, large.disk, large.ephemeral, large.swap) == (8192, 80, 10, 512)
    assert (large.extra_specs["hw:pmu"], large.extra_specs["hw:numa_mem.0"]) == ("true", "1024")


def test_images(example: Example) -> None:
    found = known(example)

    assert found.images["debian-12"] == Image(
        "debian-12",
        format="qcow2",
        checksum=f"sha256:{'a1' * 32}",
        min_disk=10,
        min_ram=512,
        properties={"hw_disk_bus": "virtio", "hw_boot_menu": "true"},
    )
    assert found.image_sources == {
        "debian-12": ImageSource("https://example.org/debian-12.qcow2", None),
        "probe": ImageSource(None, "/srv/probe.raw"),
    }


def test_networks(example: Example) -> None:
    example.fleet["fleet_networks"]["six"]["gateway"] = "2001:DB8:0::1"

    assert known(example).networks == {
        "lan": Network(
            "lan",
            kind="bridge",
            source="br0",
            cidr="192.0.2.0/24",
            gateway="192.0.2.1",
            dns=("192.0.2.53", "2001:db8::53"),
            pools=(("192.0.2.100", "192.0.2.199"),),
            dhcp=False,
            mtu=9000,
        ),
        "six": Network("six", "bridge", "br6", cidr="2001:db8::/64", gateway="2001:db8::1", dhcp=False),
        "nat": Network("nat", "network", "default", dhcp=True),
    }


def test_groups_and_keypairs(example: Example) -> None:
    found = known(example)

    assert found.groups == {
        "spread": ServerGroup("spread", "anti-affinity", 2),
        "near": ServerGroup("near", "soft-affinity", 1),
    }
    assert found.keypairs == {"ops": PUBLIC_KEY}


def test_aggregates_name_hosts_and_give_zones(example: Example) -> None:
    example.fleet["fleet_aggregates"]["rack1"]["hosts"] = ["kvm1", "kvm[01]"]
    example.computes.update(kvm3={"compute_availability_zone": "west"})

    found = known(example)

    assert found.aggregates == {"rack1": Aggregate("rack1", ("kvm1",), {"availability_zone": "east"})}
    assert found.zones == {"kvm1": "east", "kvm2": "nova", "kvm3": "west"}


def test_default_zone_is_the_schedulers(example: Example) -> None:
    example.fleet["fleet_scheduler"] = {"default_availability_zone": "main"}
    example.fleet["fleet_aggregates"] = {}

    assert known(example).zones == {"kvm1": "main", "kvm2": "main"}
    example.web1["server_availability_zone"] = "main"
    assert example.mistaken() == []


def test_plain_name_matches_itself_whatever_is_in_it() -> None:
    assert matching("web[1]", ["web[1]", "web1", "web2"]) == ["web[1]", "web1"]
    assert matching("db*", ["DB1", "db2"]) == ["db2"]


def test_declared_holds_what_is_written(example: Example) -> None:
    example.web1.update(
        server_locked=False,
        server_tags=["prod"],
        server_scheduler_hints={"different_host": ["web2"]},
        server_user_data="#cloud-config\n",
        server_pool="shared",
        server_config_drive="auto",
    )
    example.web1["server_networks"][0]["mac"] = "52:54:00:00:00:0A"

    server = declared("web1", example.web1, known(example))

    small, debian = known(example).flavors["m1.small"], known(example).images["debian-12"]
    assert (server.name, server.state, server.id, server.pool) == ("web1", "active", None, "shared")
    assert (server.flavor, server.image, server.networks) == (small, debian, ("lan", "nat"))
    assert server.spec == {
        "flavor": small.to_json(),
        "image": debian.to_json(),
        "networks": [
            {"network": "lan", "fixed_ip": "192.0.2.10", "mac": "52:54:00:00:00:0a"},
            {"network": "nat"},
        ],
        "key_name": {"name": "ops", "public_key": PUBLIC_KEY},
        "group": "spread",
        "metadata": {"role": "web", "shard": "1"},
        "availability_zone": "east",
        "locked": False,
        "tags": ["prod"],
        "hints": {"different_host": ["web2"]},
        "user_data": {"sha256": "88c95955b024402aa9572b663f7eeb134f01343bb92af27b50e97e72b22c565f"},
        "pool": "shared",
        "config_drive": "auto",
    }


def test_declared_has_no_key_that_is_not_written(example: Example) -> None:
    example.servers["bare"] = {"server_flavor": "m1.small", "server_image": "probe", "server_networks": None}

    server = declared("bare", example.servers["bare"], known(example))

    assert sorted(server.spec) == ["flavor", "image"]
    assert (server.networks, server.pool) == ((), "local")


def test_declared_id_is_in_its_one_form(example: Example) -> None:
    example.web2["server_id"] = example.web2["server_id"].upper()

    assert declared("web2", example.web2, known(example)).id == "6f2c1a54-6a3f-4c55-9f0e-8b6c1c0f6c11"


def test_declared_is_json_without_secrets(example: Example) -> None:
    example.web2.update(server_user_data="password: pl4nted", server_admin_password="pl4nted")

    server: t.Any = declared("web2", example.web2, known(example))

    assert "pl4nted" not in repr(dataclasses.asdict(server))
    assert json.loads(json.dumps(server.spec)) == server.spec
