# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which lab a test may have for itself: tests run beside each other, of one checkout and of several."""

from __future__ import annotations

import os


def lab_name(default: str) -> str:
    """The lab of some tests: *default* (7 characters at most), or FLOTILLA_LAB; pytest-xdist's workers number theirs.

    With a worker's number FLOTILLA_LAB is made another for each *default* by its first letter: what a session keeps
    up for one kind of tests is not what the next kind takes down. At most 6 characters of it are taken then.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    given = os.environ.get("FLOTILLA_LAB", "")
    if not worker:
        return given or default
    return (f"{given[:6]}{default[0]}" if given else default) + worker
