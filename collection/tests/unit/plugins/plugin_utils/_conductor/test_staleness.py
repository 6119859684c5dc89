# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies that evacuations leave: which are stale, which were never finished, and that the only one is never destroyed.

The last part walks an evacuation from crash point to crash point, with every host up or down and every guest on or off.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import Evacuating, Replaced
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import Place
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import evacuations_cut_off
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.fleet_table import status_rows
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import _nothing_left
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.staleness import counted
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    Location,
    Remembered,
    Seen,
    Whereabouts,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._guests import guests_of_hosts
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, FleetRow, HostRow, MigrationRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    reconcile,
    rows,
    server_row,
    survey,
)

SHARED = "pool-shared"
DECLARED = fleet({"web1": WEB})
FIRST = t.cast(Record, next(iter(applied(reconcile(DECLARED, hosts(DECLARED))).values()))[0].record)


def on(host: str, generation: int = 5, *, pool: str | None = None, **marks: Json) -> Record:
    """The server as it is, or was, on a host; ``pool``: the id of the pool of its root disk, its host's own if none."""
    disks = tuple(dataclasses.replace(disk, pool_id=pool or f"pool-{host}") for disk in FIRST.disks)
    return dataclasses.replace(FIRST, generation=generation, host_id=f"id-{host}", disks=disks, marks=marks)


def guest(record: Record, state: str = "shutoff") -> Guest:
    return dataclasses.replace(as_defined(record), state=state)


def entry(host: str = "kvm1", generation: int = 5, migration: str = "m1") -> Json:
    return Replaced(f"id-{host}", generation, migration).to_json()


def begun(host: str = "kvm1", generation: int = 5, migration: str = "m1", *, made: bool = True) -> Json:
    own = tuple((disk.pool, disk.volume) for disk in FIRST.disks) if made else ()
    return Evacuating(migration, 900.0, generation, Place(host, f"id-{host}"), own).to_json()


def down(name: str) -> Seen:
    return Seen(name, f"id-{name}", None, "no route to host", known=True)


def find(copies: t.Mapping[str, Guest | None], *, last: Record | None = None, at: str = "kvm1") -> Location:
    """``copies``: of each host that is up; ``last``: what the ledger knows, ``at`` where."""
    seen = [Seen(name, f"id-{name}", [g] if (g := copies[name]) else [], known=True) for name in copies]
    away = [down(name) for name in ("kvm1", "kvm2", "kvm3") if name not in copies]
    known = [Remembered(FIRST.id, "web1", at, last.dumps())] if last is not None else []
    return Whereabouts([*seen, *away], known, fleet_id="F").find("web1")


def plan(
    copies: t.Mapping[str, list[Guest]], *, leave: Leave | None = None, at: str = "kvm2", **surveys: t.Any
) -> dict[str, ServerEntry]:
    """What a reconcile run makes of these copies; the ledger knows the server ``at`` that host."""
    last = next((g for name, guests in copies.items() for g in guests if name == at), guest(on(at)))
    row = server_row(last, at, generation=t.cast(Record, last.record).generation)
    found: Plan = claimed(
        reconcile(
            DECLARED, hosts(DECLARED, dict(copies), **surveys), rows(servers={row.id: row}), leave=leave or Leave()
        )
    )
    return entries(found)


# -- what a record says


def test_a_copy_that_the_new_guest_s_record_names_is_stale_and_goes() -> None:
    new, old = guest(on("kvm2", 6, replaces=[entry()]), "running"), guest(on("kvm1"))
    location = find({"kvm1": old, "kvm2": new, "kvm3": None})
    assert (location.status, location.host) == ("found", "kvm2")
    assert [(stale.host, stale.by, stale.entry.migration) for stale in location.stale] == [("kvm1", "kvm2", "m1")]
    found = plan({"kvm1": [old], "kvm2": [new]})
    assert [step.kind for step in found["web1 (kvm1, replaced)"].steps] == ["drop_stale"]
    assert not found["web1"].steps
    (deed,) = found["web1 (kvm1, replaced)"].deeds
    assert (deed["expects"], deed["options"]["generation"], deed["options"]["host_id"]) == (5, 5, "id-kvm1")


