# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record as domain XML and back: the law, the hostile texts, and what cloud-init and Nova's users look for in it."""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import (
    HostFacts,
    Source,
    domain_name,
    domain_xml,
    metadata_xml,
    read_domain,
    read_metadata,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.hardware import disks_of, hardware_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
    mac_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import Room
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
SHA = "cd" * 32


def record(
    name: str = "web1",
    *,
    spec: t.Mapping[str, t.Any] | None = None,
    flavor: Flavor | None = None,
    nics: t.Sequence[Nic] = (),
    marks: t.Mapping[str, t.Any] | None = None,
    **properties: str,
) -> Record:
    image = Image("debian", "qcow2", f"sha256:{SHA}", properties=properties)
    hardware = dataclasses.replace(hardware_of(image), machine=properties.get("hw_machine_type", "pc-i440fx-7.2"))
    flavor = flavor or Flavor("m1.small", 2, 512, 10, ephemeral=1, swap=64)
    disks = disks_of(ID, flavor, image, "local", hardware, config_drive=True, image_size=None)
    return Record(ID, name, "fleet", 3, spec or {}, flavor, image, disks, tuple(nics), hardware, marks=marks or {})


def facts(one: Record, virt_type: str = "kvm", **source: str) -> HostFacts:
    sources = {(disk.pool, disk.volume): Source(f"/pools/{disk.pool}/{disk.volume}", **source) for disk in one.disks}
    return HostFacts(virt_type, sources)


def tree(one: Record, virt_type: str = "kvm", existing: str | None = None) -> ET.Element:
    return ET.fromstring(domain_xml(one, facts(one, virt_type), existing=existing))


TEXT = st.text(max_size=60)
SPEC = st.dictionaries(st.sampled_from(["description", "user_data", "tags"]), TEXT) | st.fixed_dictionaries(
    {"metadata": st.dictionaries(TEXT, TEXT, max_size=4)}
)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\ufffe\uffff"), min_size=1
).filter(lambda name: name == name.strip() and name not in (".", "..") and len(name.encode()) <= 200)
NICS = st.lists(
    st.tuples(st.sampled_from(["bridge", "network"]), NAMES, st.none() | st.integers(1280, 9000)), max_size=3
).map(
    lambda ports: [
        Nic(source, kind, source, mac_of(ID, index), mtu=mtu) for index, (kind, source, mtu) in enumerate(ports)
    ]
)
FLAVORS = st.builds(
    Flavor,
    name=NAMES,
    vcpus=st.integers(1, 64),
    ram=st.integers(1, 2**20),
    disk=st.integers(0, 500),
    ephemeral=st.integers(0, 10),
    swap=st.integers(0, 4096),
    extra_specs=st.dictionaries(TEXT, TEXT, max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(name=NAMES, spec=SPEC, nics=NICS, flavor=FLAVORS, bus=st.sampled_from(["virtio", "scsi", "sata", "usb"]))
def test_xml_read_back_gives_the_server_that_made_it(
    name: str, spec: dict[str, t.Any], nics: list[Nic], flavor: Flavor, bus: str
) -> None:
    made = record(name, spec=spec, flavor=flavor, nics=nics, hw_disk_bus=bus)
    host = facts(made)
    found = read_domain(domain_xml(made, host))
    assert found.record_error is None
    assert found.record == Record.loads(made.dumps())
    assert (found.id, found.name, found.vcpus, found.memory) == (made.id, made.name, flavor.vcpus, flavor.ram)
    assert found.macs == tuple(nic.mac for nic in nics)
    assert [(disk.target, disk.device, disk.format) for disk in found.disks] == [
        (disk.target, disk.device, disk.format) for disk in made.disks
    ]
    assert [disk.source for disk in found.disks] == [source.path for source in host.sources.values()]


@settings(max_examples=150, deadline=None)
@given(name=st.text(max_size=300), description=st.text())
def test_any_text_survives_or_is_refused(name: str, description: str) -> None:
    made = record(name, spec={"description": description})
    try:
        xml = domain_xml(made, facts(made))
    except InvalidInput:
        return
    found = read_domain(xml)
    assert found.name == name
    assert found.record is not None
    assert found.record.spec["description"] == description


HOSTILE = [
    'it\'s "quoted" <b> & ]]> <!-- --> <![CDATA[ ]]>',
    "control \x00\x01\x08\x1b\x7f\x85 and line\r\nfeeds\t",
    "\U0001f6a2 four bytes, a lone surrogate \ud800, \ufffe and \uffff",
    "</flotilla:server></metadata><devices/>",
    "$(reboot); `id` | {{ lookup('pipe', 'id') }} %s ../../etc/passwd",
    "x" * 65536,
    "\U0001f6a2" * 16384,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_a_record_survives(text: str) -> None:
    made = record(spec={"description": text, "metadata": {text: text}})
    assert read_domain(domain_xml(made, facts(made))).record == made
    assert read_metadata(metadata_xml(made)) == made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "needs a visible character"),
        ("  ", "needs a visible character"),
        (".", "needs a visible character"),
        ("a/b", "no '/'"),
        (" web1", "begins or ends with a space"),
        ("web\n1", r"has the character '\n'"),
        ("web\x001", r"has the character '\x00'"),
        ("web\ud8001", r"has the character '\ud800'"),
        ("web\uffff", r"has the character '\uffff'"),
        ("w" * 221, "has 221 bytes; at most 220"),
        ("ü" * 111, "has 222 bytes"),
    ],
)
def test_names_that_cannot_be_a_domains_are_refused(name: str, said: str) -> None:
    made = record(name)
    with pytest.raises(InvalidInput) as caught:
        domain_xml(made, facts(made))
    assert said in str(caught.value)


