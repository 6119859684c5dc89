# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ComputeCapabilitiesFilter and ImagePropertiesFilter: what the host's CPU and hypervisor can do.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import operator
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.attributes import (
    CHANGING,
    attribute,
    dig,
    known,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import HostFilter, RowFilter
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.operators import match
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table


def capabilities(request: Request) -> dict[str, tuple[tuple[str, ...], str]]:
    """Extra specs of the scope ``capabilities:`` and those without scope -> (path, requirement)."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for key, requirement in request.flavor.extra_specs.items():
        path = tuple(key.split(":"))
        if key == "hw:maxphysaddr_bits":
            found[key] = (("cpu_info", "maxphysaddr", "bits"), f">= {requirement}")
        elif path[0] == "capabilities" and len(path) > 1:
            found[key] = (path[1:], requirement)
        elif len(path) == 1:
            found[key] = (path, requirement)
    return found


class ComputeCapabilitiesFilter(RowFilter):
    """Extra specs against the host's attributes; one without scope counts only where the host has that attribute."""

    def concerns(self, request: Request) -> bool:
        return bool(capabilities(request))

    def key(self, request: Request) -> t.Hashable | None:
        wanted = capabilities(request)
        if any(path[0] in CHANGING for path, _requirement in wanted.values()):
            return None
        return frozenset(wanted.items())

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        for key, (path, requirement) in capabilities(request).items():
            if ":" not in key and not known(table, row, key):
                continue
            found = dig(attribute(table, row, request, path[0]), path[1:])
            if found is None:
                return f"needs {key} {requirement!r}, has no such capability"
            if not match(str(found), requirement):
                return f"needs {key} {requirement!r}, has {found!r}"
        return None


# Other names for the same thing (Nova: objects/fields.py).
_ARCHITECTURES = {"amd64": "x86_64", **dict.fromkeys(("i386", "i486", "i586", "x86_32", "x86_32p"), "i686")}
_HYPERVISORS = {"xapi": "xen"}
_VM_MODES = {"pv": "xen", "hv": "hvm", "baremetal": "hvm"}
_COMPARE = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_PREDICATE = re.compile(r"\s*(<=|>=|<|>|!=|==)\s*(\S+)\s*")


class ImagePropertiesFilter(HostFilter):
    """Architecture, hypervisor type, vm mode and hypervisor version that the image asks for."""

    on_rebuild = True

    def key(self, request: Request) -> t.Hashable:
        return frozenset((name, str(request.image_properties.get(name))) for name in self._NAMES)

    _NAMES = ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")

    def _wanted(self, request: Request) -> dict[str, str]:
        properties = request.image_properties
        architecture = properties.get("hw_architecture") or self.settings.image_properties_default_architecture
        wanted = {
            "hw_architecture": _canonical(architecture, _ARCHITECTURES),
            "img_hv_type": _canonical(properties.get("img_hv_type"), _HYPERVISORS),
            "hw_vm_mode": _canonical(properties.get("hw_vm_mode"), _VM_MODES),
        }
        return {name: value for name, value in wanted.items() if value}

    def concerns(self, request: Request) -> bool:
        asked = request.image_properties or self.settings.image_properties_default_architecture
        return bool(asked) and bool(self._wanted(request))

    def why_not(self, host: HostState, request: Request) -> str | None:
        wanted = self._wanted(request)
        if not wanted:
            return None
        if not any(set(wanted.values()) <= set(supported) for supported in host.supported_instances):
            asked = ", ".join(f"{name} {value!r}" for name, value in wanted.items())
            found = "; ".join(" ".join(supported) for supported in host.supported_instances) or "nothing known"
            return f"the image needs {asked}, the host runs {found}"
        return _version_shortage(host, request) or _address_shortage(host, request)


def _canonical(value: t.Any, aliases: t.Mapping[str, str]) -> str:
    name = str(value or "").lower()
    return aliases.get(name, name)


def _version_shortage(host: HostState, request: Request) -> str | None:
    wanted = request.image_properties.get("img_hv_requested_version")
    number = host.hypervisor_version
    for compare, version in _predicates(str(wanted)) if wanted else ():
        found = ((number or 0) // 1000000, (number or 0) // 1000 % 1000, (number or 0) % 1000)
        if number and not compare(found, version):
            return f"the image needs hypervisor version {wanted}, has {'.'.join(map(str, found))}"
    return None


def _predicates(wanted: str) -> list[tuple[t.Callable[[t.Any, t.Any], bool], tuple[int, ...]]]:
    """``>=6.0,<8.2`` as comparisons; what can't be read is wrong wherever it is asked."""
    found = []
    for predicate in wanted.split(","):
        parsed = _PREDICATE.fullmatch(predicate)
        if parsed is None or not re.fullmatch(r"\d+(\.\d+)*", parsed[2]):
            raise InvalidInput(f"img_hv_requested_version {wanted!r} should be like '>=6.0,<8.2'")
        found.append((_COMPARE[parsed[1]], tuple([*map(int, parsed[2].split(".")), 0, 0, 0][:3])))
    return found


def _address_shortage(host: HostState, request: Request) -> str | None:
    wanted = request.image_properties.get("hw_maxphysaddr_bits")
    if not wanted:
        return None
    if not str(wanted).isdecimal():
        raise InvalidInput(f"image property 'hw_maxphysaddr_bits' should be a whole number, found {wanted!r}")
    found = dig(host.cpu_info, ("maxphysaddr", "bits"))
    if not found or int(found) >= int(wanted):
        return None
    return f"the image needs {wanted} bits of physical addresses, has {found}"


__all__ = ["ComputeCapabilitiesFilter", "ImagePropertiesFilter"]
