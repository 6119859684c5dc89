# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records to be: what each step of a server's plan will leave in its domain.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import string
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core import rebuilding, resize
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.growing import (
    defined_anew,
    elsewhere,
    grown,
    room_for,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import disks_of, hardware_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.loss import is_flavored
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Disk,
    Flavor,
    Image,
    Json,
    Nic,
    Record,
    Spec,
    mac_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import (
    SHELVED,
    options_of,
    shelved_mark,
    unshelved,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claimed, Wish

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Network, Subnet

#: Steps that write a record; each makes the generation grow by one.
WRITES = frozenset(
    (
        "adopt confirm_resize create define grow live_migrate migrate rebuild reconfigure rescue resize restore "
        "revert_resize shelve soft_delete undo_migration unrescue unshelve update"
    ).split()
)

#: Nova's shutdown_timeout.
SHUTDOWN_TIMEOUT = 60

Networks = t.Mapping[str, "Network"]


@dataclasses.dataclass(frozen=True)
class Frame:
    """What records are made with, beside the server itself. ``now`` in seconds since 1970; ``hosts``: all that there
    are, for steps that have another end; ``cpu``: the model that new guests get; ``live``: how guests move that run."""

    fleet_id: str
    networks: Networks
    now: float
    hosts: t.Sequence[Compute] = ()
    cpu: t.Mapping[str, Json] | None = None
    live: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)

    @property
    def time(self) -> str:
        return datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def wishes(spec: Spec, networks: Networks, *, reserved: t.Mapping[str, t.Collection[str]]) -> list[Wish]:
    """The fixed addresses that a server needs: of each port one for each subnet that has them to give, or those that
    are asked for in it."""
    found = []
    for port, network in _ports(spec, networks):
        for subnet, fixed in _slots(port, network):
            kept = {str(subnet.gateway), *reserved.get(network.name, ())} - {"None"}
            found.append(Wish(network.name, fixed, _pools(subnet), kept))
    return found


def _ports(spec: Spec, networks: Networks) -> t.Iterator[tuple[Json, Network]]:
    """The server's ports. Of a bond's the first alone has addresses."""
    bonds = set()
    for port in spec.get("networks", []):
        bond = port.get("bond")
        network = networks[port["network"]]
        yield port, dataclasses.replace(network, cidr=None, dhcp=True, further=()) if bond in bonds else network
        bonds |= {bond} - {None}


def _slots(port: t.Mapping[str, Json], network: Network) -> list[tuple[Subnet, str | None]]:
    """Subnet and address for each that is claimed; None for any that is free."""
    asked = [address for address in (port.get("fixed_ip"), *port.get("fixed_ips", ())) if address]
    subnets = network.subnets
    found: list[tuple[Subnet, str | None]] = []
    for subnet in subnets:
        mine = [address for address in asked if subnet.has(address) or (subnet.cidr is None and len(subnets) == 1)]
        found += [(subnet, address) for address in mine]
        if not mine and subnet.cidr is not None and not subnet.dhcp and not subnet.derived:
            found.append((subnet, None))
    return found


def _pools(subnet: Subnet) -> tuple[tuple[str, str], ...]:
    """The ranges to give from: as written, else every host address of the network."""
    if subnet.pools:
        return tuple((str(first), str(last)) for first, last in subnet.pools)
    block = ipaddress.ip_network(str(subnet.cidr)) if subnet.cidr else None
    return ((str(block[1]), str(block[-2])),) if block is not None and block.num_addresses > 2 else ()


def nics_of(
    server_id: str,
    spec: Spec,
    compute: Compute,
    networks: Networks,
    addresses: t.Sequence[str],
    before: t.Sequence[Nic] = (),
    *,
    model: str,
) -> tuple[Nic, ...]:
    """The server's ports in order; ``addresses`` are those claimed for its wishes, in the same order.

    A port that was there ``before`` in the same network keeps its MAC, so that the guest knows it again.
    """
    given = iter(addresses)
    kept = [nic.mac for nic in before]
    macs = iter([mac for mac in (mac_of(server_id, index) for index in range(64)) if mac not in kept])
    nics = []
    for port, network in _ports(spec, networks):
        old = next((nic for nic in before if nic.network == network.name and nic.mac in kept), None)
        if old is not None:
            kept.remove(old.mac)
        mac = port.get("mac") or (old.mac if old is not None else next(macs))
        claimed = [(subnet, next(given)) for subnet, _fixed in _slots(port, network)]
        nics.append(
            Nic(
                network=network.name,
                kind=network.kind,
                source=compute.source_of(network),
                mac=mac,
                model=model,
                mtu=network.mtu,
                addresses=_addresses(network, claimed, mac),
                dhcp=_asks(network, claimed),
                metadata_service=bool(port.get("metadata_service")),
                **{key: port.get(key) for key in ("tag", "vlan", "bond", "bond_mode")},
            )
        )
    return tuple(nics)


def _addresses(network: Network, claimed: t.Sequence[tuple[Subnet, str]], mac: str) -> tuple[Address, ...]:
    """A port's addresses, in the order of the network's subnets: those claimed, and those that the guest derives."""
    found = []
    for subnet in network.subnets:
        found += [_address(subnet, address) for its, address in claimed if its is subnet or its == subnet]
        if subnet.derived and subnet.cidr is not None:
            found.append(_address(subnet, _derived(subnet.cidr, mac)))
    return tuple(found)


def _asks(network: Network, claimed: t.Sequence[tuple[Subnet, str]]) -> tuple[int, ...]:
    """The families that a port asks for by DHCP; nothing where that is IPv4 alone, which is what a port does that has
    no addresses."""
    had = [subnet for subnet, _given in claimed]
    families = sorted({subnet.family for subnet in network.subnets if subnet.dhcp and subnet not in had})
    alone = families == [4] and not had and not any(subnet.derived for subnet in network.subnets)
    return () if alone else tuple(families)


def _derived(cidr: str, mac: str) -> str:
    """The address that a guest makes of its MAC (RFC 4291, modified EUI-64)."""
    first, *others = (int(byte, 16) for byte in mac.split(":"))
    identifier = bytes([first ^ 2, *others[:2], 0xFF, 0xFE, *others[2:]])
    return str(ipaddress.ip_network(cidr)[int.from_bytes(identifier, "big")])


def _address(subnet: Subnet, address: str) -> Address:
    prefix = ipaddress.ip_network(subnet.cidr).prefixlen if subnet.cidr else 32
    return Address(address, prefix, subnet.gateway, subnet.dns, subnet.routes, subnet.mode)


def first_record(
    name: str,
    spec: Spec,
    claimed: Claimed,
    compute: Compute,
    pool: str,
    frame: Frame,
    *,
    fit: Fit | None = None,
) -> Record:
    """The record of a server that is to be created on *compute*, before its first step (generation 0)."""
    flavor, image = Flavor.from_json(spec["flavor"]), Image.from_json(spec["image"])
    hardware = dataclasses.replace(hardware_of(image), cpu=frame.cpu)
    disks = disks_of(
        claimed.server_id,
        flavor,
        image,
        pool,
        hardware,
        config_drive=_wants_drive(spec),
        drive_format=_drive_format(spec),
        image_size=None,
        overlay=_can_overlay(compute, pool),
    )
    return Record(
        id=claimed.server_id,
        name=name,
        fleet_id=frame.fleet_id,
        generation=0,
        spec={},
        flavor=flavor,
        image=image,
        disks=disks,
        nics=nics_of(claimed.server_id, spec, compute, frame.networks, claimed.addresses, model=hardware.vif_model),
        hardware=hardware,
        declared=str(spec.get("state", "active")),
        host_id=compute.host_id,
        created_at=frame.time,
        fit=fit,
    )


def _wants_drive(spec: Spec) -> bool:
    """As inventory says; ``auto``: where no metadata service tells the guest all that it is to know. Injected files are
    on drives alone, and images for which a NoCloud drive is asked look for nothing else."""
    wanted = spec.get("config_drive", "auto")
    if wanted != "auto":
        return bool(wanted)
    served = any(port.get("metadata_service") for port in spec.get("networks", ()))
    return not served or bool(spec.get("personality")) or spec.get("config_drive_format") == "nocloud"


def _drive_format(spec: Spec) -> str:
    return str(spec.get("config_drive_format") or "iso9660")


def _can_overlay(compute: Compute, pool: str) -> bool:
    return "overlay" in compute.pools[pool]["capabilities"]


def deeds(
    record: Record,
    steps: t.Sequence[Step],
    compute: Compute,
    frame: Frame,
    *,
    fit: Fit | None,
    new: bool = False,
    addresses: t.Sequence[str] = (),
    destination: Compute | None = None,
) -> list[Json]:
    """The steps as the compute host takes them: each with the generation it expects and the record it leaves.

    *compute* is the host that the server is on, which carries them out; *destination* the one that a step takes it to.
    From then on the steps are carried out there, by a second connection of the first host (option ``at``).

    ``record`` is the one applied; for a ``new`` server the one of first_record. ``addresses``: claimed for the ports
    of the desired spec, where a step changes them. ``fit``: what it has of its host's hardware after the steps.
    """
    found = []
    first = compute
    for step in steps:
        deed: dict[str, Json] = {
            "kind": step.kind,
            "server_id": record.id,
            "name": record.name,
            "expects": None if new and step.kind == "create" else record.generation,
            "why": step.why,
            "timeout": int(step.options.get("timeout", shutdown_timeout(record))),
        }
        options = options_of(step, record, time=frame.time, live=frame.live)
        if compute is not first:
            options["at"] = _end(compute, first)
        # A server that has just left a host has its copy of before there.
        left = first if compute is not first and step.kind == "confirm_resize" else None
        other = left or (destination if step.kind in MOVES else _peer(step, frame))
        if other is not None:
            options["peer"] = _end(other, compute)
        if step.kind in MOVES or (step.kind == "revert_resize" and other is not None):
            moved_to = t.cast(Compute, other)
            record = _next(record, step, moved_to, frame, addresses, fit, left=compute)
            compute = moved_to
            deed["record"] = record.to_json()
            its = resize.resize_of(record)
            if its is not None:
                options["migration"] = its.migration
        elif step.kind in WRITES or step.spec is not None or step.marks:
            record = _next(record, step, compute, frame, addresses, fit)
            deed["record"] = record.to_json()
        if options:
            deed["options"] = options
        found.append(deed)
    return found


def _peer(step: Step, frame: Frame) -> Compute | None:
    """The host at the other end of a step that names one by its id."""
    wanted = step.options.get("peer")
    return next((compute for compute in frame.hosts if wanted is not None and compute.host_id == wanted), None)


def _end(compute: Compute, here: Compute) -> dict[str, Json]:
    """What the host *here* needs to open another's libvirt, and to be found again from there."""
    survey = compute.survey or {}
    return {
        "host": compute.name,
        "host_id": compute.host_id,
        "uri": compute.settings.migration_uri,
        "hostname": survey.get("hostname"),
        "bridges": list(survey.get("bridges", ())),
        "own_host": here.name,
        "own_uri": here.settings.migration_uri,
    }


def shutdown_timeout(record: Record) -> int:
    """Seconds that a guest is given to shut down: as inventory says, else its image, else Nova's default."""
    image = str(record.image.properties.get("os_shutdown_timeout", ""))
    given = record.spec.get("shutdown_timeout")
    return int(given if given is not None else image if image.isdecimal() else SHUTDOWN_TIMEOUT)


def blind(kind: str, server_id: str, name: str) -> Json:
    """A step on a server of which there is no record: the host looks for what bears its id."""
    return {"kind": kind, "server_id": server_id, "name": name, "expects": None, "record": None, "timeout": 0}


def _next(
    record: Record,
    step: Step,
    compute: Compute,
    frame: Frame,
    addresses: t.Sequence[str],
    fit: Fit | None,
    *,
    left: Compute | None = None,
) -> Record:
    """The record that a step leaves on *compute*; *left*: the host that the server has left by it."""
    spec: Spec = record.spec if step.spec is None else step.spec
    changed = dataclasses.replace(
        record,
        generation=record.generation + 1,
        spec=dict(spec),
        declared=str(spec.get("state", record.declared)),
        host_id=compute.host_id,
        marks=_marks(record, step, frame, left),
    )
    if left is not None:
        changed = moved(changed, compute, frame.networks)
    if step.kind in ("define", "hard_reboot", "unshelve"):
        changed = defined_anew(changed)
    if step.kind == "unshelve":
        return dataclasses.replace(unshelved(changed, compute, frame.networks), fit=fit)
    if step.kind == "revert_resize":
        its = resize.before(record)
        return dataclasses.replace(changed, flavor=its.flavor, disks=its.disks, fit=fit, room=its.room)
    if step.kind == "grow":
        return grown(changed, spec)
    if step.kind not in ("reconfigure", "rebuild", "create", "resize", *MOVES):
        return changed
    if changes_ports(record, spec):
        model = record.hardware.vif_model
        nics = nics_of(record.id, spec, compute, frame.networks, addresses, record.nics, model=model)
        changed = dataclasses.replace(changed, nics=nics)
    made = _with_hardware(dataclasses.replace(changed, fit=fit), spec, image=step.kind in ("rebuild", "create"))
    # A guest that moves as it runs goes with the domain that it has: it is not defined anew.
    return dataclasses.replace(made, room=elsewhere(record).room) if step.kind == "live_migrate" else made


def moved(record: Record, compute: Compute, networks: Networks) -> Record:
    """The record on another host: what pools and networks are there only that host says."""
    nics = tuple(
        dataclasses.replace(nic, source=compute.source_of(networks[nic.network])) if nic.network in networks else nic
        for nic in record.nics
    )
    disks = tuple(dataclasses.replace(disk, pool_id=None) for disk in record.disks)
    return dataclasses.replace(record, nics=nics, disks=disks)


def _marks(record: Record, step: Step, frame: Frame, left: Compute | None) -> dict[str, Json]:
    marks = dict(record.marks)
    if step.kind != "update":  # which may lock a deleted server; every other step ends or begins a deletion
        marks.pop("soft_delete", None)
    if step.kind == "rebuild":
        marks.pop(rebuilding.MARK, None)
    if step.kind == "soft_delete":
        marks["soft_delete"] = {"at": frame.now}
    if step.kind == "shelve":
        marks[SHELVED] = shelved_mark(step, record, time=frame.time)
    if step.kind in ("resize", "migrate"):
        return {**marks, resize.MARK: _resized(record, step, frame, left)}
    return {key: value for key, value in {**marks, **step.marks}.items() if value is not None}


def _resized(record: Record, step: Step, frame: Frame, left: Compute | None) -> dict[str, Json]:
    # Of the plan, not random: a plan that is carried out twice is one migration.
    migration = uuid.uuid5(uuid.NAMESPACE_URL, f"{record.id}/{record.generation}/{frame.time}/resize")
    given = step.marks[resize.MARK]
    mark = resize.resize_mark(record, state=str(given["state"]), migration=str(migration), at=frame.now)
    if left is not None:
        mark["from"] = resize.Place(left.name, str(left.host_id)).to_json()
    return {**mark, "confirm": True} if given.get("confirm") else mark


def _with_hardware(record: Record, spec: Spec, *, image: bool) -> Record:
    """Flavor, image and disks after a step that may change them; a disk that stays keeps its place and its name."""
    flavor = Flavor.from_json(spec["flavor"])
    taken = Image.from_json(spec["image"]) if image else record.image
    if taken != record.image:
        record = _of_image(record, taken)
    disks = disks_of(
        record.id,
        flavor,
        taken,
        record.root.pool,
        record.hardware,
        config_drive=any(disk.role == "config" for disk in record.disks),
        drive_format=_drive_format(spec),
        image_size=None,
        overlay=record.root.format == "qcow2",
    )
    others = [disk for disk in record.disks if not is_flavored(disk)]
    kept = _apart([*(_keep(disk, record.disks, image=image) for disk in disks), *others], record.disks)
    room = room_for(record, spec, flavor)
    return dataclasses.replace(record, flavor=flavor, image=taken, disks=kept, room=room)


def _apart(disks: t.Sequence[Disk], before: t.Sequence[Disk]) -> tuple[Disk, ...]:
    """A new disk goes where none is: one that was there stays where its guest knows it."""
    old = {disk.volume for disk in before}
    taken = {disk.target for disk in disks if disk.volume in old}
    placed = []
    for disk in disks:
        target = disk.target
        if disk.volume not in old and target in taken:
            target = next(
                name for name in (target[:2] + letter for letter in string.ascii_lowercase) if name not in taken
            )
        taken.add(target)
        placed.append(dataclasses.replace(disk, target=target))
    return tuple(placed)


def _keep(disk: Disk, before: t.Sequence[Disk], *, image: bool) -> Disk:
    """A disk that is there stays where it is, and never shrinks. Those of an adopted server have names of their own."""
    old = next((each for each in before if each.role == disk.role), None)
    # A fresh root disk never takes the name of one that others have made: that one stays.
    if old is None or (image and disk.role == "root" and old.volume != disk.volume):
        return disk
    backing = disk.backing if image and disk.role == "root" else old.backing
    kept = dataclasses.replace(old, size=max(old.size, disk.size), backing=backing)
    # On which bus the guest sees it is its image's to say.
    return dataclasses.replace(kept, target=disk.target, bus=disk.bus, device=disk.device) if image else kept


def _of_image(record: Record, image: Image) -> Record:
    """The record with the hardware that another image asks for (Nova: a rebuild takes the new image's properties). The
    machine type of first boot stays, unless one of both images names its own."""
    hardware = dataclasses.replace(hardware_of(image), cpu=record.hardware.cpu)
    if hardware.machine is None and "hw_machine_type" not in record.image.properties:
        hardware = dataclasses.replace(hardware, machine=record.hardware.machine)
    nics = tuple(dataclasses.replace(nic, model=hardware.vif_model) for nic in record.nics)
    return dataclasses.replace(record, hardware=hardware, nics=nics)


def changes_ports(record: Record, spec: Spec) -> bool:
    """Whether the server's ports are others than those that its record has."""
    return bool(record.spec) and spec.get("networks", []) != record.spec.get("networks", [])


__all__ = [
    "WRITES",
    "Frame",
    "blind",
    "changes_ports",
    "deeds",
    "first_record",
    "moved",
    "nics_of",
    "shutdown_timeout",
    "wishes",
]
