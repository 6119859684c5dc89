# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes as text and as numbers."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.sizes import LIMIT, gib, mib


@pytest.mark.parametrize(
    ("value", "expected"),
    [(512, 512), ("512MiB", 512), ("8GiB", 8192), ("8 GiB", 8192), ("1TiB", 1048576), (0, 0), ("0MiB", 0)],
)
def test_mib(value: t.Any, expected: int) -> None:
    assert mib(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(20, 20), ("20GiB", 20), ("2048MiB", 2), ("1 TiB", 1024)])
def test_gib(value: t.Any, expected: int) -> None:
    assert gib(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "8", "8GB", "8gib", "8G", "-8GiB", "1.5GiB", "8  GiB", "8GiB\n", " 8GiB", "٨GiB", "9" * 99 + "GiB"],
)
@pytest.mark.parametrize("parse", [mib, gib])
def test_refused_text(parse: t.Callable[[t.Any], int], value: str) -> None:
    with pytest.raises(InvalidInput, match=r"allowed is a whole number of [MG]iB, or text such as"):
        parse(value)


@pytest.mark.parametrize("value", [None, True, 1.0, [1], {"GiB": 1}])
def test_refused_types(value: t.Any) -> None:
    with pytest.raises(InvalidInput):
        mib(value)


def test_refuses_what_is_not_whole() -> None:
    with pytest.raises(InvalidInput, match="found '1025MiB', allowed is a whole number of GiB"):
        gib("1025MiB")


HUGE = 10**5000  # more digits than Python makes a text of


@pytest.mark.parametrize("value", [LIMIT + 1, "2048TiB", pytest.param(HUGE, id="huge"), pytest.param(-HUGE, id="low")])
def test_refuses_more_than_nova_keeps(value: t.Any) -> None:
    with pytest.raises(InvalidInput, match=f"at most {LIMIT} MiB"):
        mib(value)


@given(st.integers(min_value=0, max_value=LIMIT // 1024))
def test_units_agree(number: int) -> None:
    assert mib(f"{number}GiB") == 1024 * gib(number) == mib(f"{1024 * number} MiB")
