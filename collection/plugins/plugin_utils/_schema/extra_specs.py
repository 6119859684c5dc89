# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flavor extra specs against the rules of Nova's API.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The table extra_specs.json is taken from Nova 34.0.0. As there, a name without a namespace, or in a namespace that is
not Nova's, may have any value; in one of Nova's namespaces only the names that Nova knows are allowed. Stricter than
Nova: a namespace that is Nova's but for its spelling is refused, where what follows it is one of Nova's names there.

The patterns match what Nova's do, written so that a long value that doesn't fit is refused at once (some of Nova's
take hours over sixty characters).
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Clauses, listed, nearest, shown

__all__ = ["problem"]

# oslo.utils' bool_from_string(strict=True)
_BOOLEANS = frozenset({"1", "t", "true", "on", "y", "yes", "0", "f", "false", "off", "n", "no"})

# A request group may follow: resources1:VCPU, trait_ssd:CUSTOM_SSD.
_PLACEMENT = re.compile(r"(trait|resources)[a-zA-Z0-9_-]{0,64}:(.*)", re.ASCII)
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+", re.ASCII)
_PLACEMENT_RULES: dict[str, dict[str, t.Any]] = {
    "trait": {"type": "str", "enum": ["required", "forbidden"]},
    "resources": {"type": "int"},
}


def problem(name: str, value: t.Any) -> Clauses | None:
    """What is wrong with an extra spec, as clauses of a Mistake; None when nothing is."""
    rule = _rule(name)
    if rule is None:
        known, allowed = _known_like(name)
        if not known:
            return None
        return {"reason": f"Nova knows no extra spec {shown(name)}, {allowed}", "hint": nearest(name, known)}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    wanted = _wanted(rule, text)
    if wanted is None:
        return None
    return {"found": shown(value), "allowed": wanted, "hint": nearest(text, rule.get("enum", ()))}


def _rule(name: str) -> dict[str, t.Any] | None:
    specs, templates = _table()
    if name in specs:
        return specs[name]
    placement = _PLACEMENT.fullmatch(name)
    if placement is not None:
        known = placement[2] in _placement_names(placement[1]) or _CUSTOM.fullmatch(placement[2])
        return _PLACEMENT_RULES[placement[1]] if known else None
    return next((rule for _plain, pattern, rule in templates if pattern.fullmatch(name)), None)


def _known_like(name: str) -> tuple[list[str], str]:
    """The names that *name* could have meant, none where Nova takes any name; and what is allowed, as a clause."""
    placement = _PLACEMENT.fullmatch(name)
    if placement is not None:
        prefix = name[: -len(placement[2])] if placement[2] else name
        what = "a standard trait" if placement[1] == "trait" else "a standard resource class"
        known = [prefix + one for one in _placement_names(placement[1])]
        return known, f"allowed is {what} or CUSTOM_ and capital letters, digits and '_'"
    namespace = name.partition(":")[0] + ":"
    known = [one for one in _table()[0] if one.startswith(namespace)]
    if not known:
        return _meant(namespace, name.partition(":")[2])
    families = [plain for plain, _pattern, _rule in _table()[1] if plain.startswith(namespace)]
    number = name[len(name.rstrip("0123456789")) :]
    numbered = [plain + number for plain in families if number and _rule(plain + number)]
    return known + numbered, f"allowed is one of the {len(known) + len(families)} that begin with {namespace}"


def _meant(namespace: str, rest: str) -> tuple[list[str], str]:
    """The names that a name in an unknown namespace was most likely meant to be, and what is allowed."""
    namespaces = {one.partition(":")[0] + ":" for one in _table()[0] if one.endswith(f":{rest}")}
    near = nearest(namespace, namespaces) if rest else None
    return ([near + rest], f"allowed is {near}{rest}, or a namespace that is less like {near}") if near else ([], "")


def _wanted(rule: t.Mapping[str, t.Any], text: str) -> str | None:
    """What the rule wants, as a clause, when the text is not it."""
    if rule["type"] == "bool":
        return None if text.strip().lower() in _BOOLEANS else "true or false"
    if rule["type"] == "int":
        return _wanted_number(rule, text)
    if "enum" in rule:
        return None if text in rule["enum"] else f"one of {listed(rule['enum'])}"
    if "pattern" in rule and not re.fullmatch(rule["pattern"], text):
        return f"text that matches {rule['pattern']}"
    return None


def _wanted_number(rule: t.Mapping[str, t.Any], text: str) -> str | None:
    try:
        number = int(text)
    except ValueError:
        return "a whole number"
    if number < rule.get("min", number):
        return f"a whole number of at least {rule['min']}"
    return f"a whole number of at most {rule['max']}" if number > rule.get("max", number) else None


@functools.cache
def _table() -> tuple[dict[str, dict[str, t.Any]], list[tuple[str, re.Pattern[str], dict[str, t.Any]]]]:
    """The rules by name, and those of names that end in a regular expression, with what stands before it."""
    specs: dict[str, dict[str, t.Any]] = {}
    templates = []
    for name, rule in load("extra_specs")["specs"].items():
        plain, brace, pattern = name.partition("{")
        if brace:
            templates.append((plain, re.compile(re.escape(plain) + pattern.removesuffix("}")), rule))
        else:
            specs[name] = rule
    return specs, templates


@functools.cache
def _placement_names(kind: str) -> frozenset[str]:
    return frozenset(load("extra_specs")["traits" if kind == "trait" else kind].split())
