# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NUMATopologyFilter and PciPassthroughFilter: what a host must have for one server alone.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Both always hold. In Nova they may be left out: then its compute host refuses the server as it arrives. Here the
scheduler says what the server gets (cores, pages, devices), so there is nobody who could refuse it later.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.devices import choose_devices
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, Reach
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask


class _Fitted(Filter):
    """A rule that only the servers on the host itself have an effect on."""

    def reach(self, request: Request, placed: Request) -> Reach:  # noqa: ARG002  # what fits here depends on here alone
        return "host" if placed.topology is not None or placed.devices else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        if not self.concerns(request):
            return table.everywhere()
        passes = [self.reason(table, row, request) is None for row in range(len(table))]
        return t.cast("Mask", need("numpy").array(passes, dtype=bool))


class PciPassthroughFilter(_Fitted):
    """Enough free devices for each alias that the flavor names, wherever on the host they are."""

    def concerns(self, request: Request) -> bool:
        return bool(request.devices)

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        chosen = choose_devices(table.devices(row), request.devices)
        return chosen if isinstance(chosen, str) else None


class NUMATopologyFilter(_Fitted):
    """The guest's NUMA cells on cells of the host: cores, pages, memory, and devices that are near enough."""

    def concerns(self, request: Request) -> bool:
        return request.topology is not None

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        if request.topology is None:
            return None
        found = table.fit(row, request)
        return found if isinstance(found, str) else None


__all__ = ["NUMATopologyFilter", "PciPassthroughFilter"]
