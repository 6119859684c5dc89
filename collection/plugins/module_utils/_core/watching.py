# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts are to be evacuated, by the beats that were missed; and when the watcher must rather do nothing.

Note that this module util is **PRIVATE** to the collection.

Pure: one round of beats goes in, with the state that the last one left; a new state and what is to be done come out. A
host is seen if any of its paths answered. What a decision leads to is still held to proof: the evacuation fences first.

- A host that misses ``misses`` beats in a row is to be evacuated, once, until it has been seen again. One that this
  watcher has never seen is not: a wrong address looks like a dead host.
- A host that is out of service (in maintenance, disabled, being drained, down) and falls silent is left to people, and
  counted nowhere until it answers again.
- A watcher that doesn't see most of the fleet is itself cut off: it does nothing, and counts anew when it sees again.
- While more than a share of the fleet is out of reach, no host is evacuated; if that lasts, the watcher stops and asks.
- Beyond ``max_hosts`` within ``window`` seconds the next host is a person's to decide: the watcher stops and asks.
"""

from __future__ import annotations

import dataclasses
import typing as t

__all__ = ["Decision", "HostBeat", "Rules", "Watch", "doubtful", "step"]

Beats = t.Mapping[str, t.Mapping[str, bool]]
Kind = t.Literal["missed", "back", "evacuate", "ask", "left", "blind", "sees"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """``max_unreachable``: the share of the fleet, of which at least one host, that may be out of reach at once;
    ``window`` in seconds."""

    misses: int = 3
    max_unreachable: float = 0.2
    max_hosts: int = 2
    window: float = 3600.0

    def may_be_out(self, hosts: int) -> int:
        return max(1, int(hosts * self.max_unreachable))


@dataclasses.dataclass(frozen=True)
class HostBeat:
    """``misses``: in a row; ``since``: when the first of them was; ``decided``: the host was handed on, for evacuation
    or to a person; ``seen``: it has answered this watcher at some time; ``left``: it fell silent out of service."""

    misses: int = 0
    since: float | None = None
    decided: bool = False
    seen: bool = False
    left: bool = False


@dataclasses.dataclass(frozen=True)
class Watch:
    """What a watcher knows after a round. ``evacuated``: times and hosts; ``blind``: it doesn't see most of the fleet,
    None before the first round; ``stopped``: why it asks for a person."""

    hosts: t.Mapping[str, HostBeat] = dataclasses.field(default_factory=dict)
    evacuated: t.Sequence[tuple[float, str]] = ()
    blind: bool | None = None
    stopped: str = ""


@dataclasses.dataclass(frozen=True)
class Decision:
    """``kind``: missed, back and left (to people) are for the log; evacuate is for the playbook; ask is for a person;
    blind and sees say that the watcher itself was cut off, and is no longer."""

    kind: Kind
    reason: str
    host: str = ""
    at: float = 0.0

    def to_json(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def doubtful(watch: Watch, beats: Beats, rules: Rules) -> tuple[str, ...]:
    """The hosts of which ``step`` must know now whether they are out of service."""
    blind = 2 * len(_silent(watch, beats)) >= len(beats)
    known = {host: watch.hosts.get(host, HostBeat()) for host in _silent(watch, beats)}
    return tuple(h for h, beat in known.items() if not beat.decided and (blind or beat.misses + 1 >= rules.misses))


def step(
    watch: Watch, beats: Beats, rules: Rules, *, now: float, away: t.Mapping[str, str] | None = None
) -> tuple[Watch, list[Decision]]:
    """One round: *beats* has of each host whether each of its paths answered; *now* in seconds; *away*: the hosts that
    are out of service, and how."""
    watch, told = _leave(watch, beats, away or {}, now)
    left = {host: watch.hosts[host] for host in beats if not any(beats[host].values()) and watch.hosts[host].left}
    watch, news = _watched(watch, {host: paths for host, paths in beats.items() if host not in left}, rules, now)
    return dataclasses.replace(watch, hosts={**watch.hosts, **left}), told + news


def _silent(watch: Watch, beats: Beats) -> list[str]:
    """The hosts that don't answer, less those that are left to people already."""
    hosts = sorted(host for host, paths in beats.items() if not any(paths.values()))
    return [host for host in hosts if not watch.hosts.get(host, HostBeat()).left]


def _leave(watch: Watch, beats: Beats, away: t.Mapping[str, str], now: float) -> tuple[Watch, list[Decision]]:
    silent = [host for host in _silent(watch, beats) if host in away]
    hosts = {host: watch.hosts.get(host, HostBeat()) for host in beats}
    left = {host: HostBeat(seen=hosts[host].seen, left=True) for host in silent}
    told = [Decision("left", f"{host} doesn't answer, and {away[host]}: left to people", host, now) for host in silent]
    return dataclasses.replace(watch, hosts={**hosts, **left}), told


