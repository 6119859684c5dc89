# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack, unpack
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import server_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.marker import (
    Marker,
    Service,
    write_marker,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import pool_facts
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.survey import summary, survey

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"
IMAGE = "image-" + "ab" * 32


def guests_of(facts: dict[str, t.Any]) -> dict[str, Guest]:
    return {guest["name"]: Guest.from_json(guest) for guest in facts["guests"]}


def test_guests_are_ours_copies_and_foreign_ones(conn: t.Any, tmp_path: Path, record: Record) -> None:
    guests = guests_of(survey(conn, state_dir=str(tmp_path)))
    assert sorted(guests) == ["foreign", "web1", "web1-clone"]
    assert guests["web1"].record == record
    assert guests["web1"].volumes == [["local", f"{ID}-root"]]
    assert guests["web1"].macs == ["52:54:00:00:00:01"]
    assert guests["web1-clone"].record is None
    assert "virt-clone" in (guests["web1-clone"].record_error or "")
    assert guests["foreign"].record is None
    assert guests["foreign"].record_error is None
    assert guests["foreign"].volumes == [["fast", "foreign"]]
    assert (guests["foreign"].vcpus, guests["foreign"].memory) == (4, 1024)


def test_states_are_libvirts(conn: t.Any, tmp_path: Path) -> None:
    conn.lookupByName("foreign").destroy()
    conn.lookupByName("web1").suspend()
    conn.lookupByName("web1-clone").managedSave()
    transient = "<domain type='test'><name>gone</name><memory>1024</memory><os><type>hvm</type></os></domain>"
    conn.createXML(transient)
    guests = guests_of(survey(conn, state_dir=str(tmp_path)))
    assert {name: guest.state for name, guest in guests.items()} == {
        "foreign": "shutoff",
        "gone": "running",
        "web1": "paused",
        "web1-clone": "suspended",
    }
    assert [name for name, guest in guests.items() if not guest.persistent] == ["gone"]


class _Migrated:
    """A connection whose domain web1 was migrated away: the test driver itself can't migrate."""

    def __init__(self, conn: t.Any) -> None:
        self._conn = conn

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._conn, name)

    def getAllDomainStats(self, *args: t.Any) -> list[t.Any]:  # noqa: N802 - libvirt's name
        gone = {"state.state": libvirt.VIR_DOMAIN_SHUTOFF, "state.reason": libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED}
        stats = self._conn.getAllDomainStats(*args)
        return [(domain, gone if domain.name() == "web1" else facts) for domain, facts in stats]


def test_a_domain_that_was_migrated_away_is_told_from_one_that_is_off(conn: t.Any, tmp_path: Path) -> None:
    conn.lookupByName("foreign").destroy()
    guests = guests_of(survey(_Migrated(conn), state_dir=str(tmp_path)))
    assert {name: (guest.state, guest.migrated) for name, guest in guests.items()} == {
        "foreign": ("shutoff", False),
        "web1": ("shutoff", True),
        "web1-clone": ("running", False),
    }


def test_autostart(conn: t.Any, tmp_path: Path) -> None:
    conn.lookupByName("foreign").setAutostart(1)
    guests = guests_of(survey(conn, state_dir=str(tmp_path)))
    assert [name for name, guest in guests.items() if guest.autostart] == ["foreign"]


def test_pools_have_their_smallest_marker_as_id_and_show_our_volumes_alone(conn: t.Any, tmp_path: Path) -> None:
    pools = survey(conn, state_dir=str(tmp_path))["pools"]
    local = pools["local"]
    assert local["id"] == "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1b01"
    assert local["markers"] == [local["id"], "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1b02"]
    assert (local["type"], local["path"], local["active"]) == ("dir", "/pools/local", True)
    assert local["volumes"][f"{ID}-root"] == {"allocation": 4096}
    assert sorted(local["volumes"]) == sorted(
        [f"{ID}-root", IMAGE, f"{IMAGE}.ok", *(f"flotilla-pool-{marker}" for marker in local["markers"])]
    )
    assert "overlay" in local["capabilities"]
    assert "overlay" not in pools["fast"]["capabilities"]
    assert pools["fast"]["id"] is None


