# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Quotas: how many servers, cores and MiB the fleet may have in all, and each project (Nova: compute/utils.py).

Note that this plugin util is **PRIVATE** to the collection.

Pure. It is asked twice: when a plan is made, and again inside the transaction that claims it, so that two controllers
can't exceed a quota together. What is deleted softly doesn't count, as in Nova; what grows is asked for its growth.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import PCPU
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.quota import Limits, Quota

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot

#: In Nova's order: by name.
_RESOURCES = ("cores", "instances", "ram")


@dataclasses.dataclass(frozen=True)
class Share:
    """What one server has, or is to have, of a quota; ``id`` is None for one that is new."""

    name: str
    id: str | None
    project: str | None
    cores: int
    ram: int

    @property
    def amounts(self) -> dict[str, int]:
        return {"cores": self.cores, "instances": 1, "ram": self.ram}


def refusals(quota: Quota, snapshot: Snapshot | None, wanted: t.Iterable[Share]) -> dict[str, str]:
    """Why servers can't be, in Nova's words and by name: those for which there is no more quota, in the order given."""
    if not quota:
        return {}
    has = _shares(snapshot) if snapshot is not None else {}
    used = _Used(has.values())
    found = {}
    for share in wanted:
        old = has.get(share.id or "")
        reason = used.refusal(quota, share, old)
        if reason is None:
            used.add(share, old)
        else:
            found[share.name] = reason
    return found


class _Used:
    """What is used, by project; None stands for the whole fleet."""

    def __init__(self, shares: t.Iterable[Share]) -> None:
        self._by_project: dict[str | None, dict[str, int]] = {}
        for share in shares:
            self.add(share, None)

    def add(self, share: Share, old: Share | None) -> None:
        for project in dict.fromkeys((None, share.project)):
            totals = self._of(project)
            for resource, amount in _more(share, old, project).items():
                totals[resource] += amount

    def refusal(self, quota: Quota, share: Share, old: Share | None) -> str | None:
        """Why there is no room for *share*, which comes for *old*."""
        for project in dict.fromkeys((None, share.project)):
            asked = _more(share, old, project)
            reason = _exceeded(quota.of(project), asked, self._of(project))
            if reason is not None:
                return reason if project is None else f"{reason} (project {project!r})"
        return None

    def _of(self, project: str | None) -> dict[str, int]:
        return self._by_project.setdefault(project, dict.fromkeys(_RESOURCES, 0))


def _more(share: Share, old: Share | None, project: str | None) -> dict[str, int]:
    """How much more the fleet (*project* None), or the project, has with *share* in the place of *old*."""
    if old is None or (project is not None and old.project != project):
        return share.amounts
    return {resource: amount - old.amounts[resource] for resource, amount in share.amounts.items()}


def _exceeded(limits: Limits, asked: t.Mapping[str, int], used: t.Mapping[str, int]) -> str | None:
    overs = [
        resource
        for resource in _RESOURCES
        if asked[resource] > 0 and limits.get(resource, -1) >= 0 and used[resource] + asked[resource] > limits[resource]
    ]
    if not overs:
        return None
    names, requested, already, allowed = (
        ", ".join(str(values[resource]) for resource in overs)
        for values in (dict(zip(overs, overs, strict=True)), asked, used, limits)
    )
    return f"Quota exceeded for {names}: Requested {requested}, but already used {already} of {allowed} {names}"


def _shares(snapshot: Snapshot) -> dict[str, Share]:
    """What each server of the ledger has by id; one that is being built or changed, what its claim says."""
    found = {}
    for row in snapshot.servers.values():
        if row.record is not None and row.vm_state != "soft-delete":
            record = json.loads(row.record)
            flavor = record["flavor"]
            found[row.id] = Share(row.name, row.id, record["spec"].get("project"), flavor["vcpus"], flavor["ram"])
    for claim in snapshot.claims.values():
        cores = claim.vcpus + claim.resources.get(PCPU, 0)
        found[claim.server_id] = Share(claim.name, claim.server_id, claim.project, cores, claim.ram)
    return found


__all__ = ["Share", "refusals"]
