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

# Nova's five, and the two that act on a hint alone: a hint that a user wrote is not passed over.
DEFAULT_FILTERS = (
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
    "DifferentHostFilter",
    "SameHostFilter",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """``batch`` auto places servers with the fewest possible hosts first, off keeps the given order as Nova would.
    Where auto refuses some of a batch, a joint search takes up to ``joint_time_limit`` seconds; 0 leaves it out.

    ``metrics_weight_setting`` and ``image_props_weight_setting`` map a metric or an image property to its factor.
    """

    enabled_filters: t.Sequence[str] = DEFAULT_FILTERS
    batch: Batch = "auto"
    joint_time_limit: float = 10.0
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
        defaults = cls()
        return cls(**{key: _checked(key, item, getattr(defaults, key)) for key, item in options.items()})


def _checked(key: str, value: t.Any, default: t.Any) -> t.Any:
    """The value of an option, of the same kind as its default."""
    if key == "batch" and value is False:  # YAML 1.1 reads a bare off as false
        return "off"
    kind, fits = _OWN_KINDS.get(key) or _KINDS[type(default)]
    if not fits(value):
        raise InvalidInput(f"fleet_scheduler: {key} should be {kind}, found {value!r}")
    return value


def _is_batch(value: t.Any) -> bool:
    return value in t.get_args(Batch)


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_names(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _is_factors(value: t.Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_number(item) for key, item in value.items())


# What an option may be, by the type of its default.
_KINDS: dict[type, tuple[str, t.Callable[[t.Any], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number from 1", lambda value: _is_number(value) and value == int(value) and value >= 1),
    float: ("a number", _is_number),
    str: ("text", lambda value: isinstance(value, str)),
    type(None): ("text", lambda value: value is None or isinstance(value, str)),
    tuple: ("a list of names", _is_names),
    dict: ("a mapping from names to numbers", _is_factors),
}

_OWN_KINDS: dict[str, tuple[str, t.Callable[[t.Any], bool]]] = {
    "batch": ("auto or off", _is_batch),
    "joint_time_limit": ("a number of seconds from 0", lambda value: _is_number(value) and value >= 0),
}

_SHORT = {"shuffle": "shuffle_best_same_weighed_hosts"}

__all__ = ["DEFAULT_FILTERS", "Batch", "Settings"]
