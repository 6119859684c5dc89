# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JsonFilter: the hint ``query``, a condition over the attributes of a host as nested lists in JSON.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import operator
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.attributes import attribute, dig, known
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.affinity import hint
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.base import RowFilter, names
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

Lookup = t.Callable[[str], t.Any]
_DEEPEST = 50

Compare = t.Callable[[t.Any, t.Any], bool]


def _compare(holds: Compare) -> t.Callable[[list[t.Any]], bool]:
    """The first argument against each of the others; fewer than two are False."""
    return lambda args: len(args) > 1 and all(holds(args[0], arg) for arg in args[1:])


# ``not`` flips each argument and gives a list, as in Nova: a nested one is therefore always true.
_OPERATORS: dict[str, t.Callable[[list[t.Any]], t.Any]] = {
    "=": _compare(operator.eq),
    "<": _compare(operator.lt),
    ">": _compare(operator.gt),
    "<=": _compare(operator.le),
    ">=": _compare(operator.ge),
    "in": lambda args: len(args) > 1 and args[0] in args[1:],
    "not": lambda args: [not arg for arg in args],
    "or": any,
    "and": all,
}


def evaluate(query: t.Any, lookup: Lookup) -> t.Any:
    """The value of ``[operator, argument…]``; an argument is a value, ``$name.key``, or a query itself."""
    if not query:
        return True
    if not isinstance(query, list) or not isinstance(query[0], str) or query[0] not in _OPERATORS:
        raise InvalidInput(f"{json.dumps(query)} should be a list that begins with one of {' '.join(_OPERATORS)}")
    args = [_argument(item, lookup) for item in query[1:]]
    try:
        return _OPERATORS[query[0]]([arg for arg in args if arg is not None])
    except TypeError as exc:
        raise InvalidInput(f"{json.dumps(query)} compares what can't be compared: {exc}") from exc


def problem(text: str) -> str | None:
    """What is wrong with a query, whatever host it is asked of, as a clause; None when nothing is."""
    try:
        query = json.loads(text)
    except (ValueError, RecursionError) as exc:
        return f"is not JSON: {exc or 'nested too deeply'}"
    return _problem(query, 1)


def _problem(query: t.Any, depth: int) -> str | None:
    if depth > _DEEPEST:
        return f"is nested more than {_DEEPEST} deep"
    if query == []:
        return None
    if not isinstance(query, list) or not isinstance(query[0], str) or query[0] not in _OPERATORS:
        return f"{json.dumps(query)} should be a list that begins with one of {' '.join(_OPERATORS)}"
    inner = (_problem(item, depth + 1) for item in query[1:] if isinstance(item, list))
    return next((found for found in inner if found), None)


def _names(query: t.Any) -> set[str]:
    """The attributes that a query asks for."""
    if isinstance(query, list):
        return {name for item in query for name in _names(item)}
    return {query[1:].partition(".")[0]} if isinstance(query, str) and query.startswith("$") else set()


def _argument(item: t.Any, lookup: Lookup) -> t.Any:
    if isinstance(item, list):
        return evaluate(item, lookup)
    if isinstance(item, str):
        return lookup(item[1:]) if item.startswith("$") else item or None
    return item


class JsonFilter(RowFilter):
    """The query holds for the host."""

    hints = ("query",)

    def concerns(self, request: Request) -> bool:
        return bool(hint(request, "query"))

    def key(self, request: Request) -> t.Hashable | None:  # noqa: ARG002  # free memory and the like change
        return None

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        texts = hint(request, "query")
        if not texts:
            return None

        def lookup(path: str) -> t.Any:
            name, *keys = path.split(".")
            return dig(attribute(table, row, request, name), keys)

        query = _parse(texts[0], request)
        result = evaluate(query, lookup)
        if any(result) if isinstance(result, list) else result:
            return None
        unknown = sorted(name for name in _names(query) if not known(table, row, name))
        why = f": it has no attribute {names(unknown)}" if unknown else ""
        return f"doesn't meet the query {texts[0]}{why}"


def _parse(text: str, request: Request) -> t.Any:
    wrong = problem(text)
    if wrong:
        raise InvalidInput(f"server {request.name!r}: scheduler hint 'query' {wrong}")
    return json.loads(text)


__all__ = ["JsonFilter", "evaluate", "problem"]
