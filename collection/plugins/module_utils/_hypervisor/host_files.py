# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that libvirt keeps beside a domain (variables of its firmware, a log), on whatever host a connection leads to.

Note that this module util is **PRIVATE** to the collection.

They are in no pool, and another host is reached by its libvirt alone: for as long as it takes, the folder is a pool
without a definition. Libvirt takes no second pool over one folder, so one that is there already is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import typing as t
import uuid
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    Pool,
    Volume,
    found,
    is_error,
    libvirt,
    libvirt_error,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import PASSING, PROBE

#: Others who look into the same folder are done with it in a moment.
_FREE_WITHIN = 20.0
#: What libvirt says of a pool that somebody else has just made over the folder, or has just taken away.
_TAKEN = (
    "VIR_ERR_INTERNAL_ERROR",
    "VIR_ERR_NO_STORAGE_POOL",
    "VIR_ERR_OPERATION_FAILED",
    "VIR_ERR_OPERATION_INVALID",
    "VIR_ERR_STORAGE_POOL_BUILT",
)

Answer = t.TypeVar("Answer")


def is_there(conn: Connection, path: str) -> bool:
    """Whether the host has a file of that path."""
    return _asked(conn, path, lambda pool, name: _volume(pool, name) is not None)


def remove(conn: Connection, path: str, *, if_empty: bool = False) -> bool:
    """Remove the file, or only one that nothing was ever written to; whether it was there. The caller knows whose it
    is."""

    def gone(pool: Pool | None, name: str) -> bool:
        volume = _volume(pool, name)
        if volume is None or (if_empty and volume.info()[1]):
            return False
        volume.delete(0)
        return True

    return _asked(conn, path, gone)


def user_of_variables(conn: Connection, path: str) -> str | None:
    """The name of a domain of the host whose firmware has its variables in that file."""
    for domain in conn.listAllDomains(0):
        xml = found(domain.XMLDesc, 0)
        if xml is not None and variables_of(xml) == path:
            return str(domain.name())
    return None


def has_others_variables(domain: Domain, other: Connection) -> bool:
    """Whether a domain of the *other* host has its firmware's variables in the very file that this one has them in: the
    folder is one that both hosts have."""
    file = variables_of(domain.XMLDesc(0))
    return file is not None and is_used_from(other, domain.connect(), file)


def is_used_from(other: Connection, conn: Connection, path: str) -> bool:
    """Whether a domain of the *other* host has its firmware's variables in that file of the host of *conn*."""
    folder, name = os.path.split(path)
    xmls = (found(domain.XMLDesc, 0) for domain in other.listAllDomains(0))
    files = {file for file in (variables_of(xml) for xml in xmls if xml is not None) if file is not None}
    folders = {os.path.dirname(file) for file in files if os.path.basename(file) == name}
    return any(_is_one(conn, folder, other, its) for its in sorted(folders))


def _is_one(conn: Connection, folder: str, other: Connection, its: str) -> bool:
    """Whether the *other* host's folder is this one: a file made there is looked for here, as it is done for disks."""
    name = f"{PROBE}{uuid.uuid4()}"
    try:
        made = _asked(other, os.path.join(its, name), _made)
    except FlotillaError:
        if not other.isAlive():
            raise
        return True  # nothing can be written there, and what isn't known counts as shared
    try:
        return made and is_there(conn, os.path.join(folder, name))
    finally:
        remove(other, os.path.join(its, name))


def _made(pool: Pool | None, name: str) -> bool:
    """An empty file, if there is the folder for it."""
    if pool is not None and _volume(pool, name) is None:
        root = ET.Element("volume")
        ET.SubElement(root, "name").text = name
        ET.SubElement(root, "capacity").text = "0"
        pool.createXML(ET.tostring(root, encoding="unicode"), 0)
    return pool is not None


def _asked(conn: Connection, path: str, ask: t.Callable[[Pool | None, str], Answer]) -> Answer:
    folder, name = os.path.split(path)
    deadline = time.monotonic() + _FREE_WITHIN
    while True:
        try:
            with _pool(conn, folder) as pool:
                return ask(pool, name)
        except libvirt.libvirtError as exc:
            if not is_error(exc, *_TAKEN) or time.monotonic() > deadline:
                raise libvirt_error(exc, "look into", f"folder {folder!r} of {conn.getHostname()}") from exc
        time.sleep(0.1)


@contextlib.contextmanager
def _pool(conn: Connection, folder: str) -> t.Iterator[Pool | None]:
    """The folder as a pool, seen afresh; None if there is no such folder."""
    pool = next((pool for pool in conn.listAllStoragePools() if _path_of(pool) == folder), None)
    # Somebody's own is left as it was; one of ours whose maker was killed is not.
    ours = pool is None or not pool.isActive() or pool.name().startswith(PASSING)
    try:
        if pool is None:
            pool = conn.storagePoolCreateXML(_xml(folder), 0)
        elif pool.isActive():
            pool.refresh(0)
        else:
            pool.create(0)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_SYSTEM_ERROR") and exc.get_int1() == errno.ENOENT:
            yield None
            return
        raise
    try:
        yield pool
    finally:
        if ours:
            with contextlib.suppress(libvirt.libvirtError):
                pool.destroy()


def _volume(pool: Pool | None, name: str) -> Volume | None:
    """None if the folder has no such file, or isn't there; that somebody has taken the pool away meanwhile says nothing
    about it."""
    if pool is None:
        return None
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_NO_STORAGE_VOL"):
            return None
        raise


def _path_of(pool: Pool) -> str | None:
    xml = found(pool.XMLDesc, 0)
    path = None if xml is None else ET.fromstring(xml).findtext("target/path")  # noqa: S314 - libvirt wrote it
    return None if path is None else os.path.normpath(path)


def _xml(folder: str) -> str:
    root = ET.Element("pool", type="dir")
    ET.SubElement(root, "name").text = f"{PASSING}{uuid.uuid4()}"
    ET.SubElement(ET.SubElement(root, "target"), "path").text = folder
    return ET.tostring(root, encoding="unicode")


__all__ = ["has_others_variables", "is_there", "is_used_from", "remove", "user_of_variables"]
