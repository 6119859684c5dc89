# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One server: desired + applied + live -> steps.

Note that this module util is **PRIVATE** to the collection.

Differences are three-way: what inventory says (Server), what was applied (Record), what libvirt has (Guest). Only
keys that the user
wrote, or had written, are compared. The law, held by the tests: after the steps have been carried out there are none.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .differences import (
    CLASSES,
    IMPOSSIBLE,
    LIVE,
    NEXT_BOOT,
    REBUILD,
    RESTART,
    Difference,
    as_defined,
    by_class,
    differences_of,
    drift,
    is_off,
)
from .errors import FlotillaError
from .growing import grow_step, grows, while_it_runs
from .hardware import hardware_of
from .locked import kept_out, lock_of, lock_on_deleted
from .loss import loses_root
from .model import Guest, Json, Record, Server, Spec
from .move import end_move, is_moving, marked
from .rebuilding import cut_off, rebuild_again, rebuilt
from .resize import MARK as RESIZED
from .resize import MIGRATING, Resize, abandoned, added, leaving, resize_of
from .states import route
from .step import DRIVE_OUT, Leave, ServerPlan, Step

#: The mark of a server that is on no host, and is kept as its snapshots.
SHELVED = "shelved_offloaded"

#: What people should know of a step before it is done.
COSTS = {"pause": "; what it has in memory is lost if its host reboots"}


def plan_server(
    desired: Server,
    record: Record | None,
    guest: Guest | None,
    *,
    volumes: t.AbstractSet[str],
    leave: Leave,
    moved: bool = False,
) -> ServerPlan:
    """The steps for a declared server.

    ``record`` is the guest's own, or the ledger's when no guest is there; ``volumes`` names the volumes found where the
    server is, or would be made; ``moved``: the guest is on another host than its record says.
    """
    if record is not None and is_moving(record, guest):
        try:
            rest = plan_server(desired, marked(record, None), guest, volumes=volumes, leave=leave, moved=moved)
        except FlotillaError:  # whatever is wrong with what is declared: the move is ended first
            rest = ServerPlan()
        return end_move(record, guest, rest.steps)
    if desired.state == "absent":
        return _absent(record, guest, volumes=volumes, leave=leave, leaves="declared absent", hold=None)
    return _plan_wanted(desired, record, guest, volumes=volumes, leave=leave, moved=moved)


def _plan_wanted(
    desired: Server,
    record: Record | None,
    guest: Guest | None,
    *,
    volumes: t.AbstractSet[str],
    leave: Leave,
    moved: bool,
) -> ServerPlan:
    if record is None:
        if guest is not None:
            raise ValueError("a guest without a record is foreign and has no plan")
        return _create(desired, "new")
    if guest is None and SHELVED in record.marks:
        return _shelved(desired, record, volumes=volumes, leave=leave)
    if guest is None and record.root.volume not in volumes and record.root.volume.startswith(record.id):
        return _create(desired, "its domain and its disk are gone")
    if guest is None:
        # The disk of an adopted server is in no survey, which lists Flotilla's own: whether it is there the host says.
        seen = "is there" if record.root.volume in volumes else "is others' work, and is looked for"
        first = Step("define", f"its domain is gone, its disk {record.root.volume} {seen}", spec=record.spec)
        return _after(first, desired, record, as_defined(record), leave)
    if "soft_delete" in record.marks:
        first = Step("restore", f"declared {desired.state}, it was deleted softly", spec=record.spec)
        return _after(first, desired, record, as_defined(record), leave)
    if leaving(record) is not None:
        first = undo_step(record)
        rest = dataclasses.replace(record, marks=_without(record, *first.marks))
        return _after(first, desired, rest, as_defined(rest) if RESIZED in record.marks else guest, leave)
    if moved or not guest.persistent:
        why = "it was moved here by hand" if moved else "its domain is transient here"
        return _after(Step("adopt", why, spec=record.spec), desired, record, guest, leave)
    plan = _by_mark(record)(desired, record, guest, leave)
    return _tidied(plan, record, volumes)


def plan_prune(record: Record, guest: Guest | None, *, volumes: t.AbstractSet[str], leave: Leave) -> ServerPlan:
    """The steps for a managed server that inventory no longer names (only with fleet_prune)."""
    if is_moving(record, guest):
        return end_move(record, guest)
    return _absent(record, guest, volumes=volumes, leave=leave, leaves="not in inventory", hold="delete")


