# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers of this host as they are, to read.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_domain
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import counts
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, status, vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    found,
    libvirt,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.diagnostics import diagnostics
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import state_of


def servers(
    conn: Connection,
    names: t.Collection[str] | None = None,
    *,
    diagnosed: bool = False,
    with_agent: bool = False,
    copies: bool = False,
) -> list[dict[str, Json]]:
    """Our servers by name, all or those of these names or ids; a domain that isn't ours is none.

    ``diagnosed``: with Nova's diagnostics of those that run; ``with_agent``: with what agent.state() and
    agent.told() say of each, which needs a connection that may write; ``copies``: with what servers that have gone to
    other hosts keep here until that is confirmed.
    """
    ours = []
    for domain in conn.listAllDomains(0):
        server = _server(domain)
        if server is None or (server.pop("left") and not copies):
            continue
        if names is not None and server["name"] not in names and server["id"] not in names:
            continue
        if diagnosed:
            # One that went away or off since it was listed has none.
            server["diagnostics"] = found(diagnostics, conn, domain, server["state"])
        if with_agent:
            server["agent"] = found(agent.state, domain)
            server["guest"] = found(agent.told, domain) if server["agent"] else None
        ours.append(server)
    return sorted(ours, key=lambda server: (server["name"], server["id"]))


def _server(domain: Domain) -> dict[str, Json] | None:
    """The server; None if it is no one of ours, or was undefined since it was listed."""
    xml = found(domain.XMLDesc, libvirt.VIR_DOMAIN_XML_INACTIVE)
    facts = None if xml is None else read_domain(xml)
    if facts is None or facts.record is None or facts.record.id != facts.id:
        return None
    state = found(state_of, domain)
    return None if state is None else _shown(facts.record, state)


def _shown(record: Record, state: str) -> dict[str, Json]:
    nova = vm_state(state, record.marks)
    return {
        "id": record.id,
        "name": record.name,
        "state": state,
        "status": status(nova),
        "vm_state": nova,
        "power_state": power_state(state),
        "addresses": [address.address for nic in record.nics for address in nic.addresses],
        "record": record.to_json(),
        "left": counts(record) == 0,
    }


__all__ = ["servers"]
