# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a snapshot says of itself, how it is kept, and which backups are too many."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import (
    pack_sidecar,
    pack_snapshot,
    read_snapshot,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import (
    Quiesce,
    Snapshot,
    snapshot_of,
    surplus,
    with_disk,
)

PROPERTIES = {"hw_disk_bus": "scsi", "img_signature": "x", "backup_type": "old", "image_type": "backup"}
_numbers = itertools.count()


def record() -> Record:
    image = Image("debian", "qcow2", "sha256:" + "ab" * 32, 1, 64, PROPERTIES)
    root = Disk("root", "local", "id-root", "qcow2", GIB, "vda", "virtio")
    return Record("id", "web1", "fleet", 1, {}, Flavor("m", 1, 512, 1), image, (root,), (), Hardware())


def made(at: str = "2026-01-01T00:00:00Z", backup_type: str | None = None) -> Snapshot:
    wanted = snapshot_of(
        record(), "s", snapshot_id=f"s{next(_numbers)}", pool="local", created_at=at, backup_type=backup_type
    )
    return dataclasses.replace(wanted, complete=True)


def test_properties_are_the_base_images_and_say_where_it_comes_from() -> None:
    origin = {"base_image_ref": "sha256:" + "ab" * 32, "instance_uuid": "id"}
    assert made().image.properties == {"hw_disk_bus": "scsi", "image_type": "snapshot", **origin}
    backup = made(backup_type="daily")
    expected = {"hw_disk_bus": "scsi", "image_type": "backup", "backup_type": "daily", **origin}
    assert backup.image.properties == expected


def test_a_flavor_needs_the_disk_that_it_was_made_of() -> None:
    whole = with_disk(made(), fmt="raw", checksum="sha256:cd", virtual_size=2 * GIB + 1, size=7)
    assert (whole.image.min_disk, whole.image.min_ram, whole.image.format, whole.size) == (3, 64, "raw", 7)


def test_kept_and_read_back() -> None:
    snapshot = with_disk(made(backup_type="weekly"), fmt="qcow2", checksum="sha256:cd", virtual_size=GIB, size=9)
    assert read_snapshot(pack_snapshot(snapshot)) == snapshot
    with pytest.raises(InvalidRecord, match="half written"):
        read_snapshot(pack_snapshot(snapshot)[:300])
    with pytest.raises(InvalidRecord, match="doesn't begin as one"):
        read_snapshot(pack_sidecar(record()))
    with pytest.raises(InvalidRecord, match="can't be read"):
        Snapshot.from_json({**snapshot.to_json(), "later": 1})


def test_backups_that_are_too_many_are_the_oldest_of_the_same_type() -> None:
    old, older = made("2026-01-02T00:00:00Z", "daily"), made("2026-01-01T00:00:00Z", "daily")
    others = [
        made("2025-01-01T00:00:00Z", "weekly"),
        made("2025-01-01T00:00:00Z"),
        dataclasses.replace(made("2025-01-01T00:00:00Z", "daily"), server_id="another"),
        dataclasses.replace(made("2025-01-01T00:00:00Z", "daily"), complete=False),
    ]
    # Its clock is wrong: it is the newest all the same.
    new = made("2024-01-01T00:00:00Z", "daily")
    there = [old, *others, older]
    assert surplus(there, new, 3) == []
    assert surplus(there, new, 2) == [older]
    assert surplus([*there, new], new, 1) == [older, old]
    assert surplus(there, new, 0) == [older, old, new]
    with pytest.raises(InvalidInput, match="rotation is -1"):
        surplus(there, new, -1)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Quiesce(False, False)),
        ({"hw_qemu_guest_agent": "yes"}, Quiesce(True, False)),
        ({"hw_qemu_guest_agent": "True", "os_require_quiesce": "yes"}, Quiesce(True, True)),
        ({"hw_qemu_guest_agent": "no", "os_require_quiesce": "yes"}, Quiesce(False, True)),
    ],
)
def test_who_is_frozen(properties: dict[str, str], expected: Quiesce) -> None:
    assert Quiesce.of(properties) == expected
