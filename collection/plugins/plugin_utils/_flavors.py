# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flavors as catalog entries: what is written becomes numbers in Nova's units.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import flavor

__all__ = ["KEYS", "SIZES", "describe", "entry_of"]

SIZES = ("ram", "disk", "ephemeral", "swap")
KEYS = ("vcpus", *SIZES, "extra_specs", "description")


def entry_of(name: str, written: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The ledger's entry of a flavor, from one that has been checked; equal flavors have equal entries."""
    entry = flavor(name, written).to_json()
    del entry["name"]
    if written.get("description"):
        entry["description"] = written["description"]
    return entry


def describe(name: str, entry: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A flavor as modules return it."""
    return {"name": name, "description": None, **entry}
