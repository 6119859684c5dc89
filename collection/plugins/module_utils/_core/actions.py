# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done now: Nova's actions on one server, as plans of steps.

Note that this module util is **PRIVATE** to the collection.

An action is refused by the state that the server is in (states.RULES), or it is the same steps that a reconcile run
would take. What it leaves is written into the record's spec (``state``), so that the next reconcile run sees the
difference to inventory, and what evacuates a server knows whether it should run.
"""

from __future__ import annotations

import dataclasses
import typing as t

from . import moving, resizing, saving
from .errors import InvalidInput, Refused
from .live import OPTIONS as LIVE_OPTIONS
from .live import wants_live
from .model import Flavor, Guest, Image, Json, Record, Server, Spec
from .resize import resize_of
from .states import Standing, power_state, refusal, vm_state
from .steps import COSTS, REBUILD, RESIZED, SHELVED, Leave, ServerPlan, Step, as_defined, confirm_step, plan_server

#: Seconds that a guest has to reboot by itself before it is power cycled (Nova's wait_soft_reboot_seconds).
SOFT_REBOOT_TIMEOUT = 120


@dataclasses.dataclass(frozen=True)
class Request:
    """An action that somebody asks for: ``options`` without what is secret, ``by`` who it is.

    ``images``, ``keypairs`` (public keys) and ``flavors`` are the catalogs that options name entries of.
    """

    action: str
    options: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)
    by: str = ""
    leave: Leave = dataclasses.field(default_factory=Leave)
    images: t.Mapping[str, Image] = dataclasses.field(default_factory=dict)
    keypairs: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    flavors: t.Mapping[str, Flavor] = dataclasses.field(default_factory=dict)


Planned = t.Sequence[Step]


@dataclasses.dataclass(frozen=True)
class Deed:
    """What an action does. ``options`` are those it takes, ``secrets`` those of them that go to the host alone."""

    steps: t.Callable[[Request, Record, Guest | None], Planned]
    options: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


def plan_action(request: Request, record: Record, guest: Guest | None, *, task_state: str | None = None) -> ServerPlan:
    """The steps of an action. Refused in Nova's words; InvalidInput for an option that the action doesn't take."""
    check_options(request.action, request.options)
    reason = refusal(rule_of(request, guest), record.id, standing(record, guest, request.leave, task_state))
    if reason is not None:
        raise Refused(reason)
    planned = ACTIONS[request.action].steps(request, record, guest)
    held = tuple(step for step in planned if step.hold and step.hold not in request.leave.allow)
    steps = () if held else tuple(dataclasses.replace(step, hold=None) for step in planned)
    return ServerPlan(steps=steps, held=held)


def check_options(action: str, options: t.Collection[str]) -> None:
    """InvalidInput for an action that there isn't, and for options that it doesn't take."""
    if action not in ACTIONS:
        raise InvalidInput(f"there is no action {action!r}; there are {', '.join(sorted(ACTIONS))}")
    taken = ACTIONS[action].options | ACTIONS[action].secrets
    unknown = sorted(set(options) - taken)
    if unknown:
        allowed = f"it takes {', '.join(sorted(taken))}" if taken else "it takes none"
        raise InvalidInput(f"the action {action} takes no option {', '.join(unknown)}; {allowed}")


def rule_of(request: Request, guest: Guest | None = None) -> str:
    """The row of Nova's matrix that the action is judged by."""
    if request.action == "migrate" and wants_live(request.options.get("live"), guest.state if guest else "shutoff"):
        return "live_migrate"
    if request.action == "reboot" and request.options.get("type") == "hard":
        return "hard_reboot"
    return request.action


def standing(record: Record, guest: Guest | None, leave: Leave, task_state: str | None = None) -> Standing:
    """Where a server stands. Who has leave for locked servers finds none locked, as Nova's administrators do."""
    state = guest.state if guest is not None else "shutoff"
    return Standing(
        vm_state=vm_state(state, record.marks),
        power_state=power_state(state) if guest is not None else 0,
        task_state=task_state,
        lock="" if "locked" in leave.allow else record.lock,
    )


def outlook(desired: Server | None, record: Record, state: str, leave: Leave) -> str:
    """What the next reconcile run will do about a server that an action has left so; empty if it leaves it alone.

    *desired* is what inventory declares, None for a server that it doesn't name; *state* the guest's.
    """
    if desired is None:
        return ""
    if RESIZED in record.marks:
        return resizing.outlook(desired, record, "the reconcile run after the resize is confirmed") or _WAITS
    autostart = bool(record.spec.get("autostart"))
    shelved = SHELVED in record.marks
    guest = None if shelved else dataclasses.replace(as_defined(record), state=state, autostart=autostart)
    volumes = frozenset(disk.volume for disk in record.disks)
    plan = plan_server(desired, record, guest, volumes=volumes, leave=leave)
    kinds = [step.kind for step in plan.steps if step.kind not in ("end_move", "tidy", "update")]
    if desired.spec.get("locked") and not record.lock:
        return "inventory declares server_locked: the next reconcile run locks it again; leave that out to keep it free"
    if not kinds:
        return _with_leave(desired, record, plan) or _left_alone(desired, record)
    wanted = "absent" if "soft_delete" in record.marks else record.spec.get("state", "active")
    keep = f"; set server_state: {wanted} to keep it as it is" if wanted != desired.state else ""
    done = " and ".join(kind.replace("_", " ") for kind in kinds)
    return f"inventory declares {desired.state}: the next reconcile run will {done} it{keep}"


