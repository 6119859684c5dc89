# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The validator: every mistake of the whole inventory in one go, before any host is touched.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.addresses import check_ports
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.definitions import check_catalogs
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.fencing import check_fences
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hardware import check_hardware
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hosts import check_computes
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import InventoryInput, Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake, merge
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.personality import check_personality
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.quota import check_quota
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.scheduling import check_scheduling
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.servers import check_names, check_servers

__all__ = ["InventoryInput", "Mistake", "validate"]


def validate(inventory: InventoryInput) -> list[Mistake]:
    """All mistakes, sorted, equal ones of several hosts as one. Only what has the right shape is looked at further."""
    review = Review(inventory)
    check_catalogs(review)
    check_computes(review)
    check_fences(review)
    check_hardware(review)
    check_scheduling(review)
    check_quota(review)
    check_names(review)
    check_servers(review)
    check_ports(review)
    check_personality(review)
    return merge(review.mistakes)
