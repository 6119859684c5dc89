# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rebuild on libvirt's test driver: whose root disk goes, and what is left of one that was cut off."""

from __future__ import annotations

import dataclasses
import typing as t

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.servers import servers
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage


def test_a_rebuild_leaves_a_root_disk_that_others_have_made(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Storage, "write_sidecar", lambda *_args, **_more: False)  # the driver has no streams
    monkeypatch.setattr(Storage, "ensure_root", lambda _self, disk, _image: disk)
    domain = conn.lookupByName("web1")
    domain.destroy()
    conn.defineXML(domain.XMLDesc().replace(f"{record.id}-root'", "somebody-elses.qcow2'"))
    foreign = dataclasses.replace(record.root, volume="somebody-elses.qcow2")
    domains.write_record(conn.lookupByName("web1"), dataclasses.replace(record, disks=(foreign,)))
    result = run("rebuild", record=dataclasses.replace(record, generation=5).to_json())[0]
    assert not result.get("failed"), result["message"]
    assert result["message"] == "rebuilt from image 'debian'; its old disk somebody-elses.qcow2 is left in pool local"
    assert "somebody-elses.qcow2" in Storage(conn).pool("local").names()
    assert f"/pools/local/{record.id}-root'" in conn.lookupByName("web1").XMLDesc()


def test_a_rebuild_that_was_cut_off_is_told_by_its_record_and_not_started(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the host next finds no root disk, or one that nobody has filled."""
    monkeypatch.setattr(Storage, "write_sidecar", lambda *_args, **_more: False)  # the driver has no streams
    conn.lookupByName("web1").destroy()

    def die(_self: Storage, disk: Disk, _image: t.Any) -> Disk:
        assert f"{record.id}-root" not in Storage(conn).pool("local").names()
        now = domains.record_of(conn.lookupByName("web1"))
        assert now is not None
        assert (now.generation, now.marks["rebuilding"]) == (4, {"spec": target.spec})
        raise KeyboardInterrupt

    target = dataclasses.replace(record, generation=5, spec={"description": "rebuilt"})
    with monkeypatch.context() as patched:
        patched.setattr(Storage, "ensure_root", die)
        with pytest.raises(KeyboardInterrupt):
            run("rebuild", record=target.to_json())
    for kind in ("start", "hard_reboot"):
        refused = run(kind)[0]
        assert refused["failed"]
        assert "a rebuild of server 'web1' was cut off" in refused["message"]
    assert not conn.lookupByName("web1").isActive()
    (server,) = servers(conn)
    assert server["status"] == "ERROR"

    def make(self: Storage, disk: Disk, _image: t.Any) -> Disk:
        self.pool(disk.pool).make(disk.volume, 1, "qcow2")
        return disk

    monkeypatch.setattr(Storage, "ensure_root", make)
    result = run("rebuild", record=target.to_json())[0]
    assert not result.get("failed"), result["message"]
    now = domains.record_of(conn.lookupByName("web1"))
    assert now is not None
    assert (now.generation, now.marks) == (5, {})


def test_a_root_disk_that_may_not_go_is_not_given_up(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is as it was, and runs again."""
    target = dataclasses.replace(record, generation=5)
    steps = [
        {"kind": kind, "server_id": record.id, "name": "web1", "expects": 4, "record": its, "timeout": 0}
        for kind, its in (("stop", None), ("rebuild", target.to_json()), ("start", None))
    ]

    def untouched(words: str) -> None:
        failed = run(steps=steps)[-1]
        assert failed["kind"] == "rebuild"
        assert words in failed["message"]
        assert failed["message"].endswith("; it runs again as before")
        now = domains.record_of(conn.lookupByName("web1"))
        assert now == record
        assert f"{record.id}-root" in Storage(conn).pool("local").names()

    with monkeypatch.context() as patched:
        patched.setattr(References, "user_of", lambda *_args, **_more: "a-clone")
        untouched("is used by domain 'a-clone'")

    def full(*_args: t.Any) -> None:
        raise libvirt.libvirtError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(libvirt.virStorageVol, "delete", full)
        untouched("no such luck")
    small = dataclasses.replace(target, disks=(dataclasses.replace(record.root, size=1),))
    steps[1]["record"] = small.to_json()
    untouched("Flavor's disk is too small for requested image.")