def test_it_goes_even_where_somebody_has_started_it() -> None:
    new, old = guest(on("kvm2", 6, replaces=[entry()]), "running"), guest(on("kvm1"), "running")
    assert find({"kvm1": old, "kvm2": new, "kvm3": None}).stale


@pytest.mark.parametrize(
    ("old", "said"),
    [
        pytest.param(on("kvm1", 6), entry(), id="another generation"),
        pytest.param(dataclasses.replace(on("kvm1"), host_id="id-other"), entry(), id="of another host"),
    ],
)
def test_what_does_not_fit_is_told_and_touched_by_nobody(old: Record, said: Json) -> None:
    new = guest(on("kvm2", 6, replaces=[said]), "running")
    location = find({"kvm1": guest(old), "kvm2": new, "kvm3": None})
    assert location.status == "conflict"
    assert "replaces one on kvm1 of generation 5 (migration m1)" in location.message
    found = plan({"kvm1": [guest(old)], "kvm2": [new]})
    assert {name: entry.verdict for name, entry in found.items()} == {"web1": "conflict"}


def test_a_server_that_has_moved_back_is_not_its_own_stale_copy() -> None:
    back, left = on("kvm1", 9, replaces=[entry()]), on("kvm2", 9, replaces=[entry()])
    location = find({"kvm1": guest(back, "running"), "kvm2": guest(left), "kvm3": None})
    assert (location.status, location.host, location.stale) == ("found", "kvm1", ())
    assert find({"kvm1": guest(back), "kvm2": None, "kvm3": None}).status == "found"


def test_of_three_copies_that_were_evacuated_one_after_the_other_the_last_counts() -> None:
    second = on("kvm2", 6, replaces=[entry()])
    third = on("kvm3", 7, replaces=[entry(), entry("kvm2", 6, "m2")])
    location = find({"kvm1": guest(on("kvm1")), "kvm2": guest(second), "kvm3": guest(third, "running")})
    assert location.host == "kvm3"
    assert sorted((stale.host, stale.entry.migration) for stale in location.stale) == [("kvm1", "m1"), ("kvm2", "m2")]


def test_copies_that_name_each_other_are_a_conflict() -> None:
    one, two = on("kvm1", 5, replaces=[entry("kvm2", 6, "m2")]), on("kvm2", 6, replaces=[entry()])
    location = find({"kvm1": guest(one), "kvm2": guest(two), "kvm3": None})
    assert location.status == "conflict"
    assert "says that it replaces the other" in location.message


def test_a_copy_is_not_stale_as_long_as_the_one_that_names_it_is_not_seen() -> None:
    last = on("kvm2", 6, replaces=[entry()])
    location = find({"kvm1": guest(on("kvm1")), "kvm3": None}, last=last, at="kvm2")
    assert (location.status, location.stale) == ("held", ())
    assert "it may run on kvm2" in location.message


def test_an_evacuated_server_that_is_off_is_no_longer_looked_for_where_it_was() -> None:
    """The ledger may not have learned of it: the run was killed just then."""
    new = guest(on("kvm2", 6, replaces=[entry()]))
    assert find({"kvm2": new, "kvm3": None}, last=on("kvm1"), at="kvm1").status == "found"
    # One that has moved back since is looked for there.
    assert find({"kvm2": new, "kvm3": None}, last=on("kvm1", 9), at="kvm1").status == "held"


# -- half-built copies


