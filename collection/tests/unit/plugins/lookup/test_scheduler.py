# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scheduler lookup through Ansible's own loader, over made-up surveys, with no ledger and with one."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import FleetRow, HostSeen, Ledger, ServerSeen

FLEET: dict[str, t.Any] = {
    "fleet_name": "office",
    "fleet_flavors": {"small": {"vcpus": 1, "ram": 1024, "disk": 1}, "huge": {"vcpus": 1, "ram": 65536, "disk": 1}},
    "fleet_images": {"tick": {"file": "/tick.qcow2", "format": "qcow2", "checksum": "sha256:" + "a" * 64}},
    "fleet_networks": {"lan": {"bridge": "br0"}},
}
WEB = {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"]}
WISHES: dict[str, t.Any] = {"flavor": "small", "image": "tick", "networks": ["lan"]}


def survey(memory: int, **more: t.Any) -> dict[str, t.Any]:
    pool: dict[str, t.Any] = {
        "id": None,
        "active": True,
        "capacity": 100 * GIB,
        "allocation": 0,
        "capabilities": [],
        "volumes": {},
        "volumes_total": 0,
    }
    return {
        "host_id": None,
        "marker": None,
        "qemu": 7002000,
        "virt_types": ["qemu"],
        "cpu": {"count": 4, "arch": "x86_64"},
        "memory": memory,
        "pools": {"local": pool},
        "running_steps": [],
        "networks": {},
        "bridges": ["br0"],
        "guests": [],
        **more,
    }


@dataclasses.dataclass
class HostVars:
    hosts: dict[str, dict[str, t.Any]]

    def raw_get(self, name: str) -> dict[str, t.Any]:
        return self.hosts.get(name, {})


def look(
    ledger: Path,
    *names: str,
    age: float = 0,
    kvm2: dict[str, t.Any] | None = None,
    absent: str = "kvm3",
    enrolled: dict[str, t.Any] | None = None,
    **options: t.Any,
) -> list[str]:
    """Run the lookup over kvm1 (8 GiB), kvm2 (16 GiB) and kvm3, which was not reached. *enrolled*: what the module
    compute has answered for kvm2 since."""
    fleet = {**FLEET, "fleet_assume_absent": [absent]}
    declared = declare(fleet, {"kvm1": {}, "kvm2": {}, "kvm3": {}}, {"web1": WEB}, {})
    hosts: dict[str, dict[str, t.Any]] = {
        "localhost": {"fleet_declared": {"declared": declared.pack(), "run": {"since": time.time() - age}}},
        "kvm1": {"fleet_survey": {"survey": pack(survey(8192))}},
        "kvm2": {"fleet_survey": {"survey": pack(kvm2 or survey(16384))}, "fleet_enrolled": enrolled},
        "kvm3": {"fleet_survey": {"unreachable": True, "msg": "no route to host"}},
    }
    return call({"hostvars": HostVars(hosts), "fleet_ledger": f"sqlite:///{ledger}"}, *names, **options)


def call(variables: dict[str, t.Any], *names: str, **options: t.Any) -> list[str]:
    templar = Templar(loader=DataLoader(), variables=variables)
    plugin = lookup_loader.get("flotilla.compute.scheduler", templar=templar)
    found: list[str] = plugin.run(list(names), variables, **options)
    return found


@pytest.fixture
def ledger(tmp_path: Path) -> t.Iterator[Path]:
    """Where there is no ledger; and still none afterwards, since a lookup writes nothing."""
    yield tmp_path / "ledger.db"
    assert not list(tmp_path.iterdir())


def test_a_declared_server_is_proposed_the_best_host(ledger: Path) -> None:
    assert look(ledger, "web1") == ["kvm2"]


def test_a_server_that_is_not_declared(ledger: Path) -> None:
    assert look(ledger, "new1", **WISHES) == ["kvm2"]
    assert look(ledger, "new1", **WISHES, host="kvm1") == ["kvm1"]
    assert look(ledger, "new1", flavor="small") == ["kvm2"]


def record_of(name: str, fleet: FleetRow) -> Record:
    """A server on kvm2."""
    return Record(
        id="0a3bb1f6-6cb0-4a8e-9f0f-3a8e7b1d2c4d",
        name=name,
        fleet_id=fleet.fleet_id,
        generation=1,
        spec={"state": "active"},
        flavor=Flavor("small", 1, 1024, 1),
        image=Image("tick", "qcow2", FLEET["fleet_images"]["tick"]["checksum"]),
        disks=(Disk("root", "local", "0a3bb1f6-6cb0-4a8e-9f0f-3a8e7b1d2c4d-root", "qcow2", 1, "vda", "virtio"),),
        nics=(),
        hardware=Hardware(),
        host_id="id-kvm2",
    )


def test_a_server_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(f"sqlite:///{path}", create=True)
    assert ledger is not None
    fleet = ledger.establish("office")
    record = record_of("web9", fleet)
    guest = Guest(record.id, "web9", "running", True, False, 1, 1024, record=record)
    marker = {"host_id": "id-kvm2", "fleet_id": fleet.fleet_id, "ledger_id": fleet.ledger_id, "service": None}
    # Far too small for the server: that it is there counts, not that it would fit.
    there = survey(512, host_id="id-kvm2", marker=marker, guests=[guest.to_json()])
    assert look(path, "web9", kvm2=there, **WISHES) == ["kvm2"]
    assert look(path, "web9", kvm2=there, **{**WISHES, "flavor": "huge"}) == ["kvm2"]
    # Who only asks where it is need not say what it would be.
    assert look(path, "web9", kvm2=there) == ["kvm2"]
    assert look(path, record.id, kvm2=there) == ["kvm2"]
    with pytest.raises(AnsibleError, match="web8"):
        look(path, "web8", kvm2=there)


def test_after_a_run_the_ledger_is_newer_than_the_surveys(tmp_path: Path) -> None:
    """The run has enrolled kvm2 and built a server there; its surveys know nothing of either."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(f"sqlite:///{path}", create=True)
    assert ledger is not None
    fleet = ledger.establish("office")
    record = record_of("web1", fleet)
    ledger.save_survey([HostSeen("kvm2", "id-kvm2")])
    ledger.observe([ServerSeen.of(record, host="kvm2", vm_state="active", power_state=1)], since=0)
    marker = {"host_id": "id-kvm2", "fleet_id": fleet.fleet_id, "ledger_id": fleet.ledger_id, "service": None}
    enrolled = {"changed": True, "host": marker, "pools": {"local": "id-of-pool"}}
    full = survey(512)  # by its survey kvm2 would be no place for anything

    assert look(path, "web1", age=60, kvm2=full, enrolled=enrolled) == ["kvm2"]
    assert look(path, record.id, age=60, kvm2=full, enrolled=enrolled) == ["kvm2"]
    # One more goes beside it, and what the first takes is counted: kvm1 has 8 GiB free, kvm2 not any more.
    beside = survey(8192)
    assert look(path, "new1", age=60, kvm2=beside, enrolled=enrolled, **WISHES) == ["kvm1"]
    # A host that lost its mark without such a run is another one.
    with pytest.raises(AnsibleError, match="kvm2 was installed anew"):
        look(path, "new1", age=60, kvm2=beside, **WISHES)


def test_a_server_that_may_be_on_a_host_that_is_down_is_not_placed(ledger: Path) -> None:
    with pytest.raises(AnsibleError, match="web1 may be on kvm3"):
        look(ledger, "web1", absent="kvm4")


def test_what_is_refused_says_why_for_each_host(ledger: Path) -> None:
    with pytest.raises(AnsibleError) as caught:
        look(ledger, "new1", **{**WISHES, "flavor": "huge"}, host="kvm1")
    assert "No valid host was found for new1 (64 GiB, 1 vCPU, 1 GiB disk): kvm1: needs 64 GiB" in str(caught.value)
    assert "kvm2, kvm3: it is to be on 'kvm1'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("web1", {"flavor": "small"}, "web1 is declared in inventory, which says where it may go"),
        ("new1", {**WISHES, "flavor": "smal"}, "small"),
        ("web1", {"age": 601}, "the surveys are 601 s old and fleet_survey_max_age is 600; survey again"),
    ],
)
def test_refusals(ledger: Path, name: str, given: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        look(ledger, name, **given)
    assert sentence in str(caught.value)


def test_without_a_survey() -> None:
    with pytest.raises(AnsibleError, match="nothing was surveyed in this run"):
        call({"hostvars": HostVars({})}, "web1")
