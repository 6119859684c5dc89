# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A #cloud-config against cloud-init's own JSON Schema (cloud_config.json), in our words.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A key that the schema does not know is a doubt, not a mistake: the guest's cloud-init may be newer than the schema.
No sentence has a value in it: user data holds secrets.
"""

from __future__ import annotations

import collections.abc as c
import functools
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Path, listed, nearest

if t.TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["Flaw", "flaws"]

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


class Flaw(t.NamedTuple):
    """Something wrong at ``path``; ``doubt``: only a key that may be known to a newer cloud-init."""

    path: Path
    reason: str
    hint: str | None = None
    doubt: bool = False


def flaws(config: c.Mapping[str, t.Any]) -> tuple[Flaw, ...]:
    """What cloud-init would say of *config*, one for a place."""
    return _flaws(json.dumps(config, sort_keys=True, default=str))


@functools.lru_cache(maxsize=512)
def _flaws(text: str) -> tuple[Flaw, ...]:
    config: dict[str, t.Any] = json.loads(text)
    found = [_unknown((), key, _top_keys()) for key in config if key not in _top_keys()]
    for error in _validator().iter_errors(config):
        found += _translated(error)
    return tuple({flaw.path: flaw for flaw in reversed(found)}.values())


@functools.cache
def _validator() -> Validator:
    validator: Validator = need("jsonschema").Draft4Validator(load("cloud_config"))
    return validator


@functools.cache
def _top_keys() -> frozenset[str]:
    """The keys of all modules."""
    schema = load("cloud_config")
    parts = [schema["$defs"][branch["$ref"].rpartition("/")[2]] for branch in schema["allOf"]]
    return frozenset(key for part in parts for key in part.get("properties", {}))


def _translated(error: ValidationError) -> list[Flaw]:
    path: Path = tuple(error.absolute_path)
    if error.validator in ("anyOf", "oneOf") and error.context:
        return _of_best_branch(error, path)
    if error.validator == "additionalProperties":
        schema = t.cast("dict[str, t.Any]", error.schema)
        known = frozenset(schema.get("properties", {}))
        instance = t.cast("dict[str, t.Any]", error.instance)
        return [_unknown(path, key, known) for key in instance if key not in known]
    if error.validator == "required":
        instance = t.cast("dict[str, t.Any]", error.instance)
        wanted = t.cast("list[str]", error.validator_value)
        return [Flaw((*path, key), "is missing, cloud-init needs it") for key in wanted if key not in instance]
    return [Flaw(path, _reason(error))]


def _of_best_branch(error: ValidationError, path: Path) -> list[Flaw]:
    """What keeps the value from being of the alternative that it comes nearest to."""
    branches: dict[t.Any, list[ValidationError]] = {}
    for one in error.context or ():
        branches.setdefault(one.schema_path[0], []).append(one)
    fit = [errors for errors in branches.values() if not any(_is_of_other_type(one) for one in errors)]
    if not fit:
        wanted = sorted({_reason(errors[0]) for errors in branches.values()})
        return [Flaw(path, " or ".join(wanted).replace(" or allowed is ", " or "))]
    translated = [[flaw for one in errors for flaw in _translated(one)] for errors in fit]
    return min(translated, key=lambda found: (not all(flaw.doubt for flaw in found), len(found)))


def _is_of_other_type(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _unknown(path: Path, key: str, known: c.Collection[str]) -> Flaw:
    hint = nearest(key, known)
    return Flaw((*path, key), "is no key that cloud-init knows here", hint, doubt=True)


def _reason(error: ValidationError) -> str:
    wanted: t.Any = error.validator_value
    if error.validator == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        return f"allowed is {' or '.join(_TYPES[one] for one in types)}"
    if error.validator == "enum":
        return f"allowed is one of {listed(wanted, 20)}"
    if error.validator in ("minItems", "minLength", "minProperties"):
        return f"is too short, allowed is a length of at least {wanted}"
    if error.validator == "pattern":
        return f"allowed is text that matches {wanted}"
    return f"does not keep to cloud-init's schema: {error.validator} {str(wanted)[:60]}"
