# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a plan, carried out on this host.

Note that this module util is **PRIVATE** to the collection.

Each step takes its server's lock, reads the domain again under it, and goes on only if the record there is the one that
the plan was made from, or the one that the step itself leaves: then an earlier run was killed, and the step completes
what is missing. What each kind does is in `registry`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import itertools
import typing as t
import zlib

from ansible_collections.flotilla.compute.plugins.module_utils._core import evacuation, resize
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    BuildAbort,
    Conflict,
    FlotillaError,
    InvalidInput,
    Stale,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import BRING, FORGET
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import MIB, Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.building import after_failure
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    found,
    libvirt,
    libvirt_error,
    message_of,
    opened,
    run_events,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.deletion import References
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import record_of, state_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import other_end
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import (
    Host,
    Job,
    Order,
    Present,
    StillCopying,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.locks import server_lock
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.marker import read_marker
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.metadata_tree import Trees, settle
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.registry import KINDS, handler_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

#: User data has 64 KiB at most, as in Nova; files in a drive are few.
_LARGEST_DRIVE = 64 * MIB
#: Steps that have a meaning where the server has no domain.
_WITHOUT_DOMAIN = (
    *("create", "define", "delete", "drop_stale", "evacuate", "reclaim", "shelve", "tidy", "undefine"),
    *("end_move", "live_migrate", "undo_evacuation", "unshelve", "update_shelved"),
    *(BRING, FORGET),
)
#: Steps that a worker of this host's own carries out, and that calls watch.
_WATCHED = ("end_move", "live_migrate")
#: Steps on what another one, which holds the server's lock, is at work on.
_BESIDE = ("abort_migration",)


def run_steps(
    conn: Connection,
    steps: t.Sequence[Json],
    *,
    state_dir: str,
    run_id: str,
    fleet_id: str,
    drives: t.Mapping[str, bytes] | None = None,
    secrets: t.Mapping[str, t.Mapping[str, str]] | None = None,
    trees: t.Mapping[str, bytes] | None = None,
    wait: float = 0,
    undo: bool = False,
) -> list[dict[str, Json]]:
    """Carry out steps in order: one result a step that was begun, in the steps' order.

    A step that fails has ``failed`` in its result and its sentence as ``message``; it ends its server's steps alone.
    So does one that has ``running``: it goes on by itself, and the same steps are asked for again to see its end.
    ``abort`` beside it says that no other host would do better; ``nothing_left`` that nothing of the build is on this
    host, for which *undo* lets it take away what it has just made.
    ``secrets`` are passwords and the like, ``trees`` what the metadata service is to answer, by server id. ``wait`` is
    how many seconds another step's lock on a server is waited for.
    """
    orders = [Order.from_json(step) for step in steps]
    unknown = sorted({order.kind for order in orders} - KINDS)
    if unknown:
        raise InvalidInput(f"a host knows no step {', '.join(unknown)}; it knows {', '.join(sorted(KINDS))}")
    host = host_of(conn, state_dir=state_dir, run_id=run_id, fleet_id=fleet_id, drives=drives)
    host = dataclasses.replace(host, secrets=secrets or {}, trees=trees or {})
    servers = [list(group) for _server_id, group in itertools.groupby(orders, key=lambda order: order.server_id)]
    results = []
    for group in servers:
        # What is remembered of the pools, and made in them, is one server's: as if each had a call of its own.
        own = dataclasses.replace(host, storage=Storage(conn))
        results += _run_server(own, group, wait=wait, undo=undo)
    return results


def look_at(
    conn: Connection, steps: t.Sequence[Json], *, state_dir: str, run_id: str, fleet_id: str
) -> list[dict[str, Json]]:
    """What stands against steps, without a hand laid on anything: one result for each that can be looked at.

    ``told.checks`` are the things looked at, [{"check", "against": [sentence]}]; ``failed`` where one is against it.
    """
    host = host_of(conn, state_dir=state_dir, run_id=run_id, fleet_id=fleet_id)
    orders = [Order.from_json(step) for step in steps]
    return [_look_at(host, order) for order in orders if order.kind in ("live_migrate", "migrate")]


def _look_at(host: Host, order: Order) -> dict[str, Json]:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import cold_prechecks, live

    try:
        present = _present(host, order)
        if order.kind == "migrate":  # another step comes before it, of a guest that runs
            looks = cold_prechecks.looks(Job(host, order, present, done=False))
        else:
            looks = live.look(Job(host, order, present, _check(order, present)))
    except (FlotillaError, libvirt.libvirtError) as exc:
        return _result(order, changed=False, message=message_of(exc), failed=True)
    against = [sentence for look in looks for sentence in look.against]
    told = {"checks": [look.to_json() for look in looks]}
    return _result(order, changed=not against, message="; ".join(against), failed=bool(against), told=told)


def unpack_drive(text: str) -> bytes:
    """A config drive, or what the metadata service is to answer, as it travels: compressed, in base64."""
    try:
        unpacker = zlib.decompressobj()
        drive = unpacker.decompress(base64.b64decode(text, validate=True), _LARGEST_DRIVE)
    except (binascii.Error, zlib.error, ValueError) as exc:
        raise InvalidInput(
            f"a server's config drive or metadata can't be unpacked ({exc}): was it cut short on its way?"
        ) from exc
    if not unpacker.eof:
        raise InvalidInput(
            f"a server's config drive or metadata is cut short, or has more than {_LARGEST_DRIVE // MIB} MiB"
        )
    return drive


def is_watched(order: Order) -> bool:
    """Whether a worker carries it out, and not the call itself. A snapshot that is watched is libvirt's own work."""
    return order.kind in _WATCHED or (order.kind in ("evacuate", "migrate") and "watch" in order.options)


def _run_server(host: Host, orders: list[Order], *, wait: float, undo: bool) -> list[dict[str, Json]]:
    """One server's steps under one lock, up to the first that fails."""
    if orders[0].kind in _BESIDE:
        return [_run(host, orders[0])]
    watched = next((order for order in orders if is_watched(order)), None)
    if watched is not None:
        return _watch(host, watched, orders, wait=wait)
    results: list[dict[str, Json]] = []
    kinds = ", ".join(order.kind for order in orders)
    try:
        with server_lock(host.state_dir, orders[0].server_id, run_id=host.run_id, step=kinds, wait=wait):
            results.extend(_each(host, orders, undo=undo))
    except FlotillaError as exc:  # the lock is another's
        results.append(_result(orders[0], changed=False, message=str(exc), failed=True))
    return results


def _each(host: Host, orders: list[Order], *, undo: bool) -> t.Iterator[dict[str, Json]]:
    """What came of one server's steps, up to the first that fails. Its lock is held."""
    begin = _resume_at(host, orders)
    results = [_result(order, changed=False, message="an earlier run did it") for order in orders[:begin]]
    yield from results
    for index, order in enumerate(orders[begin:], begin + 1):
        host.report({"phase": order.kind.replace("_", " ")})
        results.append(_refused_ahead(host, order, orders[index:]) or _run(host, order))
        if results[-1].get("failed"):
            results[-1].update(after_failure(host, orders, results, undo=undo))
            _forget_if_gone(host, orders[0].server_id, results[-1])
        yield results[-1]
        if results[-1].get("failed") or results[-1].get("running"):
            return


def _refused_ahead(host: Host, order: Order, then: t.Iterable[Order]) -> dict[str, Json] | None:
    """What a guest would be shut down for by this *order* in vain: a cold move, or its revert, that is refused now,
    while it runs."""
    move = next((later for later in then if later.kind in ("migrate", "revert_resize")), None)
    if order.kind != "stop" or move is None:
        return None
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import moving

    def look(own: Host, move: Order) -> dict[str, Json]:
        present = _present(own, move)
        if present is not None:
            moving.check(Job(own, move, present, done=False))
        return {}

    return _run(host, move, look) or None


def _forget_if_gone(host: Host, server_id: str, result: t.Mapping[str, Json]) -> None:
    """A build of which nothing is left has written what the guest was to be told, too."""
    if result.get("nothing_left"):
        with contextlib.suppress(FlotillaError):  # the next survey finds it
            Trees(host.conn, host.state_dir).remove(server_id)


def _watch(host: Host, its: Order, orders: list[Order], *, wait: float) -> list[dict[str, Json]]:
    """Steps of which one takes its time, as far as they are. Others stand beside a cold move alone."""
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.watching import watch

    if len(orders) > 1 and its.kind != "migrate":
        raise InvalidInput(f"the step {its.kind!r} of server {its.name!r} comes alone, not with others")
    uri = host.conn.getURI()
    given: dict[str, t.Any] = {"state_dir": host.state_dir, "run_id": host.run_id, "wait": wait}
    try:
        seen = watch(its, work=lambda: _work(uri, host, orders), **given)
    except FlotillaError as exc:  # the lock is another's
        return [_result(its, changed=False, message=str(exc), failed=True)]
    if "progress" in seen:
        told = {"progress": seen["progress"]}
        return [{**_result(its, changed=True, message="under way", told=told), "running": True}]
    if "results" in seen:
        return t.cast("list[dict[str, Json]]", seen["results"])
    return [{**_result(its, changed=False, message=""), **seen, "kind": its.kind}]


def _work(uri: str, host: Host, orders: list[Order]) -> dict[str, Json]:
    """In the worker, which has a connection of its own: that of *host* is its parent's."""
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.watching import Journal

    run_events()
    journal = Journal.of(host.state_dir, orders[0].server_id)
    with opened(uri) as conn:
        own = host_of(conn, state_dir=host.state_dir, run_id=host.run_id, fleet_id=host.fleet_id)
        own = dataclasses.replace(own, drives=host.drives, secrets=host.secrets, trees=host.trees)
        own = dataclasses.replace(own, report=lambda said: journal.write(progress=dict(said)))
        if not is_watched(orders[0]) or orders[0].kind == "migrate":
            return {"results": list(_each(own, orders, undo=False))}
        result = _run(own, orders[0])
        return {**result, **(after_failure(own, orders, [result], undo=False) if result.get("failed") else {})}


def _resume_at(host: Host, orders: t.Sequence[Order]) -> int:
    """Where the same steps of a killed run, whose module went on, have got to: the last whose record is there."""
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):  # the step itself says it better
        domain = found(host.conn.lookupByUUIDString, orders[0].server_id)
        now = None if domain is None else record_of(domain)
        if now is not None and now.generation != orders[0].expects:
            return max((index for index, order in enumerate(orders) if _is_target(order.record, now)), default=0)
    return 0


