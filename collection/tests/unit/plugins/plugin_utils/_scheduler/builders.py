# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and requests for the scheduler's tests, from arguments or from a small text."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
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

Words = t.Mapping[str, str]


def host(name: str = "kvm1", *, vcpus: int = 8, memory: int = 32768, disk: int = 100, **more: t.Any) -> HostState:
    facts: dict[str, t.Any] = {
        "inventories": {
            VCPU: Inventory(vcpus, allocation_ratio=4.0),
            MEMORY_MB: Inventory(memory, reserved=512),
        },
        "pools": {"local": Pool(f"{name}/local", Inventory(disk))},
        "default_pool": "local",
        "networks": ["lan"],
    }
    return HostState(name, **{**facts, **more})


def request(name: str = "web1", *, vcpus: int = 1, ram: int = 2048, disk: int = 10, **more: t.Any) -> Request:
    specs = more.pop("extra_specs", {})
    return Request(name, Flavor(more.pop("flavor", "m1.small"), vcpus, ram, disk, extra_specs=specs), **more)


def parse_host(name: str, words: Words, flags: set[str]) -> HostState:
    """``host kvm1 vcpus=8 ram=32768 disk=100 [pool=shared:key] [zone=a] [instances=db1:group,…] [down]``."""
    pool, _colon, key = words.get("pool", "local").partition(":")
    return HostState(
        name,
        up="down" not in flags,
        enabled="disabled" not in flags,
        reason=words.get("reason", ""),
        zone=words.get("zone"),
        inventories={
            VCPU: Inventory(int(words["vcpus"]), allocation_ratio=float(words.get("ratio", 1.0))),
            MEMORY_MB: Inventory(int(words["ram"]), reserved=int(words.get("reserved", 0))),
        },
        pools={pool: Pool(key or f"{name}/{pool}", Inventory(int(words["disk"])))},
        default_pool=pool,
        networks=["lan"],
        instances=[parse_instance(text) for text in words.get("instances", "").split(",") if text],
    )


def parse_instance(text: str) -> Instance:
    name, _colon, group = text.partition(":")
    return Instance(name, name, group or None)


def parse_server(name: str, words: Words) -> Request:
    """``server web1 vcpus=1 ram=2048 disk=10 [group=name:policy[:max]] [host=…] [zone=…] [same_host=…]``."""
    group = None
    if "group" in words:
        label, policy, *limit = words["group"].split(":")
        group = ServerGroup(label, t.cast(t.Any, policy), int(limit[0]) if limit else 1)
    return Request(
        name,
        Flavor("flavor", int(words["vcpus"]), int(words["ram"]), int(words["disk"])),
        group=group,
        host=words.get("host"),
        zone=words.get("zone"),
        networks=["lan"],
        hints={key: words[key] for key in ("same_host", "different_host") if key in words},
    )


class Case(t.NamedTuple):
    hosts: list[HostState]
    requests: list[Request]
    options: dict[str, t.Any]
    expected: str


def parse_case(text: str) -> Case:
    """A cluster as text: hosts, servers and options, then after ``---`` where each server goes, or why it can't."""
    given, _line, expected = text.partition("---\n")
    case = Case([], [], {}, expected)
    for line in given.splitlines():
        kind, *rest = shlex.split(line, comments=True) or [""]
        words = dict(word.split("=", 1) for word in rest if "=" in word)
        if kind == "host":
            case.hosts.append(parse_host(rest[0], words, set(rest)))
        elif kind == "server":
            case.requests.append(parse_server(rest[0], words))
        elif kind == "options":
            case.options.update(words)
    return case
