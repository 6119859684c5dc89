# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What inventory says of a host's special hardware: CPU sets, reserved huge pages, PCI devices that servers may have.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Nova's options of the same names: [compute] cpu_shared_set and cpu_dedicated_set, reserved_huge_pages, [pci] device_spec
and [pci] alias.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import CpuSet, format_cpus, parse_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciAlias
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed, nearest, shown

__all__ = ["DeviceSpec", "HardwareSettings", "ReservedPages", "check_hardware", "hardware_settings", "pci_aliases"]

Data = t.Mapping[str, Json]
#: The extra spec by which a flavor asks for PCI devices: ``gpu:2,nic:1``.
ALIAS = "pci_passthrough:alias"


@dataclasses.dataclass(frozen=True)
class ReservedPages:
    """Huge pages of one size (KiB) on one NUMA cell that are kept from servers."""

    node: int
    size: int
    count: int


@dataclasses.dataclass(frozen=True)
class DeviceSpec:
    """Devices that servers may have. ``address`` is a pattern such as ``0000:82:00.*``, or a regular expression for
    each of its parts (domain, bus, slot, function); what is None fits every device."""

    vendor_id: str | None = None
    product_id: str | None = None
    address: str | t.Mapping[str, str] | None = None
    physical_network: str | None = None


@dataclasses.dataclass(frozen=True)
class HardwareSettings:
    """The CPU sets are None where inventory gives none."""

    cpu_shared_set: CpuSet | None = None
    cpu_dedicated_set: CpuSet | None = None
    reserved_pages: tuple[ReservedPages, ...] = ()
    pci_devices: tuple[DeviceSpec, ...] = ()


def hardware_settings(data: Data) -> HardwareSettings:
    """The settings in a compute host's validated variables."""
    return HardwareSettings(
        cpu_shared_set=_cpus(data.get("compute_cpu_shared_set")),
        cpu_dedicated_set=_cpus(data.get("compute_cpu_dedicated_set")),
        reserved_pages=tuple(
            ReservedPages(pages.get("node", 0), pages["size"], pages["count"])
            for pages in data.get("compute_reserved_huge_pages") or ()
        ),
        pci_devices=tuple(DeviceSpec(**spec) for spec in data.get("compute_pci_devices") or ()),
    )


def pci_aliases(fleet: Data) -> tuple[PciAlias, ...]:
    """fleet_pci_aliases, in the order written; several of one name are alternatives."""
    return tuple(
        PciAlias(name=name, **spec)
        for name, specs in (fleet.get("fleet_pci_aliases") or {}).items()
        for spec in (specs if isinstance(specs, list) else [specs])
    )


def check_hardware(review: Review) -> None:
    for host, data in review.computes.items():
        _overlap(review, host, data)
    _aliases(review)
    _asked(review)


def _overlap(review: Review, host: str, data: Data) -> None:
    """Nova: cpu_shared_set and cpu_dedicated_set must not share CPUs."""
    shared, dedicated = (_cpus(data.get(f"compute_cpu_{kind}_set")) or () for kind in ("shared", "dedicated"))
    both = set(shared) & set(dedicated)
    if both:
        reason = f"CPU {format_cpus(both)} is in compute_cpu_shared_set too, allowed is one of both"
        review.add("compute_cpu_dedicated_set", hosts=(host,), reason=reason)


def _aliases(review: Review) -> None:
    """Alternatives of one name are told apart by vendor and product alone (Nova: pci/request.py)."""
    for name, specs in review.fleet.get("fleet_pci_aliases", {}).items():
        for key in ("device_type", "numa_policy") if isinstance(specs, list) else ():
            values = {spec.get(key) for spec in specs}
            if len(values) > 1:
                said = listed(sorted(str(value or "none") for value in values))
                reason = f"its entries have different {key} ({said}), allowed is one for all of them"
                review.add("fleet_pci_aliases", (name,), reason=reason)


def _asked(review: Review) -> None:
    """A flavor that asks for an alias which nobody defines would fit on no host."""
    if review.spoilt("fleet_pci_aliases"):
        return
    known = sorted(review.fleet.get("fleet_pci_aliases", {}))
    for flavor, entry in review.fleet.get("fleet_flavors", {}).items():
        asked = str((entry.get("extra_specs") or {}).get(ALIAS, ""))
        for name in filter(None, (part.partition(":")[0].strip() for part in asked.split(","))):
            if name not in known:
                allowed = f"an alias of fleet_pci_aliases ({listed(known)})"
                place = (flavor, "extra_specs", ALIAS)
                hint = nearest(name, known)
                review.add("fleet_flavors", place, found=shown(name), allowed=allowed, hint=hint)


def _cpus(value: Json) -> CpuSet | None:
    """A set of CPUs; one CPU alone may be written as a number."""
    return None if value is None else parse_cpus(str(value))
