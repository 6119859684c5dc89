# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage pools of this host: defined, started, and taken out of libvirt again; what is in them is never touched.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_domain
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.pool_xml import (
    StoragePool,
    pool_differences,
    pool_of,
    pool_xml,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    Pool,
    found,
    libvirt,
    libvirt_error,
    supported,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import listed


@dataclasses.dataclass(frozen=True)
class Change:
    """What is to be done for a pool; ``before`` and ``after`` are what a module shows. None: there is none."""

    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    changed: bool


def facts(conn: Connection) -> dict[str, dict[str, t.Any]]:
    """Every pool by name, as it is defined."""
    states = ((pool.name(), found(_state, pool)) for pool in listed(conn))
    return {name: state for name, state in sorted(states) if state is not None}


def ensure(conn: Connection, desired: StoragePool, *, check: bool = False) -> Change:
    """Have the pool defined, active and started with the host; one that is defined otherwise is left alone."""
    pool = found(conn.storagePoolLookupByName, desired.name)
    before = None if pool is None else _state(pool)
    if pool is not None:
        _refuse_difference(desired, _read(pool))
    autostarts = pool is not None and bool(pool.autostart())
    changed = pool is None or not pool.isActive() or autostarts != desired.autostart
    if changed and not check:
        pool = _carry_out(conn, pool, desired)
    after = _state(pool) if pool is not None and not check else {**desired.to_json(), "active": True}
    return Change(before, after, changed)


def remove(conn: Connection, name: str, *, check: bool = False) -> Change:
    """Have no such pool in libvirt. Its volumes stay; a pool that a guest's disk lies in is refused."""
    pool = found(conn.storagePoolLookupByName, name)
    if pool is None:
        return Change(None, None, False)
    before = _state(pool)
    used = users(conn, pool)
    if used:
        raise Conflict(
            f"pool {name!r} can't be removed: disks of {', '.join(used[:5])}{' …' if used[5:] else ''} lie in it; "
            "move these guests away first, nothing was changed"
        )
    if not check:
        try:
            if pool.isActive():
                pool.destroy()  # libvirt's word for stopping it: no volume is touched
            if pool.isPersistent():
                pool.undefine()
        except libvirt.libvirtError as exc:
            raise libvirt_error(exc, "remove", f"pool {name!r}") from exc
    return Change(before, None, True)


def users(conn: Connection, pool: Pool) -> list[str]:
    """The guests, running or not, with a disk in a pool, be that active or not."""
    root = ET.fromstring(pool.XMLDesc(0))  # noqa: S314 - libvirt wrote it
    path = root.findtext("target/path") or ""
    places = {pool.name(), path, os.path.realpath(path) if path else "", root.findtext("source/name")} - {None, ""}
    return sorted(
        domain.name()
        for domain in conn.listAllDomains()
        if any(file.rpartition("/")[0] in places for file in _files(domain))
    )


def _files(domain: Domain) -> t.Iterator[str]:
    """What a domain names as its disks and under them, in what it has now and in what it will have."""
    for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        xml = found(domain.XMLDesc, flag)
        yield from (file.path for file in read_domain(xml).files) if xml is not None else ()


def _refuse_difference(desired: StoragePool, present: StoragePool) -> None:
    """Guests' disks are found by their pool's place: to move it is nothing that a second definition could do."""
    differences = {key: pair for key, pair in pool_differences(desired, present).items() if key != "autostart"}
    if differences:
        words = ", ".join(f"{key} {pair[0]!r} instead of {pair[1]!r}" for key, pair in sorted(differences.items()))
        raise Conflict(
            f"pool {desired.name!r} is defined otherwise on this host: {words}; a pool is not moved while it may hold "
            "disks: name another pool, or remove this one by state: absent"
        )


def _carry_out(conn: Connection, pool: Pool | None, desired: StoragePool) -> Pool:
    try:
        if pool is None:
            pool = conn.storagePoolDefineXML(pool_xml(desired), 0)
        if not pool.isActive():
            if desired.type == "dir" and not pathlib.Path(desired.path or "/").is_dir():
                supported(pool.build, libvirt.VIR_STORAGE_POOL_BUILD_NEW)  # makes the folder; formats nothing
            elif desired.path is not None and desired.type in ("fs", "netfs"):
                pathlib.Path(desired.path).mkdir(parents=True, exist_ok=True)
            pool.create(0)
        if bool(pool.autostart()) != desired.autostart:
            pool.setAutostart(desired.autostart)
    except (libvirt.libvirtError, OSError) as exc:
        raise libvirt_error(exc, "bring up", f"pool {desired.name!r}") from exc
    return pool


def _state(pool: Pool) -> dict[str, t.Any]:
    return {**_read(pool).to_json(), "active": bool(pool.isActive())}


def _read(pool: Pool) -> StoragePool:
    return pool_of(pool.XMLDesc(0), autostart=bool(pool.isPersistent()) and bool(pool.autostart()))


__all__ = ["Change", "ensure", "facts", "remove", "users"]
