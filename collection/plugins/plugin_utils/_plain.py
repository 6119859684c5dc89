# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's door: what Ansible hands to plugins, as plain Python values.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Task arguments, plugin options and variables arrive as tagged and lazy containers, which dataclasses.asdict, pickle and
YAML dumpers refuse and whose items are templated at each access. Converted once, here, they cost no more.
"""

from __future__ import annotations

import collections.abc as c
import datetime
import typing as t

from ansible.parsing.vault import EncryptedString

__all__ = ["plain"]

_EXACT = frozenset((str, int, float, bool, bytes, type(None)))


def plain(value: t.Any) -> t.Any:
    """*value* as dicts, lists and builtin scalars all through; dates become ISO 8601, vaulted strings clear text."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, c.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (c.Sequence, c.Set)) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: t.Any) -> t.Any:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()  # YAML reads an unquoted 2026-01-31 as a date; users mean the text
    if isinstance(value, EncryptedString):
        return plain(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"{type(value).__name__} is no data that inventory or a task can hold")
