# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an evacuation can't be asked for, and when it is the controller that doesn't see the fleet."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_evacuate import (
    Dead,
    dead,
    showing,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
)


def of_four() -> Dead:
    """A fleet of four hosts, of which kvm1 is dead."""
    four = dict.fromkeys(("kvm1", "kvm2", "kvm3", "kvm4"), COMPUTE)
    return dataclasses.replace(dead(), declared=declare(FLEET, four, {"web1": WEB}, {}))


def test_who_hears_of_nobody_fences_nobody() -> None:
    """The fault may be the controller's own: its network, or so much load that no survey ends in time."""
    lost = of_four()
    silent: dict[str, t.Any] = {"kvm2": None, "kvm3": None}
    told = r"2 of the 3 other hosts that are in service don't answer \(kvm2, kvm3\).* -e fleet_host=kvm1,kvm2,kvm3$"
    with pytest.raises(Refused, match=told):
        lost.plan(surveys={**showing(lost, "kvm4"), **silent})
    assert lost.plan(surveys={**showing(lost, "kvm4"), **silent}, by_word=True).servers
    assert lost.plan(surveys={**showing(lost, "kvm4"), "kvm2": None}).servers
    seen = {name: HostRow(name, f"id-{name}", 1, "enabled", None, 1.0, {}) for name in ("kvm2", "kvm3")}
    three = ("kvm1", "kvm2", "kvm3")
    assert lost.plan(hosts=three, surveys={**showing(lost, "kvm4"), **silent}, known=seen).servers
    # Only kvm1 had servers, and was fenced: those that were named with it are no silent ones now.
    assert lost.plan(named=three, surveys={**showing(lost, "kvm4"), **silent}, known=seen).servers


def test_half_of_a_fleet_is_not_most_of_it() -> None:
    """Both halves of a fleet that was cut in two would take the other one for dead."""
    lost = dead()
    with pytest.raises(Refused, match=r"1 of the 2 other hosts that are in service don't answer \(kvm2\)"):
        lost.plan(surveys={**showing(lost, "kvm3"), "kvm2": None})
    away = {"kvm2": HostRow("kvm2", "id-kvm2", 1, "maintenance", None, 1.0, {})}
    assert lost.plan(surveys={**showing(lost, "kvm3"), "kvm2": None}, known=away).servers


def test_hosts_that_are_out_of_service_are_no_witnesses_either() -> None:
    lost = of_four()
    away = {"kvm2": HostRow("kvm2", "id-kvm2", 1, "maintenance", None, 1.0, {})}
    with pytest.raises(Refused, match=r"1 of the 2 other hosts that are in service don't answer \(kvm3\)"):
        lost.plan(surveys={**showing(lost, "kvm4"), "kvm2": None, "kvm3": None}, known=away)


def test_a_watcher_s_dead_host_is_one_more_that_does_not_answer() -> None:
    lost = of_four()
    surveys = {**showing(lost, "kvm3", "kvm4"), "kvm2": None}
    assert lost.plan(surveys=surveys).servers
    with pytest.raises(Refused, match=r"2 of the 4 hosts that are in service don't answer \(kvm1, kvm2\)"):
        lost.plan(surveys=surveys, unattended=True)
    assert lost.plan(surveys=showing(lost, "kvm2", "kvm3", "kvm4"), unattended=True).servers


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"hosts": ("kvm2",)}, "Compute service of kvm2 is still in use."),
        ({"to": "kvm1"}, "The target host can't be the same one."),
        ({"to": "kvm9"}, "Compute host kvm9 not found."),
        ({"hosts": ("kvm9",)}, "Compute host kvm9 not found."),
        ({"server": "web9"}, "there is no server 'web9' on kvm1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(asked: dict[str, t.Any], said: str) -> None:
    lost = dead()
    with pytest.raises((InvalidInput, Refused), match=said):
        lost.plan(surveys=showing(lost, "kvm3"), **asked)
