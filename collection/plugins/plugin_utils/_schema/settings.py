# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of the fleet and of compute hosts, with their defaults (which stand in the JSON Schemas alone).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import coerced, document
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hardware import (
    HardwareSettings,
    hardware_settings,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.quota import Quota, quota
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.sizes import gib, mib

__all__ = ["MEASURED", "ComputeSettings", "FleetSettings", "compute_settings", "count_of", "fleet_settings"]

#: Resource classes whose totals a survey measures, and whose ratios and reserved amounts have variables of their own.
MEASURED = ("VCPU", "MEMORY_MB", "DISK_GB")

Data = t.Mapping[str, Json]


@dataclasses.dataclass(frozen=True)
class FleetSettings:
    """The scalar fleet variables, without their prefix. None: not given and without a default.

    ``reclaim`` is in hours; ``resize_confirm_window``, ``survey_max_age`` and ``timeout`` are in seconds. What may be
    secret is not in the repr.
    """

    name: str
    ledger: str | None = dataclasses.field(repr=False)
    secret_key: str | None = dataclasses.field(repr=False)
    state_dir: str | None
    survey_max_age: int
    strict: bool
    prune: bool
    prune_max: int
    prune_confirm: int | None
    reclaim: int
    resize_confirm_window: int
    take_over: bool
    assume_absent: tuple[str, ...]
    allow: frozenset[str]
    max_disrupted: int | str | None
    max_failures: int | str | None
    servers: tuple[str, ...]
    server: str | None
    host: str | None
    action: str | None
    action_options: t.Mapping[str, Json] | str | None = dataclasses.field(repr=False)
    fenced: t.Mapping[str, Json] | str | None
    evacuate: t.Mapping[str, Json] | None
    unattended: bool
    lose: tuple[str, ...]
    explain: str | None
    report: str | None
    drain: str | None
    timeout: int
    host_slots: int
    max_concurrent_migrations: int
    live_migration: t.Mapping[str, Json]
    cpu_model: t.Mapping[str, Json] | None
    scheduler: t.Mapping[str, Json]
    quota: Quota
    dhcp_domain: str
    vendor_data: t.Mapping[str, Json]
    vendor_data_targets: t.Mapping[str, str]
    vendor_data_failure_fatal: bool


@dataclasses.dataclass(frozen=True)
class ComputeSettings:
    """The variables of a compute host. Ratios and reserved amounts as Placement has them; memory in MiB, disk in GiB.

    ``resources``: what compute_resources gives, by resource class, each as a mapping.
    ``zone`` is what compute_availability_zone says; an aggregate may say otherwise (catalog.zone_of). ``pools`` None:
    all active ones.
    """

    vcpus_ratio: float
    memory_ratio: float
    disk_ratio: float
    vcpus_reserved: int
    memory_reserved: int
    disk_reserved: int
    zone: str | None
    uri: str
    migration_uri: str | None
    pools: tuple[str, ...] | None
    default_pool: str | None
    networks: t.Mapping[str, str]
    address: str | None
    metrics: t.Mapping[str, float]
    state: str
    state_reason: str | None
    traits: tuple[str, ...]
    state_dir: str
    hardware: HardwareSettings = dataclasses.field(default_factory=HardwareSettings)
    resources: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)

    @property
    def custom_resources(self) -> dict[str, t.Mapping[str, t.Any]]:
        """Placement's inventory of each resource class of the site's own: total, reserved, allocation_ratio …"""
        return {name: given for name, given in self.resources.items() if name not in MEASURED}

    def units(self, resource: str) -> dict[str, int]:
        """min_unit, max_unit and step_size of a resource class that the survey measures, as far as they are given."""
        return dict(self.resources.get(resource, {}))


def fleet_settings(fleet: Data) -> FleetSettings:
    """The settings in validated fleet variables; text from ``-e name=value`` is taken as what it stands for."""
    values: dict[str, t.Any] = {}
    for field in dataclasses.fields(FleetSettings):
        value = coerced(f"fleet_{field.name}", _value(fleet, f"fleet_{field.name}"))
        values[field.name] = tuple(value) if isinstance(value, list) else value
    values["allow"] = frozenset(values["allow"])
    values["quota"] = quota(values["quota"])
    return FleetSettings(**values)


def compute_settings(data: Data) -> ComputeSettings:
    """The settings in a compute host's validated variables. Within a mapping, what is left out has its default."""
    ratio = _mapping(data, "compute_allocation_ratio")
    reserved = _mapping(data, "compute_reserved")
    pools = _value(data, "compute_pools")
    return ComputeSettings(
        vcpus_ratio=float(ratio["vcpus"]),
        memory_ratio=float(ratio["memory"]),
        disk_ratio=float(ratio["disk"]),
        vcpus_reserved=reserved["vcpus"],
        memory_reserved=mib(reserved["memory"]),
        disk_reserved=gib(reserved["disk"]),
        zone=data.get("compute_availability_zone"),
        uri=_value(data, "compute_libvirt_uri"),
        migration_uri=_value(data, "compute_migration_uri"),
        pools=None if pools is None else tuple(pools),
        default_pool=_value(data, "compute_default_pool"),
        networks=dict(_value(data, "compute_networks")),
        address=_value(data, "compute_address"),
        metrics=dict(_value(data, "compute_metrics")),
        state=_value(data, "compute_state"),
        state_reason=_value(data, "compute_state_reason"),
        traits=tuple(_value(data, "compute_traits")),
        state_dir=_value(data, "compute_state_dir"),
        hardware=hardware_settings(data),
        resources={
            name: {"total": given} if isinstance(given, int) else dict(given)
            for name, given in _value(data, "compute_resources").items()
        },
    )


def count_of(limit: int | str, total: int) -> int:
    """A number, or percent of *total*: at least one, so that ``10%`` of five servers is no standstill."""
    text = str(limit)
    if not text.endswith("%"):
        return int(text)
    percent = int(text[:-1])
    return max(1, total * percent // 100) if percent and total else 0


def _value(data: Data, variable: str) -> t.Any:
    """The variable's value, or its default; null counts as not given."""
    value = data.get(variable)
    if value is not None:
        return value
    family = variable.partition("_")[0]
    return document(family)["properties"][variable].get("default")


def _mapping(data: Data, variable: str) -> dict[str, t.Any]:
    defaults = document(variable.partition("_")[0])["properties"][variable]["default"]
    return {**defaults, **(data.get(variable) or {})}
