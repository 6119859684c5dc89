# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a live migration by a model of two hosts' libvirt: no history gives up the copy that counts."""

from __future__ import annotations

import dataclasses
import types
import typing as t
import xml.etree.ElementTree as ET

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import metadata_xml, read_metadata
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import (
    DESTINATION,
    SOURCE,
    End,
    Move,
    marked,
    move_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, landing, live, steering
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job, Order, Present
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import Layout
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.steering import Ended, MoveFailed, Steering

# ruff: noqa: N802 - libvirt's names

State = tuple[int, int]
RUNNING: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
LET_GO_ON: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED)
BOOTED: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
BY_HAND: State = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
COMING: State = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
BROKEN: State = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
CUT_OFF: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
SENDING: State = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
SHORT: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
BY_USER: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED)
FAILED: State = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
SHUT_DOWN: State = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
UNKNOWN: State = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN)
MIGRATED: State = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)


def error(code: int) -> libvirt.libvirtError:
    exc = libvirt.libvirtError("made up")
    exc.err = (code, 0, "made up", 0, None, None, None, 0, 0)
    return exc


class Guest:
    """A domain, persistent and without a job at work. ``variables``: the file that its firmware has them in."""

    def __init__(self, at: Conn, record: Record, state: State) -> None:
        self.at, self.record, self.now = at, record, state
        self.variables = ""
        self.resumed: list[tuple[str, int]] = []

    def name(self) -> str:
        return self.record.name

    def state(self) -> State:
        return self.now

    def isActive(self) -> bool:
        return bool(self.now[0] != libvirt.VIR_DOMAIN_SHUTOFF)

    def isPersistent(self) -> bool:
        return True

    def hasManagedSaveImage(self) -> bool:
        return False

    def autostart(self) -> int:
        return 0

    def suspend(self) -> None:
        self.now = BY_HAND

    def resume(self) -> None:
        self.now = RUNNING

    def create(self) -> None:
        self.now = BOOTED

    def createWithFlags(self, flags: int) -> None:
        self.now = BY_HAND if flags & libvirt.VIR_DOMAIN_START_PAUSED else BOOTED

    def destroy(self) -> None:
        self.now = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)

    def connect(self) -> Conn:
        return self.at

    def undefineFlags(self, flags: int) -> None:
        self.at.guest = None
        if flags & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM:
            self.at.files.pop(self.variables, None)

    def metadata(self, *_which: t.Any) -> str:
        return metadata_xml(self.record)

    def setMetadata(self, _kind: int, text: str, *_which: t.Any) -> None:
        self.record = read_metadata(text)

    def jobInfo(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_JOB_NONE]

    def jobStats(self, _flags: int = 0) -> dict[str, t.Any]:
        return {}

    def XMLDesc(self, _flags: int) -> str:
        return f"<domain><os>{self.variables and f'<nvram>{self.variables}</nvram>'}</os></domain>"

    def migrateToURI3(self, uri: str, _parameters: t.Any, flags: int) -> None:
        """Only a post-copy is sent on here."""
        self.resumed.append((uri, flags))
        self.now = MIGRATED


class Folder:
    """A folder of a host, as a pool that nobody has defined."""

    def __init__(self, files: dict[str, int], text: str, *, read_only: bool) -> None:
        self._read_only = read_only
        root = ET.fromstring(text)
        self._name, self._path = root.findtext("name", ""), root.findtext("target/path")
        self._files = files

    def name(self) -> str:
        return self._name

    def storageVolLookupByName(self, name: str) -> t.Any:
        path = f"{self._path}/{name}"
        if path not in self._files:
            raise error(libvirt.VIR_ERR_NO_STORAGE_VOL)
        size = self._files[path]
        return types.SimpleNamespace(info=lambda: [0, size, size], delete=lambda _flags: self._files.pop(path))

    def createXML(self, text: str, _flags: int) -> None:
        if self._read_only:
            raise error(libvirt.VIR_ERR_SYSTEM_ERROR)
        self._files[f"{self._path}/{ET.fromstring(text).findtext('name')}"] = 0

    def destroy(self) -> None:
        """It is gone from libvirt, and the folder stays."""


