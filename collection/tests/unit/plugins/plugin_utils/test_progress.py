# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step that goes on by itself is asked for until it has ended, and people see how far it is."""

from __future__ import annotations

import typing as t

import pytest
from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import MIB
from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import Carrier
from ansible_collections.flotilla.compute.plugins.plugin_utils._progress import how_far

Json = dict[str, t.Any]


class Answered(Carrier):
    """A carrier whose host gives these answers."""

    def __init__(self, *answers: Json) -> None:
        self.answers = list(answers)
        self.asked: list[t.Sequence[Json]] = []

    def perform(self, args: Json) -> Json:
        raise NotImplementedError

    def _call(self, entry: Json, deeds: t.Sequence[Json]) -> Json:
        self.asked.append(deeds)
        return self.answers.pop(0)


def under_way(done: int) -> Json:
    progress = {"done": done * 1024**2, "total": 200 * 1024**2}
    return {"results": [{"kind": "snapshot", "changed": True, "running": True, "told": {"progress": progress}}]}


def test_progress_is_shown_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Display(), "display", lambda text, *_args, **_kwargs: shown.append(text))
    ended = {"results": [{"kind": "snapshot", "changed": True}]}
    carrier = Answered(under_way(0), under_way(50), ended)
    deeds = [{"kind": "stop"}, {"kind": "snapshot", "options": {"watch": 4, "rotation": 2}}]
    assert carrier._call_to_the_end({"name": "web1"}, deeds) == ended
    assert [line.rpartition(",")[0] for line in shown] == [
        "web1: snapshot: 0 of 200 MiB (0 %)",
        "web1: snapshot: 50 of 200 MiB (25 %)",
    ]
    elapsed = []
    for stop, snapshot in carrier.asked:
        assert stop == {"kind": "stop"}
        elapsed.append(snapshot["options"].pop("elapsed"))
        assert snapshot == deeds[1]
    assert elapsed == sorted(elapsed)
    assert elapsed[0] >= 0


def test_how_far_a_copy_is() -> None:
    told = {"done": 256 * MIB, "total": 1024 * MIB}
    assert how_far(told) == "256 of 1024 MiB (25 %)"
    assert how_far({**told, "phase": "copying root"}) == "copying root: 256 of 1024 MiB (25 %)"
    assert how_far({"phase": "stop"}) == "stop"
    assert how_far({}) == "begun"


def test_how_far_a_migration_is() -> None:
    mib = 1024**2
    told = {"done": 30 * mib, "total": 40 * mib, "remaining": 10 * mib, "rate": 5 * mib, "expected_downtime": 90}
    line = "30 of 40 MiB (75 %), 10 MiB left at 5.0 MiB/s, 2 s to go, expected downtime 90 ms"
    assert how_far({**told, "seconds_left": 2, "phase": "running"}) == line
    assert how_far({**told, "rate": 0, "seconds_left": None, "phase": "paused"}) == (
        "30 of 40 MiB (75 %), 10 MiB left at 0.0 MiB/s, expected downtime 90 ms, paused"
    )
    assert how_far({"phase": "preparing"}) == "preparing"
    assert how_far({}) == "begun"


def test_a_failure_ends_it() -> None:
    failed = {**under_way(0), "failed": True, "msg": "no room"}
    assert Answered(under_way(0), failed)._call_to_the_end({"name": "web1"}, []) == failed
