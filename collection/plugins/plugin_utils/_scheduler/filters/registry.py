# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters by Nova's names, and the ones that a run's settings enable.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import difflib

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters import (
    affinity,
    aggregates,
    always,
    capabilities,
    hardware,
    isolated,
    json_query,
    legacy,
    load,
    metrics,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

# In the order of explanations: first what is simplest to see.
ALWAYS: tuple[type[Filter], ...] = (
    always.RequestedHost,
    always.IgnoreHosts,
    legacy.RetryFilter,
    always.ComputeFilter,
    always.AvailabilityZoneFilter,
    always.Traits,
    always.Networks,
    always.StoragePool,
    always.Placement,
    hardware.PciPassthroughFilter,
    hardware.NUMATopologyFilter,
)

FILTERS: dict[str, type[Filter]] = {
    rule.__name__: rule
    for rule in (
        always.ComputeFilter,
        always.AvailabilityZoneFilter,
        capabilities.ComputeCapabilitiesFilter,
        capabilities.ImagePropertiesFilter,
        affinity.ServerGroupAntiAffinityFilter,
        affinity.ServerGroupAffinityFilter,
        affinity.DifferentHostFilter,
        affinity.SameHostFilter,
        affinity.SimpleCIDRAffinityFilter,
        aggregates.AggregateInstanceExtraSpecsFilter,
        aggregates.AggregateImagePropertiesIsolation,
        aggregates.AggregateTypeAffinityFilter,
        aggregates.AggregateMultiTenancyIsolation,
        load.IoOpsFilter,
        load.AggregateIoOpsFilter,
        load.NumInstancesFilter,
        load.AggregateNumInstancesFilter,
        isolated.IsolatedHostsFilter,
        json_query.JsonFilter,
        metrics.MetricsFilter,
        hardware.NUMATopologyFilter,
        hardware.PciPassthroughFilter,
        legacy.AllHostsFilter,
        legacy.RetryFilter,
        legacy.CoreFilter,
        legacy.RamFilter,
        legacy.DiskFilter,
    )
}


def filter_named(name: str) -> type[Filter]:
    if name in FILTERS:
        return FILTERS[name]
    near = difflib.get_close_matches(name, FILTERS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(FILTERS))}"
    raise InvalidInput(f"fleet_scheduler: enabled_filters names {name!r}, which is no filter; {hint}")


def build_filters(settings: Settings, *, rebuild: bool = False) -> list[Filter]:
    """The rules that always hold, then the enabled filters in their order; for a rebuild only those of images."""
    enabled = [filter_named(name) for name in settings.enabled_filters]
    rules = dict.fromkeys((*ALWAYS, *enabled))
    return [rule(settings) for rule in rules if rule.on_rebuild or not rebuild]


__all__ = ["ALWAYS", "FILTERS", "build_filters", "filter_named"]
