# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON Schemas themselves: they serve editors too, and the code beside them must not fall behind."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

import jsonschema
import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import documents, shapes
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import (
    INTERNAL,
    PREFIXES,
    coerced,
    document,
    is_secret,
    variables,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import FleetSettings

FAMILIES = pytest.mark.parametrize("family", PREFIXES)
COLLECTION = pathlib.Path(documents.__file__).parents[3]


def subschemas(schema: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Every schema in the schema; what stands under examples, defaults and enums is data."""
    if isinstance(schema, list):
        for item in schema:
            yield from subschemas(item)
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            for item in value.values():
                yield from subschemas(item)
        elif key not in ("examples", "default", "enum", "x-size"):
            yield from subschemas(value)


@FAMILIES
def test_is_a_json_schema(family: str) -> None:
    jsonschema.Draft202012Validator.check_schema(document(family))


@FAMILIES
def test_variables_have_the_prefix_and_are_closed_to_no_other(family: str) -> None:
    assert all(name.startswith(PREFIXES[family]) for name in document(family)["properties"])
    assert "additionalProperties" not in document(family)


@FAMILIES
def test_every_property_helps_in_an_editor(family: str) -> None:
    for schema in subschemas(document(family)):
        for name, found in schema.get("properties", {}).items():
            assert found["description"].endswith("."), name
            assert found["examples"], name


@FAMILIES
def test_examples_and_defaults_are_valid(family: str) -> None:
    checker = shapes.Shapes()
    for name, schema in document(family)["properties"].items():
        for value in [*schema["examples"], *([schema["default"]] if "default" in schema else [])]:
            assert checker.findings(name, coerced(name, value)) == (), f"{name}: {value!r}"


@FAMILIES
def test_nested_examples_and_defaults_are_valid(family: str) -> None:
    root = document(family)
    validator = jsonschema.Draft202012Validator(root)
    for schema in subschemas(root):
        for found in schema.get("properties", {}).values() if schema is not root else ():
            for value in [*found["examples"], *([found["default"]] if "default" in found else [])]:
                assert list(validator.evolve(schema=found).iter_errors(value)) == []


@FAMILIES
def test_every_keyword_has_its_words(family: str) -> None:
    """A keyword that is used in a document and unknown to the messages would be a KeyError to a user."""
    silent = {"$comment", "$defs", "$id", "$ref", "$schema", "default", "description", "examples", "title"}
    ours = {"x-allowed", "x-secret", "x-size", "format"}
    structure = {"additionalProperties", "items", "oneOf", "properties", "propertyNames", "required"}
    for schema in subschemas(document(family)):
        assert set(schema) <= silent | ours | structure | set(shapes._KEYWORDS)
        assert schema.get("format") in {None, *shapes._FORMATS}
        for branch in schema.get("oneOf", ()):
            assert set(branch) == {"required"}


def test_secrets_are_marked() -> None:
    assert sorted(filter(is_secret, variables())) == [
        "compute_fence",
        "compute_host_tls_passphrase",
        "fleet_action_options",
        "fleet_ledger",
        "fleet_secret_key",
        "server_admin_password",
        "server_personality",
        "server_user_data",
    ]
    assert not is_secret("ansible_password")
    assert not is_secret("fleet_unknown")


def test_fleet_settings_have_every_scalar_variable() -> None:
    fields = {f"fleet_{field.name}" for field in dataclasses.fields(FleetSettings)}
    catalogs = {name for name in variables() if document("fleet")["properties"].get(name, {}).get("propertyNames")}

    assert fields == set(document("fleet")["properties"]) - catalogs


def test_scheduler_options_are_the_schedulers() -> None:
    options = document("fleet")["$defs"]["scheduler"]["properties"]

    assert set(options) - {"shuffle"} == {field.name for field in dataclasses.fields(Settings)}
    assert Settings.from_variable({"batch": "off", "ram_weight_multiplier": -1.0}).batch == "off"
    defaults = Settings()
    for name, schema in options.items():
        if "default" in schema and name != "shuffle":
            default = getattr(defaults, name)
            assert schema["default"] == (list(default) if isinstance(default, tuple) else default), name


def test_playbooks_use_variables_and_names_of_the_list() -> None:
    word = re.compile(r"(?<!flotilla\.compute\.)\b(?:fleet|compute|server)_[a-z_]+\b")
    used: set[str] = set()
    tasks = [*(COLLECTION / "playbooks").rglob("*.yml"), *(COLLECTION / "roles/fleet/tasks").glob("*.yml")]
    for playbook in tasks:
        lines = (line.partition(" #")[0] for line in playbook.read_text(encoding="utf-8").splitlines())
        used |= {name for line in lines if not line.lstrip().startswith("#") for name in word.findall(line)}

    assert used <= variables() | INTERNAL


def test_internal_names_are_no_variables() -> None:
    assert not INTERNAL & variables()
    assert all(documents.family_of(name) for name in INTERNAL)
    assert documents.family_of("ansible_host") is None


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("fleet_strict", "Yes", True),
        ("fleet_strict", "off", False),
        ("fleet_strict", "perhaps", "perhaps"),
        ("fleet_strict", 1, 1),
        ("fleet_timeout", " 30 ", 30),
        ("fleet_timeout", "-30", "-30"),
        ("fleet_timeout", "٣", "٣"),
        ("fleet_timeout", "9" * 16, "9" * 16),
        ("fleet_allow", "restart, delete,", ["restart", "delete"]),
        ("fleet_allow", ["restart"], ["restart"]),
        ("fleet_servers", "", []),
        ("fleet_max_failures", "20%", "20%"),
        ("fleet_flavors", "true", "true"),
        ("fleet_name", "1", "1"),
        ("fleet_unknown", "1", "1"),
    ],
)
def test_coerced(variable: str, value: t.Any, expected: t.Any) -> None:
    result = coerced(variable, value)

    assert (type(result), result) == (type(expected), expected)
