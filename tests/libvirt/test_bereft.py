# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A live migration whose other end is dead, by the model of two hosts: what goes on, and what starts anew."""

from __future__ import annotations

import dataclasses
import typing as t

import libvirt
import pytest
from tests.libvirt.test_landing import (
    BOOTED,
    BROKEN,
    BY_HAND,
    COMING,
    FAILED,
    LET_GO_ON,
    MIGRATED,
    RUNNING,
    SENDING,
    SHORT,
    SHUT_DOWN,
    UNKNOWN,
    Guest,
    State,
    Two,
    error,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import Replaced, names, replaces
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import marked, move_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import live
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import is_migrated

SHORT_FOR_GOOD: State = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)


def only_at_the_source(guest: t.Any) -> None:
    """QEMU's driver says nothing of a migration that comes in."""

    def refuse(_flags: int = 0) -> t.Any:
        raise error(libvirt.VIR_ERR_OPERATION_UNSUPPORTED)

    guest.jobInfo = guest.jobStats = refuse
    write = guest.setMetadata

    def busy(*what: t.Any) -> None:
        """Nor lets its job, which a broken post-copy never ends, anything be changed but the persistent definition."""
        if guest.now in (SHORT, SHORT_FOR_GOOD):
            raise error(libvirt.VIR_ERR_OPERATION_TIMEOUT)
        write(*what)

    guest.setMetadata = busy


def ended(two: Two, at: str, *, start: bool = True, leave: bool = True, job_at_work: bool = False) -> t.Any:
    """The step of an evacuation on the host that lives; libvirt at the other end is never asked."""
    conn, pool = (two.kvm1, two.pool1) if at == "kvm1" else (two.kvm2, two.pool2)
    job = two.job(conn, pool)
    order = dataclasses.replace(job.order, options={"dead": True, "start": start, "data_loss": leave})
    if job_at_work:
        job.domain.jobInfo = lambda: [libvirt.VIR_DOMAIN_JOB_UNBOUNDED]
    return live._end_move(dataclasses.replace(job, order=order))


@pytest.mark.parametrize("here", [BROKEN, SENDING, COMING, BY_HAND])
def test_what_may_have_run_on_the_dead_host_starts_anew_from_its_disk(record: Record, here: State) -> None:
    """Its disk may be another than its memory knows."""
    two = Two(record, here, None)
    _changed, said = ended(two, "kvm1")
    assert (two.source.now, said.endswith("what it had in memory is lost, and it was started")) == (BOOTED, True)
    assert move_of(two.source.record) is None
    assert two.disk.volume in two.pool1.volumes


@pytest.mark.parametrize("start", [True, False])
def test_one_that_libvirt_calls_migrated_is_here_again(record: Record, start: bool) -> None:
    """Elsewhere nobody starts such a domain, for its guest may run on another host: that one is dead."""
    two = Two(record, MIGRATED, None)
    ended(two, "kvm1", start=start)
    assert two.source.isActive() is start
    assert not is_migrated(*two.source.state())  # or nobody could start it later on
    assert move_of(two.source.record) is None


def test_one_that_is_not_to_run_stays_off(record: Record) -> None:
    two = Two(record, BROKEN, None)
    ended(two, "kvm1", start=False)
    assert not two.source.isActive()


@pytest.mark.parametrize("here", [RUNNING, LET_GO_ON])
def test_what_has_all_of_its_memory_runs_on_where_it_comes_from(record: Record, here: State) -> None:
    two = Two(record, here, None)
    ended(two, "kvm1")
    assert (two.source.now, move_of(two.source.record)) == (here, None)


@pytest.mark.parametrize("here", [BROKEN, BY_HAND, MIGRATED, SHUT_DOWN, LET_GO_ON])
def test_what_it_may_have_written_there_is_given_up_with_leave_alone(record: Record, here: State) -> None:
    """Its disk was copied: what it wrote after it had gone over is on the dead host alone."""
    two = Two(record, here, None)
    with pytest.raises(Conflict, match=r"wrote to its disk root is there alone: nothing is touched; -e fleet_allow="):
        ended(two, "kvm1", leave=False)
    assert (two.source.now, move_of(two.source.record)) == (here, two.left)
    two.source.record = marked(two.source.record, dataclasses.replace(two.left, disks=()))
    ended(two, "kvm1", leave=False)
    assert move_of(two.source.record) is None


