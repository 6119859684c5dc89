# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frozen dataclasses to plain JSON and back, for every value that travels between hosts, ledger and metadata.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidRecord

Json = t.Any  # what json.loads gives: the shape is checked where it is read
Nested = t.Mapping[str, t.Callable[[Json], t.Any]]

_T = t.TypeVar("_T")


def fields(value: t.Any) -> dict[str, Json]:
    """Plain JSON of a dataclass. (dataclasses.asdict deep-copies everything and is ten times slower.)"""
    return {name: _to_json(getattr(value, name)) for name in _field_names(type(value))}


#: What stands for itself in JSON. Looked at first: nearly all that a record holds is of these.
_PLAIN = frozenset((str, int, bool, float, type(None)))


def _to_json(value: t.Any) -> Json:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {str(key): _to_json(item) for key, item in value.items()}
    if kind is tuple or kind is list:
        return [_to_json(item) for item in value]
    if dataclasses.is_dataclass(value):
        return fields(value)
    if isinstance(value, t.Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return value


def from_json(cls: type[_T], data: Json, what: str, nested: Nested) -> _T:
    """The inverse of ``fields``. *nested* makes the values of the fields it names; *what* is for the sentence.

    Raises InvalidRecord for anything that isn't a mapping of known keys with values that *nested* can read.
    """
    if not isinstance(data, dict):
        raise InvalidRecord(f"a {what} should be a mapping, found {type(data).__name__}")
    names = _field_names(cls)
    unknown = sorted(set(data) - names)
    if unknown:
        raise InvalidRecord(
            f"a {what} has keys this Flotilla doesn't know: {', '.join(unknown)}; use the newer collection"
        )
    try:
        return cls(**{key: nested[key](value) if key in nested else value for key, value in data.items()})
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise InvalidRecord(f"a {what} can't be read: {exc}") from exc


_FIELD_NAMES: dict[type, frozenset[str]] = {}


def _field_names(cls: type) -> frozenset[str]:
    if cls not in _FIELD_NAMES:
        _FIELD_NAMES[cls] = frozenset(field.name for field in dataclasses.fields(cls))
    return _FIELD_NAMES[cls]


__all__ = ["Json", "Nested", "fields", "from_json"]
