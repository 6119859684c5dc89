# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations as plans: what becomes of each server of a dead host, where it goes, and what is refused."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import evacuating, replaces
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import DESTINATION, SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuate import Evacuate
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import to_be_proven
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.lost import Lost
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import move_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claimed, HostRow, RunRow, ServerRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    fleet,
    hosts,
    reconcile,
    rows,
    server_row,
    survey,
)

SHARED = "pool-shared"
RUN = RunRow("other", "Plan", "ctl2", "b", "n", 42, "1", "ann", 0.0, 0.0, None, "running")


@dataclasses.dataclass(frozen=True)
class Dead:
    """kvm1 is dead, and these servers were on it."""

    declared: Declared
    records: dict[str, Record]
    rows: dict[str, ServerRow]
    guests: dict[str, list[Guest]] = dataclasses.field(default_factory=dict)
    moving: dict[str, str] = dataclasses.field(default_factory=dict)

    def plan(self, *, leave: Leave | None = None, surveys: dict[str, t.Any] | None = None, **asked: t.Any) -> Plan:
        seen = {"kvm1": None, **(surveys or {})}
        runs = {RUN.id: RUN}
        snapshot = rows(servers=self.rows, runs=runs, hosts={**rows().hosts, **asked.pop("known", {})})
        given = Situation(
            self.declared,
            hosts(self.declared, self.guests, **seen),
            snapshot,
            fleet_id="F",
            ledger_id="L",
            leave=leave or Leave(),
            now=1000.0,
            run_id="me",
        )
        given = dataclasses.replace(given, moving=self.moving)
        draft = Evacuate(given, Lost(**{"hosts": ("kvm1",), **asked}))
        draft.schedule()
        won = {}
        for number, claim in enumerate(draft.claims()):
            addresses = tuple(f"192.0.2.{50 + number}" for _wish in claim.addresses)
            won[claim.name] = Claimed(claim.server_id or f"new-{claim.name}", claim.host, addresses)
        return draft.plan(won)

    def entry(self, name: str = "web1", **asked: t.Any) -> ServerEntry:
        return next(entry for entry in self.plan(**asked).servers if entry.name == name)

    def with_record(self, **changes: t.Any) -> Dead:
        record = dataclasses.replace(self.records["web1"], **changes)
        row = dataclasses.replace(self.rows[record.id], record=record.dumps())
        return dataclasses.replace(self, records={"web1": record}, rows={record.id: row})

    def with_row(self, **changes: t.Any) -> Dead:
        row = dataclasses.replace(self.rows[self.records["web1"].id], **changes)
        return dataclasses.replace(self, rows={row.id: row})


def dead(*, pool: str = SHARED, declared: Declared | None = None, **servers: dict[str, t.Any]) -> Dead:
    """Servers as a run has built them on kvm1, with their disks in a pool of that id."""
    declared = declared or fleet(servers or {"web1": WEB})
    guests = applied(reconcile(declared, hosts(declared, kvm2=None, kvm3=None)))["kvm1"]
    records = {}
    for guest in guests:
        record = t.cast(Record, guest.record)
        disks = tuple(dataclasses.replace(disk, pool_id=pool) for disk in record.disks)
        records[record.name] = dataclasses.replace(record, generation=5, host_id="id-kvm1", disks=disks)
    known = {r.id: server_row(dataclasses.replace(guests[0], id=r.id, record=r), "kvm1") for r in records.values()}
    return Dead(declared, records, known)


def showing(lost: Dead, *names: str, pool: str = SHARED) -> dict[str, t.Any]:
    """Surveys of hosts whose pool has the servers' disks."""
    volumes = [disk.volume for record in lost.records.values() for disk in record.disks]
    found = {name: survey(name, volumes=volumes) for name in names}
    for name in names:
        found[name]["pools"]["local"]["id"] = pool
    return found


def deed(entry: ServerEntry) -> dict[str, Json]:
    (only,) = entry.deeds
    return dict(only)


# -- disks


