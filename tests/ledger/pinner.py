# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller that plans: `pinner.py URL NUMBER COUNT` wants COUNT servers with a core of their own, in one plan.

Hosts are as an old survey found them, empty: only the ledger tells what others have taken. It prints a line for each
server with its host and its core, and ends with "done".
"""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / ".dev"), str(ROOT)]

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Record  # noqa: E402
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import (  # noqa: E402
    Declared,
    declare,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute  # noqa: E402
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile  # noqa: E402
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger  # noqa: E402

HOSTS = ("kvm1", "kvm2")
CORES = 8

FLEET: dict[str, t.Any] = {
    "fleet_flavors": {
        "pinned": {"vcpus": 1, "ram": 64, "disk": 0, "extra_specs": {"hw:cpu_policy": "dedicated"}},
    },
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": "sha256:" + "a" * 64}},
}


def main(url: str, number: int, count: int) -> None:
    ledger = Ledger.open(url, create=False, readonly=False)
    fleet = ledger.fleet() if ledger is not None else None
    if ledger is None or fleet is None:
        raise SystemExit("no ledger")
    declared = fleet_of(f"db-{number}-{index}" for index in range(count))
    computes = [Compute(name, its, survey(name, fleet)) for name, its in declared.computes.items()]
    run = Run(ledger, ledger.start_run(f"pinner {number}"), since=0.0)
    plan, _fleet = reconcile(declared, computes, run, now=0.0)
    for entry in plan.servers:
        records = [Record.from_json(deed["record"]) for deed in entry.deeds if "record" in deed]
        fit = records[-1].fit if records else None
        cores = sorted(core for cell in fit.cells for core in cell.cores) if fit is not None else []
        print(entry.name, entry.host if cores else "nowhere", *cores, flush=True)
    print("done", flush=True)
    sys.stdin.read()  # a run that has ended lets go: stay until the test has looked


def fleet_of(names: t.Iterable[str]) -> Declared:
    host = {"compute_cpu_dedicated_set": f"0-{CORES - 1}"}
    servers = {name: {"server_flavor": "pinned", "server_image": "tick"} for name in names}
    return declare(FLEET, dict.fromkeys(HOSTS, host), servers, {})


def survey(name: str, fleet: t.Any) -> dict[str, t.Any]:
    pool = {
        "id": f"pool-{name}", "active": True, "capacity": 100 * GIB, "allocation": 0,
        "capabilities": ["create", "upload", "overlay"], "volumes": {}, "volumes_total": 1,
    }  # fmt: skip
    cell = {"id": 0, "memory_mib": 8192, "cpus": list(range(CORES)), "siblings": [], "socket": 0, "pages": []}
    service = {"state": "enabled", "reason": None}
    return {
        "host_id": f"id-{name}",
        "marker": {
            "host_id": f"id-{name}", "fleet_id": fleet.fleet_id, "ledger_id": fleet.ledger_id, "service": service,
        },
        "libvirt": 9000000, "qemu": 7002000, "virt_types": ["qemu"], "cpu": {"count": CORES, "arch": "x86_64"},
        "memory": 8192, "numa": [cell], "pci_devices": [], "pools": {"local": pool}, "networks": {}, "bridges": [],
        "running_steps": [],
    }  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