def test_a_half_built_copy_is_no_server() -> None:
    half = guest(on("kvm2", 6, evacuating=begun()))
    location = find({"kvm2": half, "kvm3": None}, last=on("kvm1"), at="kvm1")
    assert (location.status, location.host, location.guest) == ("away", "kvm1", None)
    assert "its evacuation from kvm1 to kvm2 was cut off: run the playbook evacuate for kvm1 again" in location.message
    lost = find({"kvm2": half, "kvm3": None})
    assert (lost.status, lost.host) == ("held", "kvm1")
    gone = find({"kvm1": None, "kvm2": half, "kvm3": None}, last=on("kvm1"), at="kvm1")
    assert (gone.status, "kvm1 has no copy of it: nothing is touched" in gone.message) == ("held", True)


def test_the_half_built_copy_goes_when_the_old_host_is_back_first_with_its_own_disks_alone() -> None:
    old, half = guest(on("kvm1")), guest(on("kvm2", 6, evacuating=begun()))
    found = plan({"kvm1": [old], "kvm2": [half]}, at="kvm1")
    undo = found["web1 (kvm2, half built)"]
    assert [step.kind for step in undo.steps] == ["undo_evacuation"]
    assert [place["volume"] for place in undo.deeds[0]["options"]["drop"]] == [disk.volume for disk in FIRST.disks]
    assert [step.kind for step in found["web1"].steps] == ["start"]


def test_disks_of_a_half_built_copy_go_though_it_had_not_yet_written_in_which_pool_they_are() -> None:
    """It is written when all of them are made; who is killed before that has made some."""
    nowhere = tuple(dataclasses.replace(disk, pool_id=None) for disk in FIRST.disks)
    half = guest(dataclasses.replace(on("kvm2", 6, evacuating=begun()), disks=nowhere))
    found = plan({"kvm1": [guest(on("kvm1"))], "kvm2": [half]}, at="kvm1")
    drop = found["web1 (kvm2, half built)"].deeds[0]["options"]["drop"]
    assert [(place["volume"], place["pool_id"]) for place in drop] == [(d.volume, "pool-kvm2") for d in FIRST.disks]
    # In a pool that the server's own host shares nothing goes, by whichever of its marks.
    both = survey("kvm2")
    both["pools"]["local"]["markers"] = ["pool-kvm2", "pool-kvm1"]
    found = plan({"kvm1": [guest(on("kvm1"))], "kvm2": [half]}, at="kvm1", kvm2=both)
    assert found["web1 (kvm2, half built)"].deeds[0]["options"]["drop"] == []


def test_a_disk_that_the_server_stands_on_never_goes_with_a_half_built_copy() -> None:
    old, half = guest(on("kvm1", pool=SHARED)), guest(on("kvm2", 6, pool=SHARED, evacuating=begun()))
    found = plan({"kvm1": [old], "kvm2": [half]}, at="kvm1")
    assert found["web1 (kvm2, half built)"].deeds[0]["options"]["drop"] == []


def test_what_somebody_is_at_work_on_is_left_to_them() -> None:
    old, half = guest(on("kvm1")), guest(on("kvm2", 6, evacuating=begun()))
    busy = survey("kvm2")
    busy["running_steps"] = [{"server_id": FIRST.id, "run_id": "r", "step": "evacuate", "since": ""}]
    assert "web1 (kvm2, half built)" not in plan({"kvm1": [old], "kvm2": [half]}, at="kvm1", kvm2=busy)


@pytest.mark.parametrize(("made", "flag"), [(True, "data_loss"), (False, "restart")])
def test_a_half_built_copy_that_runs_goes_with_leave_alone_and_nothing_starts_beside_it(made: bool, flag: str) -> None:
    old = guest(on("kvm1", pool=None if made else SHARED))
    half = guest(on("kvm2", 6, pool=None if made else SHARED, evacuating=begun(made=made)), "running")
    held = plan({"kvm1": [old], "kvm2": [half]}, at="kvm1")
    assert [(step.kind, step.hold) for step in held["web1 (kvm2, half built)"].held] == [("undo_evacuation", flag)]
    assert (held["web1"].verdict, held["web1"].steps) == ("held", ())
    leave = Leave(frozenset({flag}))
    allowed = plan({"kvm1": [old], "kvm2": [half]}, at="kvm1", leave=leave)
    assert allowed["web1 (kvm2, half built)"].deeds[0]["options"]["kill"] is True
    both = find({"kvm1": guest(on("kvm1"), "running"), "kvm2": half, "kvm3": None})
    assert both.status == "conflict"


