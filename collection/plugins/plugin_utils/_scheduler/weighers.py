# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Weighers: which of the hosts that passed is best, with Nova's normalisation (Nova: nova/weights.py).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

weight = sum of multiplier x norm, norm = (x - min) / (max - min), all equal -> 0. A weigher with a ``minval`` clamps
below it and takes it as min. Nova's CrossCellWeigher has no meaning here: there are no cells.
"""

# ruff: noqa: ARG002 - a rule need not look at all that it is given

from __future__ import annotations

import abc
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Policy,
    Request,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Floats, Ints

# More devices than this are no scarcity, whatever their number (Nova: weights/pci.py).
MAX_DEVS = 100


class Weigher(abc.ABC):
    """``option`` is Nova's name of the multiplier: in the settings, and per host in aggregate metadata."""

    option: t.ClassVar[str]
    minval: t.ClassVar[float | None] = None
    sign: t.ClassVar[float] = 1.0

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        return type(self).__name__

    @abc.abstractmethod
    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        """What the rule measures on each host in *rows*, before normalisation."""

    def multipliers(self, table: Table) -> Floats:
        key = ("multiplier", self.option)
        if key not in table.cache:
            table.cache[key] = table.column(self._multiplier)
        return t.cast("Floats", table.cache[key])

    def _multiplier(self, host: HostState) -> float:
        default = float(getattr(self.settings, self.option))
        return self.sign * host.aggregate_minimum(self.option, default, float)

    def _multipliers_of(self, table: Table, rows: Ints) -> Floats | float:
        """One for all where no aggregate has another, which saves looking up each."""
        key = ("one multiplier", self.option)
        if key not in table.cache:
            every = self.multipliers(table)
            table.cache[key] = float(every[0]) if len(every) and (every == every[0]).all() else None
        common: float | None = table.cache[key]
        return self.multipliers(table)[rows] if common is None else common

    def matters(self, table: Table, request: Request) -> bool:
        """False if it is plain without measuring that all hosts are equal to this rule."""
        return True

    def weigh(self, table: Table, rows: Ints, request: Request) -> Floats | None:
        """multiplier x norm for each host in *rows*; None when it makes no difference."""
        multipliers = self._multipliers_of(table, rows)
        idle = multipliers == 0 if isinstance(multipliers, float) else not multipliers.any()
        if idle or not self.matters(table, request):
            return None
        raw = self.raw(table, rows, request)
        low, high = raw.min(), raw.max()
        if self.minval is not None:
            if low < self.minval:
                raw, high = raw.clip(self.minval), max(high, self.minval)
            low = self.minval
        if low == high:
            return None
        # What changes no bit is left out: on many hosts each operation counts.
        norm = (raw if low == 0 else raw - low) / (high - low)
        return t.cast("Floats", norm if isinstance(multipliers, float) and multipliers == 1 else multipliers * norm)


class RAMWeigher(Weigher):
    """Free memory; as in Nova without the allocation ratio."""

    option = "ram_weight_multiplier"
    minval = 0.0

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        stock = table.stock(MEMORY_MB)
        return t.cast("Floats", (stock.unreserved - stock.used)[rows].astype("float64"))


class CPUWeigher(Weigher):
    """Free vCPUs; the allocation ratio is on the total, reserved ones count as used."""

    option = "cpu_weight_multiplier"
    minval = 0.0

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        stock = table.stock(VCPU)
        key = ("vcpus", self.name)
        if key not in table.cache:
            table.cache[key] = stock.total * stock.ratio - (stock.total - stock.unreserved)
        return t.cast("Floats", (table.cache[key] - stock.used)[rows])


class DiskWeigher(Weigher):
    """Free space in the pool that the server would use."""

    option = "disk_weight_multiplier"
    minval = 0.0

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        np = need("numpy")
        pools = table.pool_rows(request)[rows]
        if not len(table.disk.inventories):
            return t.cast("Floats", np.zeros(len(rows)))
        free = (table.disk.unreserved - table.disk.used)[pools] * 1024.0
        return t.cast("Floats", np.where(pools >= 0, free, 0.0))


class IoOpsWeigher(Weigher):
    """Builds, resizes and the like that are going on; fewer are better by its default multiplier of -1."""

    option = "io_ops_weight_multiplier"
    minval = 0.0

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        return t.cast("Floats", table.num_io_ops[rows].astype("float64"))


class NumInstancesWeigher(Weigher):
    option = "num_instances_weight_multiplier"

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        return t.cast("Floats", table.num_instances[rows].astype("float64"))