def test_a_server_on_shared_storage_keeps_its_disk_and_goes_where_that_is_seen() -> None:
    lost = dead()
    entry = lost.entry(surveys=showing(lost, "kvm3"))
    assert (entry.host, [step.kind for step in entry.steps]) == ("kvm3", ["evacuate"])
    assert entry.steps[0].why == "from kvm1: disk kept; started"
    its = deed(entry)
    before, after = lost.records["web1"], Record.from_json(its["record"])
    assert (its["expects"], its["options"]["start"], its["options"]["rebuild"]) == (None, True, False)
    assert its["options"]["evacuating"]["made"] == []
    assert (after.generation, after.host_id) == (6, "id-kvm3")
    assert [entry.to_json() for entry in replaces(after)] == [
        {"host_id": "id-kvm1", "generation": 5, "migration": its["options"]["evacuating"]["migration"]}
    ]
    assert [disk.pool_id for disk in after.disks] == [SHARED] * len(after.disks)
    assert evacuating(after) is None
    kept = ("id", "name", "flavor", "image", "spec", "nics", "created_at", "declared")
    assert all(getattr(before, key) == getattr(after, key) for key in kept)


def test_a_pool_of_the_same_name_and_another_id_has_not_the_disk() -> None:
    lost = dead()
    entry = lost.entry(surveys=showing(lost, "kvm2", "kvm3", pool="pool-other"))
    assert [(step.kind, step.hold) for step in entry.held] == [("evacuate", "data_loss")]
    assert entry.verdict == "held"


@pytest.mark.parametrize("how", [{"accept_data_loss": True}, {"leave": Leave(frozenset({"data_loss"}))}])
def test_a_local_disk_is_made_anew_with_leave_alone_and_that_is_said(how: dict[str, t.Any]) -> None:
    lost = dead(pool="pool-kvm1")
    held = lost.entry()
    assert [step.hold for step in held.held] == ["data_loss"]
    assert "built anew from image tick, what was on its disk root is lost" in held.held[0].why
    plan = lost.plan(**how)
    (entry,) = plan.servers
    assert entry.verdict == "change"
    its = deed(entry)
    made = {each["volume"] for each in its["options"]["evacuating"]["made"]}
    assert made == {disk.volume for disk in lost.records["web1"].disks}
    assert all(disk.pool_id is None for disk in Record.from_json(its["record"]).disks)
    assert its["options"]["lost"] == ["root"]
    host = next(host for host in plan.hosts if host.name == entry.host)
    assert [step.args["name"] for step in host.steps if step.kind == "image"] == ["tick"]


def test_a_disk_that_is_shared_and_not_seen_now_is_never_made_anew() -> None:
    lost = dead()
    known = {"kvm2": HostRow("kvm2", "id-kvm2", 1, "enabled", None, 1.0, {"pools": [SHARED]})}
    entry = lost.entry(known=known, accept_data_loss=True)
    assert (entry.verdict, entry.steps, entry.held) == ("held", (), ())
    assert "in pool 'local', which kvm2 shared with its host, and no host that is up shows" in entry.message


def with_data_disk(lost: Dead, pool_id: str | None) -> Dead:
    """The server was adopted with a second disk, which others have made; no survey lists it."""
    record = lost.records["web1"]
    data = Disk("data1", "data", "mail-data.qcow2", "qcow2", 1, target="vdz", bus="virtio", pool_id=pool_id)
    return lost.with_record(disks=(*record.disks, data))


def test_an_adopted_servers_other_disk_is_data_too() -> None:
    lost = with_data_disk(dead(), "pool-kvm1-data")
    shared = showing(dead(), "kvm2")
    held = lost.entry(surveys=shared)
    assert [step.hold for step in held.held] == ["data_loss"]
    assert "what was on its disk data1 is lost" in held.held[0].why
    # Nothing of its kind can be made anew: the server comes back without it.
    its = deed(lost.entry(surveys=shared, accept_data_loss=True))
    assert its["options"]["lost"] == ["data1"]
    assert "data1" not in {disk.role for disk in Record.from_json(its["record"]).disks}
    assert "mail-data.qcow2" not in str(its["options"]["evacuating"]["made"])


