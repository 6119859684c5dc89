# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server groups as catalog entries, and who is in them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import server_group

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot

__all__ = ["describe", "entry_of", "members", "refuse_change"]

Entry = t.Mapping[str, t.Any]


def entry_of(name: str, written: Entry) -> dict[str, t.Any]:
    """The ledger's entry of a server group, from one that has been checked; equal groups have equal entries."""
    group = server_group(name, written)
    entry: dict[str, t.Any] = {"policy": group.policy}
    if group.policy == "anti-affinity":
        entry["rules"] = {"max_server_per_host": group.max_server_per_host}
    return {**entry, **({"description": written["description"]} if written.get("description") else {})}


def refuse_change(name: str, before: Entry | None, after: Entry) -> None:
    """Nova has no request that changes a group: what its members were placed by would no longer hold for them."""
    for key, what in (("policy", "policy"), ("rules", "rules")):
        if before is not None and before.get(key) != after.get(key):
            raise Conflict(
                f"server group {name!r} has {what} {before.get(key)!r} and can't get {after.get(key)!r}: a group's "
                "policy and rules are fixed when it is made; make another group, or remove this one first"
            )


def members(snapshot: Snapshot | None) -> dict[str, list[str]]:
    """The servers of each group, by name, as their records say."""
    found: dict[str, list[str]] = {}
    for row in snapshot.servers.values() if snapshot is not None else ():
        record = row.loads()
        group = record.spec.get("group") if record is not None else None
        if group is not None:
            found.setdefault(group, []).append(row.name)
    return {group: sorted(names) for group, names in found.items()}


def describe(name: str, entry: Entry, servers: t.Sequence[str]) -> dict[str, t.Any]:
    """A server group as modules return it."""
    return {
        "name": name,
        "description": entry.get("description"),
        "policy": entry["policy"],
        "rules": dict(entry.get("rules", {})),
        "members": list(servers),
    }
