# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module server_action: plans one of Nova's actions on one server, or takes that plan, and has it carried out."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._acting import ARGUMENTS, Acting
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import OPTIONS
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload

# Once, in the process that forks the workers: each would pay for it otherwise.
preload()
with contextlib.suppress(FlotillaError):
    need("pycdlib.pycdlib")


class ActionModule(Acting):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **ARGUMENTS,
        "action": {"type": "str"},
        "options": {"type": "raw", "no_log": True},
        **OPTIONS,
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {
        "required_one_of": [["entry", "server"]],
        "mutually_exclusive": [["entry", "server"]],
        "required_together": [["server", "action"]],
    }

    def perform(self, args: Arguments) -> Result:
        if args["server"]:
            given = {name: args[name] for name in OPTIONS if args[name] is not None}
            args = {**args, "options": {**(args["options"] or {}), **given}}
        return self.act(args)
