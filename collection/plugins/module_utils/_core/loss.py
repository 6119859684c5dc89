# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server loses with its host, or with its root disk, by its record alone.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

from .model import Disk, Record

__all__ = ["data_disks", "foreign_disks", "has_data", "has_tpm", "is_flavored", "loses_root", "unmovable"]

# What a flavor and the config drive say of a server's disks. An adopted server may have others.
_FLAVORED = ("root", "ephemeral", "swap", "config")
# What a config drive has is made anew, and swap space has nothing in it that outlives its guest.
_REMADE = frozenset({"config", "swap"})
_TPM = ("hw_tpm_version", "hw_tpm_model", "hw:tpm_version", "hw:tpm_model")


def is_flavored(disk: Disk) -> bool:
    """Whether a disk is one that a flavor gives a server: only such a one can be made anew."""
    return disk.role.startswith(_FLAVORED)


def has_data(disk: Disk) -> bool:
    """Whether something is on the disk that nothing else has."""
    return disk.role not in _REMADE


def data_disks(record: Record) -> tuple[tuple[str, str | None], ...]:
    """The disks with data that can be lost: their roles, and the ids of their pools, None where that is not known. The
    data lives on if another host has the pool."""
    return tuple((disk.role, disk.pool_id) for disk in record.disks if has_data(disk))


def foreign_disks(record: Record) -> tuple[Disk, ...]:
    """The disks that others have made (of an adopted server, say): Flotilla deletes none of them, ever."""
    return tuple(disk for disk in record.disks if not disk.volume.startswith(record.id))


def loses_root(record: Record) -> str:
    """What a rebuild costs a server whose root disk was never made of an image (Nova: a volume-backed one); empty
    where it was."""
    root = record.root
    if root not in foreign_disks(record):
        return ""
    return (
        f"its root disk {root.volume} in pool {root.pool} was made by others, not of an image: it is left there, and "
        "the server loses it"
    )


def has_tpm(record: Record) -> bool:
    return any(key in record.image.properties or key in record.flavor.extra_specs for key in _TPM)


def unmovable(record: Record) -> str:
    """Why the server can't be built elsewhere at all; empty if it can."""
    if has_tpm(record):
        return "a server with a virtual TPM can't be evacuated: its state is on its host alone"
    return ""
