# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scheduler: the same servers placed on the same hosts by Flotilla and by Nova's own filters and weighers.

Each run is a process of its own. A sample's ``seconds`` are those of placing alone; for the largest fleet, those of
the whole process. Of Nova only its filters and weighers are timed, not what it does before and after them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from tests.bench.measure import BenchError, Sample, measured
from tests.bench.no_op import Samples, Say

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: A Python with nova and matplotlib, which `tools/bootstrap --bench` makes.
PEER = ROOT / ".cache" / "bench" / "peer" / "bin" / "python"
PLOT = ROOT / "collection" / "docs" / "scheduler-cost.png"
_FLAVORS = [("m1.small", 1, 2048, 20), ("m1.medium", 2, 4096, 40), ("m1.large", 4, 8192, 80)]
#: Of the plot: hosts, and servers that are placed after as many others.
STEPS = (250, 500, 1000, 2000, 4000, 6000, 8000, 10000)
_SERVERS_OF_STEP = 300

Json = dict[str, t.Any]


def fleet(hosts: int, servers: int, batch: str = "off") -> Json:
    """Hosts of three sizes, each in use to another part; servers of three flavors, one in four in a group."""
    return {
        "hosts": [_host(number) for number in range(hosts)],
        "servers": [_server(number) for number in range(servers)],
        "batch": batch,
    }


def _host(number: int) -> Json:
    size = 1 << number % 3
    return {
        "name": f"kvm{number:05}",
        "vcpus": 16 * size,
        "vcpus_ratio": 4.0,
        "vcpus_used": number * 7 % 41,
        "memory": 65536 * size,
        "memory_reserved": 512,
        "memory_used": number * 7919 % 61440,
        "disk": 1000 * size,
        "disk_used": number * 31 % 900,
        "io_ops": number % 3,
        "version": 7002000 + number % 2 * 1000000,
    }


def _server(number: int) -> Json:
    flavor, vcpus, ram, disk = _FLAVORS[number % len(_FLAVORS)]
    group = None
    if number % 4 == 0:
        policy = ("anti-affinity", "soft-anti-affinity")[number // 4 % 2]
        group = {"name": f"group{number // 80}-{policy}", "policy": policy}
    return {"name": f"web{number:05}", "flavor": flavor, "vcpus": vcpus, "ram": ram, "disk": disk, "group": group}


def placed_by_us(given: Json, folder: Path) -> tuple[Sample, Json]:
    return _run(Path(sys.executable), HERE / "our_places.py", given, folder)


def placed_by_nova(given: Json, folder: Path) -> tuple[Sample, Json]:
    return _run(PEER, HERE / "nova_places.py", given, folder)


def _run(python: Path, program: Path, given: Json, folder: Path) -> tuple[Sample, Json]:
    """The whole process, measured, and what it answered."""
    file, answer = folder / "fleet.json", folder / "answer.json"
    file.write_text(json.dumps(given))
    command = ["sh", "-c", f'"{python}" "{program}" <"{file}" >"{answer}"']
    sample = measured(command, os.environ, folder / f"{program.stem}.log")
    return sample, json.loads(answer.read_text())


def run_on(program: Path, given: Json, folder: Path) -> tuple[Sample, Json]:
    """A program of ours on a fleet."""
    return _run(Path(sys.executable), program, given, folder)


def only_placing(sample: Sample, answer: t.Mapping[str, float]) -> Sample:
    return dataclasses.replace(sample, seconds=answer["seconds"], cpu=answer["cpu"])


def same_hosts(ours: Json, theirs: Json) -> None:
    if None in theirs["chosen"]:
        raise BenchError(f"Nova finds no host for server {theirs['chosen'].index(None)}: there is nothing to compare")
    pairs = list(zip(ours["chosen"], theirs["chosen"], strict=True))
    different = [number for number, (our, their) in enumerate(pairs) if our != their]
    if different:
        our, their = pairs[different[0]]
        raise BenchError(
            f"{len(different)} of {len(pairs)} servers have other hosts than Nova chooses, the first of them "
            f"number {different[0]}: {our}, Nova {their}"
        )


def measure_placing(folder: Path, *, many: int, huge: int, repeat: int, say: Say) -> Samples:
    """*many* servers on as many hosts, by turns with Nova; *huge* ones on as many hosts; and the steps of the plot."""
    folder.mkdir(parents=True)
    samples: Samples = {}

    def add(name: str, sample: Sample) -> None:
        samples.setdefault(name, []).append(sample)
        say(f"{name}: {sample.seconds:.3f} s, load {sample.load:.1f}")

    given = fleet(many, many)
    sample, theirs = placed_by_nova(given, folder)  # once: it takes minutes
    add(f"Nova places {many} on {many}", only_placing(sample, theirs))
    for _ in range(repeat):
        sample, ours = placed_by_us(given, folder)
        same_hosts(ours, theirs)
        add(f"place {many} on {many}", only_placing(sample, ours))
        sample, ours = placed_by_us({**given, "batch": "auto"}, folder)
        add(f"place {many} on {many}, auto", only_placing(sample, ours))
    for batch in ("off", "auto"):
        for _ in range(repeat):
            sample, ours = placed_by_us(fleet(huge, huge, batch), folder)
            if None in ours["chosen"]:
                raise BenchError(f"not all of {huge} servers were placed on {huge} hosts")
            add(f"place {huge} on {huge}, {batch}, the whole process", sample)
    for hosts in STEPS:
        for _ in range(repeat):
            sample, ours = placed_by_us(fleet(hosts, 2 * _SERVERS_OF_STEP), folder)
            add(_step(hosts), only_placing(sample, ours["second_half"]))
    return samples


def _step(hosts: int) -> str:
    return f"place {_SERVERS_OF_STEP} more on {hosts}"


def per_server(samples: t.Mapping[str, t.Sequence[Sample]]) -> dict[int, float]:
    """Milliseconds of processor time for one more server, by the number of hosts: the run that was disturbed least."""
    return {
        hosts: min(sample.cpu for sample in samples[_step(hosts)]) / _SERVERS_OF_STEP * 1000
        for hosts in STEPS
        if _step(hosts) in samples
    }


_DRAW = """
import json, sys
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot
steps = {int(hosts): cost for hosts, cost in json.load(sys.stdin).items()}
hosts, cost = zip(*sorted(steps.items()))
figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
axes.plot(hosts, [cost[0] + (n - hosts[0]) * (cost[-1] - cost[0]) / (hosts[-1] - hosts[0]) for n in hosts],
          color="0.75", linestyle="--", label="a straight line")
axes.plot(hosts, cost, marker="o", color="#1f5fa8", label="measured")
axes.set(xlabel="hosts", ylabel="processor time for one more server, ms", xlim=(0, None), ylim=(0, None),
         title="Placing one more server, default filters and weighers")
axes.grid(alpha=0.3)
axes.legend()
figure.savefig(sys.argv[1], dpi=110, metadata={"Software": None})
"""


def draw(samples: Samples, file: Path) -> None:
    told = json.dumps(per_server(samples))
    done = subprocess.run([PEER, "-c", _DRAW, file], input=told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the plot could not be drawn: {done.stderr}")