def _with_leave(desired: Server, record: Record, plan: ServerPlan) -> str:
    """What only a run with more leave makes of it."""
    held = {step.kind for step in plan.held if step.hold in ("data_loss", "rebuild", "restart")}
    if "rebuild" in held:
        wanted, image = desired.spec["image"]["name"], record.spec["image"]["name"]
        keys = sorted({each.key.partition(".")[0] for each in plan.differences if each.cls == REBUILD})
        keep = "" if wanted == image else f"; set server_image: {image} to keep the one that it has"
        what = f"other {', '.join(keys)}" if wanted == image else f"image {wanted}"
        return f"inventory declares {what}: a reconcile run with leave to rebuild carries that out{keep}"
    # Grown while it runs, for good; to get less it has to be off.
    grown = record.room is not None and "reconfigure" in held
    return resizing.outlook(desired, record, "a reconcile run with leave to restart") if grown else ""


_WAITS = "until the action confirm_resize or revert_resize reconcile runs only start and stop it as declared"


def _left_alone(desired: Server, record: Record) -> str:
    """What inventory doesn't say, and no run takes back."""
    if "lock" in record.marks and not desired.spec.get("locked"):
        return (
            "inventory declares no lock: reconcile runs hold what they would do to it until the action unlock; "
            "set server_locked: true to keep it"
        )
    if "rescue" in record.marks and desired.spec.get("rescue") is None:
        return (
            "inventory declares no rescue: reconcile runs leave it as it is until the action unrescue; "
            f"set server_rescue: {record.marks['rescue']['image'].get('name')} to keep it"
        )
    return ""


def _in_state(record: Record, state: str) -> Spec | None:
    """The record's spec with that state; None if it says so already."""
    return None if record.spec.get("state") == state else {**record.spec, "state": state}


def _power(kind: str, state: str, *options: str) -> Deed:
    def steps(request: Request, record: Record, _guest: Guest | None) -> Planned:
        given = {name: request.options[name] for name in options if name in request.options}
        return [Step(kind, f"asked for{COSTS.get(kind, '')}", spec=_in_state(record, state), options=given)]

    return Deed(steps, frozenset(options))


def _reboot(request: Request, record: Record, _guest: Guest | None) -> Planned:
    kind = request.options.get("type", "soft")
    if kind not in ("soft", "hard"):
        raise InvalidInput(f"a reboot is soft or hard, and its type is {kind!r}")
    if kind == "hard":
        if set(request.options) - {"type"}:
            raise InvalidInput("a hard reboot waits for nothing: it takes no timeout and no wait")
        return [Step("hard_reboot", "asked for", spec=_in_state(record, "active"))]
    options = {"timeout": SOFT_REBOOT_TIMEOUT, **request.options}
    return [Step("reboot", "asked for", options={name: options[name] for name in options if name != "type"})]


def _lock(request: Request, record: Record, _guest: Guest | None) -> Planned:
    """Locking what is locked changes nothing, as in Nova: the first reason stays."""
    if "lock" in record.marks:
        return []
    mark = {"by": request.by, "reason": request.options.get("reason") or "", "at": request.leave.now}
    return [Step(_writing(record), "lock", marks={"lock": mark})]


def _unlock(_request: Request, record: Record, _guest: Guest | None) -> Planned:
    if not record.lock:
        return []
    spec = {key: value for key, value in record.spec.items() if key != "locked"}
    return [Step(_writing(record), "unlock", spec=spec, marks={"lock": None})]


def _writing(record: Record) -> str:
    """The step that changes nothing but the record: a shelved server has no domain that bears it."""
    return "update_shelved" if SHELVED in record.marks else "update"


def _soft_delete(request: Request, record: Record, guest: Guest | None) -> Planned:
    if request.leave.reclaim <= 0:
        raise Refused("fleet_reclaim is 0, so nothing is deleted softly; the action is delete")
    return _delete(request, record, guest)


def _delete(request: Request, record: Record, guest: Guest | None) -> Planned:
    """Softly where the fleet gives deleted servers time, as in Nova; else for good."""
    if request.leave.reclaim <= 0 or SHELVED in record.marks:  # no domain is there that could wait
        return _force_delete(request, record, guest)
    if "soft_delete" in record.marks:
        return []
    return [
        *_confirmed(record),
        Step("soft_delete", f"asked for; it can be restored for {request.leave.reclaim // 3600} hours"),
    ]


