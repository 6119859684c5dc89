# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Eight controllers on one ledger, as processes of their own; some are killed."""

from __future__ import annotations

import collections
import contextlib
import random
import sqlite3
import subprocess
import typing as t

import pytest
from tests.ledger import pinner
from tests.ledger.claimer import COMMON, RAM
from tests.support.controllers import programs, won

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, HostSeen, Ledger

CLAIMERS = 8
EACH = 16
WANTED = {f"server-{number}-{index}" for number in range(CLAIMERS) for index in range(EACH)}
ALL = WANTED | {f"common-{index}" for index in range(COMMON)}
ROOM = len(ALL) // 8  # servers a host has room for: eight hosts are just enough


def new_ledger(url: str) -> Ledger:
    ledger = Ledger.open(url, create=True)
    assert ledger is not None
    ledger.establish("default")
    ledger.save_survey([HostSeen(f"kvm{n}", f"id-{n}", summary={"memory": ROOM * RAM}) for n in range(1, 9)])
    return ledger


def claimers(url: str, numbers: t.Iterable[int]) -> contextlib.AbstractContextManager[list[subprocess.Popen[str]]]:
    return programs("claimer.py", url, numbers, EACH)


def check(ledger: Ledger, url: str) -> set[str]:
    """What must hold at every moment; the names that are claimed."""
    now = ledger.snapshot()
    names = collections.Counter(claim.name for claim in now.claims.values())
    assert max(names.values(), default=0) <= 1
    assert {row.name for row in now.servers.values()} == set(names)
    assert max(collections.Counter(claim.host for claim in now.claims.values()).values(), default=0) <= ROOM
    assert {row.server_id for row in now.addresses} == set(now.claims)
    assert len({row.address for row in now.addresses}) == len(now.addresses) == len(now.claims)
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return set(names)


def test_eight_at_once_lose_nothing_and_double_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = new_ledger(url)
    with claimers(url, range(CLAIMERS)) as processes:
        lists = [won(process) for process in processes]
        created = [claim.created for claim in ledger.snapshot().claims.values()]
        seconds = max(created) - min(created)
        with capsys.disabled():
            print(
                f"\n{ledger.name.partition(':')[0]}: {len(ALL)} servers claimed by {CLAIMERS} controllers at once in "
                f"{seconds:.1f} s, {len(ALL) / seconds:.0f} a second"
            )
        assert check(ledger, url) == ALL
        assert sorted(name for names in lists for name in names) == sorted(ALL)
        assert [len(names) - EACH for names in lists if len(names) < EACH] == []
        assert len(ledger.live_runs()) == CLAIMERS


def test_killed_ones_leave_a_whole_ledger_that_others_go_on_with(url: str) -> None:
    ledger = new_ledger(url)
    chance = random.Random(7)
    with claimers(url, range(CLAIMERS)) as processes:
        victims = processes[::2]
        for victim in victims:
            assert victim.stdout is not None
            for _line in range(chance.randrange(1, EACH // 2)):
                victim.stdout.readline()
            victim.kill()
            victim.wait()
            check(ledger, url)
        for survivor in processes[1::2]:
            won(survivor)
        left = check(ledger, url)
        assert left < ALL
        with claimers(url, range(0, CLAIMERS, 2)) as successors:
            for successor in successors:
                won(successor)
            assert check(ledger, url) == ALL
            assert len(ledger.live_runs()) == CLAIMERS
    for row in ledger.snapshot().claims.values():
        assert row.begun


def fit_of(claim: ClaimRow) -> Fit:
    assert claim.fitted is not None
    return claim.fitted


def test_no_core_is_given_twice_by_controllers_that_plan_at_once(url: str) -> None:
    """Four of them want all the cores that there are, and each has seen every host empty."""
    made = Ledger.open(url, create=True)
    assert made is not None
    made.establish("default")
    made.save_survey([HostSeen(name, f"id-{name}") for name in pinner.HOSTS])
    cores = len(pinner.HOSTS) * pinner.CORES
    with programs("pinner.py", url, range(4), cores // 4) as processes:
        given = [line.split() for process in processes for line in won(process)]
        claims = made.snapshot().claims.values()
        assert sorted(name for name, *_place in given) == sorted(claim.name for claim in claims)
        assert len({(host, core) for _name, host, core in given}) == cores
        held = [(claim.host, core) for claim in claims for cell in fit_of(claim).cells for core in cell.cores]
        assert sorted(held) == sorted((host, int(core)) for _name, host, core in given)
        with programs("pinner.py", url, [9], 1) as (one_more,):
            assert won(one_more) == ["db-9-0 nowhere"]
