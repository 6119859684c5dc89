# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose this host is: its marker file, the marks of its pools, and how both are made.

Note that this module util is **PRIVATE** to the collection.

``<state_dir>/host.json`` = {"host_id", "fleet_id", "ledger_id", "service": {"state", "reason"}}. The host_id is drawn
once and stays: records on the host name it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import typing as t
import uuid
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    found,
    libvirt,
    libvirt_error,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import named_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import MARKER, listed, pool_facts

#: What a host's service can be: new servers come to enabled hosts alone; ``down`` is what a person has said of a host.
SERVICE_STATES = ("enabled", "disabled", "maintenance", "down")

_FILE = "host.json"
#: Another module call may be enrolling the same host; that takes an instant.
_PATIENCE = 10.0


@dataclasses.dataclass(frozen=True)
class Service:
    """The state of the host's compute service, with the reason that was given for it."""

    state: str = "enabled"
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Marker:
    """What host.json says."""

    host_id: str
    fleet_id: str
    ledger_id: str
    service: Service = Service()

    def to_json(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Marker:
        ids = {key: str(data[key]) for key in ("host_id", "fleet_id", "ledger_id")}
        return cls(service=Service(**data["service"]), **ids)


@dataclasses.dataclass(frozen=True)
class Enrolment:
    """What enrolling a host changes; ``marks`` are the pools that get a marker volume, with their new ids."""

    before: Marker | None
    after: Marker
    marks: t.Mapping[str, str]

    @property
    def changed(self) -> bool:
        return self.before != self.after or bool(self.marks)


def read_marker(state_dir: str) -> Marker | None:
    """The host's marker, None when it has none. A damaged one is never taken for none: its host_id would be lost."""
    path = pathlib.Path(state_dir, _FILE)
    try:
        return Marker.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise FlotillaError(f"this host's marker {str(path)!r} can't be read: {exc.strerror}; run as root") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise FlotillaError(
            f"this host's marker {str(path)!r} is damaged ({exc!r}); restore it, with the host_id that records bear"
        ) from exc


def write_marker(state_dir: str, marker: Marker) -> None:
    """The old marker or the new one is there, whole, at any time, also after a power cut."""
    folder = pathlib.Path(state_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{_FILE}.new"  # nobody else writes it: `enroll` holds a lock
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(marker.to_json(), file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(folder / _FILE)
        _sync(folder)
    except OSError as exc:
        raise FlotillaError(f"this host's marker can't be written in {state_dir!r}: {exc.strerror}") from exc


def enroll(
    conn: Connection,
    state_dir: str,
    *,
    fleet_id: str,
    ledger_id: str,
    pools: t.Sequence[str] | None = None,
    service: Service | None = None,
    take_over: bool = False,
    check: bool = False,
) -> Enrolment:
    """Make the host the fleet's: its marker, and a mark on each of ``pools`` (None: all) that lacks one and can.

    ``service`` None keeps what is. With ``check`` it only says what would change.
    """
    if check:
        return _plan(conn, state_dir, fleet_id, ledger_id, pools, service, take_over)
    with named_lock(state_dir, "host", run_id="", step="enroll", wait=_PATIENCE, what="this host's marker"):
        enrolment = _plan(conn, state_dir, fleet_id, ledger_id, pools, service, take_over)
        if enrolment.before != enrolment.after:
            write_marker(state_dir, enrolment.after)
        for name, pool_id in enrolment.marks.items():
            _mark(conn, name, pool_id)
    return enrolment


def _plan(
    conn: Connection,
    state_dir: str,
    fleet_id: str,
    ledger_id: str,
    pools: t.Sequence[str] | None,
    service: Service | None,
    take_over: bool,
) -> Enrolment:
    before = read_marker(state_dir)
    if before is not None and not take_over:
        _check_ours(before, fleet_id, ledger_id)
    if service is not None and service.state not in SERVICE_STATES:
        raise InvalidInput(f"a host's service can't be {service.state!r}; it is one of {', '.join(SERVICE_STATES)}")
    after = Marker(
        host_id=str(uuid.uuid4()) if before is None else before.host_id,
        fleet_id=fleet_id,
        ledger_id=ledger_id,
        service=service or (Service() if before is None else before.service),
    )
    return Enrolment(before, after, {name: str(uuid.uuid4()) for name in _unmarked(conn, pools)})


def _check_ours(marker: Marker, fleet_id: str, ledger_id: str) -> None:
    if marker.fleet_id != fleet_id:
        raise Conflict(
            f"this host belongs to fleet {marker.fleet_id}, and this run is of fleet {fleet_id}; "
            "nothing was changed. If it is to change hands, say fleet_take_over=true"
        )
    if marker.ledger_id != ledger_id:
        raise Conflict(
            f"this host belongs to ledger {marker.ledger_id} of its fleet, and this run has ledger {ledger_id}; "
            "nothing was changed. Use that ledger (fleet_ledger), or say fleet_take_over=true if it is lost"
        )


def _unmarked(conn: Connection, pools: t.Sequence[str] | None) -> list[str]:
    """The active pools that have no marker after a fresh look, and in which one can be made."""
    names = [pool.name() for pool in listed(conn)] if pools is None else list(pools)
    result = []
    for name in sorted(names):
        pool = found(conn.storagePoolLookupByName, name)
        if pool is None:
            raise InvalidInput(f"this host has no storage pool {name!r}; name another (compute_pools), or define it")
        facts = pool_facts(pool)
        if facts["active"] and not facts["markers"] and "create" in facts["capabilities"]:
            result.append(name)
    return result


def _mark(conn: Connection, pool: str, pool_id: str) -> None:
    """The pool's id as the name of a volume that holds next to nothing. (LVM makes an extent of it.)"""
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = MARKER + pool_id
    ET.SubElement(volume, "capacity", unit="bytes").text = "1"
    ET.SubElement(volume, "allocation", unit="bytes").text = "0"
    ET.SubElement(ET.SubElement(volume, "target"), "format", type="raw")
    try:
        conn.storagePoolLookupByName(pool).createXML(ET.tostring(volume, encoding="unicode"), 0)
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "mark", f"storage pool {pool!r}") from exc


def _sync(folder: pathlib.Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["SERVICE_STATES", "Enrolment", "Marker", "Service", "enroll", "read_marker", "write_marker"]
