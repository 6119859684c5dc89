# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of Flotilla: one root, and a subclass only where a caller acts differently on it.

Note that this module util is **PRIVATE** to the collection.

The text of an error is a sentence for the operator: what is wrong, with which value, where, and what to do.
"""

from __future__ import annotations

import typing as t


class FlotillaError(Exception):
    """Something an operator can understand and mend. Its text goes to them as it is."""


class InvalidInput(FlotillaError):
    """What the user wrote can't be carried out as written."""


class BuildAbort(InvalidInput):
    """A server can't be built as it was asked for, on this host or any other (Nova: BuildAbortException)."""


class InvalidRecord(FlotillaError):
    """A record on a host can't be read: it is reported and the domain is left alone."""


class Conflict(FlotillaError):
    """Two things claim to be one; nothing is touched until a person has looked."""


class Stale(FlotillaError):
    """What was planned no longer holds: somebody else has changed it. Plan again."""


class InProgress(FlotillaError):
    """Another step is at work on the same server; wait for it, never repair beside it."""


class OutOfReach(FlotillaError):
    """The other host of a step did not answer: who asks it again waits as long again."""


class Refused(FlotillaError):
    """The state that a server is in doesn't allow what is asked of it; the words are Nova's where it has some."""


class NoValidHost(FlotillaError):
    """The scheduler found no place. ``reasons`` maps each host to the first rule that refused it."""

    def __init__(self, message: str, *, reasons: t.Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons: dict[str, str] = dict(reasons or {})


__all__ = [
    "BuildAbort",
    "Conflict",
    "FlotillaError",
    "InProgress",
    "InvalidInput",
    "InvalidRecord",
    "NoValidHost",
    "OutOfReach",
    "Refused",
    "Stale",
]
