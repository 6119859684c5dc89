# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ends a live migration of a guest that went off meanwhile, by the model of two hosts: where it starts again."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

import pytest
from tests.libvirt.test_landing import BOOTED, MIGRATED, RUNNING, SHUT_DOWN, UNKNOWN, State, Two

from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import marked, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, live

if t.TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "became", lambda fact, **_within: fact())


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., str]:
    """The step on one of the hosts, which reaches the other."""

    def end(two: Two, at: str, **options: t.Any) -> str:
        conn, pool = (two.kvm1, two.pool1) if at == "kvm1" else (two.kvm2, two.pool2)
        other = (two.left.other, two.kvm2, two.pool2) if at == "kvm1" else (two.come.other, two.kvm1, two.pool1)

        @contextlib.contextmanager
        def opened(*_end: t.Any) -> Iterator[t.Any]:
            yield two.far(*other)

        monkeypatch.setattr(live, "_opened", opened)
        job = two.job(conn, pool)
        order = dataclasses.replace(job.order, options=options)
        return live._end_move(dataclasses.replace(job, order=order))[1]

    return end


@pytest.mark.parametrize("here", [UNKNOWN, SHUT_DOWN])
def test_a_guest_whose_host_has_lost_its_power_starts_where_it_was(
    record: Record, end: t.Callable[..., str], here: State
) -> None:
    two = Two(record, here, None)
    said = end(two, "kvm1", start=True)
    assert said.endswith("; it is started")
    assert (two.source.now, move_of(two.source.record), two.kvm2.guest) == (BOOTED, None, None)


def test_one_that_is_to_be_off_stays_off(record: Record, end: t.Callable[..., str]) -> None:
    two = Two(record, UNKNOWN, None)
    assert "it is started" not in end(two, "kvm1", start=False)
    assert (two.source.now, move_of(two.source.record)) == (UNKNOWN, None)


@pytest.mark.parametrize(("here", "there"), [(MIGRATED, RUNNING), (MIGRATED, SHUT_DOWN), (UNKNOWN, RUNNING)])
def test_nothing_starts_where_it_has_left(record: Record, end: t.Callable[..., str], here: State, there: State) -> None:
    two = Two(record, here, there)
    assert "it is started" not in end(two, "kvm1", start=True)
    assert two.is_there()
    assert two.kvm2.guest is not None
    assert two.kvm2.guest.now == there


def test_one_that_has_come_and_gone_off_starts_where_it_came(record: Record, end: t.Callable[..., str]) -> None:
    two = Two(record, MIGRATED, SHUT_DOWN)
    said = end(two, "kvm2", start=True)
    assert said.endswith("; it is started")
    assert two.is_there()
    assert two.kvm2.guest is not None
    assert two.kvm2.guest.now == BOOTED


def test_it_is_ended_as_it_was_begun_for_whoever_asked(
    record: Record, end: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the fleet says of moves is for those that were asked for nothing else."""
    two, used = Two(record, UNKNOWN, None), []
    two.source.record = marked(two.source.record, dataclasses.replace(two.left, live={"timeout": 0, "tls": True}))
    taken_up = live._taken_up

    def seen(job: t.Any, far: t.Any, mark: t.Any, wish: Wish) -> t.Any:
        used.append(wish)
        return taken_up(job, far, mark, wish)

    monkeypatch.setattr(live, "_taken_up", seen)
    end(two, "kvm1", live={"timeout": 60, "bandwidth": 9})
    assert used == [Wish(timeout=0, tls=True, bandwidth=9)]
