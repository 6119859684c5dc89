# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers on hosts that live whose move to or from a dead host was cut off, in the plan of that host's evacuation."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import DESTINATION, SOURCE, End, Move, marked
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import Place
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import (
    evacuation_rows,
    to_be_proven,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_evacuate import (
    RUN,
    Dead,
    dead,
    deed,
    showing,
)

THIRD = Place("kvm3", "id-kvm3").to_json()


def living(
    role: str = SOURCE, state: str = "paused", *, host_id: str = "id-kvm1", copied: bool = False, paused: bool = False
) -> Dead:
    """web1 is on kvm2, and the other end of its move, kvm1, is dead."""
    lost = dead()
    record = lost.records["web1"]
    disks = tuple(record.disks) if copied else ()
    its = Move("m1", role, End("kvm1", "qemu+tls://kvm1/system", host_id), disks, paused)
    here = marked(dataclasses.replace(record, host_id="id-kvm2"), its)
    guest: Guest = dataclasses.replace(as_defined(here), state=state)
    lost = lost.with_row(host="kvm2" if role == SOURCE else "kvm1")
    return dataclasses.replace(lost, guests={"kvm2": [guest]})


def surveys() -> dict[str, t.Any]:
    return showing(dead(), "kvm2", "kvm3")


@pytest.mark.parametrize(
    ("role", "state"), [(SOURCE, "paused"), (SOURCE, "shutoff"), (DESTINATION, "running"), (DESTINATION, "shutoff")]
)
def test_its_move_is_ended_where_it_is_and_only_with_proof(role: str, state: str) -> None:
    plan = living(role, state).plan(surveys=surveys())
    (entry,) = plan.servers
    assert (entry.verdict, entry.host, [step.kind for step in entry.steps]) == ("change", "kvm2", ["end_move"])
    assert to_be_proven(plan, ("kvm1",)) == ["kvm1"]
    its = deed(entry)
    assert (its["options"]["dead"], its["options"]["start"], its["expects"]) == (True, True, 5)
    (row,) = evacuation_rows(plan)
    assert (row["from"], row["to"], row["disk"], row["migration"]) == ("kvm1", "kvm2", "kept", None)


def test_what_it_wrote_to_a_copied_disk_there_is_lost_with_leave_alone() -> None:
    entry = living(copied=True).entry(surveys=surveys())
    assert (entry.verdict, entry.steps, [step.hold for step in entry.held]) == ("held", (), ["data_loss"])
    assert "what it has written to its disk root there" in entry.held[0].why
    assert living(copied=True).entry(surveys=surveys(), accept_data_loss=True).verdict == "change"


@pytest.mark.parametrize("how", [{"state": "running"}, {"paused": True}, {"role": DESTINATION, "state": "running"}])
def test_one_that_has_run_nowhere_else_loses_nothing(how: dict[str, t.Any]) -> None:
    assert living(copied=True, **how).entry(surveys=surveys()).verdict == "change"


def test_one_that_is_to_stay_off_is_not_started() -> None:
    assert deed(living().entry(surveys=surveys(), target_state="stopped"))["options"]["start"] is False


def test_another_host_of_that_name_has_nothing_of_it() -> None:
    known = {"kvm1": HostRow("kvm1", "id-kvm1", 1, "enabled", None, 1.0, {})}
    assert living(host_id="id-other").plan(surveys=surveys(), known=known).servers == ()


def test_who_is_at_work_on_it_is_left_to_it() -> None:
    entry = living().with_row(run_id=RUN.id).entry(surveys=surveys())
    assert (entry.verdict, entry.steps) == ("busy", ())


def test_one_that_is_off_and_may_run_on_another_host_that_nobody_sees_is_held() -> None:
    new = {"kvm3": HostRow("kvm3", None, 1, "enabled", None, None, {})}
    asked: dict[str, t.Any] = {"surveys": {**surveys(), "kvm3": None}, "known": new, "by_word": True}
    entry = living(state="shutoff").entry(**asked)
    assert (entry.verdict, entry.steps) == ("held", ())
    assert "it may run on kvm3 (never seen by this ledger)" in entry.message
    assert living(state="paused").entry(**asked).verdict == "change"


def test_only_the_one_that_is_asked_for() -> None:
    assert [entry.name for entry in living().plan(server="web1", surveys=surveys()).servers] == ["web1"]


@pytest.mark.parametrize("noted", [False, True])
def test_one_that_has_left_for_the_dead_host_cold_is_refused_in_novas_words_and_not_forgotten(noted: bool) -> None:
    """Its run ended before it could note where the server is: the ledger has it where it was."""
    lost = dead().with_row(host="kvm2")
    record = lost.records["web1"]
    mark = {"source": True, "migration": "m9", "at": 1.0, "to": Place("kvm1", "id-kvm1").to_json(), "xml": "<domain/>"}
    left = dataclasses.replace(record, host_id="id-kvm2", generation=6, marks={"resize": mark})
    guest = dataclasses.replace(as_defined(left), state="shutoff")
    moving = {record.id: "kvm1"} if noted else {}
    asked: dict[str, t.Any] = {"surveys": surveys(), "server": "web1"}
    plan = dataclasses.replace(lost, guests={"kvm2": [guest]}, moving=moving).plan(**asked)
    (entry,) = plan.servers
    assert (entry.verdict, entry.steps, entry.held) == ("error", (), ())
    assert f"Cannot 'evacuate' instance {record.id} while it is in vm_state migrating" in entry.message
    assert "it has left kvm2 for kvm1, and it is down" in entry.message
    assert "reconcile ends its move when kvm1 is back" in entry.message
    assert to_be_proven(plan, ("kvm1",)) == []
    # As soon as the host that it went to is no dead one there is nothing to say of it.
    elsewhere = dataclasses.replace(guest, record=dataclasses.replace(left, marks={"resize": {**mark, "to": THIRD}}))
    with pytest.raises(InvalidInput, match="there is no server 'web1' on kvm1"):
        dataclasses.replace(lost, guests={"kvm2": [elsewhere]}).plan(**asked)
