# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host says of a build that failed, and what it takes away of it, on libvirt's test driver."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import BuildAbort, FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, guests
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.registry import handler_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

NEW = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a09"

Build = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def new(record: Record) -> Record:
    root = dataclasses.replace(record.root, volume=f"{NEW}-root")
    return dataclasses.replace(record, id=NEW, name="web9", generation=1, disks=(root,))


@pytest.fixture
def build(conn: t.Any, new: Record, tmp_path: Path) -> Build:
    """Create and start a new server; gives the result of the last step that was begun."""
    service = {"state": "enabled", "reason": None}
    marker = {"host_id": "h1", "fleet_id": new.fleet_id, "ledger_id": "l1", "service": service}
    (tmp_path / "host.json").write_text(json.dumps(marker))

    def run(*, undo: bool = True, name: str = "web9") -> dict[str, t.Any]:
        record = dataclasses.replace(new, name=name)
        steps = [
            {"kind": kind, "server_id": NEW, "name": name, "expects": expects, "record": record.to_json()}
            for kind, expects in (("create", None), ("start", 1))
        ]
        done = guests.run_steps(conn, steps, state_dir=str(tmp_path), run_id="r", fleet_id=new.fleet_id, undo=undo)
        assert done[-1]["failed"]
        return done[-1]

    return run


def made(job: Job) -> tuple[bool, str]:
    """A create that needs no image."""
    job.host.storage.ensure_blank(Disk("root", "local", f"{NEW}-root", "qcow2", 1024**2, "vda", "virtio"), NEW)
    identity = f"<name>web9</name><uuid>{NEW}</uuid>"
    job.host.conn.defineXML(f"<domain type='test'>{identity}<memory>1024</memory><os><type>hvm</type></os></domain>")
    return True, "created"


def fails(error: Exception) -> t.Callable[[Job], tuple[bool, str]]:
    def handler(_job: Job) -> tuple[bool, str]:
        raise error

    return handler


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    def use(**handlers: t.Any) -> None:
        monkeypatch.setattr(guests, "handler_of", lambda kind: handlers.get(kind) or handler_of(kind))
        monkeypatch.setattr(guests, "_present", lambda _host, _order: None)
        monkeypatch.setattr(guests, "_check", lambda _order, _present: False)
        monkeypatch.setattr(guests, "record_of", lambda _domain: None)
        # The driver knows none of the flags of a real host.
        monkeypatch.setattr(domains, "undefine", lambda domain: domain.undefine())

    return use


def volumes(conn: t.Any) -> set[str]:
    return {name for name in conn.storagePoolLookupByName("local").listVolumes() if name.startswith(NEW)}


def test_a_build_that_made_nothing_has_left_nothing(build: Build) -> None:
    result = build()
    assert (result["nothing_left"], "abort" in result) == (True, False)


def test_what_was_there_before_is_left_and_said_so(build: Build, conn: t.Any) -> None:
    Storage(conn).ensure_blank(Disk("root", "local", f"{NEW}-root", "qcow2", 1024**2, "vda", "virtio"), NEW)
    result = build(name="web1")  # a name that another domain has
    assert "has the name 'web1'" in result["message"]
    assert "nothing_left" not in result
    assert volumes(conn) == {f"{NEW}-root"}


def test_a_guest_that_was_just_made_and_cannot_start_goes_again(
    build: Build, conn: t.Any, handlers: t.Callable[..., None]
) -> None:
    handlers(create=made, start=fails(FlotillaError("no memory")))
    assert build()["nothing_left"]
    assert volumes(conn) == set()
    assert "web9" not in {domain.name() for domain in conn.listAllDomains()}


def test_without_leave_it_stays(build: Build, conn: t.Any, handlers: t.Callable[..., None]) -> None:
    handlers(create=made, start=fails(FlotillaError("no memory")))
    assert "nothing_left" not in build(undo=False)
    assert volumes(conn) == {f"{NEW}-root"}
    assert "web9" in {domain.name() for domain in conn.listAllDomains()}


def test_a_disk_that_an_earlier_run_made_stays(build: Build, conn: t.Any, handlers: t.Callable[..., None]) -> None:
    Storage(conn).ensure_blank(Disk("ephemeral0", "local", f"{NEW}-ephemeral0", "qcow2", 1024**2, "vdb", "virtio"), NEW)
    handlers(create=made, start=fails(FlotillaError("no memory")))
    assert "nothing_left" not in build()
    assert volumes(conn) == {f"{NEW}-root", f"{NEW}-ephemeral0"}


def test_a_wrong_image_aborts_the_build(build: Build, handlers: t.Callable[..., None]) -> None:
    handlers(create=fails(BuildAbort("Flavor's disk is too small for requested image.")))
    assert build()["abort"]
