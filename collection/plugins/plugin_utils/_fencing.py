# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing: a host is switched off by its fence agents, and that it is off is read back.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

An agent's word alone counts for nothing: a level of ``compute_fence`` is done when each of its agents reads ``off``,
and the host doesn't answer any more. What an agent answered to ``off`` matters only for the message: one that fails
because the host is off already has done its work.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import socket
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._fence_agent import Agent
from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import read_host
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.fencing import levels_of, option_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._inventory import Templar, Variables

__all__ = ["Fence", "Reading", "answering", "fence", "look", "look_at_all", "read_fence"]

#: Seconds between two readings of the power: an agent logs in anew each time.
_PAUSE = 1.0
_CONNECT = 3.0
_AT_ONCE = 16
_Level = list[Agent]


@dataclasses.dataclass(frozen=True)
class Fence:
    """A host's compute_fence and compute_fence_timeout (seconds), as inventory has them. Not in the repr: passwords."""

    levels: Json = dataclasses.field(repr=False)
    timeout: float


@dataclasses.dataclass(frozen=True)
class Reading:
    """The power of a host as one of its agents reads it: on, off, or unknown for the reason that ``problem`` tells."""

    host: str
    level: int
    agent: str
    power: t.Literal["on", "off", "unknown"]
    problem: str = ""

    def to_json(self) -> dict[str, Json]:
        return dataclasses.asdict(self)


def read_fence(task_vars: Variables, templar: Templar, host: str) -> Fence:
    """From the host's variables, at the moment of need: what a run carries along has no passwords in it."""
    variables = read_host(task_vars, templar, host, "compute_fence")
    default = document("compute")["properties"]["compute_fence_timeout"]["default"]
    return Fence(variables.get("compute_fence"), float(variables.get("compute_fence_timeout") or default))


def fence(
    host: str,
    levels: Json,
    *,
    now: t.Callable[[], float],
    timeout: float = 60.0,
    answers: t.Callable[[], str | None] = lambda: None,
    tell: t.Callable[[str], None] = lambda _text: None,
) -> Proof:
    """Switch *host* off by the first of *levels* (the value of compute_fence) that can show it off.

    ``answers`` says, after that, how the host still answers, or None; ``tell`` is given what is waited for. Refused,
    with a sentence for each level, if none gives proof.
    """
    written = _levels(host, levels)
    problems = []
    for number, level in enumerate(written, 1):
        names = listed([agent.name for agent in level])
        tell(f"{host}: {names} (level {number} of {len(written)}) is to switch it off, within {timeout:g} s")
        try:
            _switch_off(host, level, timeout)
            alive = answers()
            if alive is None:
                return Proof("fence", host, names, "its power is off, read back", now(), number)
            problems.append(f"{names} reads off, but {alive}")
        except FlotillaError as exc:
            problems.append(str(exc))
        tell(f"{host}: {problems[-1]}")
    raise Refused(f"{host} is not proven to be off: {'; '.join(problems)}")


def look(host: str, levels: Json, *, timeout: float) -> list[Reading]:
    """The host's power as each of its agents reads it now; nothing is switched."""
    return [
        _reading(host, number, agent, timeout)
        for number, level in enumerate(_levels(host, levels), 1)
        for agent in level
    ]


def look_at_all(fences: t.Mapping[str, Fence]) -> list[Reading]:
    """The power of many hosts, several at once; one without compute_fence has a reading that says so."""

    def one(host: str) -> list[Reading]:
        its = fences[host]
        if not its.levels:
            return [
                Reading(host, 0, "-", "unknown", "it has no compute_fence: only an operator can say that it is off")
            ]
        return look(host, its.levels, timeout=its.timeout)

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        return [reading for readings in pool.map(one, fences) for reading in readings]


def answering(address: str, port: int) -> str | None:
    """How a host still answers, or None: whether its port takes a connection from here."""
    try:
        with socket.create_connection((address, port), _CONNECT):
            return f"it still answers: port {port} of {address} takes connections"
    except OSError:
        return None


def _levels(host: str, levels: Json) -> list[_Level]:
    if not levels:
        raise InvalidInput(
            f"{host} has no compute_fence, so nothing here can prove that it is off; being out of reach is no proof"
        )
    return [
        [
            Agent(entry["agent"], {name: option_text(value) for name, value in entry.items() if name != "agent"})
            for entry in level
        ]
        for level in levels_of(levels)
    ]


def _reading(host: str, number: int, agent: Agent, timeout: float) -> Reading:
    problem = _failure(agent.check)
    seen = problem or _power(agent, timeout)
    if isinstance(seen, FlotillaError):
        return Reading(host, number, agent.name, "unknown", str(seen))
    return Reading(host, number, agent.name, seen)


def _switch_off(host: str, level: _Level, timeout: float) -> None:
    """All agents of the level switch off, then all must read off: of two power supplies one alone keeps a host up."""
    for agent in level:
        agent.check()
    failed = [_failure(functools.partial(agent.switch, "off", timeout)) for agent in level]
    for agent, problem in zip(level, failed, strict=True):
        _read_off(host, agent, timeout, problem)


def _read_off(host: str, agent: Agent, timeout: float, failed: FlotillaError | None) -> None:
    """Wait until the agent reads off; one that has *failed* to switch is asked but once. A reading that fails is tried
    again until then: a BMC that has just switched is often deaf for a moment."""
    deadline = time.monotonic() + timeout
    problem: FlotillaError | None = None
    while True:
        seen = _power(agent, max(deadline - time.monotonic(), _PAUSE))
        if seen == "off":
            return
        if seen == "on":
            done = f"{agent.name} says that it has switched {host} off"
            problem = FlotillaError(f"{done}, but {timeout:g} s later it reads the power as on")
        elif problem is None:
            problem = seen
        if failed is not None or time.monotonic() + _PAUSE > deadline:
            raise failed or problem
        time.sleep(_PAUSE)


def _power(agent: Agent, timeout: float) -> t.Literal["on", "off"] | FlotillaError:
    try:
        return agent.power(timeout)
    except FlotillaError as exc:
        return exc


def _failure(deed: t.Callable[[], None]) -> FlotillaError | None:
    try:
        deed()
    except FlotillaError as exc:
        return exc
    return None