def _watched(watch: Watch, beats: Beats, rules: Rules, now: float) -> tuple[Watch, list[Decision]]:
    unseen = _silent(watch, beats)
    if beats and 2 * (len(beats) - len(unseen)) <= len(beats):
        return _blind(watch, beats, len(unseen), now)
    seen = f"the watcher sees {len(beats) - len(unseen)} of {len(beats)} hosts"
    told = [Decision("sees", f"{seen}, and begins to count", at=now)] if watch.blind is not False else []
    hosts: dict[str, HostBeat] = {}
    for host in sorted(beats):
        hosts[host], news = _count(host, watch.hosts.get(host, HostBeat()), beats[host], rules, now)
        told += news
    recent = [each for each in watch.evacuated if now - each[0] < rules.window]
    watch = Watch(hosts, tuple(recent), blind=False, stopped=watch.stopped)
    if watch.stopped:
        return watch, told
    watch, decided = _decide(watch, unseen, rules, now)
    return watch, told + decided


def _blind(watch: Watch, beats: Beats, unseen: int, now: float) -> tuple[Watch, list[Decision]]:
    # Misses are forgotten: right after the watcher's own link is back, the slowest host must not be taken for dead.
    known = {host: watch.hosts.get(host, HostBeat()) for host in beats}
    hosts = {host: HostBeat(decided=beat.decided, seen=beat.seen) for host, beat in known.items()}
    after = dataclasses.replace(watch, hosts=hosts, blind=True)
    if watch.blind:
        return after, []
    reason = (
        f"the watcher doesn't see {unseen} of {len(beats)} hosts, so not most of the fleet: the fault is taken for its "
        "own, and nothing is done"
    )
    return after, [Decision("blind", reason, at=now)]


def _count(
    host: str, before: HostBeat, paths: t.Mapping[str, bool], rules: Rules, now: float
) -> tuple[HostBeat, list[Decision]]:
    if any(paths.values()):
        missed = f" after {before.misses} missed beats" if before.misses else ""
        news = Decision("back", f"{host} answers again{missed}", host, now)
        return HostBeat(seen=True), [news] if before.misses or before.left else []
    after = dataclasses.replace(before, misses=before.misses + 1, since=now if before.since is None else before.since)
    if before.decided or after.misses > rules.misses:
        return after, []
    reason = f"{host} has missed {after.misses} of {rules.misses} beats, by {', '.join(sorted(paths)) or 'no path'}"
    return after, [Decision("missed", reason, host, now)]


def _decide(watch: Watch, unseen: t.Sequence[str], rules: Rules, now: float) -> tuple[Watch, list[Decision]]:
    dead = [host for host in unseen if watch.hosts[host].misses >= rules.misses]
    new = [host for host in dead if not watch.hosts[host].decided]
    waiting = [host for host in new if watch.hosts[host].seen]
    watch, decided = _never_seen(watch, [host for host in new if not watch.hosts[host].seen], now)
    may = rules.may_be_out(len(watch.hosts))
    if waiting and len(dead) > may:
        out = f"{len(dead)} of {len(watch.hosts)} hosts are out of reach ({', '.join(dead)}), more than {may}"
        watch, asked = _stop(watch, out, now)
        return watch, decided + asked
    if len(unseen) > may:
        return watch, decided  # others have just begun to miss beats: the next rounds tell
    for host in sorted(waiting, key=lambda name: (watch.hosts[name].since or now, name)):
        if len(watch.evacuated) >= rules.max_hosts:
            before = ", ".join(name for _at, name in watch.evacuated)
            limit = f"{rules.max_hosts} in {rules.window:g} s (max_hosts, window): before it {before}"
            watch, asked = _stop(watch, f"{host} would be one host more than {limit}", now)
            return watch, decided + asked
        beat = watch.hosts[host]
        reason = f"{host} has missed {beat.misses} beats in a row"
        decided.append(Decision("evacuate", reason, host, now))
        hosts = {**watch.hosts, host: dataclasses.replace(beat, decided=True)}
        watch = dataclasses.replace(watch, hosts=hosts, evacuated=(*watch.evacuated, (now, host)))
    return watch, decided


def _never_seen(watch: Watch, hosts: t.Sequence[str], now: float) -> tuple[Watch, list[Decision]]:
    told = {host: dataclasses.replace(watch.hosts[host], decided=True) for host in hosts}
    why = "has not answered since the watcher began, so it is not evacuated by itself: is its address right?"
    after = dataclasses.replace(watch, hosts={**watch.hosts, **told})
    return after, [Decision("ask", f"{host} {why}", host, now) for host in hosts]


def _stop(watch: Watch, reason: str, now: float) -> tuple[Watch, list[Decision]]:
    said = f"{reason}: the watcher stops and evacuates no more until a person has looked and starts it anew"
    return dataclasses.replace(watch, stopped=said), [Decision("ask", said, at=now)]
