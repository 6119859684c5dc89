# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real host with many guests is surveyed, enrolled and given networks."""

from __future__ import annotations

import dataclasses
import sys
import time
import typing as t
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from tests.support.lab_hosts import Lab, running_lab
from tests.support.lab_names import lab_name

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Guest,
    Hardware,
    Image,
    Nic,
    Record,
    mac_of,
    volume_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import desired_network
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import pack_sidecar
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import networks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import opened
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.machine import baseline
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.marker import enroll
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.survey import survey

LAB_NAME = lab_name("survey")
GUESTS = 300
MOST_CALLS = 12
IDS: dict[str, t.Any] = {"fleet_id": str(uuid.UUID(int=1)), "ledger_id": str(uuid.UUID(int=2))}


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    with running_lab(LAB_NAME, hosts=1) as made:
        yield made


@pytest.fixture
def conn(lab: Lab) -> t.Iterator[t.Any]:
    with opened(uri_of(lab)) as conn:
        yield conn


def uri_of(lab: Lab) -> str:
    return f"qemu+tcp://{lab.facts['hosts']['kvm1']['address']}/system"


def record_of(index: int) -> Record:
    server_id = str(uuid.UUID(int=1000 + index))
    roles = (("root", "vda"), ("ephemeral0", "vdb"))
    return Record(
        id=server_id,
        name=f"web{index:03}",
        fleet_id=IDS["fleet_id"],
        generation=1,
        spec={"metadata": {"role": "web"}, "key_name": "ops", "networks": ["lan"]},
        flavor=Flavor("m1.small", 1, 128, 1, ephemeral=1),
        image=Image("debian", "qcow2", "sha256:" + "ab" * 32),
        disks=[Disk(role, "local", volume_of(server_id, role), "raw", GIB, dev, "virtio") for role, dev in roles],
        nics=[Nic("lan", "bridge", "br0", mac_of(server_id, 0))],
        hardware=Hardware(machine="pc"),
    )


def domain_xml(record: Record) -> str:
    """Written here by hand, so that the survey is not read with the eyes that wrote it."""
    disks = "".join(
        "<disk type='volume' device='disk'><driver name='qemu' type='raw'/>"
        f"<source pool='local' volume='{disk.volume}'/><target dev='{disk.target}' bus='virtio'/></disk>"
        for disk in record.disks
    )
    return (
        f"<domain type='qemu'><name>{record.name}</name><uuid>{record.id}</uuid><metadata>"
        f"<flotilla:server xmlns:flotilla='urn:flotilla:compute:server:1'>{escape(record.dumps())}</flotilla:server>"
        f"</metadata><memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{disks}<interface type='bridge'><mac address='{record.nics[0].mac}'/><source bridge='br0'/>"
        "<model type='virtio'/></interface><serial type='pty'/><video><model type='virtio'/></video></devices></domain>"
    )


@pytest.fixture(scope="module")
def records(lab: Lab) -> list[Record]:
    """Of 300 guests with 600 volumes, which are on the host."""
    made = [record_of(index) for index in range(GUESTS)]
    with opened(uri_of(lab)) as conn:
        pool = conn.storagePoolLookupByName("local")
        for record in made:
            for disk in record.disks:
                pool.createXML(
                    f"<volume><name>{disk.volume}</name><capacity>{GIB}</capacity><allocation>0</allocation></volume>"
                )
            conn.defineXML(domain_xml(record))
    return made


def test_300_guests_with_600_volumes_are_surveyed_by_few_calls(
    conn: t.Any, tmp_path: Path, records: list[Record]
) -> None:
    calls, facts = counted(conn, tmp_path)
    guests = [Guest.from_json(guest) for guest in facts["guests"]]
    assert [guest.record for guest in guests] == [Record.loads(record.dumps()) for record in records]
    assert guests[7].volumes == [["local", disk.volume] for disk in records[7].disks]
    assert {guest.state for guest in guests} == {"shutoff"}
    assert set(facts["pools"]["local"]["volumes"]) == {disk.volume for record in records for disk in record.disks}
    # Bulk reads: what grows with the guests is one description of each, and of each volume at most.
    assert calls < MOST_CALLS * GUESTS, f"the survey of {GUESTS} guests asked libvirt {calls} times"


@pytest.mark.soak  # seconds, which a machine that is at something else as well does not keep
def test_300_guests_are_surveyed_within_a_second_and_a_half(conn: t.Any, tmp_path: Path, records: list[Record]) -> None:
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        assert len(survey(conn, state_dir=str(tmp_path))["guests"]) >= len(records)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 1.5, seconds


def counted(conn: t.Any, state_dir: Path) -> tuple[int, dict[str, t.Any]]:
    """How often a survey calls into libvirt's C library, each a message to the daemon and back; and what it finds."""
    calls = 0

    def count(_frame: t.Any, event: str, called: t.Any) -> None:
        nonlocal calls
        calls += event == "c_call" and getattr(called, "__module__", "") == "libvirtmod"

    sys.setprofile(count)
    try:
        facts = survey(conn, state_dir=str(state_dir))
    finally:
        sys.setprofile(None)
    return calls, facts


