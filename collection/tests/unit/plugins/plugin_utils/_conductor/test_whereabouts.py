# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a server is: every way in which copies, hosts that are down and the ledger's memory can disagree."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    Location,
    Remembered,
    Seen,
    Whereabouts,
)

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"
DELETED = {"soft_delete": {"at": 5}}


def record(server_id: str = ONE, host: str = "kvm1", **changes: t.Any) -> Record:
    made = Record(
        id=server_id,
        name="web1",
        fleet_id="ours",
        generation=1,
        spec={},
        flavor=Flavor("f", 1, 1, 1),
        image=Image("i", "raw", "sha256:aa"),
        disks=(Disk("root", "local", f"{server_id}-root", "raw", 1, "vda", "virtio"),),
        nics=(),
        hardware=Hardware(),
        host_id=f"id-of-{host}",
    )
    return dataclasses.replace(made, **changes)


def guest(of: Record, state: str = "running") -> Guest:
    return dataclasses.replace(as_defined(of), state=state)


def host(name: str, *guests: Guest) -> Seen:
    return Seen(name, f"id-of-{name}", guests, known=True)


def down(name: str, *, known: bool = True) -> Seen:
    return Seen(name, None, None, "connection refused", known=known)


def find(
    *hosts: Seen,
    remembered: t.Sequence[Remembered] = (),
    server_id: str | None = None,
    absent: frozenset[str] = frozenset(),
) -> Location:
    return Whereabouts(hosts, remembered, fleet_id="ours", assume_absent=absent).find("web1", server_id)


AT_1 = [Remembered(ONE, "web1", "kvm1", record().dumps())]


def test_a_server_at_home_is_found() -> None:
    location = find(host("kvm1", guest(record())), host("kvm2"), remembered=AT_1)
    assert (location.status, location.host, location.moved) == ("found", "kvm1", False)


def test_a_name_that_nobody_knows_is_new() -> None:
    assert find(host("kvm1"), host("kvm2")).status == "new"


def test_a_name_that_nobody_knows_is_new_beside_a_dead_host_whose_servers_the_ledger_knows() -> None:
    assert find(host("kvm1"), down("kvm2")).status == "new"


def test_a_name_may_be_on_a_host_that_this_ledger_never_saw() -> None:
    location = find(host("kvm1"), down("kvm3", known=False))
    assert location.status == "held"
    assert location.message.startswith("web1 may be on kvm3 (never seen by this ledger)")
    assert location.unseen == ("kvm3",)


def test_the_operator_can_say_that_it_is_not_there() -> None:
    assert find(host("kvm1"), down("kvm3", known=False), absent=frozenset({"kvm3"})).status == "new"


def test_a_server_of_a_dead_host_is_left_alone() -> None:
    location = find(down("kvm1"), host("kvm2"), remembered=AT_1)
    assert (location.status, location.message) == ("away", "kvm1 is down: connection refused")


def test_an_undefined_server_is_missing_where_it_was() -> None:
    location = find(host("kvm1"), host("kvm2"), remembered=AT_1)
    assert (location.status, location.host) == ("missing", "kvm1")


def test_an_undefined_server_may_have_gone_to_a_host_that_is_down() -> None:
    location = find(host("kvm1"), down("kvm2"), remembered=AT_1)
    assert location.status == "held"
    assert "may be on kvm2 (unreachable)" in location.message


def test_a_server_whose_host_left_the_inventory_is_held() -> None:
    location = find(host("kvm2"), remembered=AT_1)
    assert location.status == "held"
    assert "was last on kvm1, which inventory no longer names" in location.message


def test_a_server_moved_by_hand_is_found_where_it_runs() -> None:
    """Plain virsh migrate: the source stays defined and off."""
    location = find(host("kvm1", guest(record(), "shutoff")), host("kvm2", guest(record())), remembered=AT_1)
    assert (location.status, location.host, location.moved) == ("found", "kvm2", True)
    assert [name for name, _guest in location.extra] == ["kvm1"]


def test_two_active_copies_are_a_conflict() -> None:
    location = find(host("kvm1", guest(record())), host("kvm2", guest(record(), "paused")), remembered=AT_1)
    assert location.status == "conflict"
    assert "runs on kvm1 and kvm2 at once" in location.message


def test_of_two_copies_that_are_off_the_one_at_home_counts() -> None:
    location = find(host("kvm1", guest(record(), "shutoff")), host("kvm2", guest(record(), "shutoff")))
    assert (location.status, location.host) == ("found", "kvm1")


def test_two_copies_that_are_off_and_both_away_from_home_are_a_conflict() -> None:
    copy = record(host="kvm9")
    location = find(host("kvm1", guest(copy, "shutoff")), host("kvm2", guest(copy, "shutoff")))
    assert location.status == "conflict"


def test_a_copy_that_is_off_is_not_started_while_the_original_may_run_on_a_dead_host() -> None:
    location = find(down("kvm1"), host("kvm2", guest(record(), "shutoff")), remembered=AT_1)
    assert location.status == "held"
    assert "may run on kvm1" in location.message


def test_a_running_copy_is_the_server_whatever_the_dead_host_was() -> None:
    location = find(down("kvm1"), host("kvm2", guest(record())), remembered=AT_1)
    assert (location.status, location.host, location.moved) == ("found", "kvm2", True)


def test_two_ids_of_one_name_are_a_conflict() -> None:
    location = find(host("kvm1", guest(record())), host("kvm2", guest(record(TWO, "kvm2"))))
    assert location.status == "conflict"
    assert f"{ONE} on kvm1, {TWO} on kvm2" in location.message


def test_an_id_that_inventory_fixes_must_be_the_server_s() -> None:
    location = find(host("kvm1", guest(record())), server_id=TWO)
    assert location.status == "conflict"
    assert f"is declared with server_id {TWO}" in location.message


def test_a_softly_deleted_server_is_found_by_name_until_it_is_gone() -> None:
    location = find(host("kvm1", guest(record(marks=DELETED), "shutoff")))
    assert location.status == "found"


def test_a_softly_deleted_server_does_not_stand_in_the_way_of_its_successor() -> None:
    old = guest(record(marks=DELETED), "shutoff")
    location = find(host("kvm1", old, guest(record(TWO))))
    assert (location.status, location.record and location.record.id) == ("found", TWO)


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(dataclasses.replace(guest(record()), record=None), id="no record"),
        pytest.param(guest(record(fleet_id="theirs")), id="another fleet's record"),
    ],
)
def test_a_foreign_guest_of_the_same_name_is_not_the_server(stranger: Guest) -> None:
    where = Whereabouts([host("kvm1", stranger), host("kvm2")], [], fleet_id="ours")
    assert where.find("web1").status == "new"
    assert where.foreign["web1"] == {"kvm1"}


def test_a_server_that_was_never_built_is_new() -> None:
    assert find(host("kvm1"), remembered=[Remembered(ONE, "web1", "kvm1", None)]).status == "new"