def test_names_that_only_look_bad_are_kept() -> None:
    for name in ("web'1\"<&>]]>", "Zoë \U0001f6a2", "$(reboot)", "-rf"):
        assert tree(record(name)).findtext("name") == name


def test_a_record_that_is_too_long_is_refused() -> None:
    made = record(spec={"description": "x" * 2**20})
    with pytest.raises(InvalidInput, match=r"the record of server 'web1' has \d+ bytes, a host keeps at most 1048576"):
        domain_xml(made, facts(made))


def test_a_source_that_xml_cannot_carry_is_refused() -> None:
    made = record(nics=[Nic("lan", "bridge", "br\x000", mac_of(ID, 0))])
    with pytest.raises(InvalidInput, match="the bridge of network 'lan'"):
        domain_xml(made, facts(made))


def test_cloud_init_knows_its_datasource() -> None:
    entries = {entry.get("name"): entry.text for entry in tree(record()).findall("sysinfo/system/entry")}
    assert entries["product"] == "OpenStack Nova"
    assert entries["serial"] == entries["uuid"] == ID
    assert tree(record()).find("os/smbios[@mode='sysinfo']") is not None


def test_a_softly_deleted_server_gives_up_its_name() -> None:
    deleted = record(marks={"soft_delete": {"at": 1.0}})
    assert domain_name(deleted) == "web1.deleted-0f8fad5b"
    assert read_domain(domain_xml(deleted, facts(deleted))).record == deleted


def test_disks_always_name_their_format() -> None:
    for disk in tree(record()).findall("devices/disk"):
        driver = disk.find("driver")
        assert driver is not None
        assert driver.get("name") == "qemu"
        assert driver.get("type") in ("qcow2", "raw")


def test_the_root_disk_boots_first_and_the_config_drive_is_read_only() -> None:
    devices = tree(record()).findall("devices/disk")
    assert [disk.find("boot") is not None for disk in devices] == [True, False, False, False]
    assert [disk.find("readonly") is not None for disk in devices] == [False, False, False, True]
    assert tree(record()).find("devices/controller[@model='virtio-scsi']") is not None
    assert [disk.findtext("serial") for disk in devices] == ["root", "ephemeral0", "swap", None]


def test_a_block_device_is_no_file() -> None:
    made = record()
    root = ET.fromstring(domain_xml(made, facts(made, kind="block", cache="writeback")))
    disk = root.find("devices/disk")
    assert disk is not None
    assert disk.get("type") == "block"
    assert disk.find("source[@dev]") is not None
    assert disk.find("driver[@cache='writeback']") is not None


def test_windows_gets_its_clock_and_enlightenments_where_they_work() -> None:
    windows = record(os_type="windows")
    assert tree(windows).find("clock[@offset='localtime']") is not None
    assert tree(windows).find("features/hyperv/spinlocks[@retries='8191']") is not None
    assert tree(windows).find("devices/input[@type='tablet']") is not None
    assert tree(windows, "qemu").find("features/hyperv") is None
    assert tree(record()).find("features/hyperv") is None