def _force_delete(_request: Request, record: Record, _guest: Guest | None) -> Planned:
    return [*_confirmed(record), Step("delete", "asked for; its disks are gone for good", hold="delete")]


def _restore(_request: Request, record: Record, _guest: Guest | None) -> Planned:
    return [
        Step("restore", "asked for", spec=_in_state(record, "active") or record.spec),
        Step("start", "what is restored runs"),
    ]


def _confirmed(record: Record) -> list[Step]:
    """Nova confirms a resize before it deletes the server: then it is on one host only."""
    its = resize_of(record)
    return [] if its is None or its.source is None or its.undoing else [confirm_step(record, "it goes")]


def _inject_nmi(_request: Request, _record: Record, _guest: Guest | None) -> Planned:
    return [Step("inject_nmi", "asked for; a guest that is set up for it dumps its memory")]


def _set_password(request: Request, record: Record, _guest: Guest | None) -> Planned:
    if not record.hardware.guest_agent:
        raise Refused("QEMU guest agent is not enabled")
    image = record.image.properties
    default = "Administrator" if image.get("os_type") == "windows" else "root"
    user = request.options.get("user") or image.get("os_admin_user") or default
    return [Step("set_password", f"of {user}", options={"user": user})]


def _snapshot(request: Request, record: Record, _guest: Guest | None) -> Planned:
    return saving.snapshot(request.options, record, request.leave.now)


def _backup(request: Request, record: Record, _guest: Guest | None) -> Planned:
    return saving.backup(request.options, record, request.leave.now)


def _shelve(request: Request, record: Record, guest: Guest | None) -> Planned:
    return saving.shelve(request.options, record, guest, _in_state(record, "shelved"))


def _unshelve(_request: Request, record: Record, _guest: Guest | None) -> Planned:
    return saving.unshelve(_in_state(record, "active"))


def _rescue(request: Request, record: Record, guest: Guest | None) -> Planned:
    return saving.rescue(request.options, record, guest, request.images)


def _unrescue(_request: Request, record: Record, guest: Guest | None) -> Planned:
    return saving.unrescue(record, guest)


def _rebuild(request: Request, record: Record, guest: Guest | None) -> Planned:
    return saving.rebuild(request.options, record, guest, request.images, request.keypairs)


def _resize(request: Request, record: Record, guest: Guest | None) -> Planned:
    return resizing.resize(request.options, record, guest, request.flavors)


def _migrate(request: Request, record: Record, guest: Guest | None) -> Planned:
    return moving.migrate(request.options, record, guest)


def _confirm_resize(_request: Request, record: Record, _guest: Guest | None) -> Planned:
    return resizing.confirm(record)


def _revert_resize(_request: Request, record: Record, guest: Guest | None) -> Planned:
    return resizing.revert(record, guest)


def _abort_migration(_request: Request, _record: Record, _guest: Guest | None) -> Planned:
    return [Step("abort_migration", "asked for; the server stays where it is")]


#: The actions that can be asked for, by name. Each has its rule of the same name in states.RULES.
ACTIONS: t.Final[dict[str, Deed]] = {
    "abort_migration": Deed(_abort_migration),
    "backup": Deed(_backup, frozenset({"name", "backup_type", "rotation", "pool"})),
    "confirm_resize": Deed(_confirm_resize),
    "crash_dump": Deed(_inject_nmi),
    "delete": Deed(_delete),
    "force_delete": Deed(_force_delete),
    "inject_nmi": Deed(_inject_nmi),
    "lock": Deed(_lock, frozenset({"reason"})),
    "migrate": Deed(_migrate, frozenset({"host", "live", "confirm", "wait", *LIVE_OPTIONS})),
    "pause": _power("pause", "paused"),
    "reboot": Deed(_reboot, frozenset({"type", "timeout", "wait"})),
    "rebuild": Deed(
        _rebuild, frozenset({"image", "key_name", "metadata", "description"}), frozenset({"password", "user_data"})
    ),
    "rescue": Deed(_rescue, frozenset({"image"})),
    "resize": Deed(_resize, frozenset({"flavor", "host"})),
    "restore": Deed(_restore),
    "resume": _power("resume", "active"),
    "revert_resize": Deed(_revert_resize),
    "set_password": Deed(_set_password, frozenset({"user"}), frozenset({"password"})),
    "shelve": Deed(_shelve, frozenset({"pool"})),
    "snapshot": Deed(_snapshot, frozenset({"name", "pool"})),
    "soft_delete": Deed(_soft_delete),
    "start": _power("start", "active"),
    "stop": _power("stop", "stopped", "timeout", "wait"),
    "suspend": _power("suspend", "suspended"),
    "unlock": Deed(_unlock),
    "unpause": _power("unpause", "active"),
    "unrescue": Deed(_unrescue),
    "unshelve": Deed(_unshelve),
}

__all__ = [
    "ACTIONS",
    "SOFT_REBOOT_TIMEOUT",
    "Deed",
    "Request",
    "check_options",
    "outlook",
    "plan_action",
    "rule_of",
    "standing",
]
