# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack, unpack


@pytest.mark.parametrize("value", [None, {}, [1, 2.5, "ü🐧\u0000"], {"a": {"b": [None, True]}}, "x" * 100_000])
def test_what_is_packed_comes_back(value: t.Any) -> None:
    assert unpack(pack(value)) == value


def test_equal_values_pack_alike_whatever_their_order() -> None:
    assert pack({"a": 1, "b": 2}) == pack({"b": 2, "a": 1})


@pytest.mark.parametrize("text", ["", "?", "YQ==", pack({"a": "b" * 1000})[:-8], "ü"])
def test_what_was_cut_short_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="can't be unpacked"):
        unpack(text)
