# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scheduler is asked and what it is told: hosts, requests, server groups.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Units are Nova's: MEMORY_MB in MiB, DISK_GB in GiB. All values are frozen; what a batch consumes is kept in the Table.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    SHARED,
    Fit,
    HostTopology,
    PciAlias,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import (
    DISK_GB,
    MEMORY_MB,
    PCPU,
    VCPU,
    amounts_of,
    traits_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.devices import WantedDevices, wanted_devices
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import (
    WantedTopology,
    wanted_topology,
)

Policy = t.Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]
Properties = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Placement's inventory of one resource class. ``max_unit`` None is the total: one server can't exceed the host."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    used: int = 0
    min_unit: int = 1
    max_unit: int | None = None
    step_size: int = 1

    @property
    def free(self) -> float:
        return (self.total - self.reserved) * self.allocation_ratio - self.used


@dataclasses.dataclass(frozen=True)
class Pool:
    """A storage pool as a host sees it. Pools of equal ``key`` are one pool, counted once."""

    key: str
    disk: Inventory


@dataclasses.dataclass(frozen=True)
class Instance:
    """A server on a host, or a foreign guest: that one has neither group nor name, hints never mean it."""

    id: str
    name: str = ""
    group: str | None = None
    image_properties: Properties = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class HostState:
    """A compute host as the scheduler sees it.

    ``inventories`` maps resource classes (VCPU, MEMORY_MB, CUSTOM_…) to amounts; disk is in ``pools`` (by name on this
    host), of which ``default_pool`` serves requests that name none. ``used`` includes foreign guests and claims.
    ``aggregates`` holds the metadata of each aggregate the host is in; ``networks`` the fleet's networks that it has.
    ``topology`` counts what is used of the host's NUMA cells, None where they aren't known; ``pci_devices`` are those
    that no server has.
    ``facts`` are further attributes for ComputeCapabilitiesFilter and JsonFilter (Nova's HostState.stats).
    """

    name: str
    enabled: bool = True
    up: bool = True
    reason: str = ""
    zone: str | None = None
    aggregates: t.Sequence[t.Mapping[str, str]] = ()
    inventories: t.Mapping[str, Inventory] = dataclasses.field(default_factory=dict)
    pools: t.Mapping[str, Pool] = dataclasses.field(default_factory=dict)
    default_pool: str | None = None
    networks: t.Collection[str] = ()
    instances: t.Sequence[Instance] = ()
    traits: t.Collection[str] = ()
    num_io_ops: int = 0
    failed_builds: int = 0
    address: str | None = None
    cpu_info: t.Any = None
    hypervisor_type: str | None = None
    hypervisor_version: int | None = None
    hypervisor_hostname: str | None = None
    supported_instances: t.Sequence[t.Sequence[str]] = ()
    metrics: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    topology: HostTopology | None = None
    pci_devices: t.Sequence[PciDevice] = ()
    facts: Properties = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def aggregate_metadata(self) -> dict[str, frozenset[str]]:
        """Union over the aggregates, each value split at commas (Nova: aggregate_metadata_get_by_host)."""
        union: dict[str, set[str]] = {}
        for metadata in self.aggregates:
            for key, value in metadata.items():
                union.setdefault(key, set()).update(part.strip() for part in str(value).split(","))
        return {key: frozenset(values) for key, values in union.items()}

    def aggregate_minimum(self, key: str, default: float, cast: t.Callable[[str], float]) -> float:
        """The least value of *key* over the aggregates; with none, or with one that is no number, the default."""
        values = [metadata[key] for metadata in self.aggregates if key in metadata]
        try:
            return min((cast(value) for value in values), default=default)
        except ValueError:
            return default


@dataclasses.dataclass(frozen=True)
class ServerGroup:
    """A server group. Members are the instances that bear its name; ``hosts`` are further hosts known to hold one."""

    name: str
    policy: Policy
    max_server_per_host: int = 1
    hosts: t.Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Request:
    """A server that needs a host. ``name`` seeds random choices; ``id`` is known for a server that exists already.

    ``pool`` None is each host's default pool. ``host`` pins; ``hints`` are Nova's scheduler hints. ``pci_aliases`` are
    the fleet's, by which the flavor asks for devices. ``running``: what a guest that moves as it runs has of its host's
    hardware, the shape of which it keeps.
    """

    name: str
    flavor: Flavor
    id: str | None = None
    image: str | None = None
    image_properties: Properties = dataclasses.field(default_factory=dict)
    zone: str | None = None
    group: ServerGroup | None = None
    hints: Properties = dataclasses.field(default_factory=dict)
    pool: str | None = None
    networks: t.Sequence[str] = ()
    host: str | None = None
    ignore_hosts: t.Collection[str] = ()
    retry_hosts: t.Collection[str] = ()
    project: str | None = None
    pci_aliases: t.Sequence[PciAlias] = ()
    running: Fit | None = None

    @functools.cached_property
    def topology(self) -> WantedTopology | None:
        """The NUMA cells that flavor and image ask for; None for a server that may float over the whole host."""
        if self.running is not None and not self.running.cells:
            return None  # it was made before its flavor or its host had to do with any
        wanted = wanted_topology(self.flavor, self.image_properties)
        return wanted if wanted is None or self.running is None else wanted.running(self.running)

    @functools.cached_property
    def devices(self) -> tuple[WantedDevices, ...]:
        """The PCI devices that the flavor asks for; a guest that runs has none, or doesn't move."""
        if self.running is not None:
            return ()
        return wanted_devices(self.flavor, self.image_properties, self.pci_aliases)

    @functools.cached_property
    def resources(self) -> dict[str, int]:
        """Amounts by resource class; ``resources:CLASS`` in extra specs overrides the flavor's."""
        amounts = amounts_of(self.flavor)
        if self.topology is None or self.topology.cpu_policy == SHARED:
            return amounts
        cores = sum(len(cell.dedicated) for cell in self.topology.cells)
        # A core for each vCPU that has one of its own, and for the emulator's threads (Nova: scheduler/utils.py).
        amounts |= {VCPU: self.flavor.vcpus - cores, PCPU: cores + self.topology.reserved}
        return {resource: amount for resource, amount in amounts.items() if amount}

    @functools.cached_property
    def traits(self) -> dict[str, str]:
        """Trait -> required or forbidden, from the flavor's extra specs and the image's properties."""
        return traits_of(self.flavor, self.image_properties)


__all__ = [
    "DISK_GB",
    "MEMORY_MB",
    "PCPU",
    "VCPU",
    "HostState",
    "Instance",
    "Inventory",
    "Policy",
    "Pool",
    "Properties",
    "Request",
    "ServerGroup",
]
