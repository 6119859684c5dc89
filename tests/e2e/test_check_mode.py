# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run in check mode shows the plan of the run that follows, and touches nothing."""

from __future__ import annotations

import typing as t

from tests.support.fleet import Fleet


def everything(fleet: Fleet) -> dict[str, t.Any]:
    """Hosts and ledger, to the last byte."""
    ledger = {file.name: file.read_bytes() for file in fleet.folder.glob("fleet.db*")}
    return {
        "hosts": fleet.look().hosts,
        "files": {host: fleet.lab.files(host) for host in fleet.lab.hosts},
        "ledger": ledger,
    }


def test_a_checked_run_touches_nothing_and_tells_the_run_that_follows(fleet: Fleet) -> None:
    fleet.declare("a1", "a2", "b1", state="stopped")
    nothing = everything(fleet)
    checked = fleet.reconcile("--check", "--diff")
    assert everything(fleet) == nothing
    assert nothing["ledger"] == {}
    assert checked.text in checked.stdout
    assert fleet.reconcile().text == checked.text

    fleet.declare("a1", metadata={"role": "moved"})
    fleet.declare("a2", flavor="small")
    fleet.declare("a3", state="stopped")
    fleet.declare("b1", state="absent")
    before = everything(fleet)
    checked = fleet.reconcile("--check", "--diff")
    shown = fleet.run("plan").ok()
    after = everything(fleet)
    assert {part: after[part] == before[part] for part in after} == dict.fromkeys(after, True)
    assert checked.all_steps == {"a1": ["update"], "a2": ["reconfigure"], "a3": ["create"], "b1": ["soft_delete"]}
    assert 'metadata [live]: (none) -> {"role": "moved"}' in checked.text
    assert "flavor.ram [next boot]: 128 -> 192" in checked.text
    assert shown.text == checked.text
    assert fleet.reconcile("--diff").text == checked.text
    assert fleet.reconcile("--check", "--diff").all_steps == {}
    fleet.whole()
