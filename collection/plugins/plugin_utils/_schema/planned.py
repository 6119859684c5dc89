# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables that have their name and shape, and that nothing carries out yet: refused, never silently passed over.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import InventoryInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake

__all__ = ["PLANNED", "planned"]

#: Variable -> what it will be for.
PLANNED = {
    "fleet_security_groups": "security groups",
    "fleet_volumes": "volumes",
    "server_security_groups": "security groups",
    "server_volumes": "volumes",
}


def planned(inventory: InventoryInput) -> list[Mistake]:
    """A mistake for each such variable that is given."""
    found = list(_in("", inventory.fleet))
    for host, variables in (*inventory.computes.items(), *inventory.servers.items()):
        found.extend(_in(host, variables))
    return found


def _in(host: str, variables: t.Mapping[str, t.Any]) -> t.Iterator[Mistake]:
    hosts = (host,) if host else ()
    for name, value in variables.items():
        if name in PLANNED and value:
            yield Mistake(name, name, hosts=hosts, reason=_reason(PLANNED[name]))


def _reason(what: str) -> str:
    return f"this version does not do it yet ({what}); leave it out"
