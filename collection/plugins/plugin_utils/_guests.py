# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's servers as hosts of an inventory: what a play that configures them goes by.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Their variables begin with ``guest_``, never with ``server_``, which would declare them.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, status, vm_state
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import left_behind
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.zones import ZONE

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot

__all__ = ["GROUP", "guest_variables", "guests_of_hosts", "guests_of_ledger", "refusal"]

#: The group that all guests are in.
GROUP = "guests"

#: Of the names that inventory uses itself, those that a guest must never take over.
_RESERVED = frozenset({"all", "computes", GROUP, "localhost", "servers", "ungrouped"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def guests_of_ledger(snapshot: Snapshot) -> list[dict[str, Json]]:
    """The servers that the ledger has, by name. Those that are built first or deleted softly are left out."""
    found = []
    for row in snapshot.servers.values():
        record = row.loads()
        if record is None or row.vm_state == "soft-delete":
            continue
        host = snapshot.hosts.get(row.host or "")
        zone = host.summary.get(ZONE) if host is not None else None
        found.append(_guest(record, row.host, zone, (row.vm_state, row.task_state, row.power_state)))
    return _by_name(found)


def guests_of_hosts(computes: t.Sequence[Compute], zones: t.Mapping[str, str]) -> list[dict[str, Json]]:
    """The servers that the surveyed hosts have, by name; of several copies of one the active one, else the one at home.

    Ours are those of the fleet that their host is marked with.
    """
    best: dict[str, tuple[tuple[int, int, int], dict[str, Json]]] = {}
    fleets = {(compute.marker or {}).get("fleet_id") for compute in computes}
    beside = {each for fleet_id in sorted(map(str, fleets)) for each in left_behind(computes, fleet_id)}
    for compute in computes:
        fleet_id = (compute.marker or {}).get("fleet_id")
        whole = [guest for guest in compute.guests if id(guest) not in beside]
        running = [(guest.record, guest.state, guest.active) for guest in whole]
        for record, state, active in [*running, *((record, "shutoff", False) for record in compute.shelved)]:
            if record is None or record.fleet_id != fleet_id or "soft_delete" in record.marks:
                continue
            rank = (int(active), int(record.host_id == compute.host_id), record.generation)
            if record.id not in best or rank > best[record.id][0]:
                states = (vm_state(state, record.marks), None, power_state(state))
                best[record.id] = (rank, _guest(record, compute.name, zones.get(compute.name), states))
    return _by_name(guest for _rank, guest in best.values())


def guest_variables(guest: t.Mapping[str, Json], networks: t.Sequence[str] = ()) -> dict[str, Json]:
    """A guest's variables: all that is known of it as ``guest_*``, and ``ansible_host`` if it has a fixed address.

    *networks*: those whose address comes first, in this order; else the first address of all.
    """
    found = {f"guest_{key}": value for key, value in guest.items()}
    preferred = [address for network in networks for address in guest["networks"].get(network, [])]
    addresses = [*preferred, *guest["addresses"]]
    return {**found, **({"ansible_host": addresses[0]} if addresses else {})}


def refusal(name: str, computes: t.Collection[str], groups: t.Collection[str]) -> str | None:
    """Why a guest can't be a host of the inventory under its name; None if it can.

    A record comes from a domain's metadata, which anybody on its host can write: no name of there may take the place
    of a compute host, of localhost or of a group.
    """
    if not _NAME.fullmatch(name):
        return "its name is none that an inventory host can have"
    if name in computes:
        return "a compute host has its name"
    if name in _RESERVED or name in groups:
        return "a group, or Ansible itself, has its name"
    return None


def _guest(record: Record, host: str | None, zone: Json, states: tuple[str, str | None, int]) -> dict[str, Json]:
    nova, task, power = states
    networks: dict[str, list[str]] = {}
    for nic in record.nics:
        networks.setdefault(nic.network, []).extend(address.address for address in nic.addresses)
    key = record.spec.get("key_name")
    return {
        "name": record.name,
        "id": record.id,
        "host": host,
        "zone": zone,
        "status": status(nova, task),
        "vm_state": nova,
        "task_state": task,
        "power_state": power,
        "flavor": record.flavor.name,
        "vcpus": record.flavor.vcpus,
        "ram": record.flavor.ram,
        "image": record.image.name,
        "server_group": record.spec.get("group"),
        "key_name": key["name"] if isinstance(key, dict) else None,
        "metadata": dict(record.spec.get("metadata") or {}),
        "networks": networks,
        "addresses": [address for addresses in networks.values() for address in addresses],
        "macs": [nic.mac for nic in record.nics],
    }


def _by_name(guests: t.Iterable[dict[str, Json]]) -> list[dict[str, Json]]:
    return sorted(guests, key=lambda guest: (str(guest["name"]), str(guest["id"])))
