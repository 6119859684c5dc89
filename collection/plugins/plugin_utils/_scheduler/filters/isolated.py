# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""IsolatedHostsFilter: some images to some hosts.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import HostFilter
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request


class IsolatedHostsFilter(HostFilter):
    """Isolated images run on isolated hosts alone; with restrict (the default) these hosts take no others."""

    on_rebuild = True

    def key(self, request: Request) -> t.Hashable:
        return request.image or ""

    def why_not(self, host: HostState, request: Request) -> str | None:
        image = request.image in self.settings.isolated_images
        isolated = host.name in self.settings.isolated_hosts
        if image and not isolated:
            return f"image {request.image!r} is isolated to isolated_hosts"
        if isolated and not image and self.settings.restrict_isolated_hosts_to_isolated_images:
            return f"is isolated to isolated_images, {request.image!r} is none of them"
        return None


__all__ = ["IsolatedHostsFilter"]
