# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that don't give guests one CPU (fleet_cpu_model), so that what runs on one could not go everywhere.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_model import lacking
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute

#: Features of a CPU that a note names.
_NAMED = 3


def without_cpu(model: t.Mapping[str, Json] | None, computes: t.Iterable[Compute]) -> dict[str, str]:
    """Host -> why guests with that CPU can't run on it. A host that is down is none: nobody knows."""
    if model is None:
        return {}
    seen = {compute.name: compute.survey["cpu"] for compute in computes if compute.survey is not None}
    return {name: why for name, cpu in seen.items() if (why := lacking(model, cpu))}


def cpu_notes(model: t.Mapping[str, Json] | None, computes: t.Sequence[Compute]) -> t.Iterator[str]:
    if model is None:
        yield from _unlike(computes)
    for name, why in without_cpu(model, computes).items():
        yield (
            f"guests with fleet_cpu_model can't run on {name}: {why}; new servers don't go there. The playbook "
            "cpu_model says which CPU all hosts can give"
        )


def _unlike(computes: t.Iterable[Compute]) -> t.Iterator[str]:
    """Hosts whose guests see different CPUs, where the fleet gives none to all; not those whose libvirt can't tell."""
    alike: dict[tuple[str, frozenset[str]], list[str]] = {}
    for compute in computes:
        cpu = {} if compute.survey is None else compute.survey["cpu"]
        if cpu.get("features"):
            alike.setdefault((str(cpu.get("model")), frozenset(cpu["features"])), []).append(compute.name)
    if len(alike) > 1:
        every = frozenset[str]().union(*(features for _model, features in alike))
        groups = "; ".join(
            f"{model}{_without(every - features)} on {listed(sorted(names))}"
            for (model, features), names in alike.items()
        )
        yield (
            f"guests see another CPU from host to host, and may not move everywhere while they run: {groups}. The "
            "playbook cpu_model says which CPU all hosts can give (fleet_cpu_model)"
        )


def _without(features: t.Collection[str]) -> str:
    more = f" and {len(features) - _NAMED} more" if len(features) > _NAMED else ""
    return f" without {', '.join(sorted(features)[:_NAMED])}{more}" if features else ""


__all__ = ["cpu_notes", "without_cpu"]
