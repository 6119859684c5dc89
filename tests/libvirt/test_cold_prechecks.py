# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at on both hosts before a server is shut down for a move, on libvirt's own test driver."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import cold_prechecks, handlers
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.cold_prechecks import _LOOKS, _disks, check
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job, Order, Present
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

if t.TYPE_CHECKING:
    from collections.abc import Iterator

FREE = {"job": lambda *_args: ()}  # the test driver has no jobs


def host(conn: t.Any, record: Record, host_id: str) -> Host:
    return Host(conn, Storage(conn), References(conn), record.fleet_id, host_id, {})


@pytest.fixture
def there(host_uri: str, record: Record) -> Host:
    """A host with the same pools, of its own, and nothing of the server."""
    conn = libvirt.open(host_uri)
    for name in ("web1", "web1-clone"):
        domain = conn.lookupByName(name)
        domain.destroy()
        domain.undefine()
    conn.storagePoolLookupByName("local").storageVolLookupByName(f"{record.id}-root").delete(0)
    return host(conn, record, "h2")


def job(conn: t.Any, record: Record, **options: t.Any) -> Job:
    target = dataclasses.replace(record, generation=5, host_id="h2")
    peer = {"host": "kvm2", "host_id": "h2", "uri": "qemu+tls://kvm2/system", **options.pop("peer", {})}
    order = Order("migrate", record.id, record.name, record=target, options={"peer": peer, **options})
    domain = conn.lookupByUUIDString(record.id)
    return Job(host(conn, record, "h1"), order, Present(domain, record), done=False)


def refused(monkeypatch: pytest.MonkeyPatch, its: Job, there: Host, *, one: bool = False) -> str:
    """What the check says; empty if nothing stands against the move. *one*: whether both ends see the same pools."""
    looks = [(what, FREE.get(what, look)) for what, look in _LOOKS]
    monkeypatch.setattr(cold_prechecks, "_LOOKS", looks)
    monkeypatch.setattr(cold_prechecks, "is_shared", lambda *_pools: one)
    try:
        check(its, there)
    except Refused as exc:
        return str(exc)
    return ""


OWN = {"host_network": True}  # the host.xml has one of its own


def test_a_move_that_nothing_stands_against(
    monkeypatch: pytest.MonkeyPatch, conn: t.Any, record: Record, there: Host
) -> None:
    assert refused(monkeypatch, job(conn, record, **OWN), there) == ""


def test_all_that_stands_against_a_move_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, conn: t.Any, record: Record, there: Host
) -> None:
    there.conn.defineXML("<domain type='test'><name>web1</name><memory>1024</memory><os><type>hvm</type></os></domain>")
    there.storage.pool("local").make(f"{record.id}-root", 1024, "qcow2")
    said = refused(monkeypatch, job(conn, record), there)
    assert said.startswith("server 'web1' can't be moved to kvm2: another domain there (")
    for part in (
        ") has the name 'web1'; ",
        "the libvirt network 'inside' is one of each host's own: its peers would not find it there",
        f"it has volumes in pool 'local' of the other host already ({record.id}-root): look what is in them",
    ):
        assert part in said


def test_a_server_that_the_other_host_has_already_is_not_moved(
    monkeypatch: pytest.MonkeyPatch, conn: t.Any, host_uri: str, record: Record
) -> None:
    its, both = job(conn, record, **OWN), host(libvirt.open(host_uri), record, "h2")
    with pytest.raises(Conflict, match="kvm2 has a domain of server 'web1' already: nothing is moved"):
        refused(monkeypatch, its, both)


