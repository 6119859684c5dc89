# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's record as libvirt's domain XML, and back.

Note that this module util is **PRIVATE** to the collection.

The XML is what Nova's libvirt driver makes (nova/virt/libvirt/config.py), less what costs and is of no use here. No
policy: what a guest gets is in its record; what the host has is in HostFacts. Text goes through ElementTree alone, and
what XML can't carry is refused, so that nothing is ever mangled.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import xml.etree.ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from . import metadata_service, namespace
from .cpu_model import write_cpu
from .errors import InvalidInput, InvalidRecord
from .model import MIB, Disk, Nic, Record
from .rescue import booted
from .room import SLOTS
from .tuning import Tuning

#: cloud-init's ds-identify knows the OpenStack datasource by this product name.
_PRODUCT = "OpenStack Nova"
_MANUFACTURER = "OpenStack Foundation"
_FAMILY = "Virtual Machine"

#: libvirt makes file names of a domain's name (`<name>.xml`, `<name>.log`), and a file name has 255 bytes.
_NAME_BYTES = 220
#: Every survey of the host carries the record; libvirt's own limit for a string is 4 MiB.
_RECORD_BYTES = 1024**2
#: What XML 1.0 can't carry, or (control characters, lone surrogates) not without change.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Prefixes are the module's, not the document's: ElementTree keeps them in one table.
ET.register_namespace(namespace.PREFIX, namespace.URI)
_SERVER = f"{{{namespace.URI}}}{namespace.ELEMENT}"


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a volume is on the host: ``kind`` file or block.

    ``cache`` is QEMU's mode: none, or writeback where the file system lacks O_DIRECT.
    """

    path: str
    kind: str = "file"
    cache: str = "none"


@dataclasses.dataclass(frozen=True)
class HostFacts:
    """What the XML needs to know of the host; ``sources`` maps (pool, volume) to where it is."""

    virt_type: str
    sources: t.Mapping[tuple[str, str], Source]
    emulator: str | None = None


@dataclasses.dataclass(frozen=True)
class DomainDisk:
    """A disk of a domain as its XML has it. ``source`` is a path, or ``pool/volume`` (type volume); None when empty."""

    target: str
    device: str
    source: str | None
    format: str | None


@dataclasses.dataclass(frozen=True)
class DomainFile:
    """What a domain stands on: a disk, one in its backing chain, or the goal of a running copy."""

    path: str
    format: str | None


@dataclasses.dataclass(frozen=True)
class DomainFacts:
    """What a domain's XML says, whoever's it is. ``record_error`` is why a record that is there can't be used."""

    id: str
    name: str
    vcpus: int
    memory: int
    macs: tuple[str, ...]
    disks: tuple[DomainDisk, ...]
    files: tuple[DomainFile, ...]
    machine: str | None
    record: Record | None
    record_error: str | None


def domain_name(record: Record) -> str:
    """The domain bears the server's name; a softly deleted one makes room for a successor."""
    return deleted_name(record.name, record.id) if "soft_delete" in record.marks else record.name


def deleted_name(name: str, server_id: str) -> str:
    return f"{name}.deleted-{server_id[:8]}"


def console_log(server_id: str) -> str:
    """Where the guest's serial console is logged on the host. By id: a name may be hostile, and may change."""
    return f"/var/log/libvirt/qemu/{server_id}.console.log"


def domain_xml(record: Record, host: HostFacts, *, existing: str | None = None) -> str:
    """The domain of a server.

    ``existing`` is the XML that it has on this host: its firmware's loader and variables are kept, as Nova does.
    """
    root = Element("domain", type=host.virt_type)
    _text(root, "name", _checked_name(domain_name(record)))
    _text(root, "uuid", record.id)
    SubElement(root, "metadata").append(record_element(record))
    _size(root, record)
    _sysinfo(root, record)
    _os(root, record, existing)
    _features_and_clock(root, record, host)
    Tuning.of(record.fit).write(root)
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(root, f"on_{event}", action)
    _devices(root, booted(record), host)
    return ET.tostring(root, encoding="unicode")