def test_one_that_never_went_over_needs_no_leave(record: Record) -> None:
    two = Two(record, RUNNING, None)
    ended(two, "kvm1", leave=False)
    assert (two.source.now, move_of(two.source.record)) == (RUNNING, None)


def test_one_that_its_user_has_paused_ran_nowhere(record: Record) -> None:
    two = Two(record, BY_HAND, None)
    two.source.record = marked(two.source.record, dataclasses.replace(two.left, paused=True))
    ended(two, "kvm1", start=False)
    assert (two.source.now, move_of(two.source.record)) == (BY_HAND, None)


@pytest.mark.parametrize("there", [SHORT, SHORT_FOR_GOOD])
def test_one_whose_memory_has_died_with_its_source_starts_anew_where_it_came_to(record: Record, there: State) -> None:
    """Libvirt calls it running, and it stands still at the next page that it has not got."""
    two = Two(record, BROKEN, there)
    only_at_the_source(two.kvm2.guest)
    ended(two, "kvm2")
    guest = two.kvm2.guest
    assert guest is not None
    assert (guest.now, move_of(guest.record)) == (BOOTED, None)
    assert (two.source.now, two.whole()) == (BROKEN, ({two.disk.volume}, {two.disk.volume}))


def test_one_that_has_come_with_all_its_memory_runs_on(record: Record) -> None:
    two = Two(record, SHUT_DOWN, RUNNING)
    ended(two, "kvm2")
    guest = two.kvm2.guest
    assert guest is not None
    assert (guest.now, move_of(guest.record)) == (RUNNING, None)


@pytest.mark.parametrize("there", [FAILED, UNKNOWN])
def test_a_copy_that_may_never_have_run_is_taken_with_leave_alone(record: Record, there: State) -> None:
    """What it wrote at its source, after its start here had failed, is on the dead host alone."""
    two = Two(record, RUNNING, there)
    guest = t.cast("t.Any", two.kvm2.guest)
    with pytest.raises(Conflict, match="may never have run here: what it has written on kvm1, which is dead"):
        ended(two, "kvm2", leave=False)
    assert (guest.now, move_of(guest.record), replaces(guest.record)) == (there, two.come, ())
    ended(two, "kvm2")
    assert (guest.now, move_of(guest.record)) == (BOOTED, None)


def test_a_copy_without_disks_of_its_own_needs_no_leave(record: Record) -> None:
    two = Two(record, RUNNING, FAILED)
    guest = t.cast("t.Any", two.kvm2.guest)
    guest.record = marked(guest.record, dataclasses.replace(two.come, disks=()))
    ended(two, "kvm2", leave=False)
    assert (guest.now, move_of(guest.record)) == (BOOTED, None)


def test_killed_between_its_end_and_its_record_it_needs_no_leave_either(record: Record) -> None:
    """A guest that lacks memory has run here: its mark says so before it is ended."""
    two = Two(record, BROKEN, SHORT)
    guest = t.cast("t.Any", two.kvm2.guest)
    only_at_the_source(guest)
    destroy = guest.destroy

    def killed() -> None:
        destroy()
        raise KeyboardInterrupt

    guest.destroy = killed
    with pytest.raises(KeyboardInterrupt):
        ended(two, "kvm2", leave=False)
    guest.destroy = destroy
    del guest.jobInfo, guest.jobStats  # only while it runs
    ended(two, "kvm2", leave=False)
    assert (guest.now, move_of(guest.record)) == (BOOTED, None)