@pytest.mark.parametrize("pool_id", ["pool-data", None])
def test_a_data_disk_that_others_may_still_have_holds_its_server(pool_id: str | None) -> None:
    lost = with_data_disk(dead(), pool_id)
    known = {"kvm3": HostRow("kvm3", "id-kvm3", 1, "enabled", None, 1.0, {"pools": ["pool-data"]})}
    entry = lost.entry(surveys=showing(dead(), "kvm2"), known=known, accept_data_loss=True)
    assert (entry.verdict, entry.steps, entry.held) == ("held", (), ())
    assert "data1 disk" in entry.message


def test_a_volume_that_lies_in_the_way_keeps_a_host_out() -> None:
    lost = dead(pool="pool-kvm1")
    root = lost.records["web1"].root.volume
    surveys = {"kvm2": survey("kvm2", volumes=[root])}
    assert lost.entry(accept_data_loss=True, surveys=surveys).host == "kvm3"
    surveys["kvm3"] = survey("kvm3", volumes=[root])
    assert lost.entry(accept_data_loss=True, surveys=surveys).verdict == "no valid host"


def test_who_knows_better_what_the_storage_is_must_be_right() -> None:
    lost = dead()
    shared = showing(lost, "kvm2")
    assert lost.entry(surveys=shared, on_shared_storage="true").verdict == "change"
    wrong = lost.entry(surveys=shared, on_shared_storage="false")
    assert wrong.message.startswith("Invalid state of instance files on shared storage")
    assert lost.entry(on_shared_storage="true", accept_data_loss=True).verdict == "error"
    assert "can't be changed on existing disk" in lost.entry(surveys=shared, password=True).message
    assert lost.entry(accept_data_loss=True, password=True).verdict == "change"


# -- states


@pytest.mark.parametrize(
    ("declared", "vm_state", "target", "starts", "said"),
    [
        ("active", "active", "declared", True, "started"),
        ("stopped", "stopped", "declared", False, "left off"),
        ("active", "error", "declared", True, "started"),
        ("active", "paused", "declared", True, "started; what it had in memory (paused) is lost"),
        ("suspended", "suspended", "declared", False, "left off; what it had in memory (suspended) is lost"),
        ("active", "rescued", "declared", True, "started; what it had in memory (rescued) is lost"),
        ("active", "active", "stopped", False, "left off"),
        ("stopped", "stopped", "started", True, "started"),
    ],
)
def test_a_server_is_started_only_if_it_is_to_run(
    declared: str, vm_state: str, target: str, starts: bool, said: str
) -> None:
    lost = dead().with_record(declared=declared).with_row(vm_state=vm_state)
    entry = lost.entry(surveys=showing(lost, "kvm2"), target_state=target)
    assert deed(entry)["options"]["start"] is starts
    assert entry.steps[0].why == f"from kvm1: disk kept; {said}"


def test_a_rescued_server_comes_back_as_itself() -> None:
    lost = dead()
    image = lost.records["web1"].image.to_json()
    rescued = lost.with_record(
        marks={"rescue": {"image": image, "state": "running", "disks": []}, "lock": {"by": "ann"}},
        spec={**lost.records["web1"].spec, "rescue": image},
    )
    after = Record.from_json(deed(rescued.entry(surveys=showing(lost, "kvm2")))["record"])
    assert (set(after.marks), "rescue" in after.spec) == ({"lock", "replaces"}, False)


def test_what_waits_for_something_else_is_refused_in_nova_s_words() -> None:
    lost = dead().with_record(marks={"migrating": {"migration": "m"}})
    entry = lost.entry(surveys=showing(lost, "kvm2"))
    assert (entry.verdict, "while it is in vm_state migrating" in entry.message) == ("error", True)
    assert entry.message.startswith(f"Cannot 'evacuate' instance {lost.records['web1'].id}")


def test_a_vtpm_guest_is_refused() -> None:
    lost = dead()
    flavor = dataclasses.replace(lost.records["web1"].flavor, extra_specs={"hw:tpm_version": "2.0"})
    assert "it has a TPM" in lost.with_record(flavor=flavor).entry(surveys=showing(lost, "kvm2")).message


