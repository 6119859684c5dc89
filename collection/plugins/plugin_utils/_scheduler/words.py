# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amounts in the words of explanations.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    MEMORY_MB,
    PCPU,
    VCPU,
    Request,
)


def number(value: float) -> str:
    """3 and 3.5, never 3.0."""
    return f"{round(value, 2):.12g}"


def mebibytes(value: float) -> str:
    """In GiB only where that is exact: 2047 MiB must not read as the 2 GiB that it falls short of."""
    in_gib = round(value / 1024, 2)
    return gibibytes(in_gib) if in_gib >= 1 and in_gib * 1024 == value else f"{number(value)} MiB"


def gibibytes(value: float) -> str:
    return f"{number(value)} GiB"


def vcpus(value: float) -> str:
    return f"{number(value)} vCPU" + ("" if value == 1 else "s")


def pcpus(value: float) -> str:
    return f"{number(value)} dedicated CPU" + ("" if value == 1 else "s")


_SIZES: dict[str, t.Callable[[float], str]] = {
    VCPU: vcpus,
    PCPU: pcpus,
    MEMORY_MB: mebibytes,
    DISK_GB: gibibytes,
}


def size_of(resource: str) -> t.Callable[[float], str]:
    """The function that writes an amount of a resource class."""
    return _SIZES.get(resource, lambda value: f"{number(value)} {resource}")


def wants(request: Request) -> str:
    """``8 GiB, 4 vCPUs, 20 GiB disk``."""
    amounts = request.resources
    order = [MEMORY_MB, VCPU, PCPU, DISK_GB]
    order += sorted(set(amounts) - set(order))
    words = [size_of(name)(amounts[name]) + (" disk" if name == DISK_GB else "") for name in order if name in amounts]
    return ", ".join(words) or "nothing"


__all__ = ["gibibytes", "mebibytes", "number", "pcpus", "size_of", "vcpus", "wants"]
