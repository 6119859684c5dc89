# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong in an inventory, as a sentence for the person who wrote it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

__all__ = ["HIDDEN", "Clauses", "Mistake", "Path", "listed", "merge", "nearest", "path_text", "shown"]

HIDDEN = "a value that is not shown"
NOTHING = "nothing"

_SHOWN = 80
_LISTED = 8
_USERINFO = re.compile(r"//[^/@\s]*@")

#: Keyword arguments of Mistake: found, allowed, reason, hint, source.
Clauses = dict[str, t.Any]
Path = tuple[t.Union[str, int], ...]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One mistake. ``str()`` of it is the sentence.

    ``path`` begins with the variable (``fleet_flavors.m1.small.ram``). ``hosts`` are the inventory hosts that have it,
    none for a variable of the fleet; ``source`` is the file it came from, if known. ``found`` and ``allowed`` are
    clauses; ``reason`` is one that stands for both where it says more. ``hint`` is the nearest right name.
    """

    variable: str
    path: str
    hosts: tuple[str, ...] = ()
    source: str | None = None
    found: str = NOTHING
    allowed: str = ""
    reason: str | None = None
    hint: str | None = None

    @property
    def where(self) -> str:
        """The hosts and the file, as far as there are any and they are known."""
        hosts = f"host{'s' if len(self.hosts) > 1 else ''} {listed(map(_one_line, self.hosts))}" if self.hosts else ""
        return ", ".join(part for part in (hosts, self.source) if part)

    def __str__(self) -> str:
        clause = self.reason or f"found {self.found}, allowed is {self.allowed}"
        question = f"; did you mean {self.hint!r}?" if self.hint else ""
        end = "" if question or clause.endswith((".", "?")) else "."
        where = f" ({self.where})" if self.where else ""
        return f"{self.path}{where}: {clause}{question}{end}"


def shown(value: t.Any) -> str:
    """*value* as a message shows it: on one line, short, and without a password or private key in it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]  # as YAML has them
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; a list in itself
        return "a value that is too large to show"
    if "PRIVATE KEY" in text:
        return HIDDEN
    return _cut(_USERINFO.sub("//***@", text))


def listed(names: t.Iterable[t.Any], limit: int = _LISTED) -> str:
    """The names in one line: ``a, b and 3 more``; in the order given."""
    every = [str(name) for name in names]
    if not every:
        return "none"
    if len(every) <= limit:
        return ", ".join(every)
    return f"{', '.join(every[: limit - 1])} and {len(every) - limit + 1} more"


def nearest(name: t.Any, names: t.Iterable[str]) -> str | None:
    """The name that *name* was most likely meant to be; letter case counts least."""
    if not isinstance(name, str) or len(name) > 255:
        return None
    lowered = {candidate.lower(): candidate for candidate in sorted(names)}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1)
    return lowered[found[0]] if found else None


def path_text(variable: str, path: t.Iterable[str | int]) -> str:
    """``fleet_networks.lan.dns[0]``"""
    return variable + "".join(f"[{part}]" if isinstance(part, int) else f".{_one_line(part)}" for part in path)


def _one_line(name: str) -> str:
    return _cut(name if name.isprintable() else repr(name))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def merge(mistakes: t.Iterable[Mistake]) -> list[Mistake]:
    """The mistakes with equal ones of several hosts as one, sorted: the fleet's first, then by variable and host.

    A group variable of 200 servers is one mistake, not 200.
    """
    hosts: dict[Mistake, set[str]] = {}
    for mistake in mistakes:
        hosts.setdefault(dataclasses.replace(mistake, hosts=()), set()).update(mistake.hosts)
    merged = [dataclasses.replace(mistake, hosts=tuple(sorted(names))) for mistake, names in hosts.items()]
    return sorted(merged, key=lambda one: (bool(one.hosts), one.variable, one.path, one.hosts, str(one)))