def test_the_host_is_what_libvirt_offers(conn: t.Any, tmp_path: Path) -> None:
    """In the lab KVM is out of reach although its device may be there."""
    facts = survey(conn, state_dir=str(tmp_path))
    assert facts["hostname"] == "kvm1"
    assert facts["virt_types"] == ["qemu"]
    assert facts["machines"]["pc"].startswith("pc-i440fx-")
    assert facts["machines"]["q35"].startswith("pc-q35-")
    assert facts["cpu"]["arch"] == "x86_64"
    assert {"sse2", "lm"} <= set(facts["cpu"]["features"])
    assert 0 < facts["memory_free"] <= facts["memory"]
    assert facts["numa"][0]["cpus"]
    assert "clean-traffic" in facts["nwfilters"]


def test_the_cpu_that_it_gives_is_one_that_it_has(conn: t.Any, tmp_path: Path) -> None:
    """With what the model has and this host lacks switched off; a feature that it lacks is named."""
    of = str(tmp_path)
    cpu = survey(conn, state_dir=of)["cpu"]
    capabilities = ET.fromstring(conn.getDomainCapabilities(None, "x86_64", None, "qemu"))
    offered = capabilities.iterfind("cpu/mode[@name='host-model']/feature[@policy='disable']")
    assert not {feature.get("name") for feature in offered} & set(cpu["features"])
    model = baseline(conn, [cpu["xml"]] * 2)
    assert survey(conn, state_dir=of, cpu_model=model)["cpu"]["asked"] == {"model": model, "lacks": ""}
    more = {**model, "features": {**model["features"], "avx512f": "require"}}
    assert survey(conn, state_dir=of, cpu_model=more)["cpu"]["asked"] == {
        "model": more,
        "lacks": "its CPU lacks avx512f",
    }


def test_a_volume_that_another_host_made_is_seen(lab: Lab, conn: t.Any, tmp_path: Path) -> None:
    name = volume_of(str(uuid.UUID(int=5)), "root")
    lab.ok("exec", "kvm1", "dd", "if=/dev/urandom", f"of=/var/lib/libvirt/pools/shared/{name}", "bs=1M", "count=1")
    shared = survey(conn, state_dir=str(tmp_path))["pools"]["shared"]
    assert shared["volumes"][name]["allocation"] >= 1024**2


def test_records_beside_disks_are_read_where_they_are_asked_for(lab: Lab, conn: t.Any, tmp_path: Path) -> None:
    """Of a server that has no guest here, and not of one that has, nor of what is half written."""
    gone, here, half = record_of(9001), record_of(9002), record_of(9003)
    pool = lab.pool("shared", "kvm1")
    for record in (gone, here, half):
        data = pack_sidecar(record)
        (pool / volume_of(record.id, "record")).write_bytes(data[:200] if record is half else data)
    bare = dataclasses.replace(here, disks=())
    domain = conn.defineXML(domain_xml(bare))
    found = survey(conn, state_dir=str(tmp_path), beside=True)
    assert [Record.from_json(record) for record in found["beside"]] == [Record.loads(gone.dumps())]
    assert survey(conn, state_dir=str(tmp_path))["beside"] == []
    domain.undefine()


def test_pools_are_marked_once(conn: t.Any, tmp_path: Path) -> None:
    marks = enroll(conn, str(tmp_path), **IDS).marks
    assert sorted(marks) == ["local", "shared"]
    assert not enroll(conn, str(tmp_path), **IDS).changed
    pools = survey(conn, state_dir=str(tmp_path))["pools"]
    assert {name: pools[name]["id"] for name in marks} == marks


def test_a_pool_whose_folder_is_gone_is_a_fact(lab: Lab, conn: t.Any, tmp_path: Path) -> None:
    lab.ok("exec", "kvm1", "mkdir", "/var/lib/libvirt/pools/brief")
    xml = "<pool type='dir'><name>brief</name><target><path>/var/lib/libvirt/pools/brief</path></target></pool>"
    pool = conn.storagePoolDefineXML(xml)
    pool.create()
    lab.ok("exec", "kvm1", "rmdir", "/var/lib/libvirt/pools/brief")
    found = survey(conn, state_dir=str(tmp_path))["pools"]["brief"]
    pool.undefine()
    assert found["active"] is False
    assert "brief" in found["error"]


def test_networks_of_each_kind_come_up_once(conn: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "bridges", lambda: ["br0"])  # this process is not in the host
    for desired in (
        desired_network("lan", forward="bridge", bridge="br0"),
        desired_network("inside", forward="isolated", cidr="192.0.2.0/24"),
        desired_network("inside", forward="isolated", cidr="198.51.100.0/24"),
    ):
        assert networks.ensure(conn, desired).changed
        assert not networks.ensure(conn, desired).changed
    assert networks.facts(conn)["inside"]["address"] == "198.51.100.1/24"
    for name in ("lan", "inside"):
        assert networks.remove(conn, name).changed
