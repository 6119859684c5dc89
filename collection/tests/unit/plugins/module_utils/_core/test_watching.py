# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a watcher has a host evacuated, and when it must do nothing: tables, and laws over made-up histories."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.watching import (
    Decision,
    Rules,
    Watch,
    doubtful,
    step,
)

ALL = tuple(f"kvm{n}" for n in range(1, 11))
LOG = ("missed", "back")


def beats(*dead: str, hosts: t.Sequence[str] = ALL) -> dict[str, dict[str, bool]]:
    return {host: {"SSH": host not in dead, "libvirt": host not in dead} for host in hosts}


def watched(
    rounds: t.Iterable[t.Mapping[str, t.Mapping[str, bool]]],
    rules: Rules | None = None,
    every: float = 10.0,
    away: t.Mapping[str, str] | None = None,
) -> list[tuple[int, Decision]]:
    """The number of the round of each decision, from 1, and the decision; a first round in which all answer is round
    0. *away*: what is said of the hosts that are asked about."""
    rules = rules or Rules()
    every_round = list(rounds)
    state, _news = step(Watch(), {host: {"SSH": True} for host in every_round[0]}, rules, now=0.0)
    found = []
    for number, one in enumerate(every_round, 1):
        asked = {host: told for host, told in (away or {}).items() if host in doubtful(state, one, rules)}
        state, decisions = step(state, one, rules, now=number * every, away=asked)
        found += [(number, decision) for decision in decisions]
    return found


def done(found: t.Iterable[tuple[int, Decision]]) -> list[tuple[int, str, str]]:
    return [(number, one.kind, one.host) for number, one in found if one.kind not in LOG]


def test_a_host_is_evacuated_with_its_third_missed_beat_and_only_then() -> None:
    assert done(watched([beats("kvm1")] * 2)) == []
    assert done(watched([beats("kvm1")] * 9)) == [(3, "evacuate", "kvm1")]


def test_one_path_that_answers_is_a_beat() -> None:
    half = {**beats(), "kvm1": {"SSH": False, "libvirt": True}}
    assert watched([half] * 9) == []
    assert done(watched([{**beats(), "kvm1": {}}] * 3)) == [(3, "evacuate", "kvm1")], "no path is no beat"


def test_beats_are_missed_in_a_row() -> None:
    assert done(watched([beats("kvm1"), beats("kvm1"), beats()] * 5)) == []


def test_a_host_that_was_back_can_die_again() -> None:
    assert done(watched([*[beats("kvm1")] * 3, beats(), *[beats("kvm1")] * 3])) == [
        (3, "evacuate", "kvm1"),
        (7, "evacuate", "kvm1"),
    ]


@pytest.mark.parametrize("dead", [5, 6, 10])
def test_a_watcher_that_does_not_see_most_of_the_fleet_does_nothing(dead: int) -> None:
    found = done(watched([*[beats(*ALL[:dead])] * 9, beats()]))
    assert found == [(1, "blind", ""), (10, "sees", "")]


def test_what_was_missed_while_blind_does_not_count() -> None:
    """The watcher's own link is back, one host's a moment later: it has not died."""
    rounds = [*[beats(*ALL)] * 9, beats("kvm1"), beats("kvm1"), beats()]
    assert [kind for _number, kind, _host in done(watched(rounds))] == ["blind", "sees"]
    rounds[-1:] = [beats("kvm1")]
    assert done(watched(rounds))[-1] == (12, "evacuate", "kvm1")


def test_two_hosts_alone_decide_nothing_of_each_other() -> None:
    both = ("kvm1", "kvm2")
    assert done(watched([beats("kvm1", hosts=both)] * 9)) == [(1, "blind", "")]
    three = ("kvm1", "kvm2", "kvm3")
    assert done(watched([beats("kvm1", hosts=three)] * 9)) == [(3, "evacuate", "kvm1")]


def test_more_than_the_share_at_once_is_a_persons_to_decide() -> None:
    found = watched([beats("kvm1", "kvm2", "kvm3")] * 9)
    assert done(found) == [(3, "ask", "")]
    assert found[-1][1].reason == (
        "3 of 10 hosts are out of reach (kvm1, kvm2, kvm3), more than 2: the watcher stops and evacuates no more until "
        "a person has looked and starts it anew"
    )
    assert done(watched([beats("kvm1", "kvm2")] * 3)) == [(3, "evacuate", "kvm1"), (3, "evacuate", "kvm2")]


def test_hosts_that_only_begin_to_fall_silent_are_waited_for() -> None:
    rounds = [beats("kvm1")] * 2 + [beats("kvm1", "kvm2", "kvm3")] + [beats("kvm1")]
    assert done(watched(rounds)) == [(4, "evacuate", "kvm1")]
    rounds = [beats("kvm1")] * 2 + [beats("kvm1", "kvm2", "kvm3")] * 3
    assert done(watched(rounds)) == [(5, "ask", "")]


def test_one_host_more_than_the_window_lets_is_a_persons_to_decide() -> None:
    rules = Rules(max_hosts=1, window=1000.0)
    back = [*[beats("kvm1")] * 3, beats(), *[beats("kvm2")] * 9, *[beats("kvm3")] * 9]
    assert done(watched(back, rules)) == [(3, "evacuate", "kvm1"), (7, "ask", "")], "and no more after that"
    later = watched(back[:7], rules, every=400.0)
    assert done(later) == [(3, "evacuate", "kvm1"), (7, "evacuate", "kvm2")]


