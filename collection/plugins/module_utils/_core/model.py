# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Flotilla speaks of: flavors, images, servers as declared, as recorded and as found.

Note that this module util is **PRIVATE** to the collection.

Units are Nova's: memory and swap in MiB, flavor disks in GiB; volume sizes are bytes.
All values are frozen. ``to_json`` gives plain dicts, lists, strings and numbers; ``from_json`` is its inverse and
refuses what it doesn't know with InvalidRecord.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import math
import typing as t

from .errors import InvalidRecord
from .fit import Fit
from .room import Room
from .serial import Json, fields, from_json
from .tuning import Tuning

RECORD_VERSION = 1
GIB = 1024**3
MIB = 1024**2

Spec = t.Mapping[str, Json]


def _without(data: dict[str, Json], rare: t.Collection[str]) -> dict[str, Json]:
    """*data* less what few have, where this one has it not: most records are what they were before there was more."""
    return {key: value for key, value in data.items() if value or key not in rare}


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A size for servers. Immutable in effect: every server keeps a copy of the flavor it was made with."""

    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    extra_specs: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def disk_gb(self) -> int:
        """Placement's DISK_GB of a server with this flavor: swap is rounded up to whole GiB (Nova: scheduler/utils)."""
        return self.disk + self.ephemeral + -(-self.swap // 1024)

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Flavor:
        return _from_json(cls, data, "flavor")


@dataclasses.dataclass(frozen=True)
class Image:
    """An image of the catalog.

    ``format`` is qcow2 or raw as declared (and looked at before use); ``checksum`` is ``sha256:<hex>``;
    ``min_disk`` GiB, ``min_ram`` MiB; ``properties`` are Nova's image properties (hw_disk_bus, os_type …).
    """

    name: str
    format: str
    checksum: str
    min_disk: int = 0
    min_ram: int = 0
    properties: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def volume(self) -> str:
        """The name of the image's volume in a pool: equal bytes are stored once, whatever they are called."""
        return "image-" + self.checksum.partition(":")[2]

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Image:
        return _from_json(cls, data, "image")


@dataclasses.dataclass(frozen=True)
class Address:
    """A fixed address of a port, with what the guest needs to use it (``prefix`` bits; gateway and dns may be
    absent).

    ``routes`` are mappings of ``destination`` (a cidr) and ``gateway``, beside the default one. ``mode`` says how the
    guest learns the address: None by network_data.json, ``dhcp``, or one of Neutron's ipv6_address_mode.
    """

    address: str
    prefix: int
    gateway: str | None = None
    dns: t.Sequence[str] = ()
    routes: t.Sequence[t.Mapping[str, str]] = ()
    mode: str | None = None

    def to_json(self) -> dict[str, Json]:
        return _without(fields(self), ("routes", "mode"))

    @classmethod
    def from_json(cls, data: Json) -> Address:
        return _from_json(cls, data, "address")


@dataclasses.dataclass(frozen=True)
class Nic:
    """A port of a server. ``kind`` is bridge or network (a libvirt network), ``source`` its name on the host.

    With no addresses the guest asks by DHCP. ``tag`` is the name that the guest finds it by among its devices.
    ``vlan``: the addresses are on this VLAN, which the guest itself tags. ``bond``: it is a link of the bond of this
    name, whose addresses are those of its first port, and ``bond_mode`` is how its links are used. ``dhcp``: the
    families (4, 6) that it asks for by DHCP beside its addresses. ``metadata_service``: its addresses are tied to it on
    the host, and known to the metadata service there.
    """

    network: str
    kind: str
    source: str
    mac: str
    model: str = "virtio"
    mtu: int | None = None
    addresses: t.Sequence[Address] = ()
    tag: str | None = None
    vlan: int | None = None
    bond: str | None = None
    bond_mode: str | None = None
    dhcp: t.Sequence[int] = ()
    metadata_service: bool = False

    def to_json(self) -> dict[str, Json]:
        data = _without(fields(self), ("tag", "vlan", "bond", "bond_mode", "dhcp", "metadata_service"))
        return {**data, "addresses": [address.to_json() for address in self.addresses]}

    @classmethod
    def from_json(cls, data: Json) -> Nic:
        return _from_json(cls, data, "nic")


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of a server. ``role`` is root, ephemeral, swap or config; ``size`` in bytes.

    ``pool_id`` is the id of the pool's marker, null until the host that makes the volume has filled it in.
    """

    role: str
    pool: str
    volume: str
    format: str
    size: int
    target: str
    bus: str
    device: str = "disk"
    pool_id: str | None = None
    backing: str | None = None

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Disk:
        return _from_json(cls, data, "disk")


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Hardware defaults, frozen at first boot so that a later change of defaults never alters a guest (Nova driver
    1145).

    ``machine`` None means: the host's canonical name for ``pc`` is filled in when the domain is first defined. ``cpu``
    is the model that the fleet gives to all (see `cpu_model`), None the newest that its first host could give.
    """

    arch: str = "x86_64"
    machine: str | None = None
    disk_bus: str = "virtio"
    cdrom_bus: str = "scsi"
    vif_model: str = "virtio"
    video_model: str = "virtio"
    firmware: str = "bios"
    guest_agent: bool = True
    cpu: t.Mapping[str, Json] | None = None

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Hardware:
        return _from_json(cls, data, "hardware")


@dataclasses.dataclass(frozen=True)
class Server:
    """A server as inventory declares it.

    ``state`` is one of states.DECLARED. ``spec`` holds, as JSON values, exactly what the user wrote about it
    (keys in steps.CLASSES); what is not in it is not compared. ``flavor`` and ``image`` are resolved from the catalogs.
    ``id`` is None until a claim has drawn one.
    """

    name: str
    state: str
    flavor: Flavor
    image: Image
    spec: Spec
    id: str | None = None
    pool: str = "local"
    networks: t.Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Record:
    """A server as it was applied: the JSON in its domain's metadata, in sidecars and in the ledger.

    ``generation`` grows by one with each step that changes the server. ``spec`` is Server.spec as applied. ``marks``
    are
    ``replaces``, ``evacuating``, ``resize``, ``soft_delete``, ``lock``. Times are ISO 8601 in UTC.
    ``declared`` is the state last carried out (active, stopped …): what the guest should be in. ``fit`` is what its
    host has given it of cores, pages and devices; None for a server that asked for none. ``room`` is how far it can
    grow while it runs; None where nobody asked for that.
    """

    id: str
    name: str
    fleet_id: str
    generation: int
    spec: Spec
    flavor: Flavor
    image: Image
    disks: t.Sequence[Disk]
    nics: t.Sequence[Nic]
    hardware: Hardware
    declared: str = "active"
    host_id: str | None = None
    created_at: str | None = None
    launched_at: str | None = None
    marks: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)
    version: int = RECORD_VERSION
    fit: Fit | None = None
    room: Room | None = None

    @property
    def root(self) -> Disk:
        return next(disk for disk in self.disks if disk.role == "root")

    @property
    def lock(self) -> str:
        """Who or what has locked the server, and why; empty if nobody has."""
        mark = self.marks.get("lock")
        if mark is not None:
            return f"by {mark.get('by')}" + (f": {mark['reason']}" if mark.get("reason") else "")
        return "by server_locked" if self.spec.get("locked") else ""

    def to_json(self) -> dict[str, Json]:
        data = fields(self)
        # The record of an ordinary server is what it was before there were others.
        for rare in ("fit", "room"):
            if data[rare] is None:
                del data[rare]
        data["nics"] = [nic.to_json() for nic in self.nics]
        return data

    @classmethod
    def from_json(cls, data: Json) -> Record:
        if isinstance(data, dict) and data.get("version", RECORD_VERSION) != RECORD_VERSION:
            raise InvalidRecord(
                f"the record of server {data.get('name')!r} has version {data['version']!r}; "
                f"this Flotilla reads version {RECORD_VERSION}: use the newer collection"
            )
        record = _from_json(cls, data, "record")
        _check_record(record)
        return record

    def dumps(self) -> str:
        """Compact ASCII: what JSON escapes can't be mangled by XML, terminals or databases."""
        return json.dumps(self.to_json(), ensure_ascii=True, separators=(",", ":"), sort_keys=True)

    @classmethod
    def loads(cls, text: str) -> Record:
        try:
            data = json.loads(text)
        except ValueError as exc:
            raise InvalidRecord(f"a server's record is not JSON: {exc}") from exc
        return cls.from_json(data)