def _create(desired: Server, why: str) -> ServerPlan:
    first = (Step("create", why, spec=desired.spec), *_autostart(desired))
    rescue = desired.spec.get("rescue")
    if rescue is None or desired.state == "shelved":
        return ServerPlan(steps=(*first, *_powers("shutoff", desired)))
    state = "shutoff" if desired.state == "stopped" else "running"
    return ServerPlan(steps=(*first, *rescue_steps(rescue, "declared", spec=desired.spec, state=state)))


def _shelved(desired: Server, record: Record, *, volumes: t.AbstractSet[str], leave: Leave) -> ServerPlan:
    """A shelved server is on no host: what changes is carried out when it is unshelved."""
    if desired.state == "shelved":
        left = any(disk.volume in volumes for disk in record.disks)
        return ServerPlan(steps=(Step("shelve", "its disks are still there: it was cut off"),) if left else ())
    spec = {**record.spec, "state": desired.state}
    first = Step("unshelve", f"declared {desired.state}, it is shelved", spec=spec, marks={SHELVED: None})
    if record.lock and "locked" not in leave.allow:
        return ServerPlan(held=(dataclasses.replace(first, why=f"{first.why}; locked {record.lock}", hold="locked"),))
    record = dataclasses.replace(record, spec=spec, marks=_without(record, SHELVED))
    plan = _after(first, desired, record, as_defined(record), leave)
    return dataclasses.replace(plan, steps=(*plan.steps, Step("tidy", "its snapshots are no longer needed")))


def _as_rescued(desired: Server, record: Record, guest: Guest, leave: Leave) -> ServerPlan:
    """Rescue and its end as inventory declares them. While a server is rescued all other changes wait; one that
    somebody has rescued by an action is left alone until they have done."""
    wanted, applied, mark = desired.spec.get("rescue"), record.spec.get("rescue"), record.marks.get("rescue")
    if mark is None and (wanted is None or desired.state == "shelved"):
        return _present(desired, record, guest, leave)
    spec = _with(record.spec, desired.spec, {"rescue"})
    if mark is not None and wanted == applied and (wanted is None or mark.get("image") == wanted):
        return ServerPlan()
    if mark is not None and wanted is not None and mark.get("image") == wanted:
        return ServerPlan(steps=(Step("update", "rescue", spec=spec),))
    steps = [Step(kind, "for the next step") for kind in route(guest.state, "stopped")]
    if mark is not None:
        steps.append(Step("unrescue", "no longer declared rescued so", spec=spec, marks={"rescue": None}))
    if wanted is not None:
        steps += rescue_steps(wanted, "declared", spec=spec, state=str(mark["state"]) if mark else guest.state)
        rest = ServerPlan()
    else:
        record = dataclasses.replace(record, spec=spec, marks=_without(record, "rescue"))
        # What it is on is known again once it has been defined as it was.
        rest = _present(desired, record, as_defined(record), leave)
    lock = "" if "locked" in leave.allow else lock_of(desired, record)
    if lock:
        held = kept_out(steps, [], lock)[1]
        return ServerPlan(rest.differences, (), (*held, *rest.held))
    return ServerPlan(rest.differences, (*steps, *rest.steps), rest.held)


def _as_resized(desired: Server, record: Record, guest: Guest, leave: Leave) -> ServerPlan:
    """A resized server waits to be confirmed or reverted: until then it is only started and stopped as declared."""
    its = t.cast(Resize, resize_of(record))
    rest = ServerPlan()
    over = 0 < leave.confirm_after <= leave.now - its.at
    if its.undoing:
        steps = revert_steps(record, guest, "its revert was cut off")
    elif over or its.confirm:
        why = "nobody reverted it in its time" if over else "it was not to wait for that"
        steps = [confirm_step(record, why)]
        record = dataclasses.replace(record, marks=_without(record, RESIZED))
        rest = _present(desired, record, guest, leave)
    else:
        steps = [] if desired.state == "shelved" else list(_powers(guest.state, desired))
    lock = "" if "locked" in leave.allow else lock_of(desired, record)
    if lock:
        return ServerPlan(rest.differences, (), (*kept_out(steps, [], lock)[1], *rest.held))
    return ServerPlan(rest.differences, (*steps, *rest.steps), rest.held)


def _by_mark(record: Record) -> t.Callable[[Server, Record, Guest, Leave], ServerPlan]:
    if cut_off(record):
        return _rebuilt
    return _as_resized if RESIZED in record.marks else _as_rescued


