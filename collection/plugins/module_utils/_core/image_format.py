# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a disk image really is, by the first bytes of its file.

Note that this module util is **PRIVATE** to the collection.

An image is somebody else's file. QEMU believes what its header says: a backing file or an external data file named
there is opened on the host and handed to the guest. So the format is looked at before anything opens the image, must be
the declared one, and nothing that reaches out of the file is let in (the rules of Glance's format inspector).
"""

from __future__ import annotations

import dataclasses
import re
import struct
import typing as t

from .errors import BuildAbort

HEAD_SIZE = 64 * 1024  # what ``inspect`` needs to see of a file, or all of a smaller one
USABLE = ("qcow2", "raw")

# (format, offset, magic bytes), after the probe functions of QEMU's block drivers and the magic database of file(1).
_MAGIC: t.Final = (
    ("qcow2", 0, b"QFI\xfb"),
    ("qed", 0, b"QED\x00"),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vhd", 0, b"conectix"),
    ("vhdx", 0, b"vhdxfile"),
    ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
    ("luks", 0, b"LUKS\xba\xbe"),
    ("parallels", 0, b"WithoutFreeSpace"),
    ("parallels", 0, b"WithouFreSpacExt"),
    ("bochs", 0, b"Bochs Virtual HD Image"),
    ("cloop", 0, b"#!/bin/sh\n#V2.0 Format\n"),
    ("gzip", 0, b"\x1f\x8b"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("bzip2", 0, b"BZh"),
    ("zip", 0, b"PK\x03\x04"),
)
_COMPRESSED: t.Final = ("gzip", "xz", "zstd", "bzip2", "zip")

# A VMDK's text descriptor in a file of its own. QEMU allows comments before the version.
_VMDK_TEXT = re.compile(rb"\A(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t]*(?:#[^\n]*DescriptorFile|version=\d)")
_VMDK_TYPE = re.compile(rb'createType="([^"\x00]{1,64})"')

_QCOW2_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_QCOW2_V3 = struct.Struct(">QQQII")  # follows it: incompatible, compatible, autoclear, refcount order, header length
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What a file is. ``virtual_size`` (bytes) is that of the disk in it, None where the format is none of USABLE.

    ``problems`` are the reasons, each the end of a sentence that begins with "the image", why it can't be used.
    """

    format: str
    virtual_size: int | None
    problems: tuple[str, ...] = ()


def inspect(head: bytes, size: int) -> ImageFacts:
    """The facts of a file of *size* bytes that begins with *head* (HEAD_SIZE of it, or all)."""
    formats = _formats_of(head)
    if not formats:
        return ImageFacts("raw", size, () if size else ("is an empty file",))
    if len(formats) > 1:
        return ImageFacts(formats[0], None, (f"looks like {' and like '.join(formats)} at once",))
    if formats[0] == "qcow2":
        return _inspect_qcow2(head, size)
    return ImageFacts(formats[0], None, (_why_unusable(formats[0], head),))


def check(facts: ImageFacts, *, declared: str, what: str) -> int:
    """The virtual size of an image that may be used as *declared*; else BuildAbort, naming it as *what*."""
    if declared not in USABLE:
        raise BuildAbort(f"{what}: format {declared!r} can't be used; convert the image to one of {', '.join(USABLE)}")
    if facts.format != declared:
        raise BuildAbort(
            f"{what}: declared as {declared!r}, but the file is {facts.format!r}; declare its real format, "
            "or find out who has changed the file"
        )
    if facts.problems or facts.virtual_size is None:
        raise BuildAbort(f"{what}: the image {'; it '.join(facts.problems)}")
    return facts.virtual_size


def rebased(head: bytes, path: str) -> bytes:
    """The first cluster of a qcow2 file that stands on another, standing on *path*. Nothing else in it moves: the name
    lies where it was, and what follows it in its cluster is nobody's."""
    if not head.startswith(b"QFI\xfb") or len(head) < _QCOW2_V2.size:
        raise BuildAbort("a disk that should stand on an image is no qcow2")
    offset, length = struct.unpack_from(">QI", head, 8)
    name = path.encode("utf-8", "surrogateescape")
    if head[offset : offset + length] == name:
        return head
    if not offset or offset + len(name) > len(head) or len(name) > 1023:
        raise BuildAbort(f"a disk can't be made to stand on {path!r}: its header has no room for that name")
    changed = bytearray(head)
    changed[offset : offset + max(length, len(name))] = name.ljust(length, b"\0")
    struct.pack_into(">I", changed, 16, len(name))
    return bytes(changed)


def _formats_of(head: bytes) -> list[str]:
    found = dict.fromkeys(name for name, offset, magic in _MAGIC if head.startswith(magic, offset))
    if _VMDK_TEXT.match(head[:4096]):
        found["vmdk"] = None
    return list(found)


def _inspect_qcow2(head: bytes, size: int) -> ImageFacts:
    if len(head) < _QCOW2_V2.size:
        return ImageFacts("qcow2", None, ("ends within its qcow2 header",))
    fields = _QCOW2_V2.unpack_from(head)
    version, backing_offset, backing_size, cluster_bits, virtual_size, encryption = fields[1:7]
    l1_offset, refcount_offset = fields[8:10]
    if version not in (2, 3):
        return ImageFacts("qcow2", None, (f"has qcow version {version}; versions 2 and 3 can be used",))
    problems: list[str] = []
    if backing_offset or backing_size:
        problems.append("has a backing file; flatten it with qemu-img convert")
    if encryption:
        problems.append("is encrypted")
    if not 9 <= cluster_bits <= 21:
        problems.append(f"has clusters of 2^{cluster_bits} bytes; QEMU knows 2^9 to 2^21")
    if not 0 < virtual_size < 1 << 63:
        problems.append(f"has a disk of {virtual_size} bytes")
    if max(l1_offset, refcount_offset) > size:
        problems.append("is cut off: its tables lie behind its end")
    if version == 3:
        problems += _qcow2_v3_problems(head)
    return ImageFacts("qcow2", virtual_size, tuple(problems))


def _qcow2_v3_problems(head: bytes) -> list[str]:
    if len(head) < _QCOW2_V2.size + _QCOW2_V3.size:
        return ["ends within its qcow2 header"]
    incompatible, _compatible, _autoclear, _refcount_order, header_length = _QCOW2_V3.unpack_from(head, _QCOW2_V2.size)
    problems = []
    if header_length < _QCOW2_V2.size + _QCOW2_V3.size or header_length % 8:
        problems.append(f"has a qcow2 header of {header_length} bytes")
    if incompatible & _DATA_FILE:
        problems.append("keeps its data in an external file; flatten it with qemu-img convert")
    if incompatible & _CORRUPT:
        problems.append("is marked as corrupt; mend it with qemu-img check -r all")
    if incompatible & ~_KNOWN:
        problems.append(f"has incompatible features that are not known (0x{incompatible & ~_KNOWN:x})")
    return problems


def _why_unusable(name: str, head: bytes) -> str:
    if name in _COMPRESSED:
        return f"is packed with {name}; unpack it and give the checksum of what was in it"
    if name != "vmdk":
        return f"is {name}; convert it with qemu-img convert -O qcow2"
    kind = _VMDK_TYPE.search(head)
    if kind and kind.group(1) == b"monolithicSparse":
        return "is vmdk; convert it with qemu-img convert -O qcow2"
    found = repr(kind.group(1).decode("ascii", "replace")) if kind else "unknown type"
    return (
        f"is vmdk of {found}, which may name other files of the host; only its maker can say if it is safe to convert"
    )


__all__ = ["HEAD_SIZE", "USABLE", "ImageFacts", "check", "inspect", "rebased"]