def test_what_starts_by_itself_needs_a_fence() -> None:
    lost = dead(pool="pool-kvm1")
    lost = lost.with_record(spec={**lost.records["web1"].spec, "autostart": True})
    held = lost.entry(accept_data_loss=True, by_word=True)
    assert (held.verdict, "only a fence proves" in held.message) == ("held", True)
    assert lost.entry(accept_data_loss=True).verdict == "change"


def test_what_starts_by_itself_on_a_shared_disk_would_run_twice_when_its_host_is_back() -> None:
    lost = dead()
    lost = lost.with_record(spec={**lost.records["web1"].spec, "autostart": True})
    shared = showing(lost, "kvm2")
    (step,) = lost.entry(surveys=shared).held
    assert (step.hold, "kvm1 starts it on the same disk when it is back" in step.why) == ("data_loss", True)
    assert lost.entry(surveys=shared, accept_data_loss=True).verdict == "change"


def test_an_adopted_server_is_made_anew_under_names_of_ours_and_never_beside_its_own_disk() -> None:
    lost = dead(pool="pool-kvm1")
    record = lost.records["web1"]
    disks = tuple(dataclasses.replace(d, volume="mail.qcow2") if d.role == "root" else d for d in record.disks)
    lost = lost.with_record(disks=disks)
    target = Record.from_json(deed(lost.entry(accept_data_loss=True))["record"])
    assert target.root.volume == f"{record.id}-root"
    known = {"kvm2": HostRow("kvm2", "id-kvm2", 1, "enabled", None, 1.0, {"pools": ["pool-kvm1"]})}
    assert "under a name of its own" in lost.entry(accept_data_loss=True, known=known).message


def test_what_is_on_no_host_or_deleted_is_left_alone() -> None:
    lost = dead()
    assert lost.with_record(marks={"shelved_offloaded": {}}).plan(surveys=showing(lost, "kvm2")).servers == ()
    assert lost.with_row(vm_state="soft-delete").plan(surveys=showing(lost, "kvm2")).servers == ()
    building = lost.with_row(record=None, vm_state="building").entry(surveys=showing(lost, "kvm2"))
    assert (building.verdict, "it was being built on kvm1" in building.message) == ("held", True)
    busy = lost.with_row(run_id=RUN.id).entry(surveys=showing(lost, "kvm2"))
    assert busy.verdict == "busy"


# -- where they go


def test_groups_and_capacity_hold_for_all_together() -> None:
    apart = {**WEB, "server_group": "apart"}
    declared = fleet(dict.fromkeys(("web1", "web2"), apart))
    first = dead(declared=fleet(dict.fromkeys(("web1", "web2"), WEB)))
    lost = dataclasses.replace(first, declared=declared)
    plan = lost.plan(surveys=showing(lost, "kvm2", "kvm3"))
    assert sorted(str(entry.host) for entry in plan.servers) == ["kvm2", "kvm3"]
    one = lost.plan(surveys=showing(lost, "kvm2"))
    assert sorted(entry.verdict for entry in one.servers) == ["change", "no valid host"]


def test_a_named_target_is_asked_like_any_other() -> None:
    lost = dead()
    shared = showing(lost, "kvm2", "kvm3")
    assert lost.entry(surveys=shared, to="kvm3").host == "kvm3"
    assert lost.entry(surveys=showing(lost, "kvm2"), to="kvm3").verdict == "no valid host"


def test_one_server_alone_and_one_that_inventory_does_not_name() -> None:
    lost = dead(web1=WEB, web2=WEB)
    assert [entry.name for entry in lost.plan(server="web2", surveys=showing(lost, "kvm2")).servers] == ["web2"]
    unnamed = dataclasses.replace(lost, declared=fleet({"web1": WEB}))
    found = {entry.name: entry for entry in unnamed.plan(surveys=showing(lost, "kvm2")).servers}
    assert (found["web1"].declared, found["web2"].declared) == (True, False)
    assert deed(found["web2"])["kind"] == "evacuate"


# -- cut off, and again