# -- disks of stale copies


def test_local_disks_are_kept_for_a_while_and_shared_ones_never_touched() -> None:
    new, old = guest(on("kvm2", 6, replaces=[entry()]), "running"), guest(on("kvm1"))
    deed = plan({"kvm1": [old], "kvm2": [new]})["web1 (kvm1, replaced)"].deeds[0]
    assert [place["volume"] for place in deed["options"]["local"]] == [disk.volume for disk in FIRST.disks]
    shared = guest(on("kvm2", 6, pool="pool-kvm1", replaces=[entry()]), "running")
    kept = plan({"kvm1": [old], "kvm2": [shared]})["web1 (kvm1, replaced)"].deeds[0]
    assert kept["options"]["local"] == []


def test_what_another_host_may_share_counts_as_shared() -> None:
    new, old = guest(on("kvm2", 6, replaces=[entry()]), "running"), guest(on("kvm1"))
    theirs = survey("kvm3")
    theirs["pools"]["other"] = {**theirs["pools"]["local"], "id": "pool-kvm1"}
    inactive = survey("kvm3")
    inactive["pools"]["local"]["active"] = False
    unmarked = survey("kvm1")
    unmarked["pools"]["local"]["id"] = None
    cases: list[dict[str, t.Any]] = [{"kvm3": theirs}, {"kvm3": inactive}, {"kvm1": unmarked}]
    for surveys in cases:
        deed = plan({"kvm1": [old], "kvm2": [new]}, **surveys)["web1 (kvm1, replaced)"].deeds[0]
        assert deed["options"]["local"] == [], surveys


def test_the_disks_of_a_stale_copy_go_when_their_time_is_over() -> None:
    mark: Json = {"at": 900.0, "migration": "m1", "volumes": []}
    record = on("kvm1", 5, replaced=mark)
    new = guest(on("kvm2", 6, replaces=[entry()]), "running")
    computes = hosts(DECLARED, {"kvm2": [new]})
    computes = tuple(dataclasses.replace(c, replaced=(record,)) if c.name == "kvm1" else c for c in computes)

    def kinds(reclaim: int, computes: tuple[Compute, ...]) -> list[str]:
        found = claimed(reconcile(DECLARED, computes, leave=Leave(reclaim=reclaim, now=1000.0)))
        return [step.kind for entry in found.servers for step in entry.steps]

    assert kinds(200, computes) == []
    assert kinds(100, computes) == ["reclaim"]
    here = tuple(
        dataclasses.replace(c, guests=(new,) if c.name == "kvm1" else (), replaced=c.replaced) for c in computes
    )
    assert "reclaim" not in kinds(100, here)


# -- who else looks at guests


def test_ledger_and_status_know_the_server_and_none_of_its_other_copies() -> None:
    new, old = guest(on("kvm2", 6, replaces=[entry()])), guest(on("kvm1"), "running")
    half = guest(on("kvm3", 6, evacuating=begun()))
    computes = hosts(DECLARED, {"kvm1": [old], "kvm2": [new], "kvm3": [half]})
    assert [(compute.name, each) for compute, each in counted(computes, "F")] == [("kvm2", new)]
    snapshot = rows(fleet=FleetRow("L", "F", "office"))
    assert [(row.host, row.status) for row in status_rows(DECLARED, computes, snapshot)] == [("kvm2", "SHUTOFF")]


def test_inventories_of_guests_have_the_server_alone() -> None:
    new, half = guest(on("kvm2", 6, replaces=[entry()])), guest(on("kvm3", 6, evacuating=begun()), "running")
    computes = hosts(DECLARED, {"kvm1": [guest(on("kvm1"), "running")], "kvm2": [new], "kvm3": [half]})
    found = guests_of_hosts(computes, DECLARED.catalogs.zones)
    assert [(each["name"], each["host"]) for each in found] == [("web1", "kvm2")]


