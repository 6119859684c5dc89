# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains that other tools have made become servers: the inventory that describes each as it is, and its record.

Note that this plugin util is **PRIVATE** to the collection.

Pure. First the variables are found under which inventory would declare the guest exactly as it is, then the record is
made of what inventory declares by them, and last reconcile's own rules must find nothing to do. Where they find
something, the guest is not adopted.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

import yaml

from ansible_collections.flotilla.compute.plugins.module_utils._core.adopting import NO_BYTES
from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import TARGETS
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Address,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Json,
    Nic,
    Record,
    Server,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, plan_server

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Network

#: The image of a guest that no image of the fleet was the origin of: no bytes, so that nothing is ever made of it.
NO_IMAGE = {"url": "file:///dev/null", "checksum": NO_BYTES}

_STATES = {"running": "active", "shutoff": "stopped", "paused": "paused", "suspended": "suspended"}
_FORMATS = ("qcow2", "raw")

Facts = t.Mapping[str, Json]


class NotAdopted(Exception):
    """Why a guest can't be adopted, as a sentence without its name."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A guest that can be adopted: the variables that declare it, as ``written`` in inventory and as ``added``; and the
    catalog entries that they need."""

    guest: Guest
    facts: Facts
    added: t.Mapping[str, Json]
    written: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)
    flavors: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)
    images: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Json]:
        return {**self.added, **self.written}


def refuse_copies(guest: Guest, compute: Compute, computes: t.Sequence[Compute]) -> None:
    """NotAdopted where another host has the same guest: were both servers, the wrong one would be started one day."""
    others = [one.name for one in computes if one.name != compute.name and guest.id in {g.id for g in one.guests}]
    if others:
        raise NotAdopted(
            f"{' and '.join(others)} has a domain of its UUID, too (plain virsh migrate leaves one behind); undefine "
            f"the one that is not wanted on its host (virsh undefine {guest.id}), and run again"
        )


def wanted(guest: Guest, facts: Facts, compute: Compute, declared: Declared, written: t.Mapping[str, Json]) -> Wanted:
    """What declares the guest as it is; *written*: what inventory says of it already, which counts. NotAdopted."""
    state = _STATES.get(guest.state)
    if state is None:
        raise NotAdopted(f"it is {guest.state}; start or stop it first")
    if not guest.persistent:
        raise NotAdopted("it is transient; make it persistent with virsh define first")
    root = _check_disks(facts, compute)
    variables: dict[str, Json] = {
        "server_id": guest.id,
        "server_pool": root["pool"],
        "server_state": state,
        "server_config_drive": False,
        "server_networks": [_port(nic, facts, compute, declared) for nic in facts["nics"]],
    }
    if guest.autostart:
        variables["server_autostart"] = True
    flavors: dict[str, Json] = {}
    images: dict[str, Json] = {}
    if "server_flavor" not in written:
        variables["server_flavor"] = _flavor(guest, root, declared, flavors)
    if "server_image" not in written:
        variables["server_image"] = f"adopted-{root['format']}"
        if variables["server_image"] not in declared.catalogs.images:
            images[variables["server_image"]] = {**NO_IMAGE, "format": root["format"]}
    added = {name: value for name, value in variables.items() if name not in written}
    return Wanted(guest, facts, added, written, flavors, images)


def record_of(server: Server, one: Wanted, compute: Compute, declared: Declared, *, fleet_id: str, time: str) -> Record:
    """The record with which the server is as declared. NotAdopted where reconcile would still find something to do."""
    facts, guest = one.facts, one.guest
    disks = [_disk(disk, index, compute) for index, disk in enumerate(facts["disks"])]
    record = Record(
        id=guest.id,
        name=guest.name,
        fleet_id=fleet_id,
        generation=1,
        spec=server.spec,
        flavor=server.flavor,
        image=server.image,
        disks=tuple(disks),
        nics=tuple(_nic(nic, port, compute, declared) for nic, port in zip(facts["nics"], server.spec["networks"])),
        hardware=Hardware(
            arch=facts["arch"],
            machine=facts["machine"],
            disk_bus=disks[0].bus,
            vif_model=facts["nics"][0]["model"] if facts["nics"] else Hardware.vif_model,
            video_model=facts["video_model"],
            firmware=facts["firmware"],
            guest_agent=facts["guest_agent"],
        ),
        declared=server.state,
        host_id=compute.host_id,
        created_at=time,
    )
    adopted = dataclasses.replace(guest, record=record, record_error=None, damaged=False)
    plan = plan_server(server, record, adopted, volumes=compute.volumes, leave=Leave())
    if plan.steps or plan.held or plan.differences:
        told = [f"{one.key} is {one.old!r}, declared is {one.new!r}" for one in plan.differences]
        told += [f"{step.kind}: {step.why}" for step in (*plan.steps, *plan.held)] if not told else []
        raise NotAdopted(f"inventory declares it otherwise than it is ({'; '.join(told)}); mend the inventory")
    return record


