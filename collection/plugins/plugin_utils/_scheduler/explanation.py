# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a server has no host, or why it has this one: as data and as text.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    FlotillaError,
    InvalidInput,
    NoValidHost,
)

# A refusal is one sentence in a run's output; the table has the rest.
_HOSTS_IN_SENTENCE = 8


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The first filter that refused a host, and why."""

    filter: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What each filter left, why each other host was refused, and how those that passed were weighed.

    ``left`` is in the order of the filters; ``weights`` by host and weigher, best host first; ``host`` is the choice.
    ``problem`` is set instead when the request itself can't be carried out anywhere.
    """

    server: str
    wants: str
    hosts: int = 0
    left: t.Sequence[tuple[str, int]] = ()
    refusals: t.Mapping[str, Refusal] = dataclasses.field(default_factory=dict)
    weights: t.Mapping[str, t.Mapping[str, float]] = dataclasses.field(default_factory=dict)
    host: str | None = None
    problem: str | None = None

    def error(self) -> FlotillaError:
        """The refusal as an exception to raise or to report."""
        if self.problem is not None:
            return InvalidInput(f"{self.server} can't be scheduled: {self.problem}")
        return NoValidHost(self.sentence(), reasons={host: refusal.reason for host, refusal in self.refusals.items()})

    def sentence(self) -> str:
        """``No valid host was found for web7 (8 GiB, 4 vCPUs): kvm1: …; kvm2, kvm3: …``."""
        if self.problem is not None:
            return f"{self.server} can't be scheduled: {self.problem}"
        if self.host is not None:
            return f"{self.server} ({self.wants}) goes to {self.host}"
        why = "; ".join(self._reasons()) or "there are no compute hosts"
        return f"No valid host was found for {self.server} ({self.wants}): {why}"

    def _reasons(self) -> t.Iterator[str]:
        """Hosts refused for the same reason are named together."""
        together: dict[str, list[str]] = {}
        for host, refusal in self.refusals.items():
            together.setdefault(refusal.reason, []).append(host)
        named = 0
        for reason, hosts in together.items():
            some = hosts[: _HOSTS_IN_SENTENCE - named]
            if not some:
                break
            more = f" and {len(hosts) - len(some)} more" if len(hosts) > len(some) else ""
            yield f"{', '.join(some)}{more}: {reason}"
            named += len(some)
        unnamed = sum(map(len, together.values())) - named
        if unnamed and len(together) > 1:
            yield f"{unnamed} more hosts: see the explanation"

    def table(self) -> list[str]:
        """How many hosts each filter left, and why the others were refused, those with the same reason together."""
        together: dict[Refusal, list[str]] = {}
        for host, refusal in self.refusals.items():
            together.setdefault(refusal, []).append(host)
        lines = [f"hosts: {self.hosts}", *(f"after {name}: {count}" for name, count in self.left)]
        for refusal, hosts in together.items():
            more = f" and {len(hosts) - _HOSTS_IN_SENTENCE} more" if len(hosts) > _HOSTS_IN_SENTENCE else ""
            lines.append(f"{', '.join(hosts[:_HOSTS_IN_SENTENCE])}{more}: {refusal.reason} ({refusal.filter})")
        return lines

    def text(self) -> str:
        """The whole table, for ``fleet_explain``."""
        lines = [self.sentence()]
        if self.problem is not None:
            return lines[0]
        lines.append(f"  hosts: {self.hosts}")
        lines += [f"  after {name}: {count}" for name, count in self.left]
        lines += [f"  {host}: {refusal.reason} ({refusal.filter})" for host, refusal in self.refusals.items()]
        for host, weights in self.weights.items():
            parts = (
                ", ".join(f"{name} {weight:+.4g}" for name, weight in weights.items()) or "no weigher tells them apart"
            )
            chosen = " <- chosen" if host == self.host else ""
            lines.append(f"  {host}: weight {sum(weights.values()):.4g} ({parts}){chosen}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "text": self.text()}


__all__ = ["Explanation", "Refusal"]
