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


def agent(fleet: Fleet, name: str, *, off: str, status: str) -> dict[str, str]:
    """A fence agent that does this for `off`, and for `status`; it switches nothing."""
    program = fleet.folder / name
    known = "<resource-agent><parameters><parameter name='plug'/></parameters></resource-agent>"
    program.write_text(
        "#!/bin/sh\n"
        "case $(sed -n s/^action=//p) in\n"
        f'metadata) echo "{known}" ;;\n'
        f"off) {off} ;;\n"
        f"status) {status} ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    return {"agent": str(program), "plug": "kvm1"}


def untouched(fleet: Fleet) -> t.Callable[[str], None]:
    """To be called with the words of a failure: the host has its power, its guest runs on, and nobody has
    begun to build another."""

    def there() -> list[tuple[str, str, str, int | None]]:
        return [(domain.host, domain.id, domain.state, domain.generation) for domain in fleet.look().domains]

    before, ids = there(), {row.id: row.host for row in fleet.snapshot.servers.values()}

    def check(said: str) -> None:
        assert fleet.lab("power", "status", "kvm1").returncode == 0, said
        assert there() == before, said
        assert not list(fleet.ledger.migrations()), said
        assert {row.id: row.host for row in fleet.snapshot.servers.values()} == ids, said
        assert fleet.snapshot.hosts["kvm1"].service_state != "down", said
        assert not fleet.snapshot.claims, said

    return check


def on_kvm1(fleet: Fleet) -> None:
    """A server that runs on kvm1, on a disk that all hosts have; there is room for it elsewhere."""
    fleet.all["fleet_timeout"] = 12
    fleet.declare("web", pool="shared", host="kvm1")
    fleet.reconcile()
    del fleet.servers["web"]["server_host"]
    fleet.reconcile()
    fleet.console("web", "boots=1 ")


@pytest.mark.soak
def test_an_evacuation_believes_no_agent_that_fails_or_lies(fleet: Fleet) -> None:
    on_kvm1(fleet)
    check_untouched = untouched(fleet)
    off, on, broken = "echo 'Status: OFF'; exit 2", "echo 'Status: ON'", "echo 'Unable to connect' >&2; exit 1"

    def refused(fence: object) -> str:
        fleet.computes["kvm1"].update(compute_fence=fence, compute_fence_timeout=2)
        said = fleet.run("evacuate", fleet_host="kvm1").failed().message
        assert "kvm1 is not proven to be off: " in said
        return said

    # Its libvirt is gone; the host itself is there, and answers.
    fleet.lab.ok("crash", "kvm1")
    liar = agent(fleet, "fence_liar", off="echo 'Success: Powered OFF'", status=off)
    assert "fence_liar reads off, but it still answers: port 22 of " in refused(liar)
    fleet.lab.ok("restart", "kvm1")
    check_untouched("a liar, and a host that answers")

    fleet.lab.ok("cut", "kvm1")
    idle = agent(fleet, "fence_idle", off="echo 'Success: Powered OFF'", status=on)
    assert "says that it has switched kvm1 off, but 2 s later it reads the power as on" in refused(idle)
    dead = agent(fleet, "fence_dead", off=broken, status=broken)
    assert "fence_dead could not switch the power off: Unable to connect" in refused(dead)
    assert "the controller has no fence agent 'fence_lap'" in refused({"agent": "fence_lap", "plug": "kvm1"})
    every = refused([idle, [dead, idle]])
    assert "fence_idle says that it has switched kvm1 off" in every
    assert "fence_dead could not switch the power off" in every
    check_untouched("agents that fail")

    # An agent that does what it says is believed.
    right = [dead, {"agent": lab_agent(fleet), "plug": "kvm1"}]
    fleet.computes["kvm1"].update(compute_fence=right, compute_fence_timeout=60)
    assert fleet.run("evacuate", fleet_host="kvm1").ok().all_steps == {"web": ["evacuate"]}
    assert fleet.lab("power", "status", "kvm1").returncode == 2
    fleet.console("web", "boots=2 ")


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


@pytest.mark.soak
def test_a_wrong_password_of_fence_ipmilan_evacuates_nothing(fleet: Fleet) -> None:
    on_kvm1(fleet)
    check_untouched = untouched(fleet)
    fleet.lab.ok("cut", "kvm1")
    with bmc(fleet, "kvm1") as right:
        fleet.computes["kvm1"].update(compute_fence={**right, "password": "guessed"}, compute_fence_timeout=30)
        run = fleet.run("evacuate", fleet_host="kvm1").failed()
        check_untouched(run.message)
        assert "kvm1 is not proven to be off: fence_ipmilan could not " in run.message
        assert "a wrong user name or password looks like this" in run.message
        assert "guessed" not in run.stdout
        fleet.computes["kvm1"]["compute_fence"] = right
        assert fleet.run("evacuate", fleet_host="kvm1").ok().all_steps == {"web": ["evacuate"]}
    assert fleet.lab("power", "status", "kvm1").returncode == 2
    (row,) = fleet.ledger.migrations()
    assert (row.status, row.data["proof"]["by"]) == ("done", "fence_ipmilan")
    fleet.console("web", "boots=2 ")
