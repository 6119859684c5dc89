# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's actions that copy a server's disks, or set others under it: snapshot, backup, shelve, rescue, rebuild.

Note that this module util is **PRIVATE** to the collection.

What they take is in the tables of actions.ACTIONS; images and keys are asked for by name, and come as the catalogs have
them.
"""

from __future__ import annotations

import datetime
import difflib
import typing as t

from .adopting import NO_BYTES
from .errors import InvalidInput, Refused
from .loss import loses_root
from .model import GIB, Guest, Image, Json, Record, Spec
from .rebuilding import cut_off
from .snapshot import Snapshot
from .states import route
from .steps import SHELVED, Step, rescue_steps, shelve_steps

#: What a rebuild leaves a server in, by what it was in before: as Nova, which starts what had failed.
_AFTERWARDS = {"shutoff": "stopped"}


def snapshot(options: t.Mapping[str, Json], record: Record, now: float) -> list[Step]:
    """An image of the root disk. Without a name it has the server's, and the time."""
    name = options.get("name") or f"{record.name}-{_stamp(now)}"
    return [_copying(name, f"as image {name}", options)]


def backup(options: t.Mapping[str, Json], record: Record, now: float) -> list[Step]:
    """A snapshot that belongs to a row of which ``rotation`` are kept."""
    kind, rotation = options.get("backup_type"), options.get("rotation")
    if not kind or rotation is None:
        raise InvalidInput(
            "a backup needs the options backup_type (daily, weekly, or any other word) and rotation "
            "(how many backups of that type are kept)"
        )
    if rotation < 0:
        raise InvalidInput(f"rotation is {rotation}; it is how many backups are kept, 0 or more")
    name = options.get("name") or f"{record.name}-{kind}-{_stamp(now)}"
    why = f"as image {name}, {kind}, of which {rotation} are kept"
    return [_copying(name, why, {**options, "backup_type": kind, "rotation": rotation})]


def shelve(options: t.Mapping[str, Json], record: Record, guest: Guest | None, spec: Spec | None) -> list[Step]:
    firmware, pool = record.hardware.firmware, options.get("pool")
    return list(shelve_steps(_state(guest), "asked for", firmware=firmware, spec=spec, pool=pool))


def unshelve(spec: Spec | None) -> list[Step]:
    """A server again, on a host that the scheduler chooses. It runs, as in Nova."""
    return [
        Step("unshelve", "asked for", spec=spec, marks={SHELVED: None}),
        Step("start", "what is unshelved runs"),
        Step("tidy", "its snapshots are no longer needed"),
    ]


def rescue(
    options: t.Mapping[str, Json], record: Record, guest: Guest | None, images: t.Mapping[str, Image]
) -> list[Step]:
    """Booted from another image, its own one unless another is named."""
    if cut_off(record):
        raise Refused(
            f"Instance {record.id} cannot be rescued: a rebuild of {record.name} was cut off, so its root disk is not "
            "whole; rebuild it first"
        )
    wanted = options.get("image")
    image = record.image if wanted is None else named(str(wanted), images, "image")
    if image.checksum == NO_BYTES:
        raise InvalidInput(
            f"Instance {record.id} cannot be rescued: {record.name} was adopted, and no image is known that it was "
            "made of; name one: image=NAME"
        )
    down = [Step(kind, "for the next step") for kind in route(_state(guest), "stopped")]
    return [*down, *rescue_steps(image.to_json(), "asked for", spec=None, state=_state(guest))]


def unrescue(record: Record, guest: Guest | None) -> list[Step]:
    """As it was, and in the state that it was in (Nova always starts it)."""
    before = str(record.marks.get("rescue", {}).get("state"))
    down = [Step(kind, "for the next step") for kind in route(_state(guest), "stopped")]
    up = [Step(kind, f"it was {before} before") for kind in route("shutoff", _power_before(before))]
    return [*down, Step("unrescue", "asked for", marks={"rescue": None}), *up]


def rebuild(
    options: t.Mapping[str, Json],
    record: Record,
    guest: Guest | None,
    images: t.Mapping[str, Image],
    keypairs: t.Mapping[str, str],
) -> list[Step]:
    """A new root disk, from the same or another image: id, addresses and all other disks stay."""
    wanted = options.get("image")
    image = record.image if wanted is None else named(str(wanted), images, "image")
    if image.checksum == NO_BYTES:
        raise InvalidInput(
            f"server {record.name!r} was adopted, and no image is known that it was made of; name one: image=NAME"
        )
    if image.min_disk * GIB > (record.root.size or image.min_disk * GIB):
        raise InvalidInput(
            f"Flavor's disk is too small for requested image. Image {image.name!r} needs {image.min_disk} GiB, server "
            f"{record.name!r} has {record.root.size / GIB:.3g} GiB"
        )
    if image.min_ram > record.flavor.ram:
        raise InvalidInput(
            f"Flavor's memory is too small for requested image. Image {image.name!r} needs {image.min_ram} MiB, flavor "
            f"{record.flavor.name!r} has {record.flavor.ram} MiB"
        )
    spec = {**record.spec, "image": image.to_json()}
    if "key_name" in options:
        key = str(options["key_name"])
        spec["key_name"] = {"name": key, "public_key": named(key, keypairs, "keypair")}
    for option in ("description", "metadata", "user_data"):
        if option in options:
            spec[option] = options[option]
    state = _state(guest)
    down = [Step(kind, "for the next step") for kind in route(state, "stopped")]
    # One that was cut off has turned the guest off itself.
    before = str(record.spec.get("state", "active")) if cut_off(record) else _AFTERWARDS.get(state, "active")
    up = [Step(kind, "as it was before") for kind in route("shutoff", before)]
    why, lost = f"asked for, from image {image.name}", loses_root(record)
    if lost:
        return [*down, Step("rebuild", f"{why}; {lost}", spec=spec, hold="data_loss"), *up]
    return [*down, Step("rebuild", why, spec=spec), *up]


def snapshots_of(record: Record) -> tuple[Snapshot, ...]:
    """The snapshots that a shelved server is kept as."""
    mark = record.marks.get(SHELVED) or {}
    return tuple(map(Snapshot.from_json, mark.get("snapshots", ())))


_T = t.TypeVar("_T")


def named(name: str, catalog: t.Mapping[str, _T], kind: str) -> _T:
    """An entry of a catalog. InvalidInput with the nearest name where there is none of this one."""
    if name in catalog:
        return catalog[name]
    near = difflib.get_close_matches(name, sorted(catalog), 1)
    known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(catalog)) or 'none'}"
    raise InvalidInput(f"the fleet has no {kind} {name!r}; {known}")


def _copying(name: str, why: str, options: t.Mapping[str, Json]) -> Step:
    given = {key: options[key] for key in ("backup_type", "pool", "rotation") if options.get(key) is not None}
    return Step("snapshot", why, options={"name": name, **given})


def _power_before(state: str) -> str:
    return {"running": "active", "other": "active", "paused": "paused", "suspended": "suspended"}.get(state, "stopped")


def _state(guest: Guest | None) -> str:
    return "shutoff" if guest is None else guest.state


def _stamp(now: float) -> str:
    return datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")


__all__ = ["backup", "named", "rebuild", "rescue", "shelve", "snapshot", "snapshots_of", "unrescue", "unshelve"]
