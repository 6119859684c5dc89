# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schema can't say of compute_fence: options that aren't the user's, two hosts with the same plug.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

__all__ = ["check_fences", "levels_of", "option_text"]

Entry = t.Mapping[str, Json]


def levels_of(fence: Json) -> list[list[Entry]]:
    """The levels in a valid compute_fence, in their order: each a list of mappings of an agent and its options."""
    written = fence if isinstance(fence, (list, tuple)) else [fence]
    return [list(level) if isinstance(level, (list, tuple)) else [level] for level in written]


def option_text(value: Json) -> str:
    """An option's value as agents read it."""
    return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)


def check_fences(review: Review) -> None:
    hosts: dict[tuple[tuple[str, str], ...], list[str]] = collections.defaultdict(list)
    for host, data in review.computes.items():
        for level in levels_of(data["compute_fence"]) if "compute_fence" in data else ():
            for entry in level:
                if "action" in entry:
                    reason = "is not an option to give: what is to be done is said when it is to be done"
                    review.add("compute_fence", ("action",), hosts=(host,), reason=reason)
                hosts[tuple(sorted((name, option_text(value)) for name, value in entry.items()))].append(host)
    for entry_of, named in hosts.items():
        several = sorted(set(named))
        if len(several) > 1:
            agent = dict(entry_of)["agent"]
            reason = (
                f"{listed(several)} have {agent} with the same options, so that one would be powered off for another; "
                "allowed are options that differ, such as ip or plug"
            )
            review.add("compute_fence", hosts=several, reason=reason)
