# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's course of a live migration, and what it is told by."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import (
    Wish,
    data_gb,
    downtime_at,
    downtimes,
    in_words,
    limit,
    progress,
    summary,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Flavor


def disk(gib: float) -> Disk:
    return Disk("root", "local", "x-root", "qcow2", int(gib * GIB), "vda", "virtio")


@pytest.mark.parametrize(
    ("ram", "disks", "gb"),
    [(128, [], 2), (2048, [], 2), (8192, [], 8), (8192, [1], 10), (4096, [20, 2.5], 27)],
)
def test_what_is_moved(ram: int, disks: list[float], gb: int) -> None:
    assert data_gb(Flavor("f", 1, ram, 1), map(disk, disks)) == gb


def test_downtime_grows_as_in_nova() -> None:
    # Run in Nova 34.0.0 with its defaults and 2 GiB.
    course = downtimes(Wish(), 2)
    assert course[:3] == [(0, 50), (150, 95), (300, 140)]
    assert course[-1] == (1500, 500)
    assert [downtime_at(course, second) for second in (0, 149.9, 150, 10**6)] == [50, 50, 95, 500]


def test_limit() -> None:
    assert limit(Wish(), 3) == 2400
    assert limit(Wish(timeout=7), 3) == 7
    assert limit(Wish(timeout=0), 3) is None
    assert limit(Wish(completion_timeout=0), 3) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"speed": 1}, "takes no option speed"),
        ({"timeout_action": "wait"}, "abort, post_copy, pause, found 'wait'"),
        ({"bandwidth": -1}, "bandwidth of a live migration is a number from 0, found -1"),
        ({"downtime": 0}, "downtime of a live migration is a number from 1, found 0"),
    ],
)
def test_bad_wishes(given: dict[str, t.Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Wish.from_json(given)


def test_told() -> None:
    stats = {
        "data_total": 400,
        "data_remaining": 100,
        "memory_bps": 20,
        "disk_bps": 30,
        "downtime": 90,
        "memory_iteration": 3,
        "time_elapsed": 1500,
        "data_processed": 350,
    }
    far = progress(stats)
    assert (far["percent"], far["rate"], far["seconds_left"], far["expected_downtime"]) == (75, 50, 2, 90)
    assert progress({})["percent"] == 0
    assert summary(stats) == {"total_time": 1500, "downtime": 90, "data": 350, "iterations": 3}


def test_what_qemu_says_comes_with_what_to_do() -> None:
    said = "internal error: unable to execute QEMU command 'migrate-set-capabilities': Postcopy is not supported"
    assert "set sysctl vm.unprivileged_userfaultfd=1 there" in in_words(said)
    assert in_words(said).endswith(f"({said})")
    assert in_words("the link broke") == "the link broke"