def record_element(record: Record) -> Element:
    """The record as the element that a domain's metadata carries."""
    text = record.dumps()
    if len(text) > _RECORD_BYTES:
        raise InvalidInput(
            f"the record of server {record.name!r} has {len(text)} bytes, a host keeps at most {_RECORD_BYTES}: "
            "shorten its metadata or description"
        )
    element = Element(_SERVER)
    element.text = text
    return element


def metadata_xml(record: Record) -> str:
    """The record as libvirt's setMetadata takes it; it adds the namespace itself."""
    element = Element(namespace.ELEMENT)
    element.text = record_element(record).text
    return ET.tostring(element, encoding="unicode")


def read_metadata(xml: str) -> Record:
    """The record in what libvirt's ``metadata`` gives; InvalidRecord when it can't be read."""
    return Record.loads(ET.fromstring(xml).text or "")  # noqa: S314 - libvirt wrote it


def read_domain(xml: str) -> DomainFacts:
    """A domain's XML, as libvirt gives it, read back."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    record, error = _read_record(root)
    return DomainFacts(
        id=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        vcpus=int(root.findtext("vcpu", "1")),
        memory=_mib(root.find("memory")),
        macs=tuple(_attribute(nic, "mac", "address") or "" for nic in root.findall("devices/interface")),
        disks=tuple(_read_disk(disk) for disk in root.findall("devices/disk")),
        files=tuple(_read_files(root)),
        machine=_attribute(root, "os/type", "machine"),
        record=record,
        record_error=error,
    )


def _size(root: Element, record: Record) -> None:
    flavor = record.flavor
    if _most_ram(record) > flavor.ram:
        _text(root, "maxMemory", str(_most_ram(record)), slots=str(SLOTS), unit="MiB")
    _text(root, "memory", str(flavor.ram), unit="MiB")
    _text(root, "currentMemory", str(flavor.ram), unit="MiB")
    current = {"current": str(flavor.vcpus)} if _most_vcpus(record) > flavor.vcpus else {}
    _text(root, "vcpu", str(_most_vcpus(record)), placement="static", **current)


def _most_ram(record: Record) -> int:
    return max(record.flavor.ram, 0 if record.room is None else record.room.ram)


def _most_vcpus(record: Record) -> int:
    return max(record.flavor.vcpus, 0 if record.room is None else record.room.vcpus)


def _sysinfo(root: Element, record: Record) -> None:
    system = SubElement(SubElement(root, "sysinfo", type="smbios"), "system")
    entries = (
        ("manufacturer", _MANUFACTURER),
        ("product", _PRODUCT),
        ("serial", record.id),
        ("uuid", record.id),
        ("family", _FAMILY),
    )
    for name, value in entries:
        _text(system, "entry", value, name=name)


def _os(root: Element, record: Record, existing: str | None) -> None:
    hardware = record.hardware
    uefi = hardware.firmware == "uefi"
    kept = _kept_firmware(existing) if uefi else []
    os = SubElement(root, "os")
    if uefi and not kept:
        os.set("firmware", "efi")
    _text(os, "type", "hvm", arch=hardware.arch, machine=_plain(hardware.machine or "pc", "the machine"))
    os.extend(kept)
    SubElement(os, "smbios", mode="sysinfo")


def _kept_firmware(existing: str | None) -> list[Element]:
    """What libvirt chose when the domain was first defined: its UEFI variables live in that very file."""
    found = None if existing is None else ET.fromstring(existing).find("os")  # noqa: S314 - libvirt wrote it
    return [] if found is None else [child for child in found if child.tag in ("loader", "nvram")]


def _features_and_clock(root: Element, record: Record, host: HostFacts) -> None:
    windows = record.image.properties.get("os_type") == "windows"
    features = SubElement(root, "features")
    for name in ("acpi", "apic", "vmcoreinfo"):
        SubElement(features, name)
    if windows and host.virt_type == "kvm":
        _hyperv(SubElement(features, "hyperv"))
    _cpu(root, record, host)
    clock = SubElement(root, "clock", offset="localtime" if windows else "utc")
    SubElement(clock, "timer", name="pit", tickpolicy="delay")
    SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    SubElement(clock, "timer", name="hpet", present="no")
    if windows and host.virt_type == "kvm":
        SubElement(clock, "timer", name="hypervclock", present="yes")


def _hyperv(features: Element) -> None:
    for name in (
        "relaxed",
        "vapic",
        "spinlocks",
        "vpindex",
        "runtime",
        "synic",
        "reset",
        "frequencies",
        "tlbflush",
        "ipi",
    ):
        feature = SubElement(features, name, state="on")
        if name == "spinlocks":
            feature.set("retries", "8191")


def _cpu(root: Element, record: Record, host: HostFacts) -> None:
    """The fleet's model, or Nova's default: host-model, under emulation too, where it means the newest model that QEMU
    emulates in full."""
    cpu = SubElement(root, "cpu")
    if record.hardware.cpu is not None:
        write_cpu(cpu, record.hardware.cpu)
    elif host.virt_type in ("kvm", "qemu"):
        cpu.set("mode", "host-model")
        cpu.set("check", "partial")
    # Nova's default, for pinned guests too: each vCPU a socket, whatever cores of the host share threads.
    SubElement(cpu, "topology", sockets=str(_most_vcpus(record)), cores="1", threads="1")
    if _most_ram(record) > record.flavor.ram:
        # Libvirt plugs memory only into a cell.
        cpus, memory = f"0-{_most_vcpus(record) - 1}", str(record.flavor.ram)
        SubElement(SubElement(cpu, "numa"), "cell", id="0", cpus=cpus, memory=memory, unit="MiB")


def _devices(root: Element, record: Record, host: HostFacts) -> None:
    devices = SubElement(root, "devices")
    if host.emulator is not None:
        _text(devices, "emulator", host.emulator)
    first = _boot_disk(record)
    for disk in record.disks:
        _disk(devices, disk, host, first=disk is first)
    buses = {disk.bus for disk in record.disks}
    tablet = record.image.properties.get("os_type") == "windows"
    if "scsi" in buses:
        SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if "usb" not in buses and not tablet:
        # A USB controller polls, which costs the host some of a CPU for each idle guest; nothing hangs on it here.
        SubElement(devices, "controller", type="usb", index="0", model="none")
    for nic in record.nics:
        _nic(devices, nic)
    Tuning.of(record.fit).write_devices(devices)
    serial = SubElement(devices, "serial", type="pty")
    SubElement(serial, "log", file=console_log(record.id), append="off")
    if record.hardware.guest_agent:
        channel = SubElement(devices, "channel", type="unix")
        SubElement(channel, "source", mode="bind")
        SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    if tablet:
        SubElement(devices, "input", type="tablet", bus="usb")
    SubElement(devices, "graphics", type="vnc", autoport="yes", listen="127.0.0.1")
    SubElement(SubElement(devices, "video"), "model", type=record.hardware.video_model)
    _text(SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    balloon = SubElement(devices, "memballoon", model="virtio", autodeflate="on", freePageReporting="on")
    SubElement(balloon, "stats", period="10")


def _boot_disk(record: Record) -> Disk:
    """The disk that the guest boots from: the rescue disk if there is one, else the root."""
    return next((disk for disk in record.disks if disk.role == "rescue"), record.root)


def _disk(devices: Element, disk: Disk, host: HostFacts, *, first: bool) -> None:
    source = host.sources[(disk.pool, disk.volume)]
    element = SubElement(devices, "disk", type=source.kind, device=disk.device)
    driver = SubElement(element, "driver", name="qemu", type=disk.format)
    if disk.device == "disk":
        driver.set("cache", source.cache)
        driver.set("discard", "unmap")
    key = "dev" if source.kind == "block" else "file"
    SubElement(element, "source", {key: _plain(source.path, "the path of a volume")})
    SubElement(element, "target", dev=disk.target, bus=disk.bus)
    if disk.device == "cdrom":
        SubElement(element, "readonly")
    else:
        # The guest finds it as /dev/disk/by-id/virtio-<role>; 20 characters is virtio-blk's limit.
        _text(element, "serial", disk.role[:20])
    if first:
        SubElement(element, "boot", order="1")


def _nic(devices: Element, nic: Nic) -> None:
    if nic.kind not in ("bridge", "network"):
        raise InvalidInput(f"a port on network {nic.network!r} has kind {nic.kind!r}; it can be bridge or network")
    element = SubElement(devices, "interface", type=nic.kind)
    SubElement(element, "mac", address=nic.mac)
    SubElement(element, "source", {nic.kind: _plain(nic.source, f"the {nic.kind} of network {nic.network!r}")})
    SubElement(element, "model", type=nic.model)
    if nic.mtu is not None:
        SubElement(element, "mtu", size=str(nic.mtu))
    addresses = metadata_service.served(nic)
    if addresses:
        # By its name the interface reaches the metadata service, by its filter it can't do so in another's name.
        SubElement(element, "target", dev=metadata_service.port_device(nic.mac))
        own = SubElement(element, "filterref", filter=metadata_service.FILTER)
        for address in addresses:
            SubElement(own, "parameter", name="IP", value=address)


def _read_record(root: Element) -> tuple[Record | None, str | None]:
    text = namespace.record_text(root)
    if text is None:
        return None, None
    try:
        return Record.loads(text), None
    except (InvalidRecord, RecursionError) as exc:
        return None, str(exc)


def _read_disk(disk: Element) -> DomainDisk:
    return DomainDisk(
        target=_attribute(disk, "target", "dev") or "",
        device=disk.get("device", "disk"),
        source=_read_source(disk),
        format=_attribute(disk, "driver", "type"),
    )


def _read_files(root: Element) -> t.Iterator[DomainFile]:
    for disk in root.findall("devices/disk"):
        for holder in (disk, *disk.iter("backingStore"), *disk.iter("mirror")):
            path = _read_source(holder)
            if path is not None:
                # The format of a disk is its driver's; the others' is named beside their source.
                yield DomainFile(path, _attribute(holder, "driver", "type") or _attribute(holder, "format", "type"))


def _read_source(holder: Element) -> str | None:
    source = holder.find("source")
    if source is None:
        return None
    if source.get("volume"):
        return f"{source.get('pool')}/{source.get('volume')}"
    return source.get("file") or source.get("dev") or source.get("name") or source.get("dir")


#: libvirt's units of memory; it writes KiB itself.
_UNITS = {
    "b": 1,
    "bytes": 1,
    "KB": 1000,
    "k": 1024,
    "KiB": 1024,
    "MB": 1000**2,
    "M": MIB,
    "MiB": MIB,
    "GB": 1000**3,
    "G": 1024**3,
    "GiB": 1024**3,
}


def _mib(memory: Element | None) -> int:
    if memory is None or memory.text is None:
        return 0
    return int(memory.text) * _UNITS[memory.get("unit", "KiB")] // MIB


def _attribute(element: Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return None if found is None else found.get(name)


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text


def _checked_name(name: str) -> str:
    """A server's name as a domain's: what libvirt, or the file system under it, would refuse is refused in words."""
    _plain(name, "the server's name")
    if not name.strip() or name in (".", "..") or "/" in name:
        raise InvalidInput(f"the server's name {name!r} can't name a domain: it needs a visible character, and no '/'")
    if name != name.strip():
        raise InvalidInput(f"the server's name {name!r} can't name a domain: it begins or ends with a space")
    if len(name.encode()) > _NAME_BYTES:
        raise InvalidInput(
            f"the server's name {name[:40] + '…'!r} has {len(name.encode())} bytes; "
            f"at most {_NAME_BYTES} can name a domain"
        )
    return name


def _plain(text: str, what: str) -> str:
    found = _NOT_PLAIN.search(text)
    if found is None:
        return text
    raise InvalidInput(
        f"{what} {text!r} has the character {found.group()!r}, which libvirt's XML can't carry; take it out"
    )


__all__ = [
    "DomainDisk",
    "DomainFacts",
    "DomainFile",
    "HostFacts",
    "Source",
    "console_log",
    "deleted_name",
    "domain_name",
    "domain_xml",
    "metadata_xml",
    "read_domain",
    "read_metadata",
    "record_element",
]
