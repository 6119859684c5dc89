# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which servers of a group are interrupted together, in which order, and when no more may be."""

from __future__ import annotations

import collections
import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rolling import (
    Rounds,
    Turn,
    interrupts,
    rounds,
    too_many,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import WEB, fleet

RESTART = ("stop", "reconfigure", "start")


def planned(steps: dict[str, t.Sequence[str]], groups: dict[str, str], **settings: t.Any) -> Rounds:
    catalog = {name: {"policy": "soft-anti-affinity"} for name in set(groups.values())}
    servers = {name: {**WEB, **({"server_group": groups[name]} if name in groups else {})} for name in steps}
    return rounds(steps, fleet(servers, fleet_server_groups=catalog, **settings))


@pytest.mark.parametrize(
    ("kinds", "so"),
    [
        (RESTART, True),
        (("stop", "rebuild", "start"), True),
        (("update", "stop", "reconfigure", "start", "pause"), True),
        (("resume", "stop"), False),
        (("stop",), False),
        (("stop", "reconfigure"), False),
        (("start",), False),
        (("reconfigure", "start"), False),
        (("create", "start"), False),
        (("soft_delete",), False),
        (("reboot",), True),
        ((), False),
    ],
)
def test_interrupted_is_who_goes_down_and_comes_up_again(kinds: tuple[str, ...], so: bool) -> None:
    assert interrupts(kinds) is so


def test_without_a_limit_all_are_in_one_round() -> None:
    assert planned({"a": RESTART, "new": ("create",), "b": RESTART}, {}) == Rounds(("new",), ("a", "b"))


def test_each_group_rolls_by_itself_and_what_interrupts_nobody_goes_first() -> None:
    steps: dict[str, t.Sequence[str]] = {
        "web1": RESTART,
        "web2": RESTART,
        "web3": RESTART,
        "db1": RESTART,
        "new1": ("create", "start"),
        "off1": ("stop",),
        "web4": RESTART,
    }
    groups = {"web1": "web", "web2": "web", "web3": "web", "web4": "web", "db1": "db"}
    found = planned(steps, groups, fleet_max_disrupted=2)
    assert found.together == ("new1", "off1")
    assert found.order == ("web1", "web2", "db1", "web3", "web4")
    assert found.sizes == (3, 2)
    assert found.turns == {
        "web1": Turn("web", 2, 0),
        "web2": Turn("web", 2, 1),
        "db1": Turn("db", 2, 0),
        "web3": Turn("web", 2, 0),
        "web4": Turn("web", 2, 1),
    }
    assert planned(steps, groups, fleet_max_disrupted="25%").sizes == (2, 1, 1, 1)  # a quarter of four; of one, one


@given(
    st.dictionaries(st.from_regex(r"\A[a-z][0-9]{1,2}\Z"), st.sampled_from([RESTART, ("start",)]), max_size=20),
    st.integers(0, 5) | st.sampled_from(["0%", "10%", "50%", "100%"]),
)
def test_no_round_has_more_of_a_group_than_the_limit_and_nobody_is_left_out(
    steps: dict[str, t.Sequence[str]], limit: int | str
) -> None:
    found = planned(steps, {name: name[0] for name in steps if name[0] < "m"}, fleet_max_disrupted=limit)
    assert sorted((*found.order, *found.together)) == sorted(steps)
    assert sum(found.sizes) == len(found.order)
    left = iter(found.order)
    for size in found.sizes:
        turns = [found.turns[name] for name in itertools.islice(left, size)]
        for group, count in collections.Counter(turn.group for turn in turns).items():
            mine = [turn for turn in turns if turn.group == group]
            assert count <= mine[0].limit
            assert sorted(turn.position for turn in mine) == list(range(count))


def test_one_that_is_not_healthy_takes_the_place_of_another() -> None:
    first, second = ({"group": "web", "limit": 2, "position": position} for position in (0, 1))
    assert (too_many(first, ()), too_many(second, ())) == ("", "")
    assert too_many(first, ["web1"]) == ""
    assert too_many(second, ["web1"]) == (
        "not begun: fleet_max_disrupted lets 2 of server group 'web' be down at once, and not healthy are web1; "
        "mend them and run again"
    )
    assert "are web1, web2, web3 and 1 more;" in too_many(first, ["web4", "web2", "web1", "web3"])
    assert "of no server group" in too_many({"group": "", "limit": 1, "position": 0}, ["a"])
