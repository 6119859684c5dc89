# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loss of each host in turn: Flotilla's rehearsal, and beside it what Ganeti's hcheck takes for the same fleet.

hcheck (Debian's ganeti-htools) asks the same of a cluster: whether each node could be lost, and its servers be started
elsewhere ("global N+1"). It takes minutes, so it is run once and given up after a limit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

from tests.bench.measure import BenchError, Sample, measured
from tests.bench.no_op import Samples, Say
from tests.bench.placing import HERE, only_placing, run_on

HOSTS, SERVERS = 200, 4000
#: Seconds after which hcheck is given up.
LIMIT = 300
_GROUP = "fake-uuid-01"
_SPEC = "128,1,1024,1,1,1|128,1,1024,1,1,1;32768,8,1048576,16,8,12|diskless,sharedfile|4.0|32.0"

Json = dict[str, t.Any]
_FLAVORS = [("m1.small", 1, 2048, 20), ("m1.medium", 2, 4096, 40), ("m1.large", 4, 8192, 80)]


def fleet(hosts: int, servers: int) -> Json:
    """Hosts of one size with as many servers each; their disks are in one pool that all share."""
    each = servers // hosts
    return {
        "hosts": [
            {
                "name": f"kvm{host:03}",
                "vcpus": 64,
                "memory": 131072,
                "servers": [_server(host * each + number) for number in range(each)],
            }
            for host in range(hosts)
        ]
    }


def _server(number: int) -> Json:
    name, vcpus, ram, disk = _FLAVORS[number % len(_FLAVORS)]
    group = f"group{number // 4}" if number % 4 == 0 else None
    return {"name": f"web{number:05}", "flavor": name, "vcpus": vcpus, "ram": ram, "disk": disk, "group": group}


def as_ganeti(given: Json) -> str:
    """The fleet as htools read it from a file: groups, nodes, instances, tags and policies."""
    nodes: list[str] = []
    instances: list[str] = []
    for host in given["hosts"]:
        free = host["memory"] - sum(server["ram"] for server in host["servers"])
        role = "N" if nodes else "M"
        nodes.append(
            f"{host['name']}|{host['memory']}|0|{free}|2000000000|2000000000|{host['vcpus']}|{role}|{_GROUP}|1||N|0|1|1.0"
        )
        on = f"running|Y|{host['name']}||sharedfile||1|1|N"
        instances += [f"{one['name']}|{one['ram']}|{one['disk'] * 1024}|{one['vcpus']}|{on}" for one in host["servers"]]
    sections = (f"group-01|{_GROUP}|preferred||", "\n".join(nodes), "\n".join(instances))
    return "\n\n".join([*sections, f"\n|{_SPEC}\ngroup-01|{_SPEC}\n"])


def measure_rehearsing(folder: Path, *, repeat: int, say: Say) -> Samples:
    folder.mkdir(parents=True)
    given = fleet(HOSTS, SERVERS)
    samples: Samples = {}

    def add(name: str, sample: Sample) -> None:
        samples.setdefault(name, []).append(sample)
        say(f"{name}: {sample.seconds:.3f} s, load {sample.load:.1f}")

    for _ in range(repeat):
        sample, answer = run_on(HERE / "our_rehearsal.py", given, folder)
        if (answer["cases"], answer["placed"]) != (HOSTS, SERVERS):
            raise BenchError(f"{answer['placed']} of {SERVERS} servers found a place in {answer['cases']} rehearsals")
        add(_ours(), only_placing(sample, answer))
    if not hcheck_is_there():
        say("hcheck is not there and can't be installed (Debian's ganeti-htools): nothing to compare with")
        return samples
    (folder / "ganeti.txt").write_text(as_ganeti(given))
    # timeout's own code for "given up" is no failure here; hcheck ends with 1 for a cluster that is not healthy.
    command = f'timeout {LIMIT} hcheck -t "{folder}/ganeti.txt" --no-simulation; [ $? != 2 ]'
    add(
        f"hcheck, the same, given up after {LIMIT} s",
        measured(["sh", "-c", command], os.environ, folder / "hcheck.log"),
    )
    return samples


def _ours() -> str:
    return f"rehearse {HOSTS} hosts of {SERVERS} servers"


def hcheck_is_there() -> bool:
    """Installed, or installed now."""
    if shutil.which("hcheck") is None:
        command = ["apt-get", "-qq", "-y", "install", "--no-install-recommends", "ganeti-htools"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300)
    return shutil.which("hcheck") is not None
