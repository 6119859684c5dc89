# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a guest lies that has come to a host, against what it was given there: by libvirt and by the kernel."""

from __future__ import annotations

import types
import typing as t
import xml.etree.ElementTree as ET

import libvirt
import pytest
from tests.libvirt.test_landing import error

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pinning import astray


def on(first: int, second: int, cell: int = 0) -> Fit:
    """Two vCPUs on cores of their own."""
    return Fit((FitCell(0, cell, (0, 1), 256, pinning={0: first, 1: second}),), emulator_cpus=(first, second))


def domain(fit: Fit | None, threads: t.Sequence[t.Collection[int]] | None) -> t.Any:
    """A domain that is tuned as the fit says, and whose vCPUs may run on these CPUs; None: it is off."""
    root = ET.fromstring("<domain><vcpu>2</vcpu><cpu/></domain>")
    Tuning.of(fit).write(root)

    def vcpus() -> t.Any:
        if threads is None:
            raise error(libvirt.VIR_ERR_OPERATION_INVALID)
        maps = [tuple(cpu in cpus for cpu in range(4)) for cpus in threads]
        return [(number, 1, 0, 0) for number in range(len(threads))], maps

    return types.SimpleNamespace(XMLDesc=lambda _flags: ET.tostring(root, encoding="unicode"), vcpus=vcpus)


@pytest.mark.parametrize(
    ("given", "has", "threads", "said"),
    [
        (None, on(0, 1), [{0}, {1}], []),  # pinned by hand: that is nobody's business
        (on(0, 1), on(0, 1), [{0}, {1}], []),
        (on(0, 1), on(0, 1), None, []),
        (
            on(0, 1),
            on(0, 2),
            [{0}, {2}],
            ["its vCPUs are pinned 0 on 0, 1 on 2, emulator on 0,2, not 0 on 0, 1 on 1, emulator on 0-1"],
        ),
        (on(0, 1), on(0, 1), [{0}, {1, 3}], ["the thread of vCPU 1 runs on CPU 1,3, not on 1 alone"]),
        (on(0, 1), on(0, 1, cell=1), [{0}, {1}], ["the memory of its cell 0 is bound to cell 1 of the host, not to 0"]),
        (on(0, 1), None, [{0, 1}, {0, 1}], ["its vCPUs are pinned nowhere, not 0 on 0, 1 on 1, emulator on 0-1"]),
        (Fit(cpus=(0, 1)), Fit(cpus=(0, 1)), [{0, 1}] * 2, []),
        (Fit(cpus=(0, 1)), Fit(cpus=(2,)), [{2}] * 2, ["it floats on CPU 2, not on 0-1"]),
        (Fit(cpus=(0, 1)), None, [{0, 1, 2, 3}] * 2, ["it floats on CPU any, not on 0-1"]),
    ],
)
def test_in_what_a_guest_lies_otherwise(
    given: Fit | None, has: Fit | None, threads: list[set[int]] | None, said: list[str]
) -> None:
    assert astray(domain(has, threads), Tuning.of(given)) == said
