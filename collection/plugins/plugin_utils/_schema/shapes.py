# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values against the JSON Schemas, with mistakes in our own words.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import ipaddress
import math
import re
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import parse_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import sizes
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import (
    PREFIXES,
    document,
    is_secret,
    tells_names,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import (
    HIDDEN,
    Mistake,
    Path,
    listed,
    nearest,
    path_text,
    shown,
)

if t.TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["Finding", "Shapes"]

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_LISTED = 12  # names that a message lists beside the nearest one; without a nearest one it lists all
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A mistake with the path to it as parts: they tell which entry of a catalog is not to be looked at any further."""

    path: Path
    mistake: Mistake


class Shapes:
    """The validators of all variables, each compiled at its first use; equal values are looked at once."""

    def __init__(self) -> None:
        self._class = _validator_class(need("jsonschema"))
        self._validators: dict[str, Validator] = {}
        self._seen: dict[tuple[str, str], tuple[Finding, ...]] = {}

    def findings(self, variable: str, value: t.Any) -> tuple[Finding, ...]:
        """What is wrong with the value of a known variable."""
        try:
            key = (variable, repr(value))
            if key not in self._seen:
                self._seen[key] = tuple(self._find(variable, value))
            return self._seen[key]
        except (RecursionError, ValueError):  # a thousand levels deep, or an integer of thousands of digits
            reason = "is nested too deeply, or has a number in it that is too large"
            return (Finding((), Mistake(variable, variable, reason=reason)),)

    def _find(self, variable: str, value: t.Any) -> c.Iterator[Finding]:
        found = []
        for path, reason in _unfit(value):
            told = "has something in it that is no text in UTF-8 or no finite number" if is_secret(variable) else reason
            found.append(_finding(variable, path, reason=told))
        if found:
            value = _with_text_keys(value)
        for error in self._validator(variable).iter_errors(value):
            found += _translated(variable, error)
        # One mistake a place: of several keywords that fail there the first says enough.
        yield from {finding.mistake.path: finding for finding in reversed(found)}.values()

    def _validator(self, variable: str) -> Validator:
        if variable not in self._validators:
            family = next(family for family, prefix in PREFIXES.items() if variable.startswith(prefix))
            schema = document(family)
            subschema = {"$defs": schema["$defs"], **schema["properties"][variable]}
            self._validators[variable] = self._class(subschema)
        return self._validators[variable]


def _unfit(value: t.Any, path: Path = ()) -> c.Iterator[tuple[Path, str]]:
    """What no variable of ours may hold, wherever it is."""
    if isinstance(value, str):
        if not _encodable(value):
            yield path, f"found {value[:40]!a}, allowed is text that can be encoded as UTF-8"
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"found {value}, allowed is a finite number"
    elif isinstance(value, c.Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield (*path, shown(key)), f"found {shown(key)} as a name, allowed is text: write it in quotes"
            elif not _encodable(key):
                yield (*path, key), "found a name that is not text which can be encoded as UTF-8"
            else:
                yield from _unfit(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _unfit(item, (*path, index))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_text_keys(value: t.Any) -> t.Any:
    """The value without what JSON Schema can't look at: names that are no text are reported already."""
    if isinstance(value, c.Mapping):
        return {key: _with_text_keys(item) for key, item in value.items() if isinstance(key, str)}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value


def _finding(variable: str, path: Path, **clauses: t.Any) -> Finding:
    """The finding; of a secret variable no value is told, and no path unless its names are no secret."""
    if is_secret(variable):
        path = path if tells_names(variable) else ()
        clauses.pop("hint", None)
        clauses.update({"found": HIDDEN} if "found" in clauses else {})
    return Finding(path, Mistake(variable, path_text(variable, path), **clauses))


def _translated(variable: str, error: ValidationError) -> list[Finding]:
    """The jsonschema error in our words."""
    path: Path = tuple(error.absolute_path)
    wanted: t.Any = error.validator_value
    value: t.Any = error.instance
    if "propertyNames" in error.absolute_schema_path:
        reason = f"found {shown(value)} as a name, allowed is {_allowed(error)}"
        return [_finding(variable, (*path, str(value)), reason=reason)]
    if error.validator == "additionalProperties":
        return [_unknown_key(variable, path, key, error) for key in value if key not in _properties(error)]
    if error.validator == "required":
        return [
            _finding(variable, (*path, key), reason=f"is missing, it must be {_expected(_properties(error)[key])}")
            for key in wanted
            if key not in value
        ]
    if error.validator == "oneOf":
        # To JSON Schema what is no mapping has all keys that are required of mappings; the type keyword speaks of it.
        return [_one_of(variable, path, error)] if isinstance(value, c.Mapping) else []
    if error.validator in ("x-size", "format"):
        return [_finding(variable, path, reason=error.message)]
    hint = nearest(value, _strings(wanted)) if error.validator == "enum" else None
    allowed = f"one of {listed(wanted, _LISTED)}" if hint else _allowed(error)
    return [_finding(variable, path, found=shown(value), allowed=allowed, hint=hint)]


def _unknown_key(variable: str, path: Path, key: str, error: ValidationError) -> Finding:
    known = sorted(_properties(error))
    hint = nearest(key, known)
    reason = f"{shown(key)} is not known here, allowed are {listed(known, _LISTED if hint else len(known))}"
    return _finding(variable, (*path, key), reason=reason, hint=hint)


def _one_of(variable: str, path: Path, error: ValidationError) -> Finding:
    """oneOf is used for one thing alone: exactly one of some keys."""
    wanted: t.Any = error.validator_value
    value: t.Any = error.instance
    keys = [key for branch in wanted for key in branch["required"]]
    given = [key for key in keys if key in value]
    found = " and ".join(given) if given else "none of them"
    return _finding(variable, path, reason=f"found {found}, allowed is exactly one of {listed(keys)}")


def _properties(error: ValidationError) -> c.Mapping[str, t.Any]:
    properties: c.Mapping[str, t.Any] = t.cast("dict[str, t.Any]", error.schema)["properties"]
    return properties


def _expected(schema: c.Mapping[str, t.Any]) -> str:
    """What a missing key would have to be, as a clause."""
    if "x-size" in schema:
        return sizes.allowed(schema["x-size"]["unit"])
    if "enum" in schema:
        return _KEYWORDS["enum"](schema["enum"])
    return schema.get("x-allowed") or f"{_types(schema.get('type', 'string'))} such as {shown(schema['examples'][0])}"


def _types(wanted: str | list[str]) -> str:
    return " or ".join(_TYPES[one] for one in ([wanted] if isinstance(wanted, str) else wanted))


def _allowed(error: ValidationError) -> str:
    """What would have been right, as a clause."""
    schema = t.cast("dict[str, t.Any]", error.schema)
    if "x-allowed" in schema:
        return str(schema["x-allowed"])
    if "x-size" in schema:
        return sizes.allowed(schema["x-size"]["unit"])
    return _KEYWORDS[str(error.validator)](error.validator_value)


#: For each keyword that the documents use: what it allows. A test holds this table and the documents together.
_KEYWORDS: dict[str, c.Callable[[t.Any], str]] = {
    "enum": lambda values: f"one of {listed(map(_word, values), len(values))}",
    "exclusiveMinimum": lambda limit: f"a number above {limit}",
    "maximum": lambda limit: f"a number of at most {limit}",
    "maxItems": lambda limit: f"a list of at most {limit}",
    "maxLength": lambda limit: f"text of at most {limit} characters",
    "maxProperties": lambda limit: f"at most {limit} entries",
    "minimum": lambda limit: f"a number of at least {limit}",
    "minItems": lambda limit: f"a list of at least {limit}",
    "minProperties": lambda limit: f"at least {limit} entry" if limit == 1 else f"at least {limit} entries",
    "minLength": lambda limit: "text that is not empty" if limit == 1 else f"text of at least {limit} characters",
    "pattern": lambda pattern: f"text that matches {pattern}",
    "type": _types,
    "uniqueItems": lambda _value: "a list in which nothing stands twice",
}


def _word(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _strings(values: c.Iterable[t.Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


# -- the validator class: draft 2020-12 with our keywords, and stricter where jsonschema is lax


def _validator_class(jsonschema: t.Any) -> t.Any:
    draft = jsonschema.Draft202012Validator
    # JSON Schema takes 1.0 for an integer; a flavor of 1.0 vCPUs would then carry a float on.
    types = draft.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    )

    def keyword(check: c.Callable[[t.Any, t.Any], str | None]) -> t.Any:
        def run(_validator: t.Any, wanted: t.Any, value: t.Any, _schema: t.Any) -> c.Iterator[t.Any]:
            said = check(wanted, value)
            if said is not None:
                yield jsonschema.ValidationError(said)

        return run

    checks = {
        "format": keyword(_format),
        "pattern": keyword(_pattern),
        "x-size": keyword(_size),
    }
    return jsonschema.validators.extend(draft, validators=checks, type_checker=types)


def _pattern(pattern: str, value: t.Any) -> str | None:
    """As ECMA 262 has it: ``$`` is the very end, where Python's would let a newline follow."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$|\$(?=\))", r"\\Z", pattern), value):
        return "does not match"
    return None


def _size(wanted: c.Mapping[str, t.Any], value: t.Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None  # the type keyword says it
    try:
        number = sizes.parse(value, wanted["unit"])
    except InvalidInput as exc:
        return str(exc)
    if number < wanted["minimum"]:
        return f"found {shown(value)}, allowed is at least {wanted['minimum']} {wanted['unit']}"
    return None


def _format(wanted: str, value: t.Any) -> str | None:
    if not isinstance(value, str):
        return None
    allowed = _FORMATS[wanted](value)
    return f"found {shown(value)}, allowed is {allowed}" if allowed else None


def _cidr(value: str) -> str | None:
    allowed = "the address of a network and its prefix length, such as 192.0.2.0/24"
    address, slash, prefix = value.partition("/")
    if not slash or not prefix.isdigit():
        return allowed
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return allowed
    fits = ipaddress.ip_address(address) == network.network_address
    return None if fits else f"{network}, which has no host bits set"


def _ip_address(value: str) -> str | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return "an IP address"
    return "an IP address without a scope" if getattr(address, "scope_id", None) else None


def _mac(value: str) -> str | None:
    if not _MAC.fullmatch(value):
        return "a MAC address such as 52:54:00:12:34:56"
    if int(value[:2], 16) & 1:
        return "a unicast MAC address: the first of its bytes is even"
    return None


def _uuid(value: str) -> str | None:
    try:
        canonical = str(uuid.UUID(value))
    except ValueError:
        canonical = ""
    return None if value.lower() == canonical else "a UUID such as 6f2c1a54-6a3f-4c55-9f0e-8b6c1c0f6c11"


def _cpus(value: str) -> str | None:
    allowed = "numbers and ranges of CPUs, without those after ^, such as 0-3,^2,8"
    try:
        return None if parse_cpus(value) else f"{allowed}; at least one is left"
    except InvalidInput:
        return allowed


def _regex(value: str) -> str | None:
    try:
        re.compile(value)
    except re.error as exc:
        return f"a regular expression ({exc})"
    return None


_FORMATS: dict[str, c.Callable[[str], str | None]] = {
    "cidr": _cidr,
    "cpus": _cpus,
    "ip-address": _ip_address,
    "mac": _mac,
    "regex": _regex,
    "uuid": _uuid,
}
