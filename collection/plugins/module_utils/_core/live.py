# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The course of a live migration: what was asked for, Nova's steps of downtime and limit of time, how far it is.

Note that this module util is **PRIVATE** to the collection.

Sources: nova/virt/libvirt/migration.py (downtime_steps, should_trigger_timeout_action), nova/conf/libvirt.py
(defaults), nova/virt/libvirt/driver.py (_live_migration_data_gb).
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidInput
from .model import GIB, Disk, Flavor, Json, Record, Spec
from .move import WATCH
from .step import Step

TIMEOUT_ACTIONS = ("abort", "post_copy", "pause")
#: Nova never reckons with less than this for the memory or for a disk.
_LEAST_GB = 2


@dataclasses.dataclass(frozen=True)
class Wish:
    """How a server is to be moved while it runs.

    ``block_migration`` None: disks are copied where they are not shared. ``timeout`` in seconds; None: Nova's, which
    is ``completion_timeout`` seconds for each GiB to be moved; 0: none. ``bandwidth`` in MiB/s, 0: as much as there is.
    ``parallel``: connections, 0: one stream. ``tls`` None: if the hosts' libvirt talk by TLS. ``downtime`` in ms is
    reached in ``downtime_steps`` steps, one every ``downtime_delay`` seconds for each GiB.
    """

    block_migration: bool | None = None
    timeout: int | None = None
    timeout_action: str = "abort"
    post_copy: bool = False
    auto_converge: bool = False
    bandwidth: int = 0
    parallel: int = 0
    tls: bool | None = None
    downtime: int = 500
    downtime_steps: int = 10
    downtime_delay: int = 75
    completion_timeout: int = 800

    @classmethod
    def from_json(cls, data: Json) -> Wish:
        """InvalidInput for what is no option of a live migration."""
        known = {field.name for field in dataclasses.fields(cls)}
        given = dict(data or {})
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidInput(
                f"a live migration takes no option {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
            )
        wish = cls(**given)
        if wish.timeout_action not in TIMEOUT_ACTIONS:
            raise InvalidInput(
                f"what is done when a live migration takes too long is one of {', '.join(TIMEOUT_ACTIONS)}, "
                f"found {wish.timeout_action!r}"
            )
        low = [
            name
            for name, least in _LEAST.items()
            if (getattr(wish, name) or 0) < least and getattr(wish, name) is not None
        ]
        if low:
            name = low[0]
            raise InvalidInput(
                f"{name} of a live migration is a number from {_LEAST[name]}, found {getattr(wish, name)}"
            )
        return wish


_LEAST = {
    "timeout": 0,
    "bandwidth": 0,
    "parallel": 0,
    "downtime": 1,
    "downtime_steps": 1,
    "downtime_delay": 0,
    "completion_timeout": 0,
}


#: Options of a migration that say how it is done live (module migrate).
OPTIONS = ("block_migration", "timeout", "timeout_action", "post_copy", "auto_converge", "bandwidth", "parallel", "tls")
_TRI = {"auto": None, "true": True, "false": False}
#: What live and block_migration may be.
CHOICES = tuple(_TRI)


def wants_live(wanted: Json, state: str) -> bool:
    """Whether a server whose guest is in *state* is to be moved live; *wanted* is auto, true, false, or None.

    Nova's action migrate is cold by itself.
    """
    choice = _TRI[str(wanted).lower()] if wanted is not None else False
    return state in ("running", "paused") if choice is None else choice


def can_go_live(record: Record) -> bool:
    """Whether its guest can be moved as it runs: PCI devices of its host's don't come along, all else is found anew."""
    return record.fit is None or not record.fit.pci


def live_step(options: t.Mapping[str, Json], why: str, *, host: str | None = None, spec: Spec | None = None) -> Step:
    """The step of a live migration. *options* are those of OPTIONS that are given; InvalidInput for what can't be."""
    live = {name: options[name] for name in OPTIONS if options.get(name) is not None}
    if "block_migration" in live:
        live["block_migration"] = _TRI[str(live["block_migration"]).lower()]
    Wish.from_json(live)
    where: dict[str, Json] = {} if host is None else {"host": host}
    if options.get("wait") is False:
        where["wait"] = False
    return Step("live_migrate", why, spec=spec, options={**where, "live": live, "watch": WATCH})


def data_gb(flavor: Flavor, copied: t.Iterable[Disk]) -> int:
    """GiB that a migration moves: the memory, and each disk that is *copied*."""
    disks = sum(max(_LEAST_GB, -(-disk.size // GIB)) for disk in copied)
    return max(_LEAST_GB, flavor.ram // 1024) + disks


def downtimes(wish: Wish, gb: int) -> list[tuple[int, int]]:
    """(second, ms): from that second on the guest may stand still so long, less at first than in the end."""
    base = wish.downtime / wish.downtime_steps
    offset = (wish.downtime - base) / wish.downtime_steps
    delay = wish.downtime_delay * gb
    return [(delay * step, int(base + offset * step)) for step in range(wish.downtime_steps + 1)]


def downtime_at(course: t.Sequence[tuple[int, int]], elapsed: float) -> int:
    return max((ms for second, ms in course if second <= elapsed), default=course[0][1])


def limit(wish: Wish, gb: int) -> float | None:
    """Seconds after which the timeout action is taken; None: never."""
    seconds = wish.completion_timeout * gb if wish.timeout is None else wish.timeout
    return float(seconds) if seconds else None


def progress(stats: t.Mapping[str, t.Any]) -> dict[str, Json]:
    """Libvirt's statistics of a migration in Flotilla's words; sizes in bytes, rates in bytes a second, times in ms."""
    total, left = int(stats.get("data_total", 0)), int(stats.get("data_remaining", 0))
    rate = int(stats.get("memory_bps", 0)) + int(stats.get("disk_bps", 0))
    done = max(0, total - left)
    return {
        "done": done,
        "total": total,
        "percent": 100 * done // total if total else 0,
        "remaining": left,
        "rate": rate,
        "seconds_left": left // rate if rate else None,
        "expected_downtime": stats.get("downtime"),
        "iteration": int(stats.get("memory_iteration", 0)),
        "elapsed": int(stats.get("time_elapsed", 0)),
    }


def summary(stats: t.Mapping[str, t.Any]) -> dict[str, Json]:
    """What a migration that is over has come to: times in ms, data in bytes."""
    return {
        "total_time": int(stats.get("time_elapsed", 0)),
        "downtime": stats.get("downtime"),
        "data": int(stats.get("data_processed", 0)),
        "iterations": int(stats.get("memory_iteration", 0)),
    }


def in_words(message: str) -> str:
    """What libvirt says of a migration that failed, and what to do where it only hands on QEMU's words."""
    if "Postcopy is not supported" not in message:
        return message
    return (
        "QEMU at the destination can't take a guest by post-copy, which needs the kernel's userfaultfd: set sysctl "
        f"vm.unprivileged_userfaultfd=1 there, or ask for no post-copy ({message})"
    )


__all__ = [
    "CHOICES",
    "OPTIONS",
    "TIMEOUT_ACTIONS",
    "Wish",
    "can_go_live",
    "data_gb",
    "downtime_at",
    "downtimes",
    "in_words",
    "limit",
    "live_step",
    "progress",
    "summary",
    "wants_live",
]
