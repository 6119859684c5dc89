# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs inside a lab host: steps, or what a test needs to know of the host. JSON comes on stdin, JSON goes to stdout.

``kill_at`` N has this process end, as by kill -9, after N calls of libvirt, ``kill_before`` before the first call of
that name: the connection is wrapped in proxies that count. The product knows nothing of it. Asking again and again
whether a guest still runs counts as one call: how often that is done, the guest decides, anew in each run.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    guests,
    images,
    pools,
    servers,
    shelf,
    snapshots,
    sources,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import connect, libvirt

URI = "qemu:///system"
_WRAPPED = (libvirt.virConnect, libvirt.virDomain, libvirt.virStoragePool, libvirt.virStorageVol, libvirt.virStream)


class Counter:
    def __init__(self, kill_at: int | None, kill_before: str | None) -> None:
        self.calls: list[str] = []
        self._kill_at = kill_at
        self._kill_before = kill_before

    def calling(self, name: str) -> None:
        if name == self._kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    def called(self, name: str) -> None:
        if name == "virDomain.isActive" and self.calls[-1:] == [name]:
            return
        self.calls.append(name)
        if len(self.calls) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Proxy:
    """One of libvirt's objects, each of whose calls is counted once it has been made."""

    def __init__(self, target: t.Any, counter: Counter) -> None:
        self.target, self.counter = target, counter

    def __getattr__(self, name: str) -> t.Any:
        attribute = getattr(self.target, name)
        if not callable(attribute):
            return attribute

        def call(*args: t.Any) -> t.Any:
            self.counter.calling(name)
            try:
                result = attribute(*(arg.target if isinstance(arg, Proxy) else arg for arg in args))
            finally:
                self.counter.called(f"{type(self.target).__name__}.{name}")
            return wrapped(result, self.counter)

        return call


def wrapped(value: t.Any, counter: Counter) -> t.Any:
    if isinstance(value, list):
        return [wrapped(item, counter) for item in value]
    return Proxy(value, counter) if isinstance(value, _WRAPPED) else value


def run_steps(request: dict[str, t.Any]) -> dict[str, t.Any]:
    counter = Counter(request.get("kill_at"), request.get("kill_before"))
    opened = libvirt.open
    # The other end of a step is opened by the product itself; its calls are counted, too.
    libvirt.open = lambda uri: opened(uri) if uri == URI else Proxy(opened(uri), counter)
    results = guests.run_steps(
        Proxy(connect(URI), counter),
        request["steps"],
        state_dir=request["state_dir"],
        run_id=request.get("run_id", "test"),
        fleet_id=request["fleet_id"],
        drives={key: base64.b64decode(value) for key, value in request.get("drives", {}).items()},
        secrets=request.get("secrets"),
    )
    return {"results": results, "calls": counter.calls}


def bring_image(request: dict[str, t.Any]) -> dict[str, t.Any]:
    conn = connect(URI)
    pool = images.find_pool(conn, request["pool"])
    image = Image.from_json(request["image"])
    place: dict[str, t.Any] = {"state_dir": request["state_dir"], "run_id": "test", "timeout": 60}
    images.fetch(conn, image, lambda: sources.open_file(request["path"]), pool=pool, **place)
    return {}


def look(request: dict[str, t.Any]) -> dict[str, t.Any]:
    """The servers, and every volume of every pool, as they really are."""
    conn = connect(URI)
    volumes = {}
    for pool in conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        pool.refresh(0)
        volumes[pool.name()] = {volume.name(): volume.info()[1] for volume in pool.listAllVolumes(0)}
    domains = {domain.UUIDString(): domain.name() for domain in conn.listAllDomains(0)}
    pools_facts = pools.pools(conn)
    return {
        "servers": servers.servers(conn, copies=True, with_agent=request.get("with_agent", False)),
        "volumes": volumes,
        "domains": domains,
        "snapshots": [kept.to_json() for kept in shelf.snapshots(conn, pools_facts)],
        "shelved": [record.to_json() for record in shelf.shelved(conn, pools_facts)],
    }


def remove_snapshots(request: dict[str, t.Any]) -> dict[str, t.Any]:
    host = guests.host_of(connect(URI), state_dir=request["state_dir"], run_id="test", fleet_id=request["fleet_id"])
    for pool in host.storage.active_pools():
        for snapshot in snapshots.list_snapshots(host.storage, pool):
            snapshots.remove(host, snapshot)
    return {}


_ACTIONS = {"steps": run_steps, "image": bring_image, "look": look, "remove_snapshots": remove_snapshots}


def main() -> None:
    request = json.load(sys.stdin)
    try:
        answer = _ACTIONS[request["action"]](request)
    except FlotillaError as exc:
        answer = {"failed": True, "msg": str(exc)}
    json.dump(answer, sys.stdout)


main()
