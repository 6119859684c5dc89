# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the moments of a sweep a run kills at: a dozen drawn from SEED, or every one with KILLS=all.

A kill with its mending takes up to half a minute where guests are emulated, and all sweeps together have more than a
thousand moments: runs with different seeds come to all of them in time.
"""

from __future__ import annotations

import itertools
import os
import random
import typing as t

SEED = int(os.environ.get("SEED", "1"))
_ALL = os.environ.get("KILLS", "") == "all"
_MOST = 12
_LONGEST_STEP = 5


def drawn(moments: t.Sequence[int], seed: int = SEED) -> list[int]:
    """Of the moments that are known before, in their order."""
    if _ALL or len(moments) <= _MOST:
        return list(moments)
    return sorted(random.Random(seed).sample(moments, _MOST))


def onwards(name: str) -> t.Iterator[int]:
    """1 and further numbers without end, for a sweep that learns only on its way how many moments there are."""
    chance = random.Random(f"{SEED} {name}")
    steps = itertools.repeat(1) if _ALL else iter(lambda: chance.randint(1, _LONGEST_STEP), None)
    return itertools.accumulate(steps, initial=1)


__all__ = ["SEED", "drawn", "onwards"]
