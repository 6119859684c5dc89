# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs with their lease, and the slots that limit how many steps a host carries out at once.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
import typing as t
import uuid

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    FlotillaError,
    InProgress,
    Refused,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import _owned
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import LEASE, Part, live_runs, text_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._process import Controller, is_alive, started
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import RunRow

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._database import Transaction

__all__ = ["Runs", "bury", "occupy", "refuse_stopped", "renew", "wait_for_slot"]

_T = t.TypeVar("_T")


class Runs(Part):
    def start_run(self, command: str, controller: Controller | None = None) -> str:
        """A new run, living in this process unless *controller* says another."""
        run_id = str(uuid.uuid4())
        facts = dataclasses.asdict(controller or Controller.here())
        with self._database.write() as tx:
            bury(tx)
            times = {"started": tx.now, "renewed": tx.now, "ended": None}
            tx.run(
                tx.tables.runs.insert().values(id=run_id, command=text_of(command), status="running", **facts, **times)
            )
        return run_id

    def renew(self, run_id: str) -> None:
        """A sign of life, as every other call with a run id is too. Stale if the run has been given up meanwhile."""
        with self._database.write() as tx:
            renew(tx, run_id)

    @contextlib.contextmanager
    def renewing(self, run_id: str) -> t.Iterator[None]:
        """Signs of life from a thread, around a step that may take longer than the lease."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(LEASE / 4):
                with contextlib.suppress(FlotillaError):  # the next write tells, or the next beat mends it
                    self.renew(run_id)

        thread = threading.Thread(target=beat, name=f"renew {run_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def end_run(self, run_id: str, status: str) -> None:
        """The run's end (*status*: done or failed); what it had claimed and not begun is free again."""
        with self._database.write() as tx:
            _end(tx, [run_id], status)

    def release(self, run_id: str) -> None:
        """Let go of what the run had claimed and not begun, and of every server it owns."""
        with self._database.write() as tx:
            renew(tx, run_id)
            _owned.let_go(tx, [run_id], "the run let go of it before its end")

    def hold_host(self, run_id: str, host: str) -> None:
        """This run empties the host, or brings servers back to it: no other does either until it ends."""
        with self._database.write() as tx:
            renew(tx, run_id)
            other = next((run for run in live_runs(tx).values() if run.host == host and run.id != run_id), None)
            if other is not None:
                raise InProgress(
                    f"{host} is being emptied or filled again by {other}; run again when it has ended, "
                    f"or stop it: playbook drain -e fleet_host={host} -e fleet_drain=stop"
                )
            tx.run(tx.tables.runs.update().where(tx.tables.runs.c.id == run_id).values(host=host))

    def stop_host(self, host: str, by: str) -> RunRow | None:
        """Tell the run that empties this host, or fills it again, to begin no more steps; None if there is none."""
        with self._database.write() as tx:
            run = next((run for run in live_runs(tx).values() if run.host == host), None)
            if run is None or run.stop is not None:
                return run
            tx.run(tx.tables.runs.update().where(tx.tables.runs.c.id == run.id).values(stop=by))
            return dataclasses.replace(run, stop=by)

    def live_runs(self) -> dict[str, RunRow]:
        with self._database.read() as tx:
            return live_runs(tx)

    def take_slot(self, host: str, kind: str, limit: int, run_id: str) -> str | None:
        """One of the *limit* places for a step of this *kind* on *host*; None if all are taken."""
        slot_id = str(uuid.uuid4())
        with self._database.write() as tx:
            renew(tx, run_id)
            return slot_id if occupy(tx, slot_id, host, kind, limit, run_id) else None

    def free_slot(self, slot_id: str) -> None:
        with self._database.write() as tx:
            tx.run(tx.tables.slots.delete().where(tx.tables.slots.c.id == slot_id))

    @contextlib.contextmanager
    def slot(self, host: str, kind: str, limit: int, run_id: str, timeout: float) -> t.Iterator[str]:
        """Wait for a slot, hold it while the block runs. InProgress after *timeout* seconds."""
        slot_id = wait_for_slot(lambda: self.take_slot(host, kind, limit, run_id), host, kind, limit, timeout)
        try:
            yield slot_id
        finally:
            self.free_slot(slot_id)


def wait_for_slot(
    take: t.Callable[[], _T | None], host: str, kind: str, limit: int, timeout: float, *, more: str = "fleet_host_slots"
) -> _T:
    """What *take* gives, as soon as it gives something. *more*: the variable that says how many slots there are."""
    deadline = time.monotonic() + timeout
    pause = 0.05
    while (taken := take()) is None:
        if time.monotonic() + pause > deadline:
            raise InProgress(
                f"all {limit} slots for {kind} on host {host!r} were taken for {timeout:g} s; "
                f"wait for the other steps or raise {more}"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)  # every wait that is over costs a write transaction
    return taken


def occupy(tx: Transaction, slot_id: str, host: str, kind: str, limit: int, run_id: str) -> bool:
    """Take a slot under that id; False if all are taken."""
    if len(_taken(tx, host, kind)) >= limit:
        bury(tx, spare=run_id)
        _free_abandoned(tx)
        if len(_taken(tx, host, kind)) >= limit:
            return False
    pid = os.getpid()
    row = {"id": slot_id, "host": host, "kind": kind, "run_id": run_id, "pid": pid, "pid_started": started(pid)}
    tx.run(tx.tables.slots.insert().values(**row, taken=tx.now))
    return True


def renew(tx: Transaction, run_id: str) -> None:
    table = tx.tables.runs
    if not tx.run(table.update().where((table.c.id == run_id) & table.c.ended.is_(None)).values(renewed=tx.now)):
        raise Stale(
            f"run {run_id} is over: it ended, or another gave it up after {LEASE:g} s without a sign of life; run again"
        )


def refuse_stopped(tx: Transaction, run_id: str) -> None:
    """Refused if somebody has told the run to stop: what is under way ends, the rest is not begun."""
    table = tx.tables.runs
    row = tx.first(table.select().where(table.c.id == run_id))
    if row is not None and row.stop is not None:
        raise Refused(f"not begun: {row.stop} told this run to stop")


def bury(tx: Transaction, *, spare: str | None = None) -> None:
    """End the runs that died, so that others may have what they owned. Who asks (*spare*) is alive."""
    table = tx.tables.runs
    running = {row.id for row in tx.rows(table.select().where(table.c.ended.is_(None)))}
    dead = sorted(running - live_runs(tx).keys() - {spare})
    if dead:
        _end(tx, dead, "lost")


def _end(tx: Transaction, run_ids: t.Sequence[str], status: str) -> None:
    _owned.let_go(tx, run_ids, "its run was killed or cut off" if status == "lost" else "its run ended before it did")
    table = tx.tables.runs
    open_ones = table.c.id.in_(run_ids) & table.c.ended.is_(None)
    tx.run(table.update().where(open_ones).values(ended=tx.now, status=status))


def _taken(tx: Transaction, host: str, kind: str) -> t.Sequence[t.Any]:
    table = tx.tables.slots
    return tx.rows(table.select().where((table.c.host == host) & (table.c.kind == kind)))


def _free_abandoned(tx: Transaction) -> None:
    """Slots of workers that were killed while their run goes on."""
    runs = live_runs(tx)
    slots = tx.tables.slots
    for slot in tx.rows(slots.select()):
        run = runs.get(slot.run_id)
        if run is not None and is_alive(run, pid=slot.pid, pid_started=slot.pid_started) is False:
            tx.run(slots.delete().where(slots.c.id == slot.id))
