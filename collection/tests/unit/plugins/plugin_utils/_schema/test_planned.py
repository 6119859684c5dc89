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
            fleet={"fleet_volumes": {"db1": {"size": 1}}, "fleet_security_groups": {}, "fleet_name": "f"},
            computes={"kvm1": {"compute_fence": {"agent": "fence_ipmilan"}}},  # which is carried out
            servers={
                "web1": {"server_security_groups": ["ssh"], "server_volumes": None},
                "web2": {"server_state": "active"},
            },
        )
    )
    assert [str(mistake) for mistake in found] == [
        "fleet_volumes: this version does not do it yet (volumes); leave it out.",
        "server_security_groups (host web1): this version does not do it yet (security groups); leave it out.",
    ]


def test_only_known_variables_are_planned() -> None:
    assert set(PLANNED) <= set(variables())