@dataclasses.dataclass(frozen=True)
class Guest:
    """A domain as a survey found it (libvirt's view).

    ``state``: running, paused, shutoff, suspended (managed save), crashed, or other (in shutdown, pmsuspended).
    ``vcpus`` and ``memory`` (MiB) are those of the persistent configuration, else of the running one.
    ``macs`` and ``volumes`` (pairs of pool and volume name; ("", path) for a disk in no pool) are those of the same
    configuration. ``sources`` are those of the volumes that its disks are, without the files under them.
    ``record`` is None for a foreign domain; ``record_error`` says why a record that is there can't be used, and
    ``damaged`` that it is ours and unreadable (not a copy of another's). ``migrated``: off because it was migrated
    away. ``tuning`` is that of the persistent configuration, None where nothing is tuned; ``live`` that of the running
    guest where it is another. ``arriving``: another host still has it, its memory is on the way.
    """

    id: str
    name: str
    state: str
    persistent: bool
    autostart: bool
    vcpus: int
    memory: int
    macs: t.Sequence[str] = ()
    volumes: t.Sequence[t.Sequence[str]] = ()
    record: Record | None = None
    record_error: str | None = None
    migrated: bool = False
    damaged: bool = False
    sources: t.Sequence[t.Sequence[str]] = ()
    tuning: Tuning | None = None
    live: Tuning | None = None
    arriving: bool = False

    @property
    def active(self) -> bool:
        return self.state in ("running", "paused", "other")

    def to_json(self) -> dict[str, Json]:
        return fields(self)

    @classmethod
    def from_json(cls, data: Json) -> Guest:
        return _from_json(cls, data, "guest")


