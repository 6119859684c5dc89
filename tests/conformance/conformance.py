# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Nova's scheduler answers, recorded, against ours: operators, filters, weighers."""

from __future__ import annotations

import json
import math
import sys
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciDevice
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS
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
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.operators import match
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.weighers import BY_NAME

Vector = dict[str, t.Any]

MOCKED: dict[str, list[Vector]] = json.loads((Path(__file__).parent / "mocked.json").read_text())
# There are no cells here, so nothing to weigh by them.
NO_MEANING = {"CrossCellWeigher"}


class MismatchError(Exception):
    """Ours and Nova's answer differ, or ours can't be had."""


def check_match(vector: Vector) -> None:
    answer = match(vector["value"], vector["req"])
    if answer is not vector["result"]:
        raise MismatchError(f"match({vector['value']!r}, {vector['req']!r}) is {answer}, Nova says {vector['result']}")


def check_filter(vector: Vector) -> None:
    name = vector["filter"]
    if name not in FILTERS:
        raise MismatchError(f"{name} is not there")
    calls = MOCKED.get(vector["test"], [{}])
    mocked = next((call for call in calls if call.get("passes", vector["passes"]) is vector["passes"]), {})
    request = request_of(vector["spec"] or {})
    table = Table([host_of(vector["host"], vector["spec"] or {}, mocked)])
    rule = FILTERS[name](settings_of(vector["conf"]))
    passes = bool(rule.mask(table, request)[0])
    reason = rule.reason(table, 0, request)
    if passes is not (reason is None):
        raise MismatchError(f"{name}: the mask says {passes}, the reason {reason!r}")
    if passes is not vector["passes"]:
        raise MismatchError(f"{name} {'passes' if passes else f'refuses ({reason})'}, Nova does not")


def check_weigher(vector: Vector) -> None:
    unknown = [name for name in vector["weighers"] if name not in BY_NAME]
    if unknown:
        raise MismatchError(f"{', '.join(unknown)} is not there")
    spec, mocked = vector["spec"] or {}, MOCKED.get(vector["test"], [{}])[0]
    table = Table([host_of(host, spec, mocked) for host in vector["hosts"]])
    rows, request = table.everywhere().nonzero()[0], request_of(spec)
    total = [0.0] * len(table)
    for name in vector["weighers"]:
        weigher = BY_NAME[name](settings_of(vector["conf"]))
        expected = vector["multipliers"][0][name]
        found = [weigher.multipliers(table)[table.row[host["host"]]] for host in vector["hosts"]]
        if found != expected:
            raise MismatchError(f"{name} has multipliers {found}, Nova's are {expected}")
        weights = weigher.weigh(table, rows, request)
        total = total if weights is None else [a + float(b) for a, b in zip(total, weights, strict=True)]
    ranking = sorted(zip([host.name for host in table.hosts], total, strict=True), key=lambda item: -item[1])
    order = [host for host, _weight in ranking] == [host for host, _weight in vector["result"]]
    pairs = zip((weight for _host, weight in ranking), (weight for _host, weight in vector["result"]))
    if not order or not all(math.isclose(ours, theirs, abs_tol=1e-12) for ours, theirs in pairs):
        raise MismatchError(f"{', '.join(vector['weighers'])} give {ranking}, Nova {vector['result']}")


def settings_of(conf: Vector) -> Settings:
    """Nova's options; what is ``name=factor`` in a list there is a mapping here, and a mistake in it is dropped."""
    options: dict[str, t.Any] = {}
    for key, value in conf.items():
        group, _dot, option = key.partition(".")
        name = f"metrics_{option}" if group == "metrics" else option
        options[name] = factors_of(value, total=group == "metrics") if option.endswith("weight_setting") else value
    return Settings.from_variable(options)


def factors_of(items: list[str], *, total: bool) -> dict[str, float]:
    factors: dict[str, float] = {}
    for item in items:
        name, equals, factor = item.partition("=")
        if equals:
            factors[name] = float(factor) + (factors.get(name, 0.0) if total else 0.0)
    return factors


