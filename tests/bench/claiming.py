# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controllers that claim at the same time, each a process of its own, on one ledger: how many servers a second.

Timed is from the first claim to the last one, by the database's clock. Each controller looks at the ledger, chooses,
claims up to four servers in a transaction, and looks again when another was quicker.
"""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

from tests.bench.measure import BenchError, Sample
from tests.bench.no_op import Samples, Say
from tests.ledger.claimer import COMMON, RAM
from tests.support.controllers import programs, won
from tests.support.postgres import running_postgresql

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, Ledger

CONTROLLERS = 8
EACH = 40
HOSTS = 8


def servers(controllers: int, each: int) -> int:
    return controllers * each + COMMON


def claimed_at_once(url: str, log: Path, *, controllers: int, each: int) -> Sample:
    """On a ledger of its own, whose hosts have just room enough for all."""
    ledger = Ledger.open(url, create=True)
    if ledger is None:
        raise BenchError(f"no ledger at {url}")
    ledger.establish("bench")
    room = -(-servers(controllers, each) // HOSTS)
    ledger.save_survey([HostSeen(f"kvm{n}", f"id-{n}", summary={"memory": room * RAM}) for n in range(HOSTS)])
    load, before = os.getloadavg()[0], os.times()
    with programs("claimer.py", url, range(controllers), each) as processes:
        names = [name for process in processes for name in won(process)]
        created = [claim.created for claim in ledger.snapshot().claims.values()]
        peak = max(_peak(process.pid) for process in processes)
    after = os.times()
    log.write_text("\n".join(names), encoding="utf-8")
    if len(created) != servers(controllers, each) or len(set(names)) != len(names):
        raise BenchError(f"{servers(controllers, each)} servers were to be claimed once each, {len(created)} were")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Sample(max(created) - min(created), cpu, peak, load, "")


def _peak(pid: int) -> float:
    """MiB that a process had at most."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


def measure_claiming(folder: Path, *, repeat: int, say: Say) -> Samples:
    folder.mkdir(parents=True)
    samples: Samples = {}
    with running_postgresql() as server:
        for number in range(repeat):
            urls = {"SQLite": f"sqlite:///{folder}/{number}.db", "PostgreSQL": server.new_database()}
            for kind, url in urls.items():
                sample = claimed_at_once(url, folder / f"{kind}-{number}.log", controllers=CONTROLLERS, each=EACH)
                name = f"claim {servers(CONTROLLERS, EACH)} by {CONTROLLERS} controllers, {kind}"
                samples.setdefault(name, []).append(sample)
                say(f"{name}: {sample.seconds:.3f} s, load {sample.load:.1f}")
    return samples


def a_second(samples: t.Mapping[str, t.Sequence[Sample]]) -> dict[str, list[int]]:
    """Servers claimed in a second, of each sample."""
    return {
        name: [round(int(name.split()[1]) / sample.seconds) for sample in taken]
        for name, taken in samples.items()
        if name.startswith("claim ")
    }
