# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans and fleets as text for people: one line a fact, columns that line up, the flag that would allow what is held.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import collections
import json
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import IMPOSSIBLE, Difference, Step
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import (
    BUSY,
    HELD,
    Plan,
    ServerEntry,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

_SIGNS = {
    **dict.fromkeys(("adopt", "create", "define", "evacuate", "restore"), "+"),
    **dict.fromkeys(("delete", "drop_stale", "forget_metadata", "reclaim", "soft_delete", "undo_evacuation"), "-"),
}
_LONGEST = 60
_TABLES = 5
_NAMES = 8
_NAMED = re.compile(r"([^\s:]*)(.*)", re.DOTALL)


def plan_text(plan: Plan) -> str:
    """The plan, the same in check mode and in a run. Servers with nothing to do or say are only counted."""
    lines = [_headline(plan)]
    rows: list[tuple[str, str, str]] = []
    for host in plan.hosts:
        if not host.up:
            rows.append((host.name, "!", f"down: {host.why}"))
        rows.extend((host.name, "+", step.what) for step in host.steps)
    for entry in plan.servers:
        rows.extend(_server_rows(entry))
    width = max((len(row[0]) for row in rows), default=0)
    lines.extend(f"  {name:<{width}}  {sign} {what}" for name, sign, what in rows)
    lines.extend(f"  note: {note}" for note in plan.notes)
    lines.extend(refusal_tables(plan))
    return "\n".join(lines)


def refusal_tables(plan: Plan) -> t.Iterator[str]:
    """For servers that no host takes, what each filter left; those that were refused alike together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    failed = {entry.name for entry in plan.failures}
    for one in plan.explanations:
        if one.server in failed and one.problem is None and one.hosts:
            alike.setdefault(tuple(one.table()), []).append(one.server)
    for shown, (table_lines, names) in enumerate(alike.items()):
        if shown == _TABLES:
            yield f"  and {len(alike) - _TABLES} more such tables, in the plan's explanations"
            return
        yield f"  why there is no host for {listed(names)}:"
        yield from (f"    {line}" for line in table_lines)


def moves_text(plan: Plan, headline: str) -> str:
    """A plan of moves away from a host, or back: each server with its way, and those that stay last."""
    going = [entry for entry in plan.servers if entry.steps]
    staying = [entry for entry in plan.servers if not entry.steps]
    ways = collections.Counter(entry.way for entry in going)
    counted = ", ".join(f"{number} {way}" for way, number in sorted(ways.items()))
    lines = [f"{headline}: {len(going)} of {len(plan.servers)} servers go{f' ({counted})' if counted else ''}"]
    rows = [(entry.name, entry.way, f"{entry.host} -> {entry.destination} ({entry.steps[0].why})") for entry in going]
    rows += [(entry.name, entry.way, _stays(entry)) for entry in staying]
    names, ways_ = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    lines += [f"  {name:<{names}}  {way:<{ways_}}  {what}" for name, way, what in rows]
    lines += [f"  {host.name}  +  {step.what}" for host in plan.hosts for step in host.steps]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join([*lines, *refusal_tables(plan)])


def _stays(entry: ServerEntry) -> str:
    return f"{'' if entry.verdict == HELD else f'{entry.verdict}: '}{entry.message}"


def server_lines(entry: ServerEntry) -> list[str]:
    """One server's part of the plan, for the diff of its own task."""
    return [f"{sign} {what}" for _name, sign, what in _server_rows(entry)]


def _headline(plan: Plan) -> str:
    first = collections.Counter(entry.steps[0].kind for entry in plan.servers if entry.steps)
    made = first.pop("create", 0) + first.pop("define", 0)
    gone = first.pop("delete", 0) + first.pop("soft_delete", 0)
    held = sum(1 for entry in plan.servers if entry.held or entry.verdict == HELD)
    same = sum(1 for entry in plan.servers if not entry.steps and not entry.held and not entry.message)
    parts = [
        f"{made} to create",
        f"{sum(first.values())} to change",
        f"{gone} to delete",
        f"{held} held",
        f"{same} as declared",
    ]
    up = sum(1 for host in plan.hosts if host.up)
    return f"Plan for fleet {plan.fleet_name!r}: {', '.join(parts)}; {up} of {len(plan.hosts)} hosts up"


def _server_rows(entry: ServerEntry) -> t.Iterator[tuple[str, str, str]]:
    for step in entry.steps:
        yield entry.name, _SIGNS.get(step.kind, "~"), f"{step.kind} {_where(entry, step)} ({_why(entry, step)})"
    for difference in entry.differences:
        yield entry.name, "x" if difference.cls == IMPOSSIBLE else " ", f"  {difference_text(difference)}"
    for step in entry.held:
        where = f" on {entry.host}" if entry.host else ""
        yield (
            entry.name,
            "!",
            f"held: {step.kind}{where} ({step.why}); allow it with -e fleet_allow={step.hold}",
        )
    if entry.message:
        sign = "!" if entry.verdict in (HELD, BUSY) else "x"
        yield entry.name, sign, f"{entry.verdict}: {entry.message}"


def _where(entry: ServerEntry, step: Step) -> str:
    if entry.destination is None:
        return f"on {entry.host}"
    kinds = [each.kind for each in entry.steps]
    turn = next((index for index, kind in enumerate(kinds) if kind in MOVES or kind == "revert_resize"), len(kinds))
    at = next(index for index, each in enumerate(entry.steps) if each is step)
    if at == turn:
        return f"from {entry.host} to {entry.destination}"
    return f"on {entry.host if at < turn else entry.destination}"


def _why(entry: ServerEntry, step: Step) -> str:
    return f"{entry.flavor}, {step.why}" if step.kind == "create" and entry.flavor else step.why


def difference_text(difference: Difference) -> str:
    return f"{difference.key} [{difference.cls}]: {_short(difference.old)} -> {_short(difference.new)}"


def _short(value: Json) -> str:
    """A value on one line: JSON, in which control characters and quotes can't disturb a terminal."""
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=True, sort_keys=True)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def checks_text(checks: t.Iterable[t.Mapping[str, Json]]) -> t.Iterator[str]:
    """What was looked at before a move, a line each, with what stands against it."""
    for one in checks:
        yield f"  {one['check']}: {'; '.join(one['against']) or 'nothing stands against it'}"