def test_what_the_record_does_not_know_is_named(
    monkeypatch: pytest.MonkeyPatch, conn: t.Any, record: Record, there: Host
) -> None:
    less = dataclasses.replace(record, nics=())
    said = refused(monkeypatch, job(conn, less, **OWN), there)
    assert "it has a port that is not its own (52:54:00:00:00:01), which its record doesn't know" in said
    assert "`virsh edit web1`" in said
    more = "<disk type='file' device='disk'><source file='/srv/data.img'/><target dev='vdb' bus='virtio'/></disk>"
    xml = conn.lookupByName("web1").XMLDesc()
    conn.defineXML(xml.replace("<disk ", f"{more}<disk ", 1))
    said = refused(monkeypatch, job(conn, record, **OWN), there)
    assert "has a disk that is not its own (/srv/data.img), which its record doesn't know" in said
    conn.defineXML(xml.replace(f"{record.id}-root'", f"{record.id}-root.s1'"))
    assert "(a snapshot made by hand?): nothing is changed" in refused(monkeypatch, job(conn, record, **OWN), there)


def test_cores_that_are_not_online_there(
    monkeypatch: pytest.MonkeyPatch, conn: t.Any, record: Record, there: Host
) -> None:
    pinned = dataclasses.replace(record, fit=Fit(cpus=(0, 99)))
    its = job(conn, pinned, **OWN)
    monkeypatch.setattr(type(there.conn), "getCPUMap", lambda *_args: (4, [True] * 4, 4))
    assert "it would be given CPU 99 there, which is not online" in refused(monkeypatch, its, there)


# -- disks --------------------------------------------------------------------------------------------------------


def disks(conn: t.Any, there: Host, record: Record, target: Record, *, one: bool = False) -> list[str]:
    far = Far(End("kvm2"), there.conn, there.storage)
    return list(_disks(job(conn, record), target, far, lambda *_pools: one))


def with_disks(record: Record, *more: Disk) -> Record:
    return dataclasses.replace(record, disks=(*record.disks, *more))


def swap(record: Record, size: int, pool: str = "local") -> Disk:
    return Disk("swap", pool, f"{record.id}-swap", "raw", size, "vdb", "virtio")


def test_disks_of_a_shared_pool_need_nothing_there(conn: t.Any, there: Host, record: Record) -> None:
    there.storage.pool("local").make(f"{record.id}-root", 1024, "qcow2")
    assert disks(conn, there, record, record, one=True) == []


def test_what_is_written_must_have_room(conn: t.Any, there: Host, record: Record) -> None:
    pool, written = there.storage.pool("local").handle, 4096  # of its disk, in host.xml
    left = int(pool.info()[3]) - written
    fill = "<volume><name>others</name><capacity>{0}</capacity><allocation>{0}</allocation></volume>"
    pool.createXML(fill.format(left))
    assert disks(conn, there, record, record) == []
    pool.createXML(fill.format(1).replace("others", "one byte more"))
    (said,) = disks(conn, there, record, record)
    assert said.startswith("its disks take 3.81e-06 GiB, and pool 'local' there has 3.81e-06 GiB free")


def test_volumes_can_be_made_there(conn: t.Any, there: Host, record: Record) -> None:
    for end in (conn, there.conn):
        end.storagePoolDefineXML(
            "<pool type='iscsi'><name>san</name><source><host name='san'/><device path='iqn'/></source>"
            "<target><path>/dev/disk/by-path</path></target></pool>"
        ).create()
    its = with_disks(record, swap(record, 1024, "san"))
    assert "no volume can be made in pool 'san' of kvm2" in disks(conn, there, its, its)


def test_a_disk_does_not_go_into_a_pool_of_another_type(conn: t.Any, there: Host, record: Record) -> None:
    there.conn.storagePoolLookupByName("local").destroy()
    there.conn.storagePoolLookupByName("local").undefine()
    there.conn.storagePoolDefineXML(
        "<pool type='logical'><name>local</name><source><name>vg1</name></source>"
        "<target><path>/dev/vg1</path></target></pool>"
    ).create()
    with pytest.raises(Conflict, match=r"-root' can't go into pool 'local' of the other host: it is of another type"):
        disks(conn, there, record, record)


def test_a_swap_disk_is_made_anew_and_takes_nothing_where_pools_are_sparse(
    conn: t.Any, there: Host, record: Record
) -> None:
    huge = with_disks(record, swap(record, 10**6 * GIB))
    assert disks(conn, there, huge, huge) == []


