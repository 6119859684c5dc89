# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts and servers: what surveys saw, what steps did, what stays when either is late."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support.ledgers import LAN, POOLS, build, claim, later, record, seen, win

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    InProgress,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    AddressRow,
    HostSeen,
    Ledger,
    ServerSeen,
    Wish,
)


def test_a_build_from_claim_to_record(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1", "kvm2")
    now = ledger.snapshot()
    server = now.servers[server_id]
    assert (server.host, server.vm_state, server.task_state, server.run_id) == ("kvm2", "active", None, None)
    assert server.loads() == record(server_id, "web1", addresses=["192.0.2.10"])
    assert now.claims == {}
    assert now.addresses == (AddressRow("lan", "192.0.2.10", server_id),)
    (action,) = ledger.actions(server_id)
    assert (action.action, action.host, action.result, action.run_id) == ("create", "kvm2", "Success", run_id)
    assert action.ended is not None
    assert action.ended >= action.started


def test_between_steps_of_one_run_the_claim_and_the_ownership_stay(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    ledger.begin_task(run_id, place.server_id, "spawning")
    made = record(place.server_id, "web1")
    ledger.finish(run_id, place.server_id, record=made, host="kvm1", vm_state="stopped", power_state=4, more=True)
    other = ledger.start_run("action")
    with pytest.raises(InProgress, match="by run"):
        ledger.begin_task(other, place.server_id, "powering-on")
    assert place.server_id in ledger.snapshot().claims
    ledger.begin_task(run_id, place.server_id, "powering-on")
    ledger.finish(run_id, place.server_id, record=made, vm_state="active", power_state=1)
    assert ledger.snapshot().claims == {}
    assert ledger.snapshot().servers[place.server_id].host == "kvm1"


def test_a_task_state_is_set_by_compare_and_swap(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.begin_task(run_id, server_id, "rebooting")
    with pytest.raises(InProgress, match="'rebooting'"):
        ledger.begin_task(run_id, server_id, "deleting")
    ledger.end_task(run_id, server_id)
    ledger.begin_task(run_id, server_id, "deleting")


def test_a_failure_keeps_what_is_there_and_says_why(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1", addresses=[LAN]))
    ledger.begin_task(run_id, place.server_id, "spawning", action="create")
    ledger.fail(run_id, place.server_id, "pool 'local' is full\0\udcff")
    ledger.end_run(run_id, "failed")
    now = ledger.snapshot()
    server = now.servers[place.server_id]
    assert (server.vm_state, server.task_state, server.run_id, server.fault) == (
        "error",
        None,
        None,
        "pool 'local' is full?",
    )
    assert (len(now.claims), len(now.addresses), now.runs) == (1, 1, {})
    assert ledger.actions(place.server_id)[0].result == "Error"


def test_a_built_server_stays_as_it_is_when_a_step_fails(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.begin_task(run_id, server_id, "rebooting")
    ledger.fail(run_id, server_id, "no answer", record=record(server_id, "web1", generation=5))
    server = ledger.snapshot().servers[server_id]
    assert (server.vm_state, server.generation, server.fault) == ("active", 5, "no answer")


def test_a_deleted_server_leaves_its_history_only(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.begin_task(run_id, server_id, "deleting", action="delete")
    ledger.finish(run_id, server_id, record=None)
    now = ledger.snapshot()
    assert (now.servers, now.claims, now.addresses) == ({}, {}, ())
    assert [action.action for action in ledger.actions(server_id)] == ["create", "delete"]
    with pytest.raises(Stale, match="no longer in the ledger"):
        ledger.begin_task(run_id, server_id, "powering-on")


def test_an_open_action_is_closed_when_its_run_ends(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.begin_task(run_id, server_id, "rebooting", action="reboot")
    ledger.end_run(run_id, "failed")
    assert ledger.actions(server_id)[-1].result == "Error"
    assert ledger.snapshot().servers[server_id].task_state is None


def test_observing_writes_differences_and_nothing_when_there_are_none(ledger: Ledger) -> None:
    found = [seen("id-1", "web1", addresses=["192.0.2.5"]), seen("id-2", "web2", "kvm2")]
    assert ledger.observe(found, since=later(ledger)) == ()
    before = ledger.snapshot()
    assert before.servers["id-1"].record == found[0].record
    assert before.addresses == (AddressRow("lan", "192.0.2.5", "id-1"),)
    assert ledger.observe(found, gone=["id-9"], since=later(ledger)) == ()
    after = ledger.snapshot()
    assert (after.servers, after.hosts) == (before.servers, before.hosts)
    ledger.observe(found[:1], gone=["id-2"], since=later(ledger))
    assert list(ledger.snapshot().servers) == ["id-1"]


def test_a_change_of_state_is_dated_and_others_leave_the_date(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1")], since=later(ledger))
    first = ledger.snapshot().servers["id-1"]
    ledger.observe([seen("id-1", "web1", generation=2)], since=later(ledger))
    second = ledger.snapshot().servers["id-1"]
    assert second.since == first.since
    assert second.updated > first.updated


def test_a_survey_that_began_before_a_deed_does_not_undo_it(ledger: Ledger, run_id: str) -> None:
    began = later(ledger)
    server_id = build(ledger, run_id, "web1")
    assert ledger.observe([], gone=[server_id], since=began) == (server_id,)
    assert server_id in ledger.snapshot().servers
    ghost = seen(server_id, "web1")
    began = later(ledger)
    ledger.begin_task(run_id, server_id, "deleting", action="delete")
    ledger.finish(run_id, server_id, record=None)
    assert ledger.observe([ghost], since=began) == (server_id,)
    assert ledger.snapshot().servers == {}


def test_what_a_live_run_is_at_is_not_observed_away(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    assert ledger.observe([], gone=[place.server_id], since=later(ledger)) == (place.server_id,)


def test_a_leftover_claim_ends_when_the_server_is_seen(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1"))
    ledger.begin_task(run_id, place.server_id, "spawning")
    ledger.end_run(run_id, "failed")
    assert place.server_id in ledger.snapshot().claims
    ledger.observe([seen(place.server_id, "web1")], since=later(ledger))
    assert ledger.snapshot().claims == {}


def test_a_claim_that_a_failed_step_left_ends_though_the_server_is_as_before(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    win(ledger, run_id, claim("web1", "kvm1", server_id, ram=4096))
    ledger.begin_task(run_id, server_id, "resize_prep")
    ledger.fail(run_id, server_id, "no")
    unchanged = seen(server_id, "web1", addresses=["192.0.2.10"])
    ledger.observe([unchanged], since=later(ledger))
    assert server_id in ledger.snapshot().claims
    ledger.end_run(run_id, "failed")
    ledger.observe([seen(server_id, "web1", "kvm2", addresses=["192.0.2.10"])], since=later(ledger))
    assert server_id in ledger.snapshot().claims
    ledger.observe([unchanged], since=later(ledger))
    assert ledger.snapshot().claims == {}


def test_names_may_go_round(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1"), seen("id-2", "web2")], since=later(ledger))
    assert ledger.observe([seen("id-1", "web2"), seen("id-2", "web1")], since=later(ledger)) == ()
    assert {row.id: row.name for row in ledger.snapshot().servers.values()} == {"id-1": "web2", "id-2": "web1"}


def test_live_namesakes_stay_as_the_ledger_has_them_and_keep_nobody_else(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1")], since=later(ledger))
    before = ledger.snapshot().servers["id-1"]
    newcomer, twins = seen("id-2", "web1", "kvm2"), [seen("id-3", "db1"), seen("id-4", "db1", "kvm2")]
    changed, other = seen("id-1", "web1", generation=2), seen("id-5", "web5")
    found = [changed, newcomer, *twins, other]
    for _twice in range(2):
        assert ledger.observe(found, since=later(ledger)) == ("id-1", "id-2", "id-3", "id-4")
        after = ledger.snapshot().servers
        assert after.keys() == {"id-1", "id-5"}
        assert after["id-1"] == before
    assert ledger.observe([changed, twins[1]], gone=["id-5"], since=later(ledger)) == ()
    assert ledger.snapshot().servers.keys() == {"id-1", "id-4"}


def test_a_name_is_free_that_a_gone_or_a_softly_deleted_server_had(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1"), seen("id-2", "web2")], since=later(ledger))
    deleted = dataclasses.replace(seen("id-2", "web2"), vm_state="soft-delete")
    found = [seen("id-3", "web1"), seen("id-4", "web2"), deleted]
    assert ledger.observe(found, gone=["id-1"], since=later(ledger)) == ()
    assert ledger.snapshot().servers.keys() == {"id-2", "id-3", "id-4"}


def test_a_namesake_that_is_left_out_keeps_its_old_name_from_others_too(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1"), seen("id-2", "web2")], since=later(ledger))
    renamed, newcomer = seen("id-1", "web2"), seen("id-3", "web1")
    assert ledger.observe([renamed, newcomer], since=later(ledger)) == ("id-1", "id-3")
    assert {row.id: row.name for row in ledger.snapshot().servers.values()} == {"id-1": "web1", "id-2": "web2"}


def test_a_step_that_ends_with_a_name_that_is_taken_is_a_conflict(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.observe([seen("id-2", "web2", "kvm2")], since=later(ledger))
    renamed = record(server_id, "web2", generation=2)
    sentence = f"two servers are called 'web2': id-2 on host 'kvm2' and {server_id} on host 'kvm1'"
    with pytest.raises(Conflict, match=sentence):
        ledger.finish(run_id, server_id, record=renamed, vm_state="active", power_state=1)
    with pytest.raises(Conflict, match=sentence):
        ledger.fail(run_id, server_id, "no", record=renamed)


def test_where_nothing_is_left_of_a_build_that_failed_it_may_begin_elsewhere(ledger: Ledger, run_id: str) -> None:
    (place,) = win(ledger, run_id, claim("web1", "kvm1", addresses=[LAN]))
    ledger.begin_task(run_id, place.server_id, "spawning")
    ledger.fail(run_id, place.server_id, "pool 'local' is full")
    began = later(ledger)
    assert ledger.observe([], nothing_left=[place.server_id], since=began) == ()
    assert place.server_id in ledger.snapshot().claims  # its run may try again
    ledger.end_run(run_id, "failed")
    other = ledger.start_run("reconcile")
    assert "half-built on host 'kvm1'" in ledger.claim(other, [claim("web1", "kvm2")]).refused["web1"]
    generation = ledger.snapshot().hosts["kvm1"].generation
    assert ledger.observe([], nothing_left=[place.server_id], since=later(ledger)) == ()
    after = ledger.snapshot()
    assert (after.servers, after.claims, after.addresses) == ({}, {}, ())
    assert after.hosts["kvm1"].generation > generation
    assert win(ledger, other, claim("web1", "kvm2", addresses=[LAN]))[0].addresses == place.addresses


def test_a_survey_that_began_before_a_build_or_its_end_proves_nothing(ledger: Ledger, run_id: str) -> None:
    before_claim = later(ledger)
    (place,) = win(ledger, run_id, claim("web1", "kvm1"))
    before_build = later(ledger)
    ledger.begin_task(run_id, place.server_id, "spawning")
    ledger.end_run(run_id, "lost")
    for began, told in ((before_claim, ()), (before_build, (place.server_id,))):
        assert ledger.observe([], nothing_left=[place.server_id], since=began) == told
        assert ledger.snapshot().claims[place.server_id].begun


def test_a_claim_of_a_built_server_is_dropped_where_nothing_is_left_of_it(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1", "kvm1")
    before = ledger.snapshot()
    win(ledger, run_id, claim("web1", "kvm2", server_id, addresses=[LAN, Wish("dmz", pools=POOLS)]))
    ledger.begin_task(run_id, server_id, "migrating")
    ledger.end_run(run_id, "failed")
    # It is where it was.
    its = before.servers[server_id].loads()
    assert its is not None
    found = ServerSeen.of(its, host="kvm1", vm_state="active", power_state=1)
    ledger.observe([found], nothing_left=[server_id], since=later(ledger))
    after = ledger.snapshot()
    assert after.claims == {}
    assert after.addresses == before.addresses
    assert after.servers[server_id].record == before.servers[server_id].record


def test_an_address_that_two_records_hold_stays_with_the_first(ledger: Ledger) -> None:
    ledger.observe([seen("id-1", "web1", addresses=["192.0.2.5"])], since=later(ledger))
    ledger.observe([seen("id-2", "web2", addresses=["192.0.2.5"])], since=later(ledger))
    assert ledger.snapshot().addresses == (AddressRow("lan", "192.0.2.5", "id-1"),)


def test_a_survey_is_dated_and_a_service_state_voids_choices(ledger: Ledger) -> None:
    before = ledger.snapshot().hosts["kvm1"]
    later(ledger)
    ledger.save_survey([HostSeen("kvm1", "id-1", summary={"memory": 1024})])
    same = ledger.snapshot().hosts["kvm1"]
    assert same.generation == before.generation
    assert same.summary == {"memory": 1024}
    assert (same.surveyed or 0) > (before.surveyed or 0)
    assert ledger.set_service("kvm1", "disabled", "disks are slow")
    assert not ledger.set_service("kvm1", "disabled", "disks are slow")
    after = ledger.snapshot().hosts["kvm1"]
    assert (after.service_state, after.service_reason) == ("disabled", "disks are slow")
    assert after.generation == before.generation + 1


def test_what_is_sealed_is_a_servers_own_and_goes_with_it(ledger: Ledger, run_id: str) -> None:
    web1, web2 = build(ledger, run_id, "web1"), build(ledger, run_id, "web2")
    ledger.seal(web1, "one")
    ledger.seal(web2, "two")
    ledger.seal(web1, "another")
    assert (ledger.sealed(web1), ledger.sealed(web2)) == ("another", "two")
    ledger.seal(web2, None)
    assert ledger.sealed(web2) is None
    ledger.begin_task(run_id, web1, "deleting")
    ledger.finish(run_id, web1, record=None)
    assert ledger.sealed(web1) is None
    ledger.seal(web1, "too late")
    assert ledger.sealed(web1) is None
