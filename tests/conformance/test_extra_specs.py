# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The extra specs that Nova 34.0.0 knows: each takes a good value here and refuses a bad one, by Nova's own rules."""

from __future__ import annotations

import json
import re
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import extra_specs
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.extra_specs import problem

Spec = dict[str, t.Any]

SPECS: dict[str, Spec] = json.loads((Path(__file__).parent / "vectors/extra_specs.json").read_text(encoding="utf-8"))

#: Text that fits each of Nova's patterns, of names and of values.
FITS = {
    r"(:\w+)*": ["", ":features", ":a:b"],
    r".+": ["rack", "any thing"],
    r"\d+": ["0", "12"],
    r"[A-Z0-9_]+": ["GOLD", "A_1"],
    r"([a-zA-Z0-9_-]{1,64})?": ["", "1", "_gpu-2"],
    r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*": ["0-3,^1", "2", "^1,4-5"],
    r"(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*": ["^0-1", "3"],
    r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)": ["large", "2MB", "1048576", "1GiB"],
    r"([a-zA-Z0-9_]+(,)?)+": ["6GB", "6GB,1GB_b"],
    r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*": ["gpu:1", "gpu:2, nic:1"],
}
TYPES = {"<class 'str'>": "str", "<class 'int'>": "int", "<class 'bool'>": "bool"}


def names(name: str, spec: Spec) -> list[str]:
    """Real names of a spec: with each of its parameters filled in."""
    found = [name]
    for parameter in spec["parameters"]:
        fits = FITS[parameter["pattern"]]
        found = [one.replace(f"{{{parameter['name']}}}", fit) for one in found for fit in fits]
    return found


def good(value: Spec) -> list[t.Any]:
    if "enum" in value:
        return list(value["enum"])
    if "pattern" in value:
        return list(FITS[value["pattern"]])
    kind = TYPES[value["type"]]
    if kind == "bool":
        return [True, False, "yes", "0", "T"]
    if kind == "int":
        least = value.get("min", -5)
        return [least, str(least), value.get("max", 4096)]
    return ["anything at all", "1"]


def bad(value: Spec) -> list[t.Any]:
    """Values that Nova refuses; none of a spec that takes any text."""
    if "enum" in value:
        return ["", "no such choice", value["enum"][0].upper() + "X"]
    if "pattern" in value:
        return [":", "a:b:c", "-,"]
    kind = TYPES[value["type"]]
    if kind == "bool":
        return ["maybe", "2", ""]
    if kind == "int":
        limits = [value["min"] - 1] if "min" in value else []
        limits += [value["max"] + 1] if "max" in value else []
        return ["many", "1.5", "", True, *limits]
    return []


def test_all_specs_of_nova_are_carried() -> None:
    table = load("extra_specs")
    kept = {re.sub(r"\{.*\}", "", name): rule for name, rule in table["specs"].items()}
    seen = set()
    for name, spec in SPECS.items():
        if name.startswith(("trait{", "resources{")):
            continue
        plain = name.partition("{")[0]
        seen.add(plain)
        rule, value = kept[plain], spec["value"]
        assert rule["type"] == TYPES[value["type"]], name
        assert {key: rule.get(key) for key in ("enum", "min", "max")} == {
            key: value.get(key) for key in ("enum", "min", "max")
        }, name
        assert ("pattern" in rule) == ("pattern" in value), name
        assert rule.get("deprecated", False) == spec["deprecated"], name
    assert seen == set(kept)
    for kind in ("trait", "resources"):
        words = set(table["traits" if kind == "trait" else kind].split())
        nova = {name.partition(":")[2] for name in SPECS if name.startswith(f"{kind}{{")}
        assert words == {word for word in nova if not word.startswith("CUSTOM_{")}


@pytest.mark.parametrize("name", SPECS)
def test_good_values_pass_and_bad_ones_are_refused(name: str) -> None:
    spec = SPECS[name]
    for real in names(name, spec):
        for value in good(spec["value"]):
            assert problem(real, value) is None, (real, value)
        for value in bad(spec["value"]):
            clauses = problem(real, value)
            assert clauses is not None, (real, value)
            assert clauses["allowed"], (real, value)


@pytest.mark.parametrize("name", [name for name in SPECS if ":" in name and "{" not in name])
def test_a_misspelt_name_is_refused_with_the_right_one(name: str) -> None:
    namespace, _colon, rest = name.partition(":")
    wrong = f"{namespace}:{rest[:-1]}{rest[-1] * 2}"
    clauses = problem(wrong, "1")
    assert clauses is not None
    hint = clauses["hint"]
    assert hint.startswith(f"{namespace}:")
    # Of names that are as near as the meant one, any may be proposed: it must be a name that Nova knows.
    assert problem(hint, good(SPECS[hint]["value"])[0]) is None


PATTERNS = sorted({spec["value"]["pattern"] for spec in SPECS.values() if "pattern" in spec["value"]})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="01a_,-^: \n", max_size=12))
def test_values_match_as_by_novas_patterns(text: str) -> None:
    for name, spec in SPECS.items():
        if "pattern" in spec["value"]:
            real = names(name, spec)[0]
            assert (problem(real, text) is None) == bool(re.fullmatch(spec["value"]["pattern"], text)), (name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hw:pmem", "a" * 200 + "-"),
        ("hw:cpu_dedicated_mask", "0" + ",1-2" * 60 + "x"),
        ("hw:numa_cpus.0", "0" + ",1-2" * 60 + "x"),
        ("hw:cpu_realtime_mask", "^0" + ",^1-2" * 50 + "x"),
        ("pci_passthrough:alias", ", ".join(["gpu:1"] * 35) + ", x"),
        ("hw:mem_page_size", "1" * 250 + "x"),
    ],
)
def test_a_long_wrong_value_is_refused_at_once(name: str, text: str) -> None:
    began = time.monotonic()
    assert problem(name, text) is not None
    assert time.monotonic() - began < 1


def test_deprecated_names_work_and_are_never_proposed() -> None:
    old = [name for name, spec in SPECS.items() if spec["deprecated"]]
    assert old == ["hide_hypervisor_id"]
    assert problem("hide_hypervisor_id", "true") is None
    assert problem("hide_hypervisor_id", "perhaps") is not None
    assert all(":" in name for name in extra_specs._table()[0] if name not in (*old, "group_policy"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("HW:cpu_policy", "hw:cpu_policy"),
        ("hv:cpu_policy", "hw:cpu_policy"),
        ("qouta:cpu_shares", "quota:cpu_shares"),
        ("capability:vcpus", "capabilities:vcpus"),
        ("site:cpu_policy_of_ours", None),
        ("rack:cpu_policy", None),
    ],
)
def test_a_misspelt_namespace_is_refused_where_the_rest_is_a_name_of_novas(name: str, hint: str | None) -> None:
    clauses = problem(name, "1")
    assert (clauses and clauses["hint"]) == hint
