# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.hostname import MAX_LENGTH, hostname_of


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("web1", "web1"),
        ("Web_1 test", "web-1-test"),
        ("db.example.org", "db-example-org"),
        ("-.web.-", "web"),
        ("a/b;c$(d)", "abcd"),
        ("\u0431web\U0001f600", "web"),
        ("x" * 70, "x" * 63),
        ("caf\u00e9", "caf\u00e9"),  # Latin-1 letters are let through, as in Nova
    ],
)
def test_hostname_by_novas_rule(name: str, hostname: str) -> None:
    assert hostname_of(name) == hostname


@pytest.mark.parametrize("name", ["", "...", "\u4e2d\u6587", "///"])
def test_a_name_that_leaves_nothing_gets_the_fallback(name: str) -> None:
    assert hostname_of(name, fallback="server-1") == "server-1"
    assert hostname_of(name) == ""


@given(st.text())
def test_any_name_gives_a_label(name: str) -> None:
    hostname = hostname_of(name)
    assert len(hostname) <= MAX_LENGTH
    assert not set(hostname) & set(" ._/\n\0\"'<&$")
    assert hostname == hostname.strip("-")
