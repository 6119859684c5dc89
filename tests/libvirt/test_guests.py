# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps, domains and deletion on libvirt's test driver. (It has no streams: what uploads is tested on real hosts.)"""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t
from pathlib import Path

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, images, networks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import (
    References,
    delete_volume,
    volumes_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import run_steps
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.servers import servers
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

POOL_ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1b01"
OTHER_POOL_ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1b02"
CLONE_ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a02"
FOREIGN_ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a03"


def test_power_steps_and_their_repetition(run: t.Callable[..., list[dict[str, t.Any]]]) -> None:
    kinds = ("stop", "stop", "start", "start", "pause", "pause", "unpause", "suspend", "suspend", "resume", "stop")
    results = run(*kinds)
    assert [result["message"] for result in results if result.get("failed")] == []
    assert [(result["changed"], result["state"]) for result in results] == [
        (True, "shutoff"),
        (False, "shutoff"),
        (True, "running"),
        (False, "running"),
        (True, "paused"),
        (False, "paused"),
        (True, "running"),
        (True, "suspended"),
        (False, "suspended"),
        (True, "running"),
        (True, "shutoff"),
    ]


def test_the_steps_of_a_killed_run_whose_module_went_on_are_taken_up(
    conn: t.Any, state_dir: str, record: Record
) -> None:
    """Both runs planned the same from one survey; the second had to wait for the first one's module."""
    domains.write_record(conn.lookupByName("web1"), dataclasses.replace(record, generation=5, spec={"state": "paused"}))
    base = {"server_id": record.id, "name": record.name, "timeout": 0}
    target = dataclasses.replace(record, generation=5, spec={"state": "paused"}).to_json()
    steps = [
        {**base, "kind": "stop", "expects": 4, "record": None},
        {**base, "kind": "reconfigure", "expects": 4, "record": target},
        {**base, "kind": "start", "expects": 5, "record": None},
        {**base, "kind": "pause", "expects": 5, "record": None},
    ]
    order: dict[str, t.Any] = {"state_dir": state_dir, "run_id": "r2", "fleet_id": record.fleet_id}
    results = run_steps(conn, steps, **order)
    assert [(result["kind"], result["message"]) for result in results] == [
        ("stop", "an earlier run did it"),
        ("reconfigure", "it is so"),
        ("start", "nothing to do"),
        ("pause", "paused"),
    ]
    assert conn.lookupByName("web1").state()[0] == libvirt.VIR_DOMAIN_PAUSED
    # Another's generation 5 is not ours: nothing is taken up.
    steps[1]["record"] = dataclasses.replace(record, generation=5, spec={"state": "stopped"}).to_json()
    results = run_steps(conn, steps, **order)
    assert [result["kind"] for result in results] == ["stop"]
    assert "somebody changed it" in results[0]["message"]


def test_a_soft_deletion_is_the_same_whenever_it_was_planned(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "rename", lambda *_args: False)  # the test driver has none
    marked = [dataclasses.replace(record, generation=5, marks={"soft_delete": {"at": at}}) for at in (1.0, 2.0)]
    domains.write_record(conn.lookupByName("web1"), marked[0])
    result = run("soft_delete", record=marked[1].to_json())[0]
    assert not result.get("failed"), result
    assert result["record"]["marks"] == {"soft_delete": {"at": 1.0}}


def test_a_server_is_marked_as_deleted_only_once_its_name_is_free(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is marked counts as deleted: no later run would free the name."""

    def refuse(*_args: t.Any) -> bool:
        raise Conflict("no")

    monkeypatch.setattr(domains, "rename", refuse)
    marked = dataclasses.replace(record, generation=5, marks={"soft_delete": {"at": 1.0}})
    assert run("soft_delete", record=marked.to_json())[0]["failed"]
    assert domains.record_of(conn.lookupByName("web1")) == record


def test_a_server_that_is_no_more_deleted_gets_its_name_back(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A soft_delete was killed between its two deeds; then the server was declared active again."""
    domain = conn.lookupByName("web1")
    domain.destroy()
    xml = domain.XMLDesc().replace("<name>web1<", f"<name>web1.deleted-{record.id[:8]}<")
    domain.undefine()
    conn.defineXML(xml)
    asked: list[str] = []
    monkeypatch.setattr(domains, "rename", lambda _conn, _domain, name: asked.append(name))
    assert run("start")[0]["changed"]
    assert asked == ["web1"]


@pytest.mark.parametrize("kind", ["start", "reconfigure", "rebuild", "delete"])
def test_a_domain_that_was_migrated_away_is_left_to_people(
    run: t.Callable[..., list[dict[str, t.Any]]],
    conn: t.Any,
    record: Record,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may run on another host, on the same disk. (The test driver can't migrate: the reason is put in its mouth.)"""
    conn.lookupByName("web1").destroy()
    monkeypatch.setattr(
        libvirt.virDomain, "state", lambda *_args: [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED]
    )
    target = dataclasses.replace(record, generation=5).to_json()
    result = run(kind, record=None if kind in ("start", "delete") else target)[0]
    assert result["failed"]
    assert "it was migrated away, and may run on another host on the same disk" in result["message"]
    assert "`virsh start web1` on this host, then run again" in result["message"]
    assert not conn.lookupByName("web1").isActive()
    assert f"{record.id}-root" in Storage(conn).pool("local").names()


@pytest.mark.parametrize("kind", ["reconfigure", "rebuild"])
def test_a_disk_that_was_put_on_another_file_is_not_put_back(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, kind: str
) -> None:
    domain = conn.lookupByName("web1")
    domain.destroy()
    xml = domain.XMLDesc().replace(f"{record.id}-root'", f"{record.id}-root.s1'")
    conn.defineXML(xml)
    before = conn.lookupByName("web1").XMLDesc()
    bigger = dataclasses.replace(record.root, size=2 * record.root.size)
    target = dataclasses.replace(record, generation=5, disks=(bigger,))
    result = run(kind, record=target.to_json())[0]
    assert result["failed"]
    assert f"disk vda of server 'web1' is '/pools/local/{record.id}-root.s1', not its own volume" in result["message"]
    assert f"`virsh blockcommit web1 vda --base /pools/local/{record.id}-root --active --pivot`" in result["message"]
    assert conn.lookupByName("web1").XMLDesc() == before
    assert Storage(conn).existing(record.root).info()[1] == record.root.size


@pytest.mark.parametrize("kind", ["reconfigure", "rebuild"])
@pytest.mark.parametrize("to_run", [True, False])
def test_a_guest_that_was_stopped_for_what_fails_runs_again(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, kind: str, to_run: bool
) -> None:
    domain = conn.lookupByName("web1")
    conn.defineXML(domain.XMLDesc().replace(f"{record.id}-root'", f"{record.id}-root.s1'"))
    target = dataclasses.replace(record, generation=5).to_json()
    base = {"server_id": record.id, "name": record.name, "expects": 4, "timeout": 0}
    kinds = ["stop", kind, "start"] if to_run else ["stop", kind]
    steps = [{**base, "kind": one, "record": target if one == kind else None} for one in kinds]
    results = run(steps=steps)
    assert [(result["kind"], bool(result.get("failed"))) for result in results] == [("stop", False), (kind, True)]
    assert bool(conn.lookupByName("web1").isActive()) is to_run
    assert results[-1]["message"].endswith("; it runs again as before") is to_run
    assert results[-1]["state"] == ("running" if to_run else None)


def test_a_guest_is_not_stopped_for_a_move_that_is_refused(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record
) -> None:
    domain = conn.lookupByName("web1")
    number, xml = domain.ID(), domain.XMLDesc()
    target = dataclasses.replace(record, generation=5).to_json()
    base = {"server_id": record.id, "name": record.name, "expects": 4, "timeout": 0}
    peer = {"host": "kvm2", "host_id": "another", "uri": "qemu+tcp://127.0.0.1:9/system"}
    steps = [
        {**base, "kind": "stop"},
        {**base, "kind": "migrate", "record": target, "options": {"peer": peer}},
        {**base, "kind": "start"},
    ]
    (refused,) = run(steps=steps)
    assert (refused["kind"], refused["failed"], refused["changed"]) == ("migrate", True, False)
    assert "kvm2 can't be reached from here: libvirt can't be reached at 'qemu+tcp://127.0.0.1:9/" in refused["message"]
    assert (domain.ID(), domain.XMLDesc()) == (number, xml)


def test_a_guest_whose_disk_was_given_up_is_not_started(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Storage, disk: Disk, _image: t.Any) -> Disk:
        self.pool(disk.pool).make(disk.volume, 1, "qcow2")
        raise FlotillaError("the pool is full")

    monkeypatch.setattr(Storage, "ensure_root", gone)
    target = dataclasses.replace(record, generation=5).to_json()
    base = {"server_id": record.id, "name": record.name, "expects": 4, "timeout": 0}
    steps = [
        {**base, "kind": one, "record": target if one == "rebuild" else None} for one in ("stop", "rebuild", "start")
    ]
    results = run(steps=steps)
    assert results[-1]["message"] == "the pool is full"
    assert not conn.lookupByName("web1").isActive()


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"expects": 3}, "has generation 4, the plan was made from generation 3"),
        ({"server_id": FOREIGN_ID}, "no record of Flotilla"),
        ({"server_id": CLONE_ID}, "and the record of another"),
        ({"server_id": "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1aff"}, "has no domain on this host any more"),
    ],
)
def test_what_is_not_what_the_plan_saw_is_left_alone(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, step: dict[str, t.Any], said: str
) -> None:
    before = sorted((domain.name(), domain.state()[0]) for domain in conn.listAllDomains())
    results = run("stop", "delete", **step)
    assert len(results) == 1
    assert results[0]["failed"]
    assert said in results[0]["message"]
    assert sorted((domain.name(), domain.state()[0]) for domain in conn.listAllDomains()) == before