def test_firmware_that_libvirt_chose_is_kept() -> None:
    uefi = record(hw_firmware_type="uefi", hw_machine_type="q35")
    assert tree(uefi).find("os[@firmware='efi']") is not None
    existing = "<domain><os><loader type='pflash'>/code.fd</loader><nvram>/web1_VARS.fd</nvram></os></domain>"
    kept = tree(uefi, existing=existing)
    assert kept.find("os[@firmware]") is None
    assert kept.findtext("os/loader") == "/code.fd"
    assert kept.findtext("os/nvram") == "/web1_VARS.fd"
    assert tree(record(), existing=existing).find("os/nvram") is None


def test_a_guest_without_an_agent_has_no_channel() -> None:
    assert tree(record()).find("devices/channel/target[@name='org.qemu.guest_agent.0']") is not None
    assert tree(record(hw_qemu_guest_agent="no")).find("devices/channel") is None


def test_a_foreign_domain_is_read_without_a_record() -> None:
    xml = """<domain><name>theirs</name><uuid>1</uuid><memory unit='GiB'>2</memory><vcpu>4</vcpu><devices>
      <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vda'/></disk>
      <disk type='file' device='cdrom'><target dev='hda'/></disk>
      <disk type='network' device='disk'><source protocol='rbd' name='pool/v'/><target dev='vdb'/></disk>
    </devices></domain>"""
    found = read_domain(xml)
    assert (found.record, found.record_error, found.memory, found.vcpus) == (None, None, 2048, 4)
    assert [disk.source for disk in found.disks] == ["p/v", None, "pool/v"]


def test_every_file_that_a_domain_stands_on_is_read() -> None:
    xml = """<domain><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/>
      <backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>
      <mirror type='file'><format type='qcow2'/><source file='/c'/></mirror></disk></devices></domain>"""
    found = read_domain(xml).files
    assert [(file.path, file.format) for file in found] == [("/a", "qcow2"), ("/b", "raw"), ("/c", "qcow2")]


def test_a_record_that_cannot_be_read_says_why() -> None:
    made = record()
    broken = domain_xml(made, facts(made)).replace('"generation":3', '"generations":3')
    found = read_domain(broken)
    assert found.record is None
    assert "generations" in str(found.record_error)


def test_hardware_default_is_the_models() -> None:
    assert hardware_of(Image("i", "raw", "sha256:0")) == Hardware()


# -- a fit


def test_a_server_without_a_fit_is_what_it_was_before_there_were_any() -> None:
    one = record()
    assert "fit" not in one.to_json()
    assert Record.from_json(one.to_json()).fit is None
    root = tree(one)
    assert [root.find(path) for path in ("cputune", "numatune", "memoryBacking", "cpu/numa", "devices/hostdev")] == [
        None
    ] * 5
    assert attributes(root, "vcpu") == {"placement": "static"}


def test_each_vcpu_is_a_socket_whatever_shares_a_core() -> None:
    cells = (FitCell(0, 0, (0, 1), 512, pinning={0: 2, 1: 3}, thread_policy="require"),)
    one = dataclasses.replace(record(flavor=Flavor("pinned", 2, 512, 1)), fit=Fit(cells, emulator_cpus=(2, 3)))
    found = attributes(tree(one), "cpu/topology")
    assert (found["sockets"], found["cores"], found["threads"]) == ("2", "1", "1")
    assert Record.loads(one.dumps()) == one


def attributes(root: ET.Element, path: str) -> dict[str, str]:
    found = root.find(path)
    assert found is not None, path
    return dict(found.attrib)


def test_a_server_that_is_to_grow_has_room_in_its_domain() -> None:
    made = dataclasses.replace(record(), room=Room(8, 4096))
    root = tree(made)
    vcpus, ram = made.flavor.vcpus, made.flavor.ram
    assert attributes(root, "vcpu") == {"placement": "static", "current": str(vcpus)}
    assert (root.findtext("vcpu"), root.findtext("maxMemory"), root.findtext("memory")) == ("8", "4096", str(ram))
    assert attributes(root, "cpu/topology")["sockets"] == "8"
    assert attributes(root, "cpu/numa/cell") == {"id": "0", "cpus": "0-7", "memory": str(ram), "unit": "MiB"}
    assert Tuning.read(root) == Tuning()  # the cell says nothing of where it lies
    full = tree(dataclasses.replace(made, room=Room(vcpus, ram)))
    assert (full.find("maxMemory"), full.find("cpu/numa"), full.findtext("vcpu")) == (None, None, str(vcpus))
