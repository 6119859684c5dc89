# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shelved servers on libvirt's test driver: the record that one is kept with, and a server made of its snapshots again,
for which what is there of an earlier life is never taken."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import (
    BLOCK,
    pack_sidecar,
    read_sidecar,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import snapshot_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import shelving
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool, Storage


class Left:
    """A host without the server's domain, on which a root disk of it lies: *beside* is the generation of the record
    beside it, None where there is none."""

    def __init__(self, conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch, beside: int | None) -> None:
        domain = conn.lookupByName("web1")
        domain.destroy()
        domain.undefine()
        self.volume = f"{record.id}-root"
        self.pool = Storage(conn).pool("local")
        self.made: list[str] = []
        its = None if beside is None else dataclasses.replace(record, generation=beside)
        # The driver has no streams, and its pool no capabilities.
        monkeypatch.setattr(Storage, "write_sidecar", lambda *_args, **_more: True)
        monkeypatch.setattr(Storage, "read_sidecar", lambda *_args, **_more: its)
        monkeypatch.setattr(Storage, "require_image", lambda *_args: None)
        monkeypatch.setattr(Storage, "ensure_root", self._ensure)
        monkeypatch.setattr(Pool, "can", lambda *_args: True)
        monkeypatch.setattr(shelving, "wait_built", lambda *_args: None)
        snapshot = snapshot_of(record, "web1-shelved", snapshot_id="s", pool="local", created_at="2026-01-01T00:00:00Z")
        self.asked = {
            "record": dataclasses.replace(record, generation=5).to_json(),
            "options": {"snapshots": [snapshot.to_json()]},
        }

    def _ensure(self, disk: Disk, _image: t.Any) -> Disk:
        """As storage does: what is there is taken as it is."""
        if disk.volume not in self.pool.names():
            self.pool.make(disk.volume, 1, "qcow2")
            self.made.append(disk.volume)
        return disk


@pytest.mark.parametrize(
    ("beside", "anew"),
    [
        pytest.param(None, True, id="an unshelving that was cut off before they were complete"),
        pytest.param(3, True, id="a shelving that was cut off, or an older life"),
        pytest.param(5, False, id="this very unshelving, complete but for its domain"),
    ],
)
def test_older_disks_are_made_anew_of_the_snapshots(
    run: t.Callable[..., list[dict[str, t.Any]]],
    conn: t.Any,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    beside: int | None,
    anew: bool,
) -> None:
    left = Left(conn, record, monkeypatch, beside)
    assert left.volume in left.pool.names()
    (result,) = run("unshelve", **left.asked)
    assert not result.get("failed"), result["message"]
    assert left.made == ([left.volume] if anew else [])
    assert conn.lookupByName("web1").UUIDString() == record.id


def test_a_server_that_has_run_on_them_since_is_a_conflict_and_nothing_is_touched(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(conn, record, monkeypatch, 6)
    (result,) = run("unshelve", **left.asked)
    assert result["failed"]
    assert "has run on this host since it was shelved, on disks that are still here" in result["message"]
    assert (left.made, left.volume in left.pool.names()) == ([], True)


def test_a_record_beside_them_that_cannot_be_read_is_a_conflict_too(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_written(*_args: t.Any, **_more: t.Any) -> Record:
        return read_sidecar(pack_sidecar(record)[:200])

    left = Left(conn, record, monkeypatch, None)
    monkeypatch.setattr(Storage, "read_sidecar", half_written)
    (result,) = run("unshelve", **left.asked)
    assert result["failed"]
    assert "may have run on this host since it was shelved" in result["message"]
    assert "half written" in result["message"]
    assert (left.made, left.volume in left.pool.names()) == ([], True)


def test_disks_beside_which_nothing_was_written_yet_are_made_anew(
    run: t.Callable[..., list[dict[str, t.Any]]], conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(conn, record, monkeypatch, None)
    monkeypatch.setattr(Storage, "read_sidecar", lambda *_args, **_more: read_sidecar(bytes(BLOCK)))
    (result,) = run("unshelve", **left.asked)
    assert not result.get("failed"), result["message"]
    assert left.made == [left.volume]


# -- the record that it is kept with ------------------------------------------------------------------------------


@pytest.fixture
def kept(conn: t.Any, record: Record, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What lies in the pool of the one server of this host, which is shelved."""
    domain = conn.lookupByName("web1")
    domain.destroy()
    domain.undefine()
    shelved = dataclasses.replace(record, marks={"shelved_offloaded": {"pool": "local", "snapshots": []}})
    found = {f"local {record.id}-shelved": pack_sidecar(shelved)}

    def write(_self: Storage, pool: str, name: str, data: bytes) -> bool:
        changed = found.get(f"{pool} {name}") != data
        found[f"{pool} {name}"] = data
        return changed

    # The driver has no streams.
    monkeypatch.setattr(Storage, "write_volume", write)
    monkeypatch.setattr(Storage, "read_volume", lambda _self, pool, name: found.get(f"{pool.name} {name}"))
    return found


def locking(record: Record) -> dict[str, t.Any]:
    marks = {"shelved_offloaded": {"pool": "local", "snapshots": []}, "lock": {"by": "ops", "reason": "", "at": 1.0}}
    # As a plan has it, for the host that it was on.
    return dataclasses.replace(record, generation=5, host_id="h1", marks=marks).to_json()


def test_a_shelved_server_is_locked_in_the_record_that_it_is_kept_with(
    run: t.Callable[..., list[dict[str, t.Any]]], record: Record, kept: dict[str, bytes]
) -> None:
    for changed in (True, False):
        (result,) = run("update_shelved", record=locking(record))
        assert (result.get("failed"), result["changed"]) == (None, changed), result["message"]
    (now,) = map(read_sidecar, kept.values())
    assert (now.generation, now.lock, now.host_id) == (5, "by ops", None)
    # The ledger has what the pool has.
    assert Record.from_json(result["record"]) == now


def test_one_that_was_cut_short_is_written_anew(
    run: t.Callable[..., list[dict[str, t.Any]]], record: Record, kept: dict[str, bytes]
) -> None:
    kept.update({name: data[:200] for name, data in kept.items()})
    (result,) = run("update_shelved", record=locking(record))
    assert not result.get("failed"), result["message"]
    assert [read_sidecar(data).lock for data in kept.values()] == ["by ops"]


def test_one_that_somebody_has_changed_or_taken_away_is_left_as_it_is(
    run: t.Callable[..., list[dict[str, t.Any]]], record: Record, kept: dict[str, bytes]
) -> None:
    before = dict(kept)
    (result,) = run("update_shelved", record=locking(record), expects=3)
    assert "has generation 4, the plan was made from generation 3" in result["message"]
    assert kept == before
    kept.clear()
    (result,) = run("update_shelved", record=locking(record))
    assert result["message"] == "server 'web1' isn't shelved on this host any more; plan again"
    assert kept == {}
