# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long steps: carried out by a process of their own on this host, and watched by calls that come and go.

Note that this module util is **PRIVATE** to the collection.

The worker holds its server's lock, and outlives the call that started it, its SSH connection and its run: what is begun
is brought to its end. How far it is, and what it came to, is in ``<state_dir>/moves/<server id>.json``. A worker that
was itself killed has left that file without a result, and no lock: the next call starts another, which finds out from
libvirt what is left to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InProgress
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import became
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Order
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import held, server_lock

if t.TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = "moves"
#: How long a call watches if it isn't told.
WATCH = 4.0

Result = dict[str, Json]


@dataclasses.dataclass(frozen=True)
class Journal:
    """What a server's worker says of itself: {"key", "pid", "progress", "result"}."""

    path: pathlib.Path

    @classmethod
    def of(cls, state_dir: str, server_id: str) -> Journal:
        return cls(pathlib.Path(state_dir, _FOLDER, f"{server_id}.json"))

    def read(self) -> dict[str, Json]:
        """What it says, empty where there is none (or none that can be read: it is a help, never the truth)."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, **what: Json) -> None:
        """Add to what it says. A full disk keeps nobody from moving a guest away from it."""
        draft = self.path.with_suffix(".new")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({**self.read(), **what}), encoding="utf-8")
            draft.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def watch(order: Order, *, state_dir: str, run_id: str, wait: float, work: Callable[[], Result]) -> Result:
    """Have an order's *work* done by a worker, or watch the one that is at it; its result, or how far it is.

    *work* is called in the worker, under the server's lock; *wait*: how long another may still hold that. The end of a
    move is waited for where the move's own worker is at it still, and is what that has come to, if all went well.
    """
    journal = Journal.of(state_dir, order.server_id)
    key, *others = [f"{kind} {order.options.get('migration')}" for kind in _kinds(order)]

    def mine() -> dict[str, Json]:
        said = journal.read()
        if said.get("key") in others and (said.get("result") or {}).get("failed"):
            return {}  # what it has left there, if anything, is for this order
        return said if said.get("key") in (key, *others) else {}

    if mine().get("result") is None and not (mine() and _is_at_work(state_dir, order)):
        _start(order, journal, key, state_dir=state_dir, run_id=run_id, wait=wait, work=work)

    def is_news() -> bool:
        return mine().get("result") is not None or not _is_at_work(state_dir, order)

    became(is_news, within=float(order.options.get("watch") or WATCH))
    said = mine()
    if said.get("result") is not None:
        # It is told once: who asks for the same again wants it done again.
        journal.forget()
        return t.cast(Result, said["result"])
    return {"running": True, "progress": said.get("progress") or {}}


def _is_at_work(state_dir: str, order: Order) -> bool:
    its = {(order.server_id, kind) for kind in _kinds(order)}
    return any((lock["server_id"], lock["step"]) in its for lock in held(state_dir))


def _kinds(order: Order) -> tuple[str, ...]:
    """The order's kind, and those whose worker does as much for it."""
    return (order.kind, "live_migrate") if order.kind == "end_move" else (order.kind,)


def _start(
    order: Order, journal: Journal, key: str, *, state_dir: str, run_id: str, wait: float, work: Callable[[], Result]
) -> None:
    """Start a worker, and wait until it has the server's lock. InProgress if it doesn't get it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _detach(writer)
        _work(order, journal, key, writer, state_dir=state_dir, run_id=run_id, wait=wait, work=work)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as told:
        refused = told.read().decode("utf-8", "replace")
    if refused:
        raise InProgress(refused)


def _detach(writer: int) -> None:
    """In the child: a session of its own, and nothing open that its parent has."""
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    highest = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    os.closerange(3, writer)
    os.closerange(writer + 1, highest)
    os.chdir("/")


def _work(
    order: Order,
    journal: Journal,
    key: str,
    writer: int,
    *,
    state_dir: str,
    run_id: str,
    wait: float,
    work: Callable[[], Result],
) -> t.NoReturn:
    """In the worker: it ends with this function, and never runs what its parent has still to do."""
    try:
        with server_lock(state_dir, order.server_id, run_id=run_id, step=order.kind, wait=wait):
            journal.write(key=key, pid=os.getpid(), progress={}, result=None)
            os.close(writer)
            writer = -1
            try:
                result = work()
            except Exception as exc:  # noqa: BLE001 - a bug: the one who watches shall see it
                result = {"failed": True, "changed": True, "message": f"its worker failed: {exc!r}"}
            journal.write(result=result)
    except FlotillaError as exc:
        with contextlib.suppress(OSError):
            os.write(writer, str(exc).encode())
    finally:
        os._exit(0)


__all__ = ["WATCH", "Journal", "watch"]
