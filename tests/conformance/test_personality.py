# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metadata of many kinds of servers against what Nova's own code gave for the same (generate_personality.py)."""

from __future__ import annotations

import base64
import functools
import json
import typing as t
from pathlib import Path

import pytest
from tests.conformance.personality_kinds import KINDS, PLAIN
from tests.support.personality import personality

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import service_tree, tree

Json = dict[str, t.Any]
VECTORS = Path(__file__).with_name("personality.json")


@functools.cache
def vectors() -> Json:
    found: Json = json.loads(VECTORS.read_text())
    return found


def _read(path: str, data: bytes) -> t.Any:
    """A document as what it says; of a random seed its length."""
    if not path.endswith(".json"):
        return data
    document = json.loads(data)
    if isinstance(document.get("random_seed"), str):
        document["random_seed"] = len(base64.b64decode(document["random_seed"]))
    return document


def test_there_are_many_kinds_and_nova_was_asked_about_each() -> None:
    assert len(KINDS) >= 40
    assert {name: kind["given"] for name, kind in vectors()["kinds"].items()} == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_the_drive_is_nova_s_file_by_file(name: str) -> None:
    nova = vectors()["kinds"][name]
    found = tree(personality({**PLAIN, **KINDS[name]}))
    assert sorted(found) == sorted(nova["drive"])
    for path, number in nova["drive"].items():
        assert _read(path, found[path]) == _read(path, base64.b64decode(nova["contents"][number])), path


@pytest.mark.parametrize("name", KINDS)
def test_the_service_answers_as_nova_s(name: str) -> None:
    nova = vectors()["kinds"][name]
    found = service_tree(personality({**PLAIN, **KINDS[name]}), today=vectors()["today"], address="192.0.2.99")
    # Nova lists all but the names that it lists keys by.
    assert {path for path in found if not path.endswith("/_name")} == set(nova["service"])
    for path, (kind, number) in nova["service"].items():
        answer = found[path]
        assert answer.content_type == kind, path
        assert _read(path, answer.body) == _read(path, base64.b64decode(nova["contents"][number])), path
