# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""M(flotilla.compute.fence_info): the power of compute hosts, as their fence agents read it. Nothing is switched."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import table
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import Reading, look_at_all, read_fence
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import nearest

_HEAD = ("HOST", "LEVEL", "AGENT", "POWER", "PROBLEM")


class ActionModule(FleetAction):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {"hosts": {"type": "list", "elements": "str"}}

    def perform(self, args: Arguments) -> Result:
        known = [str(host) for host in self._task_vars["groups"].get("computes", [])]
        wanted = args["hosts"] or known
        for host in wanted:
            if host not in known:
                like = nearest(host, known)
                hint = f"; did you mean {like!r}?" if like else ""
                raise InvalidInput(f"group computes has no host {host!r}{hint}")
        readings = look_at_all({host: read_fence(self._task_vars, self._templar, host) for host in wanted})
        text = table(_HEAD, [_cells(one) for one in readings])
        Display().display(text)
        return {"changed": False, "fences": [one.to_json() for one in readings], "text": text}


def _cells(reading: Reading) -> tuple[str, ...]:
    level = str(reading.level or "-")
    return (reading.host, level, reading.agent, reading.power.upper(), reading.problem or "-")
