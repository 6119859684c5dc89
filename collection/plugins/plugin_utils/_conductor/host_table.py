# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compute hosts for people: their state, zone and traits, and what is used of each resource class.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    HostState,
    Inventory,
)

_HEAD = ("HOST", "STATE", "ZONE", VCPU, MEMORY_MB, DISK_GB, "OTHERS")


def host_json(host: HostState) -> dict[str, Json]:
    """One host as data; of a host that is down nobody knows the resources."""
    return {
        "name": host.name,
        "state": _state(host),
        "reason": host.reason,
        "availability_zone": host.zone,
        "traits": sorted(host.traits),
        "resources": {name: _amounts(entry) for name, entry in sorted(host.inventories.items())},
        "pools": {name: _amounts(pool.disk) for name, pool in sorted(host.pools.items())},
        "failed_builds": host.failed_builds,
    }


def hosts_text(hosts: t.Sequence[HostState]) -> str:
    """A table: used of what can be promised, as Placement counts it."""
    return table(_HEAD, [_cells(host) for host in hosts])


def _cells(host: HostState) -> tuple[str, ...]:
    there = {name: entry for name, entry in sorted(host.inventories.items()) if entry.total or entry.used}
    amounts = {name: _share(entry) for name, entry in there.items()}
    pool = host.pools.get(host.default_pool or "")
    first = (amounts.pop(VCPU, "-"), amounts.pop(MEMORY_MB, "-"), _share(pool.disk) if pool is not None else "-")
    others = ", ".join(f"{name} {share}" for name, share in amounts.items()) or "-"
    return (host.name, _state(host), host.zone or "-", *first, others)


def _state(host: HostState) -> str:
    if not host.up:
        return "down"
    return "enabled" if host.enabled else "disabled"


def _share(entry: Inventory) -> str:
    return f"{entry.used}/{_capacity(entry)}"


def _capacity(entry: Inventory) -> int:
    return int((entry.total - entry.reserved) * entry.allocation_ratio)


def _amounts(entry: Inventory) -> dict[str, Json]:
    return {
        "total": entry.total,
        "reserved": entry.reserved,
        "allocation_ratio": entry.allocation_ratio,
        "min_unit": entry.min_unit,
        "max_unit": entry.total if entry.max_unit is None else entry.max_unit,
        "step_size": entry.step_size,
        "capacity": _capacity(entry),
        "used": entry.used,
    }


__all__ = ["host_json", "hosts_text"]