def half(lost: Dead, host: str, state: str = "shutoff") -> Guest:
    its = deed(lost.entry(surveys=showing(lost, host), to=host))
    record = Record.from_json(its["record"])
    marks = {"evacuating": its["options"]["evacuating"]}
    return dataclasses.replace(as_defined(dataclasses.replace(record, marks=marks)), state=state)


def test_what_was_cut_off_is_gone_on_with_where_it_was_begun() -> None:
    lost = dead()
    begun = half(lost, "kvm3")
    again = dataclasses.replace(lost, guests={"kvm3": [begun]})
    entry = again.entry(surveys=showing(lost, "kvm2", "kvm3"))
    its = deed(entry)
    assert (entry.host, its["expects"]) == ("kvm3", 6)
    assert its["options"]["evacuating"] == t.cast(Record, begun.record).marks["evacuating"]
    other = again.entry(surveys=showing(lost, "kvm2", "kvm3"), to="kvm2")
    assert (other.host, deed(other)["expects"]) == ("kvm2", None)


def test_a_killed_run_is_not_a_stopped_run() -> None:
    lost = dead()
    surveys = showing(lost, "kvm2", "kvm3")
    surveys["kvm3"]["running_steps"] = [{"server_id": lost.records["web1"].id, "run_id": "r", "step": "", "since": ""}]
    entry = lost.entry(surveys=surveys)
    assert (entry.verdict, "is at work on it on kvm3" in entry.message) == ("busy", True)


def test_where_the_destination_died_too_both_must_be_proven_dead() -> None:
    lost = dead()
    server_id = lost.records["web1"].id
    both = {"kvm2": None, **showing(lost, "kvm3")}
    entry = lost.entry(surveys=both, begun={server_id: ["kvm2"]}, by_word=True)
    assert (entry.verdict, entry.steps) == ("held", ())
    assert "evacuate both hosts at once: -e fleet_host=kvm1,kvm2" in entry.message
    together = lost.entry(surveys=both, begun={server_id: ["kvm2"]}, hosts=("kvm1", "kvm2"))
    assert (together.verdict, together.host) == ("change", "kvm3")
    assert together.steps[0].options["among"] == ["kvm1", "kvm2"]


def on_its_way(lost: Dead, role: str) -> Dead:
    """Its live migration was cut off; kvm2 is the other end of it."""
    move = Move("m1", role, End("kvm2", "qemu+tls://kvm2/system", "id-kvm2"), tuple(lost.records["web1"].disks))
    return lost.with_record(marks=marked(lost.records["web1"], move).marks)


@pytest.mark.parametrize("role", [SOURCE, DESTINATION])
def test_a_live_migration_that_was_cut_off_keeps_no_server_on_a_dead_host(role: str) -> None:
    lost = on_its_way(dead(), role)
    after = Record.from_json(deed(lost.entry(surveys=showing(lost, "kvm2", "kvm3")))["record"])
    assert set(after.marks) == {"replaces"}
    down: dict[str, t.Any] = {"kvm2": None, **showing(lost, "kvm3")}
    held = lost.entry(surveys=down, by_word=True)
    assert (held.verdict, "cut off whose other end, kvm2, is down" in held.message) == ("held", True)
    both = lost.plan(surveys=down, hosts=("kvm1", "kvm2"))
    assert [(entry.verdict, entry.host) for entry in both.servers] == [("change", "kvm3")]
    assert to_be_proven(both, ("kvm1", "kvm2")) == ["kvm1", "kvm2"]


def test_one_that_went_to_the_dead_host_unseen_is_not_forgotten() -> None:
    """Its run was over when it arrived: the ledger has it on kvm2, which is up, and hasn't got it."""
    lost = dead().with_row(host="kvm2")
    gone = dataclasses.replace(lost, moving={lost.records["web1"].id: "kvm1"})
    entry = gone.entry(surveys=showing(lost, "kvm2", "kvm3"))
    assert (entry.verdict, entry.steps) == ("held", ())
    assert "has taken it from kvm2 to kvm1, and nobody saw it there" in entry.message
    here = dataclasses.replace(gone, guests={"kvm2": [as_defined(lost.records["web1"])]})
    assert here.plan(surveys=showing(lost, "kvm2", "kvm3")).servers == ()