def _run(host: Host, order: Order, do: t.Callable[[Host, Order], dict[str, Json]] | None = None) -> dict[str, Json]:
    """The step's result, or that of what is *do*ne for it."""
    try:
        return (do or _carry_out)(host, order)
    except StillCopying as exc:
        told = {"progress": exc.progress}
        return {**_result(order, changed=True, message="under way", told=told), "running": True}
    except BuildAbort as exc:
        return {**_result(order, changed=False, message=str(exc), failed=True), "abort": True}
    except FlotillaError as exc:
        return _result(order, changed=False, message=str(exc), failed=True, told=getattr(exc, "told", None))
    except libvirt.libvirtError as exc:
        error = libvirt_error(exc, order.kind.replace("_", " "), f"server {order.name!r}")
        return _result(order, changed=False, message=str(error), failed=True)


def _carry_out(host: Host, order: Order) -> dict[str, Json]:
    # After a move the server is at the other end, and so are its steps.
    if "at" in order.options:
        with other_end(host, order.options["at"]) as end:
            return _carry_out_at(end, order)
    trees, packed = Trees(host.conn, host.state_dir), host.trees.get(order.server_id)
    if packed is not None and order.record is not None and order.kind in _WITHOUT_DOMAIN:
        trees.check(order.record)  # before anything of it is made
    result = _carry_out_at(host, order)
    if order.kind not in (BRING, FORGET):
        domain = found(host.conn.lookupByUUIDString, order.server_id)
        try:
            settled = settle(trees, order.server_id, None if domain is None else record_of(domain), packed)
        except FlotillaError as exc:
            # What the step has done it has done, and the controller is to know its record. If the server has left, that
            # what it was told here can't be taken away is no failure of its move.
            failed = {} if domain is None else {"failed": True}
            return {**result, **failed, "message": f"{result['message']}; {exc}"}
        if settled:
            result.update(changed=True, message=f"{result['message']}; its metadata is brought up to date")
    return result


