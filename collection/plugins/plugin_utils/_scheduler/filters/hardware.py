# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NUMATopologyFilter and PciPassthroughFilter: what a host must have for one server alone.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Both always hold. In Nova they may be left out: then its compute host refuses the server as it arrives. Here the
scheduler says what the server gets (cores, pages, devices), so there is nobody who could refuse it later.
"""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import Filter, Reach
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Fitting, Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Mask


class _Fitted(Filter):
    """A rule that only the servers on the host itself have an effect on."""

    @abc.abstractmethod
    def fitting(self, table: Table, request: Request) -> Fitting:
        """What hosts would give, as far as the rule goes."""

    def reach(self, request: Request, placed: Request) -> Reach:  # noqa: ARG002  # what fits here depends on here alone
        return "host" if placed.topology is not None or placed.devices else "none"

    def mask(self, table: Table, request: Request) -> Mask:
        return self.fitting(table, request).mask() if self.concerns(request) else table.everywhere()

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        found = self.fitting(table, request).at(row) if self.concerns(request) else None
        return found if isinstance(found, str) else None


class PciPassthroughFilter(_Fitted):
    """Enough free devices for each alias that the flavor names, wherever on the host they are."""

    def concerns(self, request: Request) -> bool:
        return bool(request.devices)

    def fitting(self, table: Table, request: Request) -> Fitting:
        return table.fitting(None, request.devices)


class NUMATopologyFilter(_Fitted):
    """The guest's NUMA cells on cells of the host: cores, pages, memory, and devices that are near enough."""

    def concerns(self, request: Request) -> bool:
        return request.topology is not None

    def fitting(self, table: Table, request: Request) -> Fitting:
        return table.fitting(request.topology, request.devices)


__all__ = ["NUMATopologyFilter", "PciPassthroughFilter"]
