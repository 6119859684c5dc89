# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guest is told about itself: the documents of a config drive, and the drive.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import LABEL, config_drive, iso_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import (
    DEFAULT_ZONE,
    Key,
    Personality,
    devices_of,
    key_of,
    meta_data,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._network_data import network_data
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._nocloud import nocloud
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import (
    Answer,
    packed_service,
    service_tree,
    tree,
)

__all__ = [
    "DEFAULT_ZONE",
    "LABEL",
    "Answer",
    "Key",
    "Personality",
    "config_drive",
    "devices_of",
    "iso_of",
    "key_of",
    "meta_data",
    "network_data",
    "nocloud",
    "packed_service",
    "service_tree",
    "tree",
]
