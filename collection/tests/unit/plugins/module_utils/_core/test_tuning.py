# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server's fit as domain XML, and any domain's XML read back: what is written is what is found."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    MIXED,
    TYPE_VF,
    Fit,
    FitCell,
    FittedDevice,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Node, Tuning

NIC = FittedDevice("nic", PciDevice("0000:3b:02.7", "8086", "154c", TYPE_VF, numa_node=1, parent="0000:3b:00.0"))
GPU = FittedDevice("gpu", PciDevice("0001:af:00.0", "10de", "1eb8"))
#: Two cells of the guest on two of the host: the first with cores of its own, the second with one and one that floats.
TWO = Fit(
    cells=(
        FitCell(0, 1, (0, 1), 1024, page_size=2048, pinning={0: 9, 1: 11}, cpu_policy=DEDICATED),
        FitCell(1, 0, (2, 3), 512, page_size=2048, pinning={2: 3}, cpus=(0, 1), cpu_policy=MIXED),
    ),
    emulator_cpus=(0, 1, 3, 9, 11),
    pci=(NIC, GPU),
)


def written(tuning: Tuning) -> ET.Element:
    root = ET.fromstring("<domain><vcpu>4</vcpu><cpu/><devices/></domain>")
    tuning.write(root)
    devices = root.find("devices")
    assert devices is not None
    tuning.write_devices(devices)
    return root


def text(root: ET.Element, path: str) -> str:
    found = root.find(path)
    assert found is not None, path
    return ET.tostring(found, encoding="unicode")


def test_a_pinned_guest_is_what_novas_driver_makes() -> None:
    root = written(Tuning.of(TWO))
    assert text(root, "vcpu") == "<vcpu>4</vcpu>"
    assert text(root, "cputune") == (
        '<cputune><vcpupin vcpu="0" cpuset="9" /><vcpupin vcpu="1" cpuset="11" /><vcpupin vcpu="2" cpuset="3" />'
        '<vcpupin vcpu="3" cpuset="0-1" /><emulatorpin cpuset="0-1,3,9,11" /></cputune>'
    )
    assert text(root, "numatune") == (
        '<numatune><memory mode="strict" nodeset="0-1" /><memnode cellid="0" mode="strict" nodeset="1" />'
        '<memnode cellid="1" mode="strict" nodeset="0" /></numatune>'
    )
    assert text(root, "cpu/numa") == (
        '<numa><cell id="0" cpus="0-1" memory="1024" unit="MiB" memAccess="shared" />'
        '<cell id="1" cpus="2-3" memory="512" unit="MiB" memAccess="shared" /></numa>'
    )
    assert text(root, "memoryBacking") == (
        '<memoryBacking><hugepages><page size="2048" unit="KiB" nodeset="0" />'
        '<page size="2048" unit="KiB" nodeset="1" /></hugepages></memoryBacking>'
    )
    assert text(root, "devices") == (
        '<devices><hostdev mode="subsystem" type="pci" managed="yes"><source>'
        '<address domain="0x0000" bus="0x3b" slot="0x02" function="0x7" /></source></hostdev>'
        '<hostdev mode="subsystem" type="pci" managed="yes"><source>'
        '<address domain="0x0001" bus="0xaf" slot="0x00" function="0x0" /></source></hostdev></devices>'
    )


def test_ordinary_pages_need_no_backing_and_no_shared_access() -> None:
    cell = FitCell(0, 0, (0,), 256, page_size=4, cpus=(0, 1))
    root = written(Tuning.of(Fit((cell,), emulator_cpus=(0, 1))))
    assert root.find("memoryBacking") is None
    assert text(root, "cpu/numa") == '<numa><cell id="0" cpus="0" memory="256" unit="MiB" /></numa>'


def test_a_guest_without_a_topology_floats_on_the_shared_cpus() -> None:
    root = written(Tuning.of(Fit(cpus=(0, 1, 2, 5))))
    assert text(root, "vcpu") == '<vcpu cpuset="0-2,5">4</vcpu>'
    assert [child.tag for child in root] == ["vcpu", "cpu", "devices"]


@pytest.mark.parametrize("fit", [None, Fit()])
def test_a_guest_that_asked_for_nothing_is_written_as_before(fit: Fit | None) -> None:
    plain = "<domain><vcpu>4</vcpu><cpu /><devices /></domain>"
    assert ET.tostring(written(Tuning.of(fit)), encoding="unicode") == plain
    assert Tuning.read(ET.fromstring(plain)) == Tuning() == Tuning.of(fit)


CPUS = st.sets(st.integers(0, 200), min_size=1, max_size=6).map(lambda cpus: tuple(sorted(cpus)))


@st.composite
def fits(draw: st.DrawFn) -> Fit:
    cells = []
    first = 0
    for number in range(draw(st.integers(1, 4))):
        vcpus = tuple(range(first, first + draw(st.integers(1, 4))))
        first += len(vcpus)
        own = {vcpu: draw(st.integers(0, 200)) for vcpu in vcpus if draw(st.booleans())}
        size = draw(st.sampled_from([None, 4, 2048, 1024**2]))
        cells.append(FitCell(number, draw(st.integers(0, 7)), vcpus, draw(st.integers(1, 9000)), size, own, draw(CPUS)))
    addresses = draw(st.sets(st.integers(0, 2**16 - 1), max_size=3))
    devices = [f"0000:{a >> 8:02x}:{a >> 3 & 31:02x}.{a & 7:x}" for a in sorted(addresses)]
    return Fit(tuple(cells), None, draw(CPUS), tuple(FittedDevice("a", PciDevice(a, "10de", "1eb8")) for a in devices))


