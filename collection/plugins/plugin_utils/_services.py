# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which compute hosts are in service, as inventory and the ledger have it: no host is asked.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import Templar, Variables, read_host

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

__all__ = ["Service", "services"]

_WORDS = {"enabled": "in service", "maintenance": "in maintenance"}


@dataclasses.dataclass(frozen=True)
class Service:
    """``state``: enabled, disabled, maintenance or down; ``told``: the same as a clause with its reason."""

    host: str
    state: str
    reason: str

    @property
    def told(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"it is {_WORDS.get(self.state, self.state)}{reason}"

    def to_json(self) -> dict[str, Json]:
        return {"host": self.host, "state": self.state, "reason": self.reason, "told": self.told}


def services(task_vars: Variables, templar: Templar, hosts: t.Iterable[str], ledger: Ledger | None) -> list[Service]:
    """What inventory keeps a host from, else what the ledger last knew of it; a run that empties it counts, too."""
    rows = ledger.snapshot().hosts if ledger is not None else {}
    runs = {run.host: run for run in (ledger.live_runs().values() if ledger is not None else ()) if run.host}
    computes = task_vars["groups"].get("computes", [])
    found = []
    for host in hosts:
        its = read_host(task_vars, templar, host, "compute_state") if host in computes else {}
        state, reason = str(its.get("compute_state") or "enabled"), str(its.get("compute_state_reason") or "")
        if state == "enabled" and host in rows:
            state, reason = rows[host].service_state, rows[host].service_reason or ""
        if state == "enabled" and host in runs:
            state, reason = "maintenance", f"emptied or filled again by {runs[host]}"
        found.append(Service(host, state, reason))
    return found