class Conn:
    """One host's libvirt, with one guest at most, and domains of others. ``files``: their sizes."""

    def __init__(self) -> None:
        self.guest: Guest | None = None
        self.others: list[t.Any] = []
        self.files: dict[str, int] = {}
        self.read_only = self.lost = False

    def listAllStoragePools(self, _flags: int = 0) -> list[t.Any]:
        return []

    def storagePoolCreateXML(self, text: str, _flags: int) -> Folder:
        return Folder(self.files, text, read_only=self.read_only)

    def lookupByUUIDString(self, _server_id: str) -> Guest:
        if self.guest is None:
            raise error(libvirt.VIR_ERR_NO_DOMAIN)
        return self.guest

    def defineXML(self, text: str) -> None:
        """The persistent definition, which is where a record is read."""
        assert self.guest is not None
        (record,) = ET.fromstring(text).iterfind("metadata/*")
        self.guest.record = read_metadata(ET.tostring(record, encoding="unicode"))

    def listAllDomains(self, _flags: int) -> list[t.Any]:
        return self.others if self.guest is None else [*self.others, self.guest]

    def getHostname(self) -> str:
        return "kvm1"

    def isAlive(self) -> bool:
        return not self.lost


class Shelf:
    """One host's storage: the pool ``local``, and what is in it."""

    def __init__(self, mark: str, volumes: t.Iterable[str]) -> None:
        self.id, self.name, self.volumes = mark, "local", set(volumes)

    def pool(self, _name: str) -> Shelf:
        return self

    def identified(self, disk: Disk) -> Disk:
        return dataclasses.replace(disk, pool_id=self.id)

    def write_sidecar(self, _record: Record) -> None:
        """It is in the domain, too."""

    def markers(self, _wanted: str | None = None) -> list[str]:
        return [self.id]

    def names(self) -> list[str]:
        return sorted(self.volumes)

    def find(self, name: str, **_how: t.Any) -> t.Any:
        if name not in self.volumes:
            return None
        return types.SimpleNamespace(path=lambda: f"/{self.id}/{name}", delete=lambda _flags: self.volumes.remove(name))


class Two:
    """A move of a server from kvm1 to kvm2 with its disk, cut off: what each host has of it."""

    def __init__(self, record: Record, here: State, there: State | None, *, doubt: bool = False):
        self.disk = record.root
        own = dataclasses.replace(record, host_id="id-kvm1", disks=(dataclasses.replace(self.disk, pool_id="p1"),))
        new = dataclasses.replace(
            own, host_id="id-kvm2", generation=5, disks=(dataclasses.replace(self.disk, pool_id="p2"),)
        )
        self.left = Move("m1", SOURCE, End("kvm2", "qemu+tls://kvm2/system", "id-kvm2"), tuple(new.disks), doubt=doubt)
        self.come = Move("m1", DESTINATION, End("kvm1", "qemu+tls://kvm1/system", "id-kvm1"), tuple(own.disks))
        self.kvm1, self.kvm2 = Conn(), Conn()
        self.pool1, self.pool2 = Shelf("p1", [self.disk.volume]), Shelf("p2", [self.disk.volume])
        self.kvm1.guest = self.source = Guest(self.kvm1, marked(own, self.left), here)
        if there is not None:
            self.kvm2.guest = Guest(self.kvm2, marked(new, self.come), there)

    def job(self, conn: Conn, pool: Shelf) -> Job:
        guest = t.cast(Guest, conn.guest)
        its: t.Any = {"conn": conn, "storage": pool, "references": References(conn), "drives": {}}
        host = Host(fleet_id=guest.record.fleet_id, host_id=str(guest.record.host_id), **its)
        order = Order("end_move", guest.record.id, guest.record.name)
        return Job(host, order, Present(guest, guest.record), done=False)

    def far(self, end: End, conn: Conn, pool: Shelf) -> Far:
        return Far(end, conn, t.cast(t.Any, pool))

    def ended_at_source(self, ended: Ended | None = None) -> t.Any:
        """kvm1's worker, or the one that comes after it, finds libvirt's part over."""
        job = self.job(self.kvm1, self.pool1)
        far = self.far(self.left.other, self.kvm2, self.pool2)
        mark = t.cast(Move, move_of(job.record))
        return live._taken_up(job, far, mark, Wish()) if ended is None else landing.over(job, far, mark, ended)

    def ended_at_destination(self) -> t.Any:
        job = self.job(self.kvm2, self.pool2)
        return landing.completed_from_here(job, self.far(self.come.other, self.kvm1, self.pool1), self.come)

    def has_variables(self, file: str) -> None:
        """Its move has made this file at the destination."""
        self.left = dataclasses.replace(self.left, files=(file,))
        self.source.record = marked(self.source.record, self.left)

    def is_here_as_before(self) -> bool:
        return (self.kvm1.guest, self.source.now) == (self.source, RUNNING) and move_of(self.source.record) is None

    def is_there(self) -> bool:
        guest = self.kvm2.guest
        gone = self.kvm1.guest is None and not self.pool1.volumes and self.disk.volume in self.pool2.volumes
        return gone and guest is not None and move_of(guest.record) is None

    def whole(self) -> tuple[set[str], set[str]]:
        return self.pool1.volumes, self.pool2.volumes


