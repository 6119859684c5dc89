# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module migrate: Nova's action migrate, with what a live migration takes as options of its own."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import ACTIONS
from ansible_collections.flotilla.compute.plugins.plugin_utils._acting import ARGUMENTS, Acting
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import OPTIONS
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import checks_text, migrated_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import preload

preload()  # once, in the process that forks the workers


class ActionModule(Acting):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        **ARGUMENTS,
        **{name: OPTIONS[name] for name in sorted(ACTIONS["migrate"].options)},
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {
        "required_one_of": [["entry", "server"]],
        "mutually_exclusive": [["entry", "server"]],
    }

    def perform(self, args: Arguments) -> Result:
        given = {name: args[name] for name in ACTIONS["migrate"].options if args[name] is not None}
        options = {"live": "auto", **given}
        result = self.act({**args, "action": "migrate", "options": options})
        told = (result.get("details") or {}).get("migration")
        name = str((result.get("server") or {}).get("name"))
        # The diff of a checked run has them already.
        checks = () if "diff" in result else checks_text(result.get("checks") or ())
        for line in (*checks, *migrated_text(name, told or {})):
            Display().display(line)
        return {**result, "migration": told} if told else result
