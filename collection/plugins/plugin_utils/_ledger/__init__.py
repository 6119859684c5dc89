# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger: what the fleet remembers between runs, and where runs meet.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._ledger import Ledger
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._location import default_url, name_of, state_dir
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import (
    ActionRow,
    AddressRow,
    Claim,
    Claimed,
    ClaimResult,
    ClaimRow,
    FleetRow,
    HostRow,
    HostSeen,
    MigrationRow,
    RunRow,
    ServerRow,
    ServerSeen,
    Snapshot,
    Wish,
    named,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._tables import preload

__all__ = [
    "ActionRow",
    "AddressRow",
    "Claim",
    "ClaimResult",
    "ClaimRow",
    "Claimed",
    "Controller",
    "FleetRow",
    "HostRow",
    "HostSeen",
    "Ledger",
    "MigrationRow",
    "RunRow",
    "ServerRow",
    "ServerSeen",
    "Snapshot",
    "Wish",
    "default_url",
    "name_of",
    "named",
    "preload",
    "state_dir",
]
