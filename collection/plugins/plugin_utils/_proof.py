# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proof that a host is dead: a fence agent's ``off`` that was read back, or the operator's word.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A host that can't be reached is not thereby dead: its guests may run on behind a cut cable, and a second copy of each
would write to the same disks. What a proof says goes into the migration records of the servers that it freed.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json

__all__ = ["Proof", "operator_proof"]


@dataclasses.dataclass(frozen=True)
class Proof:
    """Why a host may be taken for dead. ``by``: the agent, or the operator's name; ``level``: which one of the host's
    compute_fence, counted from 1, and 0 for an operator; ``at``: seconds since 1970."""

    kind: t.Literal["fence", "operator"]
    host: str
    by: str
    reason: str
    at: float
    level: int = 1

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: t.Mapping[str, Json]) -> Proof:
        return cls(**data)

    def sentence(self) -> str:
        if self.kind == "operator":
            return f"{self.by} says that {self.host} is off: {self.reason}"
        return f"{self.host} is off by {self.by} (level {self.level}): {self.reason}"


def operator_proof(host: str, *, by: str, reason: str, at: float) -> Proof:
    """The operator's promise that the host is off (Nova: forced down); it bears a name and a reason."""
    if not by.strip() or not reason.strip():
        raise InvalidInput(f"that {host} is off needs the name of who says so, and a reason")
    return Proof("operator", host, by.strip(), reason.strip(), at, level=0)