def test_on_a_disk_that_both_had_a_guest_that_may_have_run_at_both_starts_anew(record: Record) -> None:
    """Libvirt let it go on at its source; what it has in memory of that disk may be old."""
    two = Two(record, LET_GO_ON, None)
    two.source.record = marked(two.source.record, dataclasses.replace(two.left, disks=()))
    _changed, said = ended(two, "kvm1", leave=False)
    assert (two.source.now, "what it had in memory is lost" in said) == (BOOTED, True)


def test_a_backup_of_somebody_else_is_not_waited_for(record: Record) -> None:
    two = Two(record, RUNNING, None)
    two.source.jobStats = lambda _flags=0: {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP}  # type: ignore[method-assign]
    ended(two, "kvm1", job_at_work=True)
    assert (two.source.now, move_of(two.source.record)) == (RUNNING, None)


def test_a_guest_whose_memory_never_came_is_no_server(record: Record) -> None:
    two = Two(record, BROKEN, COMING)
    with pytest.raises(Conflict, match="waits here for its memory"):
        ended(two, "kvm2")


def test_what_libvirt_is_still_at_is_waited_for(record: Record) -> None:
    two = Two(record, RUNNING, None)
    with pytest.raises(Conflict, match=r"libvirt has not yet given up the migration of server .* kvm2 is dead"):
        ended(two, "kvm1", job_at_work=True)
    assert (two.source.now, move_of(two.source.record)) == (RUNNING, two.left)


@pytest.mark.parametrize(("at", "here", "there"), [("kvm1", BROKEN, SHORT), ("kvm2", BROKEN, SHORT)])
def test_the_copy_on_the_dead_host_is_stale_when_that_is_back(
    record: Record, at: str, here: State, there: State
) -> None:
    """By host id, generation and migration, and nothing else is."""
    two = Two(record, here, there)
    its, other = (two.kvm1, two.kvm2) if at == "kvm1" else (two.kvm2, two.kvm1)
    assert its.guest is not None
    assert other.guest is not None
    ended(two, at)
    dead = "id-kvm2" if at == "kvm1" else "id-kvm1"
    old, new = other.guest.record, its.guest.record
    assert replaces(new) == (Replaced(dead, old.generation, "m1"),)
    assert names(new, old, dead)[1]
    assert not names(old, new, str(new.host_id))[1]
    assert new.generation > old.generation


@pytest.mark.parametrize(
    ("role", "state"), [("source", BROKEN), ("destination", SHORT), ("destination", SHORT_FOR_GOOD)]
)
def test_a_word_is_not_enough_where_memory_is_at_the_other_end(record: Record, role: str, state: State) -> None:
    """fleet_assume_absent says that nothing is there; here something is, and without it the guest stands still."""
    two = Two(record, *((state, RUNNING) if role == "source" else (BROKEN, state)))
    conn, pool, mark = (two.kvm1, two.pool1, two.left) if role == "source" else (two.kvm2, two.pool2, two.come)
    assert conn.guest is not None
    if role == "destination":
        only_at_the_source(conn.guest)
    with pytest.raises(Conflict, match=f"the playbook evacuate ends the move .-e fleet_host={mark.other.host}."):
        live._given_up(two.job(conn, pool), mark)
    assert (conn.guest.now, move_of(conn.guest.record)) == (state, mark)


@pytest.mark.parametrize(("at", "made", "kept"), [("kvm1", False, True), ("kvm1", True, False), ("kvm2", False, True)])
def test_what_may_be_the_file_of_both_copies_stays_when_the_stale_one_goes(
    record: Record, at: str, made: bool, kept: bool
) -> None:
    """The variables of its firmware: a file that its move has made there is not also here."""
    file = "/var/lib/libvirt/qemu/nvram/web1_VARS.fd"
    two = Two(record, BROKEN, SHORT)
    if made:
        two.has_variables(file)
    its = t.cast(Guest, two.kvm1.guest if at == "kvm1" else two.kvm2.guest)
    its.variables = file
    ended(two, at)
    (entry,) = replaces(its.record)
    assert (entry.variables, entry.to_json().get("variables")) == (kept, kept or None)
