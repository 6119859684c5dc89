# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Short ways to say in tests what a ledger is given."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claim, Claimed, Ledger, ServerSeen, Wish

POOLS = (("192.0.2.10", "192.0.2.250"),)
LAN = Wish("lan", pools=POOLS)


def record(server_id: str, name: str, *, generation: int = 1, addresses: t.Sequence[str] = (), **spec: t.Any) -> Record:
    nic = Nic(
        "lan",
        "bridge",
        "br0",
        "52:54:00:00:00:01",
        addresses=tuple(Address(address, 24, dns=[]) for address in addresses),
    )
    return Record(
        id=server_id,
        name=name,
        fleet_id="a-fleet",
        generation=generation,
        spec=spec,
        flavor=Flavor("m1.small", 1, 512, 10),
        image=Image("debian-12", "qcow2", "sha256:" + "0" * 64),
        disks=(Disk("root", "local", f"{server_id}-root", "qcow2", 10 * 1024**3, "vda", "virtio"),),
        nics=(nic,),
        hardware=Hardware(),
    )


def seen(server_id: str, name: str, host: str = "kvm1", **changes: t.Any) -> ServerSeen:
    return ServerSeen.of(record(server_id, name, **changes), host=host, vm_state="active", power_state=1)


def claim(name: str, host: str = "kvm1", server_id: str | None = None, **changes: t.Any) -> Claim:
    asked: dict[str, t.Any] = {"vcpus": 1, "ram": 512, "disk_gb": 10, **changes}
    return Claim(server_id, name, host, **asked)


def win(ledger: Ledger, run_id: str, *claims: Claim) -> list[Claimed]:
    result = ledger.claim(run_id, claims)
    assert (result.stale, result.refused) == ((), {})
    return [result.won[each.name] for each in claims]


def build(ledger: Ledger, run_id: str, name: str, host: str = "kvm1") -> str:
    """A server of *name*, built and active."""
    (place,) = win(ledger, run_id, claim(name, host, addresses=[LAN]))
    ledger.begin_task(run_id, place.server_id, "spawning", action="create")
    made = record(place.server_id, name, addresses=place.addresses)
    ledger.finish(run_id, place.server_id, record=made, host=host, vm_state="active", power_state=1)
    return place.server_id


def later(ledger: Ledger) -> float:
    """A moment after all that was written: SQLite's clock counts milliseconds."""
    before = ledger.now()
    while (now := ledger.now()) <= before:
        time.sleep(0.001)
    return now
