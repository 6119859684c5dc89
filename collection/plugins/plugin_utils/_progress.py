# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a long step is, for people who watch it.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import MIB, Json


def how_far(told: t.Mapping[str, Json]) -> str:
    """What a host has told of a copy ({"done", "total"} in bytes) or of a migration (_core.live.progress)."""
    if "done" not in told:
        return str(told.get("phase") or "begun")
    done, total = told["done"] / MIB, told["total"] / MIB
    share = f" ({100 * done / total:.0f} %)" if total else ""
    what = f"{told['phase']}: " if told.get("phase") and "remaining" not in told else ""
    return ", ".join([f"{what}{done:.0f} of {total:.0f} MiB{share}", *_migration(told)])


def _migration(told: t.Mapping[str, Json]) -> t.Iterator[str]:
    if "remaining" not in told:
        return
    yield f"{told['remaining'] / MIB:.0f} MiB left at {told['rate'] / MIB:.1f} MiB/s"
    if told.get("seconds_left") is not None:
        yield f"{told['seconds_left']} s to go"
    if told.get("expected_downtime") is not None:
        yield f"expected downtime {told['expected_downtime']} ms"
    if told.get("phase") not in (None, "running"):
        yield str(told["phase"])


__all__ = ["how_far"]
