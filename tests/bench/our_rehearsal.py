#!/usr/bin/env python3
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each host of a fleet lost in turn, by Flotilla's rehearsal: the size of the fleet in, times out. All disks are in one
pool that all hosts share, one server in four is in an anti-affinity group."""

from __future__ import annotations

import json
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".dev"))

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rehearsal import Rehearsal, Resident
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Instance,
    Inventory,
    Pool,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

Json = dict[str, t.Any]
POOL = "shared"


def residents(host: Json) -> list[Resident]:
    found = []
    for server in host["servers"]:
        group = ServerGroup(server["group"], "anti-affinity") if server["group"] else None
        flavor = Flavor(server["flavor"], server["vcpus"], server["ram"], server["disk"])
        request = Request(server["name"], flavor, id=server["name"], networks=("lan",), group=group, pool=POOL)
        found.append(Resident(host["name"], request, (("root", POOL),), POOL, POOL))
    return found


def state(host: Json, on: t.Sequence[Resident], disk: int) -> HostState:
    flavors = [one.request.flavor for one in on]
    return HostState(
        host["name"],
        inventories={
            VCPU: Inventory(host["vcpus"], 0, 4.0, sum(flavor.vcpus for flavor in flavors)),
            MEMORY_MB: Inventory(host["memory"], 512, 1.0, sum(flavor.ram for flavor in flavors)),
        },
        pools={POOL: Pool(POOL, Inventory(2 * disk, used=disk))},
        default_pool=POOL,
        networks=("lan",),
        instances=[Instance(str(r.id), r.name, r.group.name if r.group else None) for r in (one.request for one in on)],
    )


def main() -> None:
    hosts = json.load(sys.stdin)["hosts"]
    on = {host["name"]: residents(host) for host in hosts}
    every = [one for of_host in on.values() for one in of_host]
    disk = sum(one.request.flavor.disk for one in every)
    states = [state(host, on[host["name"]], disk) for host in hosts]
    need("numpy")
    wall, cpu = time.perf_counter(), time.process_time()
    rehearsal = Rehearsal(states, every, {name: {POOL} for name in on}, Settings())
    outcomes = rehearsal.outcomes([(name,) for name in on])
    json.dump(
        {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "cases": len(outcomes),
            "placed": sum(len(one.placed) for one in outcomes),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