def test_a_guest_whose_memory_was_on_its_way_is_waited_for() -> None:
    lost = on_its_way(dead(), SOURCE)
    coming = dataclasses.replace(as_defined(lost.records["web1"]), state="paused", arriving=True)
    there = dataclasses.replace(lost, guests={"kvm2": [coming]})
    entry = there.entry(surveys=showing(lost, "kvm2", "kvm3"))
    assert (entry.verdict, "was on the way to kvm2" in entry.message) == ("held", True)


def test_where_a_move_has_left_half_of_it_it_is_not_built() -> None:
    """Its root disk is shared, and its config drive, which is local, was on the way."""
    lost = dead()
    record = lost.records["web1"]
    own: dict[str, t.Any] = {"pool": "own", "pool_id": "pool-own"}
    disks = tuple(dataclasses.replace(disk, **own) if disk.role == "config" else disk for disk in record.disks)
    (drive,) = (disk.volume for disk in disks if disk.role == "config")
    surveys = showing(lost, "kvm2", "kvm3")
    for name, its in surveys.items():
        half = its["pools"]["local"]["volumes"].pop(drive)
        volumes = {drive: half} if name == "kvm2" else {}
        its["pools"]["own"] = {**its["pools"]["local"], "id": f"own-{name}", "volumes": volumes}
    entry = lost.with_record(disks=disks).entry(surveys=surveys)
    assert (entry.verdict, entry.host, entry.held) == ("change", "kvm3", ())


def test_what_is_elsewhere_already_is_not_evacuated_again() -> None:
    lost = dead()
    record = Record.from_json(deed(lost.entry(surveys=showing(lost, "kvm2"), to="kvm2"))["record"])
    there = dataclasses.replace(lost, guests={"kvm2": [as_defined(record)]})
    plan = there.plan(surveys=showing(lost, "kvm2", "kvm3"))
    assert (plan.servers, plan.notes) == ((), ("web1 is on kvm2 already",))


def test_a_copy_elsewhere_that_no_record_explains_is_looked_at_first() -> None:
    lost = dead()
    stranger = as_defined(dataclasses.replace(lost.records["web1"], host_id="id-kvm2"))
    entry = dataclasses.replace(lost, guests={"kvm2": [stranger]}).entry(surveys=showing(lost, "kvm2", "kvm3"))
    assert (entry.verdict, entry.steps) == ("held", ())
    assert "it may run on kvm1" in entry.message


def test_an_old_stale_copy_elsewhere_is_no_hindrance_and_its_host_no_target() -> None:
    """kvm1 has it by an evacuation from kvm2, which is back and not yet tidied up."""
    lost = dead()
    said = {"host_id": "id-kvm2", "generation": 3, "migration": "m0"}
    lost = lost.with_record(marks={"replaces": [said]})
    old = dataclasses.replace(lost.records["web1"], generation=3, host_id="id-kvm2", marks={})
    entry = dataclasses.replace(lost, guests={"kvm2": [as_defined(old)]}).entry(surveys=showing(lost, "kvm2", "kvm3"))
    assert (entry.verdict, entry.host) == ("change", "kvm3")
    assert [each.generation for each in replaces(Record.from_json(deed(entry)["record"]))] == [3, 5]


def test_one_that_is_not_waited_for_goes_on_by_itself_on_its_host() -> None:
    lost = dead()
    surveys = showing(lost, "kvm2")
    waited, left = deed(lost.entry(surveys=surveys)), deed(lost.entry(surveys=surveys, wait=False))
    its = {"wait": False, "watch": 3, "migration": left["options"]["evacuating"]["migration"]}
    assert left["options"] == {**waited["options"], **its}


def test_the_journal_has_it_in_nova_s_words() -> None:
    lost = dead()
    its = deed(lost.entry(surveys=showing(lost, "kvm2")))
    move = move_of([its], lost.records["web1"].to_json())
    assert move is not None
    assert (move.kind, move.source, move.destination, move.begun) == ("evacuation", "kvm1", "kvm2", "pre-migrating")
    assert move.ended(Record.from_json(its["record"])) == "done"
    assert move.ended(lost.records["web1"]) == "error"
