# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The form of a config drive in a plan: which changes of it are live, and which ask for a rebuild."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import ServerEntry
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    NO_LEAVE,
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
)


def changed(before: str, after: str, leave: Leave = NO_LEAVE, **also: t.Any) -> ServerEntry:
    """What is to do for a running server whose drive was of one form and is to be of another."""
    declared = fleet({"web1": {**WEB, "server_config_drive_format": before}})
    guests = applied(reconcile(declared, hosts(declared)))
    declared = fleet({"web1": {**WEB, "server_config_drive_format": after, **also}})
    return entries(claimed(reconcile(declared, hosts(declared, guests), leave=leave)))["web1"]


def drive(entry: ServerEntry) -> tuple[str, str, str]:
    record = Record.from_json(next(deed["record"] for deed in reversed(entry.deeds) if deed.get("record")))
    disk: Disk = next(disk for disk in record.disks if disk.role == "config")
    return disk.device, disk.bus, disk.target


def test_from_one_cdrom_to_another_it_is_live() -> None:
    entry = changed("iso9660", "nocloud")
    assert kinds(entry) == ["update"]
    assert drive(entry) == ("cdrom", "scsi", "sda")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("iso9660", "vfat", ("disk", "virtio", "vdb")), ("vfat", "iso9660", ("cdrom", "scsi", "sda"))],
)
def test_to_and_from_a_disk_it_is_a_rebuild(before: str, after: str, expected: tuple[str, str, str]) -> None:
    held = changed(before, after, server_metadata={"role": "web"})
    assert kinds(held) == ["update"], "what else has changed is not kept waiting"
    assert Record.from_json(held.deeds[0]["record"]).spec["config_drive_format"] == before
    assert [step.kind for step in held.held] == ["rebuild"]

    entry = changed(before, after, leave=Leave(frozenset({"rebuild"})))
    assert "rebuild" in kinds(entry)
    assert drive(entry) == expected
