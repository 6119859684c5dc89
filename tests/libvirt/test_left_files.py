# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What libvirt has made beside the disks at the destination of a move that came to nothing: what of it goes."""

from __future__ import annotations

import types
import typing as t
import uuid

import pytest
from tests.libvirt.test_landing import FAILED, MIGRATED, RUNNING, Guest, Two, nothing_is_waited_for

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import console_log
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.steering import Ended, MoveFailed

__all__ = ["nothing_is_waited_for"]  # a fixture

VARIABLES = "/var/lib/libvirt/qemu/nvram/web1_VARS.fd"


def test_what_libvirt_has_made_beside_the_disks_goes_too(record: Record) -> None:
    two = Two(record, RUNNING, None)
    log = console_log(record.id)
    two.has_variables(VARIABLES)
    others = {f"{VARIABLES}.old": 4096, log.replace(record.id, str(uuid.uuid4())): 0}
    two.kvm2.files = {VARIABLES: 4096, log: 0, **others}
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source()
    assert (two.is_here_as_before(), two.kvm2.files) == (True, others)


def test_files_that_are_not_of_this_move_stay(record: Record) -> None:
    """One was there before; one is by now another domain's; and a log was written to when the server was there."""
    two = Two(record, RUNNING, None)
    files = {VARIABLES: 4096, console_log(record.id): 12}
    two.kvm2.files = dict(files)
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source()
    assert two.kvm2.files == files
    two = Two(record, RUNNING, None)
    two.has_variables(VARIABLES)
    two.kvm2.files = dict(files)
    xml = f"<domain><name>b</name><uuid>{uuid.uuid4()}</uuid><os><nvram>{VARIABLES}</nvram></os></domain>"
    domain = {"name": lambda: "b", "isActive": lambda: False, "isPersistent": lambda: True}
    two.kvm2.others = [types.SimpleNamespace(XMLDesc=lambda _flags: xml, **domain)]
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source()
    assert two.kvm2.files == files


def with_variables(two: Two, *, one_folder: bool) -> dict[str, int]:
    """Both copies have a file of the same name; it is one file if both hosts have one folder."""
    two.kvm1.files = {VARIABLES: 4096}
    two.kvm2.files = two.kvm1.files if one_folder else dict(two.kvm1.files)
    for guest in (two.source, t.cast(Guest, two.kvm2.guest)):
        guest.variables = VARIABLES
    return dict(two.kvm1.files)


@pytest.mark.parametrize("one_folder", [True, False])
def test_variables_of_the_copy_that_goes_stay_if_they_are_the_other_s(record: Record, one_folder: bool) -> None:
    """Which copy goes is for the move to say; the file goes along unless the copy that stays has it, too."""
    two = Two(record, MIGRATED, RUNNING)
    whole = with_variables(two, one_folder=one_folder)
    two.ended_at_source()
    assert (two.is_there(), two.kvm1.files, two.kvm2.files) == (True, whole if one_folder else {}, whole)
    two = Two(record, MIGRATED, RUNNING)
    whole = with_variables(two, one_folder=one_folder)
    two.ended_at_destination()
    assert (two.is_there(), two.kvm1.files, two.kvm2.files) == (True, whole if one_folder else {}, whole)
    # It failed as it was to run there.
    two = Two(record, RUNNING, FAILED)
    whole = with_variables(two, one_folder=one_folder)
    two.has_variables(VARIABLES)
    with pytest.raises(MoveFailed, match=r"it is on kvm1 as before$"):
        two.ended_at_source(Ended("no lock", handed_over=True))
    assert (two.is_here_as_before(), two.kvm1.files, two.kvm2.files) == (True, whole, whole if one_folder else {})


def test_variables_stay_where_nobody_can_tell_whose_they_are(record: Record) -> None:
    """No test file can be made at the end that has the server; one that is lost is asked again by the next run."""
    two = Two(record, MIGRATED, RUNNING)
    whole = with_variables(two, one_folder=False)
    two.kvm2.read_only = True
    two.ended_at_source()
    assert (two.is_there(), two.kvm1.files, two.kvm2.files) == (True, whole, whole)
    two = Two(record, MIGRATED, RUNNING)
    with_variables(two, one_folder=False)
    two.kvm2.read_only = two.kvm2.lost = True
    with pytest.raises(MoveFailed, match=r"can't be told yet .*the next run ends it") as said:
        two.ended_at_source()
    assert (said.value.left, two.kvm1.guest, two.kvm1.files) == (True, two.source, whole)
