#!/usr/bin/env python3
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers placed on hosts by Flotilla's scheduler: fleet (JSON) in, answers out.

Timed is placing, from the hosts to the last server; and by itself the second half of a batch in the given order, when
all is warm: what one more server costs.
"""

from __future__ import annotations

import json
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".dev"))

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    HostState,
    Inventory,
    Pool,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

Json = dict[str, t.Any]


def host_state(host: Json) -> HostState:
    return HostState(
        host["name"],
        inventories={
            VCPU: Inventory(host["vcpus"], allocation_ratio=host["vcpus_ratio"], used=host["vcpus_used"]),
            MEMORY_MB: Inventory(host["memory"], reserved=host["memory_reserved"], used=host["memory_used"]),
        },
        pools={"local": Pool(f"{host['name']}/local", Inventory(host["disk"], used=host["disk_used"]))},
        default_pool="local",
        networks=("lan",),
        num_io_ops=host["io_ops"],
        hypervisor_type="QEMU",
        hypervisor_version=host["version"],
        supported_instances=(("x86_64", "kvm", "hvm"),),
    )


def request(server: Json, flavors: dict[str, Flavor]) -> Request:
    flavor = flavors.setdefault(
        server["flavor"], Flavor(server["flavor"], server["vcpus"], server["ram"], server["disk"])
    )
    group = ServerGroup(**server["group"]) if server["group"] else None
    return Request(
        server["name"], flavor, networks=("lan",), group=group, image_properties={"hw_architecture": "x86_64"}
    )


def main() -> None:
    fleet = json.load(sys.stdin)
    flavors: dict[str, Flavor] = {}
    hosts = [host_state(host) for host in fleet["hosts"]]
    requests = [request(server, flavors) for server in fleet["servers"]]
    settings = Settings(batch=fleet["batch"])
    half = len(requests) // 2 if fleet["batch"] == "off" else 0  # in two calls the order is the same
    need("numpy")  # Nova's imports are not timed either
    started = clocks()
    scheduler = Scheduler(hosts, settings)
    placed = dict(scheduler.place(requests[:half]).placed)
    between = clocks()
    placed.update(scheduler.place(requests[half:]).placed)
    ended = clocks()
    chosen = [placed[server.name].host if server.name in placed else None for server in requests]
    json.dump({"chosen": chosen, **spent(started, ended), "second_half": spent(between, ended)}, sys.stdout)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def spent(since: tuple[float, float], until: tuple[float, float]) -> dict[str, float]:
    return {"seconds": until[0] - since[0], "cpu": until[1] - since[1]}


if __name__ == "__main__":
    main()
