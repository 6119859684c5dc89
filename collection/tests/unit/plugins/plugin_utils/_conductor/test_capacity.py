# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capacity is never exceeded, whatever the order in which controllers look, choose, claim, fail, move and let go."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import typing as t

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, Ledger
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    NO_LEAVE,
    WEB,
    hosts,
    survey,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import examples

FLAVORS: dict[str, dict[str, t.Any]] = {
    "small": {"vcpus": 1, "ram": 1024, "disk": 10},
    "big": {"vcpus": 3, "ram": 3072, "disk": 30},
    "gpu": {"vcpus": 1, "ram": 512, "disk": 1, "extra_specs": {"resources:CUSTOM_GPU": 1}},
}
MEMORY = 4096
#: By host: vCPUs at ratio 1, MiB, GiB of its pool, GPUs.
CAPACITY = {"vcpus": 4, "ram": MEMORY, "disk_gb": 100, "CUSTOM_GPU": 2}
HOSTS = ("kvm1", "kvm2", "kvm3")
QUOTA = 7
WISHES = st.lists(st.sampled_from(sorted(FLAVORS)), min_size=1, max_size=4)
COMPUTES = {
    name: {**COMPUTE, "compute_allocation_ratio": {"vcpus": 1.0}, "compute_resources": {"CUSTOM_GPU": 2}}
    for name in HOSTS
}


@dataclasses.dataclass
class Planned:
    """What a controller has chosen from what it saw, and not yet claimed."""

    run_id: str
    draft: Reconcile
    moves: tuple[str, ...] = ()


class Controllers(RuleBasedStateMachine):
    """Several controllers at one ledger; each rule is what one of them does next."""

    plans: Bundle[Planned] = Bundle("plans")
    failed: Bundle[tuple[str, str, str, str]] = Bundle("failed")
    built: Bundle[tuple[str, str]] = Bundle("built")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="flotilla-capacity-")
        self.names = 0
        self.flavors: dict[str, str] = {}

    @initialize()
    def begin(self) -> None:
        ledger = Ledger.open(f"sqlite:///{self.folder}/fleet.db", create=True)
        assert ledger is not None
        self.ledger = ledger
        ledger.establish("office")
        ledger.save_survey([HostSeen(name, f"id-{name}") for name in HOSTS])
        self.runs = [ledger.start_run(f"controller {number}") for number in range(3)]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(target=plans, numbers=st.sets(st.integers(0, 2), min_size=1), flavors=WISHES)
    def look_and_choose(self, numbers: set[int], flavors: list[str]) -> t.Any:
        """One controller, or several at the same moment, each for servers of its own."""
        return multiple(*(self.planned(number, flavors) for number in sorted(numbers)))

    def planned(self, number: int, flavors: t.Sequence[str]) -> Planned:
        names = []
        for flavor in flavors:
            self.names += 1
            names.append(f"web{self.names}")
            self.flavors[names[-1]] = flavor
        return Planned(self.runs[number], self.choose(self.runs[number], names))

    def choose(
        self, run_id: str, names: t.Sequence[str], tried: t.Mapping[str, tuple[str, ...]] | None = None
    ) -> Reconcile:
        servers = {name: {**WEB, "server_flavor": self.flavors[name]} for name in names}
        quota = {"instances": QUOTA}
        declared = declare({**FLEET, "fleet_flavors": FLAVORS, "fleet_quota": quota}, COMPUTES, servers, {})
        computes = hosts(declared, **{name: survey(name, memory=MEMORY) for name in HOSTS})
        given = Situation(declared, computes, self.ledger.snapshot(), "F", "L", NO_LEAVE, 1000.0, run_id)
        draft = Reconcile(dataclasses.replace(given, tried=tried or {}))
        draft.schedule()
        return draft

    @rule(target=built, plan=consumes(plans))
    def claim(self, plan: Planned) -> t.Any:
        """Perhaps long after it was chosen."""
        claims = plan.draft.claims()
        if not claims or plan.run_id not in self.runs:  # a run that has ended claims no more
            return multiple()
        result = self.ledger.claim(plan.run_id, claims, check=plan.draft.over_quota, nothing_left=plan.moves)
        return multiple(*((plan.run_id, place.server_id) for place in result.won.values()))

    @rule(target=failed, server=consumes(built))
    def fail(self, server: tuple[str, str]) -> t.Any:
        """A build that left nothing on its host."""
        run_id, server_id = server
        row = self.ledger.snapshot().servers.get(server_id)
        if row is None or row.run_id != run_id or run_id not in self.runs:
            return multiple()
        self.ledger.begin_task(run_id, server_id, "spawning", action="create")
        self.ledger.fail(run_id, server_id, "no", failed_build=row.host)
        return (run_id, server_id, row.name, str(row.host))

    @rule(target=plans, one=consumes(failed))
    def choose_another(self, one: tuple[str, str, str, str]) -> Planned:
        run_id, server_id, name, host = one
        return Planned(run_id, self.choose(run_id, [name], {name: (host,)}), (server_id,))

    @rule(number=st.integers(0, 2))
    def let_go(self, number: int) -> None:
        """A run ends, and with it what it has claimed and not begun; another follows."""
        self.ledger.end_run(self.runs[number], "done")
        self.runs[number] = self.ledger.start_run(f"controller {number}")

    @invariant()
    def no_host_has_more_than_it_can_give(self) -> None:
        if not hasattr(self, "ledger"):
            return
        claims = self.ledger.snapshot().claims.values()
        for host in HOSTS:
            here = [claim for claim in claims if claim.host == host]
            used = {key: sum(getattr(claim, key) for claim in here) for key in ("vcpus", "ram", "disk_gb")}
            used["CUSTOM_GPU"] = sum(claim.resources.get("CUSTOM_GPU", 0) for claim in here)
            assert all(used[key] <= CAPACITY[key] for key in CAPACITY), (host, used)
        assert len({claim.name for claim in claims}) == len(claims) <= QUOTA


Controllers.TestCase.settings = settings(examples(8), stateful_step_count=20, suppress_health_check=list(HealthCheck))
TestControllers = Controllers.TestCase