def test_a_swap_disk_takes_all_of_its_size_where_pools_are_not_sparse(conn: t.Any, there: Host, record: Record) -> None:
    free = int(there.storage.pool("fast").handle.info()[3])
    for size, count in ((free, 0), (free + 1, 1)):
        its = with_disks(record, swap(record, size, "fast"))
        said = disks(conn, there, its, its)
        assert ["and pool 'fast' there has" in one for one in said] == [True] * count


# -- its machine --------------------------------------------------------------------------------------------------


def machine(record: Record, there: t.Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(
        handlers, "existing_xml", lambda _job: "<domain><os><type/></os><cpu mode='host-model'/></domain>"
    )
    far = Far(End("kvm2"), there, t.cast(t.Any, None))
    return list(dict(_LOOKS)["machine and CPU"](t.cast(t.Any, None), record, far))


class Qemu:
    """A libvirt that knows these machines and firmwares."""

    def __init__(self, machines: t.Collection[str], firmwares: t.Sequence[str] = ()) -> None:
        self.machines, self.firmwares = machines, firmwares

    def getType(self) -> str:  # noqa: N802 - libvirt's name
        return "QEMU"

    def getDomainCapabilities(  # noqa: N802 - libvirt's name
        self, _emulator: None, _arch: str, machine: str | None, _kind: str, _flags: int = 0
    ) -> str:
        if machine is not None and machine not in self.machines:
            exc = libvirt.libvirtError("no such machine")
            exc.err = (libvirt.VIR_ERR_INVALID_ARG, 0, "no such machine", 2, None, None, None, 0, 0)
            raise exc
        values = "".join(f"<value>{one}</value>" for one in self.firmwares)
        firmwares = f"<os><enum name='firmware'>{values}</enum></os>"
        return f"<domainCapabilities><machine>{machine}</machine>{firmwares}</domainCapabilities>"


def hardware(record: Record, **more: t.Any) -> Record:
    return dataclasses.replace(record, hardware=dataclasses.replace(record.hardware, machine="pc-i440fx-9.2", **more))


def test_its_machine_and_its_firmware_must_be_there(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(hardware(record), Qemu({"pc-i440fx-9.2"}), monkeypatch) == []
    (said,) = machine(hardware(record), Qemu({"pc-i440fx-7.2"}), monkeypatch)
    assert said.startswith("on kvm2: QEMU on this host has no machine 'pc-i440fx-9.2' for x86_64")
    uefi = hardware(record, firmware="uefi")
    assert machine(uefi, Qemu({"pc-i440fx-9.2"}, ["bios", "efi"]), monkeypatch) == []
    assert machine(uefi, Qemu({"pc-i440fx-9.2"}, ["bios"]), monkeypatch) == ["kvm2 lacks UEFI firmware"]


# -- each by itself -----------------------------------------------------------------------------------------------


def test_looks_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch, conn: t.Any, record: Record, there: Host) -> None:
    @contextlib.contextmanager
    def other_end(*_ends: t.Any) -> Iterator[Host]:
        yield there

    monkeypatch.setattr(cold_prechecks, "other_end", other_end)
    monkeypatch.setattr(cold_prechecks, "_LOOKS", [(what, FREE.get(what, look)) for what, look in _LOOKS])
    monkeypatch.setattr(cold_prechecks, "is_same", lambda *_pools: False)
    found = {look.what: look.against for look in cold_prechecks.looks(job(conn, record))}
    assert list(found) == [
        *(
            "destination",
            "name",
            "machine and CPU",
            "devices",
            "cores and cells",
            "networks",
            "filters",
            "job",
            "disks",
        ),
    ]
    assert [what for what, against in found.items() if against] == ["networks"]


def test_an_end_that_does_not_answer_is_all_that_is_looked_at(conn: t.Any, record: Record) -> None:
    (only,) = cold_prechecks.looks(job(conn, record, peer={"uri": ""}))
    assert (only.what, only.against) == (
        "destination",
        ("kvm2 has no compute_migration_uri, by which its libvirt is reached from here",),
    )
