# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of CPUs as Nova and libvirt write them: ``0-3,^2,8``.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import re
import typing as t

from .errors import InvalidInput

#: Sorted, nothing twice.
CpuSet = tuple[int, ...]

#: libvirt's own limit (VIR_DOMAIN_CPUMASK_LEN); a range may not make more of a slip of the pen.
_MOST = 16384
_PART = re.compile(r"(\^?)\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5}))?", re.ASCII)


def parse_cpus(text: str) -> CpuSet:
    """The set; ``^`` takes away, wherever it stands (Nova: virt/hardware.py, parse_cpu_spec). Empty text is the empty
    set. InvalidInput for what can't be read."""
    given: set[int] = set()
    taken: set[int] = set()
    for part in text.split(","):
        if not part.strip():
            continue
        match = _PART.fullmatch(part.strip())
        first = int(match[2]) if match else 0
        last = int(match[3]) if match and match[3] else first
        if match is None or last < first or last >= _MOST:
            raise InvalidInput(
                f"{text!r} is no set of CPUs ({part.strip()!r}); it should be numbers, ranges and ^exceptions "
                "with commas between them, such as 0-3,^2,8"
            )
        (taken if match[1] else given).update(range(first, last + 1))
    return tuple(sorted(given - taken))


def format_cpus(cpus: t.Iterable[int]) -> str:
    """The set in the shortest text, as libvirt itself writes it."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


__all__ = ["CpuSet", "format_cpus", "parse_cpus"]
