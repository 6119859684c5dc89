# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host loses its power, and its servers are back without a hand: by the watcher's command, and by the real
ansible-rulebook. The host is fenced by an agent first."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import LAB
from tests.support.runs import ROOT

EDA = ROOT / ".cache" / "bench" / "eda" / "bin"
WATCHER = ROOT / ".dev" / "ansible_collections" / "flotilla" / "compute" / "extensions" / "watcher" / "watch"
INTERVAL, MISSES = 2, 3
MAINTAIN = """\
- hosts: kvm3
  gather_facts: false
  tasks:
    - name: Give it new memory
      flotilla.compute.compute:
        state: maintenance
        reason: new memory
"""


@contextlib.contextmanager
def watching(fleet: Fleet, how: str) -> t.Iterator[t.Callable[[bytes], float]]:
    """The watcher beside the test. What is given waits until it has said something, and gives the time."""
    options = {"interval": INTERVAL, "timeout": 1, "misses": MISSES}
    if how == "command":
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, str(WATCHER), "-i", str(fleet.inventory), *words]
    else:
        given = {"watch_inventory": str(fleet.inventory), **{f"watch_{name}": value for name, value in options.items()}}
        (fleet.folder / "vars.yml").write_text(json.dumps(given))
        rulebook = [str(EDA / "ansible-rulebook"), "-r", "flotilla.compute.evacuate", "-i", str(fleet.inventory)]
        command = [*rulebook, "--vars", str(fleet.folder / "vars.yml"), "--print-events"]
    environment = {
        **os.environ,
        "PATH": f"{ROOT}/.venv/bin:{EDA}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(fleet.lab.control),
        "JAVA_HOME": str(Path(shutil.which("java", path="/usr/bin") or "/usr/bin/java").resolve().parents[1]),
    }
    log = fleet.folder / "watcher.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def said(text: bytes, timeout: float = 240) -> float:
        deadline = time.monotonic() + timeout
        while text not in log.read_bytes():
            assert process.poll() is None, f"the watcher has ended: {log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"waited {timeout:g} s for {text!r}: {log.read_text()[-3000:]}"
            time.sleep(0.05)
        return time.monotonic()

    try:
        yield said
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.soak  # ansible-rulebook and Java, which `make soak` installs
@pytest.mark.parametrize("how", ["command", "rulebook"])
def test_the_servers_of_a_host_without_power_are_back_without_a_hand(fleet: Fleet, how: str) -> None:
    agent = fleet.folder / "fence_lab"
    agent.write_text(f"#!/bin/sh\nFLOTILLA_LAB={fleet.lab.name} exec {LAB} power\n")
    agent.chmod(0o755)
    fence = {host: {"compute_fence": {"agent": str(agent), "plug": host}} for host in fleet.lab.hosts}
    fleet.all["fleet_timeout"] = 20
    fleet.declare("web1", "web2", pool="shared")
    for host in fleet.lab.hosts:
        fleet.computes[host] = {**fence[host], **({} if host == "kvm1" else {"compute_state": "disabled"})}
    fleet.reconcile()
    for host in fleet.lab.hosts:
        fleet.computes[host] = fence[host]
    fleet.write()
    before = fleet.look()
    assert set(before.placement.values()) == {"kvm1"}

    playbook = fleet.folder / "maintain.yml"
    playbook.write_text(MAINTAIN)
    fleet.run(playbook).ok()

    with watching(fleet, how) as said:
        said(b"sees 3 of 3 hosts")
        # People have taken this one out of service, and only the ledger knows.
        fleet.lab.ok("power", "off", "kvm3")
        said(b"it is in maintenance (new memory): left to people")
        fleet.lab.heal()
        said(b"kvm3 answers again")
        fleet.lab.ok("power", "off", "kvm1")
        died = time.monotonic()
        noticed = said(b"kvm1 has missed 3 beats in a row")
        while {row.host for row in fleet.snapshot.servers.values()} & {"kvm1"} or len(fleet.look().states) < 2:
            assert time.monotonic() - died < 300, "the servers are not back"
            time.sleep(0.5)
        back = time.monotonic()
    print(f"{how}: noticed after {noticed - died:.1f} s, servers back after {back - died:.1f} s")
    assert noticed - died < (MISSES + 1) * INTERVAL + 5
    after = fleet.look()
    assert after.states == {"web1": "running", "web2": "running"}
    assert {server.id for server in after.servers.values()} == {server.id for server in before.servers.values()}
    rows = list(fleet.ledger.migrations())
    assert {(row.source, row.status) for row in rows} == {("kvm1", "done")}
    assert {row.data["proof"]["kind"] for row in rows} == {"fence"}