def test_another_fleets_host_is_refused(conn: t.Any, state_dir: str) -> None:
    with pytest.raises(Conflict, match="this host belongs to fleet"):
        run_steps(conn, [], state_dir=state_dir, run_id="r1", fleet_id="other")


def test_a_host_that_is_not_enrolled_is_refused(conn: t.Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not enrolled"):
        run_steps(conn, [], state_dir=str(tmp_path / "none"), run_id="r1", fleet_id="f")


def test_an_unknown_step_is_refused_before_any_is_begun(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any
) -> None:
    with pytest.raises(InvalidInput, match=r"a host knows no step explode; it knows .*adopt, .*create, .*update"):
        run("stop", "explode")
    assert conn.lookupByName("web1").isActive()


def test_servers_are_ours_alone(conn: t.Any, record: Record) -> None:
    found = servers(conn)
    assert [(server["name"], server["state"], server["status"]) for server in found] == [("web1", "running", "ACTIVE")]
    assert found[0]["record"] == record.to_json()
    assert servers(conn, [record.id]) == found
    assert servers(conn, ["foreign"]) == []


def test_a_record_is_written_and_read_back(conn: t.Any, record: Record) -> None:
    domain = conn.lookupByName("web1")
    changed = dataclasses.replace(record, generation=5, spec={"description": "]]> \x00 \U0001f6a2"})
    domains.write_record(domain, changed)
    assert domains.record_of(domain) == changed
    domains.kill(domain)
    assert domains.record_of(domain) == changed


def test_a_running_domain_is_not_undefined(conn: t.Any) -> None:
    domain = conn.lookupByName("web1")
    with pytest.raises(Conflict, match="'web1' is running"):
        domains.undefine(domain)
    assert domains.kill(domain)
    assert not domains.kill(domain)


def test_a_wait_ends_and_says_what_for() -> None:
    with pytest.raises(FlotillaError, match=r"waited 0\.05 s for the moon"):
        domains.wait_until(lambda: False, within=0.05, what="the moon")


def test_a_volume_of_another_name_is_never_deleted(conn: t.Any, record: Record) -> None:
    pool, references = Storage(conn).pool("local"), References(conn)
    names = (
        "somebody-elses.qcow2",
        "image-of-my-cat",
        f"{record.id}-backup",
        f"{CLONE_ID}-root",
        record.id,
        f"x{record.id}-root",
    )
    for name in names:
        with pytest.raises(Conflict, match="isn't named as one of server"):
            delete_volume(pool, name, server_id=record.id, references=references)
    assert volumes_of(pool, record.id) == [f"{record.id}-root"]


def test_disks_that_others_have_made_outlive_their_server(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an adopted domain: it is deleted, and they stay."""
    monkeypatch.setattr(domains, "undefine", lambda domain: domain.undefine())  # the driver knows none of the flags
    domain = conn.lookupByName("web1")
    disk = Disk("data1", "local", "somebody-elses.qcow2", "qcow2", 1, "vdb", "virtio")
    domains.write_record(domain, dataclasses.replace(record, disks=(record.root, disk)))
    result = run("delete")[0]
    assert (result.get("failed"), result["changed"]) == (None, True), result["message"]
    assert "left, for others have made them: somebody-elses.qcow2 in pool local" in result["message"]
    names = Storage(conn).pool("local").names()
    assert "somebody-elses.qcow2" in names
    assert f"{record.id}-root" not in names
    assert "web1" not in [domain.name() for domain in conn.listAllDomains()]


class _Listed:
    """A connection whose domains, once listed, go: other module calls work on the same host."""

    def __init__(self, conn: t.Any) -> None:
        self._conn = conn

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._conn, name)

    def listAllDomains(self, *flags: int) -> list[t.Any]:  # noqa: N802 - libvirt's name
        listed = self._conn.listAllDomains(*flags)
        for domain in listed:
            domain.destroy()
            domain.undefine()
        return list(listed)


@pytest.mark.parametrize(
    "walk",
    [
        pytest.param(lambda conn, _record: References(conn).user_of("/x", but=""), id="references"),
        pytest.param(lambda conn, _record: servers(conn), id="servers"),
        pytest.param(lambda conn, _record: networks.users(conn, "inside"), id="networks"),
        pytest.param(
            lambda conn, record: images.users_of(conn, conn.storagePoolLookupByName("local"), record.image), id="images"
        ),
    ],
)
def test_domains_that_go_while_they_are_looked_at_are_none(
    conn: t.Any, record: Record, walk: t.Callable[..., t.Any]
) -> None:
    assert not walk(_Listed(conn), record)


@pytest.mark.parametrize("by", ["disk", "pool", "chain", "json", "link", "raw"])
def test_a_volume_that_another_domain_names_is_kept(conn: t.Any, record: Record, by: str, tmp_path: Path) -> None:
    volume = f"{record.id}-root"
    pool = Storage(conn).pool("local")
    path = f"/pools/local/{volume}"
    overlay = tmp_path / "overlay.qcow2"
    backing = {"json": f'json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{path}"}}}}'}.get(by, path)
    if by in ("chain", "json", "raw"):
        _qcow2(overlay, backing)
    elif by == "link":
        overlay = Path("/mnt/the-same-folder") / volume
    source = f"file='{path}'" if by == "disk" else f"file='{overlay}'"
    kind, fmt = "file", "raw" if by == "raw" else "qcow2"
    if by == "pool":
        kind, source = "volume", f"pool='local' volume='{volume}'"
    conn.defineXML(
        "<domain type='test'><name>other</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        f"<disk type='{kind}' device='disk'><driver name='qemu' type='{fmt}'/><source {source}/>"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    if by == "raw":  # what looks like a header in a raw disk is the guest's own data
        assert delete_volume(pool, volume, server_id=record.id, references=References(conn))
        return
    with pytest.raises(Conflict, match="is used by domain 'other'"):
        delete_volume(pool, volume, server_id=record.id, references=References(conn))
    assert volume in pool.names()


def _qcow2(file: Path, backing: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "1M"], check=True)
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, str(file)], check=True)


def test_a_volume_is_made_once_and_never_again(conn: t.Any, record: Record) -> None:
    storage = Storage(conn)
    disk = Disk("ephemeral0", "local", f"{record.id}-ephemeral0", "qcow2", 1024**2, "vdb", "virtio")
    assert storage.ensure_blank(disk, record.id) == disk
    assert storage.made_for(record.id) == [(storage.pool("local"), disk.volume)]
    again = Storage(conn)
    assert again.ensure_blank(disk, record.id) == disk
    assert again.made_for(record.id) == []


def test_a_pool_is_known_by_its_id(conn: t.Any, record: Record) -> None:
    storage = Storage(conn)
    assert storage.identified(record.root).pool_id == POOL_ID
    # Two hosts may have marked it at once, and one made a disk before it saw the other's mark.
    assert storage.identified(dataclasses.replace(record.root, pool_id=OTHER_POOL_ID)).pool_id == POOL_ID
    elsewhere = dataclasses.replace(record.root, pool_id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1bff")
    with pytest.raises(Conflict, match="is the right pool mounted"):
        storage.identified(elsewhere)
    with pytest.raises(InvalidInput, match="no storage pool 'nowhere'"):
        storage.identified(dataclasses.replace(record.root, pool="nowhere"))
    with pytest.raises(InvalidInput, match="has no marker volume"):
        storage.identified(dataclasses.replace(record.root, pool="fast"))


def test_an_image_without_its_marker_is_not_there(conn: t.Any, record: Record) -> None:
    storage = Storage(conn)
    storage.require_image(record.root, record.image)
    pool = conn.storagePoolLookupByName("local")
    pool.storageVolLookupByName(f"{record.image.volume}.ok").delete(0)
    with pytest.raises(InvalidInput, match="image 'debian' is not in pool 'local'"):
        storage.require_image(record.root, record.image)
