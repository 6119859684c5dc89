# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON Schemas of the inventory variables: one document for each prefix.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The documents beside this file also serve editors. Beyond JSON Schema's own keywords they use:

``x-allowed``     what a message says is allowed, where the keywords would be hard to read
``x-secret``      the value is never shown; ``"values"``: the names in it are
``x-size``        a size as in sizes.py: its unit and the least that is allowed
"""

from __future__ import annotations

import functools
import json
import pathlib
import typing as t

__all__ = ["INTERNAL", "PREFIXES", "coerced", "document", "family_of", "is_secret", "load", "tells_names", "variables"]

PREFIXES = {"fleet": "fleet_", "compute": "compute_", "server": "server_"}

#: Names with our prefixes that the playbooks register or set themselves, so that they are no mistake. A test holds this
#: list and the playbooks together.
INTERNAL = frozenset(
    {
        "fleet_act",
        "fleet_cpus",
        "fleet_declared",
        "fleet_elsewhere",
        "fleet_enrolled",
        "fleet_enrolled_elsewhere",
        "fleet_fences",
        "fleet_guests",
        "fleet_images_done",
        "fleet_images_elsewhere",
        "fleet_looked",
        "fleet_mine",
        "fleet_patience",
        "fleet_plan",
        "fleet_problems",
        "fleet_read_only",
        "fleet_result",
        "fleet_said_dead",
        "fleet_silent",
        "fleet_survey",
        "fleet_survey_ssh_args",
    }
)

_LISTS = frozenset({"#/$defs/names", "#/$defs/leaves"})

_TRUE = frozenset({"true", "yes", "on", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "f", "0"})


def load(name: str) -> dict[str, t.Any]:
    """The JSON file *name* of this folder."""
    data: dict[str, t.Any] = json.loads(pathlib.Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    return data


@functools.cache
def document(family: str) -> dict[str, t.Any]:
    """The JSON Schema of ``fleet``, ``compute`` or ``server`` variables."""
    return load(family)


@functools.cache
def variables() -> frozenset[str]:
    """The names of all inventory variables."""
    return frozenset(name for family in PREFIXES for name in document(family)["properties"])


def family_of(variable: str) -> str | None:
    """``fleet``, ``compute`` or ``server``; None for a variable that is not ours."""
    return next((family for family, prefix in PREFIXES.items() if variable.startswith(prefix)), None)


def is_secret(variable: str) -> bool:
    """Whether the variable's value may be shown nowhere."""
    family = family_of(variable)
    return family is not None and bool(document(family)["properties"].get(variable, {}).get("x-secret"))


def tells_names(variable: str) -> bool:
    """Whether of a secret variable the names in it may be shown, though not what stands under them."""
    family = family_of(variable)
    return family is not None and document(family)["properties"].get(variable, {}).get("x-secret") == "values"


def coerced(variable: str, value: t.Any) -> t.Any:
    """A fleet variable that came as text, which is what ``-e name=value`` gives, as its schema's type.

    Of lists of names the text has commas between them. What can't be read so stays text and fails against the schema,
    with what was found in the message.
    """
    if not isinstance(value, str):
        return value
    schema = document("fleet")["properties"].get(variable, {})
    if schema.get("$ref") in _LISTS:
        return [item.strip() for item in value.split(",") if item.strip()]
    wanted = schema.get("type")
    word = value.strip().lower()
    if wanted == "boolean" and word in _TRUE | _FALSE:
        return word in _TRUE
    if wanted == "integer" and word.isascii() and word.isdigit() and len(word) <= 15:
        return int(word)
    return value