def inventory_text(wanteds: t.Sequence[Wanted]) -> str:
    """What is to be added to the inventory, as YAML; servers that it has already get what they lack."""
    flavors = {name: data for one in wanteds for name, data in one.flavors.items()}
    images = {name: data for one in wanteds for name, data in one.images.items()}
    catalogs = {"fleet_flavors": flavors, "fleet_images": images}
    parts = []
    needed = {name: entries for name, entries in catalogs.items() if entries}
    if needed:
        parts.append("# group_vars/all.yml, into what is there\n" + _yaml(needed))
    hosts = {one.guest.name: dict(one.added) for one in wanteds if one.added}
    if hosts:
        parts.append("# the inventory\n" + _yaml({"servers": {"hosts": hosts}}))
    return "\n".join(parts)


def _yaml(data: Json) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000))


def _check_disks(facts: Facts, compute: Compute) -> Facts:
    """The root disk: the first to boot from. Every disk must be a volume that a record can name."""
    disks = facts["disks"]
    if not disks:
        raise NotAdopted("it has no disk")
    for disk in disks:
        if disk["pool"] is None:
            where = disk["volume"] or "a source that is no file"
            raise NotAdopted(
                f"its disk {disk['target']} ({where}) is in no storage pool of {compute.name}; make a pool of its "
                "folder (virsh pool-define-as NAME dir --target FOLDER, pool-start, pool-autostart) and run again"
            )
        if disk["pool"] not in compute.pools:
            raise NotAdopted(f"its disk {disk['target']} is in pool {disk['pool']}, which compute_pools leaves out")
        if disk["format"] not in _FORMATS:
            raise NotAdopted(f"its disk {disk['target']} has the format {disk['format']}; convert it to qcow2 or raw")
        if disk["bus"] not in TARGETS:
            raise NotAdopted(
                f"its disk {disk['target']} is on bus {disk['bus']}, where no disk of a flavor can be beside it; put "
                f"it on one of {', '.join(TARGETS)}"
            )
        if disk["readonly"]:
            raise NotAdopted(f"its disk {disk['target']} is read-only, which no record can say")
    root: Facts = disks[0]
    return root


def _flavor(guest: Guest, root: Facts, declared: Declared, new: dict[str, Json]) -> str:
    """The name of the flavor of this very size, by name the first, else that of one to add."""
    disk = -(-root["size"] // GIB)
    size = Flavor("", guest.vcpus, guest.memory, disk)
    for name, flavor in sorted(declared.catalogs.flavors.items()):
        if dataclasses.replace(flavor, name="") == size:
            return str(name)
    name = f"adopted-{guest.vcpus}-{guest.memory}-{disk}"
    new[name] = {"vcpus": guest.vcpus, "ram": guest.memory, "disk": disk}
    return name


def _port(nic: Facts, facts: Facts, compute: Compute, declared: Declared) -> dict[str, Json]:
    """The entry of server_networks that is this interface: its MAC stays, and its address if it is known."""
    network = _network(nic, compute, declared)
    port: dict[str, Json] = {"network": network.name, "mac": nic["mac"]}
    address = next((one for one in facts["addresses"].get(nic["mac"], ()) if _is_in(one, network)), None)
    if address is not None and not network.dhcp:
        port["fixed_ip"] = str(ipaddress.ip_address(address))
    return port


def _network(nic: Facts, compute: Compute, declared: Declared) -> Network:
    if nic["kind"] not in ("bridge", "network"):
        raise NotAdopted(f"its interface {nic['mac']} is of type {nic['kind']}, which no network of a fleet can be")
    for network in declared.networks.values():
        if network.kind == nic["kind"] and compute.source_of(network) == nic["source"]:
            return network
    what = "bridge" if nic["kind"] == "bridge" else "libvirt_network"
    raise NotAdopted(
        f"its interface {nic['mac']} is on {nic['kind']} {nic['source']}, which is no network of the fleet; add it: "
        f"fleet_networks: {{{nic['source']}: {{{what}: {nic['source']}}}}}"
    )


def _is_in(address: str, network: Network) -> bool:
    return network.cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(network.cidr)


def _nic(nic: Facts, port: t.Mapping[str, Json], compute: Compute, declared: Declared) -> Nic:
    network = _network(nic, compute, declared)
    fixed = port.get("fixed_ip")
    addresses: tuple[Address, ...] = ()
    if fixed is not None and network.cidr is not None:
        prefix = ipaddress.ip_network(network.cidr).prefixlen
        addresses = (Address(fixed, prefix, network.gateway, tuple(network.dns)),)
    return Nic(network.name, network.kind, nic["source"], nic["mac"], nic["model"], nic["mtu"], addresses)


def _disk(disk: Facts, index: int, compute: Compute) -> Disk:
    return Disk(
        role=f"data{index}" if index else "root",
        pool=disk["pool"],
        volume=disk["volume"],
        format=disk["format"],
        size=disk["size"],
        target=disk["target"],
        bus=disk["bus"],
        pool_id=compute.pools[disk["pool"]]["id"],
    )


__all__ = ["NO_IMAGE", "NotAdopted", "Wanted", "inventory_text", "record_of", "refuse_copies", "wanted"]
