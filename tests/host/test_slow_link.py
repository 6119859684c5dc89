# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that writes to its memory faster than the link between its hosts is: it ends by the timeout action."""

from __future__ import annotations

import typing as t

import pytest
from tests.host.guests import HostUnderTest, host, lab, nothing_stays
from tests.host.test_live import (
    DIRTY,
    console,
    follow,
    gone_from,
    nothing_there,
    order,
    running,
    still_here,
    ticks,
    two,
    wait,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["host", "nothing_stays", "nothing_there", "two"]  # fixtures

pytestmark = pytest.mark.soak
#: Shaped by the kernel: nobody tells QEMU or libvirt of it.
_SHAPE = ("root", "tbf", "rate", "48mbit", "burst", "64kb", "latency", "400ms")


@pytest.fixture
def slow(two: HostUnderTest) -> Iterator[HostUnderTest]:
    """What kvm1 sends."""
    lab("exec", "kvm1", "tc", "qdisc", "add", "dev", "eth0", *_SHAPE)
    yield two
    lab("exec", "kvm1", "tc", "qdisc", "del", "dev", "eth0", "root")


@pytest.mark.parametrize("action", ["abort", "pause", "post_copy"])
def test_it_ends_by_its_timeout_action(slow: HostUnderTest, action: str) -> None:
    record = running(slow, "web1", "shared", user_data=DIRTY)
    wait(lambda: console("kvm1", record).count("dirty") > 1)
    (done,) = follow(slow, order(record, timeout=4, timeout_action=action))
    status = done["told"]["migration"]["status"]
    if action == "abort":
        assert (done.get("failed"), status) == (True, "cancelled"), done
        still_here(slow, record)
        return
    assert (done.get("failed"), status, done["state"]) == (None, "completed", "running"), done
    last = ticks("kvm1", record)[-1]
    assert wait(lambda: ticks("kvm2", record))[0] in (last, last + 1)
    gone_from(slow, record)
