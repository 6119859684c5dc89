# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A step of a plan, and what a plan for one server is made of.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .differences import Difference
from .model import Json, Spec

#: The mark of a server whose config drive was taken out of its running guest, to be made anew and put in again.
DRIVE_OUT: t.Final = "config_drive_out"


@dataclasses.dataclass(frozen=True)
class Step:
    """One idempotent deed on one server. ``spec`` is what the record's spec will be, None where it stays.

    ``hold`` names the leave (fleet_allow) that the step needs and doesn't have; a held step is shown, not carried out.
    ``marks`` are set in the record, those that are None removed. ``options`` go to the host with the step: plain JSON,
    nothing secret, for plan and journal show them.
    """

    kind: str
    why: str
    spec: Spec | None = None
    hold: str | None = None
    marks: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)
    options: t.Mapping[str, Json] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Leave:
    """What this run may do. ``allow`` as in fleet_allow; ``reclaim`` in seconds; ``now`` in seconds since the epoch.
    ``confirm_after``: seconds after which a resize is confirmed by itself, 0: never."""

    allow: frozenset[str] = frozenset()
    reclaim: int = 24 * 3600
    now: float = 0.0
    confirm_after: int = 0


@dataclasses.dataclass(frozen=True)
class ServerPlan:
    """What there is to do for one server. ``steps`` are carried out in order, ``held`` need a leave."""

    differences: tuple[Difference, ...] = ()
    steps: tuple[Step, ...] = ()
    held: tuple[Step, ...] = ()


__all__ = ["DRIVE_OUT", "Leave", "ServerPlan", "Step"]
