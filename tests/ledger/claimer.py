# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller in short: `claimer.py URL NUMBER COUNT` places servers, some at a time, as a run of the fleet would.

It folds over the ledger's snapshot, claims, and folds again when it was too late. It wants COUNT servers of its own,
and the `common` ones that every claimer wants. It prints a line for each that it has got, and ends with "done".
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / ".dev"), str(ROOT)]

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (  # noqa: E402
    Claim,
    Ledger,
    Snapshot,
    Wish,
)

RAM = 512
POOL = Wish("lan", pools=[("10.0.0.0", "10.0.1.255")])
COMMON = 8
BATCH = 4


def main(url: str, number: int, count: int) -> None:
    ledger = Ledger.open(url, create=False, readonly=False)
    if ledger is None:
        raise SystemExit("no ledger")
    run_id = ledger.start_run(f"claimer {number}")
    own = [f"server-{number}-{index}" for index in range(count)]
    while own:
        own = own[place(ledger, run_id, own[:BATCH], number) :]
    for index in range(COMMON):
        place(ledger, run_id, [f"common-{index}"], number)
    print("done", flush=True)
    sys.stdin.read()  # a run that has ended lets go: stay until the test has looked


def place(ledger: Ledger, run_id: str, names: list[str], number: int) -> int:
    """How many of the first of *names* are settled now: on a host together, or in another run's hands."""
    while True:
        now = ledger.snapshot()
        if any(server.name == names[0] and server.run_id in now.runs for server in now.servers.values()):
            return 1
        host, room = roomiest(now, names[0], number)
        if not room:
            raise SystemExit(f"no room for {names[0]}")
        chosen, generation = names[:room], now.hosts[host].generation
        claims = [Claim(None, name, host, 1, RAM, 1, addresses=[POOL], expects=generation) for name in chosen]
        result = ledger.claim(run_id, claims)
        if result.stale:
            continue
        if result.refused and len(names) > 1:
            names = names[:1]  # one of them is half-built elsewhere
            continue
        for name, claimed in result.won.items():
            print(name, flush=True)
            ledger.begin_task(run_id, claimed.server_id, "spawning", action="create")
        return len(chosen)


def roomiest(now: Snapshot, name: str, number: int) -> tuple[str, int]:
    """The host with most room, and for how many; each claimer begins elsewhere.

    What was half-built somewhere is finished there, alone.
    """
    for claim in now.claims.values():
        if claim.name == name:
            return claim.host, 1
    room = {host.name: int(host.summary["memory"]) // RAM for host in now.hosts.values()}
    for claim in now.claims.values():
        room[claim.host] -= 1
    names = sorted(room)
    turned = names[number % len(names) :] + names[: number % len(names)]
    best = max(turned, key=room.__getitem__)
    return best, room[best]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
