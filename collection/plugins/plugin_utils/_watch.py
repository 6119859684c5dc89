# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches the compute hosts from the controller: beats over SSH and libvirt's port, round by round.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

It needs the standard library alone, for it also runs inside of ansible-rulebook. What the beats mean is decided in
module_utils/_core/watching.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import time
import typing as t
import urllib.parse

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import port_number
from ansible_collections.flotilla.compute.plugins.module_utils._core.watching import (
    Decision,
    Rules,
    Watch,
    doubtful,
    step,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed, nearest

__all__ = ["Options", "Path", "Target", "options_of", "out_of_service", "targets_of", "watch"]

_SSH, _TCP, _TLS = 22, 16509, 16514
_SERVICES = "flotilla.compute.compute_service_info"
_READ_TIMEOUT = 120
#: Whatever the user's own ansible.cfg says of output.
_AS_JSON = {
    "ANSIBLE_STDOUT_CALLBACK": "minimal",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_NOCOLOR": "1",
}

#: What says of hosts how they are out of service, those that are: ``out_of_service``, but in tests.
Asks = t.Callable[[t.Sequence[str]], t.Mapping[str, str]]


@dataclasses.dataclass(frozen=True)
class Path:
    """One way to a host: ``greets`` is how what is there begins to speak, empty if it waits to be spoken to."""

    name: str
    address: str
    port: int
    greets: bytes = b""


@dataclasses.dataclass(frozen=True)
class Target:
    """A compute host and the ways to it."""

    host: str
    paths: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Options:
    """``interval``: seconds from one round of beats to the next; ``timeout``: for an answer within a round."""

    inventory: tuple[str, ...]
    rules: Rules = dataclasses.field(default_factory=Rules)
    interval: float = 10.0
    timeout: float = 5.0


def options_of(args: t.Mapping[str, t.Any]) -> Options:
    """The options as a user gives them; InvalidInput for one that there is none of, or that is no sensible number."""
    rules = {field.name: str(field.type) for field in dataclasses.fields(Rules)}
    known = ["inventory", "interval", "timeout", *rules]
    for name in args:
        if name not in known:
            like = nearest(name, known)
            hint = f"did you mean {like!r}?" if like else f"there are {listed(known)}"
            raise InvalidInput(f"the watcher has no option {name!r}; {hint}")
    inventory = args.get("inventory") or os.environ.get("ANSIBLE_INVENTORY") or ""
    sources = [inventory] if isinstance(inventory, str) else list(inventory)
    if not all(sources):
        raise InvalidInput("the watcher needs the option inventory: the hosts of its group computes are watched")
    given = {name: _number(name, args[name], whole=rules[name] == "int") for name in rules if name in args}
    if given.get("max_unreachable", 0) > 1:
        raise InvalidInput("the watcher's max_unreachable is a share of the fleet up to 1: 0.2 is every fifth host")
    times = {name: _number(name, args[name]) for name in ("interval", "timeout") if name in args}
    options = Options(tuple(map(str, sources)), Rules(**given), **times)
    if options.timeout > options.interval:
        times_told = f"its timeout is {options.timeout:g} s and its interval {options.interval:g} s"
        raise InvalidInput(f"the watcher must have an answer before it asks again: {times_told}")
    return options


def _number(name: str, value: t.Any, *, whole: bool = False) -> t.Any:
    try:
        number = int(str(value)) if whole else float(str(value))
    except ValueError:
        number = 0
    if not 0 < number < 1e9:
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(f"the watcher's {name} is {value!r}, allowed is {kind} above 0")
    return number


def targets_of(inventory: t.Sequence[str]) -> list[Target]:
    """The hosts of the group computes, as ansible-inventory shows them."""
    listing = json.loads(_output(["ansible-inventory", *_sources(inventory), "--list"], "the inventory"))
    variables = listing.get("_meta", {}).get("hostvars", {})
    found = [_target(host, variables.get(host, {})) for host in sorted(_members(listing, "computes"))]
    if not found:
        raise InvalidInput(f"the group computes of {listed(inventory)} has no hosts, so there is nothing to watch")
    return found


def out_of_service(inventory: t.Sequence[str], hosts: t.Sequence[str], words: t.Sequence[str] = ()) -> dict[str, str]:
    """Of *hosts* those that inventory or the ledger has out of service: "is in maintenance (...)".

    Ansible reads the ledger, for its URL may be a template, or in a vault; *words* go to it (--vault-password-file).
    FlotillaError where it can't be asked.
    """
    asked = json.dumps({"hosts": list(hosts)})
    command = ["ansible", *_sources(inventory), "localhost", "-m", _SERVICES, "-a", asked, *words]
    output = _output(command, "whether they are in service", _AS_JSON)
    _head, _arrow, result = output.partition(" => ")
    try:
        services = json.JSONDecoder().raw_decode(result)[0]["services"]
    except (ValueError, KeyError) as exc:
        raise FlotillaError(f"whether they are in service can't be read: {command[0]} says {output[:200]!r}") from exc
    return {service["host"]: service["told"] for service in services if service["state"] != "enabled"}


def _sources(inventory: t.Sequence[str]) -> list[str]:
    return [word for source in inventory for word in ("-i", source)]


def _output(command: t.Sequence[str], what: str, environment: t.Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_READ_TIMEOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FlotillaError(f"{what} can't be read, {command[0]}: {exc}") from exc
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["it says nothing"]
        raise FlotillaError(f"{what} can't be read, {command[0]} ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def _members(listing: t.Mapping[str, t.Any], group: str) -> set[str]:
    entry = listing.get(group, {})
    found = set(entry.get("hosts", []))
    for child in entry.get("children", []):
        found |= _members(listing, child)
    return found


def _target(host: str, variables: t.Mapping[str, t.Any]) -> Target:
    address = str(variables.get("ansible_host") or host)
    port = variables.get("ansible_port") or _SSH
    uri = str(variables.get("compute_migration_uri") or "")
    for name, value in (("ansible_host", address), ("ansible_port", port), ("compute_migration_uri", uri)):
        if "{{" in str(value):
            raise InvalidInput(f"{name} of {host} is a template, which ansible-inventory doesn't resolve: write it out")
    paths = [Path("SSH", address, port_number(port, f"ansible_port of {host}"), b"SSH-")]
    try:
        parts = urllib.parse.urlsplit(uri)
        where, its_port = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidInput(f"compute_migration_uri of {host} is {uri!r}, which is no URI: {exc}") from exc
    standard = {"tcp": _TCP, "tls": _TLS}.get(parts.scheme.partition("+")[2])
    if standard is not None and where:
        paths.append(Path("libvirt", where, its_port or standard))
    return Target(host, tuple(paths))


async def watch(
    targets: t.Sequence[Target], options: Options, *, asks: Asks, clock: t.Callable[[], float] = time.time
) -> t.AsyncIterator[Decision]:
    """Round after round, each decision as it is made; for ever."""
    state = Watch()
    while True:
        begun = time.monotonic()
        beats = await _round(targets, options.timeout)
        away: t.Mapping[str, str] = {}
        hosts = doubtful(state, beats, options.rules)
        try:
            away = await asyncio.to_thread(asks, hosts) if hosts else {}
        except FlotillaError as exc:
            # The evacuation reads the ledger, too, and is refused if it can't.
            yield Decision("ask", f"{listed(hosts)}: {exc}", host=hosts[0], at=clock())
        state, decisions = step(state, beats, options.rules, now=clock(), away=away)
        for decision in decisions:
            yield decision
        await asyncio.sleep(max(0.0, options.interval - (time.monotonic() - begun)))


async def _round(targets: t.Sequence[Target], timeout: float) -> dict[str, dict[str, bool]]:
    ways = [(target.host, path) for target in targets for path in target.paths]
    answers = await asyncio.gather(*(_answers(path, timeout) for _host, path in ways))
    beats: dict[str, dict[str, bool]] = {target.host: {} for target in targets}
    for (host, path), answer in zip(ways, answers, strict=True):
        beats[host][path.name] = answer
    return beats


async def _answers(path: Path, timeout: float) -> bool:
    with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(path.address, path.port)
            try:
                return not path.greets or await reader.readexactly(len(path.greets)) == path.greets
            finally:
                writer.close()
    return False
