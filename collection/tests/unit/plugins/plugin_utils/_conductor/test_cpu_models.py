# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One CPU for the fleet: who gets it, which hosts are left out, and what is said of them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_model import lacking
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_drain import World, world
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    reconcile,
    survey,
)

MODEL: dict[str, t.Any] = {"model": "Haswell-noTSX", "features": {"ssbd": "require"}}
WHOLE = {"models": ["Haswell-noTSX", "qemu64"], "features": ["ssbd"]}
LESS = {"models": ["Haswell-noTSX"], "features": ["avx2"]}


def with_cpu(name: str, **cpu: t.Any) -> dict[str, t.Any]:
    found = survey(name)
    found["cpu"].update(cpu)
    return found


def surveys(**lacking: t.Any) -> dict[str, t.Any]:
    return {name: with_cpu(name, **lacking.get(name, WHOLE)) for name in ("kvm1", "kvm2", "kvm3")}


def test_new_servers_get_it_and_go_where_it_works() -> None:
    declared = fleet({f"web{n}": {**WEB, "server_group": "apart"} for n in (1, 2)}, fleet_cpu_model=MODEL)
    draft = reconcile(declared, hosts(declared, **surveys(kvm2=LESS)))
    plan = claimed(draft)
    assert sorted(str(entry.host) for entry in plan.servers) == ["kvm1", "kvm3"]
    assert {Record.from_json(entry.deeds[0]["record"]).hardware.cpu is None for entry in plan.servers} == {False}
    (note,) = plan.notes
    assert note.startswith("guests with fleet_cpu_model can't run on kvm2: its CPU lacks ssbd; new servers don't go")
    # Those that are there keep it, whatever the variable says later.
    other = fleet({f"web{n}": {**WEB, "server_group": "apart"} for n in (1, 2)})
    second = claimed(reconcile(other, hosts(other, applied(draft), **surveys(kvm2=LESS))))
    assert [entry.steps for entry in second.servers] == [(), ()]
    assert [note.startswith("guests see another CPU from host to host") for note in second.notes] == [True]


def test_hosts_whose_guests_see_different_cpus_are_named_once_with_the_way_out() -> None:
    """By model or by a feature; where libvirt can't tell, or a host is down, nothing is said of it."""
    declared = fleet({})
    kinds: dict[str, t.Any] = {"kvm1": {**WHOLE, "model": "Haswell"}, "kvm2": {**LESS, "model": "Haswell"}}
    (note,) = reconcile(declared, hosts(declared, **surveys(**kinds, kvm3=kinds["kvm1"]))).plan().notes
    assert note == (
        "guests see another CPU from host to host, and may not move everywhere while they run: Haswell without avx2 "
        "on kvm1, kvm3; Haswell without ssbd on kvm2. The playbook cpu_model says which CPU all hosts can give "
        "(fleet_cpu_model)"
    )
    unknown = {**WHOLE, "features": []}
    for alike in ({}, {"kvm2": unknown}):
        assert reconcile(declared, hosts(declared, **surveys(**alike))).plan().notes == ()


def test_what_the_host_itself_says_of_the_fleet_s_cpu_counts() -> None:
    """A model that doesn't work as a whole does without the features that the fleet's CPU has switched off."""
    model = {"model": "EPYC", "features": {"vme": "disable", "ssbd": "require"}}
    declared = fleet({"web1": WEB}, fleet_cpu_model=model)
    told = {"kvm1": "its CPU lacks ssbd", "kvm2": "", "kvm3": "its CPU lacks ssbd"}
    cpus = {name: {**WHOLE, "asked": {"model": model, "lacks": lacks}} for name, lacks in told.items()}
    plan = claimed(reconcile(declared, hosts(declared, **surveys(**cpus))))
    assert [entry.host for entry in plan.servers] == ["kvm2"]
    assert [note.partition(":")[0] for note in plan.notes] == [
        f"guests with fleet_cpu_model can't run on {name}" for name in ("kvm1", "kvm3")
    ]


def test_a_model_with_features_switched_off_may_work_where_it_does_not_as_a_whole() -> None:
    """Of a CPU that a server was made with, and that is not the fleet's, nobody has asked the host."""
    cpu = {"models": ["qemu64"], "features": ["ssbd"], "asked": {"model": MODEL, "lacks": "its CPU lacks avx2"}}
    assert lacking({"model": "EPYC"}, cpu) == "no CPU EPYC works there"
    assert lacking({"model": "EPYC", "features": {"vme": "disable", "ssbd": "require"}}, cpu) == ""
    off = {"vme": "disable", "avx2": "require"}
    assert lacking({"model": "EPYC", "features": off}, cpu) == "its CPU lacks avx2"
    assert lacking(MODEL, cpu) == "its CPU lacks avx2"


def test_where_no_host_gives_it_nothing_is_made() -> None:
    declared = fleet({"web1": WEB}, fleet_cpu_model={"model": "EPYC-Milan"})
    entry = entries(reconcile(declared, hosts(declared, **surveys())).plan())["web1"]
    assert entry.verdict == "no valid host"
    assert "ruled out for this operation" in entry.message


def test_a_host_that_lacks_it_is_no_destination() -> None:
    base = world({"web1": {}})
    record = t.cast(Record, base.guests["kvm1"][0].record)
    ours = base.but("web1", hardware=dataclasses.replace(record.hardware, cpu=MODEL))
    assert destinations(ours, kvm2=LESS) == {"kvm3"}
    assert destinations(ours, kvm3=LESS) == {"kvm2"}
    assert destinations(ours, kvm2=LESS, kvm3=LESS) == {None}
    assert destinations(base, kvm2=LESS, kvm3=LESS) != {None}


def destinations(made: World, **lacking: t.Any) -> set[str | None]:
    return {entry.destination for entry in made.drain(**surveys(**lacking)).servers}
