# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moves between hosts take places at both ends, and a run that empties a host can be told to stop."""

from __future__ import annotations

import collections
import random
import typing as t

import pytest
from tests.support.ledgers import build, claim, record, win

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

Ends = tuple[str, str]


def begin(ledger: Ledger, run_id: str, server_id: str, ends: Ends, at_once: int = 1) -> bool:
    """Whether there was a place."""
    step: dict[str, t.Any] = {"action": "migrate", "host": ends[0], "limit": 10, "timeout": 0.0}
    try:
        ledger.begin_step(run_id, server_id, "resize_migrating", **step, ends=ends, at_once=at_once)
    except InProgress:
        return False
    return True


@pytest.mark.parametrize("at_once", [1, 3])
def test_never_more_moves_at_an_end_than_are_allowed(ledger: Ledger, run_id: str, at_once: int) -> None:
    dice = random.Random(at_once)
    hosts = ["kvm1", "kvm2", "kvm3", "kvm4"]
    servers = [build(ledger, run_id, f"web{number}") for number in range(12)]
    under_way: dict[str, Ends] = {}
    refused = 0
    for _turn in range(60):
        server = dice.choice(servers)
        if server in under_way:
            ledger.fail(run_id, server, "no")
            del under_way[server]
            continue
        source, destination = dice.sample(hosts, 2)
        taken = collections.Counter(end for ends in under_way.values() for end in ends)
        win(ledger, run_id, claim(f"web{servers.index(server)}", destination, server))
        room = max(taken[source], taken[destination]) < at_once
        assert begin(ledger, run_id, server, (source, destination), at_once) == room, (under_way, source, destination)
        refused += not room
        if room:
            under_way[server] = (source, destination)
    assert refused > 3
    ledger.end_run(run_id, "done")
    another = ledger.start_run("again")
    win(ledger, another, claim("web0", "kvm2", servers[0]), claim("web1", "kvm2", servers[1]))
    assert begin(ledger, another, servers[0], ("kvm1", "kvm2"))
    told = "all 1 slots for move on host 'kvm3 or kvm2' .* raise fleet_max_concurrent_migrations"
    with pytest.raises(InProgress, match=told):
        ledger.begin_step(
            another, servers[1], "x", action="migrate", host="kvm3", limit=10, timeout=0.0, ends=("kvm3", "kvm2")
        )


def test_a_run_that_empties_a_host_is_the_only_one_and_is_stopped_between_moves(ledger: Ledger, run_id: str) -> None:
    assert ledger.stop_host("kvm1", "ops") is None
    first, second = (build(ledger, run_id, name) for name in ("web1", "web2"))
    win(ledger, run_id, claim("web1", "kvm2", first), claim("web2", "kvm2", second))
    ledger.hold_host(run_id, "kvm1")
    ledger.hold_host(run_id, "kvm1")
    other = ledger.start_run("drain")
    with pytest.raises(InProgress, match=rf"kvm1 is being emptied or filled again by run {run_id}"):
        ledger.hold_host(other, "kvm1")
    ledger.hold_host(other, "kvm2")
    assert begin(ledger, run_id, first, ("kvm1", "kvm2"))
    stopped = ledger.stop_host("kvm1", "ops")
    assert stopped is not None
    assert (stopped.id, stopped.stop) == (run_id, "ops")
    again = ledger.stop_host("kvm1", "another")
    assert again is not None
    assert again.stop == "ops"
    with pytest.raises(Refused, match="not begun: ops told this run to stop"):
        begin(ledger, run_id, second, ("kvm1", "kvm2"))
    assert not ledger.snapshot().claims[second].begun
    ledger.fail(run_id, first, "it ends as it will")  # what is under way is not cut off
    ledger.end_run(run_id, "failed")
    assert ledger.stop_host("kvm1", "ops") is None
    ledger.hold_host(other, "kvm1")


def test_one_that_has_arrived_and_is_not_well_is_where_it_is(ledger: Ledger, run_id: str) -> None:
    server = build(ledger, run_id, "web1")
    win(ledger, run_id, claim("web1", "kvm2", server))
    assert begin(ledger, run_id, server, ("kvm1", "kvm2"))
    before = ledger.snapshot()
    ledger.fail(run_id, server, "it runs on others' cores", record=record(server, "web1"), host="kvm2")
    after = ledger.snapshot()
    assert (after.servers[server].host, after.servers[server].fault) == ("kvm2", "it runs on others' cores")
    assert after.claims == {}
    assert all(after.hosts[name].generation > before.hosts[name].generation for name in ("kvm1", "kvm2"))
