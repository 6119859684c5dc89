# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``fleet_quota``: limits of the fleet and of its projects, as inventory gives them.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.sizes import mib

__all__ = ["Limits", "Quota", "check_quota", "quota"]

#: Resource -> limit; -1 or none at all: unlimited. ``ram`` in MiB.
Limits = t.Mapping[str, int]
Data = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Quota:
    """``fleet`` for all servers together, ``per_project`` for each project that ``projects`` doesn't name."""

    fleet: Limits = dataclasses.field(default_factory=dict)
    per_project: Limits = dataclasses.field(default_factory=dict)
    projects: t.Mapping[str, Limits] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fleet or self.per_project or self.projects)

    def of(self, project: str | None) -> Limits:
        """The limits of a project, None for the whole fleet. What a project's own don't say is as for each."""
        if project is None:
            return self.fleet
        return {**self.per_project, **self.projects.get(project, {})}


def quota(data: Data) -> Quota:
    """The validated variable as a value."""
    projects = {name: _limits(entry) for name, entry in (data.get("projects") or {}).items()}
    return Quota(_limits(data), _limits(data.get("per_project") or {}), projects)


def _limits(data: Data) -> dict[str, int]:
    limits = {key: data[key] for key in ("cores", "instances") if key in data}
    if "servers" in data:
        limits["instances"] = data["servers"]
    if "ram" in data:
        limits["ram"] = mib(data["ram"])
    return limits


def check_quota(review: Review) -> None:
    """Nova says instances, people say servers; who says both says two things."""
    given = review.fleet.get("fleet_quota", {})
    entries = [((), given), (("per_project",), given.get("per_project", {}))]
    entries += [(("projects", name), entry) for name, entry in given.get("projects", {}).items()]
    for path, entry in entries:
        if "servers" in entry and "instances" in entry:
            review.add("fleet_quota", (*path, "servers"), reason="is another word for instances; give one of them")
