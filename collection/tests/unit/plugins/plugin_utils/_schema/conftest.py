# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An inventory without a mistake, for tests to break."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import InventoryInput, validate

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org"


class Example:
    """Two compute hosts and two servers, that use every catalog. Its parts may be changed as a test likes."""

    def __init__(self) -> None:
        self.fleet: dict[str, t.Any] = {
            "fleet_flavors": {
                "m1.small": {"vcpus": 1, "ram": "2GiB", "disk": 20},
                "m1.large": {
                    "vcpus": 4,
                    "ram": 8192,
                    "disk": "80 GiB",
                    "ephemeral": "10GiB",
                    "swap": "512MiB",
                    "extra_specs": {
                        "hw:cpu_policy": "dedicated",
                        "hw:pmu": True,
                        "hw:numa_cpus.0": "0-1",
                        "hw:numa_mem.0": 1024,
                        "resources:VGPU": 1,
                        "trait_2:HW_CPU_X86_AVX2": "required",
                        "trait:CUSTOM_SSD": "required",
                        "aggregate_instance_extra_specs:rack": "r1",
                        "site:anything": "goes",
                        "unscoped": "goes",
                    },
                    "description": "for databases",
                },
            },
            "fleet_keypairs": {"ops": {"public_key": PUBLIC_KEY}},
            "fleet_images": {
                "debian-12": {
                    "url": "https://example.org/debian-12.qcow2",
                    "checksum": f"sha256:{'a1' * 32}",
                    "format": "qcow2",
                    "min_disk": "10GiB",
                    "min_ram": 512,
                    "properties": {"hw_disk_bus": "virtio", "hw_boot_menu": True},
                },
                "probe": {"file": "/srv/probe.raw", "checksum": f"sha256:{'b2' * 32}", "format": "raw"},
            },
            "fleet_networks": {
                "lan": {
                    "bridge": "br0",
                    "cidr": "192.0.2.0/24",
                    "gateway": "192.0.2.1",
                    "dns": ["192.0.2.53", "2001:db8::53"],
                    "allocation_pools": [{"start": "192.0.2.100", "end": "192.0.2.199"}],
                    "mtu": 9000,
                },
                "six": {"bridge": "br6", "cidr": "2001:db8::/64", "gateway": "2001:db8::1"},
                "nat": {"libvirt_network": "default"},
            },
            "fleet_server_groups": {
                "spread": {"policy": "anti-affinity", "rules": {"max_server_per_host": 2}},
                "near": {"policy": "soft-affinity"},
            },
            "fleet_aggregates": {"rack1": {"hosts": ["kvm[1-4]"], "metadata": {"availability_zone": "east"}}},
            "fleet_security_groups": {"web": None},
            "fleet_volumes": {"data": {"size": 10}},
            "fleet_scheduler": {
                "batch": False,
                "ram_weight_multiplier": -1,
                "enabled_filters": ["ComputeFilter", "ServerGroupAntiAffinityFilter"],
            },
            "fleet_allow": "restart, rebuild",
            "fleet_servers": ["web*"],
            "fleet_max_disrupted": "20%",
            "fleet_ledger": "postgresql+psycopg://flotilla:secret-ledger@db.example.org/flotilla",
            "fleet_plan": {"registered": "by a playbook"},
        }
        self.computes: dict[str, dict[str, t.Any]] = {
            "kvm1": {"compute_reserved": {"memory": "1GiB"}, "compute_networks": {"lan": "br1"}},
            "kvm2": {"compute_pools": ["local", "shared"], "compute_default_pool": "shared"},
        }
        self.servers: dict[str, dict[str, t.Any]] = {
            "web1": {
                "server_flavor": "m1.small",
                "server_image": "debian-12",
                "server_networks": [{"network": "lan", "fixed_ip": "192.0.2.10", "mac": "52:54:00:00:00:0a"}, "nat"],
                "server_key_name": "ops",
                "server_group": "spread",
                "server_metadata": {"role": "web", "shard": 1},
                "server_availability_zone": "east",
            },
            "web2": {
                "server_flavor": "m1.large",
                "server_image": "probe",
                "server_networks": ["lan", "six"],
                "server_id": "6f2c1a54-6a3f-4c55-9f0e-8b6c1c0f6c11",
                "server_state": "stopped",
                "server_host": "kvm1",
                "server_volumes": ["data"],
                "server_security_groups": ["web"],
                "server_user_data": "#cloud-config\n",
                "server_description": None,
            },
        }
        self.ledger: dict[str, dict[str, t.Any]] = {"flavors": {"from-ledger": {"vcpus": 1, "ram": 64, "disk": 1}}}
        self.sources: dict[str, dict[str, str]] = {}
        self.names: dict[str, list[str]] = {}
        self.mistakes: list[Mistake] = []

    # What tests change most.

    @property
    def flavor(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.fleet["fleet_flavors"]["m1.small"])

    @property
    def image(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.fleet["fleet_images"]["debian-12"])

    @property
    def lan(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", self.fleet["fleet_networks"]["lan"])

    @property
    def web1(self) -> dict[str, t.Any]:
        return self.servers["web1"]

    @property
    def web2(self) -> dict[str, t.Any]:
        return self.servers["web2"]

    @property
    def kvm1(self) -> dict[str, t.Any]:
        return self.computes["kvm1"]

    def input(self) -> InventoryInput:
        return InventoryInput(
            self.fleet, self.computes, self.servers, self.ledger, self.sources, self.names, self.mistakes
        )

    def mistaken(self) -> list[str]:
        """The sentences."""
        return [str(mistake) for mistake in validate(self.input())]


@pytest.fixture
def example() -> Example:
    return Example()
