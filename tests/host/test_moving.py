# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cold moves between two real hosts: confirmed and reverted, and the guest whole, wherever they are killed."""

from __future__ import annotations

import dataclasses
import random
import re
import typing as t

import pytest
from tests.host.guests import (
    FLEET,
    HOST_ID,
    HostUnderTest,
    Json,
    console_of,
    create,
    enroll,
    host,
    lab,
    moments,
    nothing_stays,
    ok,
    step,
)
from tests.support.kills import SEED, drawn

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Guest, Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import cold_steps
from ansible_collections.flotilla.compute.plugins.module_utils._core.resizing import confirm, revert
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import (
    Leave,
    Step,
    as_defined,
    plan_server,
    revert_steps,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.records import Frame, deeds
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.whereabouts import (
    FOUND,
    Location,
    Seen,
    Whereabouts,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays"]  # fixtures

SMALL = Flavor("small", 1, 128, 1, swap=64)
LARGE = Flavor("large", 1, 160, 2, ephemeral=1)
IDS = {"kvm1": HOST_ID, "kvm2": "2f1b3c4d-0000-4000-8000-000000000002"}
OTHER_POOL = "2f1b3c4d-0000-4000-8000-00000000b002"
COMPUTES = {
    name: Compute(
        name,
        compute_settings({"compute_migration_uri": f"qemu+tcp://{name}/system"}),
        {"host_id": host_id, "bridges": ["br0"]},
    )
    for name, host_id in IDS.items()
}
NOW = 1766312345.0


class Pair:
    """Two hosts, each with a pool of its own and one that they share."""

    def __init__(self, first: HostUnderTest) -> None:
        self.hosts = {"kvm1": first, "kvm2": HostUnderTest(first.image, "kvm2")}

    def guests(self, name: str) -> list[Guest]:
        found = []
        for server in self.hosts[name].look()["servers"]:
            record = Record.from_json(server["record"])
            found.append(dataclasses.replace(as_defined(record), state=server["state"]))
        return found

    def where(self) -> Location:
        hosts = [Seen(name, IDS[name], self.guests(name), known=True) for name in self.hosts]
        return Whereabouts(hosts, [], fleet_id=FLEET).find("web1")

    def do(self, steps: t.Sequence[Step], *, killed: bool = False, **more: Json) -> list[str] | None:
        """Steps of a plan on the server where it is, as a run has them carried out; the calls that it took."""
        location = self.where()
        return self._do(location, steps, killed=killed, **more)

    def _do(
        self, location: Location, steps: t.Sequence[Step], *, killed: bool = False, **more: Json
    ) -> list[str] | None:
        here = str(location.host)
        away = next(compute for name, compute in COMPUTES.items() if name != here)
        frame = Frame(FLEET, {}, NOW, tuple(COMPUTES.values()))
        record = t.cast(Record, location.record)
        given = deeds(record, steps, COMPUTES[here], frame, fit=None, destination=away)
        for deed in given:  # calls are counted, and killed after, in the call's own process: none has a worker
            (deed.get("options") or {}).pop("watch", None)
        answer = self.hosts[here].ask(
            "steps", steps=[{**deed, "timeout": 3} for deed in given], drives={}, killed=killed, **more
        )
        if answer == {"killed": True}:
            return None
        ok(answer["results"])
        return t.cast("list[str]", answer["calls"])

    def mend(self, desired: Server) -> None:
        """The runs that follow one that was killed: until there is nothing to do."""
        for _run in range(3):
            location = self.where()
            assert location.status == FOUND, location
            record, guest = t.cast(Record, location.record), location.guest
            volumes = frozenset(disk.volume for disk in record.disks)
            plan = plan_server(desired, record, guest, volumes=volumes, leave=Leave(now=NOW))
            for other, copy in location.extra:
                rest = revert_steps(t.cast(Record, copy.record), None, "its revert was cut off")
                self._do(Location(FOUND, other, copy, copy.record), rest[:1])
            if not plan.steps:
                return
            self._do(location, plan.steps)
        raise AssertionError("it takes more than three runs")

    def volumes(self, server: Record) -> dict[str, set[str]]:
        return {
            f"{name}/{pool}": its.volumes_of(server.id, pool)
            for name, its in self.hosts.items()
            for pool in ("local", "shared")
        }


@pytest.fixture
def pair(host: HostUnderTest) -> Iterator[Pair]:
    both = Pair(host)
    if f"flotilla-pool-{OTHER_POOL}" not in both.hosts["kvm2"].look()["volumes"]["local"]:
        enroll("kvm2", IDS["kvm2"])
        lab("exec", "kvm2", "virsh", "vol-create-as", "local", f"flotilla-pool-{OTHER_POOL}", "0")
    yield both
    seen = both.hosts["kvm2"].look()
    assert seen["domains"] == {}
    kept = {host.image.volume, f"{host.image.volume}.ok", f"flotilla-pool-{OTHER_POOL}"}
    assert set(seen["volumes"]["local"]) <= kept


def running(pair: Pair, pool: str, *, flavor: Flavor = SMALL, user_data: str | None = None) -> Record:
    first = pair.hosts["kvm1"]
    fresh = first.new("web1", flavor=flavor, pool=pool)
    fresh = dataclasses.replace(fresh, spec={"flavor": flavor.to_json()})
    done = first.run(create(fresh), step("start", fresh, 1), record=fresh, user_data=user_data)
    ok(done)
    first.console(fresh, r"boots=1\b[^$]*tick 1\b")
    return Record.from_json(done[0]["record"])


def migration(pair: Pair, flavor: Flavor = SMALL, *, confirmed: bool = False) -> list[Step]:
    record = t.cast(Record, pair.where().record)
    spec = {**record.spec, "flavor": flavor.to_json()}
    return cold_steps(record, "running", "asked for", spec=spec, confirm=confirmed)


def delete(pair: Pair) -> None:
    location = pair.where()
    record = t.cast(Record, location.record)
    ok(pair.hosts[str(location.host)].run(step("delete", record, record.generation)))


def test_a_pool_that_was_copied_with_its_marker_is_no_shared_one(pair: Pair) -> None:
    """The server would start there on an old copy of its disk, if there is one, and its own be forgotten here."""
    first = pair.hosts["kvm1"]
    fresh = first.new("web1", flavor=SMALL, pool="local")
    fresh = dataclasses.replace(fresh, spec={"flavor": SMALL.to_json()})
    ok(first.run(create(fresh), record=fresh))
    before = pair.volumes(fresh)
    (marker,) = (name for name in first.look()["volumes"]["local"] if name.startswith("flotilla-pool-"))
    lab("exec", "kvm2", "virsh", "vol-create-as", "local", marker, "0")
    try:
        with pytest.raises(AssertionError, match="is it mounted on both, or was it copied with its marker"):
            pair.do(cold_steps(fresh, "shutoff", "asked for", spec=fresh.spec))
    finally:
        lab("exec", "kvm2", "virsh", "vol-delete", marker, "local")
    assert (pair.where().host, pair.volumes(fresh)) == ("kvm1", before)
    pair.do(cold_steps(fresh, "shutoff", "asked for", spec=fresh.spec, confirm=True))
    assert pair.where().host == "kvm2"
    delete(pair)


@pytest.mark.soak
def test_moved_with_its_own_disks(pair: Pair) -> None:
    record = running(pair, "local")
    all_disks = {"root", "swap", "config", "record"}
    pair.do(migration(pair))
    pair.hosts["kvm2"].console(record, r"boots=2\b .*config_drive=\w")
    assert pair.where().host == "kvm2"
    refused = lab("exec", "kvm1", "virsh", "start", record.id, check=False)
    assert "started" not in refused
    assert [server["status"] for server in pair.hosts["kvm2"].look()["servers"]] == ["VERIFY_RESIZE"]
    assert pair.volumes(record) == {
        "kvm1/local": all_disks,
        "kvm2/local": all_disks,
        "kvm1/shared": set(),
        "kvm2/shared": set(),
    }
    moved = pair.where()
    its = t.cast(Record, moved.record)
    steps = revert(its, moved.guest)
    assert [(each.kind, each.hold) for each in steps] == [
        ("stop", None),
        ("revert_resize", "data_loss"),
        ("start", None),
    ]
    pair.do(steps)
    # What was written on kvm2 is lost: it boots for the second time again.
    pair.hosts["kvm1"].console(record, r"boots=2\b")
    assert pair.volumes(record)["kvm1/local"] == all_disks
    assert pair.volumes(record)["kvm2/local"] == set()
    now = t.cast(Record, pair.where().record)
    assert (pair.where().host, now.marks, now.host_id) == ("kvm1", {}, HOST_ID)
    pair.do(migration(pair, confirmed=True))
    pair.hosts["kvm2"].console(record, r"boots=3\b")
    assert pair.volumes(record)["kvm1/local"] == set()
    now = t.cast(Record, pair.where().record)
    assert (pair.where().host, now.marks, now.host_id) == ("kvm2", {}, IDS["kvm2"])
    delete(pair)


@pytest.mark.soak
def test_what_stands_against_it_is_told_before_the_guest_is_shut_down(pair: Pair) -> None:
    record = running(pair, "local")
    filler = "/var/lib/libvirt/pools/local/filler"
    room = f"$(($(df --output=avail -B1 {filler.rpartition('/')[0]} | tail -n 1) - 65536))"
    lab("exec", "kvm2", "sh", "-c", f"fallocate -l {room} {filler}")
    lab("exec", "kvm2", "virsh", "vol-create-as", "local", f"{record.id}-root", "4096")
    before = console_of(record.id)
    try:
        with pytest.raises(
            AssertionError, match="server 'web1' can't be moved to kvm2: it has volumes in pool 'local'"
        ) as no:
            pair.do(migration(pair))
    finally:
        lab("exec", "kvm2", "rm", filler)
        lab("exec", "kvm2", "virsh", "vol-delete", f"{record.id}-root", "local")
    full = r"its disks(, with the image under them,)? take \S+ GiB, and pool 'local' there has \S+ GiB free"
    assert re.search(full, str(no.value))
    pair.hosts["kvm1"].console(record, re.escape(before) + r"[^$]*tick ")
    assert [server["state"] for server in pair.hosts["kvm1"].look()["servers"]] == ["running"]
    delete(pair)


@pytest.mark.soak
def test_resized_on_another_host_of_the_same_pool(pair: Pair) -> None:
    record = running(pair, "shared")
    before = {"root", "swap", "config", "record"}
    pair.do(migration(pair, LARGE))
    pair.hosts["kvm2"].console(record, rf"boots=2\b .*vda:{2 * GIB},")
    moved = pair.where()
    steps = revert(t.cast(Record, moved.record), moved.guest)
    assert [each.hold for each in steps if each.kind == "revert_resize"] == ["data_loss"]  # of the ephemeral disk
    pair.do(steps)
    pair.hosts["kvm1"].console(record, rf"boots=3\b .*vda:{2 * GIB},")
    assert pair.volumes(record)["kvm1/shared"] == before
    pair.do(migration(pair, LARGE))
    pair.do(confirm(t.cast(Record, pair.where().record)))
    assert pair.volumes(record)["kvm2/shared"] == {"root", "ephemeral0", "config", "record"}
    assert [server["status"] for server in pair.hosts["kvm2"].look()["servers"]] == ["ACTIVE"]
    assert pair.hosts["kvm1"].look()["servers"] == []
    delete(pair)


# -- killed anywhere ----------------------------------------------------------------------------------------------

ACTIONS = ("migrate", "confirm_resize", "revert_resize")


def kill_and_mend(pair: Pair, action: str, pool: str, kill_at: int | None) -> list[str] | None:
    record = running(pair, pool)
    if action != "migrate":
        pair.do(migration(pair))
    location = pair.where()
    now = t.cast(Record, location.record)
    steps = {
        "migrate": lambda: migration(pair),
        "confirm_resize": lambda: confirm(now),
        "revert_resize": lambda: revert(now, location.guest),
    }[action]()
    calls = pair.do(steps, killed=True, kill_at=kill_at)
    assert (calls is None) == (kill_at is not None)
    desired = Server("web1", "active", now.flavor, now.image, now.spec, record.id, pool)
    pair.mend(desired)
    after = pair.where()
    its = t.cast(Record, after.record)
    assert after.guest is not None
    assert after.guest.state == "running"
    here, away = str(after.host), "kvm2" if after.host == "kvm1" else "kvm1"
    waits = "resize" in its.marks
    assert here == "kvm1" or action != "revert_resize" or waits
    pair.hosts[here].console(record, r"boots=\d\b .*config_drive=\w")
    assert pair.volumes(record)[f"{here}/{pool}"] == {"root", "swap", "config", "record"}
    if pool == "local":
        assert bool(pair.volumes(record)[f"{away}/local"]) == waits
    assert bool(pair.hosts[away].look()["servers"]) == waits
    if waits:
        pair.do(confirm(its))
    delete(pair)
    return calls


@pytest.mark.soak
@pytest.mark.parametrize("action", random.Random(SEED).sample(sorted(ACTIONS), 1))
def test_a_move_killed_after_some_call_and_mended(pair: Pair, action: str) -> None:
    calls = kill_and_mend(pair, action, "local", None)
    assert calls is not None
    kill_and_mend(pair, action, "local", random.Random(SEED).choice(moments(calls, SEED)))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("pool", ["local", "shared"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_move_killed_after_any_call_and_mended(pair: Pair, action: str, pool: str) -> None:
    calls = kill_and_mend(pair, action, pool, None)
    assert calls is not None
    for kill_at in drawn(moments(calls, SEED)):
        kill_and_mend(pair, action, pool, kill_at)