def test_the_journal_follows_the_hosts() -> None:
    def status(before: str, guests: dict[str, list[Guest]], **surveys: t.Any) -> str:
        computes = hosts(DECLARED, guests, **surveys)
        row = MigrationRow("m1", "evacuation", FIRST.id, "kvm1", "kvm2", before, None, {}, 0.0, 0.0)
        records = {each.id: t.cast(Record, each.record) for _compute, each in counted(computes, "F")}
        return evacuations_cut_off([row], records, (), computes).get("m1", before)

    new, old = [guest(on("kvm2", 6, replaces=[entry()]))], [guest(on("kvm1"))]
    half = [guest(on("kvm2", 6, evacuating=begun()))]
    assert status("pre-migrating", {"kvm2": new}, kvm1=None) == "done"
    assert status("done", {"kvm2": new}, kvm1=None) == "done"
    assert status("done", {"kvm1": old, "kvm2": new}) == "done"
    assert status("done", {"kvm2": new}) == "completed"
    assert status("pre-migrating", {"kvm2": half}, kvm1=None) == "error"
    assert status("accepted", {}, kvm1=None) == "failed"
    assert status("pre-migrating", {}, kvm1=None, kvm2=None) == "pre-migrating"


# -- every crash point

#: The states of the copy on the destination, in the order in which an evacuation writes them: nothing yet, the mark
#: alone, disks made, running (or not, if it is not to), what it replaces.
POINTS: t.Final[tuple[Guest | None, ...]] = (
    None,
    guest(on("kvm2", 6, evacuating=begun())),
    guest(on("kvm2", 6, evacuating=begun()), "running"),
    guest(on("kvm2", 6, replaces=[entry()]), "running"),
    guest(on("kvm2", 6, replaces=[entry()])),
)
#: A second one, to kvm3, of what is left of the first: from kvm1 still, or from kvm2 where the first was done.
AGAIN: t.Final[tuple[Guest | None, ...]] = (
    None,
    guest(on("kvm3", 6, evacuating=begun("kvm1", 5, "m2"))),
    guest(on("kvm3", 6, replaces=[entry("kvm1", 5, "m2")]), "running"),
    guest(on("kvm3", 7, evacuating=begun("kvm2", 6, "m2"), replaces=[entry()]), "running"),
    guest(on("kvm3", 7, replaces=[entry(), entry("kvm2", 6, "m2")]), "running"),
)
OLD: t.Final[tuple[Guest | None, ...]] = (None, guest(on("kvm1")), guest(on("kvm1"), "running"), guest(on("kvm1", 6)))


@pytest.mark.parametrize("everything", [False, True])
def test_whoever_is_killed_when_the_only_whole_copy_is_never_destroyed(everything: bool) -> None:
    leave = Leave(frozenset({"data_loss", "delete", "migrate", "restart"}) if everything else frozenset())
    seen = 0
    for old, new, third in itertools.product(OLD, POINTS, AGAIN):
        there = {name: [copy] for name, copy in (("kvm1", old), ("kvm2", new), ("kvm3", third)) if copy is not None}
        for off in [(), ("kvm1",), ("kvm2",), ("kvm3",), ("kvm1", "kvm2"), ("kvm1", "kvm3"), ("kvm2", "kvm3")]:
            visible = {name: guests for name, guests in there.items() if name not in off}
            found = plan(visible, leave=leave, at="kvm1", **dict.fromkeys(off))
            _check(visible, found)
            seen += 1
    assert seen == len(OLD) * len(POINTS) * len(AGAIN) * 7


