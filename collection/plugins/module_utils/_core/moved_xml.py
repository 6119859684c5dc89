# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A domain's XML as another host shall have it.

Note that this module util is **PRIVATE** to the collection.

Only what the other host calls otherwise is written anew, and where the guest lies on its hardware: all else is what the
guest sees, and libvirt refuses a migration that would change it.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from . import namespace
from .domain_xml import record_element
from .fit import Fit
from .model import Nic, Record
from .tuning import Tuning

_SWTPM = "emulator"
#: Where libvirt's system daemon keeps the variables of firmware (qemuDomainNVRAMPathFormat).
_VARIABLES = "/var/lib/libvirt/qemu/nvram"
_SERVER = f"{{{namespace.URI}}}{namespace.ELEMENT}"


def moved_xml(xml: str, record: Record, paths: t.Mapping[str, str], *, left: Fit | None = None) -> str:
    """*xml*, which libvirt wrote, with the *record*, its disks at their *paths* there (by target), its networks, and
    what the record says that it has of its host's cores and cells. *left*: what it has had of them where it was."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    _set_record(root, record)
    if record.fit is not None or left is not None:
        Tuning.of(record.fit).rewrite(root)
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        source = disk.find("source")
        path = None if target is None else paths.get(target.get("dev", ""))
        if source is not None and path is not None:
            _set_path(disk, source, path)
    nics = {nic.mac: nic for nic in record.nics}
    for interface in root.iterfind("devices/interface"):
        mac = interface.find("mac")
        nic = None if mac is None else nics.get(mac.get("address", ""))
        if nic is not None:
            _set_network(interface, nic)
    return ET.tostring(root, encoding="unicode")


def strangers(xml: str, paths: t.Collection[str]) -> list[str]:
    """What a running domain has that can't move with it: devices of its host, and disks that are none of *paths*."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    found = [f"a host device ({device.get('type')})" for device in root.iterfind("devices/hostdev")]
    found += [f"a port of type {nic.get('type')}" for nic in root.iterfind("devices/interface[@type='hostdev']")]
    found += [f"a shared folder ({_source_of(folder)})" for folder in root.iterfind("devices/filesystem")]
    found += [f"a TPM ({tpm.get('type')})" for tpm in root.iterfind("devices/tpm/backend") if tpm.get("type") != _SWTPM]
    for disk in root.iterfind("devices/disk"):
        source = _source_of(disk)
        if source and source not in paths:
            found.append(f"a disk that is not its own ({source})")
    return found


def unrecorded(xml: str, record: Record) -> list[str]:
    """What a domain has that its *record* doesn't know, and that one defined from the record would not have."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    targets, macs = {disk.target for disk in record.disks}, {nic.mac for nic in record.nics}
    given = () if record.fit is None else record.fit.addresses
    found = []
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        if _source_of(disk) and target is not None and target.get("dev") not in targets:
            found.append(f"a disk that is not its own ({_source_of(disk)})")
    for nic in root.iterfind("devices/interface"):
        mac = nic.find("mac")
        if mac is not None and mac.get("address") not in macs:
            found.append(f"a port that is not its own ({mac.get('address')})")
    found += [f"a host device ({address})" for address in Tuning.read(root).devices if address not in given]
    kinds = [str(device.get("type")) for device in root.iterfind("devices/hostdev")]
    found += [f"a host device ({kind})" for kind in kinds if kind != "pci"]
    found += [f"a shared folder ({_source_of(folder)})" for folder in root.iterfind("devices/filesystem")]
    found += [f"a TPM ({tpm.get('type')})" for tpm in root.iterfind("devices/tpm/backend")]
    return found


def lacking(xml: str, here: str, there: str) -> list[str]:
    """What a running domain stands on beside its disks that the other host doesn't have. *here* and *there* are what
    libvirt says of both (domain capabilities).

    The variables of a UEFI firmware, and the state of an emulated TPM, are sent with the memory.
    """
    root, own, other = (ET.fromstring(text) for text in (xml, here, there))  # noqa: S314 - libvirt wrote them
    found = []
    loader = root.findtext("os/loader")
    # One that libvirt doesn't know here either is not in any list.
    if loader is not None and loader in _values(own, "os/loader") - _values(other, "os/loader"):
        found.append(f"its firmware {loader}")
    emulated = root.find(f"devices/tpm/backend[@type='{_SWTPM}']") is not None
    if emulated and other.find("devices/tpm") is not None:
        backends = _values(other, "devices/tpm[@supported='yes']/enum[@name='backendModel']")
        found += [] if _SWTPM in backends else ["the emulator of its TPM (swtpm)"]
    return found


def variables_of(xml: str) -> str | None:
    """The file with the variables of a domain's firmware; None if it has none."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    nvram = root.find("os/nvram")
    if nvram is None:
        # Before libvirt 9.2 the firmware that it chooses is in the XML of a domain that runs alone; the file has a
        # name of its own all the same, by which it goes when such a domain is undefined.
        chosen = root.find("os[@firmware='efi']") is not None
        return f"{_VARIABLES}/{root.findtext('name')}_VARS.fd" if chosen else None
    source = nvram.find("source")
    return ((nvram.text or "").strip() if source is None else source.get("file")) or None


def has_variables(xml: str) -> bool:
    """Whether a domain has variables of its firmware, in a file or elsewhere."""
    return ET.fromstring(xml).find("os/nvram") is not None  # noqa: S314 - libvirt wrote it


def _values(capabilities: ET.Element, path: str) -> set[str]:
    return {str(value.text) for value in capabilities.iterfind(f"{path}/value")}


def _source_of(device: ET.Element) -> str:
    source = device.find("source")
    if source is None:
        return ""
    return next((str(source.get(key)) for key in ("file", "dev", "dir", "name", "volume") if source.get(key)), "")


def _set_record(root: ET.Element, record: Record) -> None:
    metadata = root.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(root, "metadata")
    for old in metadata.findall(_SERVER):
        metadata.remove(old)
    metadata.append(record_element(record))


def _set_path(disk: ET.Element, source: ET.Element, path: str) -> None:
    key = "dev" if source.get("dev") else "file"
    if source.get(key) == path:
        return
    source.set(key, path)
    # The files under it are the other host's to find.
    for backing in disk.findall("backingStore"):
        disk.remove(backing)


def _set_network(interface: ET.Element, nic: Nic) -> None:
    source = interface.find("source")
    if source is not None and interface.get("type") == nic.kind and source.get(nic.kind) != nic.source:
        for key in list(source.keys()):
            del source.attrib[key]
        source.set(nic.kind, nic.source)


__all__ = ["has_variables", "lacking", "moved_xml", "strangers", "unrecorded", "variables_of"]
