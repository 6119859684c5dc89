# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's attributes by the names of Nova's HostState, as extra specs and JSON queries ask for them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import MEMORY_MB, VCPU, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

# These change as a batch goes on; what looks at them is never cached.
CHANGING = frozenset({"free_ram_mb", "free_disk_mb", "disk_mb_used", "vcpus_used", "num_instances", "num_io_ops"})


def attribute(table: Table, row: int, request: Request, name: str) -> t.Any:
    """One attribute; None for an unknown one. The host's own facts come first."""
    host = table.hosts[row]
    if name in host.facts:
        return host.facts[name]
    if name in _FACTS:
        return getattr(host, _FACTS[name])
    if name in _MEASURED:
        return _MEASURED[name](table, row, request)
    return None


def known(table: Table, row: int, name: str) -> bool:
    return name in table.hosts[row].facts or name in _FACTS or name in _MEASURED


def dig(value: t.Any, path: t.Sequence[str]) -> t.Any:
    """Follow a path of keys; JSON text is parsed on the way (Nova: cpu_info is kept as text)."""
    for key in path:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return None
        value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return None
    return value


_FACTS = {
    "host": "name",
    "nodename": "name",
    "host_ip": "address",
    "cpu_info": "cpu_info",
    "failed_builds": "failed_builds",
    "hypervisor_hostname": "hypervisor_hostname",
    "hypervisor_type": "hypervisor_type",
    "hypervisor_version": "hypervisor_version",
    "supported_instances": "supported_instances",
}


def _free_disk(table: Table, row: int, request: Request) -> int:
    pool = int(table.pool_rows(request)[row])
    return 0 if pool < 0 else int(table.disk.unreserved[pool] - table.disk.used[pool]) * 1024


def _disk_used(table: Table, row: int, request: Request) -> int:
    pool = int(table.pool_rows(request)[row])
    return 0 if pool < 0 else int(table.disk.used[pool]) * 1024


def _disk_total(table: Table, row: int, request: Request) -> int:
    pool = int(table.pool_rows(request)[row])
    return 0 if pool < 0 else int(table.disk.total[pool])


_MEASURED: dict[str, t.Callable[[Table, int, Request], t.Any]] = {
    "free_ram_mb": lambda table, row, _: int(table.stock(MEMORY_MB).unreserved[row] - table.stock(MEMORY_MB).used[row]),
    "total_usable_ram_mb": lambda table, row, _: int(table.stock(MEMORY_MB).total[row]),
    "free_disk_mb": _free_disk,
    "disk_mb_used": _disk_used,
    "total_usable_disk_gb": _disk_total,
    "vcpus_total": lambda table, row, _: int(table.stock(VCPU).total[row]),
    "vcpus_used": lambda table, row, _: int(table.stock(VCPU).used[row]),
    "num_instances": lambda table, row, _: int(table.num_instances[row]),
    "num_io_ops": lambda table, row, _: int(table.num_io_ops[row]),
}

__all__ = ["CHANGING", "attribute", "dig", "known"]
