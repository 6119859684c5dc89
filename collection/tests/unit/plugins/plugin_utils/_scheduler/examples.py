# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many inputs hypothesis makes up for a law."""

from __future__ import annotations

import os

from hypothesis import settings

#: The environment's factor: the long run looks for counterexamples for longer.
FACTOR = "LAWS"


def examples(count: int) -> settings:
    """So many, and no limit to the time that one of them takes."""
    return settings(max_examples=count * int(os.environ.get(FACTOR, "1")), deadline=None)


__all__ = ["FACTOR", "examples"]
