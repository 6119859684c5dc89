# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.marker import (
    Service,
    enroll,
    read_marker,
)

OURS: dict[str, t.Any] = {"fleet_id": "fleet-1", "ledger_id": "ledger-1"}


def markers(conn: t.Any, pool: str) -> list[str]:
    names: list[str] = conn.storagePoolLookupByName(pool).listVolumes()
    return [name for name in names if name.startswith("flotilla-pool-")]


def test_a_host_is_enrolled_once(conn: t.Any, tmp_path: Path) -> None:
    state_dir = str(tmp_path / "state")
    first = enroll(conn, state_dir, **OURS)
    assert first.changed
    assert first.before is None
    assert read_marker(state_dir) == first.after
    assert list(first.marks) == ["fast"]  # local bears two already
    assert markers(conn, "fast") == [f"flotilla-pool-{first.marks['fast']}"]
    second = enroll(conn, state_dir, **OURS)
    assert not second.changed
    assert second.after == first.after


def test_the_marker_is_for_root_alone(conn: t.Any, tmp_path: Path) -> None:
    enroll(conn, str(tmp_path / "state"), **OURS)
    assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o700"
    assert oct((tmp_path / "state" / "host.json").stat().st_mode & 0o777) == "0o600"
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["host.json", "locks"]


def test_check_says_what_would_be_and_touches_nothing(conn: t.Any, tmp_path: Path) -> None:
    enrolment = enroll(conn, str(tmp_path / "state"), **OURS, check=True)
    assert enrolment.changed
    assert list(enrolment.marks) == ["fast"]
    assert not (tmp_path / "state").exists()
    assert markers(conn, "fast") == []


def test_only_the_named_pools_are_marked(conn: t.Any, tmp_path: Path) -> None:
    assert enroll(conn, str(tmp_path), **OURS, pools=["local"]).marks == {}
    assert markers(conn, "fast") == []


def test_a_pool_that_is_off_is_left_for_later(conn: t.Any, tmp_path: Path) -> None:
    conn.storagePoolLookupByName("fast").destroy()
    assert enroll(conn, str(tmp_path), **OURS).marks == {}


def test_the_service_state_is_kept_until_it_is_said_anew(conn: t.Any, tmp_path: Path) -> None:
    state_dir = str(tmp_path)
    assert enroll(conn, state_dir, **OURS).after.service == Service("enabled")
    changed = enroll(conn, state_dir, **OURS, service=Service("maintenance", "new DIMMs"))
    assert changed.changed
    assert enroll(conn, state_dir, **OURS).after.service == Service("maintenance", "new DIMMs")
    assert json.loads((tmp_path / "host.json").read_text())["service"]["state"] == "maintenance"
    with pytest.raises(InvalidInput, match="can't be 'broken'"):
        enroll(conn, state_dir, **OURS, service=Service("broken"))


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (
            {"fleet_id": "fleet-2", "ledger_id": "ledger-1"},
            "belongs to fleet fleet-1, and this run is of fleet fleet-2",
        ),
        ({"fleet_id": "fleet-1", "ledger_id": "ledger-2"}, "belongs to ledger ledger-1 of its fleet"),
    ],
)
def test_another_fleets_host_is_refused_until_taken_over(
    conn: t.Any, tmp_path: Path, theirs: dict[str, t.Any], why: str
) -> None:
    state_dir = str(tmp_path)
    before = enroll(conn, state_dir, **OURS, service=Service("disabled")).after
    with pytest.raises(Conflict, match=why):
        enroll(conn, state_dir, **theirs)
    assert read_marker(state_dir) == before
    after = enroll(conn, state_dir, **theirs, take_over=True).after
    assert after.host_id == before.host_id
    assert after.service == before.service
    assert (after.fleet_id, after.ledger_id) == (theirs["fleet_id"], theirs["ledger_id"])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host_id": "h", "fleet_id": "f", "ledger_id": "l"}'])
def test_a_damaged_marker_is_never_taken_for_none(conn: t.Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(FlotillaError, match="is damaged"):
        enroll(conn, str(tmp_path), **OURS)
    assert (tmp_path / "host.json").read_text() == text


def test_a_pool_that_is_not_there_is_named(conn: t.Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no storage pool 'nope'"):
        enroll(conn, str(tmp_path), **OURS, pools=["nope"])
    assert read_marker(str(tmp_path)) is None