def _carry_out_at(host: Host, order: Order) -> dict[str, Json]:
    present = _present(host, order)
    done = _check(order, present)
    job = Job(host, order, present, done)
    changed, message = handler_of(order.kind)(job)
    kept, moved, fault = (job.told.pop(name, None) for name in ("record", "state", "fault"))
    after = found(host.conn.lookupByUUIDString, order.server_id)
    if after is None or moved is not None:
        record, state = (None if kept is None else Record.from_json(kept)), moved
    else:
        record, state = record_of(after), state_of(after)
    result = _result(order, changed=changed, message=message, record=record, state=state, told=job.told)
    # What was done is done, and the controller is to know its record.
    return result if fault is None else {**result, "failed": True, "message": fault}


def _present(host: Host, order: Order) -> Present | None:
    """The server's domain with its record, None if there is no domain; Conflict if it isn't ours."""
    domain: Domain | None = found(host.conn.lookupByUUIDString, order.server_id)
    if domain is None:
        return None
    record = record_of(domain)
    what = f"domain {domain.name()!r} has the id of server {order.name!r} ({order.server_id})"
    if record is None:
        raise Conflict(f"{what} and no record of Flotilla: it is not touched")
    if record.id != order.server_id:
        raise Conflict(f"{what} and the record of another ({record.id}): it is not touched")
    if record.fleet_id != host.fleet_id:
        raise Conflict(
            f"{what} and belongs to fleet {record.fleet_id}, this run is of fleet {host.fleet_id}: it is not touched"
        )
    return Present(domain, record)


