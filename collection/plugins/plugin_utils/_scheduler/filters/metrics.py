# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MetricsFilter: hosts that lack a metric which MetricsWeigher needs.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import HostFilter, names
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request


class MetricsFilter(HostFilter):
    """The host has every metric of metrics_weight_setting."""

    def key(self, request: Request) -> t.Hashable:  # noqa: ARG002  # the same for every request
        return ""

    def why_not(self, host: HostState, request: Request) -> str | None:  # noqa: ARG002
        missing = set(self.settings.metrics_weight_setting).difference(host.metrics)
        return f"has no metric {names(missing)}" if missing else None


__all__ = ["MetricsFilter"]
