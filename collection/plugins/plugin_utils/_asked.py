# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An action as a user asks for it: options of a task, or of the variable fleet_action_options.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.splitter import parse_kv

from ansible_collections.flotilla.compute.plugins.module_utils._core.actions import ACTIONS, check_options
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import CHOICES, TIMEOUT_ACTIONS

#: The options of all actions. Which of them an action takes is in actions.ACTIONS.
OPTIONS: t.Final[dict[str, dict[str, t.Any]]] = {
    "auto_converge": {"type": "bool"},
    "backup_type": {"type": "str"},
    "bandwidth": {"type": "int"},
    "block_migration": {"type": "str", "choices": list(CHOICES)},
    "confirm": {"type": "bool"},
    "description": {"type": "str"},
    "flavor": {"type": "str"},
    "host": {"type": "str"},
    "image": {"type": "str"},
    "key_name": {"type": "str", "no_log": False},
    "live": {"type": "str", "choices": list(CHOICES)},
    "metadata": {"type": "dict"},
    "name": {"type": "str"},
    "parallel": {"type": "int"},
    "password": {"type": "str", "no_log": True},
    "pool": {"type": "str"},
    "post_copy": {"type": "bool"},
    "reason": {"type": "str"},
    "rotation": {"type": "int"},
    "timeout": {"type": "int"},
    "timeout_action": {"type": "str", "choices": list(TIMEOUT_ACTIONS)},
    "tls": {"type": "bool"},
    "type": {"type": "str"},
    "user": {"type": "str"},
    "user_data": {"type": "str", "no_log": True},
    "wait": {"type": "bool"},
}


#: Option -> the variable of inventory that is to be the same, or text of the same kind: one line, that people read.
_SHAPES: t.Final = {
    "backup_type": "server_image",
    "description": "server_description",
    "metadata": "server_metadata",
    "name": "server_image",
    "reason": "server_image",
    "user": "server_image",
}


class Given(t.NamedTuple):
    """The options of an action, each of its type; ``secrets`` never come into a plan or the ledger."""

    options: dict[str, t.Any]
    secrets: dict[str, str]


def given(action: str, raw: t.Any) -> Given:
    """*raw* is a mapping, or text as ``type=hard timeout=30``, whose values are text. InvalidInput in one sentence."""
    values = _mapping(raw)
    check_options(action, values)
    checked = ArgumentSpecValidator({name: OPTIONS[name] for name in values}).validate(values)
    if checked.error_messages:
        raise InvalidInput(f"an option of the action {action} can't be taken: {'; '.join(checked.error_messages)}")
    options = checked.validated_parameters
    mistakes = [mistake for name, value in options.items() for mistake in _unfit(name, value)]
    if mistakes:
        raise InvalidInput(f"an option of the action {action} can't be taken: {'; '.join(mistakes)}")
    for name in ("timeout",):
        if options.get(name, 0) < 0:
            raise InvalidInput(f"the action {action} can't wait for {options[name]} s; timeout is a number from 0")
    secret = ACTIONS[action].secrets
    if "user_data" in options:
        # Plan, record and ledger have its digest alone.
        digest = {"user_data": {"sha256": hashlib.sha256(options["user_data"].encode()).hexdigest()}}
    else:
        digest = {}
    return Given(
        {**{name: value for name, value in options.items() if name not in secret}, **digest},
        {name: value for name, value in options.items() if name in secret},
    )


def _unfit(name: str, value: t.Any) -> t.Iterator[str]:
    """What inventory would not take."""
    variable = _SHAPES.get(name)
    if variable is None or value == "":
        return
    # Here, for most actions need nothing of it.
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.shapes import Shapes

    for finding in Shapes().findings(variable, value):
        its = finding.mistake
        yield f"{name}{its.path.removeprefix(variable)}: {its.reason or f'found {its.found}, allowed is {its.allowed}'}"


def _mapping(raw: t.Any) -> dict[str, t.Any]:
    if isinstance(raw, str):
        found: dict[str, t.Any] = parse_kv(raw, check_raw=False)
        if "_raw_params" in found:
            raise InvalidInput(f"fleet_action_options is a mapping or text as 'type=hard', found {raw!r}")
        return found
    if not isinstance(raw, t.Mapping):
        raise InvalidInput(f"the options of an action are a mapping, found {type(raw).__name__}")
    return {str(name): value for name, value in raw.items() if value is not None}


__all__ = ["OPTIONS", "Given", "given"]
