# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One step at work on this host: what was ordered, what is there, and what the host adds.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.bus_address import located
from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import (
    HostFacts,
    domain_name,
    domain_xml,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.rescue import booted
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.capabilities import machine_name, virt_type
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection, Domain, found
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ports import bus_addresses
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

DEFAULT_TIMEOUT = 60.0


@dataclasses.dataclass(frozen=True)
class Order:
    """A step of a plan as it comes to the host. ``expects`` is the generation it was planned from, None: no server.

    ``options`` is what its kind takes beside that, as plain JSON.
    """

    kind: str
    server_id: str
    name: str
    expects: int | None = None
    record: Record | None = None
    timeout: float = DEFAULT_TIMEOUT
    options: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Json) -> Order:
        if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
            raise InvalidInput(f"a step should be a mapping with its kind, found {data!r}")
        try:
            record = data.get("record")
            order = cls(
                kind=data["kind"],
                server_id=data["server_id"],
                name=data["name"],
                expects=data.get("expects"),
                record=None if record is None else Record.from_json(record),
                timeout=float(data.get("timeout", DEFAULT_TIMEOUT)),
                options=dict(data.get("options") or {}),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InvalidInput(f"a step {data['kind']!r} can't be read: {exc!r}") from exc
        if order.record is not None and order.record.id != order.server_id:
            raise InvalidInput(
                f"a step {order.kind!r} for server {order.server_id} has the record of {order.record.id}"
            )
        return order

    @property
    def target(self) -> Record:
        if self.record is None:
            raise InvalidInput(f"the step {self.kind!r} of server {self.name!r} came without the record that it needs")
        return self.record


class StillCopying(Exception):
    """The copy goes on in the guest's QEMU; ask again. ``progress``: bytes ``done`` and in ``total``."""

    def __init__(self, progress: dict[str, int]) -> None:
        super().__init__("still copying")
        self.progress = progress


@dataclasses.dataclass(frozen=True)
class Present:
    """A server that is on this host: its domain, and the record in it."""

    domain: Domain
    record: Record


def _nobody(_progress: t.Mapping[str, Json]) -> None:
    """Nobody watches."""


@dataclasses.dataclass(frozen=True)
class Host:
    """This host for one module call. ``secrets``: by server id what a step needs and nobody else may see; ``trees``: by
    server id what the metadata service is to answer.

    ``report`` is told how far a long step is.
    """

    conn: Connection
    storage: Storage
    references: References
    fleet_id: str
    host_id: str
    drives: t.Mapping[str, bytes]
    state_dir: str = ""
    run_id: str = ""
    secrets: t.Mapping[str, t.Mapping[str, str]] = dataclasses.field(default_factory=dict, repr=False)
    report: t.Callable[[t.Mapping[str, Json]], None] = _nobody
    trees: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    def settle(self, record: Record) -> Record:
        """The record with what only the host knows: its own id, its canonical machine, pools' ids, volumes' sizes."""
        if record.fleet_id != self.fleet_id:
            raise Conflict(
                f"the record of server {record.name!r} is of fleet {record.fleet_id}, this host of {self.fleet_id}"
            )
        if record.host_id not in (None, self.host_id):
            raise Conflict(
                f"the record of server {record.name!r} is for host {record.host_id}, this is host {self.host_id}"
            )
        machine = machine_name(self.conn, record.hardware.arch, record.hardware.machine)
        return dataclasses.replace(
            record,
            host_id=self.host_id,
            hardware=dataclasses.replace(record.hardware, machine=machine),
            disks=tuple(self.storage.settled(disk) for disk in record.disks),
        )

    def define(self, record: Record, *, existing: str | None = None) -> Domain:
        sources = {(disk.pool, disk.volume): self.storage.source(disk) for disk in booted(record).disks}
        facts = HostFacts(virt_type(self.conn, record.hardware.arch), sources)
        return self.conn.defineXML(domain_xml(record, facts, existing=existing))

    def drive(self, record: Record) -> bytes | None:
        """The config drive that came for a server, with what only its domain says: where its devices are on the bus."""
        data = self.drives.get(record.id)
        return None if data is None else located(data, record, bus_addresses(self.conn, record.id))

    def write(self, domain: Domain, record: Record) -> None:
        """Keep a record: beside its disk first, for the domain's own is the one that counts."""
        self.storage.write_sidecar(record)
        domains.write_record(domain, record)


@dataclasses.dataclass(frozen=True)
class Job:
    """One step at work.

    ``present`` is None where the server has no domain; ``done`` when its record is the target already. ``told`` is
    what the handler has to say to the controller beside its message, as plain JSON; ``record`` in it is the server's
    where no domain has it; ``fault`` what is wrong with a server after a step that is done all the same.
    """

    host: Host
    order: Order
    present: Present | None
    done: bool
    told: dict[str, Json] = dataclasses.field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        return self._here.domain

    @property
    def record(self) -> Record:
        return self._here.record

    @property
    def target(self) -> Record:
        """The record to come, with what this host fills in.

        A name that another domain has is refused here: libvirt would, but only after the disks were made.
        """
        record = self.host.settle(self.order.target)
        other = found(self.host.conn.lookupByName, domain_name(record))
        if other is not None and other.UUIDString() != record.id:
            raise Conflict(
                f"another domain of this host ({other.UUIDString()}) has the name {domain_name(record)!r}: "
                "it is not touched; rename one of them"
            )
        return record

    @property
    def _here(self) -> Present:
        if self.present is None:
            raise FlotillaError(
                f"the step {self.order.kind!r} of server {self.order.name!r} needs its domain, and there is none"
            )
        return self.present


__all__ = ["Host", "Job", "Order", "Present", "StillCopying"]