@pytest.fixture(autouse=True)
def nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "became", lambda fact, **_within: fact())


def test_one_that_failed_as_it_was_to_run_there_runs_on_here(record: Record) -> None:
    """Libvirt has made it persistent there by then, and lets it go on here."""
    two = Two(record, RUNNING, FAILED)
    with pytest.raises(MoveFailed, match=r"was not moved to kvm2: no lock; it is on kvm1 as before$"):
        two.ended_at_source(Ended("no lock", handed_over=True))
    assert two.is_here_as_before()
    assert (two.kvm2.guest, two.whole()) == (None, ({two.disk.volume}, set()))


@pytest.mark.parametrize("there", [RUNNING, SHUT_DOWN])
def test_one_that_ran_there_is_there_though_no_word_came_back(record: Record, there: State) -> None:
    two = Two(record, RUNNING, there)
    two.ended_at_source(Ended("the link broke", handed_over=True))
    assert two.is_there()


def test_one_that_is_off_there_for_a_cause_that_nobody_knows_is_left_to_people(record: Record) -> None:
    two = Two(record, BY_HAND, UNKNOWN, doubt=True)
    with pytest.raises(MoveFailed, match="whether it ever ran there can't be told: nothing is touched") as said:
        two.ended_at_source()
    assert said.value.left
    assert (two.source.now, two.whole()) == (BY_HAND, ({two.disk.volume}, {two.disk.volume}))
    assert two.kvm2.guest is not None


@pytest.mark.parametrize("attached", [True, False])
def test_who_comes_later_knows_that_all_was_sent(record: Record, attached: bool) -> None:
    """The worker that began it is gone; libvirt let the guest go on here, and it runs there."""
    two = Two(record, LET_GO_ON, RUNNING)
    ended = None
    if attached:
        layout = Layout((), (), (), {})
        ended = Steering(two.source, Wish(), record.flavor, layout, lambda _far: None).attach()
    two.ended_at_source(ended)
    assert two.is_there()


def test_what_was_never_sent_runs_on_here(record: Record) -> None:
    two = Two(record, RUNNING, None)
    with pytest.raises(MoveFailed, match=r"it was cut off; it is on kvm1 as before$"):
        two.ended_at_source()
    assert (two.is_here_as_before(), two.pool2.volumes) == (True, set())


def test_the_end_of_another_job_is_not_waited_for(record: Record) -> None:
    """A backup that somebody has begun since has nothing to do with the move, and may take hours."""
    two = Two(record, RUNNING, None)
    backup: t.Any = two.source
    backup.jobInfo = lambda: [libvirt.VIR_DOMAIN_JOB_UNBOUNDED]
    backup.jobStats = lambda: {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP}
    with pytest.raises(MoveFailed, match=r"it was cut off; it is on kvm1 as before$"):
        two.ended_at_source()
    assert two.is_here_as_before()


