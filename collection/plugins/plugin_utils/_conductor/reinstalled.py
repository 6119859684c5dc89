# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that came back as another machine under an old name.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import (
    DOCTOR,
    Finding,
    Patient,
    sees_disk,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerRow, Snapshot


def reinstalled(patient: Patient) -> t.Iterator[Finding]:
    """Hosts that bear the name of one with servers, and are another machine, or the same one installed anew."""
    hosts = patient.snapshot.hosts if patient.snapshot is not None else {}
    for compute in patient.computes:
        row = hosts.get(compute.name)
        if not compute.up or row is None or row.host_id in (None, compute.host_id):
            continue
        lost = servers_of(patient, compute.name)
        if not lost or any(guest.id in lost for guest in compute.guests):
            continue  # empty anyway; or it has only lost its marker, and its servers are there
        elsewhere = {guest.id for _compute, guest, _record in patient.ours()}
        # What lies in a pool that it shares is there still: reconcile defines its server again.
        gone = (row for row in lost.values() if row.id not in elsewhere and not sees_disk(row)(compute))
        names = sorted(row.name for row in gone)
        if not names:
            continue
        now = f"its id is {compute.host_id}" if compute.host_id else "it bears no mark of the fleet"
        yield Finding(
            "reinstalled_host",
            compute.name,
            f"{compute.name} was installed anew, or is another machine under its old name: the ledger knows it as "
            f"{row.host_id}, and {now}; the ledger has {len(names)} server(s) on it that are not there: "
            f"{listed(names)}",
            f"{DOCTOR} -e fleet_host={shlex.quote(compute.name)} -e fleet_action=forget_host -e fleet_allow=data_loss "
            "(gives up their local disks; reconcile then makes them anew), or put the old disks back",
            compute.name,
        )


def refuse_reinstalled(declared: Declared, computes: t.Sequence[Compute], snapshot: Snapshot | None) -> None:
    """Conflict, before anything is written, for such hosts: taken for the old ones, they would be given their servers
    anew, empty."""
    found = list(reinstalled(Patient(declared, computes, snapshot)))
    if found:
        told = "; ".join(f"{one.message}. {one.command}" for one in found)
        raise Conflict(f"no host was touched: {told}")


def servers_of(patient: Patient, host: str) -> dict[str, ServerRow]:
    """The built servers that the ledger has on a host, by id."""
    return {
        row.id: row
        for row in patient.rows.values()
        if row.host == host and row.record is not None and row.vm_state != SHELVED
    }


__all__ = ["refuse_reinstalled", "reinstalled", "servers_of"]