def _check_record(record: Record) -> None:
    """What a plan stands on. A record comes from a domain's metadata, which anybody on the host can write."""
    texts = (record.id, record.name, record.fleet_id)
    if not all(isinstance(text, str) and text for text in texts) or not isinstance(record.generation, int):
        raise InvalidRecord("a record's id, name and fleet_id should be text and its generation a number")
    if not isinstance(record.spec, dict) or not isinstance(record.marks, dict):
        raise InvalidRecord(f"the record of server {record.name!r} has a spec or marks that are no mapping")
    if [disk.role for disk in record.disks].count("root") != 1:
        raise InvalidRecord(f"the record of server {record.name!r} should name one root disk")
    if not all(map(_is_size, _sizes(record))):
        raise InvalidRecord(f"the record of server {record.name!r} has a size that is no whole number")
    if not all(map(_is_address, (address.address for nic in record.nics for address in nic.addresses))):
        raise InvalidRecord(f"the record of server {record.name!r} has an address that is none")
    mark = record.marks.get("soft_delete", {"at": 0})
    if not isinstance(mark, dict) or not _is_number(mark.get("at")):
        raise InvalidRecord(f"the record of server {record.name!r} doesn't say when it was deleted softly: {mark!r}")
    if not isinstance(record.marks.get("lock", {}), dict):
        raise InvalidRecord(
            f"the record of server {record.name!r} doesn't say who has locked it: {record.marks['lock']!r}"
        )
    if "resize" in record.marks:
        from .resize import resize_of  # which stands on this module

        resize_of(record)
    if {"evacuating", "replaced", "replaces"} & record.marks.keys():
        from .evacuation import check_marks

        check_marks(record)


def _sizes(record: Record) -> t.Iterator[Json]:
    flavor = record.flavor
    yield from (flavor.vcpus, flavor.ram, flavor.disk, flavor.ephemeral, flavor.swap)
    yield from (disk.size for disk in record.disks)
    yield from (record.image.min_disk, record.image.min_ram)


def _is_size(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_address(value: Json) -> bool:
    """What is none would be an option to the programs that are told whom to connect to."""
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def mac_of(server_id: str, index: int) -> str:
    """The MAC of a server's port: derived from the id, so that a server made again from its record keeps it.

    The first two bytes are those of QEMU's 52:54:00, whose first says "unicast, locally administered". The third isn't
    kept: with 24 bits left, every second fleet of 5000 ports would have one MAC twice; with 32, one of 340.
    """
    digest = hashlib.sha256(f"{server_id}/{index}".encode()).digest()
    return ":".join(["52", "54"] + [f"{byte:02x}" for byte in digest[:4]])


def volume_of(server_id: str, role: str) -> str:
    """The name of a server's volume. Deletion trusts only a name that begins with the server's id."""
    return f"{server_id}-{role}"


_NESTED: dict[str, t.Callable[[Json], t.Any]] = {
    "flavor": Flavor.from_json,
    "image": Image.from_json,
    "hardware": Hardware.from_json,
    "disks": lambda value: tuple(Disk.from_json(item) for item in value),
    "nics": lambda value: tuple(Nic.from_json(item) for item in value),
    "addresses": lambda value: tuple(Address.from_json(item) for item in value),
    # Not in every JSON form: what was written and what was left out must read the same.
    "routes": tuple,
    "dhcp": tuple,
    "record": lambda value: None if value is None else Record.from_json(value),
    "fit": lambda value: None if value is None else Fit.from_json(value),
    "room": lambda value: None if value is None else Room.from_json(value),
    "tuning": lambda value: None if value is None else Tuning.from_json(value),
    "live": lambda value: None if value is None else Tuning.from_json(value),
}

_T = t.TypeVar("_T")


def _from_json(cls: type[_T], data: Json, what: str) -> _T:
    return from_json(cls, data, what, _NESTED)


__all__ = [
    "GIB",
    "MIB",
    "RECORD_VERSION",
    "Address",
    "Disk",
    "Flavor",
    "Guest",
    "Hardware",
    "Image",
    "Json",
    "Nic",
    "Record",
    "Server",
    "Spec",
    "mac_of",
    "volume_of",
]
