# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations on two real hosts, killed after any call: the server is whole once, and its disk is never lost."""

from __future__ import annotations

import dataclasses
import random
import typing as t

import pytest
from tests.host.guests import (
    CACHE,
    HOST_ID,
    Json,
    create,
    drives,
    host,
    lab,
    moments,
    nothing_stays,
    ok,
    sentence,
    step,
)
from tests.host.test_live import wait
from tests.host.test_moving import IDS, SMALL, Pair, pair
from tests.support.kills import SEED, drawn

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    Evacuating,
    Replaced,
    half_built,
    replaces,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import Place

__all__ = ["host", "nothing_stays", "pair"]  # fixtures


def dead(pair: Pair, pool: str, *, boots: bool = True) -> Record:
    """A server whose host has died while it ran: there its domain is off when that host is back."""
    first = pair.hosts["kvm1"]
    if pool == "local" and first.image.volume not in pair.hosts["kvm2"].look()["volumes"]["local"]:
        file = str((CACHE / "tick.qcow2").resolve())
        pair.hosts["kvm2"].ask("image", pool="local", image=first.image.to_json(), path=file)
    fresh = first.new("web1", flavor=SMALL, pool=pool)
    fresh = dataclasses.replace(fresh, spec={"flavor": SMALL.to_json()})
    steps = [create(fresh), step("start", fresh, 1)] if boots else [create(fresh)]
    done = first.run(*steps, record=fresh)
    ok(done)
    if boots:
        first.console(fresh, r"boots=1\b[^$]*tick 1\b")
        lab("exec", "kvm1", "virsh", "destroy", fresh.id)
    return Record.from_json(done[0]["record"])


def deed(record: Record, *, there: Guest | None = None, start: bool = True, **options: Json) -> Json:
    """The step as a plan has it; ``there``: what an earlier one that was cut off has left."""
    shared = record.root.pool == "shared"
    made = () if shared else tuple((disk.pool, disk.volume) for disk in record.disks)
    its = Evacuating("m1", 1.0, record.generation, Place("kvm1", HOST_ID), made)
    entry = Replaced(HOST_ID, record.generation, "m1").to_json()
    disks = tuple(dataclasses.replace(disk, pool_id=disk.pool_id if shared else None) for disk in record.disks)
    target = dataclasses.replace(
        record, generation=record.generation + 1, host_id=IDS["kvm2"], disks=disks, marks={"replaces": [entry]}
    )
    expects = None if there is None else t.cast(Record, there.record).generation
    given = {"evacuating": its.to_json(), "start": start, "rebuild": not shared, "destination": "kvm2", **options}
    return step("evacuate", record, expects, to=target, options=given)


def evacuate(pair: Pair, record: Record, *, killed: bool = False, **more: Json) -> list[str] | None:
    there = next(iter(pair.guests("kvm2")), None)
    answer = pair.hosts["kvm2"].ask(
        "steps", steps=[deed(record, there=there)], drives=_drive(record), killed=killed, **more
    )
    if answer == {"killed": True}:
        return None
    ok(answer["results"])
    return t.cast("list[str]", answer["calls"])


def _drive(record: Record) -> dict[str, str]:
    return drives(record) if record.root.pool == "local" else {}


def stale(record: Record, reclaim: int = 0) -> Json:
    local = [{"pool": d.pool, "pool_id": d.pool_id, "volume": d.volume} for d in record.disks if d.pool == "local"]
    options = {**Replaced(HOST_ID, record.generation, "m1").to_json(), "local": local, "reclaim": reclaim, "since": 1.0}
    return step("drop_stale", record, record.generation, options=options)


def undo(half: Record, made: bool) -> Json:
    drop = [{"pool": d.pool, "pool_id": d.pool_id, "volume": d.volume} for d in half.disks] if made else []
    return step("undo_evacuation", half, half.generation, options={"drop": drop, "kill": True})


def tidy(pair: Pair, record: Record) -> None:
    """The server goes, from wherever it is."""
    for name in ("kvm1", "kvm2"):
        for guest in pair.guests(name):
            its = t.cast(Record, guest.record)
            ok(pair.hosts[name].run(step("delete", its, its.generation)))
    assert all(not volumes for volumes in pair.volumes(record).values())


@pytest.mark.soak
def test_a_server_whose_disk_is_shared_goes_on_with_it(pair: Pair) -> None:
    record = dead(pair, "shared")
    evacuate(pair, record)
    pair.hosts["kvm2"].console(record, r"boots=2\b .*config_drive=\w")
    (there,) = pair.guests("kvm2")
    its = t.cast(Record, there.record)
    assert (there.state, its.generation, its.host_id) == ("running", record.generation + 1, IDS["kvm2"])
    assert [entry.migration for entry in replaces(its)] == ["m1"]
    assert not half_built(its)
    # The same step once more finds it done, and a copy of another generation is touched by nobody.
    assert ok(pair.hosts["kvm2"].run(deed(record)))[0][1] is False
    wrong = stale(dataclasses.replace(record, generation=record.generation + 1))
    assert "plan again" in sentence(pair.hosts["kvm1"].run({**wrong, "expects": record.generation + 1}))
    assert "nothing is touched" in sentence(pair.hosts["kvm1"].run({**wrong, "expects": record.generation}))
    ok(pair.hosts["kvm1"].run(stale(record)))
    assert pair.guests("kvm1") == []
    assert pair.volumes(record)["kvm2/shared"] == {"root", "swap", "config", "record"}
    tidy(pair, record)


