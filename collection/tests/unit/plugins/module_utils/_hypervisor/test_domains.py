# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power button: pressed every ten seconds, as Nova does it, and the plug when time is up."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains

RUNNING, PAUSED, SHUTOFF = 1, 3, 5


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Guest:
    """A domain whose guest shuts down a second after the press that it *hears*, counted from 1; 0 hears none."""

    def __init__(self, clock: Clock, hears: int = 0, state: int = RUNNING) -> None:
        self._clock = clock
        self._hears = hears
        self._state = state
        self._off_at: float | None = None
        self.presses: list[float] = []
        self.destroyed_at: float | None = None

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        if self._off_at is not None and self._clock.now >= self._off_at:
            self._state = SHUTOFF
        return self._state != SHUTOFF

    def isPersistent(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def hasManagedSaveImage(self) -> bool:  # noqa: N802 - libvirt's name
        return False

    def name(self) -> str:
        return "web1"

    def state(self) -> tuple[int, int]:
        return self._state, 0

    def shutdown(self) -> None:
        self.presses.append(round(self._clock.now))
        if len(self.presses) == self._hears:
            self._off_at = self._clock.now + 1

    def destroy(self) -> None:
        self.destroyed_at = round(self._clock.now)
        self._state = SHUTOFF


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(domains, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("hears", "timeout", "presses", "destroyed"),
    [
        pytest.param(1, 60, [0], None, id="it hears at once"),
        pytest.param(3, 60, [0, 10, 20], None, id="it was booting"),
        pytest.param(0, 60, [0, 10, 20, 30, 40, 50], 60, id="it never hears"),
        pytest.param(0, 25, [0, 10, 20], 25, id="a time of its own"),
        pytest.param(1, 0, [], 0, id="no time at all"),
    ],
)
def test_stop_presses_again_every_ten_seconds_and_then_pulls_the_plug(
    clock: Clock, hears: int, timeout: float, presses: list[float], destroyed: float | None
) -> None:
    guest = Guest(clock, hears)
    assert domains.stop(guest, timeout=timeout)
    assert (guest.presses, guest.destroyed_at) == (presses, destroyed)
    assert not guest.isActive()
    assert not domains.stop(guest, timeout=timeout)  # off already is fine


def test_a_paused_guest_is_not_asked(clock: Clock) -> None:
    guest = Guest(clock, hears=1, state=PAUSED)
    assert domains.stop(guest, timeout=60)
    assert (guest.presses, guest.destroyed_at) == ([], 0)


@pytest.mark.parametrize(("hears", "off"), [(2, True), (0, False)])
def test_to_shut_down_is_to_press_and_never_to_pull_the_plug(clock: Clock, hears: int, off: bool) -> None:
    guest = Guest(clock, hears)
    assert domains.shut_down(guest, timeout=30) is off
    assert guest.destroyed_at is None


def test_one_press_is_not_waited_for(clock: Clock) -> None:
    guest = Guest(clock, hears=1)
    assert domains.press(guest)
    assert (clock.now, guest.presses) == (0.0, [0])
    clock.sleep(1)
    assert not domains.press(guest)


def test_a_wait_says_what_it_waits_for(clock: Clock) -> None:
    never: t.Callable[[], bool] = lambda: False  # noqa: E731 - a fact
    with pytest.raises(FlotillaError, match="waited 5 s for 'web1' to be off, and it is not"):
        domains.wait_until(never, within=5, what="'web1' to be off")
