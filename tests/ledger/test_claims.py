# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims: all or none, on what was seen, and never two of one."""

from __future__ import annotations

import dataclasses
import time

import pytest
from tests.support.ledgers import LAN, POOLS, build, claim, record, win

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Stale
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    Fit,
    FitCell,
    FittedDevice,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    AddressRow,
    Controller,
    Ledger,
    Snapshot,
    Wish,
)

GONE = dataclasses.replace(Controller.here(), pid=2**22 + 1)  # above Linux's largest process number


def test_a_claim_draws_an_id_takes_the_lowest_address_and_shows_in_the_snapshot(ledger: Ledger, run_id: str) -> None:
    before = ledger.snapshot().hosts["kvm1"].generation
    result = ledger.claim(run_id, [claim("web1", addresses=[LAN], expects=before)])
    place = result.won["web1"]
    after = ledger.snapshot()
    assert place.addresses == ("192.0.2.10",)
    assert after.hosts["kvm1"].generation == before + 1
    server = after.servers[place.server_id]
    assert (server.name, server.host, server.vm_state, server.task_state) == ("web1", "kvm1", "building", "scheduling")
    assert server.run_id == run_id
    assert after.claims[place.server_id].ram == 512
    assert after.addresses == (AddressRow("lan", "192.0.2.10", place.server_id),)


def test_cores_and_devices_that_are_claimed_are_seen_by_others_until_they_are_let_go(
    ledger: Ledger, run_id: str
) -> None:
    device = FittedDevice("gpu", PciDevice("0000:af:00.0", "10de", "1eb8", numa_node=1))
    fit = Fit((FitCell(0, 1, (0, 1), 512, 2048, {0: 9, 1: 11}, cpu_policy=DEDICATED),), None, (9, 11), (device,))
    pinned, plain = win(ledger, run_id, dataclasses.replace(claim("db1"), fit=fit), claim("web1"))
    claims = ledger.snapshot().claims
    assert (claims[pinned.server_id].fitted, claims[plain.server_id].fitted) == (fit, None)
    assert claims[plain.server_id].fit is None
    ledger.release(run_id)
    assert ledger.snapshot().claims == {}


def test_who_looked_at_an_older_generation_has_to_look_again_and_nothing_is_written(
    ledger: Ledger, run_id: str
) -> None:
    seen = {name: host.generation for name, host in ledger.snapshot().hosts.items()}
    win(ledger, run_id, claim("web1", "kvm1", expects=seen["kvm1"]))
    other = ledger.start_run("reconcile")
    before = ledger.snapshot()
    claims = [claim("web2", "kvm2", expects=seen["kvm2"]), claim("web3", "kvm1", expects=seen["kvm1"])]
    assert ledger.claim(other, claims).stale == ("kvm1",)
    assert ledger.snapshot().servers == before.servers


def test_a_host_that_the_ledger_never_saw_is_stale(ledger: Ledger, run_id: str) -> None:
    assert ledger.claim(run_id, [claim("web1", "kvm9", expects=1)]).stale == ("kvm9",)


def test_releasing_bumps_the_generation_too(ledger: Ledger, run_id: str) -> None:
    win(ledger, run_id, claim("web1", "kvm2"))
    before = ledger.snapshot().hosts["kvm2"].generation
    ledger.release(run_id)
    after = ledger.snapshot()
    assert after.hosts["kvm2"].generation > before
    assert (after.servers, after.claims, after.addresses) == ({}, {}, ())