@pytest.mark.soak
def test_a_disk_that_somebody_else_still_writes_to_keeps_the_server_off(pair: Pair) -> None:
    """The host was not dead after all: QEMU's own lock is the last line."""
    record = dead(pair, "shared")
    lab("exec", "kvm1", "virsh", "start", record.id)
    said = sentence(pair.hosts["kvm2"].run(deed(record)))
    assert "is not started: a disk of it is still locked by somebody else" in said
    assert "held on another host, which doesn't say so here" in said
    assert pair.guests("kvm2") == []
    assert pair.volumes(record)["kvm2/shared"] == {"root", "swap", "config", "record"}
    tidy(pair, record)


@pytest.mark.soak
def test_a_server_that_is_not_to_run_is_never_started_and_local_disks_wait_for_their_time(pair: Pair) -> None:
    record = dead(pair, "local", boots=False)
    result = pair.hosts["kvm2"].run(deed(record, start=False), record=record)
    assert ok(result) == [("evacuate", True, "shutoff")]
    assert lab("exec", "kvm2", "cat", f"/var/log/libvirt/qemu/{record.id}.console.log", check=False) == ""
    ok(pair.hosts["kvm1"].run(stale(record, reclaim=3600)))
    assert pair.volumes(record)["kvm1/local"] == {"root", "swap", "config", "record", "replaced"}
    ok(pair.hosts["kvm1"].run(step("reclaim", record, None)))
    assert pair.volumes(record)["kvm1/local"] == set()
    assert pair.volumes(record)["kvm2/local"] == {"root", "swap", "config", "record"}
    tidy(pair, record)


@pytest.mark.soak
def test_one_that_is_not_waited_for_is_built_by_its_host_alone(pair: Pair) -> None:
    """Whoever asks again is told what came of it; what fails leaves nothing, and says so."""
    record, there = dead(pair, "local"), pair.hosts["kvm2"]
    asked = deed(record, wait=False, watch=0.01, migration="m1")
    assert there.run(asked, record=record)[-1].get("running")
    wait(lambda: any(not half_built(t.cast(Record, guest.record)) for guest in pair.guests("kvm2")))
    there.console(record, r"boots=1\b .*config_drive=\w")
    assert ok(there.run({**asked, "options": {**asked["options"], "watch": 10}})) == [("evacuate", True, "running")]
    ok(pair.hosts["kvm1"].run(stale(record)))
    tidy(pair, record)

    record = dead(pair, "shared")
    lab("exec", "kvm1", "virsh", "start", record.id)
    (failed,) = there.run(deed(record, wait=False, watch=30, migration="m2"))
    assert (failed["failed"], failed["nothing_left"]) == (True, True), failed
    assert "a disk of it is still locked by somebody else" in failed["message"]
    assert pair.guests("kvm2") == []
    tidy(pair, record)


# -- killed anywhere ----------------------------------------------------------------------------------------------


def kill_and_mend(pair: Pair, pool: str, kill_at: int | None, *, back: bool) -> list[str] | None:
    """Killed, and then gone on with, or with the old host ``back`` first."""
    record = dead(pair, pool, boots=False)
    calls = evacuate(pair, record, killed=True, kill_at=kill_at)
    assert (calls is None) == (kill_at is not None)
    (old,) = pair.guests("kvm1")
    assert old.record == record
    there = next((t.cast(Record, guest.record) for guest in pair.guests("kvm2")), None)
    whole = there is not None and not half_built(there)
    if there is not None and not whole:
        assert not replaces(there)
    if back and not whole:
        if there is not None:
            ok(pair.hosts["kvm2"].run(undo(there, made=pool == "local")))
        assert pair.guests("kvm2") == []
        assert pair.volumes(record)["kvm2/local"] == set()
        assert pair.volumes(record)[f"kvm1/{pool}"] >= {"root", "swap", "config", "record"}
        ok(pair.hosts["kvm1"].run(step("start", record, record.generation)))
        pair.hosts["kvm1"].console(record, r"boots=\d\b")
    else:
        evacuate(pair, record)
        ok(pair.hosts["kvm1"].run(stale(record)))
        pair.hosts["kvm2"].console(record, r"boots=\d\b .*config_drive=\w")
        assert pair.guests("kvm1") == []
        assert pair.volumes(record)["kvm1/local"] == set()
        assert pair.volumes(record)[f"kvm2/{pool}"] == {"root", "swap", "config", "record"}
    tidy(pair, record)
    return calls


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("pool", ["local", "shared"])
def test_an_evacuation_killed_after_any_call_and_mended(pair: Pair, pool: str, back: bool) -> None:
    calls = kill_and_mend(pair, pool, None, back=back)
    assert calls is not None
    for kill_at in drawn(moments(calls, SEED)):
        kill_and_mend(pair, pool, kill_at, back=back)


@pytest.mark.parametrize("back", random.Random(SEED).sample([False, True], 1))
def test_an_evacuation_killed_after_some_call_and_mended(pair: Pair, back: bool) -> None:
    kill_and_mend(pair, "local", random.Random(SEED + back).randrange(20, 60), back=back)
