# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import check, inspect, rebased

GIB = 1024**3
SIZE = 200_000


def qcow2(
    *,
    version: int = 3,
    backing: int = 0,
    backing_size: int = 0,
    cluster_bits: int = 16,
    virtual: int = GIB,
    encryption: int = 0,
    l1_offset: int = 0x30000,
    incompatible: int = 0,
    header_length: int = 104,
) -> bytes:
    head = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", version, backing, backing_size, cluster_bits, virtual, encryption),
        *(16, l1_offset, 0x10000, 1, 0, 0),
    )
    if version == 3:
        head += struct.pack(">QQQII", incompatible, 0, 0, 4, header_length)
    return head.ljust(512, b"\x00")


@pytest.mark.parametrize("version", [2, 3])
def test_a_plain_qcow2_is_used_with_the_size_of_its_disk(version: int) -> None:
    facts = inspect(qcow2(version=version), SIZE)
    assert (facts.format, facts.virtual_size, facts.problems) == ("qcow2", GIB, ())
    assert check(facts, declared="qcow2", what="image 'x'") == GIB


@pytest.mark.parametrize("incompatible", [0b00001, 0b01000, 0b10000], ids=["dirty", "compression", "extended L2"])
def test_known_features_of_qcow2_are_let_in(incompatible: int) -> None:
    assert inspect(qcow2(incompatible=incompatible), SIZE).problems == ()


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (qcow2(backing=0x200, backing_size=11), "backing file"),
        (qcow2(version=2, backing=0x200, backing_size=11), "backing file"),
        (qcow2(backing_size=11), "backing file"),
        (qcow2(incompatible=0b100), "external file"),
        (qcow2(incompatible=0b10), "corrupt"),
        (qcow2(incompatible=1 << 5), "not known (0x20)"),
        (qcow2(incompatible=1 << 63), "not known"),
        (qcow2(encryption=2), "encrypted"),
        (qcow2(cluster_bits=64), "clusters of 2^64"),
        (qcow2(virtual=0), "disk of 0 bytes"),
        (qcow2(virtual=1 << 63), "disk of"),
        (qcow2(header_length=72), "header of 72 bytes"),
        (qcow2(header_length=105), "header of 105 bytes"),
        (qcow2(l1_offset=1 << 40), "cut off"),
        (qcow2(version=1), "qcow version 1"),
        (qcow2(version=4), "qcow version 4"),
        (qcow2()[:60], "ends within its qcow2 header"),
        (qcow2()[:90], "ends within its qcow2 header"),
        (b"QFI\xfb", "ends within its qcow2 header"),
        (qcow2()[:0x40] + b"\x7f\x10\xda\xbe" + qcow2()[0x44:], "qcow2 and like vdi at once"),
    ],
)
def test_a_hostile_or_broken_qcow2_is_refused_with_its_reason(head: bytes, problem: str) -> None:
    facts = inspect(head, SIZE)
    assert facts.format == "qcow2"
    with pytest.raises(InvalidInput, match="image 'x': the image ") as refusal:
        check(facts, declared="qcow2", what="image 'x'")
    assert problem in str(refusal.value)


def test_a_second_problem_is_named_too() -> None:
    facts = inspect(qcow2(encryption=1, incompatible=0b100), SIZE)
    assert len(facts.problems) == 2


BOOT_SECTOR = b"\xeb\x63\x90".ljust(510, b"\x00") + b"\x55\xaa"
GPT = BOOT_SECTOR + b"EFI PART".ljust(512, b"\x00")
ISO = b"".ljust(32768, b"\x00") + b"\x01CD001\x01"


@pytest.mark.parametrize(
    "head", [BOOT_SECTOR, GPT, ISO, b"\x00" * 4096, b"x"], ids=["mbr", "gpt", "iso", "zeros", "byte"]
)
def test_disks_and_discs_are_raw(head: bytes) -> None:
    assert check(inspect(head, len(head)), declared="raw", what="image 'x'") == len(head)


def test_an_empty_file_is_no_image() -> None:
    with pytest.raises(InvalidInput, match="is an empty file"):
        check(inspect(b"", 0), declared="raw", what="image 'x'")


