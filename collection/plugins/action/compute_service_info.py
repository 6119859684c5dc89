# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""M(flotilla.compute.compute_service_info): which hosts are in service, by inventory and ledger. No host is asked."""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import nearest
from ansible_collections.flotilla.compute.plugins.plugin_utils._services import services


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {"hosts": {"type": "list", "elements": "str"}}

    def perform(self, args: Arguments) -> Result:
        ledger = self.open_ledger(create=False)
        computes = [str(host) for host in self._task_vars["groups"].get("computes", [])]
        known = sorted({*computes, *(ledger.snapshot().hosts if ledger is not None else ())})
        for host in args["hosts"] or ():
            if host not in known:
                like = nearest(host, known)
                hint = f"; did you mean {like!r}?" if like else ""
                raise InvalidInput(f"neither inventory nor the ledger has a compute host {host!r}{hint}")
        found = services(self._task_vars, self._templar, args["hosts"] or known, ledger)
        return {"changed": False, "services": [service.to_json() for service in found]}
