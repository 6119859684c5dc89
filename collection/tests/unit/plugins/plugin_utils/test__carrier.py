# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a build that failed may be tried on another host: only if the host that failed has said that nothing is left."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._carrier import (
    _attempts_left,
    _is_host_s_fault,
    _may_try_again,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import nothing_left

BUILD: dict[str, t.Any] = {"deeds": [{"kind": "create"}, {"kind": "start"}], "attempts": 3}
START: dict[str, t.Any] = {"deeds": [{"kind": "start"}], "attempts": 1}


def failed(**last: t.Any) -> dict[str, t.Any]:
    return {"failed": True, "results": [{"kind": "create", "failed": True, **last}]}


@pytest.mark.parametrize(
    ("entry", "outcome", "again"),
    [
        (BUILD, failed(nothing_left=True), True),
        # It may still be there, or be built: the host did not say, did not answer, or its module died or hangs.
        (BUILD, failed(), False),
        (BUILD, {}, False),
        (BUILD, {"unreachable": True, "failed": True}, False),
        (BUILD, {"failed": True, "msg": "MODULE FAILURE"}, False),
        (BUILD, {"failed": True, "results": []}, False),
        # No other host would do better.
        (BUILD, failed(nothing_left=True, abort=True), False),
        # Not a build.
        (START, {"failed": True, "results": [{"kind": "start", "failed": True, "nothing_left": True}]}, False),
        (BUILD, {"results": [{"kind": "create"}, {"kind": "start"}]}, False),
    ],
)
def test_a_build_goes_elsewhere(entry: dict[str, t.Any], outcome: dict[str, t.Any], again: bool) -> None:
    assert (_is_host_s_fault(entry, outcome) and nothing_left(outcome)) is again


@pytest.mark.parametrize(
    ("attempts", "tried", "says"),
    [
        (3, [], {"reschedule": True}),
        (3, ["kvm1"], {"reschedule": True}),
        (3, ["kvm1", "kvm2"], {"exhausted": True}),
        (1, [], {}),
        (None, [], {}),
    ],
)
def test_no_more_hosts_than_max_attempts(attempts: int | None, tried: list[str], says: dict[str, bool]) -> None:
    entry = {**BUILD, "attempts": attempts, "tried": [{"host": host, "cause": "no"} for host in tried]}
    assert _may_try_again(entry) == says
    assert _attempts_left(entry) is bool(says.get("reschedule"))