def _rebuilt(desired: Server, record: Record, guest: Guest, leave: Leave) -> ServerPlan:
    """Only forward, and then as declared. One that somebody has started by hand meanwhile waits for leave."""
    first = rebuild_again(record, desired.spec)
    after = rebuilt(record, first)
    lock = "" if "locked" in leave.allow else lock_of(desired, record)
    hold = "locked" if lock else "rebuild" if guest.active and "rebuild" not in leave.allow else None
    if hold is not None:
        return ServerPlan(held=(dataclasses.replace(first, hold=hold),))
    down = tuple(Step(kind, "for the next step") for kind in route(guest.state, "stopped"))
    plan = _after(first, desired, after, as_defined(after), leave)
    return dataclasses.replace(plan, steps=(*down, *plan.steps))


def resize_step(flavor: Json, why: str, spec: Spec, state: str) -> Step:
    """Another flavor (as JSON), to be confirmed or reverted; *state* is what the guest was in before."""
    return Step("resize", f"{why}, to flavor {flavor.get('name')}", spec=spec, marks={RESIZED: {"state": state}})


def confirm_step(record: Record, why: str) -> Step:
    """From now on there is no way back."""
    its = t.cast(Resize, resize_of(record))
    return Step("confirm_resize", why, marks={RESIZED: None}, options=_peer(its))


def undo_step(record: Record) -> Step:
    """What a move that was cut off has left goes, and the server stays where it is."""
    its = leaving(record)
    to = "another host" if its is None else its.to.host
    options = {} if its is None else {"peer": its.to.host_id}
    return Step(
        "undo_migration",
        f"its move to {to} was cut off",
        spec=record.spec,
        marks={RESIZED: None, MIGRATING: None},
        options=options,
    )


def _peer(its: Resize) -> dict[str, Json]:
    """The host at the other end of a step, by its id."""
    return {} if its.source is None else {"peer": its.source.host_id}


def revert_steps(record: Record, guest: Guest | None, why: str) -> list[Step]:
    """Back to the flavor of before, and to the state of before. Disks that came with the new one are lost."""
    its = t.cast(Resize, resize_of(record))
    lost = [disk.role for disk in added(record) if disk.role != "swap"]
    stale = [disk.role for disk in abandoned(record) if disk.role not in ("config", "swap")]
    hold = "data_loss" if (lost or stale) and not its.undoing else None
    to = f"{why}, to flavor {its.flavor.name}" if its.source is None else f"{why}, to host {its.source.host}"
    costs = [f"what is on its disk {', '.join(lost)} is lost"] if lost else []
    costs += [f"what was written since to its disk {', '.join(stale)} is lost"] if stale else []
    why = "; ".join([to, *costs]) if hold else to
    spec = {**record.spec, "flavor": its.flavor.to_json()}
    state = guest.state if guest is not None else "shutoff"
    down = [Step(kind, "for the next step") for kind in route(state, "stopped")]
    up = [Step("start", "it ran before")] if its.state == "running" else []
    revert = Step("revert_resize", why, spec=spec, marks={RESIZED: None}, hold=hold, options=_peer(its))
    return [*down, revert, *up]


def rescue_steps(image: Json, why: str, *, spec: Spec | None, state: str) -> list[Step]:
    """From off to booted from *image* (as JSON); *state* is what the guest is in again when it is unrescued."""
    name = image.get("name")
    mark = {"image": image, "state": state}
    return [
        Step("rescue", f"{why}, from image {name}", spec=spec, marks={"rescue": mark}),
        Step("start", "to be rescued"),
    ]


def _tidied(plan: ServerPlan, record: Record, volumes: t.AbstractSet[str]) -> ServerPlan:
    """What a snapshot or a shelving that was killed has left beside a server goes."""
    left = {f"{record.id}-{role}" for role in ("snapshot", "shelved")} & volumes
    if not left or any(step.kind == "shelve" for step in plan.steps):
        return plan
    return dataclasses.replace(plan, steps=(Step("tidy", "a snapshot of it was cut off"), *plan.steps))


def _without(record: Record, *marks: str) -> dict[str, Json]:
    return {key: value for key, value in record.marks.items() if key not in marks}


def _autostart(desired: Server) -> tuple[Step, ...]:
    """A domain is always defined with autostart off; opting in is a step of its own."""
    return (Step("update", "autostart", spec=desired.spec),) if desired.spec.get("autostart") else ()


def _after(first: Step, desired: Server, record: Record, guest: Guest, leave: Leave) -> ServerPlan:
    """``first`` and then all that is still to do on the guest that it leaves: one plan, so that a second has none."""
    begun = _by_mark(record)
    rest = (_present if begun is _as_rescued else begun)(desired, record, guest, leave)
    if first.kind == "restore" and any(step.hold == "locked" for step in rest.held):
        return rest
    return ServerPlan(rest.differences, (first, *rest.steps), rest.held)