def migrated_text(name: str, told: t.Mapping[str, Json]) -> t.Iterator[str]:
    """What a live migration that is over has come to; nothing of any other."""
    if told.get("status") != "completed" or "host" not in told:
        return
    parts = [f"moved live in {told['total_time'] / 1000:.1f} s" if told.get("total_time") else "moved live"]
    if told.get("downtime") is not None:
        parts.append(f"stood still for {told['downtime']} ms")
    if told.get("data"):
        passes = told.get("iterations") or 1
        parts.append(f"{told['data'] / 2**20:.0f} MiB in {passes} {'pass' if passes == 1 else 'passes'}")
    yield f"{name} is on {told['host']}: {', '.join(parts)}"


def together(failures: t.Sequence[str]) -> list[str]:
    """Sentences that begin with a name; those that go on alike become one: ``web1, web2 and 30 more: kvm2 is down``."""
    alike: dict[str, list[str]] = {}
    for failure in failures:
        name, rest = t.cast("re.Match[str]", _NAMED.fullmatch(failure)).groups()
        alike.setdefault(rest, []).append(name)
    return [_names(names) + rest for rest, names in alike.items()]


def _names(names: t.Sequence[str]) -> str:
    if len(names) <= _NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES} more"


def told(name: str, tried: t.Sequence[t.Mapping[str, str]], last: str | None = None) -> str:
    """Where a build was tried: ``web1: tried kvm1: its pool is full; then kvm2``."""
    tries = [f"tried {one['host']}: {one['cause']}" for one in tried]
    return f"{name}: " + "; then ".join([*tries, *([last] if last else [])])


def table(head: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    """Columns as wide as their widest cell, without rulers, so that it can be cut and searched."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )


__all__ = [
    "checks_text",
    "difference_text",
    "migrated_text",
    "moves_text",
    "plan_text",
    "refusal_tables",
    "server_lines",
    "table",
    "together",
    "told",
]
