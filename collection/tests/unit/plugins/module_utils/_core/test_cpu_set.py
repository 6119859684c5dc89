# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import format_cpus, parse_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", ()),
        ("3", (3,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-3,^2,8", (0, 1, 3, 8)),
        ("^2, 0 - 3", (0, 1, 3)),  # Nova: an exception counts wherever it stands
        ("1,1,0-1,", (0, 1)),
        ("^1", ()),
        ("0-7,^2-5", (0, 1, 6, 7)),
    ],
)
def test_novas_syntax(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "^3-0", "1;2", "0-99999", "1.5", "--", "٣"])
def test_what_is_no_set_is_refused_by_its_part(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no set of CPUs"):
        parse_cpus(text)


@given(st.sets(st.integers(0, 16383), max_size=20))
def test_a_set_is_read_as_it_is_written(cpus: set[int]) -> None:
    assert parse_cpus(format_cpus(cpus)) == tuple(sorted(cpus))


def test_the_shortest_text() -> None:
    assert format_cpus([9, 0, 1, 2, 4, 1]) == "0-2,4,9"