def _absent(
    record: Record | None,
    guest: Guest | None,
    *,
    volumes: t.AbstractSet[str],
    leave: Leave,
    leaves: str,
    hold: str | None,
) -> ServerPlan:
    if record is None:
        return ServerPlan()
    first = _settled(record)
    if first is not None and guest is not None:
        # Nova, too, confirms a resize before it deletes the server.
        record = dataclasses.replace(record, marks=_without(record, *first.marks))
        plan = _absent(record, guest, volumes=volumes, leave=leave, leaves=leaves, hold=hold)
        return dataclasses.replace(plan, steps=(first, *plan.steps)) if plan.steps else plan
    mark = record.marks.get("soft_delete")
    over = mark is None or leave.now - float(mark["at"]) >= leave.reclaim
    lock = record.lock if mark is None else lock_on_deleted(record)
    if lock and over and "locked" not in leave.allow:
        kind = "soft_delete" if guest is not None and mark is None else "delete"
        why = leaves if mark is None else "deleted softly, its time is over"
        return _by_leave(Step(kind, f"{why}; locked {lock}", hold="locked"), leave)
    if guest is None:
        # Nothing softens this: there is no domain left that could wait for fleet_reclaim.
        disks = SHELVED in record.marks
        disks |= any(disk.volume in volumes for disk in record.disks if disk.role != "config")
        return _by_leave(Step("delete", f"{leaves}, its domain is gone", hold="delete" if disks else None), leave)
    if mark is not None:
        if over and guest.state != "shutoff":
            why = "deleted softly, its time is over; somebody has started it since, and may need it"
            return _by_leave(Step("delete", why, hold="delete"), leave)
        return ServerPlan(steps=(Step("delete", "deleted softly, its time is over"),)) if over else ServerPlan()
    if leave.reclaim > 0:
        return _by_leave(Step("soft_delete", leaves, hold=hold), leave)
    return _by_leave(Step("delete", leaves, hold="delete"), leave)


def _settled(record: Record) -> Step | None:
    """What must be done first about a server of which two hosts have a copy."""
    if leaving(record) is not None:
        return undo_step(record)
    its = resize_of(record)
    if its is None or its.source is None:
        return None
    return revert_steps(record, None, "its revert was cut off")[0] if its.undoing else confirm_step(record, "it goes")


def _by_leave(step: Step, leave: Leave) -> ServerPlan:
    if step.hold and step.hold not in leave.allow:
        return ServerPlan(held=(step,))
    return ServerPlan(steps=(dataclasses.replace(step, hold=None),))


def _present(desired: Server, record: Record, guest: Guest, leave: Leave) -> ServerPlan:
    told = differences_of(desired.spec, record.spec, off=is_off(guest))
    differences = [_at_its_pool(difference, record) for difference in told] + drift(desired, record, guest)
    if any(difference.key == "domain.disks" and difference.cls == IMPOSSIBLE for difference in differences):
        # The host refuses to define it anew, and would do so only once the guest had been stopped for it.
        differences = [
            difference if difference.cls == LIVE else dataclasses.replace(difference, cls=IMPOSSIBLE)
            for difference in differences
        ]
    differences, why_not = while_it_runs(desired, record, guest, differences)
    keys = by_class(differences)
    lock = "" if "locked" in leave.allow else lock_of(desired, record)
    if lock:
        keys[LIVE].discard("state")  # the record says what was carried out, and on a locked server this isn't
    steps, held = _changes(desired, record, guest, keys, leave, why_not)
    if lock:
        steps, held = kept_out(steps, held, lock)
    return ServerPlan(tuple(differences), tuple(steps), tuple(held))


def _as_it_runs(desired: Server, record: Record, keys: set[str]) -> tuple[list[Step], Spec]:
    """The steps of changes that interrupt nothing, and the record's spec after them."""
    spec: Spec = dict(record.spec)
    steps: list[Step] = []
    growing = "flavor" in keys and grows(record, desired.flavor)
    written = keys - {"domain", "flavor"} if growing else keys - {"domain"}
    out = DRIVE_OUT in record.marks
    if written or out:
        spec = _with(spec, desired.spec, written)
        why = _list(written) or "its config drive was taken out, and not put in again"
        steps.append(Step("update", why, spec=spec, marks={DRIVE_OUT: None} if out else {}))
    if growing:
        spec = _with(spec, desired.spec, {"flavor"})
        steps.append(grow_step(desired.spec["flavor"], "declared", spec))
    if "domain" in keys:
        steps.append(Step("pin", "pinned otherwise on the host"))
    return steps, spec


