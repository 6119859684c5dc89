# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules over the metadata of the aggregates that a host is in.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import HostFilter, names
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.operators import match

_SCOPE = "aggregate_instance_extra_specs"
# Nova compares only the image properties that it knows; all of them begin like this.
_IMAGE_PROPERTIES = ("hw_", "img_", "os_")


class AggregateInstanceExtraSpecsFilter(HostFilter):
    """Extra specs, scoped or without scope, are met by one value in the metadata; a key that is absent fails."""

    def _wanted(self, request: Request) -> dict[str, str]:
        wanted: dict[str, str] = {}
        for spec in request.flavor.extra_specs:
            scope, colon, key = spec.partition(":")
            if not colon or scope == _SCOPE:
                wanted[spec] = key or scope
        return wanted

    def concerns(self, request: Request) -> bool:
        return bool(self._wanted(request))

    def key(self, request: Request) -> t.Hashable:
        return frozenset((spec, request.flavor.extra_specs[spec]) for spec in self._wanted(request))

    def why_not(self, host: HostState, request: Request) -> str | None:
        for spec, key in self._wanted(request).items():
            requirement = request.flavor.extra_specs[spec]
            values = host.aggregate_metadata.get(key, frozenset())
            if not values:
                return f"needs {spec} {requirement!r}, is in no aggregate with {key!r}"
            if not any(match(value, requirement) for value in sorted(values)):
                return f"needs {spec} {requirement!r}, its aggregates have {names(values)}"
        return None


class AggregateImagePropertiesIsolation(HostFilter):
    """Where an aggregate names an image property and the image sets it, the value is one of the aggregate's."""

    on_rebuild = True

    def key(self, request: Request) -> t.Hashable:
        return frozenset((name, str(value)) for name, value in request.image_properties.items())

    def why_not(self, host: HostState, request: Request) -> str | None:
        for key, values in host.aggregate_metadata.items():
            value = request.image_properties.get(key)
            if value and self._isolates(key) and str(value) not in values:
                return f"its aggregates take images with {key} {names(values)}, the image has {value!r}"
        return None

    def _isolates(self, key: str) -> bool:
        namespace = self.settings.aggregate_image_properties_isolation_namespace
        separator = self.settings.aggregate_image_properties_isolation_separator
        return key.startswith(_IMAGE_PROPERTIES) and (not namespace or key.startswith(namespace + separator))


class AggregateTypeAffinityFilter(HostFilter):
    """Metadata ``instance_type`` lists the flavors that may come; without it all may."""

    def key(self, request: Request) -> t.Hashable:
        return request.flavor.name

    def why_not(self, host: HostState, request: Request) -> str | None:
        flavors = host.aggregate_metadata.get("instance_type")
        if not flavors or request.flavor.name in flavors:
            return None
        return f"its aggregates take flavors {names(flavors)}, not {request.flavor.name!r}"


class AggregateMultiTenancyIsolation(HostFilter):
    """Metadata ``filter_tenant_id…`` lists the projects that may come; without it all may."""

    def key(self, request: Request) -> t.Hashable:
        return request.project or ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        lists = [values for key, values in host.aggregate_metadata.items() if key.startswith("filter_tenant_id")]
        projects = frozenset[str]().union(*lists)
        if not projects or request.project in projects:
            return None
        return f"its aggregates take projects {names(projects)}, the server has {request.project!r}"


__all__ = [
    "AggregateImagePropertiesIsolation",
    "AggregateInstanceExtraSpecsFilter",
    "AggregateMultiTenancyIsolation",
    "AggregateTypeAffinityFilter",
]
