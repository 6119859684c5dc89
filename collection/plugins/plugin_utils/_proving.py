# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proof that hosts are dead, looked for at all of them at once: each agent takes its time, and so does each silence.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import Fence, answering, fence
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof, operator_proof
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

__all__ = ["Prover", "Suspect", "Word"]

_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A host that may be dead, and where it would answer; address None: nobody knows any more where it was. ``silent``:
    this run has listened for it just now."""

    host: str
    address: str | None
    port: int
    silent: bool = False

    def answers(self) -> str | None:
        """How the host still answers, though an agent, or a person, calls it off."""
        return None if self.address is None else answering(self.address, self.port)


@dataclasses.dataclass(frozen=True)
class Word:
    """Who says that the hosts are off, and why."""

    by: str
    reason: str


class Prover:
    """Looks for the proofs of one run. Where a person's word is the proof, it listens from the beginning for a host
    that answers: silence takes some seconds, in which the run can be planned."""

    def __init__(
        self,
        suspects: t.Iterable[Suspect],
        word: Word | None,
        fence_of: t.Callable[[str], Fence | None],
        *,
        now: t.Callable[[], float],
        tell: t.Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._suspects = {suspect.host: suspect for suspect in suspects}
        self._word = word
        self._fence_of = fence_of
        self._now = now
        self._tell = tell
        self._pool = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
        self._heard = {
            host: self._pool.submit(suspect.answers)
            for host, suspect in self._suspects.items()
            if word is not None and not suspect.silent
        }

    def prove(self, hosts: t.Sequence[str]) -> dict[str, Proof]:
        """A proof for each of the *hosts*, which are among the suspects.

        FlotillaError with a sentence for each that has none; before any power is touched, if that is known before.
        """
        found = {host: _outcome(proof) for host, proof in self._looked_for(hosts).items()}
        proofs = {host: proof for host, proof in found.items() if isinstance(proof, Proof)}
        problems = [problem for problem in found.values() if isinstance(problem, FlotillaError)]
        if not problems:
            return proofs
        if len(found) == 1:
            raise problems[0]
        raise Refused("; ".join([*map(str, problems), *_way_out(list(proofs))]))

    def _looked_for(self, hosts: t.Sequence[str]) -> dict[str, t.Callable[[], Proof]]:
        if self._word is not None:
            return {host: functools.partial(self._by_word, host, self._word) for host in hosts}
        fences = {host: self._fence(host) for host in hosts}  # read here: Ansible's variables are for one thread
        return {host: self._pool.submit(self._by_fence, host, its).result for host, its in fences.items()}

    def _fence(self, host: str) -> Fence:
        its = self._fence_of(host)
        if its is None or not its.levels:
            raise Refused(
                f"{host} doesn't answer, and nothing proves that it is off: unreachable is not dead. Give it a "
                "compute_fence, or see that it is off and say so: -e fleet_fenced='who has seen it, and how'"
            )
        return its

    def _by_fence(self, host: str, its: Fence) -> Proof:
        answers = self._suspects[host].answers
        return fence(host, its.levels, now=self._now, timeout=its.timeout, answers=answers, tell=self._tell)

    def _by_word(self, host: str, word: Word) -> Proof:
        alive = self._heard[host].result() if host in self._heard else None
        if alive is not None:
            raise Refused(
                f"Compute service of {host} is still in use, whatever was said of it: {alive}. Switch it off first"
            )
        return operator_proof(host, by=word.by, reason=word.reason, at=self._now())


def _outcome(proof: t.Callable[[], Proof]) -> Proof | FlotillaError:
    try:
        return proof()
    except FlotillaError as exc:
        return exc


def _way_out(proven: t.Sequence[str]) -> list[str]:
    """What can be done about those of several hosts that are off."""
    if not proven:
        return []
    return [f"{listed(proven)} is proven to be off: -e fleet_host={','.join(proven)} evacuates what was there alone"]
