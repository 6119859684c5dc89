#!/usr/bin/env python3
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks Nova's own code what it makes of random hosts and requests: NUMA topologies, pinning, pages, PCI devices.

    python3 -m venv VENV && VENV/bin/pip install nova 'SQLAlchemy<2.1'
    VENV/bin/python tests/conformance/generate_hardware.py > tests/conformance/vectors/hardware.json

The answers in vectors/hardware.json are those of Nova 34.0.0. The same seed gives the same questions.

While it tries one order of a host's cells after the other, Nova remembers in the guest's own cells what it found: a
page size, and the cell's id, by which it then mistakes one guest cell for another. Where that changes its answer, the
question is left out. Not asked is what Nova passes over and we refuse: cells that are described and not asked for,
a host's pages that nobody counts.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import json
import logging
import random
import sys
import typing as t
from unittest import mock

import nova.conf  # type: ignore[import-not-found,unused-ignore]
from nova import exception, objects
from nova.pci import request as pci_request  # type: ignore[import-not-found,unused-ignore]
from nova.pci import stats as pci_stats
from nova.virt import hardware  # type: ignore[import-not-found,unused-ignore]

Json = dict[str, t.Any]

SEED = 20261121
TOPOLOGIES = 360
HOSTS = 180
SERVERS_A_HOST = 4

ALIASES = [
    {"name": "nic", "vendor_id": "8086", "product_id": "1520", "device_type": "type-VF"},
    {"name": "port", "vendor_id": "8086", "product_id": "1521", "device_type": "type-PF", "numa_policy": "required"},
    {"name": "gpu", "vendor_id": "10de", "product_id": "1eb8", "device_type": "type-PCI", "numa_policy": "preferred"},
    {"name": "gpu", "vendor_id": "10DE", "product_id": "1db6", "device_type": "type-PCI", "numa_policy": "preferred"},
    {"name": "any", "vendor_id": "8086", "product_id": "1521"},
]
KINDS = [
    ("8086", "1520", "type-VF"),
    ("8086", "1521", "type-PF"),
    ("8086", "1521", "type-VF"),
    ("10de", "1eb8", "type-PCI"),
    ("10de", "1db6", "type-PCI"),
]


def random_wishes(chance: random.Random, vcpus: int, ram: int) -> tuple[Json, Json]:
    """Extra specs and image properties, most of them sound."""
    specs: Json = {}
    image: Json = {}

    def maybe(share: float, name: str, values: t.Sequence[str]) -> None:
        if chance.random() < share:
            specs[f"hw:{name}"] = chance.choice(values)
        if chance.random() < share / 8:
            image[f"hw_{name}"] = chance.choice(values)

    maybe(0.6, "cpu_policy", ["dedicated"] * 12 + ["shared"] * 3 + ["mixed"] * 4 + ["wrong"])
    maybe(0.2, "cpu_thread_policy", ["prefer", "isolate", "require"] * 6 + ["wrong"])
    maybe(0.5, "numa_nodes", ["1", "2"] * 8 + ["3", "4", "4", "x"])
    maybe(0.35, "mem_page_size", ["small", "large", "any", "2048", "2MB", "4"] * 3 + ["1048576", "1GB", "huge"])
    maybe(0.15, "pci_numa_affinity_policy", ["required", "legacy", "preferred", "socket"] * 5 + ["near"])
    if chance.random() < 0.2:
        specs["hw:emulator_threads_policy"] = chance.choice([*["share", "isolate", "isolate"] * 5, "alone"])
    if specs.get("hw:cpu_policy") == "mixed" or chance.random() < 0.03:
        specs["hw:cpu_dedicated_mask"] = chance.choice(["0", "0-1", "^0", "^0-1", "1,3", "9"])
    nodes = specs.get("hw:numa_nodes", "")
    if chance.random() < 0.3 and nodes.isdecimal():
        uneven_cells(chance, (specs, "hw:") if chance.random() < 0.8 else (image, "hw_"), int(nodes), vcpus, ram)
    if chance.random() < 0.04:
        specs[chance.choice(["resources:PCPU", "resources:VCPU"])] = str(chance.choice([vcpus, vcpus, vcpus + 1]))
    if chance.random() < 0.04:
        specs["trait:HW_CPU_HYPERTHREADING"] = chance.choice(["required", "forbidden"])
    return specs, image