def _check(visible: dict[str, list[Guest]], found: dict[str, ServerEntry]) -> None:
    whole = {name: each for name, (each,) in visible.items() if "evacuating" not in _record(each).marks}
    destroyed = {
        str(entry.host): deed
        for entry in found.values()
        for deed in entry.deeds
        if deed["kind"] in ("drop_stale", "undo_evacuation", "delete", "undefine")
    }
    # What goes for good is replaced by what stays, in the words of the record that stays; one whole copy is left.
    for host, deed in destroyed.items():
        if deed["kind"] == "undo_evacuation":
            assert host not in whole
            assert set(whole) - set(destroyed), (visible, found)
            continue
        if deed["kind"] == "undefine":  # with leave: no record says which of two copies it is, one runs, the disks stay
            assert any(each.active for name, each in whole.items() if name not in destroyed)
            continue
        assert deed["kind"] == "drop_stale"
        named = {
            (said["host_id"], said["generation"])
            for other, each in whole.items()
            if other not in destroyed
            for said in _record(each).marks.get("replaces", ())
        }
        assert (f"id-{host}", _record(whole[host]).generation) in named, (visible, found)
    if whole:
        assert set(whole) - set(destroyed), (visible, found)
    # Nothing is started beside a copy that runs and stays.
    started = [entry for entry in found.values() if any(step.kind == "start" for step in entry.steps)]
    running = {name for name, (each,) in visible.items() if each.active} - set(destroyed)
    assert not (started and running), (visible, found)


def _record(of: Guest) -> Record:
    return t.cast(Record, of.record)


def test_a_volume_that_a_whole_copy_names_is_in_no_list_of_what_goes() -> None:
    for pools in itertools.product((SHARED, None), repeat=3):
        old, half = guest(on("kvm1", pool=pools[0])), guest(on("kvm2", 6, pool=pools[1], evacuating=begun()))
        third = guest(on("kvm3", 6, pool=pools[2], replaces=[entry("kvm1", 5, "m2")]), "running")
        found = plan({"kvm1": [old], "kvm2": [half], "kvm3": [third]}, at="kvm3")
        kept = {(disk.pool_id, disk.volume) for disk in _record(third).disks}
        for name, what in (("web1 (kvm2, half built)", "drop"), ("web1 (kvm1, replaced)", "local")):
            places = found[name].deeds[0]["options"][what]
            assert not kept & {(place["pool_id"], place["volume"]) for place in places}


def test_a_ledger_row_of_a_host_that_nobody_knows_makes_no_disk_local() -> None:
    """Unknown counts as shared."""
    stranger = HostRow("kvm9", "id-kvm9", 1, "enabled", None, None, {})
    new, old = guest(on("kvm2", 6, replaces=[entry()]), "running"), guest(on("kvm1"))
    row = server_row(new, "kvm2", generation=6)
    known = {**rows().hosts, "kvm9": stranger}
    computes = hosts(DECLARED, {"kvm1": [old], "kvm2": [new]})
    found = entries(claimed(reconcile(DECLARED, computes, rows(servers={row.id: row}, hosts=known))))
    assert found["web1 (kvm1, replaced)"].deeds[0]["options"]["local"] == []


# -- what a run that died had claimed for it


@pytest.mark.parametrize(
    ("pool", "volumes", "free"),
    [
        (SHARED, [disk.volume for disk in FIRST.disks], True),  # they are the server's own, which all hosts see
        ("pool-kvm1", [], True),
        ("pool-kvm1", [FIRST.root.volume], False),  # something of the half-built copy lies there
    ],
)
def test_what_was_claimed_for_a_half_built_copy_is_free_when_it_is_gone(
    pool: str, volumes: list[str], free: bool
) -> None:
    claim = ClaimRow(FIRST.id, "web1", "kvm2", 1, 1024, 1, "local", "dead", True, 1.0)
    there = survey("kvm2", volumes=volumes)
    if pool == SHARED:
        there["pools"]["local"]["id"] = SHARED
    computes = hosts(DECLARED, {"kvm1": [guest(on("kvm1", pool=pool))]}, kvm2=there)
    snapshot = rows(claims={FIRST.id: claim})
    assert _nothing_left(computes, "F", snapshot, since=10.0) == ([FIRST.id] if free else [])