def _check(order: Order, present: Present | None) -> bool:
    """Whether the record there is already the step's own; Stale when it is neither that nor the one planned from."""
    # These change nothing of the server, whatever of it is here.
    if order.kind in (BRING, FORGET) or (present is None and order.kind in _WITHOUT_DOMAIN):
        return False
    if present is None:
        raise Stale(
            f"server {order.name!r} has no domain on this host any more, so it can't be done: {order.kind}; plan again"
        )
    now = present.record
    if _is_target(order.record, now):
        return True
    if order.expects == now.generation:
        return False
    planned = "none" if order.expects is None else f"generation {order.expects}"
    raise Stale(
        f"server {order.name!r} has generation {now.generation}, the plan was made from {planned}: "
        "somebody changed it; plan again"
    )


def _is_target(target: Record | None, now: Record) -> bool:
    """Two plans may aim at the same number: what they aim at must be the same, too. (The host fills in the rest.)"""
    if target is None or target.generation != now.generation or _marks(target) != _marks(now):
        return False
    names = ("name", "spec", "flavor", "image", "declared", "fit")
    return all(getattr(target, name) == getattr(now, name) for name in names)


def _marks(record: Record) -> dict[str, Json]:
    """The marks as plans can know them: each plan marks a deletion at its own second, and the host says what was
    before a rescue or an evacuation."""
    marks = {key: None if key == "soft_delete" else value for key, value in record.marks.items()}
    rescue = marks.get("rescue")
    if isinstance(rescue, dict):
        marks["rescue"] = {key: rescue.get(key) for key in ("image", "state")}
    replaced = marks.get(evacuation.REPLACES)
    if isinstance(replaced, list):
        marks[evacuation.REPLACES] = [evacuation.planned_part(entry) for entry in replaced]
    if resize.MARK in marks:
        marks[resize.MARK] = resize.planned_part(marks[resize.MARK])
    return marks


def host_of(
    conn: Connection, *, state_dir: str, run_id: str, fleet_id: str, drives: t.Mapping[str, bytes] | None = None
) -> Host:
    """This host for one module call of a run of its fleet."""
    marker = read_marker(state_dir)
    if marker is None:
        raise InvalidInput(
            f"this host is not enrolled (it has no marker in {state_dir!r}); the module compute enrolls it"
        )
    if marker.fleet_id != fleet_id:
        raise Conflict(
            f"this host belongs to fleet {marker.fleet_id}, this run is of fleet {fleet_id}; "
            "fleet_take_over=true takes it over"
        )
    return Host(
        conn=conn,
        storage=Storage(conn),
        references=References(conn),
        fleet_id=fleet_id,
        host_id=marker.host_id,
        drives=drives or {},
        state_dir=state_dir,
        run_id=run_id,
    )


def _result(
    order: Order,
    *,
    changed: bool,
    message: str,
    record: Record | None = None,
    state: str | None = None,
    failed: bool = False,
    told: t.Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    result: dict[str, Json] = {
        "kind": order.kind,
        "server_id": order.server_id,
        "name": order.name,
        "changed": changed,
        "record": None if record is None else record.to_json(),
        "state": state,
        "message": message,
    }
    if told:
        result["told"] = dict(told)
    if failed:
        result["failed"] = True
    return result


__all__ = ["host_of", "is_watched", "look_at", "run_steps", "unpack_drive"]
