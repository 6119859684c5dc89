# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a mistake reads."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import (
    HIDDEN,
    Mistake,
    listed,
    merge,
    nearest,
    path_text,
    shown,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", r"'a\nb'"),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        ("x" * 100, "'" + "x" * 78 + "…"),
        ("https://user:secret@example.org/", "'https://***@example.org/'"),
        ({"key": "-----BEGIN PRIVATE KEY-----"}, HIDDEN),
        pytest.param(10**5000, "a value that is too large to show", id="huge"),
    ],
)
def test_shown(value: t.Any, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("m1.smal", ["m1.small", "m1.large"], "m1.small"),
        ("M1.SMALL", ["m1.small"], "m1.small"),
        ("debian", ["debian-12", "alpine"], "debian-12"),
        ("zzz", ["m1.small"], None),
        (7, ["7"], None),
        ("x" * 300, ["x" * 299], None),
        ("a", [], None),
    ],
)
def test_nearest(name: t.Any, names: list[str], expected: str | None) -> None:
    assert nearest(name, names) == expected


def test_listed() -> None:
    assert listed([]) == "none"
    assert listed(["b", "a"]) == "b, a"
    assert listed("abcd", 3) == "a, b and 2 more"


def test_path_text() -> None:
    assert path_text("fleet_networks", ("lan", "dns", 0)) == "fleet_networks.lan.dns[0]"
    assert path_text("server_metadata", ("a\nb",)) == r"server_metadata.'a\nb'"


def test_sentence_with_everything() -> None:
    mistake = Mistake(
        "server_flavor", "server_flavor", hosts=("a", "b"), source="web.yml", found="'x'", allowed="y", hint="y"
    )

    assert str(mistake) == "server_flavor (hosts a, b, web.yml): found 'x', allowed is y; did you mean 'y'?"


def test_sentence_of_a_reason_ends_once() -> None:
    assert str(Mistake("v", "v", reason="is wrong.")) == "v: is wrong."
    assert str(Mistake("v", "v", reason="is wrong")) == "v: is wrong."


def test_merge_keeps_what_differs_apart() -> None:
    one = Mistake("v", "v", hosts=("b",), reason="is wrong")
    other = Mistake("v", "v", hosts=("a",), reason="is wrong")
    apart = Mistake("v", "v", hosts=("a",), reason="is wrong too")

    assert [(found.hosts, found.reason) for found in merge([one, other, apart, one])] == [
        (("a",), "is wrong too"),
        (("a", "b"), "is wrong"),
    ]
