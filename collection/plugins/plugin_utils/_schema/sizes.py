# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes as people write them, in Nova's units.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A number is in the unit of its key (MiB for memory, GiB for disks). Text carries its own: ``512MiB``, ``8 GiB``,
``1TiB``. Units are binary; GB and MB are refused, because they mean one thing to disk vendors and another to everybody
else.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import shown

__all__ = ["LIMIT", "allowed", "gib", "mib", "parse"]

#: The largest number that Nova keeps (a signed 32 bit integer).
LIMIT = 2**31 - 1

_UNITS = {"MiB": 1, "GiB": 1024, "TiB": 1024**2}
_EXAMPLES = {"MiB": "512MiB or 8GiB", "GiB": "20GiB or 1TiB"}
_TEXT = re.compile(r"([0-9]{1,15}) ?(MiB|GiB|TiB)", re.ASCII)


def mib(value: t.Any) -> int:
    """The size in MiB; a number is in MiB already."""
    return parse(value, "MiB")


def gib(value: t.Any) -> int:
    """The size in GiB; a number is in GiB already."""
    return parse(value, "GiB")


def allowed(unit: str) -> str:
    """What may be written for a size, as a clause."""
    return f"a whole number of {unit}, or text such as {_EXAMPLES[unit]}"


def parse(value: t.Any, unit: str) -> int:
    """The size in *unit* as a whole number, or InvalidInput with the clause that says what is wrong with it."""
    number = _number(value, unit)
    if number > LIMIT:
        raise InvalidInput(f"found {shown(value)}, allowed is at most {LIMIT} {unit}")
    return number


def _number(value: t.Any, unit: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if not -LIMIT <= value <= LIMIT:
            raise InvalidInput(f"found {shown(value)}, allowed is a number of at most {LIMIT} {unit}")
        return value
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidInput(f"found {shown(value)}, allowed is {allowed(unit)}")
    number, rest = divmod(int(match[1]) * _UNITS[match[2]], _UNITS[unit])
    if rest:
        raise InvalidInput(f"found {shown(value)}, allowed is a whole number of {unit}")
    return number
