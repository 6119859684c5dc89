# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cold moves to a host that isn't there, or is lost on the way: the guest runs where it was as soon as that is safe."""

from __future__ import annotations

import concurrent.futures
import typing as t
from pathlib import Path

import pytest
from tests.host.guests import FLEET, LAB_NAME, Json, host, lab, nothing_stays
from tests.host.test_live import wait
from tests.host.test_moving import COMPUTES, NOW, Pair, delete, migration, pair, running

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.resizing import revert
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame, deeds

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays", "pair"]  # fixtures

pytestmark = pytest.mark.soak
#: What kvm1 sends: slower than it takes to end a libvirtd, by far.
_SHAPE = ("root", "tbf", "rate", "8mbit", "burst", "64kb", "latency", "400ms")
_FILES = Path("/var/lib/flotilla-lab") / LAB_NAME / "hosts/kvm2/tree/var/lib/libvirt/pools/local"


def steps(pair: Pair) -> list[dict[str, Json]]:
    """Those of a cold move to kvm2."""
    record = t.cast(Record, pair.where().record)
    frame = Frame(FLEET, {}, NOW, tuple(COMPUTES.values()))
    given = deeds(record, migration(pair), COMPUTES["kvm1"], frame, fit=None, destination=COMPUTES["kvm2"])
    return [{**deed, "timeout": 3} for deed in given]


@pytest.fixture
def slow() -> Iterator[None]:
    lab("exec", "kvm1", "tc", "qdisc", "add", "dev", "eth0", *_SHAPE)
    yield
    lab("exec", "kvm1", "tc", "qdisc", "del", "dev", "eth0", "root")


def boots(pair: Pair, record: Record) -> str:
    return pair.hosts["kvm1"].console(record, r"boots=(\d)")[1]


def state(pair: Pair) -> tuple[str, bool]:
    """What the server on kvm1 is in, and whether a move of it is open."""
    (server,) = pair.hosts["kvm1"].look()["servers"]
    return server["state"], bool(server["record"]["marks"])


def test_a_guest_is_not_shut_down_for_a_host_that_can_t_be_reached(pair: Pair) -> None:
    record = running(pair, "local")
    before, asked = pair.hosts["kvm1"].look(), steps(pair)
    lab("crash", "kvm2")
    results = pair.hosts["kvm1"].run(*asked)
    lab("restart", "kvm2")
    assert [(result["kind"], result.get("failed"), result["changed"]) for result in results] == [
        ("migrate", True, False)
    ]
    assert "kvm2 can't be reached from here: " in results[-1]["message"]
    assert "told" not in results[-1]  # it can't be said that nothing is there
    assert pair.hosts["kvm1"].look() == before
    assert boots(pair, record) == "1"
    delete(pair)


def test_a_guest_is_not_shut_down_for_a_revert_to_a_host_that_can_t_be_reached(pair: Pair) -> None:
    running(pair, "local")
    pair.do(migration(pair))
    location = pair.where()
    record, undoing = t.cast(Record, location.record), revert(t.cast(Record, location.record), location.guest)
    frame = Frame(FLEET, {}, NOW, tuple(COMPUTES.values()))
    given = deeds(record, undoing, COMPUTES["kvm2"], frame, fit=None, destination=COMPUTES["kvm1"])
    before = pair.hosts["kvm2"].look()
    lab("crash", "kvm1")
    (refused,) = pair.hosts["kvm2"].run(*[{**deed, "timeout": 3} for deed in given])
    lab("restart", "kvm1")
    assert [deed["kind"] for deed in given][:2] == ["stop", "revert_resize"]
    assert (refused["kind"], refused["failed"], refused["changed"]) == ("revert_resize", True, False)
    assert "kvm1 can't be reached from here: " in refused["message"]
    assert pair.hosts["kvm2"].look() == before
    pair.do(undoing)
    assert pair.hosts["kvm1"].console(record, r"boots=2\b")
    delete(pair)


@pytest.mark.usefixtures("slow")
def test_a_guest_runs_again_when_its_destination_is_lost_while_its_disks_are_copied(pair: Pair) -> None:
    record = running(pair, "local")

    def made() -> list[Path]:
        return [file for file in _FILES.iterdir() if file.stat().st_size > 0]

    assert made() == []
    asked = steps(pair)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        move = pool.submit(pair.hosts["kvm1"].run, *asked)
        wait(made)
        lab("crash", "kvm2")
        results = move.result()
    lab("restart", "kvm2")
    assert [result["kind"] for result in results] == ["stop", "migrate"]
    assert results[-1]["failed"]
    assert results[-1]["message"].endswith("; it runs again as before"), results
    assert "told" not in results[-1]  # something of it is there
    assert state(pair) == ("running", True)
    assert pair.hosts["kvm1"].console(record, r"boots=2\b")
    # The next run takes away what is left there, and lets the guest run on.
    pair.mend(Server("web1", "active", record.flavor, record.image, record.spec, record.id, "local"))
    assert state(pair) == ("running", False)
    assert boots(pair, record) == "2"
    assert pair.volumes(record)["kvm2/local"] == set()
    delete(pair)
