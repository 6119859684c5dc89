# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator mends in the ledger: a server that a run has left busy, a host that is gone for good."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest
from tests.support.ledgers import LAN, build, claim, seen, win

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller, Ledger


def test_a_server_that_a_dead_run_left_busy_is_free_again(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ledger.begin_task(run_id, server_id, "rebooting", action="reboot")
    with pytest.raises(InProgress, match="server 'web1' is not stuck: run "):
        ledger.reset_state("web1", nothing_left=False, seen=None)
    ledger.fail(run_id, server_id, "libvirt has gone")
    before = ledger.snapshot()
    told = ledger.reset_state("web1", nothing_left=False, seen=("stopped", 4), dry=True)
    assert told == ["its fault cleared", "vm_state active -> stopped"]
    assert ledger.snapshot().servers == before.servers
    assert ledger.reset_state("web1", nothing_left=False, seen=("stopped", 4)) == told
    row = ledger.snapshot().servers[server_id]
    assert (row.vm_state, row.power_state, row.task_state, row.run_id, row.fault) == ("stopped", 4, None, None, None)
    assert ledger.reset_state(server_id, nothing_left=False, seen=("stopped", 4)) == []


def test_what_a_killed_run_has_left_is_told_and_mended(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1")
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = ledger.start_run("action", dataclasses.replace(Controller.here(), pid=ended.pid, pid_started="1"))
    ledger.begin_task(dead, server_id, "rebooting", action="reboot")
    assert ledger.reset_state("web1", nothing_left=False, seen=("active", 1)) == ["task state rebooting cleared"]
    row = ledger.snapshot().servers[server_id]
    assert (row.task_state, row.run_id) == (None, None)
    assert ledger.actions(server_id)[-1].result == "Error"


def test_a_build_that_left_nothing_is_forgotten_and_its_room_and_address_are_free(ledger: Ledger) -> None:
    run_id = ledger.start_run("reconcile")
    (place,) = win(ledger, run_id, claim("web1", addresses=[LAN]))
    ledger.begin_task(run_id, place.server_id, "spawning", action="create")
    ledger.fail(run_id, place.server_id, "no room")
    ledger.end_run(run_id, "failed")
    assert place.server_id in ledger.snapshot().claims, "something of it may be there"
    ledger.reset_state("web1", nothing_left=False, seen=None)
    assert place.server_id in ledger.snapshot().claims
    ledger.reset_state("web1", nothing_left=True, seen=None)
    now = ledger.snapshot()
    assert (now.claims, now.servers, now.addresses) == ({}, {}, ())
    with pytest.raises(InvalidInput, match="neither a server nor a claim 'web1'"):
        ledger.reset_state("web1", nothing_left=True, seen=None)


def test_a_host_is_forgotten_only_without_servers_or_with_leave_to_lose_them(ledger: Ledger, run_id: str) -> None:
    server_id = build(ledger, run_id, "web1", "kvm3")
    with pytest.raises(InvalidInput, match="the ledger knows no host 'kvm9'; it knows kvm1, kvm2, kvm3"):
        ledger.forget_lost_host("kvm9", servers_too=True)
    with pytest.raises(Refused, match=r"has 1 server.s. on 'kvm3': web1; .*fleet_allow=data_loss"):
        ledger.forget_lost_host("kvm3", servers_too=False)
    assert ledger.forget_lost_host("kvm3", servers_too=True, dry=True) == ["web1"]
    assert "kvm3" in ledger.snapshot().hosts
    assert ledger.forget_lost_host("kvm3", servers_too=True) == ["web1"]
    now = ledger.snapshot()
    assert (sorted(now.hosts), now.servers, now.addresses) == (["kvm1", "kvm2"], {}, ())
    assert [action.action for action in ledger.actions(server_id)] == ["create"], "the journal stays"
    assert ledger.forget_lost_host("kvm2", servers_too=False) == []


def test_servers_that_are_still_seen_outlive_their_host(ledger: Ledger, run_id: str) -> None:
    lost, kept = build(ledger, run_id, "web1", "kvm3"), build(ledger, run_id, "web2", "kvm3")
    assert ledger.forget_lost_host("kvm3", servers_too=True, still_seen={kept}) == ["web1"]
    now = ledger.snapshot()
    assert (set(now.servers), "kvm3" in now.hosts) == ({kept}, False)
    assert {address.server_id for address in now.addresses} == {kept}
    assert lost not in now.servers


def test_a_shelved_server_that_is_still_seen_is_not_on_its_host(ledger: Ledger, run_id: str) -> None:
    shelved = build(ledger, run_id, "web1", "kvm3")
    left = [seen(shelved, "web1", "kvm3")]
    ledger.end_run(run_id, "done")
    ledger.observe([dataclasses.replace(one, vm_state="shelved_offloaded") for one in left], since=ledger.now() + 1)
    with pytest.raises(Refused, match=r"has 1 server.s. on 'kvm3': web1"):
        ledger.forget_lost_host("kvm3", servers_too=False)
    assert ledger.forget_lost_host("kvm3", servers_too=False, still_seen={shelved}) == []
    assert set(ledger.snapshot().servers) == {shelved}


def test_a_name_is_that_of_the_server_which_is_not_deleted(ledger: Ledger, run_id: str) -> None:
    """Of two servers of one name all but one are deleted softly; it is the other that people speak of."""
    deleted = [build(ledger, run_id, f"old{number}") for number in range(3)]
    ledger.end_run(run_id, "done")
    gone = [dataclasses.replace(seen(one, "web1"), vm_state="soft-delete") for one in deleted]
    ledger.observe(gone, since=ledger.now() + 1)
    again = ledger.start_run("reconcile")
    live = build(ledger, again, "web1")
    ledger.fail(again, live, "libvirt has gone")
    assert ledger.reset_state("web1", nothing_left=False, seen=None) == ["its fault cleared"]


def test_a_host_at_work_is_not_forgotten(ledger: Ledger, run_id: str) -> None:
    win(ledger, run_id, claim("web1", "kvm3"))
    with pytest.raises(InProgress, match="is at work on servers of 'kvm3'"):
        ledger.forget_lost_host("kvm3", servers_too=True)