def test_a_server_in_the_hands_of_a_live_run_is_refused_by_id_and_by_name(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    other = ledger.start_run("migrate")
    by_name = ledger.claim(other, [claim("web1", "kvm2")])
    by_id = ledger.claim(other, [claim("renamed", "kvm2", place.server_id)])
    for name, result in (("web1", by_name), ("renamed", by_id)):
        assert result.won == {}
        assert run_id in result.refused[name]
        assert "'reconcile'" in result.refused[name]


def test_a_server_that_another_run_has_built_meanwhile_is_not_built_again(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1", "kvm2")
    other = ledger.start_run("reconcile")
    refused = ledger.claim(other, [claim("web1", "kvm1")]).refused["web1"]
    assert server_id in refused
    assert "'kvm2'" in refused


def test_one_name_twice_in_a_plan_is_refused(ledger: Ledger, run_id: str) -> None:
    assert "twice" in ledger.claim(run_id, [claim("web1", "kvm1"), claim("web1", "kvm2")]).refused["web1"]


def test_the_check_sees_the_ledger_under_the_lock_and_can_refuse(ledger: Ledger, run_id: str) -> None:
    win(ledger, run_id, claim("web1"))

    def check(now: Snapshot) -> dict[str, str]:
        return {"web2": f"{len(now.servers)} is enough"}

    assert ledger.claim(run_id, [claim("web2")], check=check).refused == {"web2": "1 is enough"}
    assert len(ledger.snapshot().servers) == 1


def test_what_a_killed_run_had_not_begun_is_free_again(ledger: Ledger) -> None:
    dead = ledger.start_run("reconcile", GONE)
    win(ledger, dead, claim("web1", "kvm1", addresses=[LAN]))
    run_id = ledger.start_run("reconcile")
    assert ledger.snapshot().claims == {}
    (again,) = win(ledger, run_id, claim("web1", "kvm2", addresses=[LAN]))
    assert again.addresses == ("192.0.2.10",)


def test_what_a_killed_run_had_begun_is_taken_over_under_its_id_and_only_where_it_may_be(ledger: Ledger) -> None:
    dead = ledger.start_run("reconcile", GONE)
    (place,) = win(ledger, dead, claim("web1", "kvm1", addresses=[LAN]))
    ledger.begin_task(dead, place.server_id, "spawning")
    run_id = ledger.start_run("reconcile")
    assert ledger.snapshot().claims[place.server_id].begun
    assert "half-built on host 'kvm1'" in ledger.claim(run_id, [claim("web1", "kvm2")]).refused["web1"]
    (again,) = win(ledger, run_id, claim("web1", "kvm1", addresses=[LAN]))
    assert again == place
    assert len(ledger.snapshot().claims) == len(ledger.snapshot().addresses) == 1
    ledger.finish(run_id, place.server_id, record=None)
    assert win(ledger, run_id, claim("web1", "kvm2"))[0].server_id != place.server_id


def test_a_run_that_was_given_up_can_write_no_more(ledger: Ledger) -> None:
    dead = ledger.start_run("reconcile", GONE)
    (place,) = win(ledger, dead, claim("web1"))
    ledger.start_run("reconcile")
    for write in (
        lambda: ledger.renew(dead),
        lambda: ledger.claim(dead, [claim("web2")]),
        lambda: ledger.begin_task(dead, place.server_id, "spawning"),
        lambda: ledger.finish(dead, place.server_id, record=record(place.server_id, "web1")),
    ):
        with pytest.raises(Stale, match="is over"):
            write()


def test_a_lost_lease_ends_a_run_on_a_machine_that_can_not_be_seen(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = ledger.start_run("reconcile", dataclasses.replace(GONE, hostname="elsewhere"))
    assert far in ledger.live_runs()
    monkeypatch.setattr("ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part.LEASE", 0.05)
    deadline = time.monotonic() + 5
    while far in ledger.live_runs():
        assert time.monotonic() < deadline
    assert ledger.snapshot().runs == {}


def test_a_run_that_is_seen_at_work_lives_on_however_silent(
    ledger: Ledger, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    monkeypatch.setattr("ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part.LEASE", -1.0)
    other = ledger.start_run("reconcile")  # buries the dead
    assert {run_id, other} == ledger.live_runs().keys()
    assert run_id in ledger.claim(other, [claim("web1", "kvm2")]).refused["web1"]
    ledger.begin_task(run_id, place.server_id, "spawning")


def test_a_server_keeps_its_address_and_explicit_ones_are_unique(ledger: Ledger, run_id: str) -> None:
    fixed = [Wish("lan", fixed="192.0.2.77")]
    (place,) = win(ledger, run_id, claim("web1", addresses=fixed))
    assert "taken by server 'web1'" in ledger.claim(run_id, [claim("web2", addresses=fixed)]).refused["web2"]
    (again,) = win(ledger, run_id, claim("web1", "kvm2", place.server_id, addresses=[LAN]))
    assert again.addresses == ("192.0.2.77",)
    other = [Wish("dmz", fixed="192.0.2.77")]
    assert win(ledger, run_id, claim("web2", addresses=other))[0].addresses == ("192.0.2.77",)


def test_reserved_addresses_are_left_out_and_an_empty_pool_is_a_refusal(ledger: Ledger, run_id: str) -> None:
    tight = Wish("lan", pools=[("192.0.2.10", "192.0.2.11")], reserved=["192.0.2.10"])
    assert win(ledger, run_id, claim("web1", addresses=[tight]))[0].addresses == ("192.0.2.11",)
    refused = ledger.claim(run_id, [claim("web2", addresses=[tight]), claim("web3", addresses=[LAN])]).refused
    assert list(refused) == ["web2"]
    assert "no free address" in refused["web2"]
    assert len(ledger.snapshot().servers) == 1


def test_who_wants_one_very_address_comes_before_who_takes_any(ledger: Ledger, run_id: str) -> None:
    claims = [claim("web1", addresses=[LAN]), claim("web2", addresses=[Wish("lan", fixed="192.0.2.10")])]
    assert [place.addresses for place in win(ledger, run_id, *claims)] == [("192.0.2.11",), ("192.0.2.10",)]


def test_two_addresses_in_one_network_differ(ledger: Ledger, run_id: str) -> None:
    wishes = [LAN, LAN, Wish("lan6", pools=[("2001:db8::10", "2001:db8::ffff:ffff:ffff")])]
    addresses = win(ledger, run_id, claim("web1", addresses=wishes))[0].addresses
    assert addresses == ("192.0.2.10", "192.0.2.11", "2001:db8::10")


def test_a_move_that_never_began_leaves_the_server_as_it_was(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1", "kvm1")
    before = ledger.snapshot()
    win(ledger, run_id, claim("web1", "kvm2", server_id, addresses=[LAN, Wish("dmz", pools=POOLS)]))
    assert ledger.snapshot().claims[server_id].host == "kvm2"
    assert ledger.snapshot().servers[server_id].host == "kvm1"
    ledger.end_run(run_id, "done")
    after = ledger.snapshot()
    assert after.addresses == before.addresses
    assert after.claims == {}
    assert after.servers[server_id].record == before.servers[server_id].record


def test_a_soft_deleted_server_gives_its_name_away_and_keeps_its_address(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    address = ledger.snapshot().addresses[0].address
    made = record(server_id, "web1", generation=2, addresses=[address])
    ledger.finish(run_id, server_id, record=made, vm_state="soft-delete", power_state=4)
    (place,) = win(ledger, run_id, claim("web1", addresses=[LAN]))
    assert place.server_id != server_id
    assert place.addresses != (address,)


def test_what_a_claim_takes_of_a_site_s_own_resources_is_in_its_row(ledger: Ledger, run_id: str) -> None:
    win(ledger, run_id, claim("web1", resources={"CUSTOM_GPU": 2}, project="acme"))
    (row,) = ledger.snapshot().claims.values()
    assert (row.resources, row.project) == ({"CUSTOM_GPU": 2}, "acme")


def test_a_build_of_which_nothing_is_left_moves_to_another_host_with_its_id_and_addresses(
    ledger: Ledger, run_id: str
) -> None:
    (first,) = win(ledger, run_id, claim("web1", "kvm1", addresses=[LAN]))
    ledger.begin_task(run_id, first.server_id, "spawning", action="create")
    ledger.fail(run_id, first.server_id, "the pool is full", failed_build="kvm1")
    again = claim("web1", "kvm2", first.server_id, addresses=[LAN], expects=ledger.snapshot().hosts["kvm2"].generation)
    assert "half-built on host 'kvm1'" in ledger.claim(run_id, [again]).refused["web1"]
    before = ledger.snapshot().hosts
    result = ledger.claim(run_id, [again], nothing_left=[first.server_id])
    assert result.won["web1"] == dataclasses.replace(first, host="kvm2")
    now = ledger.snapshot()
    assert [(row.host, row.begun) for row in now.claims.values()] == [("kvm2", False)]
    assert [now.hosts[name].generation > before[name].generation for name in ("kvm1", "kvm2")] == [True, True]
    ledger.begin_task(run_id, first.server_id, "spawning", action="create")
    made = record(first.server_id, "web1", addresses=first.addresses)
    ledger.finish(run_id, first.server_id, record=made, host="kvm2", vm_state="active", power_state=1)
    journal = [(row.host, row.result) for row in ledger.actions(first.server_id)]
    assert journal == [("kvm1", "Error"), ("kvm2", "Success")]


def test_what_another_run_has_half_built_never_moves(ledger: Ledger, run_id: str) -> None:
    (first,) = win(ledger, run_id, claim("web1", "kvm1"))
    ledger.begin_task(run_id, first.server_id, "spawning", action="create")
    ledger.fail(run_id, first.server_id, "the pool is full")
    ledger.end_run(run_id, "failed")
    other = ledger.start_run("reconcile")
    result = ledger.claim(other, [claim("web1", "kvm2", first.server_id)], nothing_left=[first.server_id])
    assert "half-built on host 'kvm1'" in result.refused["web1"]


def test_failed_builds_are_counted_by_host_until_one_succeeds(ledger: Ledger, run_id: str) -> None:
    def counted() -> list[int]:
        return [ledger.snapshot().hosts[name].failed_builds for name in ("kvm1", "kvm2")]

    for name in ("web1", "web2"):
        (place,) = win(ledger, run_id, claim(name))
        ledger.begin_task(run_id, place.server_id, "spawning", action="create")
        ledger.fail(run_id, place.server_id, "no", failed_build="kvm1")
    (place,) = win(ledger, run_id, claim("web3", "kvm2"))
    ledger.fail_before(run_id, place.server_id, "kvm2", "its image could not be fetched")
    assert counted() == [2, 1]
    assert [(row.action, row.host, row.result) for row in ledger.actions(place.server_id)] == [
        ("create", "kvm2", "Error")
    ]
    build(ledger, run_id, "web4", "kvm1")
    assert counted() == [0, 1]
    ledger.set_service("kvm2", "disabled", "looked at")
    assert counted() == [0, 0]
