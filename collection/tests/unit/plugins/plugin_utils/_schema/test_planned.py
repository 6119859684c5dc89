# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not carried out yet is refused by name."""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import variables
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import InventoryInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.planned import PLANNED, planned


def test_each_planned_variable_is_refused_where_it_stands() -> None:
    found = planned(
        InventoryInput(
            fleet={"fleet_drain": ["kvm1"], "fleet_volumes": {}, "fleet_name": "f"},
            computes={"kvm1": {"compute_fence": {"agent": "fence_ipmilan"}}},  # which is carried out
            servers={"web1": {"server_priority": 3, "server_volumes": None}, "web2": {"server_state": "active"}},
        )
    )
    assert [str(mistake) for mistake in found] == [
        "fleet_drain: this version does not do it yet (the playbook drain); leave it out.",
        "server_priority (host web1): this version does not do it yet (the order of a drain); leave it out.",
    ]


def test_only_known_variables_are_planned() -> None:
    assert set(PLANNED) <= set(variables())
