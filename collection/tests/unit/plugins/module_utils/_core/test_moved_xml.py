# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A domain's XML for another host, and what can't go there with it."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import (
    HostFacts,
    Source,
    domain_xml,
    read_domain,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    Fit,
    FitCell,
    FittedDevice,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End, Move, marked, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import (
    has_variables,
    lacking,
    moved_xml,
    strangers,
    unrecorded,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning

ROOT = Disk("root", "local", "s-root", "qcow2", 1, "vda", "virtio", backing="image-0")
SWAP = Disk("swap", "local", "s-swap", "raw", 1, "vdb", "virtio")
NIC = Nic("lan", "bridge", "br0", "52:54:00:00:00:01")
RECORD = Record(
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "web1",
    "f1",
    4,
    {},
    Flavor("f", 1, 128, 1),
    Image("i", "qcow2", "sha256:0"),
    (ROOT, SWAP),
    (NIC,),
    Hardware(machine="pc"),
)
SOURCES = {("local", "s-root"): Source("/a/s-root"), ("local", "s-swap"): Source("/a/s-swap")}
XML = domain_xml(RECORD, HostFacts("qemu", SOURCES))


def test_record_disks_and_networks_are_the_destination_s() -> None:
    target = dataclasses.replace(RECORD, generation=5, nics=(dataclasses.replace(NIC, source="br-lan"),))
    moved = moved_xml(XML, target, {"vda": "/b/s-root", "vdb": "/a/s-swap"})
    facts = read_domain(moved)
    assert facts.record == target
    assert [disk.source for disk in facts.disks] == ["/b/s-root", "/a/s-swap"]
    source = ET.fromstring(moved).find("devices/interface/source")
    assert source is not None
    assert source.attrib == {"bridge": "br-lan"}


def test_all_else_stays() -> None:
    moved = moved_xml(XML, RECORD, {})
    assert ET.canonicalize(moved) == ET.canonicalize(XML)


def test_its_cores_are_those_that_its_record_says_it_has_there() -> None:
    """In the domain that runs as in the one that is defined; one that had none, and gets none, is left alone."""
    fits = [
        Fit((FitCell(0, cell, (0,), 128, pinning={0: core}),), emulator_cpus=(core,)) for cell, core in ((0, 1), (1, 5))
    ]
    here, there = (dataclasses.replace(RECORD, fit=fit) for fit in fits)
    moved = moved_xml(domain_xml(here, HostFacts("qemu", SOURCES)), there, {}, left=here.fit)
    assert Tuning.read(ET.fromstring(moved)) == Tuning.of(there.fit)
    assert read_domain(moved).record == there
    pinned = XML.replace("</vcpu>", '</vcpu><cputune><vcpupin vcpu="0" cpuset="3" /></cputune>')
    assert Tuning.read(ET.fromstring(moved_xml(pinned, RECORD, {}))).pins == {0: (3,)}
    floating = moved_xml(XML, dataclasses.replace(RECORD, fit=Fit(cpus=(2, 3))), {})
    assert Tuning.read(ET.fromstring(floating)).cpuset == (2, 3)
    assert Tuning.read(ET.fromstring(moved_xml(floating, RECORD, {}, left=Fit(cpus=(2, 3))))) == Tuning()


def test_the_files_under_a_disk_are_the_other_host_s_to_find() -> None:
    root = ET.fromstring(XML)
    for element in root.iterfind("devices/disk"):
        ET.SubElement(ET.SubElement(element, "backingStore", type="file"), "source", file="/a/image-0")
    moved = ET.fromstring(moved_xml(ET.tostring(root, encoding="unicode"), RECORD, {"vda": "/b/s-root"}))
    assert [disk.find("backingStore") is None for disk in moved.iterfind("devices/disk")] == [True, False]


def test_what_cannot_move() -> None:
    paths = ["/a/s-root", "/a/s-swap"]
    assert strangers(XML, paths) == []
    root = ET.fromstring(XML)
    devices = root.find("devices")
    assert devices is not None
    ET.SubElement(devices, "hostdev", type="pci")
    ET.SubElement(ET.SubElement(devices, "filesystem"), "source", dir="/srv")
    ET.SubElement(ET.SubElement(devices, "disk", device="cdrom"), "source", file="/root/cd.iso")
    ET.SubElement(devices, "disk", device="cdrom")  # empty
    assert strangers(ET.tostring(root, encoding="unicode"), paths) == [
        "a host device (pci)",
        "a shared folder (/srv)",
        "a disk that is not its own (/root/cd.iso)",
    ]


def capabilities(loaders: tuple[str, ...] = (), tpm: str | None = None) -> str:
    """What libvirt says a host can do, as far as it matters here; tpm None: a libvirt that says nothing of it."""
    values = "".join(f"<value>{loader}</value>" for loader in loaders)
    said = f"<tpm supported='yes'><enum name='backendModel'>{tpm}</enum></tpm>" if tpm is not None else ""
    return f"<domainCapabilities><os><loader>{values}</loader></os><devices>{said}</devices></domainCapabilities>"


def test_what_a_guest_stands_on_is_there_or_named() -> None:
    root = ET.fromstring(XML)
    os, devices = root.find("os"), root.find("devices")
    assert os is not None
    assert devices is not None
    ET.SubElement(os, "loader").text = "/fw/4M.fd"
    backend = ET.SubElement(ET.SubElement(devices, "tpm"), "backend", type="emulator")
    xml, swtpm = ET.tostring(root, encoding="unicode"), "<value>emulator</value>"
    both = capabilities(("/fw/4M.fd", "/fw/2M.fd"), swtpm)
    assert lacking(xml, both, both) == []
    assert lacking(xml, both, capabilities(("/fw/2M.fd",), "")) == [
        "its firmware /fw/4M.fd",
        "the emulator of its TPM (swtpm)",
    ]
    # A firmware that only its own XML knows, and a libvirt that says nothing of TPMs: the migration itself tells.
    assert lacking(xml, capabilities(()), capabilities(())) == []
    assert lacking(XML, both, capabilities(())) == []
    assert strangers(xml, ["/a/s-root", "/a/s-swap"]) == []
    backend.set("type", "passthrough")
    assert strangers(ET.tostring(root, encoding="unicode"), ["/a/s-root", "/a/s-swap"]) == ["a TPM (passthrough)"]


def test_variables_of_firmware_are_a_file_of_its_own() -> None:
    root = ET.fromstring(XML)
    assert not has_variables(XML)
    os = root.find("os")
    assert os is not None
    ET.SubElement(os, "nvram").text = "/var/lib/libvirt/qemu/nvram/web1_VARS.fd"
    assert has_variables(ET.tostring(root, encoding="unicode"))


def test_mark_of_a_move() -> None:
    move = Move("m1", "source", End("kvm2", "qemu+tls://kvm2/system", "h2", "kvm2"), (ROOT,))
    there = marked(dataclasses.replace(RECORD, marks={"lock": {"by": "me"}}), move)
    assert move_of(Record.loads(there.dumps())) == move
    assert marked(there, None).marks == {"lock": {"by": "me"}}


def test_what_its_record_does_not_know_would_be_lost_with_its_old_domain() -> None:
    fitted = dataclasses.replace(RECORD, fit=Fit(pci=(FittedDevice("gpu", PciDevice("0000:3b:00.0", "10de", "1eb8")),)))
    own = domain_xml(fitted, HostFacts("qemu", SOURCES))
    assert (unrecorded(XML, RECORD), unrecorded(own, fitted)) == ([], [])
    assert unrecorded(own, RECORD) == ["a host device (0000:3b:00.0)"]
    root = ET.fromstring(XML)
    for more in (
        "<disk type='file' device='disk'><source file='/a/more'/><target dev='vdc'/></disk>",
        "<disk type='file' device='cdrom'><target dev='sda'/></disk>",
        "<interface type='network'><mac address='52:54:00:00:00:02'/><source network='default'/></interface>",
        "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/></source></hostdev>",
        "<filesystem type='mount'><source dir='/srv/data'/><target dir='data'/></filesystem>",
        "<tpm model='tpm-tis'><backend type='emulator'/></tpm>",
    ):
        root.find("devices").append(ET.fromstring(more))  # type: ignore[union-attr]
    assert unrecorded(ET.tostring(root, encoding="unicode"), RECORD) == [
        "a disk that is not its own (/a/more)",
        "a port that is not its own (52:54:00:00:00:02)",
        "a host device (usb)",
        "a shared folder (/srv/data)",
        "a TPM (emulator)",
    ]
