# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the scheduler is set: ``fleet_scheduler`` in inventory, with Nova's option names and defaults.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput

Batch = t.Literal["auto", "off"]

DEFAULT_FILTERS = (
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """``batch`` auto places servers with the fewest possible hosts first, off keeps the given order as Nova would.

    ``metrics_weight_setting`` and ``image_props_weight_setting`` map a metric or an image property to its factor.
    """

    enabled_filters: t.Sequence[str] = DEFAULT_FILTERS
    batch: Batch = "auto"
    host_subset_size: int = 1
    shuffle_best_same_weighed_hosts: bool = False
    max_attempts: int = 3
    default_availability_zone: str = "nova"
    max_io_ops_per_host: int = 8
    max_instances_per_host: int = 50
    isolated_images: t.Sequence[str] = ()
    isolated_hosts: t.Sequence[str] = ()
    restrict_isolated_hosts_to_isolated_images: bool = True
    image_properties_default_architecture: str | None = None
    aggregate_image_properties_isolation_namespace: str | None = None
    aggregate_image_properties_isolation_separator: str = "."
    metrics_weight_setting: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    metrics_required: bool = True
    metrics_weight_of_unavailable: float = -10000.0
    image_props_weight_setting: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    ram_weight_multiplier: float = 1.0
    cpu_weight_multiplier: float = 1.0
    disk_weight_multiplier: float = 1.0
    io_ops_weight_multiplier: float = -1.0
    num_instances_weight_multiplier: float = 0.0
    pci_weight_multiplier: float = 1.0
    metrics_weight_multiplier: float = 1.0
    soft_affinity_weight_multiplier: float = 1.0
    soft_anti_affinity_weight_multiplier: float = 1.0
    build_failure_weight_multiplier: float = 1000000.0
    hypervisor_version_weight_multiplier: float = 1.0
    image_props_weight_multiplier: float = 0.0

    @classmethod
    def from_variable(cls, value: t.Mapping[str, t.Any]) -> Settings:
        """``fleet_scheduler`` as the schema has let it pass; ``shuffle`` is short for Nova's long name."""
        options = {_SHORT.get(key, key): item for key, item in value.items()}
        known = [field.name for field in dataclasses.fields(cls)]
        for key in options:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
                raise InvalidInput(f"fleet_scheduler: {key!r} is no option of the scheduler{hint}")
        for key, item in options.items():
            if key.endswith("_weight_multiplier") and (isinstance(item, bool) or not isinstance(item, (int, float))):
                raise InvalidInput(f"fleet_scheduler: {key} should be a number, found {item!r}")
        return cls(**options)


_SHORT = {"shuffle": "shuffle_best_same_weighed_hosts"}

__all__ = ["DEFAULT_FILTERS", "Batch", "Settings"]
