# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's cells, cores, pages and devices as the scheduler sees them: from settings, survey, records and claims."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    Fit,
    FitCell,
    FittedDevice,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import resize_mark
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Node, Tuning
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hardware import (
    Held,
    coming,
    free_pci_devices,
    held_on,
    in_classes,
    problem,
    promises,
    settled,
    shared_cpus,
    topology_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, ServerRow, Snapshot
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings

ID, OTHER = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01", "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a02"


def cell(number: int, cpus: list[int], siblings: list[list[int]], free: int | None = 512) -> dict[str, t.Any]:
    pages = [{"size_kib": 4, "count": 2**20, "free": None}, {"size_kib": 2048, "count": 512, "free": free}]
    return {"id": number, "memory_mib": 5120, "cpus": cpus, "siblings": siblings, "socket": number, "pages": pages}


def pci(address: str, product: str, **more: t.Any) -> dict[str, t.Any]:
    facts = {"vendor_id": "8086", "class": "0x020000", "dev_type": "type-PCI", "numa_node": 0, "parent": None}
    return {"address": address, "product_id": product, **facts, **more}


#: Two cells of two cores of two threads each; a network card with two virtual functions, and a card of another make.
SURVEY: dict[str, t.Any] = {
    "cpu": {"count": 8},
    "numa": [cell(0, [0, 1, 4, 5], [[0, 4], [1, 5]]), cell(1, [2, 3, 6, 7], [[2, 6], [3, 7]])],
    "pci_devices": [
        pci("0000:3b:00.0", "1583", dev_type="type-PF"),
        pci("0000:3b:02.0", "154c", dev_type="type-VF", parent="0000:3b:00.0"),
        pci("0000:3b:02.1", "154c", dev_type="type-VF", parent="0000:3b:00.0"),
        pci("0001:af:00.0", "1eb8", vendor_id="10de", numa_node=1),
    ],
}


def host(*guests: Guest, survey: dict[str, t.Any] | None = None, **settings: t.Any) -> Compute:
    given = {f"compute_{name}": value for name, value in settings.items()}
    return Compute("kvm1", compute_settings(given), survey or SURVEY, guests)


def pinned(cores: dict[int, int], cell_id: int = 0, *devices: str, **more: t.Any) -> Fit:
    given = FitCell(0, cell_id, tuple(cores), 256, pinning=cores, cpu_policy=DEDICATED, **more)
    return Fit(
        (given,), None, tuple(cores.values()), tuple(FittedDevice("a", PciDevice(a, "8086", "154c")) for a in devices)
    )


def guest(fit: Fit | None, server_id: str = ID, *, state: str = "running", fleet_id: str = "F", **more: t.Any) -> Guest:
    disk = Disk("root", "local", f"{server_id}-root", "qcow2", GIB, "vda", "virtio")
    image = Image("tick", "qcow2", "sha256:" + "ab" * 32)
    record = Record(server_id, "db1", fleet_id, 3, {}, Flavor("m", 2, 256, 1), image, (disk,), (), Hardware(), fit=fit)
    tuning = Tuning.of(fit)
    found = dataclasses.replace(as_defined(record), state=state, tuning=tuning if tuning != Tuning() else None)
    return dataclasses.replace(found, **more)


def foreign(**tuning: t.Any) -> Guest:
    return Guest("f", "f", "running", True, False, 2, 1024, tuning=Tuning(**tuning))


def held(compute: Compute, snapshot: Snapshot | None = None, moving: t.AbstractSet[str] = frozenset()) -> list[Held]:
    return held_on(compute, promises(snapshot).get(compute.name, ()), "F", moving)


def in_use(compute: Compute, snapshot: Snapshot | None = None, moving: t.AbstractSet[str] = frozenset()) -> list[int]:
    topology = topology_of(compute, held(compute, snapshot, moving))
    assert topology is not None
    return sorted(cpu for each in topology.cells for cpu in each.pinned)


# -- CPUs


@pytest.mark.parametrize(
    ("settings", "shared", "dedicated"),
    [
        ({}, [(0, 1, 4, 5), (2, 3, 6, 7)], [(), ()]),
        ({"cpu_dedicated_set": "1-3"}, [(), ()], [(1,), (2, 3)]),
        ({"cpu_shared_set": "0,4", "cpu_dedicated_set": "5-7"}, [(0, 4), ()], [(5,), (6, 7)]),
    ],
)
def test_cpus_are_of_their_cells_and_shared_unless_inventory_sets_them_apart(
    settings: dict[str, t.Any], shared: list[tuple[int, ...]], dedicated: list[tuple[int, ...]]
) -> None:
    topology = topology_of(host(**settings), [])
    assert topology is not None
    assert [each.cpus for each in topology.cells] == shared
    assert [each.dedicated for each in topology.cells] == dedicated
    assert [(each.id, each.memory, each.socket) for each in topology.cells] == [(0, 5120, 0), (1, 5120, 1)]
    assert (topology.cpu_ratio, topology.ram_ratio) == (4.0, 1.0)


def test_threads_of_a_core_are_known_as_far_as_servers_may_have_them() -> None:
    topology = topology_of(host(cpu_shared_set="0,4", cpu_dedicated_set="1,2,6"), [])
    assert topology is not None
    assert [each.siblings for each in topology.cells] == [((0, 4),), ((2, 6),)]


def test_a_host_that_lacks_cpus_which_inventory_names_takes_nothing() -> None:
    assert problem(host(cpu_dedicated_set="6-9")) == "compute_cpu_dedicated_set names CPU 8-9, the host has 0-7"
    assert problem(host(cpu_shared_set="0-3", cpu_dedicated_set="4-7")) == ""
    assert problem(Compute("kvm1", compute_settings({"compute_cpu_shared_set": "99"}))) == ""


def test_a_host_without_numa_cells_has_cpus_all_the_same() -> None:
    plain = host(survey={"cpu": {"count": 4}, "numa": []}, cpu_shared_set="0-2")
    assert topology_of(plain, []) is None
    assert sorted(shared_cpus(plain)) == [0, 1, 2]
    assert problem(plain) == ""


def test_dedicated_cores_are_pcpus_the_rest_are_vcpus() -> None:
    mixed = Fit((FitCell(0, 0, (0, 1, 2), 64, pinning={1: 5}, cpus=(0,), reserved=(6,)),))
    assert in_classes(3, mixed) == (2, 2)
    assert in_classes(3, None) == (3, 0)
    assert in_classes(3, Fit(cpus=(0, 1))) == (3, 0)


def test_a_server_without_a_topology_floats_over_the_shared_cpus() -> None:
    fit = pinned({0: 1})
    device = Fit(pci=pinned({}, 0, "0000:3b:02.0").pci)
    assert settled(None, host()) is None
    assert settled(None, host(cpu_shared_set="0-1")) == Fit(cpus=(0, 1))
    assert settled(device, host(cpu_shared_set="0-1")) == dataclasses.replace(device, cpus=(0, 1))
    assert settled(fit, host(cpu_shared_set="0-1")) == fit


# -- what is held


DEDICATED_HOST: dict[str, t.Any] = {"cpu_dedicated_set": "0-7"}


def test_cores_of_our_servers_are_in_use_running_or_not() -> None:
    assert in_use(host(guest(pinned({0: 1, 1: 5})), **DEDICATED_HOST)) == [1, 5]
    assert in_use(host(guest(pinned({0: 1, 1: 5}), state="shutoff"), **DEDICATED_HOST)) == [1, 5]
    assert in_use(host(guest(pinned({0: 1})), **DEDICATED_HOST), moving={ID}) == []


def test_what_a_domain_is_really_pinned_to_is_in_use_too() -> None:
    by_hand = guest(pinned({0: 1}), live=Tuning(pins={0: (2, 3)}))
    assert in_use(host(by_hand, **DEDICATED_HOST)) == [1, 2, 3]
    assert in_use(host(guest(None, tuning=Tuning(pins={0: (6,)})), **DEDICATED_HOST)) == [6]
    assert in_use(host(foreign(pins={0: (0, 1), 1: (7,)}), **DEDICATED_HOST)) == [0, 1, 7]
    assert in_use(host(foreign(pins={0: (0, 1), 1: (7,)}), cpu_dedicated_set="1-3")) == [1]
    assert in_use(host(foreign(cpuset=(0, 1, 2)), **DEDICATED_HOST)) == []


def test_a_server_of_another_fleet_is_counted_by_its_domain() -> None:
    stranger = guest(pinned({0: 1}), fleet_id="G")
    (found,) = held(host(stranger, **DEDICATED_HOST))
    assert [(each.host_cell, each.memory, each.reserved) for each in found.fit.cells] == [(0, 256, ()), (0, 0, (1,))]


def rows(**changes: t.Any) -> Snapshot:
    empty = Snapshot(now=0.0, fleet=None, hosts={}, servers={}, claims={}, addresses=(), runs={})
    return dataclasses.replace(empty, **changes)


def row(fit: Fit | None, generation: int, host_name: str = "kvm1") -> dict[str, ServerRow]:
    record = dataclasses.replace(t.cast(Record, guest(fit).record), generation=generation)
    return {ID: ServerRow(ID, "db1", host_name, record.dumps(), generation, "active", None, 1, None, None, 0, 0)}


def claim(fit: Fit | None, server_id: str = ID, host_name: str = "kvm1") -> dict[str, ClaimRow]:
    data = None if fit is None else fit.to_json()
    return {server_id: ClaimRow(server_id, "db1", host_name, 2, 256, 1, None, "r", True, 0.0, fit=data)}


def test_claims_and_what_others_have_built_since_the_survey_are_in_use() -> None:
    here = host(guest(pinned({0: 1})), **DEDICATED_HOST)
    assert in_use(here, rows(claims=claim(pinned({0: 2}, 1), OTHER))) == [1, 2]
    assert in_use(here, rows(claims=claim(pinned({0: 2}, 1)))) == [1, 2]  # a resize that is under way: both count
    assert in_use(here, rows(claims=claim(pinned({0: 2}, 1)), servers={}), moving={ID}) == []
    assert in_use(here, rows(claims=claim(pinned({0: 2}, 1), host_name="kvm2"))) == [1]
    assert in_use(here, rows(claims=claim(None))) == [1]
    assert in_use(here, rows(servers=row(pinned({0: 4}), 4))) == [1, 4]
    assert in_use(here, rows(servers=row(pinned({0: 4}), 3))) == [1]
    assert in_use(here, rows(servers=row(pinned({0: 4}), 4, "kvm2"))) == [1]
    assert in_use(host(**DEDICATED_HOST), rows(servers=row(pinned({0: 4}), 4))) == [4]
    assert in_use(host(**DEDICATED_HOST), rows(servers=row(None, 4))) == []
    shelved = {ID: dataclasses.replace(row(pinned({0: 4}), 4)[ID], vm_state="shelved_offloaded")}
    assert in_use(host(**DEDICATED_HOST), rows(servers=shelved)) == []


def test_what_a_move_brings_is_in_use_where_it_goes_and_what_it_leaves_where_it_is() -> None:
    fleet = {"F": [1, 6], "G": [1]}
    for fleet_id, wanted in fleet.items():
        move = Move("m", SOURCE, End("kvm1"), fit=pinned({0: 6}, 1))
        away = guest(pinned({0: 2}, 1), OTHER, fleet_id=fleet_id)
        away = dataclasses.replace(away, record=marked(t.cast(Record, away.record), move))
        here, there = host(guest(pinned({0: 1})), **DEDICATED_HOST), host(away, **DEDICATED_HOST)
        found = coming([here, dataclasses.replace(there, name="kvm2")], "F")
        topology = topology_of(here, held_on(here, found.get("kvm1", ()), "F", set()))
        assert topology is not None
        assert sorted(cpu for each in topology.cells for cpu in each.pinned) == wanted
        # It is placed anew, and has what it has until it is gone.
        assert held_on(here, found.get("kvm1", ()), "F", {ID, OTHER}) == []
        kept = held_on(here, (), "F", {ID, OTHER}, {ID})
        assert [one.fit for one in kept] == [pinned({0: 1})]


def test_until_a_resize_is_confirmed_the_cores_of_before_are_in_use_too() -> None:
    now = guest(pinned({0: 1}))
    mark = resize_mark(t.cast(Record, now.record), state="running", migration="m", at=0)
    marks = {"resize": {**mark, "fit": pinned({0: 6}, 1).to_json()}}
    resized = dataclasses.replace(t.cast(Record, now.record), marks=marks, generation=4)
    assert in_use(host(dataclasses.replace(now, record=resized), **DEDICATED_HOST)) == [1, 6]
    assert in_use(host(dataclasses.replace(now, record=resized), **DEDICATED_HOST), moving={ID}) == []
    its = {ID: dataclasses.replace(row(None, 4)[ID], record=resized.dumps())}
    assert in_use(host(now, **DEDICATED_HOST), rows(servers=its)) == [1, 6]
    bare = dataclasses.replace(resized, fit=None, marks={"resize": {**mark, "fit": None}, "soft_delete": {"at": 1.0}})
    assert in_use(host(guest(None, tuning=None), **DEDICATED_HOST)) == []
    assert in_use(host(dataclasses.replace(now, record=bare, tuning=None), **DEDICATED_HOST)) == []


def test_one_server_is_counted_once() -> None:
    fit = pinned({0: 1})
    here = host(guest(fit), **DEDICATED_HOST)
    topology = topology_of(here, held(here, rows(claims=claim(fit), servers=row(fit, 4))))
    assert topology is not None
    assert topology.cells[0].memory_usage == 256


# -- pages


def huge(compute: Compute) -> list[int]:
    """Free pages of 2 MiB of each cell."""
    topology = topology_of(compute, held(compute))
    assert topology is not None
    return [each.pages[1].free for each in topology.cells]


def with_free(first: int, second: int = 512) -> dict[str, t.Any]:
    cells = [cell(0, [0, 1, 4, 5], [], first), cell(1, [2, 3, 6, 7], [], second)]
    return {**SURVEY, "numa": cells}


def test_pages_of_guests_of_inventory_and_of_other_programs_are_not_free() -> None:
    ours = pinned({0: 1}, page_size=2048)  # 128 pages
    assert huge(host()) == [512, 512]
    assert huge(host(guest(ours, state="shutoff"))) == [384, 512]
    assert huge(host(guest(ours), survey=with_free(384))) == [384, 512]
    assert huge(host(guest(ours), survey=with_free(300))) == [300, 512]
    assert huge(host(guest(ours, state="shutoff"), survey=with_free(412))) == [284, 512]
    kept: dict[str, t.Any] = {
        "reserved_huge_pages": [{"size": 2048, "count": 100}, {"node": 1, "size": 2048, "count": 12}]
    }
    assert huge(host(**kept)) == [412, 500]
    assert huge(host(survey=with_free(432), **kept)) == [412, 500]
    assert huge(host(survey=with_free(400), **kept)) == [400, 500]


def test_pages_of_a_foreign_guest() -> None:
    bound = foreign(nodes=(Node((0, 1), 512, (1,), 2048),))
    assert huge(host(bound, survey=with_free(512, 256))) == [512, 256]
    off = dataclasses.replace(bound, state="shutoff")
    assert huge(host(off)) == [512, 256]


def test_a_host_that_does_not_tell_its_free_pages_has_those_that_nobody_has() -> None:
    untold = {**SURVEY, "numa": [cell(0, [0], [], None)]}
    assert huge(host(guest(pinned({0: 0}, page_size=2048)), survey=untold)) == [384]


# -- PCI devices


def free(compute: Compute, snapshot: Snapshot | None = None) -> list[str]:
    return [device.address for device in free_pci_devices(compute, held(compute, snapshot))]


ALL = ["0000:3b:00.0", "0000:3b:02.0", "0000:3b:02.1", "0001:af:00.0"]


@pytest.mark.parametrize(
    ("spec", "addresses"),
    [
        ({"vendor_id": "8086"}, ALL[:3]),
        ({"vendor_id": "10DE", "product_id": "1EB8"}, ALL[3:]),
        ({"product_id": "154c"}, ALL[1:3]),
        ({"address": "0000:3b:00.0"}, ALL[:3]),  # a physical function's address means its virtual ones, too
        ({"address": "0000:3B:02.*"}, ALL[1:3]),
        ({"address": "*:*:*.1"}, ALL[2:3]),
        ({"address": {"bus": "a[0-f]", "function": "0"}}, ALL[3:]),
        ({"address": {"slot": "0"}}, []),
        ({"vendor_id": "8086", "address": "0001:*:*.*"}, []),
    ],
)
def test_devices_are_offered_by_id_and_address(spec: dict[str, t.Any], addresses: list[str]) -> None:
    assert free(host(pci_devices=[spec])) == addresses


def test_nothing_is_offered_unless_inventory_says_so() -> None:
    assert free(host()) == []


def test_the_first_entry_that_fits_says_which_network_a_device_is_on() -> None:
    specs: list[dict[str, t.Any]] = [
        {"product_id": "154c", "physical_network": "physnet1"},
        {"vendor_id": "8086", "physical_network": "other"},
    ]
    found = free_pci_devices(host(pci_devices=specs), [])
    assert [device.physical_network for device in found] == ["other", "physnet1", "physnet1"]
    assert found[1] == PciDevice("0000:3b:02.0", "8086", "154c", "type-VF", 0, "physnet1", "0000:3b:00.0")


def test_a_device_that_somebody_has_is_not_free_nor_its_physical_function() -> None:
    offered: dict[str, t.Any] = {"pci_devices": [{"vendor_id": "8086"}, {"vendor_id": "10de"}]}
    ours = guest(pinned({0: 1}, 0, "0000:3b:02.0"))
    assert free(host(ours, **offered)) == ["0000:3b:02.1", "0001:af:00.0"]
    assert free(host(foreign(devices=("0001:af:00.0",)), **offered)) == ALL[:3]
    assert free(host(foreign(devices=("0000:3b:00.0",)), **offered)) == ALL[3:]
    assert free(host(**offered), rows(claims=claim(pinned({}, 0, "0000:3b:02.1"), OTHER))) == [ALL[1], ALL[3]]
    # By the physical function, too, where inventory offers the virtual ones alone.
    assert free(host(foreign(devices=("0000:3b:00.0",)), pci_devices=[{"product_id": "154c"}])) == []
