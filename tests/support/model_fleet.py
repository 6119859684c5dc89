# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of hosts made of dictionaries, on which plans are carried out call by call: the ledger and the planning are
the real ones, and every call may be the last of its module, its run or its host.

The order in which a host makes, marks and deletes is that of module_utils/_hypervisor, which tests/host kills on real
hosts; here it serves to try many histories of runs against each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import typing as t
import uuid
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.evacuation import (
    Evacuating,
    evacuating,
    half_built,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Guest, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, vm_state
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuate import Evacuate
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuated import evacuation_rows, to_be_proven
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.lost import Lost
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import move_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import CONFLICT, HELD, Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.reconcile import Reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import Run, reconcile
from ansible_collections.flotilla.compute.plugins.plugin_utils._evacuation import accept, begun_elsewhere, conclude
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import Controller
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import operator_proof

SHARED = "pool-shared"
_IMAGE = "image-" + "a" * 64


class ModuleKilled(Exception):
    """The module on the host is no more; what it has made is there."""


class RunKilled(Exception):
    """The controller is no more."""


@dataclasses.dataclass
class ModelHost:
    """``local``: its own volumes; each bears a token, drawn when it was made."""

    name: str
    marker: dict[str, Json]
    up: bool = True
    guests: dict[str, Guest] = dataclasses.field(default_factory=dict)
    local: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def host_id(self) -> str:
        return str(self.marker["host_id"])

    def survey(self, shared: t.Mapping[str, str]) -> dict[str, Json]:
        pools = {"local": (f"pool-{self.name}", self.local), "shared": (SHARED, shared)}
        return {
            "host_id": self.host_id,
            "marker": dict(self.marker),
            "libvirt": 9000000,
            "qemu": 7002000,
            "virt_types": ["qemu"],
            "cpu": {"count": 8, "arch": "x86_64"},
            "memory": 65536,
            "pools": {name: _pool(pool_id, volumes) for name, (pool_id, volumes) in pools.items()},
            "networks": {},
            "bridges": ["br0"],
            "running_steps": [],
        }


def _pool(pool_id: str, volumes: t.Mapping[str, str]) -> dict[str, Json]:
    named = {volume: {"capacity": GIB, "allocation": 0} for volume in (*volumes, f"{_IMAGE}.ok", _IMAGE)}
    facts = {"active": True, "capacity": 1000 * GIB, "allocation": 0, "volumes": named}
    return {"id": pool_id, "markers": [pool_id], "capabilities": ["create", "upload", "overlay"], **facts}


class ModelFleet:
    """``call`` is told of every call that changes something on a host, by the host's name: it may raise, and switch
    hosts off and on."""

    def __init__(self, folder: Path, fleet: dict[str, Json], hosts: t.Sequence[str], servers: dict[str, Json]) -> None:
        self.url = f"sqlite:///{folder}/fleet.db"
        self._folder, self._fleet, self._servers = folder, fleet, servers
        ledger = self.ledger.establish(fleet["fleet_name"])
        ids = {"fleet_id": ledger.fleet_id, "ledger_id": ledger.ledger_id, "service": {"state": "enabled"}}
        self.hosts = {name: ModelHost(name, {"host_id": f"id-{name}", **ids}) for name in hosts}
        self.shared: dict[str, str] = {}
        self.sidecars: dict[str, Record] = {}
        self.call: t.Callable[[str], None] = lambda _host: None
        self.taking_over = False
        self.reported: set[str] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ledger(self) -> Ledger:
        found = Ledger.open(self.url, create=True)
        assert found is not None
        return found

    def lose_ledger(self) -> None:
        for file in self._folder.glob("fleet.db*"):
            file.unlink()
        self.taking_over = True

    # -- runs -------------------------------------------------------------------------------------------------------

    def declared(self) -> Declared:
        fleet = {**self._fleet, "fleet_take_over": self.taking_over}
        settings = {"compute_reserved": {"vcpus": 0, "memory": 0, "disk": 0}}
        return declare(fleet, dict.fromkeys(self.hosts, settings), self._servers, {})

    def start_run(self, command: str) -> str:
        """A run with a process of its own, that can be killed."""
        process = subprocess.Popen(["sleep", "inf"])
        run_id = self.ledger.start_run(command, Controller.here(process.pid))
        self._processes[run_id] = process
        return run_id

    def kill(self, run_id: str) -> None:
        process = self._processes.pop(run_id)
        process.kill()
        process.wait()

    def end(self, run_id: str, status: str) -> None:
        with contextlib.suppress(FlotillaError):
            self.ledger.end_run(run_id, status)
        self.kill(run_id)

    def plan(self, run_id: str, lost: Lost | None = None) -> Plan:
        declared, ledger = self.declared(), self.ledger
        now = ledger.now()
        run = Run(ledger, run_id, now)
        if lost is None:
            plan, _fleet = reconcile(declared, self._computes(declared), run, now=now)
        else:
            asked = dataclasses.replace(lost, begun=begun_elsewhere(ledger))
            drafting: t.Callable[[t.Any], Reconcile] = lambda situation: Evacuate(situation, asked)  # noqa: E731
            plan, _fleet = reconcile(declared, self._computes(declared), run, now=now, drafting=drafting)
            for host in to_be_proven(plan, lost.hosts):
                assert not self.hosts[host].up
            proof = operator_proof(lost.hosts[0], by="ann", reason="test", at=now)
            accept(ledger, run_id, evacuation_rows(plan), dict.fromkeys(lost.hosts, proof))
        self._enroll(plan)
        told = (entry for entry in plan.servers if entry.held or entry.verdict in (HELD, CONFLICT))
        self.reported = {entry.name.partition(" (")[0] for entry in told}
        return plan

    def _computes(self, declared: Declared) -> list[Compute]:
        found = []
        for name, its in declared.computes.items():
            host = self.hosts[name]
            if not host.up:
                found.append(Compute(name, its, why="no route to host"))
                continue
            beside = tuple(record for server, record in self.sidecars.items() if server not in host.guests)
            seen = beside if self.taking_over else ()
            found.append(Compute(name, its, host.survey(self.shared), tuple(host.guests.values()), beside=seen))
        return found

    def _enroll(self, plan: Plan) -> None:
        ledger = self.ledger.fleet()
        assert ledger is not None
        for host in plan.hosts:
            if any(step.kind == "enroll" for step in host.steps):
                self.hosts[host.name].marker["ledger_id"] = ledger.ledger_id

    def carry_out(self, plan: Plan, run_id: str) -> bool:
        """As playbook carry_out does; whether all went well. RunKilled goes through."""
        well = True
        for entry in plan.servers:
            if entry.deeds:
                well &= self._beside(entry) if entry.copy else self._carried(entry, run_id)
        rows = evacuation_rows(plan) if any(step.kind == "evacuate" for e in plan.servers for step in e.steps) else []
        with contextlib.suppress(FlotillaError):
            conclude(self.ledger, run_id, rows, {})
        return well

    def _beside(self, entry: ServerEntry) -> bool:
        with contextlib.suppress(ModuleKilled, FlotillaError):
            self._steps(str(entry.host), entry.deeds)
            if entry.deeds[-1]["kind"] == "drop_stale":
                with contextlib.suppress(FlotillaError):
                    self.ledger.update_migration("", entry.deeds[-1]["options"]["migration"], status="completed")
            return True
        return False

    def _carried(self, entry: ServerEntry, run_id: str) -> bool:
        """One server's steps, and what the ledger is told of them (plugin_utils/_carrier.py)."""
        ledger, server_id, host = self.ledger, str(entry.id), str(entry.host)
        move = move_of(entry.deeds, entry.applied)
        try:
            ledger.begin_step(run_id, server_id, "rebuilding", action="evacuate", host=host, limit=9, timeout=0)
        except FlotillaError:
            return False
        if move is not None:
            ledger.update_migration(run_id, move.id, status=move.begun)
        try:
            guest = self._steps(host, entry.deeds)
        except (ModuleKilled, FlotillaError) as exc:
            with contextlib.suppress(FlotillaError):
                if move is not None:
                    ledger.update_migration(run_id, move.id, status=move.ended(None))  # nobody has said how far it came
                ledger.fail(run_id, server_id, str(exc) or "killed")
            return False
        record = t.cast(Record, guest.record)
        with contextlib.suppress(FlotillaError):
            if move is not None:
                ledger.update_migration(run_id, move.id, status=move.ended(record))
            state = vm_state(guest.state, record.marks)
            ledger.finish(
                run_id, server_id, record=record, host=host, vm_state=state, power_state=power_state(guest.state)
            )
        return True

    # -- on a host --------------------------------------------------------------------------------------------------

    def _steps(self, host: str, deeds: t.Sequence[Json]) -> Guest:
        """The module's call. A run that is killed meanwhile leaves the module at work: it goes on to its end."""
        killed = False
        at: t.Iterator[None]
        for deed in deeds:
            at = self._step(self.hosts[host], deed)
            while True:
                if not self.hosts[host].up:
                    raise ModuleKilled
                try:
                    next(at)
                    self.call(host)
                except StopIteration:
                    break
                except RunKilled:
                    killed = True
                self.check_running()
        if killed:
            raise RunKilled
        left = self.hosts[host].guests.get(str(deeds[-1]["server_id"]))
        return left if left is not None else t.cast(Guest, None)

    def check_running(self) -> None:
        """No server runs on two hosts at any time."""
        seen: dict[str, str] = {}
        for host in self.hosts.values():
            for guest in host.guests.values() if host.up else ():
                if guest.active:
                    assert guest.id not in seen, f"{guest.name} runs on {seen[guest.id]} and {host.name}"
                    seen[guest.id] = host.name

    def _step(self, host: ModelHost, deed: Json) -> t.Iterator[None]:
        present = host.guests.get(deed["server_id"])
        expects = None if present is None or present.record is None else present.record.generation
        steps = {
            "create": self._create,
            "start": self._start,
            "evacuate": self._evacuate,
            "undo_evacuation": self._undo,
            "drop_stale": self._drop_stale,
        }
        assert deed["kind"] in steps, f"no step {deed['kind']!r} should be needed here"
        if deed["kind"] == "evacuate" and present is not None and self._is_done(deed, present):
            return
        if deed["expects"] != expects:
            raise FlotillaError(f"{deed['name']} has generation {expects} on {host.name}; plan again")
        yield from steps[deed["kind"]](host, deed, present)

    def _is_done(self, deed: Json, present: Guest) -> bool:
        record = t.cast(Record, present.record)
        return record.generation == deed["record"]["generation"] and not half_built(record)

    def _write(self, host: ModelHost, record: Record, state: str | None = None) -> t.Iterator[None]:
        """The domain's record, then the one beside its root disk."""
        before = host.guests.get(record.id)
        guest = dataclasses.replace(as_defined(record), record=record)
        host.guests[record.id] = dataclasses.replace(guest, state=state or (before.state if before else "shutoff"))
        yield
        if record.root.pool == "shared":
            self.sidecars[record.id] = record
            yield

    def _volumes(self, host: ModelHost, disk: Disk) -> dict[str, str]:
        return self.shared if disk.pool == "shared" else host.local

    def _made(self, host: ModelHost, disk: Disk) -> Disk:
        self._volumes(host, disk).setdefault(disk.volume, str(uuid.uuid4()))
        return dataclasses.replace(disk, pool_id=SHARED if disk.pool == "shared" else f"pool-{host.name}")

    def _create(self, host: ModelHost, deed: Json, _present: Guest | None) -> t.Iterator[None]:
        record = Record.from_json(deed["record"])
        disks = []
        for disk in record.disks:
            disks.append(self._made(host, disk))
            yield
        yield from self._write(host, dataclasses.replace(record, disks=tuple(disks), host_id=host.host_id))

    def _start(self, host: ModelHost, deed: Json, present: Guest | None) -> t.Iterator[None]:
        assert present is not None
        its = t.cast(Record, present.record)
        host.guests[its.id] = dataclasses.replace(present, state="running")
        yield
        if deed.get("record"):
            after = dataclasses.replace(Record.from_json(deed["record"]), disks=its.disks, host_id=its.host_id)
            yield from self._write(host, after)

    def _evacuate(self, host: ModelHost, deed: Json, present: Guest | None) -> t.Iterator[None]:
        target = Record.from_json(deed["record"])
        marks = {**target.marks, "replaces": target.marks["replaces"][:-1]}
        half = dataclasses.replace(target, marks={**marks, "evacuating": deed["options"]["evacuating"]})
        its = t.cast(Evacuating, evacuating(half))
        if present is not None:
            begun = evacuating(t.cast(Record, present.record))
            if begun is None or begun.migration != its.migration:
                raise FlotillaError("this evacuation has not begun what is there")
        for disk in half.disks:
            there = disk.volume in self._volumes(host, disk)
            made = (disk.pool, disk.volume) in its.made
            if (not made and not there) or (made and there and present is None):
                raise FlotillaError(f"volume {disk.volume} is {'there' if there else 'not there'}")
        if present is None:
            host.guests[half.id] = dataclasses.replace(as_defined(half), record=half, state="shutoff")
            yield
        disks = []
        for disk in half.disks:
            disks.append(self._made(host, disk) if (disk.pool, disk.volume) in its.made else disk)
            yield
        half = dataclasses.replace(half, disks=tuple(disks))
        yield from self._write(host, half)
        if deed["options"]["start"]:
            host.guests[half.id] = dataclasses.replace(host.guests[half.id], state="running")
            yield
        yield from self._write(host, dataclasses.replace(target, disks=tuple(disks)))

    def _undo(self, host: ModelHost, deed: Json, present: Guest | None) -> t.Iterator[None]:
        if present is None:
            return
        record = t.cast(Record, present.record)
        its = evacuating(record)
        assert its is not None, "only what is half built is undone"
        if deed["options"].get("kill"):
            host.guests[record.id] = dataclasses.replace(present, state="shutoff")
            yield
        assert not host.guests[record.id].active
        yield from self._delete(
            host, record, [p for p in deed["options"]["drop"] if (p["pool"], p["volume"]) in its.made]
        )
        del host.guests[record.id]
        yield

    def _drop_stale(self, host: ModelHost, deed: Json, present: Guest | None) -> t.Iterator[None]:
        if present is None:
            return
        record, options = t.cast(Record, present.record), deed["options"]
        assert (record.host_id, record.generation) == (options["host_id"], options["generation"])
        assert not half_built(record)
        assert record.host_id == host.host_id
        del host.guests[record.id]
        yield
        yield from self._delete(host, record, options["local"])

    def _delete(self, host: ModelHost, record: Record, places: t.Sequence[Json]) -> t.Iterator[None]:
        for place in places:
            assert place["volume"].startswith(record.id)
            assert place["pool"] == "local", f"a shared disk is deleted: {place}"
            host.local.pop(place["volume"], None)
            yield

    # -- what is there ----------------------------------------------------------------------------------------------

    def roots(self) -> dict[str, str]:
        """The token of each server's root disk, by the server's name; a disk that was made anew has another."""
        records = [
            (host, t.cast(Record, guest.record)) for host in self.hosts.values() for guest in host.guests.values()
        ]
        return {record.name: self._volumes(host, record.root).get(record.root.volume, "") for host, record in records}

    def wrong(self) -> t.Iterator[str]:
        """What doesn't fit together when all hosts are up and nothing is left to do."""
        snapshot = self.ledger.snapshot()
        for name, variables in self._servers.items():
            copies = [
                (h, g) for h in self.hosts.values() for g in h.guests.values() if g.record and g.record.name == name
            ]
            if len(copies) > 1 and name in self.reported:
                continue  # a person must look which of them it is; no two of them run
            if len(copies) != 1:
                yield f"{name} has {len(copies)} copies: {[(h.name, g.state) for h, g in copies]}"
                continue
            ((host, guest),) = copies
            record = t.cast(Record, guest.record)
            wanted = {"active": "running", "stopped": "shutoff"}[variables.get("server_state", "active")]
            if guest.state != wanted or half_built(record):
                yield f"{name} is {guest.state} with the marks {sorted(record.marks)}"
            yield from (
                f"{name} lacks {disk.volume}" for disk in record.disks if disk.volume not in self._volumes(host, disk)
            )
            row = snapshot.servers.get(record.id)
            if row is None or (row.host, row.generation) != (host.name, record.generation):
                yield f"the ledger has {row}, {name} is on {host.name} at {record.generation}"
            elif row.task_state or row.run_id:
                yield f"{name} is left in task {row.task_state} of run {row.run_id}"
        ids = {guest.id for host in self.hosts.values() for guest in host.guests.values()}
        yield from (f"{row.name} is in the ledger alone" for row in snapshot.servers.values() if row.id not in ids)
        yield from (f"a claim is left: {claim}" for claim in snapshot.claims.values())
        yield from (f"a run is left: {run}" for run in snapshot.runs.values())
        for host in self.hosts.values():
            mine = {disk.volume for guest in host.guests.values() for disk in t.cast(Record, guest.record).disks}
            # A stale copy's disks stay where a new ledger has not yet seen all hosts: they may be shared.
            left = set() if self.taking_over else host.local.keys() - mine
            yield from (f"{volume} on {host.name} belongs to nobody" for volume in left)


__all__ = ["ModelFleet", "ModuleKilled", "RunKilled"]
