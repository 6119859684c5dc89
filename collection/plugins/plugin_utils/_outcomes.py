# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's answer says of an entry's steps: the record it leaves, how a move has ended, whether to try elsewhere.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import FAILED

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import Move

_Answer = t.Mapping[str, t.Any]
#: Steps that end a move which was cut off.
_ENDS = ("end_move", "undo_migration")
#: What is told of a call that failed as a whole. (Ansible puts an object beside it that says where.)
_WHOLE = ("changed", "failed", "msg", "unreachable", "rc", "module_stdout", "module_stderr")


def applied(entry: _Answer) -> Record | None:
    """The record that the plan was made from."""
    return Record.from_json(entry["record"]) if entry.get("record") else None


def record_after(entry: _Answer, deeds: t.Sequence[Json]) -> Record | None:
    """The record that the last of the steps leaves."""
    records = [deed["record"] for deed in deeds if deed.get("record")]
    return Record.from_json(records[-1]) if records else applied(entry)


def last_record(outcome: _Answer) -> Record | None:
    """The last that the host reported."""
    records = [result["record"] for result in outcome.get("results", []) if result.get("record")]
    return Record.from_json(records[-1]) if records else None


def is_running(outcome: _Answer) -> bool:
    """Whether a step goes on by itself on the host."""
    return any(result.get("running") for result in outcome.get("results", []))


def of_server(outcome: _Answer, server_id: str) -> dict[str, Json]:
    """One server's part of the answer to a call for several; one that failed as a whole failed for each."""
    if not outcome.get("results"):
        return {key: outcome[key] for key in _WHOLE if key in outcome}
    results = [result for result in outcome["results"] if result["server_id"] == server_id]
    failures = [f"{result['name']}: {result['message']}" for result in results if result.get("failed")]
    part: dict[str, Json] = {
        "changed": any(result["changed"] for result in results),
        "results": results,
        "steps": [result["kind"] for result in results],
    }
    return {**part, "failed": True, "msg": "; ".join(failures)} if failures else part


def nothing_left(outcome: _Answer) -> bool:
    """Whether the host itself says that nothing of a failed build is on it. Whoever didn't answer has not said so."""
    results = outcome.get("results") or [{}]
    return bool(outcome.get("failed") and results[-1].get("nothing_left"))


def attempts_left(entry: _Answer) -> bool:
    """Whether a build of this entry that fails may be tried on another host (Nova: max_attempts)."""
    return len(entry.get("tried") or ()) + 1 < int(entry.get("attempts") or 1)


def may_try_again(entry: _Answer) -> dict[str, Json]:
    """What a failed build's result says of further hosts: there may be one, or the attempts are used up."""
    return {"reschedule": True} if attempts_left(entry) else {"exhausted": True} if entry.get("tried") else {}


def is_host_s_fault(entry: _Answer, outcome: _Answer) -> bool:
    """Whether a build failed for what another host may do better (Nova: not BuildAbortException)."""
    results = outcome.get("results") or [{}]
    built = entry["deeds"][0]["kind"] == "create"
    return bool(built and outcome.get("failed") and results[-1].get("failed") and not results[-1].get("abort"))


def is_back(entry: _Answer, outcome: _Answer) -> bool:
    """Whether the host itself says of a move, or of one that was cut off and that it has undone, that nothing of it is
    at the destination. A step that fails where the server has arrived says nothing of the kind."""
    kinds = {deed["kind"] for deed in entry["deeds"]}
    told = _told_of_move(outcome) if kinds & MOVES else _told_of_end(outcome, "undo_migration")
    return bool(outcome.get("failed")) and told.get("left") is False


def cause(outcome: _Answer) -> str:
    """The sentence with which the steps have failed; empty if they haven't."""
    if not outcome.get("failed"):
        return ""
    failed = [result["message"] for result in outcome.get("results", []) if result.get("failed")]
    return str(failed[-1] if failed else outcome.get("msg", ""))


def ended(move: Move | None, entry: _Answer, outcome: _Answer) -> str | None:
    """The status of a resize or a migration after its steps; None where nobody knows what the host has come to."""
    if move is None or "results" not in outcome or is_running(outcome):
        return None
    if move.step == "evacuate" and nothing_left(outcome):
        return FAILED
    told = _told_of_move(outcome)
    if told.get("status"):
        return str(told["status"])
    if _not_begun(move, entry, outcome):
        return FAILED
    return move.ended(last_record(outcome) or applied(entry))


def _not_begun(move: Move, entry: _Answer, outcome: _Answer) -> bool:
    """Whether a step before the move has failed, such as the guest's stop. (Its claim stays all the same: what that
    step waited for in vain may be the move of a run that was killed.)"""
    kinds = [deed["kind"] for deed in entry["deeds"]]
    done = [result["kind"] for result in outcome["results"]]
    return bool(move.step in MOVES and outcome.get("failed") and done and done[-1] in kinds[: kinds.index(move.step)])


def arrived_at(outcome: _Answer) -> str | None:
    """The host that a live migration has brought the server to, if the host says so."""
    host: str | None = _told_of_move(outcome).get("host")
    return host


def end_told(outcome: _Answer) -> tuple[str, str, str | None] | None:
    """The id and the status of a move that was cut off, and has been ended or undone by now, with the sentence of its
    end: none where it was undone, which says nothing of why it was cut off."""
    for result in outcome.get("results", []):
        its = _told(result) if result["kind"] in _ENDS else {}
        if its.get("id") and its.get("status"):
            return its["id"], its["status"], result["message"] if result["kind"] == "end_move" else None
    return None


def watched(deed: Json, elapsed: float) -> Json:
    """A step that is watched, with the seconds since it was begun: its host has no memory of the call before."""
    options = deed.get("options") or {}
    return {**deed, "options": {**options, "elapsed": elapsed}} if "watch" in options else deed


def _told_of_move(outcome: _Answer) -> Json:
    """What the last step said a move has come to; empty if that wasn't begun, or the host can't tell."""
    return _told((outcome.get("results") or [{}])[-1])


def _told_of_end(outcome: _Answer, kind: str) -> Json:
    """What a step of this kind said a move has come to, whatever followed it."""
    return next((_told(result) for result in outcome.get("results", []) if result["kind"] == kind), {})


def _told(result: _Answer) -> Json:
    return (result.get("told") or {}).get("migration") or {}


__all__ = [
    "applied",
    "arrived_at",
    "attempts_left",
    "cause",
    "end_told",
    "ended",
    "is_back",
    "is_host_s_fault",
    "is_running",
    "last_record",
    "may_try_again",
    "nothing_left",
    "record_after",
    "watched",
]