def host_of(host: Vector, spec: Vector, mocked: Vector) -> HostState:
    members = set((spec.get("instance_group") or {}).get("members") or ())
    images = mocked.get("images", {}).get(host["host"])
    instances = [Instance(name, group="group" if name in members else None) for name in host["instances"]]
    if images is not None:
        instances = [Instance(f"image-{index}", image_properties=image) for index, image in enumerate(images)]
    instances += [Instance(f"other-{index}") for index in range(host["num_instances"] - len(instances))]
    disk = host["free_disk_mb"] // 1024
    return HostState(
        host["host"],
        enabled=not host.get("service", {}).get("disabled"),
        up=mocked.get("up", True),
        aggregates=mocked["aggregates"] if "aggregates" in mocked else host["aggregates"],
        inventories={
            MEMORY_MB: inventory(host["total_usable_ram_mb"], host["free_ram_mb"], host["ram_allocation_ratio"]),
            VCPU: Inventory(
                host["vcpus_total"], used=host["vcpus_used"], allocation_ratio=host["cpu_allocation_ratio"] or 1.0
            ),
        },
        pools={"local": Pool(host["host"], inventory(host["total_usable_disk_gb"], disk, None))},
        default_pool="local",
        instances=instances,
        num_io_ops=host["num_io_ops"],
        failed_builds=host["failed_builds"],
        address=host["host_ip"],
        cpu_info=host["cpu_info"],
        hypervisor_type=host["hypervisor_type"],
        hypervisor_version=host["hypervisor_version"],
        supported_instances=host["supported_instances"] or (),
        metrics={item["name"]: item.get("value", 0) for item in (host["metrics"] or {}).get("objects", ())},
        pci_devices=[
            PciDevice(f"0000:{number:02x}:00.0", "8086", "1520")
            for number in range(sum(mocked.get("pci", {}).get(host["host"], ())))
        ],
        facts=facts_of(host),
    )


def inventory(total: int, free: int, ratio: float | None) -> Inventory:
    """The recorded hosts often have free amounts without a total."""
    total = max(total, free)
    return Inventory(total, used=total - free, allocation_ratio=ratio or 1.0)


def facts_of(host: Vector) -> Vector:
    """Attributes that the tests made up, and the disk in MiB, finer than ours."""
    ours = {"capabilities", "service", "opt1", "opt2"}
    return {
        "free_disk_mb": host["free_disk_mb"],
        **{key: value for key, value in host.items() if key in ours},
        **host.get("stats", {}),
    }


def request_of(spec: Vector) -> Request:
    flavor = spec.get("flavor") or {}
    image = spec.get("image") or {}
    return Request(
        "server",
        Flavor(
            flavor.get("name", "flavor"),
            flavor.get("vcpus", 0),
            flavor.get("memory_mb", 0),
            flavor.get("root_gb", 0),
            ephemeral=flavor.get("ephemeral_gb", 0),
            extra_specs=flavor.get("extra_specs", {}),
        ),
        id=spec.get("instance_uuid"),
        image=image.get("id"),
        image_properties=image.get("properties", {}),
        group=group_of(spec.get("instance_group")),
        hints=spec.get("scheduler_hints") or {},
        project=spec.get("project_id"),
    )


def group_of(group: Vector | None) -> ServerGroup | None:
    if not group:
        return None
    policy = group.get("policy") or group["policies"][0]
    limit = int((group.get("_rules") or {}).get("max_server_per_host", 1))
    return ServerGroup("group", policy, limit, group.get("hosts") or ())


CHECKS: dict[str, t.Callable[[Vector], None]] = {
    "match.json": check_match,
    "filters.json": check_filter,
    "weighers.json": check_weigher,
}


def run(folder: Path, say: t.Callable[[str], object]) -> tuple[int, int]:
    """Every vector of the folder; how many passed and how many failed."""
    passed = failed = 0
    for file, check in CHECKS.items():
        for number, vector in enumerate(json.loads((folder / file).read_text())):
            what = f"{file}[{number}] {vector.get('test', '')}".rstrip()
            if NO_MEANING.issuperset(vector.get("weighers", [None])):
                say(f"skipped: {what}: {', '.join(vector['weighers'])} has no meaning without cells")
                continue
            try:
                check(vector)
            except (MismatchError, FlotillaError) as exc:
                failed += 1
                say(f"FAILED: {what}: {exc}")
            else:
                passed += 1
    return passed, failed


def main() -> int:
    missing = [file for file in CHECKS if not (Path(sys.argv[1]) / file).is_file()]
    if missing:
        sys.exit(f"nova_vectors: {sys.argv[1]} has no {', '.join(missing)}")
    passed, failed = run(Path(sys.argv[1]), print)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