@pytest.mark.parametrize(("here", "there"), [(SHUT_DOWN, FAILED), (UNKNOWN, UNKNOWN), (BY_HAND, FAILED)])
def test_the_other_end_is_not_given_up_for_one_that_may_never_have_run(
    record: Record, here: State, there: State
) -> None:
    """What the guest has written since is on the disk that it comes from."""
    two = Two(record, here, there)
    with pytest.raises(Conflict, match="whether it ever ran there can't be told: nothing is touched"):
        two.ended_at_destination()
    assert (two.kvm1.guest, two.source.now) == (two.source, here)
    assert two.whole() == ({two.disk.volume}, {two.disk.volume})


@pytest.mark.parametrize(("here", "there"), [(MIGRATED, UNKNOWN), (UNKNOWN, RUNNING), (BY_HAND, RUNNING)])
def test_what_is_left_of_one_that_has_run_goes(record: Record, here: State, there: State) -> None:
    two = Two(record, here, there)
    two.ended_at_destination()
    assert two.is_there()


def test_one_whose_memory_is_still_coming_takes_nothing_away(record: Record) -> None:
    two = Two(record, BY_HAND, COMING)
    with pytest.raises(Conflict, match="waits here for its memory: it is still where it comes from"):
        two.ended_at_destination()
    with pytest.raises(Conflict, match="waits here for its memory"):
        live._given_up(two.job(two.kvm2, two.pool2), two.come)
    assert (two.source.now, two.pool1.volumes) == (BY_HAND, {two.disk.volume})


