# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports of a domain, as they are on this host.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.module_utils._core.bus_address import addresses
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection, found


def bus_addresses(conn: Connection, server_id: str) -> dict[str, str]:
    """MAC -> PCI address of a server's ports; nothing where it has no domain."""
    domain = found(conn.lookupByUUIDString, server_id)
    return {} if domain is None else addresses(str(domain.XMLDesc(0)))


__all__ = ["bus_addresses"]
