# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's storage pools as a survey tells them: size, marker, what they can, and Flotilla's volumes in them.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Pool,
    Volume,
    found,
    is_error,
    libvirt,
    message_of,
)

MARKER = "flotilla-pool-"
#: What a pool is called that stands for a folder of files as long as somebody looks into it (host_files).
PASSING = "flotilla-folder-"
#: What a test file is called that is made at one host and looked for at another.
PROBE = "flotilla-probe-"

_FILES = ("clone", "create", "download", "overlay", "resize", "snapshot", "upload")
#: What can be done in a pool of each type, through libvirt. ``create``: volumes can be made at all; ``upload`` and
#: ``download``: filled and read as a stream; ``clone``: a volume copied within; ``overlay``: a qcow2 that stands on
#: another; ``snapshot``: within a qcow2; ``resize``: grown. Types that are not here hold disks that others have made.
CAPABILITIES: dict[str, tuple[str, ...]] = {
    "dir": _FILES,
    "fs": _FILES,
    "netfs": _FILES,
    "vstorage": _FILES,
    "gluster": ("download", "overlay", "upload"),
    "logical": ("clone", "create", "download", "upload"),
    "rbd": ("clone", "create", "resize"),  # its driver has neither stream
    "zfs": ("create", "download", "upload"),
}

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = re.compile(rf"{_UUID}-[a-z][a-z0-9_-]*|image-[0-9a-f]{{64}}(?:\.ok)?|(?:{MARKER}|snapshot-){_UUID}")
#: What a server's disks take is told apart from what else is in a pool; its drive and record are too small to matter.
_MEASURED = re.compile(rf"{_UUID}-(?!(?:config|record)$).+")
#: What st_blocks counts in, whatever the file system's own are.
_BLOCK = 512
_MARKED = re.compile(rf"{MARKER}({_UUID})")

Facts = dict[str, t.Any]


def pools(conn: Connection) -> dict[str, Facts]:
    """Every pool of the host by name, each looked at afresh: another host may have changed a shared one."""
    return {pool.name(): facts for pool in listed(conn) if (facts := found(pool_facts, pool)) is not None}


def listed(conn: Connection, *, active: bool = False) -> list[Pool]:
    """The host's pools; a folder that somebody only looks into is none."""
    flags = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE if active else 0
    return [pool for pool in conn.listAllStoragePools(flags) if not pool.name().startswith(PASSING)]


def pool_facts(pool: Pool) -> Facts:
    """One pool; that it is not active is a fact, with the reason where there is one."""
    error = refresh(pool)
    volumes = _volumes(pool)
    active = volumes is not None
    volumes = volumes or {}
    root = ET.fromstring(pool.XMLDesc(0))  # noqa: S314 - libvirt wrote it
    marked = markers(volumes)
    facts: Facts = {
        "id": marked[0] if marked else None,
        "markers": marked,
        "uuid": pool.UUIDString(),
        "type": root.get("type", ""),
        "path": root.findtext("target/path"),
        "active": active,
        **{key: int(root.findtext(key, "0")) for key in ("capacity", "allocation", "available")},
        "capabilities": list(CAPABILITIES.get(root.get("type", ""), ())),
        "volumes": _ours(volumes, _folder(root)),
        "volumes_total": len(volumes),
    }
    if not active:
        facts["error"] = error or "it is not active"
    return facts


def refresh(pool: Pool) -> str | None:
    """Have libvirt look into the pool again; what it says when it can't.

    Libvirt stops a pool that it fails to read. One that stays active was only busy (a volume is being filled): what is
    known of it is good enough.
    """
    try:
        if pool.isActive():
            pool.refresh(0)
    except libvirt.libvirtError as exc:
        return message_of(exc)
    return None


def locations(pools_facts: t.Mapping[str, Facts], conn: Connection) -> dict[str, str]:
    """Where a disk can lie -> the pool's name (guest_xml.Locations)."""
    by_path = {facts["path"].rstrip("/"): name for name, facts in pools_facts.items() if facts["path"]}
    for name in (name for name, facts in pools_facts.items() if facts["type"] == "rbd"):
        source = ET.fromstring(conn.storagePoolLookupByName(name).XMLDesc(0)).findtext("source/name")  # noqa: S314
        by_path[f"rbd:{source}"] = name
    return by_path


def markers(names: t.Iterable[str]) -> list[str]:
    """The ids that marker volumes give a pool: the smallest is its id (two hosts may mark a shared pool at once)."""
    return sorted(match.group(1) for match in map(_MARKED.fullmatch, names) if match)


def _volumes(pool: Pool) -> dict[str, Volume] | None:
    """The pool's volumes by name; None when it is not active, or has ceased to be a moment ago."""
    try:
        return {volume.name(): volume for volume in pool.listAllVolumes()} if pool.isActive() else None
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_OPERATION_INVALID"):
            return None
        raise


def _folder(root: ET.Element) -> str | None:
    """Where the pool's volumes are files of this host, by their own names."""
    return root.findtext("target/path") if CAPABILITIES.get(root.get("type", "")) is _FILES else None


def _ours(volumes: t.Mapping[str, Volume], folder: str | None) -> dict[str, dict[str, int]]:
    """Flotilla's own volumes, with what each of a server's disks takes: {"allocation"}. One that is gone meanwhile is
    none."""
    sizes = {
        name: _size(name, volume, folder) if _MEASURED.fullmatch(name) else {}
        for name, volume in volumes.items()
        if _OURS.fullmatch(name)
    }
    return {name: size for name, size in sizes.items() if size is not None}


def _size(name: str, volume: Volume, folder: str | None) -> dict[str, int] | None:
    """A file says it itself, as it would to libvirt, for whom it is a call for each that opens and reads the file."""
    if folder is not None:
        try:
            file = os.stat(os.path.join(folder, name))
        except OSError:  # gone, or nothing for this user to see
            pass
        else:
            if stat.S_ISREG(file.st_mode):
                return {"allocation": file.st_blocks * _BLOCK}
    info = found(volume.info)
    return None if info is None else {"allocation": info[2]}


__all__ = [
    "CAPABILITIES",
    "MARKER",
    "PASSING",
    "PROBE",
    "listed",
    "locations",
    "markers",
    "pool_facts",
    "pools",
    "refresh",
]
