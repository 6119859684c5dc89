# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migrations that break, a few of those that test_live_faults has, for every run."""

from __future__ import annotations

import random
import typing as t

from tests.host.guests import HostUnderTest, host, nothing_stays
from tests.host.test_live import nothing_there, two
from tests.host.test_live_faults import FAULTS, SEED, broken, count

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

#: A link that is cut is noticed by its keep-alives alone, after half a minute.
_SOON = sorted(set(FAULTS) - {"the destination is cut off"})
_RUNS = 2


def test_some_faults_leave_one_guest(two: HostUnderTest, record_property: t.Callable[[str, object], None]) -> None:
    """Its guest writes little: one that writes all the time crashes at its new host now and then, being emulated."""
    faults = random.Random(SEED).sample(_SOON, _RUNS)
    ends = [broken(two, fault, turn, within=2) for turn, fault in enumerate(faults)]
    count(ends, "; ".join(faults), record_property)
