# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor finds: each thing that can be wrong between ledger, hosts and inventory, alone."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import DESTINATION, SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.doctor import examine, findings_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Finding, Patient
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reinstalled import refuse_reinstalled
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    ClaimRow,
    FleetRow,
    HostRow,
    RunRow,
    ServerRow,
    Snapshot,
)

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"
FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"small": {"vcpus": 1, "ram": 1024, "disk": 1}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": "sha256:" + "a" * 64}},
    "fleet_networks": {"lan": {"bridge": "br0"}},
}
WEB = {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"]}
RUN = RunRow("run-1", "reconcile", "here", "b", "n", 7, "s", "ops", 0.0, 0.0, None, "running")


def record(server_id: str = ONE, name: str = "web1", host: str = "kvm1", **changes: t.Any) -> Record:
    made = Record(
        id=server_id,
        name=name,
        fleet_id="F",
        generation=1,
        spec={},
        flavor=Flavor("small", 1, 1024, 1),
        image=Image("tick", "qcow2", "sha256:" + "a" * 64),
        disks=(Disk("root", "local", f"{server_id}-root", "qcow2", 1, "vda", "virtio"),),
        nics=(),
        hardware=Hardware(),
        host_id=f"id-{host}",
    )
    return dataclasses.replace(made, **changes)


def guest(of: Record, state: str = "running") -> Guest:
    return dataclasses.replace(as_defined(of), state=state)


def survey(name: str, volumes: t.Sequence[str] = (), **changes: t.Any) -> dict[str, t.Any]:
    marker = {"host_id": f"id-{name}", "fleet_id": "F", "ledger_id": "L", "service": None}
    pool = {"id": f"pool-{name}", "active": True, "volumes": {key: {} for key in volumes}}
    return {"host_id": f"id-{name}", "marker": marker, "pools": {"local": pool}, "running_steps": [], **changes}


def row(of: Record | None = None, host: str | None = "kvm1", **changes: t.Any) -> ServerRow:
    of = of or record()
    made = ServerRow(of.id, of.name, host, of.dumps(), 1, "active", None, 1, None, None, 0.0, 0.0)
    return dataclasses.replace(made, **changes)


def claim(of: Record, host: str = "kvm1", run_id: str = "dead") -> ClaimRow:
    return ClaimRow(of.id, of.name, host, 1, 1024, 1, "local", run_id, True, 0.0)


def patient(
    guests: dict[str, list[Guest]] | None = None,
    rows: t.Sequence[ServerRow] = (),
    claims: t.Sequence[ClaimRow] = (),
    *,
    surveys: dict[str, t.Any] | None = None,
    servers: t.Sequence[str] = ("web1",),
    hosts: t.Sequence[str] = ("kvm1", "kvm2"),
    runs: t.Sequence[RunRow] = (),
) -> Patient:
    """Two healthy hosts; inventory declares web1."""
    declared = declare(FLEET, {"kvm1": {}, "kvm2": {}}, dict.fromkeys(servers, WEB), {})
    computes = []
    for name, settings in declared.computes.items():
        its = (surveys or {}).get(name, survey(name))
        found = tuple((guests or {}).get(name, ()))
        computes.append(Compute(name, settings, its, found) if its else Compute(name, settings, why="no route"))
    known = {name: HostRow(name, f"id-{name}", 1, "enabled", None, 1.0, {}) for name in hosts}
    snapshot = Snapshot(
        now=9.0,
        fleet=FleetRow("L", "F", "office"),
        hosts=known,
        servers={one.id: one for one in rows},
        claims={one.server_id: one for one in claims},
        addresses=(),
        runs={run.id: run for run in runs},
    )
    return Patient(declared, computes, snapshot)


def only(findings: t.Sequence[Finding]) -> Finding:
    assert len(findings) == 1, findings_text(findings)
    return findings[0]


def test_a_healthy_fleet() -> None:
    healthy = patient({"kvm1": [guest(record())]}, [row()])
    assert examine(healthy) == []
    assert findings_text([]) == "Nothing is wrong: ledger, hosts and inventory fit together."


def test_a_stuck_task_and_a_task_at_work() -> None:
    stuck = row(task_state="rebooting", run_id="run-1")
    found = only(examine(patient({"kvm1": [guest(record())]}, [stuck])))
    assert (found.kind, found.what, found.host) == ("stuck_task", "web1", "kvm1")
    assert found.command == "ansible-playbook flotilla.compute.doctor -e fleet_server=web1 -e fleet_action=reset_state"
    assert examine(patient({"kvm1": [guest(record())]}, [stuck], runs=[RUN])) == []
    busy = survey("kvm1", running_steps=[{"server_id": ONE}])
    assert examine(patient({"kvm1": [guest(record())]}, [stuck], surveys={"kvm1": busy})) == []


def test_a_server_in_error_says_why() -> None:
    failed = row(record=None, vm_state="error", fault="pool 'local'\nis full")
    found = only(examine(patient(rows=[failed])))
    assert (found.kind, found.message) == ("error", "web1 is in ERROR: pool 'local' is full")


@pytest.mark.parametrize(
    ("host", "volumes", "words", "command"),
    [
        ("kvm1", [], "nothing of it is there", "ansible-playbook flotilla.compute.reconcile"),
        ("kvm1", [f"{ONE}-root"], f"of it there is volume {ONE}-root on kvm1", "flotilla.compute.reconcile"),
        ("kvm9", [], "no compute host has that name", f"-e fleet_server={ONE} -e fleet_action=reset_state"),
    ],
)
def test_an_orphan_claim(host: str, volumes: list[str], words: str, command: str) -> None:
    left = claim(record(), host)
    building = row(record=None, host=host, vm_state="building")
    found = only(examine(patient(rows=[building], claims=[left], surveys={"kvm1": survey("kvm1", volumes)})))
    assert found.kind == "orphan_claim"
    assert words in found.message
    assert command in found.command
    live = dataclasses.replace(left, run_id=RUN.id)
    assert examine(patient(rows=[building], claims=[live], runs=[RUN])) == []


def test_an_orphan_volume() -> None:
    there = {"kvm1": survey("kvm1", [f"{TWO}-root", f"{ONE}-root", "image-aa", "a b"])}
    found = only(examine(patient({"kvm1": [guest(record())]}, [row()], surveys=there)))
    assert (found.kind, found.what) == ("orphan_volume", f"{TWO}-root")
    assert f"virsh vol-delete --pool local {TWO}-root" in found.command


def test_an_orphan_volume_in_a_pool_of_many_may_be_anothers() -> None:
    shared = survey("kvm1", [f"{TWO}-root"])
    shared["pools"]["local"]["type"] = "netfs"
    found = only(examine(patient({"kvm1": [guest(record())]}, [row()], surveys={"kvm1": shared})))
    assert "no other fleet" in found.command


def test_an_orphan_volume_may_be_that_of_a_host_that_is_down() -> None:
    there: dict[str, t.Any] = {"kvm1": survey("kvm1", [f"{TWO}-root"]), "kvm2": None}
    found = {one.kind: one for one in examine(patient(surveys=there, servers=()))}
    assert set(found) == {"host_down", "orphan_volume"}
    assert "vol-delete" not in found["orphan_volume"].command


def placed(host: str, pool_id: str) -> Record:
    """web1 with its disk in that pool."""
    of = record(host=host)
    return dataclasses.replace(of, disks=(dataclasses.replace(of.root, pool_id=pool_id),))


def test_what_a_move_has_left_on_a_host_that_has_nothing_else_of_the_server() -> None:
    """The source of a live migration died while disks were copied; the server was evacuated, or is still to be."""
    half = {"kvm2": survey("kvm2", [f"{ONE}-root"])}
    here = placed("kvm1", "pool-kvm1")
    found = only(examine(patient({"kvm1": [guest(here)]}, [row(here)], surveys=half)))
    assert (found.kind, found.what, found.host) == ("left_volume", f"{ONE}-root", "kvm2")
    assert f"virsh vol-delete --pool local {ONE}-root" in found.command
    dead = examine(patient(rows=[row(here)], surveys={**half, "kvm1": None}))
    assert [one.kind for one in dead] == ["host_down", "left_volume"]
    assert dead[1].command == "look again when kvm1 can be read, or web1 has been evacuated"


@pytest.mark.parametrize("case", ["its own", "shared", "unknown", "replaced", "on its way", "at work"])
def test_a_volume_that_has_its_meaning_is_left_by_nobody(case: str) -> None:
    pool_id = {"shared": "pool-kvm2", "unknown": None}.get(case, "pool-kvm1")
    here = placed("kvm1", t.cast(str, pool_id))
    if case == "on its way":
        here = marked(here, Move("m1", SOURCE, End("kvm2"), tuple(here.disks)))
    steps = [{"server_id": ONE}] if case == "at work" else []
    there = survey("kvm2", [] if case == "its own" else [f"{ONE}-root"], running_steps=steps)
    surveys = {"kvm1": survey("kvm1", [f"{ONE}-root"]), "kvm2": there}
    one = patient({"kvm1": [guest(here)]}, [row(here)], surveys=surveys)
    if case == "replaced":
        computes = [dataclasses.replace(c, replaced=(record(),)) if c.name == "kvm2" else c for c in one.computes]
        one = dataclasses.replace(one, computes=computes)
    assert "left_volume" not in {found.kind for found in examine(one)}


def test_a_volume_that_a_foreign_domain_uses_is_none() -> None:
    foreign = Guest("x", "x", "shutoff", True, False, 1, 1, volumes=(("local", f"{TWO}-root"),))
    assert examine(patient({"kvm1": [foreign]}, surveys={"kvm1": survey("kvm1", [f"{TWO}-root"])}, servers=())) == []


@pytest.mark.parametrize(
    ("servers", "volumes", "words"),
    [
        (("web1",), [f"{ONE}-root"], "(defines it again from its record)"),
        (("web1",), [f"{ONE}-config"], "(makes it anew from its image: its disk is gone)"),
        (("web1",), [], "(makes it anew from its image: its disk is gone)"),
        ((), [], "(forgets it)"),
        ((), [f"{ONE}-root"], "server_state: absent"),
    ],
)
def test_a_dangling_record(servers: tuple[str, ...], volumes: list[str], words: str) -> None:
    found = only(examine(patient(rows=[row()], surveys={"kvm1": survey("kvm1", volumes)}, servers=servers)))
    assert found.kind == "dangling_record"
    assert f"the ledger has web1 ({ONE}) on kvm1, and kvm1 has no such domain" in found.message
    assert words in found.command


def test_a_server_elsewhere_than_the_ledger_has_it() -> None:
    found = only(examine(patient({"kvm2": [guest(record())]}, [row()])))
    assert (found.kind, found.message) == ("misplaced", "web1 is on kvm2, and the ledger has it on kvm1")


@pytest.mark.parametrize(
    ("states", "kind", "words"),
    [
        (("running", "running"), "runs_twice", f"virsh destroy {ONE}"),
        (("running", "shutoff"), "second_copy", "-e fleet_allow=delete (undefines the other"),
        (("shutoff", "shutoff"), "second_copy", f"virsh start {ONE}"),
    ],
)
def test_double_copies(states: tuple[str, str], kind: str, words: str) -> None:
    copies = {host: [guest(record(), state)] for host, state in zip(("kvm1", "kvm2"), states)}
    found = [one for one in examine(patient(copies, [row()])) if one.kind != "misplaced"]
    assert only(found).kind == kind
    assert words in found[0].command


@pytest.mark.parametrize("at_work", ["run", "step"])
def test_copies_of_a_server_on_its_way_are_left_to_who_moves_it(at_work: str) -> None:
    """Libvirt shows both ends of a live migration as active: who destroyed one of them might take the wrong one."""
    copies = {host: [guest(record())] for host in ("kvm1", "kvm2")}
    if at_work == "run":
        moving = patient(copies, [row(task_state="migrating", run_id=RUN.id)], runs=[RUN])
    else:
        moving = patient(copies, [row()], surveys={"kvm1": survey("kvm1", running_steps=[{"server_id": ONE}])})
    assert examine(moving) == []


def on_its_way(role: str) -> Record:
    """The record at one end of a live migration from kvm1 to kvm2."""
    here, there = ("kvm1", "kvm2") if role == SOURCE else ("kvm2", "kvm1")
    return marked(record(host=here, generation=2 if role == DESTINATION else 1), Move("m1", role, End(there)))


@pytest.mark.parametrize(
    ("source", "destination", "kinds"),
    [
        # Half of it is there: that copy is none yet.
        ("running", "arriving", ["cut_off_move"]),
        # It was handed over, and what it has left stands still, or was not undefined.
        ("paused", "running", ["cut_off_move"]),
        ("shutoff", "running", ["cut_off_move"]),
        ("running", "running", ["runs_twice", "cut_off_move"]),
        # Nothing arrived.
        ("running", None, ["cut_off_move"]),
    ],
)
def test_a_live_migration_that_was_cut_off_is_no_second_server(
    source: str, destination: str | None, kinds: list[str]
) -> None:
    old, new = on_its_way(SOURCE), on_its_way(DESTINATION)
    there = guest(new, "paused" if destination == "arriving" else str(destination))
    there = dataclasses.replace(there, arriving=destination == "arriving")
    copies = {"kvm1": [guest(old, source)], "kvm2": [there] if destination else []}
    found = [one for one in examine(patient(copies, [row(old)])) if one.kind != "misplaced"]
    assert [one.kind for one in found] == kinds
    assert "flotilla.compute.reconcile (ends it)" in found[-1].command
    at_work = patient(copies, [row(old, task_state="migrating", run_id=RUN.id)], runs=[RUN])
    assert [one for one in examine(at_work) if one.kind != "misplaced"] == []


@pytest.mark.parametrize(("role", "here", "there"), [(SOURCE, "kvm1", "kvm2"), (DESTINATION, "kvm2", "kvm1")])
def test_one_whose_other_host_is_down_waits_for_it_or_for_its_evacuation(role: str, here: str, there: str) -> None:
    copies = {here: [guest(on_its_way(role), "paused")]}
    found = examine(patient(copies, [row(on_its_way(role), here)], surveys={there: None}))
    (one,) = (each for each in found if each.kind == "cut_off_move")
    assert f"and {there} is down" in one.message
    assert one.command.endswith(f"if it is dead, ansible-playbook flotilla.compute.evacuate -e fleet_host={there}")


def test_a_server_that_runs_on_other_cores_than_its_own() -> None:
    its = record(fit=Fit((FitCell(0, 0, (0,), 1024, pinning={0: 3}),), emulator_cpus=(3,)))
    well = dataclasses.replace(guest(its), tuning=Tuning.of(its.fit))
    assert examine(patient({"kvm1": [well]}, [row(its)])) == []
    by_hand = dataclasses.replace(well, live=dataclasses.replace(Tuning.of(its.fit), pins={0: (1,)}))
    found = only(examine(patient({"kvm1": [by_hand]}, [row(its)])))
    assert (found.kind, found.what, found.host) == ("astray", "web1", "kvm1")
    assert found.message == (
        "web1 doesn't lie on kvm1 as it was given: domain.pins is 0 on 1, emulator on 3, not 0 on 3, emulator on 3"
    )
    assert "flotilla.compute.reconcile (pins it back" in found.command
    on_the_way = marked(its, Move("m1", SOURCE, End("kvm2")))
    moving = patient({"kvm1": [dataclasses.replace(by_hand, record=on_the_way)]}, [row(on_the_way)])
    assert [one.kind for one in examine(moving)] == ["cut_off_move"]


def test_what_evacuations_have_left_is_no_second_server() -> None:
    """Reconcile knows which copy counts: it takes away the stale one and the half-built one, and keeps its disks."""
    old = record(generation=4)
    entry = {"host_id": "id-kvm1", "generation": 4, "migration": "m"}
    new = record(host="kvm2", generation=5, marks={"replaces": [entry]})
    back = patient({"kvm1": [guest(old, "shutoff")], "kvm2": [guest(new)]}, [row(new, "kvm2")])
    assert examine(back) == []
    begun = {"migration": "m", "at": 1.0, "generation": 4, "from": {"host": "kvm1", "host_id": "id-kvm1"}, "made": []}
    half = record(host="kvm2", generation=5, marks={"evacuating": begun})
    begun_only = patient({"kvm1": [guest(old, "shutoff")], "kvm2": [guest(half, "shutoff")]}, [row(old)])
    assert examine(begun_only) == []


def test_the_disks_of_a_copy_that_was_replaced_are_kept_for_their_time() -> None:
    kept = survey("kvm1", [f"{TWO}-root", f"{TWO}-replaced"])
    one = patient({"kvm1": [guest(record())]}, [row()], surveys={"kvm1": kept})
    computes = [
        dataclasses.replace(compute, replaced=(record(TWO, "web2"),)) if compute.name == "kvm1" else compute
        for compute in one.computes
    ]
    assert examine(dataclasses.replace(one, computes=computes)) == []


def test_two_servers_of_one_name() -> None:
    twins = {"kvm1": [guest(record())], "kvm2": [guest(record(TWO, host="kvm2"))]}
    found = only(examine(patient(twins, [row()])))
    assert found.kind == "two_of_a_name"
    assert f"{ONE} on kvm1, {TWO} on kvm2" in found.message


def test_a_damaged_record() -> None:
    damaged = Guest("x", "web9", "running", True, False, 1, 1, record_error="it is not JSON", damaged=True)
    found = only(examine(patient({"kvm1": [damaged]}, servers=())))
    assert found.kind == "damaged_record"
    assert "flotilla.compute.adopt -e fleet_server=web9 -e fleet_host=kvm1" in found.command


@pytest.mark.parametrize("now", [{"host_id": None, "marker": None}, {"host_id": "id-new"}])
def test_a_host_installed_anew_under_its_old_name(now: dict[str, t.Any]) -> None:
    sick = patient(rows=[row()], surveys={"kvm1": survey("kvm1", **now)})
    found = examine(sick)[0]
    assert found.kind == "reinstalled_host"
    assert found.message.startswith("kvm1 was installed anew, or is another machine under its old name: ")
    assert "-e fleet_host=kvm1 -e fleet_action=forget_host -e fleet_allow=data_loss" in found.command
    with pytest.raises(Conflict, match="no host was touched: kvm1 was installed anew"):
        refuse_reinstalled(sick.declared, sick.computes, sick.snapshot)


def test_a_server_whose_disk_a_host_installed_anew_still_sees_is_not_lost() -> None:
    again = survey("kvm1", [f"{ONE}-root"], host_id=None, marker=None)
    well = patient(rows=[row()], surveys={"kvm1": again})
    refuse_reinstalled(well.declared, well.computes, well.snapshot)
    gone = row(record(TWO, "web2"))
    sick = patient(rows=[row(), gone], surveys={"kvm1": again})
    found = next(one for one in examine(sick) if one.kind == "reinstalled_host")
    assert found.message.endswith("1 server(s) on it that are not there: web2")
    assert sick.still_seen() == {ONE}


def test_what_is_still_seen_of_servers() -> None:
    """By their domain, on whatever host, by their root disk, or by what they are shelved as."""
    shelved = record(TWO, "web2", marks={"shelved_offloaded": {}})
    only_config = record("00000000-0000-4000-8000-000000000003", "web3")
    there = survey("kvm2", [f"{only_config.id}-config"])
    seen = patient(
        {"kvm2": [guest(record(), "shutoff")]}, [row(), row(shelved), row(only_config)], surveys={"kvm2": there}
    )
    computes = [dataclasses.replace(compute, shelved=(shelved,)) for compute in seen.computes]
    assert dataclasses.replace(seen, computes=computes).still_seen() == {ONE, TWO}


@pytest.mark.parametrize(
    ("guests", "rows"),
    [
        ({"kvm1": [guest(record())]}, [row()]),  # only the marker was lost
        ({"kvm2": [guest(record())]}, [row()]),  # its server is on another host now
        ({}, []),  # it had no servers
        ({}, [row(record=None, vm_state="building")]),  # nor one that was ever built
    ],
)
def test_a_host_with_another_id_that_holds_nothing_up(guests: dict[str, list[Guest]], rows: list[ServerRow]) -> None:
    well = patient(guests, rows, surveys={"kvm1": survey("kvm1", host_id=None, marker=None)})
    refuse_reinstalled(well.declared, well.computes, well.snapshot)


def test_hosts_of_another_ledger() -> None:
    other = survey("kvm1")
    other["marker"]["ledger_id"] = "other"
    found = only(examine(patient(surveys={"kvm1": other})))
    assert found.kind == "stranger"
    assert found.command.endswith("-e fleet_take_over=true")


def test_a_host_that_inventory_no_longer_names() -> None:
    found = only(examine(patient(hosts=("kvm1", "kvm2", "kvm3"))))
    assert (found.kind, found.command.endswith("-e fleet_host=kvm3 -e fleet_action=forget_host")) == ("left_host", True)
    lost = only(examine(patient(rows=[row(host="kvm3")], hosts=("kvm1", "kvm2", "kvm3"))))
    assert "the ledger has 1 server(s) on it: web1" in lost.message


def test_a_host_that_never_had_a_mark_is_not_one_that_has_none_yet() -> None:
    """Its id is only known from its second survey on."""
    unmarked = HostRow("kvm3", None, 1, "enabled", None, 1.0, {})
    sick = patient(rows=[row(host="kvm3")], surveys={"kvm1": survey("kvm1", host_id=None, marker=None)})
    assert sick.snapshot is not None
    hosts = {**sick.snapshot.hosts, "kvm3": unmarked}
    sick = dataclasses.replace(sick, snapshot=dataclasses.replace(sick.snapshot, hosts=hosts))
    found = next(one for one in examine(sick) if one.kind == "left_host")
    assert found.command.endswith("-e fleet_host=kvm3 -e fleet_action=forget_host -e fleet_allow=data_loss")


def test_a_server_that_inventory_does_not_declare() -> None:
    found = only(examine(patient({"kvm1": [guest(record())]}, [row()], servers=())))
    assert (found.kind, found.message) == ("undeclared", "web1 on kvm1 is managed, and inventory doesn't declare it")


def test_without_a_ledger_the_hosts_alone_are_looked_at() -> None:
    bare = dataclasses.replace(
        patient(surveys={name: survey(name, host_id=None, marker=None) for name in ("kvm1", "kvm2")}), snapshot=None
    )
    assert examine(bare) == []


def test_names_never_become_shell() -> None:
    evil = record(name="web1; rm -rf /")
    found = examine(patient({"kvm1": [guest(evil)]}, [row(evil, task_state="rebooting")], servers=()))
    stuck = next(one for one in found if one.kind == "stuck_task")
    assert "-e fleet_server='web1; rm -rf /' -e" in stuck.command
