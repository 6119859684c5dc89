#!/usr/bin/env python3
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers placed on hosts by Nova's own filters and weighers, in a Python that has nova: fleet (JSON) in, answers out.

As Nova's scheduler does it for one server after the other, with its default filters and all its weighers. What Nova
leaves to the Placement service, whether a host has room, is asked here outside of what is timed.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sys
import time
import typing as t
import uuid

from nova import conf, objects
from nova.scheduler import filters, host_manager, weights

Json = dict[str, t.Any]


def host_state(host: Json) -> t.Any:
    used = host["memory_used"] + host["memory_reserved"]
    compute = objects.ComputeNode(
        uuid=str(uuid.uuid4()),
        host=host["name"],
        hypervisor_hostname=host["name"],
        hypervisor_type="QEMU",
        hypervisor_version=host["version"],
        host_ip="192.0.2.1",
        cpu_info=json.dumps({"arch": "x86_64"}),
        vcpus=host["vcpus"],
        vcpus_used=host["vcpus_used"],
        memory_mb=host["memory"],
        memory_mb_used=used,
        free_ram_mb=host["memory"] - used,
        local_gb=host["disk"],
        local_gb_used=host["disk_used"],
        free_disk_gb=host["disk"] - host["disk_used"],
        disk_available_least=None,
        cpu_allocation_ratio=host["vcpus_ratio"],
        ram_allocation_ratio=1.0,
        disk_allocation_ratio=1.0,
        updated_at=None,
        numa_topology=None,
        pci_device_pools=None,
        supported_hv_specs=[objects.HVSpec(arch="x86_64", hv_type="kvm", vm_mode="hvm")],
        metrics="[]",
        stats={"io_workload": str(host["io_ops"]), "failed_builds": "0", "num_instances": "0"},
    )
    state = host_manager.HostState(host["name"], host["name"], str(uuid.UUID(int=0)))
    service = {"disabled": False, "last_seen_up": datetime.datetime.now(datetime.timezone.utc), "host": host["name"]}
    state.update(compute=compute, service=service, aggregates=[], inst_dict={})
    return state


def request_spec(server: Json, groups: dict[str, t.Any]) -> t.Any:
    flavor = objects.Flavor(
        name=server["flavor"],
        memory_mb=server["ram"],
        vcpus=server["vcpus"],
        root_gb=server["disk"],
        ephemeral_gb=0,
        swap=0,
        extra_specs={},
    )
    spec = objects.RequestSpec(
        instance_uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, server["name"])),
        flavor=flavor,
        num_instances=1,
        image=objects.ImageMeta(properties=objects.ImageMetaProps(hw_architecture="x86_64")),
        numa_topology=None,
        pci_requests=objects.InstancePCIRequests(requests=[]),
        scheduler_hints={},
        instance_group=None,
        project_id="demo",
    )
    if server["group"]:
        name, policy = server["group"]["name"], server["group"]["policy"]
        groups.setdefault(name, objects.InstanceGroup(policy=policy, policies=[policy], rules={}, hosts=[], members=[]))
        groups[name].members.append(spec.instance_uuid)
        spec.instance_group = groups[name]
    return spec


def has_room(state: t.Any, spec: t.Any) -> bool:
    """What Placement would say."""
    vcpus = state.vcpus_total * state.cpu_allocation_ratio - state.vcpus_used
    disk = (spec.root_gb + spec.ephemeral_gb) * 1024
    return bool(spec.vcpus <= vcpus and spec.memory_mb <= state.free_ram_mb and disk <= state.free_disk_mb)


class Scheduler:
    def __init__(self) -> None:
        handler = filters.HostFilterHandler()
        known = {rule.__name__: rule for rule in handler.get_matching_classes(["nova.scheduler.filters.all_filters"])}
        self.filter_handler = handler
        self.filters = [known[name]() for name in conf.CONF.filter_scheduler.enabled_filters]
        self.weight_handler = weights.HostWeightHandler()
        self.weighers = [
            weigher() for weigher in self.weight_handler.get_matching_classes(["nova.scheduler.weights.all_weighers"])
        ]
        self.seconds = self.cpu = 0.0

    def place(self, states: list[t.Any], spec: t.Any) -> t.Any:
        candidates = [state for state in states if has_room(state, spec)]
        started, before = time.perf_counter(), time.process_time()
        passed = self.filter_handler.get_filtered_objects(self.filters, candidates, spec)
        best = self.weight_handler.get_weighed_objects(self.weighers, passed, spec)
        self.seconds += time.perf_counter() - started
        self.cpu += time.process_time() - before
        if not best:
            return None
        chosen = best[0].obj
        chosen.consume_from_request(spec)
        if spec.instance_group is not None:
            spec.instance_group.hosts.append(chosen.host)
            chosen.instances[spec.instance_uuid] = None
        return chosen.host


def main() -> None:
    conf.CONF([], project="nova", default_config_files=[])
    # Nobody beats for these hosts, and placing takes Nova longer than the minute after which they would count as down.
    conf.CONF.set_override("service_down_time", 86400)
    objects.register_all()
    fleet = json.load(sys.stdin)
    states = [host_state(host) for host in fleet["hosts"]]
    groups: dict[str, t.Any] = {}
    specs = [request_spec(server, groups) for server in fleet["servers"]]
    scheduler = Scheduler()
    chosen = [scheduler.place(states, spec) for spec in specs]
    about = {
        "nova": importlib.metadata.version("nova"),
        "filters": [type(rule).__name__ for rule in scheduler.filters],
        "weighers": [type(weigher).__name__ for weigher in scheduler.weighers],
    }
    json.dump({"chosen": chosen, "seconds": scheduler.seconds, "cpu": scheduler.cpu, **about}, sys.stdout)


if __name__ == "__main__":
    main()
