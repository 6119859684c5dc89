# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans and verdicts as people read them."""

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import (
    checks_text,
    migrated_text,
    together,
)


@pytest.mark.parametrize(
    ("failures", "lines"),
    [
        ([], []),
        (["web1: kvm2 is down: no route"], ["web1: kvm2 is down: no route"]),
        (
            ["web1: kvm2 is down", "db1: disk full\non kvm1", "web2: kvm2 is down"],
            ["web1, web2: kvm2 is down", "db1: disk full\non kvm1"],
        ),
        (["a may be on kvm3", "b may be on kvm3", "b: may be on kvm3"], ["a, b may be on kvm3", "b: may be on kvm3"]),
        ([f"s{n}: it is off" for n in range(10)], ["s0, s1, s2, s3, s4, s5, s6, s7 and 2 more: it is off"]),
    ],
)
def test_failures_that_say_the_same_are_told_once(failures: list[str], lines: list[str]) -> None:
    assert together(failures) == lines


def test_a_live_migration_is_told_in_a_line() -> None:
    told = {"id": "m", "status": "completed", "host": "kvm2", "total_time": 2140, "downtime": 85, "data": 150 * 2**20}
    assert [*migrated_text("web1", {**told, "iterations": 3})] == [
        "web1 is on kvm2: moved live in 2.1 s, stood still for 85 ms, 150 MiB in 3 passes"
    ]
    assert [*migrated_text("web1", {**told, "downtime": None, "data": 0})] == ["web1 is on kvm2: moved live in 2.1 s"]
    assert [*migrated_text("web1", {**told, "status": "cancelled"})] == []
    assert [*migrated_text("web1", {})] == []


def test_what_stands_against_a_move_is_told_check_by_check() -> None:
    checks = [{"check": "ports", "against": []}, {"check": "disks", "against": ["no pool there", "no room"]}]
    assert [*checks_text(checks)] == ["  ports: nothing stands against it", "  disks: no pool there; no room"]
