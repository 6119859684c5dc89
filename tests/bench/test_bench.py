# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That the benchmark measures what it says, on a small scale. Nothing here depends on how quick anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from tests.bench import claiming, placing, rehearsing, report
from tests.bench.creation import Creation
from tests.bench.fleet import Fleet, unchanged
from tests.bench.measure import BenchError, Sample, measured
from tests.bench.no_op import Standing, lab_of
from tests.support.lab_hosts import Lab


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    with lab_of("benchtst", hosts=2) as made:
        yield made


def _python(code: str, log: Path) -> Sample:
    return measured([sys.executable, "-c", code], os.environ, log)


_MEASURE = """
import json, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.bench.measure import measured
child = "x = b'x' * (200 << 20); sum(range(5_000_000))"
large = "import subprocess, sys; subprocess.run([sys.executable, '-c', " + repr(child) + "])"
samples = [measured([sys.executable, "-c", code], os.environ, Path({folder!r}, "log")) for code in ("pass", large)]
print(json.dumps([[sample.peak, sample.cpu] for sample in samples]))
"""


def test_a_sample_counts_descendants_and_their_largest(tmp_path: Path) -> None:
    """In a process of its own: what a process is forked from counts in its peak, and a test run is large."""
    root = Path(__file__).parents[2]
    script = _MEASURE.format(root=str(root), folder=str(tmp_path))
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    (small_peak, small_cpu), (large_peak, large_cpu) = json.loads(told)
    assert large_peak > 200 > small_peak
    assert large_cpu > small_cpu


def test_a_command_that_fails_is_told_with_its_end(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"(?s)ended with code 3; see .*log:\n.*last words"):
        _python("import sys; print('last words'); sys.exit(3)", tmp_path / "log")


def test_a_run_that_changes_something_is_no_no_op(tmp_path: Path) -> None:
    recap = "kvm1 : ok=1 changed=0 failed=0\\nweb1 : ok=1 changed=2 failed=0"
    with pytest.raises(BenchError, match="changed 2"):
        unchanged(_python(f"print('{recap}')", tmp_path / "log"))


def test_names_are_those_that_ansible_makes_of_the_ranges(tmp_path: Path) -> None:
    fleet = Fleet(Lab("unused"), tmp_path)
    fleet.declare_many(45)
    assert len(set(fleet.names)) == 45
    assert fleet.names[0] == "app01-01"
    assert fleet.names[-1] == "app03-05"


def _taken(*seconds: float, peak: float = 80) -> list[Sample]:
    return [Sample(each, each / 2, peak, 0.5, "") for each in seconds]


def test_findings_are_medians_against_their_targets() -> None:
    samples = {
        "no-op, 200 servers": _taken(2, 9, 2),
        "no-op, 1000 servers": _taken(6, 6, 6, peak=150),
        "community.libvirt.virt, 200 servers": _taken(31, 28, 50),
        "create 20 active": _taken(15),
        "script, 20 active": _taken(4),
    }
    found = report.no_op_findings(samples, servers=200, many=1000)
    found += report.creation_findings(samples, count=20, states=["active"])
    assert [(finding.found, finding.target, finding.met) for finding in found] == [
        (15.5, 15, True),
        (5.0, 5, True),
        (6, 7, True),
        (150, 300, True),
        (15, 14, False),
    ]
    about = report.machine()
    told = report.as_text(about, samples, found)
    assert "MISSED  creating 20 servers, active" in told
    written = json.loads(json.dumps(report.as_json(about, samples, found)))
    assert written["samples"]["script, 20 active"] == [{"seconds": 4, "cpu": 2, "peak": 80, "load": 0.5}]
    assert written["machine"]["libvirt"].count(".") == 2


def test_a_drain_of_several_at_a_time_is_held_against_one_by_one() -> None:
    limited = {
        "drain 12, 1 at a time, 8 MiB/s each": _taken(60, 70, 90),
        "drain 12, 3 at a time, 8 MiB/s each": _taken(35),
    }
    samples = {**limited, "drain 12, 1 at a time": _taken(48, 50, 52), "drain 12, 3 at a time": _taken(40)}
    found = report.draining_findings(samples)
    assert [(finding.found, finding.target, finding.met) for finding in found] == [(2.0, 2, True), (1.25, 2, False)]