def uneven_cells(chance: random.Random, into: tuple[Json, str], nodes: int, vcpus: int, ram: int) -> None:
    wishes, prefix = into
    owners = [chance.randrange(nodes) for _vcpu in range(vcpus)]
    left = ram
    for node in range(nodes):
        memory = left if node == nodes - 1 else min(left, chance.randrange(64, max(ram // nodes * 2, 65), 64))
        left -= memory
        mine = [str(vcpu) for vcpu, owner in enumerate(owners) if owner == node]
        slip = chance.random()
        wishes[f"{prefix}numa_cpus.{node}"] = ",".join(mine) if slip > 0.03 else "0-1"
        if slip < 0.98:
            wishes[f"{prefix}numa_mem.{node}"] = str(memory)


def flavor_of(server: Json) -> t.Any:
    return objects.Flavor(
        name="flavor", vcpus=server["vcpus"], memory_mb=server["ram"], extra_specs=dict(server["extra_specs"])
    )


def wanted(server: Json) -> t.Any:
    image = objects.ImageMeta.from_dict({"name": "image", "properties": dict(server["image"])})
    hardware.get_pci_numa_policy_constraint(flavor_of(server), image)
    return hardware.numa_get_constraints(flavor_of(server), image)


def random_server(chance: random.Random, *, devices: bool = False) -> Json:
    vcpus, ram = chance.choice([1, 2, 2, 2, 3, 4, 4, 6]), chance.choice([256, 256, 512, 512, 768, 1024])
    specs, image = random_wishes(chance, vcpus, ram)
    if devices and chance.random() < 0.6:
        aliases = chance.sample(["nic", "port", "gpu", "any"], chance.choice([1, 1, 2]))
        specs["pci_passthrough:alias"] = ",".join(f"{alias}:{chance.choice([1, 1, 2])}" for alias in aliases)
    return {"vcpus": vcpus, "ram": ram, "extra_specs": specs, "image": image}


def topology_vector(server: Json) -> Json:
    try:
        topology = wanted(server)
    except (exception.NovaException, ValueError) as exc:
        return {**server, "error": type(exc).__name__}
    if topology is None:
        return {**server, "wanted": None}
    first = topology.cells[0]
    return {
        **server,
        "wanted": {
            "cells": [
                {"shared": sorted(cell.cpuset), "dedicated": sorted(cell.pcpuset), "memory": cell.memory}
                for cell in topology.cells
            ],
            "cpu_policy": first.cpu_policy,
            "thread_policy": first.cpu_thread_policy,
            "page_size": first.pagesize,
            "emulator_policy": topology.emulator_threads_policy,
        },
    }


def random_host(chance: random.Random) -> Json:
    """A host in our own form (HostTopology.to_json), and its free devices."""
    number, threads = chance.choice([1, 2, 2, 2, 4]), chance.choice([1, 1, 2, 2, 4])
    with_socket = chance.random() < 0.8
    pages = chance.choice([[4], [4, 2048], [4, 2048], [4, 2048, 1048576]])
    per_cell = chance.choice([4, 6]) * threads if threads < 4 else 8
    cells = [
        random_cell(chance, node, range(node * per_cell, (node + 1) * per_cell), threads, pages)
        for node in range(number)
    ]
    for cell in cells:
        cell["socket"] = cell["id"] // 2 if with_socket else None
    devices = random_devices(chance, number) if chance.random() < 0.6 else []
    return {
        "topology": {
            "cells": cells,
            "cpu_ratio": chance.choice([1.0, 2.0, 4.0]),
            "ram_ratio": chance.choice([1.0, 1.5]),
        },
        "devices": devices,
    }


def random_cell(chance: random.Random, node: int, cpus: range, threads: int, pages: list[int]) -> Json:
    """Siblings are neighbours: Nova takes a set's own order for that of the threads, which then is that of numbers."""
    cores = [list(cpus[start : start + threads]) for start in range(0, len(cpus), threads)]
    roles = ["dedicated", "dedicated", "dedicated", "shared"]
    by_core = {cpu: role for core in cores for role in [chance.choice(roles)] for cpu in core}
    role = {cpu: by_core[cpu] if chance.random() < 0.9 else chance.choice([*roles, "none"]) for cpu in cpus}
    dedicated = [cpu for cpu in cpus if role[cpu] == "dedicated"]
    siblings = [[cpu for cpu in core if role[cpu] != "none"] for core in cores]
    memory = chance.choice([1024, 2048, 4096])
    return {
        "id": node,
        "cpus": [cpu for cpu in cpus if role[cpu] == "shared"],
        "dedicated": dedicated,
        "siblings": [core for core in siblings if core] or [[cpus[0]]],
        "memory": memory,
        "pages": [random_pages(chance, size, memory) for size in pages],
        "cpu_usage": chance.choice([0, 0, 1, 3]),
        "memory_usage": chance.choice([0, 0, 256, 512]),
        "pinned": sorted(chance.sample(dedicated, chance.choice([0, 0, len(dedicated) // 3]))),
    }


def random_pages(chance: random.Random, size: int, memory: int) -> Json:
    total = memory * 1024 // size
    if size > 4:
        total = chance.choice([total, total // 2, 0])
    return {"size_kb": size, "total": total, "used": total // chance.choice([8, 1000000]), "reserved": total // 16}


def random_devices(chance: random.Random, nodes: int) -> list[Json]:
    """Of each slot one kind: a physical function stands without its virtual ones, and the other way round."""
    devices: list[Json] = []
    for slot in range(3, 3 + chance.choice([1, 2, 4, 6])):
        vendor, product, kind = chance.choice(KINDS)
        node = chance.choice([None, *range(nodes)])
        facts = {"vendor_id": vendor, "product_id": product, "dev_type": kind, "numa_node": node, "parent": None}
        if kind != "type-VF":
            devices.append({**facts, "address": f"0000:{slot:02x}:00.0"})
            continue
        facts["parent"] = f"0000:{slot:02x}:00.0"
        functions = range(1, chance.choice([2, 4]))
        devices += [{**facts, "address": f"0000:{slot:02x}:00.{function}"} for function in functions]
    return devices


def nova_host(host: Json) -> tuple[t.Any, t.Any, t.Any]:
    topology = objects.NUMATopology(cells=[nova_cell(cell) for cell in host["topology"]["cells"]])
    limits = objects.NUMATopologyLimits(
        cpu_allocation_ratio=host["topology"]["cpu_ratio"], ram_allocation_ratio=host["topology"]["ram_ratio"]
    )
    stats = pci_stats.PciDeviceStats(topology)
    pools: dict[tuple[t.Any, ...], Json] = {}
    for device in host["devices"]:
        keys = {key: device[key] for key in ("product_id", "vendor_id", "numa_node", "dev_type")}
        keys["address"] = device["parent"] or device["address"]
        pools.setdefault(tuple(keys.values()), {**keys, "count": 0})["count"] += 1
    stats.pools = list(pools.values())
    return topology, limits, stats


def nova_cell(cell: Json) -> t.Any:
    return objects.NUMACell(
        id=cell["id"],
        cpuset=set(cell["cpus"]),
        pcpuset=set(cell["dedicated"]),
        memory=cell["memory"],
        cpu_usage=cell["cpu_usage"],
        memory_usage=cell["memory_usage"],
        pinned_cpus=set(cell["pinned"]),
        siblings=[set(core) for core in cell["siblings"]],
        mempages=[objects.NUMAPagesTopology(**pages) for pages in cell["pages"]],
        socket=cell["socket"],
    )


def fit_vectors(chance: random.Random) -> Json | None:
    """Servers that come to a host one after the other; each that fits stays. None where Nova contradicts itself."""
    host = random_host(chance)
    topology, limits, stats = nova_host(host)
    servers: list[Json] = []
    while len(servers) < SERVERS_A_HOST:
        server = random_server(chance, devices=bool(host["devices"]))
        try:
            instance = wanted(server)
            policy = hardware.get_pci_numa_policy_constraint(
                flavor_of(server), objects.ImageMeta.from_dict({"properties": dict(server["image"])})
            )
        except (exception.NovaException, ValueError):
            continue  # a vector of the other kind
        requests = pci_request.get_pci_requests_from_flavor(flavor_of(server), affinity_policy=policy).requests
        if instance is None and not requests:
            continue
        passes = stats.support_requests(requests, {}) if requests else True
        cells = None
        if instance is not None and passes:
            ask = {"limits": limits, "pci_requests": requests, "pci_stats": stats}
            fitted = hardware.numa_fit_instance_to_host(topology, copy.deepcopy(instance), {}, **ask)
            with forgetful():
                again = hardware.numa_fit_instance_to_host(topology, copy.deepcopy(instance), {}, **ask)
            if answer(fitted) != answer(again):
                return None
            passes = fitted is not None
            if fitted is not None:
                cells = fitted.cells
                topology = hardware.numa_usage_from_instance_numa(topology, fitted)
        if passes and requests:
            stats.apply_requests(requests, {}, cells)
        servers.append({**server, "fits": passes, "cells": [given(cell) for cell in cells or ()]})
    return {**host, "servers": servers}


class Forgetful(set[t.Any]):
    """Nova's memory of pairs of cells; other sets are as they were."""

    def __contains__(self, item: object) -> bool:
        return not isinstance(item, tuple) and super().__contains__(item)


@contextlib.contextmanager
def forgetful() -> t.Iterator[None]:
    """Nova's own rules, with each pair of cells looked at by itself."""
    fit_cell = hardware._numa_fit_instance_cell

    def fresh(host_cell: t.Any, instance_cell: t.Any, *more: t.Any) -> t.Any:
        return fit_cell(host_cell, copy.deepcopy(instance_cell), *more)

    cells = mock.patch.object(hardware, "_numa_fit_instance_cell", fresh)
    memory = mock.patch.object(hardware, "set", Forgetful, create=True)
    with cells, memory:
        yield


def answer(topology: t.Any) -> list[Json] | None:
    return None if topology is None else [given(cell) for cell in topology.cells]


def given(cell: t.Any) -> Json:
    return {
        "host": cell.id,
        "pins": {str(vcpu): cpu for vcpu, cpu in sorted((cell.cpu_pinning or {}).items())},
        "pages": cell.pagesize,
        "reserved": sorted(cell.cpuset_reserved or ()),
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    objects.register_all()
    nova.conf.CONF.set_override("alias", [json.dumps(alias) for alias in ALIASES], "pci")
    chance = random.Random(SEED)
    topologies = [topology_vector(random_server(chance)) for _number in range(TOPOLOGIES)]
    hosts: list[Json] = []
    dropped = 0
    while len(hosts) < HOSTS:
        host = fit_vectors(chance)
        dropped += host is None
        hosts += [host] if host else []
    vectors = {
        "nova": importlib.metadata.version("nova"),
        "seed": SEED,
        "aliases": ALIASES,
        "topologies": topologies,
        "hosts": hosts,
    }
    text = json.dumps(vectors, separators=(",", ":"), sort_keys=True)
    print(text.replace('{"cells":', '\n{"cells":').replace('{"extra_specs":', '\n{"extra_specs":'))
    fits = [server["fits"] for host in hosts for server in host["servers"]]
    errors = sum("error" in vector for vector in topologies)
    print(
        f"{len(topologies)} topologies ({errors} refused), {len(fits)} fits ({sum(fits)} fit), {dropped} hosts dropped",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
