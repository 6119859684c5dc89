# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was measured, as a table for people and as JSON; with the machine that it was measured on."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import re
import statistics
import subprocess
import typing as t
from pathlib import Path

from tests.bench import draining, placing
from tests.bench.measure import Sample

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".cache" / "bench"
_VERSIONS = {
    "ansible-core": (["ansible-playbook", "--version"], r"core ([\d.]+)"),
    "libvirt": (["virsh", "--version"], r"([\d.]+)"),
    "qemu": (["qemu-system-x86_64", "--version"], r"version ([\d.]+)"),
    "openssh": (["ssh", "-V"], r"OpenSSH_([^ ,]+)"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One of the goals, and what came out."""

    goal: str
    found: float
    target: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.found >= self.target if self.at_least else self.found <= self.target

    def to_json(self) -> dict[str, t.Any]:
        return {
            "goal": self.goal,
            "found": round(self.found, 3),
            "target": round(self.target, 3),
            "unit": self.unit,
            "met": self.met,
        }

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "met" if self.met else "MISSED"
        return f"{verdict:<7} {self.goal}: {self.found:.2f} {self.unit} ({bound} {self.target:.2f} {self.unit})"


Samples = t.Mapping[str, t.Sequence[Sample]]


def median(samples: t.Sequence[Sample]) -> float:
    return statistics.median(sample.seconds for sample in samples)


def no_op_findings(samples: Samples, *, servers: int, many: int) -> list[Finding]:
    few = median(samples[f"no-op, {servers} servers"])
    loop = median(samples[f"community.libvirt.virt, {servers} servers"])
    found = [
        Finding(
            f"no-op of {servers} servers, quicker than community.libvirt.virt", loop / few, 15, "times", at_least=True
        )
    ]
    if many:
        runs = samples[f"no-op, {many} servers"]
        slope = (median(runs) - few) / (many - servers) * 1000
        found += [
            Finding("each further server", slope, 5, "ms"),
            Finding(f"no-op of {many} servers", median(runs), 7, "s"),
            Finding(f"largest process, {many} servers", max(sample.peak for sample in runs), 300, "MiB"),
        ]
    return found


def creation_findings(samples: Samples, *, count: int, states: t.Iterable[str]) -> list[Finding]:
    return [
        Finding(
            f"creating {count} servers, {state}: 8 s and 1.5 times the script",
            median(samples[f"create {count} {state}"]),
            8 + 1.5 * median(samples[f"script, {count} {state}"]),
            "s",
        )
        for state in states
    ]


def moving_findings(samples: Samples) -> list[Finding]:
    longer = median(samples["migrate"]) - median(samples["virsh migrate"])
    downtime = median(samples["downtime, migrate"]) / max(0.001, median(samples["downtime, virsh migrate"]))
    return [
        Finding("the task migrate, longer than virsh migrate", longer, 1.5, "s"),
        Finding("downtime, against virsh's with the same maximum", downtime, 1.25, "times"),
    ]


def draining_findings(samples: Samples) -> list[Finding]:
    def quicker(bandwidth: int) -> float:
        alone, together = (
            median(samples[draining.name_of(at_once, bandwidth)]) for at_once in (draining.ALONE, draining.TOGETHER)
        )
        return alone / together

    goal = f"draining {draining.COUNT} running servers {draining.TOGETHER} at a time, quicker than one by one"
    return [
        Finding(f"{goal}, {draining.BANDWIDTH} MiB/s each", quicker(draining.BANDWIDTH), 2, "times", at_least=True),
        Finding(f"{goal}, bound by this machine's processors", quicker(0), 2, "times", at_least=True),
    ]


def evacuation_findings(samples: Samples, *, count: int) -> list[Finding]:
    ours, by_hand = median(samples[f"evacuate {count}"]), median(samples[f"virsh, {count}"])
    goal = f"evacuating {count} running servers, against virsh by hand"
    return [Finding(goal, ours / by_hand, 2, "times")]


def placing_findings(samples: Samples, *, many: int, huge: int) -> list[Finding]:
    ours = median(samples[f"place {many} on {many}"])
    nova = median(samples[f"Nova places {many} on {many}"])
    found = [
        Finding(f"placing {many} servers on {many} hosts, quicker than Nova", nova / ours, 50, "times", at_least=True)
    ]
    for batch in ("off", "auto"):
        runs = samples[f"place {huge} on {huge}, {batch}, the whole process"]
        found += [
            Finding(f"placing {huge} servers on {huge} hosts, batch {batch}", median(runs), 20, "s"),
            Finding(f"and its memory, batch {batch}", max(sample.peak for sample in runs), 1536, "MiB"),
        ]
    costs = placing.per_server(samples)
    few, most = min(costs), max(costs)
    found.append(
        Finding(f"one more server on {most} hosts, against {few} hosts", costs[most] / costs[few], most / few, "times")
    )
    return found


def rehearsing_findings(samples: Samples) -> list[Finding]:
    name, runs = next((name, runs) for name, runs in samples.items() if name.startswith("rehearse "))
    return [Finding(f"{name}, each lost in turn", median(runs), 2, "s")]


def machine() -> dict[str, t.Any]:
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "cpu": _first(r"model name\s*: (.*)", cpuinfo),
        "guests": "emulated",  # the lab hides /dev/kvm
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_first(r"MemTotal:\s*(\d+)", meminfo)) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: _first(pattern, _said(command)) for name, (command, pattern) in _VERSIONS.items()},
        "community.libvirt": _libvirt_collection(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _libvirt_collection() -> str:
    manifest = BENCH / "ansible_collections" / "community" / "libvirt" / "MANIFEST.json"
    return _first(r'"version": "([^"]+)"', manifest.read_text(encoding="utf-8")) if manifest.exists() else "missing"


def _said(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "unknown"


def as_json(about: t.Mapping[str, t.Any], samples: Samples, findings: t.Sequence[Finding]) -> dict[str, t.Any]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": dict(about),
        "findings": [finding.to_json() for finding in findings],
        "samples": {name: [sample.to_json() for sample in taken] for name, taken in samples.items()},
    }


def as_text(about: t.Mapping[str, t.Any], samples: Samples, findings: t.Sequence[Finding]) -> str:
    width = max(map(len, samples))
    head = f"{'':{width}}  {'runs':>4} {'median':>8} {'least':>8} {'most':>8} {'cpu':>7} {'peak MiB':>9} {'load':>5}"
    return "\n".join(
        [
            ", ".join(f"{name} {value}" for name, value in about.items()),
            "",
            head,
            *(_line(name, taken, width) for name, taken in samples.items()),
            "",
            *map(str, findings),
        ]
    )


def _line(name: str, taken: t.Sequence[Sample], width: int) -> str:
    seconds = [sample.seconds for sample in taken]
    cpu = statistics.median(sample.cpu for sample in taken)
    load = statistics.mean(sample.load for sample in taken)
    times = f"{statistics.median(seconds):8.2f} {min(seconds):8.2f} {max(seconds):8.2f}"
    return f"{name:{width}}  {len(taken):4} {times} {cpu:7.2f} {max(s.peak for s in taken):9.0f} {load:5.1f}"
