# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where one server is, or would go: the plan of this one server, claimed by nobody and written nowhere.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import glob
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    NoValidHost,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    CONFLICT,
    ERROR,
    HELD,
    NO_HOST,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import InventoryInput, validate

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

Variables = t.Mapping[str, Json]


def require_fresh(*, since: float, now: float, max_age: int) -> None:
    """Refuse surveys that are too old: others may have filled the hosts since."""
    age = now - since
    if age > max_age:
        raise FlotillaError(
            f"the surveys are {age:.0f} s old and fleet_survey_max_age is {max_age}; "
            "survey again (playbook flotilla.compute.survey) before servers are placed"
        )


def host_for(
    name: str,
    wishes: Variables,
    *,
    declared: Declared,
    computes: t.Sequence[Compute],
    ledger: Ledger | None,
    since: float,
    now: float,
) -> str:
    """The host that the server is on, else the one that is proposed for it.

    ``wishes`` are ``server_`` variables of a server that inventory doesn't declare; with none it must be there.
    """
    newer = _known_since(name, ledger, since)
    if newer is not None:
        return newer
    if name not in declared.servers and not wishes:
        found = _there(name, computes, ledger)
        if found is not None:
            return found
    asked = _with_server(declared, name, wishes)
    plan, _fleet = reconcile(asked, computes, Run(ledger, None, since), now=now)
    entry = next((entry for entry in plan.servers if entry.name == name and entry.declared), None)
    return _host_of(name, entry)


def _known_since(name: str, ledger: Ledger | None, since: float) -> str | None:
    """The host of a server that was built, moved or found since the surveys began: the ledger's word is newer."""
    rows = ledger.snapshot().servers.values() if ledger is not None else ()
    hosts = (
        row.host
        for row in rows
        if row.updated >= since
        and row.record is not None
        and row.vm_state != SHELVED
        and (row.id == name or (row.name == name and row.vm_state != "soft-delete"))
    )
    return next(hosts, None)


def _there(name: str, computes: t.Sequence[Compute], ledger: Ledger | None) -> str | None:
    """The host that a server which inventory doesn't declare was seen on, by its name, its id, or the name that its
    domain has since it was deleted softly. The copy that runs counts."""
    fleet = ledger.fleet() if ledger is not None else None
    copies = [
        (guest.active, "soft_delete" not in guest.record.marks, compute.name)
        for compute in computes
        for guest in compute.guests
        if guest.record is not None
        and (fleet is None or guest.record.fleet_id == fleet.fleet_id)
        and name in (guest.record.id, guest.record.name, guest.name)
    ]
    return max(copies)[2] if copies else None


def _with_server(declared: Declared, name: str, wishes: Variables) -> Declared:
    """The fleet with this server alone selected, and declared if inventory doesn't do that."""
    servers = declared.servers
    if name not in servers:
        servers = {**servers, **_declare(declared, name, wishes).servers}
    elif wishes:
        given = ", ".join(sorted(wishes))
        raise InvalidInput(
            f"{name} is declared in inventory, which says where it may go; leave {given} to its variables"
        )
    settings = dataclasses.replace(declared.settings, servers=(glob.escape(name),))
    return dataclasses.replace(declared, servers=servers, settings=settings)


def _declare(declared: Declared, name: str, wishes: Variables) -> Declared:
    raw = declared.raw
    any_image = next(iter(declared.catalogs.images), None)
    servers = {name: {"server_image": any_image, **wishes}}
    mistakes = validate(
        InventoryInput(fleet=raw["fleet"], computes=raw["computes"], servers=servers, ledger=raw["ledger"])
    )
    if mistakes:
        raise InvalidInput(f"{name} can't be scheduled: " + "; ".join(str(mistake) for mistake in mistakes))
    asked = declare(raw["fleet"], raw["computes"], servers, raw["ledger"])
    return asked if "server_image" in wishes else _of_no_image(asked, name)


def _of_no_image(asked: Declared, name: str) -> Declared:
    """Who names no image asks for a place by size: no property of an image may narrow it."""
    server = asked.servers[name]
    plain = dataclasses.replace(server, image=dataclasses.replace(server.image, properties={}, min_disk=0, min_ram=0))
    return dataclasses.replace(asked, servers={name: plain})


def _host_of(name: str, entry: ServerEntry | None) -> str:
    if entry is None:
        raise FlotillaError(f"{name} is on no host and is to be on none")
    if entry.verdict == NO_HOST and entry.host is None:
        raise NoValidHost(entry.message)
    if entry.host is None or (entry.message and entry.verdict in (HELD, CONFLICT, ERROR)):
        raise Conflict(entry.message or f"{name} is on no host, and its declared state needs none")
    return entry.host  # a server that is somewhere is there, whether or not it could grow there


__all__ = ["host_for", "require_fresh"]
