# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook doctor: what was broken by hand is found, nothing is touched, and the commands that it names mend it."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import typing as t

from tests.support.fleet import Fleet

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Controller, Ledger

LOST = "00000000-0000-4000-8000-00000000dead-root"


def findings(fleet: Fleet) -> dict[str, dict[str, t.Any]]:
    found = fleet.run("doctor").ok().results("Examine the fleet")["localhost"]["findings"]
    return {one["kind"]: one for one in found}


def dead_run(fleet: Fleet) -> str:
    """A run whose process has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return written(fleet).start_run("reconcile", dataclasses.replace(Controller.here(), pid=ended.pid, pid_started="1"))


def written(fleet: Fleet) -> Ledger:
    """The fleet's ledger, to write into."""
    ledger = Ledger.open(fleet.ledger_url, create=False, readonly=False)
    assert ledger is not None
    return ledger


def test_what_is_wrong_is_found_and_mended(fleet: Fleet) -> None:
    fleet.declare("stuck", "undefined", state="stopped")
    fleet.reconcile()
    assert findings(fleet) == {}

    world = fleet.look()
    run_id = dead_run(fleet)
    written(fleet).begin_task(run_id, world.server("stuck").id, "rebooting", action="reboot")
    fleet.lab.virsh(world.server("undefined").host, "undefine", "undefined")
    fleet.lab.virsh("kvm2", "vol-create-as", "local", LOST, "1M")
    broken, ledger = fleet.look(), fleet.ledger_file.read_bytes()

    found = findings(fleet)
    assert {kind: one["what"] for kind, one in found.items()} == {
        "stuck_task": "stuck",
        "dangling_record": "undefined",
        "orphan_volume": LOST,
    }
    assert fleet.look() == broken
    assert fleet.ledger_file.read_bytes() == ledger

    run = fleet.run("doctor", fleet_server="stuck", fleet_action="reset_state").ok()
    assert run.results("Examine the fleet")["localhost"]["done"] == ["task state rebooting cleared"]
    program, *arguments = shlex.split(found["orphan_volume"]["command"].partition(": ")[2])
    assert program == "ansible"
    fleet.command(program, "-i", str(fleet.inventory), *arguments)
    fleet.reconcile()
    assert findings(fleet) == {}
    fleet.whole()
    guests_are_those_of_the_hosts(fleet)


def guests_are_those_of_the_hosts(fleet: Fleet) -> None:
    """The inventory plugin finds the same servers in the ledger and, with no ledger, on the hosts."""
    file = fleet.folder / "guests.flotilla.yml"
    given: dict[str, t.Any] = {"plugin": "flotilla.compute.servers", "ledger": fleet.ledger_url}
    found = []
    for more in ({}, {"source": "hosts", "compute_sources": [str(fleet.inventory)]}):
        file.write_text(json.dumps({**given, **more}))
        found.append(json.loads(fleet.command("ansible-inventory", "-i", str(file), "--list")))
    assert found[0] == found[1]
    assert sorted(found[0]["guests"]["hosts"]) == ["stuck", "undefined"]
