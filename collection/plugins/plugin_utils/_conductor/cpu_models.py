# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that can't give guests the fleet's CPU (fleet_cpu_model), so that what runs there could not go everywhere.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_model import lacking
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute


def without_cpu(model: t.Mapping[str, Json] | None, computes: t.Iterable[Compute]) -> dict[str, str]:
    """Host -> why guests with that CPU can't run on it. A host that is down is none: nobody knows."""
    if model is None:
        return {}
    seen = {compute.name: compute.survey["cpu"] for compute in computes if compute.survey is not None}
    return {name: why for name, cpu in seen.items() if (why := lacking(model, cpu))}


def cpu_notes(model: t.Mapping[str, Json] | None, computes: t.Iterable[Compute]) -> t.Iterator[str]:
    for name, why in without_cpu(model, computes).items():
        yield (
            f"guests with fleet_cpu_model can't run on {name}: {why}; new servers don't go there. The playbook "
            "cpu_model says which CPU all hosts can give"
        )


__all__ = ["cpu_notes", "without_cpu"]