class FactWeigher(Weigher):
    """A weigher over a fact of the host that no placement changes."""

    @abc.abstractmethod
    def fact(self, host: HostState) -> float:
        """The raw value of one host."""

    def facts(self, table: Table) -> Floats:
        key = ("fact", self.name)
        if key not in table.cache:
            table.cache[key] = table.column(self.fact)
        return t.cast("Floats", table.cache[key])

    def matters(self, table: Table, request: Request) -> bool:
        key = ("fact differs", self.name)
        if key not in table.cache:
            facts = self.facts(table)
            table.cache[key] = bool((facts != facts[0]).any()) if len(facts) else False
        return bool(table.cache[key])

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        return self.facts(table)[rows]


class PCIWeigher(Weigher):
    """Hosts with few free PCI devices first: those with many stay free for servers that need many."""

    option = "pci_weight_multiplier"

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        return t.cast("Floats", MAX_DEVS - table.num_devices[rows].clip(max=MAX_DEVS - 1).astype("float64"))


class MetricsWeigher(FactWeigher):
    """Sum of metric x factor; a missing metric is an error, or puts the host last if metrics are not required."""

    option = "metrics_weight_multiplier"

    def fact(self, host: HostState) -> float:
        value = 0.0
        for name, ratio in self.settings.metrics_weight_setting.items():
            if name in host.metrics:
                value += host.metrics[name] * ratio
            elif self.settings.metrics_required:
                return float("nan")
            elif ratio * self._multiplier(host) != 0:
                return self.settings.metrics_weight_of_unavailable
        return value

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        values = super().raw(table, rows, request)
        for row in rows[
            need("numpy").isnan(values)
        ].tolist():  # not a number: one is missing; hosts that were refused don't count
            missing = sorted(set(self.settings.metrics_weight_setting).difference(table.hosts[row].metrics))
            raise InvalidInput(
                f"host {table.hosts[row].name!r} has no metric {missing[0]!r}, which metrics_weight_setting weighs; "
                "enable MetricsFilter or set metrics_required: false"
            )
        return values


class BuildFailureWeigher(FactWeigher):
    """Builds that failed on the host since the last one that succeeded; its multiplier is taken negative."""

    option = "build_failure_weight_multiplier"
    sign = -1.0

    def fact(self, host: HostState) -> float:
        return host.failed_builds


class HypervisorVersionWeigher(FactWeigher):
    """The newest QEMU first."""

    option = "hypervisor_version_weight_multiplier"

    def fact(self, host: HostState) -> float:
        return host.hypervisor_version or 0


class _SoftPolicy(Weigher):
    policy: t.ClassVar[Policy]
    direction: t.ClassVar[float]

    def matters(self, table: Table, request: Request) -> bool:
        return request.group is not None and request.group.policy == self.policy

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        if request.group is None or request.group.policy != self.policy:
            return t.cast("Floats", need("numpy").zeros(len(rows)))
        return t.cast("Floats", self.direction * table.members(request.group)[rows])


class ServerGroupSoftAffinityWeigher(_SoftPolicy):
    option = "soft_affinity_weight_multiplier"
    policy = "soft-affinity"
    direction = 1.0


class ServerGroupSoftAntiAffinityWeigher(_SoftPolicy):
    option = "soft_anti_affinity_weight_multiplier"
    policy = "soft-anti-affinity"
    direction = -1.0


class ImagePropertiesWeigher(Weigher):
    """How many properties of the images of a host's instances equal the request's; 0 by default: it costs."""

    option = "image_props_weight_multiplier"

    def raw(self, table: Table, rows: Ints, request: Request) -> Floats:
        wanted = {(key, str(value)) for key, value in request.image_properties.items()}
        return t.cast("Floats", need("numpy").array([self._common(table, row, wanted) for row in rows.tolist()]))

    def _common(self, table: Table, row: int, wanted: set[tuple[str, str]]) -> float:
        instances = [instance.image_properties for instance in table.hosts[row].instances]
        instances += [request.image_properties for request in table.placed_on(row)]
        factors = self.settings.image_props_weight_setting
        return sum(
            factors.get(key, 0.0) if factors else 1.0
            for properties in instances
            for key, value in properties.items()
            if (key, str(value)) in wanted
        )


WEIGHERS: tuple[type[Weigher], ...] = (
    RAMWeigher,
    CPUWeigher,
    DiskWeigher,
    IoOpsWeigher,
    NumInstancesWeigher,
    PCIWeigher,
    MetricsWeigher,
    ServerGroupSoftAffinityWeigher,
    ServerGroupSoftAntiAffinityWeigher,
    BuildFailureWeigher,
    HypervisorVersionWeigher,
    ImagePropertiesWeigher,
)

BY_NAME: dict[str, type[Weigher]] = {weigher.__name__: weigher for weigher in WEIGHERS}

__all__ = ["BY_NAME", "WEIGHERS", "Weigher"]
