# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a server of a batch was placed where it is: the batch up to it once more, and then its explanation.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.explanation import Explanation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Placement
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings

__all__ = ["explain_placed"]


def explain_placed(
    hosts: t.Iterable[HostState],
    settings: Settings,
    requests: t.Mapping[str, Request],
    placement: Placement,
    name: str,
) -> Explanation:
    """The explanation of a server that was placed, as the hosts were when its turn came.

    A joint search may have chosen another host than the best one for this server alone; that one is told as the choice.
    """
    scheduler = Scheduler(hosts, settings)
    for other, placed in placement.placed.items():
        if other == name:
            break
        scheduler.table.consume(scheduler.table.row[placed.host], requests[other])
    return dataclasses.replace(scheduler.explain(requests[name]), host=placement.placed[name].host)