def _at_its_pool(difference: Difference, record: Record) -> Difference:
    """To name the pool that a server is in anyway, or no longer to name one, changes no more than its record."""
    if difference.key == "pool" and difference.new in (None, record.root.pool):
        return dataclasses.replace(difference, cls=LIVE)
    return difference


def _changes(
    desired: Server, record: Record, guest: Guest, keys: t.Mapping[str, set[str]], leave: Leave, why_not: str
) -> tuple[list[Step], list[Step]]:
    """Live changes first; then, once, the way down and up again for what needs the guest off.

    A rebuild that is allowed takes the changes of hardware with it: the guest goes down once. *why_not*: why another
    flavor takes more than it was declared to.
    """
    steps, spec = _as_it_runs(desired, record, keys[LIVE])
    down = [Step(kind, "for the next step") for kind in route(guest.state, "stopped")]
    interrupts = bool(down) and desired.state not in ("stopped", "shelved")
    hardware = keys[NEXT_BOOT] | keys[RESTART]
    told = _told(hardware, f"not while it runs: {why_not}" if why_not else "")
    lost = loses_root(record) if keys[REBUILD] else ""
    lacks = next((flag for flag in ("rebuild", "data_loss" if lost else "rebuild") if flag not in leave.allow), None)
    rebuild = bool(keys[REBUILD]) and lacks is None
    restart = not interrupts or rebuild or "restart" in leave.allow
    deeds: list[Step] = []
    held: list[Step] = []
    verify = "flavor" in hardware and desired.spec.get("resize") == "verify" and desired.state != "shelved"
    if verify and not rebuild:
        # What else changes waits until this is confirmed: a revert leads back to one thing.
        resize = resize_step(desired.spec["flavor"], "declared", _with(spec, desired.spec, {"flavor"}), guest.state)
        if restart:
            deeds.append(resize)
        else:
            held.append(dataclasses.replace(resize, hold="restart"))
    elif hardware and restart:
        spec = _with(spec, desired.spec, hardware)
        deeds.append(Step("reconfigure", told, spec=dict(spec)))
    elif hardware:
        held.append(Step("reconfigure", told, hold="restart"))
    if rebuild:
        deeds.append(Step("rebuild", _told(keys[REBUILD], lost), spec=_with(spec, desired.spec, keys[REBUILD])))
    elif keys[REBUILD]:
        held.append(Step("rebuild", _told(keys[REBUILD], lost), hold=lacks))
    if deeds:
        return [*steps, *down, *deeds, *_powers("shutoff", desired)], held
    return [*steps, *_powers(guest.state, desired)], held


def _powers(found: str, desired: Server) -> tuple[Step, ...]:
    if desired.state == "shelved":
        return shelve_steps(found, "declared shelved", firmware=hardware_of(desired.image).firmware)
    return tuple(Step(kind, f"declared {desired.state}{COSTS.get(kind, '')}") for kind in route(found, desired.state))


def shelve_steps(
    found: str, why: str, *, firmware: str, spec: Spec | None = None, pool: str | None = None
) -> tuple[Step, ...]:
    """From a guest in state *found* to a server on no host. ``pool``: of its snapshots, else that of its root disk."""
    down = tuple(Step(kind, "for the next step") for kind in route(found, "stopped"))
    if firmware == "uefi":
        why = f"{why}; the variables of its UEFI firmware are made anew when it is unshelved"
    return (*down, Step("shelve", why, spec=spec, options={} if pool is None else {"pool": pool}))


def _with(spec: Spec, desired: Spec, keys: t.AbstractSet[str]) -> dict[str, Json]:
    """``spec`` with the given keys as desired: set, or gone where inventory no longer has them."""
    changed = {key: value for key, value in spec.items() if key not in keys}
    changed.update({key: desired[key] for key in keys if key in desired})
    return changed


def _told(keys: t.AbstractSet[str], more: str) -> str:
    return f"{_list(keys)}; {more}" if more else _list(keys)


def _list(keys: t.AbstractSet[str]) -> str:
    return ", ".join(sorted("hardware changed on the host" if key == "domain" else key for key in keys))


__all__ = [
    "CLASSES",
    "COSTS",
    "IMPOSSIBLE",
    "LIVE",
    "NEXT_BOOT",
    "REBUILD",
    "RESIZED",
    "RESTART",
    "SHELVED",
    "Difference",
    "Leave",
    "ServerPlan",
    "Step",
    "as_defined",
    "confirm_step",
    "differences_of",
    "plan_prune",
    "plan_server",
    "rescue_steps",
    "resize_step",
    "revert_steps",
    "shelve_steps",
    "undo_step",
]