def test_a_host_that_has_got_the_others_address_says_nothing(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest stands still here, for it may run on kvm2: it doesn't go on because kvm4 hasn't got it."""
    two = Two(record, BY_HAND, RUNNING, doubt=True)
    two.left = dataclasses.replace(two.left, other=dataclasses.replace(two.left.other, hostname="kvm2"))
    two.source.record = marked(two.source.record, two.left)
    kvm4 = types.SimpleNamespace(getHostname=lambda: "kvm4", close=lambda: None)
    monkeypatch.setattr(live, "reached", lambda _uri: kvm4)
    with pytest.raises(Conflict, match="compute_migration_uri of kvm2 leads to 'kvm4'"):
        live._end_move(two.job(two.kvm1, two.pool1))
    assert two.source.now == BY_HAND


def test_a_broken_post_copy_is_sent_on_and_never_killed(record: Record) -> None:
    two = Two(record, BROKEN, CUT_OFF)
    two.ended_at_destination()
    ((uri, flags),) = two.source.resumed
    assert uri == "qemu+tls://kvm2/system"
    assert flags & libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    assert two.is_there()


def test_a_post_copy_whose_link_stays_broken_is_not_touched(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(record, BROKEN, CUT_OFF)
    monkeypatch.setattr(Steering, "resume", lambda *_its: Ended("no route"))
    with pytest.raises(Conflict, match=r"part still on kvm1 \(post-copy\): no route. Nothing is touched") as said:
        two.ended_at_destination()
    assert "if kvm1 is dead for good, the playbook evacuate ends the move (-e fleet_host=kvm1)" in str(said.value)
    assert (two.source.now, two.pool1.volumes) == (BROKEN, {two.disk.volume})


def test_a_post_copy_is_sent_on_when_its_other_end_knows_of_the_break(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libvirt there refuses it before."""
    two = Two(record, BROKEN, SHORT)
    monkeypatch.setattr(steering, "_NOTICED_WITHIN", 0)
    with pytest.raises(MoveFailed, match="kvm2 had not noticed after 0 s that its link broke") as said:
        two.ended_at_source()
    assert "if kvm2 is dead for good, the playbook evacuate ends the move (-e fleet_host=kvm2)" in str(said.value)
    assert (two.source.now, two.source.resumed) == (BROKEN, [])
    t.cast(Guest, two.kvm2.guest).now = CUT_OFF
    two.ended_at_source()
    assert two.is_there()


@pytest.mark.parametrize("here", [BROKEN, SENDING])
@pytest.mark.parametrize("there", [RUNNING, SHUT_DOWN])
def test_a_post_copy_that_arrived_whole_is_over_though_its_source_never_heard_of_it(
    record: Record, here: State, there: State
) -> None:
    """It can't be resumed, for nothing is broken at the other end; what is left of it stands still for good."""
    two = Two(record, here, there)
    two.ended_at_source()
    assert (two.is_there(), two.source.resumed) == (True, [])
    two = Two(record, here, there)
    two.ended_at_destination()
    assert (two.is_there(), two.source.resumed) == (True, [])


@pytest.mark.parametrize("there", [SHORT, BY_USER, UNKNOWN, None])
def test_a_post_copy_that_may_still_need_memory_from_here_keeps_it(
    record: Record, there: State | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Two(record, BROKEN, there)
    monkeypatch.setattr(Steering, "resume", lambda *_its: Ended("no route"))
    with pytest.raises(MoveFailed, match="Part of its memory is here, part there"):
        two.ended_at_source()
    assert (two.source.now, two.whole()) == (BROKEN, ({two.disk.volume}, {two.disk.volume}))


def test_a_post_copy_whose_destination_is_not_heard_is_told_as_such(record: Record) -> None:
    two = Two(record, BROKEN, SHORT)
    lookup = two.kvm2.lookupByUUIDString

    def silent(_server_id: str) -> Guest:
        raise error(libvirt.VIR_ERR_INTERNAL_ERROR)

    two.kvm2.lookupByUUIDString = silent  # type: ignore[method-assign]
    with pytest.raises(MoveFailed, match="there is no way back"):
        two.ended_at_source(Ended("client socket is closed"))
    with pytest.raises(MoveFailed, match="there is no way back"):
        two.ended_at_source()
    two.kvm2.lookupByUUIDString = lookup  # type: ignore[method-assign]
    assert two.source.now == BROKEN


def test_a_guest_of_another_move_says_nothing_of_a_post_copy(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    two = Two(record, BROKEN, RUNNING)
    guest = t.cast(Guest, two.kvm2.guest)
    guest.record = marked(guest.record, dataclasses.replace(two.come, migration="m2"))
    monkeypatch.setattr(Steering, "resume", lambda *_its: Ended("no route"))
    with pytest.raises(MoveFailed, match="Part of its memory is here, part there"):
        two.ended_at_source()
    assert two.source.now == BROKEN


def test_the_mark_says_first_that_a_guest_is_to_stand_still(record: Record) -> None:
    """Whoever comes after a kill lets it go on, and so must know that it was Flotilla that stopped it."""
    two = Two(record, LET_GO_ON, None)
    seen: list[t.Any] = []

    def suspend() -> None:
        seen.append(move_of(two.source.record))
        two.source.now = BY_HAND

    two.source.suspend = suspend  # type: ignore[method-assign]
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source()
    assert [(mark.doubt, mark.halted) for mark in seen] == [(True, True)]
    assert two.is_here_as_before()


@pytest.mark.parametrize("halted", [True, False])
def test_a_guest_that_others_have_paused_stays_paused(record: Record, halted: bool) -> None:
    """By hand, or for an error of its disk, while it was moved."""
    two = Two(record, BY_HAND, None)
    two.source.record = marked(two.source.record, dataclasses.replace(two.left, doubt=True, halted=halted))
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source()
    assert (two.source.now, move_of(two.source.record)) == (RUNNING if halted else BY_HAND, None)
    two = Two(record, BY_HAND, None)
    live._given_up(two.job(two.kvm1, two.pool1), dataclasses.replace(two.left, doubt=True, halted=halted))
    assert two.source.now == (RUNNING if halted else BY_HAND)


def test_what_its_timeout_has_paused_goes_on_if_nothing_is_there(record: Record) -> None:
    two = Two(record, BY_HAND, None)
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source(Ended("the link broke", handed_over=True, paused=True))
    assert two.is_here_as_before()
