# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux swap area's header, as mkswap(8) writes it.

Note that this module util is **PRIVATE** to the collection.

Nova hands out swap disks formatted. The header is one page, so it goes through libvirt's upload and needs no mkswap,
no loop device and no root on the host.
"""

from __future__ import annotations

import struct
import uuid

PAGE = 4096
_MAGIC = b"SWAPSPACE2"
_LABEL = b"swap"
_LEAST_PAGES = 10  # mkswap's own least


def swap_header(size: int, server_id: str) -> bytes | None:
    """The first page of a swap area of ``size`` bytes, its UUID the server's id; None when too small for one."""
    pages = size // PAGE
    if pages < _LEAST_PAGES:
        return None
    # struct swap_header of linux/swap.h: 1024 bytes for a boot sector, version, last page, bad pages, UUID, label.
    head = bytes(1024) + struct.pack("=III16s16s", 1, min(pages - 1, 0xFFFFFFFF), 0, uuid.UUID(server_id).bytes, _LABEL)
    return head.ljust(PAGE - len(_MAGIC), b"\0") + _MAGIC


__all__ = ["PAGE", "swap_header"]
