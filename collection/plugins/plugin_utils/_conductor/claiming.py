# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server's steps claim in the ledger before they are carried out.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.afterwards import flavor_after, spec_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hardware import with_cores
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import changes_ports, wishes
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claim
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import (
    DISK_GB,
    MEMORY_MB,
    VCPU,
    amounts_of,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft, Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot


def claim(draft: Draft, given: Situation, *, chosen: bool) -> Claim:
    """Room, id and addresses for a server. *chosen*: its host was scheduled, and must be as it was then."""
    snapshot = t.cast("Snapshot", given.snapshot)
    flavor = flavor_after(draft)
    amounts = with_cores(amounts_of(flavor), flavor.vcpus, draft.fitted)
    host = str(draft.host)
    row = snapshot.hosts.get(host)
    return Claim(
        server_id=draft.server_id or given.half_built.get(draft.name),
        name=draft.name,
        host=host,
        vcpus=amounts.pop(VCPU, 0),
        ram=amounts.pop(MEMORY_MB, 0),
        disk_gb=amounts.pop(DISK_GB, 0),
        resources=amounts,
        project=spec_of(draft).get("project"),
        pool=pool_of(draft, given),
        addresses=_wishes(draft, given),
        expects=row.generation if chosen and row is not None else None,
        fit=draft.fitted,
    )


def _wishes(draft: Draft, given: Situation) -> list[t.Any]:
    if draft.server is None:
        return []
    if draft.record is not None and not changes_ports(draft.record, draft.server.spec):
        return []
    reserved = {name: _fixed_elsewhere(given, name, draft.name) for name in given.declared.networks}
    return wishes(draft.server.spec, given.declared.networks, reserved=reserved)


def _fixed_elsewhere(given: Situation, network: str, name: str) -> set[str]:
    """Addresses that inventory promises to other servers, or that servers have without the ledger's doing."""
    promised = {address for address, owner in given.declared.fixed_addresses(network).items() if owner != name}
    return promised | given.unrecorded.get(network, set())


def pool_of(draft: Draft, given: Situation) -> str | None:
    """The pool of a server's root disk: the one it has, the one asked for, or its host's own."""
    if draft.record is not None:
        return draft.record.root.pool
    wanted = draft.server.spec.get("pool") if draft.server is not None else None
    return wanted or given.by_name[str(draft.host)].default_pool


__all__ = ["claim", "pool_of"]