def test_a_host_that_never_answered_this_watcher_is_not_evacuated() -> None:
    state, found = Watch(), []
    for number in range(9):
        state, decisions = step(state, beats("kvm1"), Rules(), now=float(number))
        found += [(one.kind, one.host) for one in decisions if one.kind not in LOG]
    assert found == [("sees", ""), ("ask", "kvm1")]
    assert not state.stopped
    for number in range(9, 12):
        state, decisions = step(state, beats("kvm1", "kvm2"), Rules(), now=float(number))
    assert ("evacuate", "kvm2") in [(one.kind, one.host) for one in decisions]


def test_it_says_at_its_beginning_whether_it_sees_the_fleet() -> None:
    for dead, kind, said in ((1, "sees", "sees 9 of 10 hosts"), (7, "blind", "doesn't see 7 of 10 hosts")):
        _state, news = step(Watch(), beats(*ALL[:dead]), Rules(), now=0.0)
        assert (news[0].kind, said in news[0].reason) == (kind, True)


def test_a_host_that_inventory_no_longer_names_is_forgotten() -> None:
    rounds = [beats("kvm1"), beats("kvm1"), beats(hosts=ALL[1:]), beats("kvm1"), beats("kvm1")]
    assert done(watched(rounds)) == []


HISTORY = st.lists(st.sets(st.integers(0, 9), max_size=10), min_size=1, max_size=40)
RULES = st.builds(
    Rules,
    misses=st.integers(1, 4),
    max_unreachable=st.sampled_from([0.1, 0.2, 0.5]),
    max_hosts=st.integers(1, 3),
    window=st.sampled_from([50.0, 200.0]),
)


@settings(max_examples=100, deadline=None)
@given(history=HISTORY, rules=RULES)
def test_laws(history: list[set[int]], rules: Rules) -> None:
    rounds = [beats(*(ALL[number] for number in sorted(dead))) for dead in history]
    found = watched(rounds, rules)
    evacuated = [(number, one.host) for number, one in found if one.kind == "evacuate"]
    for number, host in evacuated:
        silent = history[number - 1]
        # It missed every one of the last beats, and the watcher saw most of the fleet in all of them.
        last = history[number - rules.misses : number]
        assert len(last) == rules.misses
        assert all(ALL.index(host) in dead and 2 * len(dead) < len(ALL) for dead in last)
        assert len(silent) <= rules.may_be_out(len(ALL))
        within = [at for at, _host in evacuated if number - rules.window / 10 < at <= number]
        assert len(within) <= rules.max_hosts
    # After it has stopped it does nothing more.
    stops = [number for number, one in found if one.kind == "ask"]
    assert len(stops) <= 1
    assert not [number for number, _host in evacuated if stops and number > stops[0]]
    # Nobody is evacuated twice without having been seen in between.
    for host in {host for _number, host in evacuated}:
        turns = [number for number, each in evacuated if each == host]
        assert all(
            any(ALL.index(host) not in dead for dead in history[first:then]) for first, then in zip(turns, turns[1:])
        )


@settings(max_examples=50, deadline=None)
@given(rules=RULES, before=st.integers(0, 5))
def test_one_host_that_dies_alone_is_evacuated_with_its_last_beat(rules: Rules, before: int) -> None:
    rounds = [beats()] * before + [beats("kvm4")] * rules.misses
    assert done(watched(rounds, rules)) == [(before + rules.misses, "evacuate", "kvm4")]


AWAY = {"kvm3": "it is in maintenance (new memory)"}


def test_a_host_out_of_service_is_left_to_people() -> None:
    found = watched([*[beats("kvm3")] * 9, beats(), *[beats("kvm3")] * 3], away=AWAY)
    assert done(found) == [(3, "left", "kvm3"), (13, "left", "kvm3")]
    told = "kvm3 doesn't answer, and it is in maintenance (new memory): left to people"
    assert next(one for _number, one in found if one.kind == "left").reason == told
    assert [number for number, one in found if one.kind == "back"] == [10]


def test_a_host_that_is_left_counts_for_no_limit() -> None:
    """One of five may be out of reach: the one in maintenance is not it."""
    hosts = ALL[:5]
    rounds = [*[beats("kvm3", hosts=hosts)] * 3, *[beats("kvm1", "kvm3", hosts=hosts)] * 3]
    assert done(watched(rounds, away=AWAY)) == [(3, "left", "kvm3"), (6, "evacuate", "kvm1")]
    assert done(watched(rounds))[-1][1] == "ask"


def test_hosts_that_are_left_make_no_watcher_blind() -> None:
    away = dict.fromkeys(ALL[:3], "it is disabled")
    left = [(1, "left", host) for host in ALL[:3]]
    six, five = ALL[:6], ALL[:5]
    rounds = [*[beats(*ALL[:3], hosts=six)] * 2, *[beats(*ALL[:4], hosts=six)] * 3]
    assert done(watched(rounds, away=away)) == [*left, (5, "evacuate", "kvm4")]
    rounds = [*[beats(*ALL[:3], hosts=five)] * 2, *[beats(*ALL[:4], hosts=five)] * 3]
    assert done(watched(rounds, away=away)) == [*left, (3, "blind", "")], "of the two in service one is no quorum"


def test_it_is_asked_once_a_silence_and_only_when_it_matters() -> None:
    rules = Rules()
    state, _news = step(Watch(), beats(), rules, now=0.0)
    asked = []
    for number in range(1, 7):
        asked.append(doubtful(state, beats("kvm1", "kvm3"), rules))
        away = {host: AWAY[host] for host in asked[-1] if host in AWAY}
        state, _news = step(state, beats("kvm1", "kvm3"), rules, now=number * 10.0, away=away)
    assert asked == [(), (), ("kvm1", "kvm3"), (), (), ()]
    assert doubtful(state, beats(*ALL), rules) == tuple(sorted(set(ALL) - {"kvm1", "kvm3"})), "it doesn't see most"
