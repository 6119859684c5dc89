# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of step that a host knows, with what carries it out.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import (
    deeds,
    evacuation,
    growing,
    handlers,
    live,
    metadata_tree,
    moving,
    rescue,
    resizing,
    shelving,
    snapshots,
)

HANDLERS: t.Final[t.Mapping[str, handlers.Handler]] = {
    **deeds.HANDLERS,
    **evacuation.HANDLERS,
    **growing.HANDLERS,
    **handlers.HANDLERS,
    **live.HANDLERS,
    **metadata_tree.HANDLERS,
    **moving.HANDLERS,
    **rescue.HANDLERS,
    **resizing.HANDLERS,
    **snapshots.HANDLERS,
    **shelving.HANDLERS,  # its `delete` knows of shelved servers, too
}

__all__ = ["HANDLERS"]