VMDK_SPARSE = b"KDMV".ljust(512, b"\x00") + b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicSparse"\n'
VMDK_FLAT = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 63 FLAT "/etc/shadow" 0\n'


@pytest.mark.parametrize(
    ("head", "seen"),
    [
        (qcow2(), "qcow2"),
        (VMDK_SPARSE, "vmdk"),
        (VMDK_FLAT, "vmdk"),
        (b"# a comment first\n\n" + VMDK_FLAT, "vmdk"),
        (b"version=2\n" + VMDK_FLAT, "vmdk"),
        (b"COWD", "vmdk"),
        (b"conectix", "vhd"),
        (b"vhdxfile", "vhdx"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(0x40, b"\x00") + b"\x7f\x10\xda\xbe", "vdi"),
        (b"QED\x00", "qed"),
        (b"LUKS\xba\xbe\x00\x02", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\x00", "xz"),
    ],
)
def test_another_format_declared_as_raw_is_refused(head: bytes, seen: str) -> None:
    facts = inspect(head, SIZE)
    assert facts.format == seen
    with pytest.raises(InvalidInput, match=f"image 'x': declared as 'raw', but the file is '{seen}'"):
        check(facts, declared="raw", what="image 'x'")


@pytest.mark.parametrize("declared", ["vmdk", "vdi", "iso", ""])
def test_only_qcow2_and_raw_can_be_declared(declared: str) -> None:
    with pytest.raises(InvalidInput, match="convert the image to one of qcow2, raw"):
        check(inspect(VMDK_SPARSE, SIZE), declared=declared, what="image 'x'")


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (VMDK_SPARSE, "is vmdk; convert it"),
        (VMDK_FLAT, "'monolithicFlat', which may name other files of the host"),
        (b"KDMV", "unknown type, which may name other files"),
        (b"\x1f\x8b", "packed with gzip"),
    ],
)
def test_why_another_format_is_refused(head: bytes, why: str) -> None:
    assert why in inspect(head, SIZE).problems[0]


@given(st.binary(max_size=600), st.integers(min_value=0))
def test_any_bytes_have_facts(head: bytes, size: int) -> None:
    facts = inspect(head, size)
    assert facts.problems or facts.virtual_size is not None


@given(st.binary(min_size=100, max_size=200), st.sampled_from([2, 3]))
def test_any_qcow2_header_has_facts(rest: bytes, version: int) -> None:
    facts = inspect(b"QFI\xfb" + struct.pack(">I", version) + rest, SIZE)
    assert facts.format == "qcow2"


@given(st.sampled_from([b"QFI\xfb", b"QED\x00", b"KDMV", b"COWD", b"conectix", b"vhdxfile"]), st.binary(max_size=300))
def test_nothing_that_qemu_would_open_as_another_format_is_used_as_raw(magic: bytes, rest: bytes) -> None:
    with pytest.raises(InvalidInput):
        check(inspect(magic + rest, SIZE), declared="raw", what="image 'x'")


@pytest.mark.parametrize(("old", "new"), [("/a/base", "/pool/of/another/host/base"), ("/pool/of/one/base", "/b")])
def test_an_overlay_is_put_on_the_base_of_another_host(old: str, new: str) -> None:
    head = bytearray(qcow2(backing=200, backing_size=len(old)))
    head[200 : 200 + len(old)] = old.encode()
    changed = rebased(bytes(head), new)
    offset, length = struct.unpack_from(">QI", changed, 8)
    assert changed[offset : offset + length] == new.encode()
    assert (len(changed), changed[20:200]) == (len(head), bytes(head[20:200]))
    assert rebased(changed, new) == changed
    assert not any(changed[offset + length :])


def test_what_can_t_be_put_on_another_base_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is no qcow2"):
        rebased(b"plain" * 100, "/base")
    with pytest.raises(InvalidInput, match="has no room"):
        rebased(qcow2(), "/base")
    with pytest.raises(InvalidInput, match="has no room"):
        rebased(qcow2(backing=200, backing_size=5), "/" + "x" * 400)