@pytest.mark.parametrize("blocks", [0, 3])
def test_what_a_disk_takes_is_what_its_file_takes(conn: t.Any, tmp_path: Path, blocks: int) -> None:
    """As libvirt measures it, and not how long the file is: of a disk of 1 GiB the little that was written to it."""
    pool = conn.storagePoolCreateXML(
        f"<pool type='dir'><name>files</name><target><path>{tmp_path}</path></target></pool>"
    )
    for role in ("root", "swap"):
        pool.createXML(f"<volume><name>{ID}-{role}</name><capacity>1048576</capacity></volume>")
    with (tmp_path / f"{ID}-root").open("wb") as file:
        file.write(b"x" * 4096 * blocks)
        file.truncate(1024**3)
    volumes = pool_facts(pool)["volumes"]
    assert 4096 * blocks <= volumes[f"{ID}-root"]["allocation"] < 1024**2
    assert volumes[f"{ID}-swap"] == {"allocation": pool.storageVolLookupByName(f"{ID}-swap").info()[2]}


def test_a_pool_that_is_not_active_is_a_fact(conn: t.Any, tmp_path: Path) -> None:
    conn.storagePoolLookupByName("local").destroy()
    local = survey(conn, state_dir=str(tmp_path))["pools"]["local"]
    assert local["active"] is False
    assert local["error"] == "it is not active"
    assert (local["id"], local["volumes"]) == (None, {})


class _BrokenPool:
    """A pool whose refresh fails, as libvirt behaves then: a busy one stays active, an unreadable one is stopped."""

    def __init__(self, pool: t.Any, *, stays_active: bool) -> None:
        self._pool = pool
        self._stays_active = stays_active

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._pool, name)

    def refresh(self, _flags: int) -> None:
        if not self._stays_active:
            self._pool.destroy()
        raise libvirt.libvirtError("pool can't be read")


@pytest.mark.parametrize("stays_active", [True, False])
def test_a_pool_that_cannot_be_refreshed(conn: t.Any, stays_active: bool) -> None:
    facts = pool_facts(_BrokenPool(conn.storagePoolLookupByName("local"), stays_active=stays_active))
    assert facts["active"] is stays_active
    assert bool(facts["volumes"]) is stays_active
    assert facts.get("error") == (None if stays_active else "pool can't be read")


def test_the_marker_and_the_steps_that_run(conn: t.Any, tmp_path: Path) -> None:
    before = survey(conn, state_dir=str(tmp_path))
    assert (before["host_id"], before["marker"], before["running_steps"]) == (None, None, [])
    write_marker(str(tmp_path), Marker("h", "f", "l", Service("disabled", "why")))
    with server_lock(str(tmp_path), ID, run_id="run-1", step="create"):
        after = survey(conn, state_dir=str(tmp_path))
    assert after["host_id"] == "h"
    assert after["marker"]["service"] == {"state": "disabled", "reason": "why"}
    assert [(step["server_id"], step["run_id"]) for step in after["running_steps"]] == [(ID, "run-1")]


def test_networks(conn: t.Any, tmp_path: Path) -> None:
    assert survey(conn, state_dir=str(tmp_path))["networks"] == {
        "inside": {"active": True, "bridge": "virbr9", "forward": "isolated"},
        "lan": {"active": True, "bridge": "br0", "forward": "bridge"},
    }


def test_the_machine(conn: t.Any, tmp_path: Path) -> None:
    facts = survey(conn, state_dir=str(tmp_path))
    assert facts["cpu"]["count"] == 8
    assert facts["cpu"]["topology"] == {"sockets": 1, "cores": 4, "threads": 2}
    assert (facts["cpu"]["models"], facts["cpu"]["xml"]) == ([], "")  # libvirt's test driver can't tell
    assert facts["memory"] == 16384
    assert facts["libvirt"] == libvirt.getVersion()


def test_a_survey_travels_as_a_string_and_has_a_summary(conn: t.Any, tmp_path: Path) -> None:
    facts = survey(conn, state_dir=str(tmp_path))
    assert unpack(pack(facts)) == json.loads(json.dumps(facts)) == facts
    short = summary(facts)
    assert (short["guests"], short["running"]) == (3, 3)
    assert len(json.dumps(short)) < 1500


def test_a_survey_changes_nothing(conn: t.Any, tmp_path: Path) -> None:
    before = survey(conn, state_dir=str(tmp_path))
    assert survey(conn, state_dir=str(tmp_path)) == before
    assert list(tmp_path.glob("[!h]*")) == []
