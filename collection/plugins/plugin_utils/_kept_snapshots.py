# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that a host has made or rotated away, as images of the fleet's catalog.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import catalog_entry

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger


def keep_snapshots(ledger: Ledger, entry: Arguments, outcome: Result) -> None:
    """A snapshot is an image of the fleet from now on, and one that was rotated away no longer."""
    for result in outcome.get("results", []):
        told = result.get("told") or {}
        if "consistency" in told:
            made = Snapshot.from_json(told["snapshot"])
            Display().display(f"{entry['name']}: {result['message']}")
            ledger.put("image", made.name, catalog_entry(made, entry["host"]))
        for removed in map(Snapshot.from_json, told.get("removed", ())):
            known = ledger.catalog("image").get(removed.name) or {}
            if (known.get("snapshot") or {}).get("id") == removed.id:
                ledger.drop("image", removed.name)


__all__ = ["keep_snapshots"]
