# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing of the lab's hosts: through the lab's own agent, and through the real fence_ipmilan with a BMC behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import LAB

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import answering, fence, look

BMC = Path(__file__).parents[1] / "support" / "bmc.py"
PASSWORD = "bmc-p4ss-s3cret"


def lab_agent(fleet: Fleet) -> str:
    """`lab power` of this test's lab, as a fence agent."""
    program = fleet.folder / "fence_lab"
    program.write_text(f"#!/bin/sh\nFLOTILLA_LAB={fleet.lab.name} exec {LAB} power\n")
    program.chmod(0o755)
    return str(program)


def test_the_playbook_reads_the_power_and_an_agent_takes_a_host_away(fleet: Fleet) -> None:
    agent = lab_agent(fleet)
    for host in fleet.lab.hosts:
        fleet.computes[host]["compute_fence"] = {"agent": agent, "plug": host}
    run = fleet.run("fencing").ok()
    readings = run.results("Read the hosts' power")["localhost"]["fences"]
    assert [(one["host"], one["power"]) for one in readings] == [(host, "on") for host in fleet.lab.hosts]

    fleet.computes["kvm3"]["compute_fence"] = {"agent": agent, "plugg": "kvm3"}
    assert "kvm3: " in fleet.run("fencing").failed().message

    address = fleet.lab.facts["hosts"]["kvm2"]["address"]
    assert answering(address, 22) is not None
    proof = fence("kvm2", {"agent": agent, "plug": "kvm2"}, now=lambda: 1.0, answers=lambda: answering(address, 22))
    assert (proof.kind, proof.level) == ("fence", 1)
    assert fleet.lab("power", "status", "kvm2").returncode == 2
    assert answering(address, 22) is None


@contextlib.contextmanager
def bmc(fleet: Fleet, host: str) -> t.Iterator[dict[str, t.Any]]:
    """A BMC of the host, as options of fence_ipmilan."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, str(BMC), str(port), "fence", str(LAB), "power", "{}", host]
    environment = {**os.environ, "FLOTILLA_LAB": fleet.lab.name}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{PASSWORD}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "listening\n"
        yield {
            "agent": "fence_ipmilan",
            "ip": "127.0.0.1",
            "ipport": port,
            "username": "fence",
            "password": PASSWORD,
            "lanplus": True,
        }
        process.stdin.close()


@pytest.mark.soak
def test_the_real_fence_ipmilan_takes_a_host_away(fleet: Fleet) -> None:
    with bmc(fleet, "kvm2") as agent:
        assert [one.power for one in look("kvm2", agent, timeout=30)] == ["on"]
        with pytest.raises(Refused) as wrong:
            fence("kvm2", {**agent, "password": "guessed"}, now=lambda: 1.0, timeout=30)
        assert "a wrong user name or password looks like this" in str(wrong.value)
        with pytest.raises(Refused, match="fence_ipmilan has no option 'passwrd'; did you mean 'password'"):
            fence("kvm2", {"agent": "fence_ipmilan", "passwrd": PASSWORD}, now=lambda: 1.0)
        assert fleet.lab("power", "status", "kvm2").returncode == 0

        proof = fence("kvm2", agent, now=lambda: 1.0, timeout=30)
        assert proof.sentence() == "kvm2 is off by fence_ipmilan (level 1): its power is off, read back"
        assert fleet.lab("power", "status", "kvm2").returncode == 2
        assert fence("kvm2", agent, now=lambda: 2.0, timeout=30).at == 2.0, "off already is as good"
