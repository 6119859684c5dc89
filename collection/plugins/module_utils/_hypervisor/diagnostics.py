# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a running guest uses, in the form of Nova's diagnostics (API 2.48, nova/objects/diagnostics.py).

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_domain
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection, Domain, libvirt

#: Guest.state -> Nova's word in diagnostics. Only these two have any: Nova refuses the others.
_STATES = {"running": "running", "paused": "paused"}
_NIC = {"octets": "bytes", "packets": "pkts", "errors": "errs", "drop": "drop"}
_DISK = {
    "read_bytes": "rd.bytes",
    "read_requests": "rd.reqs",
    "write_bytes": "wr.bytes",
    "write_requests": "wr.reqs",
    "errors_count": "errors",
}


def diagnostics(conn: Connection, domain: Domain, state: str) -> dict[str, Json] | None:
    """Nova's diagnostics of a guest in *state*; None for one that doesn't run.

    Bytes and counts are since the guest was started, times in nanoseconds, memory in MiB. What libvirt can't say
    (rates, uptime) is null.
    """
    if state not in _STATES:
        return None
    groups = ("CPU_TOTAL", "BALLOON", "VCPU", "INTERFACE", "BLOCK")
    wanted = sum(getattr(libvirt, f"VIR_DOMAIN_STATS_{group}") for group in groups)
    stats: dict[str, Json] = conn.domainListGetStats([domain], wanted, 0)[0][1]
    facts = read_domain(domain.XMLDesc(0))
    record = facts.record
    cpus = [number for number in range(stats.get("vcpu.maximum", 0)) if f"vcpu.{number}.time" in stats]
    nics = list(zip(range(stats.get("net.count", 0)), facts.macs))
    disks = range(stats.get("block.count", 0))
    return {
        "state": _STATES[state],
        "driver": "libvirt",
        "hypervisor": str(conn.getType()).lower(),
        "hypervisor_os": "linux",
        "uptime": None,
        "config_drive": record is not None and any(disk.role == "config" for disk in record.disks),
        "num_cpus": len(cpus),
        "num_nics": len(nics),
        "num_disks": len(disks),
        "memory_details": {
            "maximum": stats.get("balloon.maximum", 0) // 1024,
            "used": stats.get("balloon.current", 0) // 1024,
        },
        "cpu_details": [{"id": n, "time": stats[f"vcpu.{n}.time"], "utilisation": None} for n in cpus],
        "nic_details": [_nic(stats, number, mac) for number, mac in nics],
        "disk_details": [{key: stats.get(f"block.{n}.{name}") for key, name in _DISK.items()} for n in disks],
    }


def _nic(stats: t.Mapping[str, Json], number: int, mac: str) -> dict[str, Json]:
    found: dict[str, Json] = {"mac_address": mac, "rx_rate": None, "tx_rate": None}
    for way in ("rx", "tx"):
        found.update({f"{way}_{key}": stats.get(f"net.{number}.{way}.{name}") for key, name in _NIC.items()})
    return found


__all__ = ["diagnostics"]