@pytest.mark.soak  # its peer is 250 MB, which `make soak` and `make bench` install
def test_both_sides_hold_the_same_servers(lab: Lab, tmp_path: Path) -> None:
    lab.wipe()
    standing = Standing(lab, tmp_path / "fleet", 4)
    standing.make()
    assert standing.fleet.domains().keys() == set(standing.fleet.names)
    looped = standing.loop()
    assert [name for name in standing.fleet.names if f"ok: [{name} -> " in looped.output] == standing.fleet.names
    lab.virsh(lab.hosts[0], "start", next(n for n, h in standing.fleet.domains().items() if h == lab.hosts[0]))
    with pytest.raises(BenchError, match="changed 1"):
        standing.no_op()


def test_both_sides_create_and_leave_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.wipe()
    creation = Creation(lab, tmp_path / "creation", 2)
    creation.prepare()
    before = _volumes(lab)
    creation.by_hand("active")
    creation.by_flotilla("stopped")
    assert _volumes(lab) == before
    assert sorted(creation.fleet.domains()) == ["old-01", "old-02"]


def test_placing_is_measured_by_itself(tmp_path: Path) -> None:
    sample, answer = placing.placed_by_us(placing.fleet(6, 9), tmp_path)
    assert set(answer["chosen"]) <= {host["name"] for host in placing.fleet(6, 9)["hosts"]}
    assert len(answer["chosen"]) == 9
    alone = placing.only_placing(sample, answer)
    assert 0 < alone.seconds < sample.seconds
    assert alone.cpu < sample.cpu
    assert 0 < answer["second_half"]["cpu"] < answer["cpu"]


@pytest.mark.parametrize(
    ("nova", "sentence"),
    [
        (["kvm1", "kvm3"], "1 of 2 servers have other hosts than Nova chooses, the first of them number 1: kvm2"),
        (["kvm1", None], "Nova finds no host for server 1"),
    ],
)
def test_other_hosts_than_nova_s_are_no_comparison(nova: list[str | None], sentence: str) -> None:
    with pytest.raises(BenchError, match=sentence):
        placing.same_hosts({"chosen": ["kvm1", "kvm2"]}, {"chosen": nova})


def test_findings_of_placing() -> None:
    samples = {
        "Nova places 1000 on 1000": _taken(60),
        "place 1000 on 1000": _taken(1, 2, 1),
        "place 10000 on 10000, off, the whole process": _taken(12, peak=200),
        "place 10000 on 10000, auto, the whole process": _taken(21, peak=1600),
        "place 300 more on 250": _taken(1, 1.5),
        "place 300 more on 10000": _taken(30, 50),
    }
    found = report.placing_findings(samples, many=1000, huge=10000)
    assert [(finding.found, finding.met) for finding in found] == [
        (60, True),
        (12, True),
        (200, True),
        (21, False),
        (1600, False),
        (30, True),
    ]


def test_claiming_is_measured_with_each_server_claimed_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sample = claiming.claimed_at_once(f"sqlite:///{tmp_path}/fleet.db", log, controllers=2, each=3)
    assert len(log.read_text(encoding="utf-8").split()) == claiming.servers(2, 3)
    assert sample.seconds > 0
    assert sample.cpu > 0
    assert sample.peak > 1


def test_what_is_claimed_in_a_second_is_told_by_database() -> None:
    samples = {"claim 328 by 8 controllers, SQLite": _taken(4, 2), "place 1000 on 1000": _taken(1)}
    assert claiming.a_second(samples) == {"claim 328 by 8 controllers, SQLite": [82, 164]}


def test_rehearsing_is_measured_by_itself_on_a_fleet_that_ganeti_reads(tmp_path: Path) -> None:
    given = rehearsing.fleet(6, 24)
    _sample, answer = placing.run_on(placing.HERE / "our_rehearsal.py", given, tmp_path)
    assert (answer["cases"], answer["placed"]) == (6, 24)
    assert answer["cpu"] > 0
    sections = rehearsing.as_ganeti(given).split("\n\n")
    assert [len(section.split("\n")) for section in sections[1:3]] == [6, 24]
    assert {len(line.split("|")) for line in sections[2].split("\n")} == {13}


@pytest.mark.soak  # its peer is Nova, which `make soak` and `make bench` install
def test_nova_chooses_the_same_hosts(tmp_path: Path) -> None:
    given = placing.fleet(40, 120)
    _sample, theirs = placing.placed_by_nova(given, tmp_path)
    assert theirs["nova"] == "34.0.0"
    placing.same_hosts(placing.placed_by_us(given, tmp_path)[1], theirs)


def _volumes(lab: Lab) -> set[tuple[str, str]]:
    return {(host, file.name) for host in lab.hosts for file in lab.pool("local", host).iterdir()}
