# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evacuations of servers with UEFI: the file with the variables of their firmware goes with the copy that goes, unless
both hosts have one folder for them."""

from __future__ import annotations

import dataclasses
import os
import typing as t

import pytest
from tests.host.guests import HostUnderTest, create, host, lab, nothing_stays, ok, step
from tests.host.test_evacuation import deed, evacuate, stale, tidy, undo
from tests.host.test_live_firmware import FOLDER, file_at, one_folder
from tests.host.test_moving import SMALL, Pair, pair

from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import half_built, replaces
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["host", "nothing_stays", "one_folder", "pair"]  # fixtures

pytestmark = pytest.mark.soak
FILE = f"{FOLDER}/web1_VARS.fd"


def dead(first: HostUnderTest) -> Record:
    """A server whose host has died while it ran."""
    made = first.new("web1", flavor=SMALL, pool="shared")
    made = dataclasses.replace(
        made,
        spec={"flavor": SMALL.to_json()},
        hardware=dataclasses.replace(made.hardware, firmware="uefi", machine="q35"),
    )
    done = first.run(create(made), step("start", made, 1), record=made)
    ok(done)
    lab("exec", "kvm1", "virsh", "destroy", made.id)
    return Record.from_json(done[0]["record"])


def dropped(pair: Pair, record: Record) -> Record:
    """The copy that was left on its host goes, as the record of the server says it."""
    (there,) = pair.guests("kvm2")
    its = t.cast(Record, there.record)
    asked = stale(record)
    asked["options"].update(replaces(its)[-1].to_json())
    ok(pair.hosts["kvm1"].run(asked))
    assert [guest.id for guest in pair.guests("kvm1")] == []
    return its


def test_they_stay_in_a_folder_of_both_hosts(one_folder: HostUnderTest, pair: Pair) -> None:
    record = dead(one_folder)
    with file_at("kvm1", FILE).open("rb") as file:

        def stays() -> bool:
            return os.fstat(file.fileno()).st_nlink == 1

        # It was cut off, and the old host is back: only what it has made goes.
        assert evacuate(pair, record, killed=True, kill_before="create") is None
        (half,) = pair.guests("kvm2")
        its = t.cast(Record, half.record)
        assert half_built(its)
        ok(pair.hosts["kvm2"].run(undo(its, made=False)))
        assert (pair.guests("kvm2"), stays()) == ([], True)
        evacuate(pair, record)
        its = dropped(pair, record)
        assert stays()
        # The same again is no other plan.
        (again,) = pair.hosts["kvm2"].run({**deed(record), "expects": None})
        assert (again.get("failed"), again["message"]) == (None, "it is there")
    tidy(pair, record)
    assert not file_at("kvm1", FILE).exists()


def test_they_go_with_the_copy_in_a_folder_of_its_host_s_own(host: HostUnderTest, pair: Pair) -> None:
    record = dead(host)
    evacuate(pair, record)
    dropped(pair, record)
    assert (file_at("kvm1", FILE).exists(), file_at("kvm2", FILE).exists()) == (False, True)
    tidy(pair, record)
    assert not file_at("kvm2", FILE).exists()
