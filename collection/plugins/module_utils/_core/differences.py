# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between a server as declared, as recorded and as found, and what it costs to mend it.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .cpu_set import format_cpus
from .hardware import DRIVE_ON_DISK
from .model import Guest, Json, Record, Server, Spec
from .tuning import Tuning

LIVE = "live"
NEXT_BOOT = "next boot"
RESTART = "restart"
REBUILD = "rebuild"
IMPOSSIBLE = "impossible"

#: What a change of each key of Server.spec costs. ``flavor`` is looked at more closely by _class_of.
CLASSES: dict[str, str] = {
    "autostart": LIVE,
    "availability_zone": LIVE,
    "config_drive": REBUILD,
    "config_drive_format": LIVE,
    "description": LIVE,
    "flavor": RESTART,
    "group": LIVE,
    "hints": LIVE,
    "host": LIVE,
    "image": REBUILD,
    "key_name": LIVE,
    "locked": LIVE,
    "metadata": LIVE,
    "networks": RESTART,
    "personality": REBUILD,
    "pool": IMPOSSIBLE,
    "priority": LIVE,
    "project": LIVE,
    "rescue": LIVE,
    "resize": RESTART,
    "resize_max": RESTART,
    "security_groups": LIVE,
    "shutdown_timeout": LIVE,
    "state": LIVE,
    "tags": LIVE,
    "user_data": REBUILD,
    "volumes": LIVE,
}

#: The cheapest class first: a key whose parts differ in class is dealt with by the dearest.
_COST = (LIVE, NEXT_BOOT, RESTART, REBUILD, IMPOSSIBLE)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference with what it costs to mend it. ``key`` is Server.spec's, with a path in it where that helps."""

    key: str
    cls: str
    old: Json
    new: Json


def differences_of(desired: Spec, applied: Spec, *, off: bool) -> list[Difference]:
    """The keys that differ between what is written and what was applied; ``off``: no memory of the guest lives."""
    found = []
    for key in sorted(set(desired) | set(applied)):
        old, new = applied.get(key), desired.get(key)
        if old != new:
            found.extend(_split(key, old, new, off=off))
    return found


def _split(key: str, old: Json, new: Json, *, off: bool) -> list[Difference]:
    """A changed mapping is shown key by key where that says more than the whole would."""
    if key not in ("flavor", "image", "metadata") or not isinstance(old, dict) or not isinstance(new, dict):
        return [Difference(key, _class_of(key, "", old, new, off=off), old, new)]
    return [
        Difference(
            f"{key}.{name}", _class_of(key, name, old.get(name), new.get(name), off=off), old.get(name), new.get(name)
        )
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name)
    ]


def _class_of(key: str, name: str, old: Json, new: Json, *, off: bool) -> str:
    if key == "flavor" and name in ("disk", "ephemeral", "swap") and (new or 0) < (old or 0):
        return IMPOSSIBLE  # Nova: "Resize error: Unable to resize disk down."
    if key == "flavor" and name == "name":
        return LIVE
    if key == "config_drive_format" and DRIVE_ON_DISK in (old, new):
        return REBUILD  # it is a disk of its own then, which the guest finds elsewhere
    if key in ("resize", "resize_max") and new != "live" and not isinstance(new, dict):
        return LIVE  # a domain is defined anew only to get room
    cls = CLASSES[key]
    return NEXT_BOOT if cls == RESTART and off else cls


def as_defined(record: Record) -> Guest:
    """The guest that the record describes, defined and off."""
    return Guest(
        id=record.id,
        name=record.name,
        state="shutoff",
        persistent=True,
        autostart=False,
        vcpus=record.flavor.vcpus,
        memory=record.flavor.ram,
        macs=tuple(nic.mac for nic in record.nics),
        volumes=tuple((disk.pool, disk.volume) for disk in record.disks),
        sources=tuple((disk.pool, disk.volume) for disk in record.disks),
        record=record,
        tuning=None if record.fit is None else Tuning.of(record.fit),
    )


def is_off(guest: Guest) -> bool:
    """Whether nothing of the guest's memory lives: a managed save holds the old hardware as much as a running guest
    does."""
    return not guest.active and guest.state != "suspended"


def drift(desired: Server, record: Record, guest: Guest) -> list[Difference]:
    """What somebody changed on the host beside us, of what the record says."""
    cls = NEXT_BOOT if is_off(guest) else RESTART
    found = []
    if guest.vcpus != record.flavor.vcpus:
        found.append(Difference("domain.vcpus", cls, guest.vcpus, record.flavor.vcpus))
    if guest.memory != record.flavor.ram:
        found.append(Difference("domain.memory", cls, guest.memory, record.flavor.ram))
    macs = set(guest.macs)
    missing_nics = [nic.mac for nic in record.nics if nic.mac not in macs]
    if missing_nics:
        found.append(Difference("domain.interfaces", cls, None, ", ".join(missing_nics)))
    found += _moved_disks(record, guest, cls)
    found += untuned(record, guest, cls)
    autostart = bool(desired.spec.get("autostart", False))
    if guest.autostart != autostart:
        found.append(Difference("autostart", LIVE, guest.autostart, autostart))
    return found


def untuned(record: Record, guest: Guest, cls: str) -> t.Iterator[Difference]:
    """What the guest has of its host, against what it was given of it. A server that was given nothing may be tuned by
    hand: that is nobody's business here."""
    if record.fit is None:
        return
    given, has = Tuning.of(record.fit), guest.tuning or Tuning()
    lives = guest.live or has
    if record.fit.cells and any(one.places != given.places for one in (has, lives)):
        wrong = lives if lives.places != given.places else has
        yield Difference("domain.pins", LIVE, wrong.pins_text, given.pins_text)
    for key, old, new in (
        ("domain.cpuset", format_cpus(has.cpuset), format_cpus(given.cpuset)),
        ("domain.numa", [node.to_json() for node in has.nodes], [node.to_json() for node in given.nodes]),
        ("domain.pci_devices", ", ".join(has.devices), ", ".join(given.devices)),
    ):
        if old != new:
            yield Difference(key, cls, old or None, new or None)


def _moved_disks(record: Record, guest: Guest, cls: str) -> list[Difference]:
    """A disk that is missing is put back. One that stands on another file has its data there (an external snapshot
    does this): that is for people to merge, and nothing defines the domain anew until they have."""
    there = [tuple(disk) for disk in guest.sources]
    own = [(disk.pool, disk.volume) for disk in record.disks]
    missing = [volume for pool, volume in own if (pool, volume) not in there]
    if not missing:
        return []
    others = [volume for pool, volume in there if (pool, volume) not in own]
    replaced = len(there) >= len(own)
    old, cls = (", ".join(others), IMPOSSIBLE) if replaced else (None, cls)
    return [Difference("domain.disks", cls, old, ", ".join(missing))]


def by_class(differences: t.Sequence[Difference]) -> dict[str, set[str]]:
    """Class -> keys; a key whose parts differ in class goes with the dearest, so that it is applied as a whole."""
    dearest: dict[str, str] = {}
    for difference in differences:
        key = difference.key.partition(".")[0]
        dearest[key] = max(dearest.get(key, LIVE), difference.cls, key=_COST.index)
    return {cls: {key for key, its in dearest.items() if its == cls} for cls in _COST}


__all__ = [
    "CLASSES",
    "IMPOSSIBLE",
    "LIVE",
    "NEXT_BOOT",
    "REBUILD",
    "RESTART",
    "Difference",
    "as_defined",
    "by_class",
    "differences_of",
    "drift",
    "is_off",
    "untuned",
]