@given(fits())
def test_what_is_written_is_read_back(fit: Fit) -> None:
    tuning = Tuning.of(fit)
    assert Tuning.read(written(tuning)) == tuning
    assert Tuning.from_json(json.loads(json.dumps(tuning.to_json()))) == tuning


@given(fits())
def test_every_vcpu_is_pinned_and_those_with_a_core_of_their_own_to_it_alone(fit: Fit) -> None:
    pins = Tuning.of(fit).pins
    assert set(pins) == {vcpu for cell in fit.cells for vcpu in cell.vcpus}
    for cell in fit.cells:
        for vcpu in cell.vcpus:
            assert pins[vcpu] == ((cell.pinning[vcpu],) if vcpu in cell.pinning else cell.cpus)


BY_HAND = """<domain><vcpu placement="static" cpuset="4-7">2</vcpu>
    <cputune><shares>2048</shares><vcpupin vcpu="1" cpuset="5" /><emulatorpin cpuset="4" /></cputune>
    <numatune><memory mode="strict" nodeset="3" /></numatune><cpu /><devices /></domain>"""


@given(fits(), fits())
def test_a_guest_that_goes_on_running_elsewhere_lies_there_as_it_is_given_and_sees_what_it_saw(
    before: Fit, after: Fit
) -> None:
    had, gets = Tuning.of(before), Tuning.of(after)
    root = written(had)
    gets.rewrite(root)
    found = Tuning.read(root)
    assert (found.places, found.cpuset) == (gets.places, gets.cpuset)
    assert (found.shape, found.devices) == (had.shape, had.devices)
    assert [node.cells for node in found.nodes] == [
        gets.nodes[number].cells
        if number < len(gets.nodes)
        else tuple(sorted({c for n in gets.nodes for c in n.cells}))
        for number in range(len(had.nodes))
    ]


@given(fits())
def test_to_be_given_what_one_has_changes_nothing(fit: Fit) -> None:
    root = written(Tuning.of(fit))
    before = ET.tostring(root, encoding="unicode")
    Tuning.of(fit).rewrite(root)
    assert Tuning.read(root) == Tuning.read(ET.fromstring(before)) == Tuning.of(fit)


def test_one_that_floats_elsewhere_keeps_what_others_have_tuned() -> None:
    root = ET.fromstring(BY_HAND)
    Tuning.of(Fit(cpus=(0, 1))).rewrite(root)
    assert text(root, "vcpu").strip() == '<vcpu placement="static" cpuset="0-1">2</vcpu>'
    assert ET.canonicalize(text(root, "cputune")) == ET.canonicalize(text(ET.fromstring(BY_HAND), "cputune"))
    Tuning().rewrite(root)
    assert text(root, "vcpu").strip() == '<vcpu placement="static">2</vcpu>'


def test_one_with_cells_keeps_its_shares_and_no_pin_of_before() -> None:
    root = ET.fromstring(BY_HAND)
    Tuning.of(Fit((FitCell(0, 1, (0,), 256, pinning={0: 9}),), emulator_cpus=(9,))).rewrite(root)
    assert ET.canonicalize(text(root, "cputune"), strip_text=True) == ET.canonicalize(
        '<cputune><shares>2048</shares><vcpupin vcpu="0" cpuset="9" /><emulatorpin cpuset="9" /></cputune>'
    )
    assert [element.get("nodeset") for element in root.iterfind("numatune/*")] == ["1", "1"]


def test_what_a_guest_takes_of_huge_pages_and_how_its_shape_reads() -> None:
    tuning = Tuning.of(TWO)
    assert tuning.huge_pages == {(1, 2048): 512, (0, 2048): 256}
    assert (
        tuning.shape_text == "vCPU 0-1 with 1024 MiB in pages of 2048 KiB; vCPU 2-3 with 512 MiB in pages of 2048 KiB"
    )
    assert Tuning().shape_text == "none"
    assert tuning.cpus == frozenset({0, 1, 3, 9, 11})


def test_what_others_write_is_read_too() -> None:
    root = ET.fromstring(
        """<domain><vcpu placement='static' cpuset='4-7,^6'>2</vcpu>
        <memoryBacking><hugepages>
          <page size='1' unit='GiB'/><page size='2' unit='M' nodeset='1'/>
        </hugepages></memoryBacking>
        <cputune><shares>2048</shares><vcpupin vcpu='1' cpuset='5'/></cputune>
        <numatune><memory mode='preferred' nodeset='1'/></numatune>
        <cpu><numa><cell id='0' cpus='0' memory='1048576'/><cell id='1' cpus='1' memory='512' unit='MiB'/></numa></cpu>
        <devices>
          <interface type='hostdev' managed='yes'><mac address='52:54:00:6d:90:02'/>
            <source><address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x1'/></source></interface>
          <hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/></source></hostdev>
        </devices></domain>"""
    )
    assert Tuning.read(root) == Tuning(
        cpuset=(4, 5, 7),
        pins={1: (5,)},
        nodes=(Node((0,), 1024, (1,), 1024**2), Node((1,), 512, (1,), 2048)),
        devices=("0000:00:07.1",),
    )


def test_huge_pages_of_no_said_size_are_the_hosts_default_ones() -> None:
    cell = "<cpu><numa><cell id='0' cpus='0' memory='1024'/></numa></cpu>"
    root = ET.fromstring(f"<domain><memoryBacking><hugepages/></memoryBacking>{cell}</domain>")
    assert [node.page_size for node in Tuning.read(root).nodes] == [2048]


def test_an_address_that_is_none_is_refused() -> None:
    device = dataclasses.replace(GPU, device=dataclasses.replace(GPU.device, address="3b:00.0' bus='1"))
    with pytest.raises(InvalidInput, match=r"it should be as 0000:03:00\.0"):
        written(Tuning.of(Fit(pci=(device,))))
