# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a filter is: one rule with two views, a mask over all hosts and the reason why one host is refused.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

# ruff: noqa: ARG002 - a rule need not look at all that it is given

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import HostState, Request
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Table

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.table import Ints, Mask

# Which hosts a rule may judge otherwise after a placement: none, the one that got the server, those that share the
# storage pool with it as well, all.
Reach = t.Literal["none", "host", "pool", "fleet"]


@dataclasses.dataclass(frozen=True)
class Limit:
    """A rule that counts: a server takes ``amount`` of what its provider has, and none may be left with less than 0.

    ``room``: what the providers with these rows have left now. A provider is the host itself, or what ``providers``
    has for each host (-1: none). Limits of one ``key`` are about the same providers and the same room.
    """

    key: t.Hashable
    amount: int
    room: t.Callable[[t.Any], t.Any]
    providers: Ints | None = None


class Filter(abc.ABC):
    """A rule. The law that holds both views together: ``mask[row] == (reason(row) is None)``, for every row.

    ``hints`` are the scheduler hints that it reads.
    """

    hints: t.ClassVar[tuple[str, ...]] = ()
    #: Whether the rule holds for a server that is rebuilt on its host: only what an image can break does.
    on_rebuild: t.ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        return type(self).__name__

    def concerns(self, request: Request) -> bool:
        """False if the rule passes every host for this request, so that neither view need be asked."""
        return True

    def fixed(self, request: Request) -> bool:
        """True if no placement changes what the rule says about this request."""
        return False

    def limits(self, table: Table, request: Request) -> t.Sequence[Limit] | None:
        """If, of all that the rule looks at, placements change what it counts and nothing else: what it counts."""
        return None

    def reach(self, request: Request, placed: Request) -> Reach:
        """How far the placement of another server can change what the rule says about this request."""
        return "fleet"

    @abc.abstractmethod
    def mask(self, table: Table, request: Request) -> Mask:
        """Which hosts pass."""

    @abc.abstractmethod
    def reason(self, table: Table, row: int, request: Request) -> str | None:
        """Why the host in *row* is refused, with what was wanted and what was found; None if it passes."""


class RowFilter(Filter):
    """A rule that is asked host by host. Its mask is kept for each distinct ``key`` of a request."""

    @abc.abstractmethod
    def key(self, request: Request) -> t.Hashable | None:
        """All of the request that the rule looks at; None if it looks at what placements change: nothing is kept."""

    def fixed(self, request: Request) -> bool:
        return self.key(request) is not None

    def reach(self, request: Request, placed: Request) -> Reach:
        return "pool"

    def mask(self, table: Table, request: Request) -> Mask:
        key = self.key(request)
        if key is None:
            return self._ask(table, request)
        if (self, key) not in table.cache:
            table.cache[self, key] = self._ask(table, request)
        return t.cast("Mask", table.cache[self, key])

    def _ask(self, table: Table, request: Request) -> Mask:
        passes = [self.reason(table, row, request) is None for row in range(len(table))]
        return t.cast("Mask", need("numpy").array(passes, dtype=bool))


class HostFilter(RowFilter):
    """A rule over facts of the host alone."""

    @abc.abstractmethod
    def why_not(self, host: HostState, request: Request) -> str | None:
        """Why the host is refused; None if it passes."""

    def reason(self, table: Table, row: int, request: Request) -> str | None:
        return self.why_not(table.hosts[row], request)


def names(values: t.Iterable[str]) -> str:
    """A list for a sentence: sorted, quoted, ``none`` if empty."""
    return ", ".join(repr(str(value)) for value in sorted(values)) or "none"


__all__ = ["Filter", "HostFilter", "Limit", "Reach", "RowFilter", "names"]
