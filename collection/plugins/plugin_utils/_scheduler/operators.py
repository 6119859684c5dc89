# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operators of extra specs (Nova: filters/extra_specs_ops.py).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import operator
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput

Compare = t.Callable[[t.Any, t.Any], bool]

# ``=`` is >= in Nova, and stays so: flavors are carried over.
_NUMERIC: dict[str, Compare] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXT: dict[str, Compare] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
    "<in>": operator.contains,
}


def match(value: str, requirement: str) -> bool:
    """Does *value* meet *requirement*: an operator and its operands, or text that must be equal?

    Where Nova crashes (text where a number belongs, ``<or>`` alone) the requirement is refused by InvalidInput.
    """
    words = requirement.split()
    name, operands = (words[0], words[1:]) if words else ("", [])
    if name == "<or>":
        return value in _alternatives(requirement, operands)
    if name not in _NUMERIC and name not in _TEXT and name != "<all-in>":
        return value == requirement
    if not operands:
        return False
    if name == "<all-in>":
        return all(word in value for word in operands)
    if name in _NUMERIC:
        return _NUMERIC[name](_number(value, requirement), _number(operands[0], requirement))
    return _TEXT[name](value, operands[0])


def _alternatives(requirement: str, words: list[str]) -> list[str]:
    """Each other word: ``<or> a <or> b`` (the words between are skipped whatever they are, as Nova does)."""
    if not words:
        raise InvalidInput(f"{requirement!r} has an operator and no operand")
    return words[::2]


def _number(text: str, requirement: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise InvalidInput(f"{requirement!r} compares numbers, found {text!r}") from exc


__all__ = ["match"]
