# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guest says of itself by its agent, with an agent made up."""

from __future__ import annotations

import typing as t

import pytest

libvirt = pytest.importorskip("libvirt")

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent, freezing  # noqa: E402

LOOPBACK = {"addr": "127.0.0.1", "prefix": 8, "type": 0}


class Guest:
    """A domain whose agent gives these answers, or raises them."""

    def __init__(self, hostname: t.Any, interfaces: t.Any, time: t.Any = 0) -> None:
        self.answers = {"time": time, "hostname": hostname, "interfaces": interfaces}
        self.limits: list[int] = []

    def _answer(self, question: str) -> t.Any:
        answer = self.answers[question]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def getTime(self, _flags: int) -> t.Any:  # noqa: N802  # libvirt names it so
        return self._answer("time")

    def hostname(self, flags: int) -> t.Any:
        assert flags == libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT
        return self._answer("hostname")

    def interfaceAddresses(self, source: int, _flags: int) -> t.Any:  # noqa: N802  # libvirt names it so
        assert source == libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        return self._answer("interfaces")

    def agentSetResponseTimeout(self, seconds: int, _flags: int) -> None:  # noqa: N802  # libvirt names it so
        self.limits.append(seconds)


def error(code: str) -> Exception:
    made = libvirt.libvirtError("made up")
    made.err = (getattr(libvirt, code), 0, "made up", 0, "", None, None, 0, 0)
    return t.cast("Exception", made)


def told(guest: Guest) -> dict[str, t.Any] | None:
    return agent.told(t.cast("t.Any", guest))


def test_a_guest_tells_its_name_and_the_addresses_that_others_can_use() -> None:
    interfaces = {
        "lo": {"hwaddr": "00:00:00:00:00:00", "addrs": [LOOPBACK, {"addr": "::1", "prefix": 128, "type": 1}]},
        "eth1": {"hwaddr": "52:54:00:00:00:02", "addrs": None},
        "eth0": {
            "hwaddr": "52:54:00:00:00:01",
            "addrs": [
                {"addr": "192.0.2.10", "prefix": 24, "type": 0},
                {"addr": "fe80::1", "prefix": 64, "type": 1},
                {"addr": "2001:db8::10", "prefix": 64, "type": 1},
            ],
        },
    }
    guest = Guest("web1.example.org", interfaces)
    assert told(guest) == {"hostname": "web1.example.org", "addresses": ["192.0.2.10", "2001:db8::10"]}
    assert guest.limits == [agent.WITHIN, libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK] * 2


@pytest.mark.parametrize("code", ["VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_ARGUMENT_UNSUPPORTED"])
def test_a_guest_without_an_agent_that_answers_tells_nothing(code: str) -> None:
    assert told(Guest("web1", {}, time=error(code))) is None


def test_what_an_agent_can_t_tell_or_not_in_time_is_null() -> None:
    guest = Guest(error("VIR_ERR_AGENT_UNSYNCED"), {"lo": {"addrs": [LOOPBACK]}})
    assert told(guest) == {"hostname": None, "addresses": []}
    assert guest.limits[-1] == libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK
    assert told(Guest("web1", error("VIR_ERR_AGENT_UNRESPONSIVE"))) == {"hostname": "web1", "addresses": None}


def test_a_freeze_and_a_thaw_that_hang_are_given_up() -> None:
    """The server's lock is held meanwhile, and its guest may be frozen."""
    asked: list[tuple[str, int]] = []

    class Hanging(Guest):
        def state(self) -> list[int]:
            return [libvirt.VIR_DOMAIN_RUNNING, 0]

        def fsFreeze(self) -> None:  # noqa: N802  # libvirt names it so
            asked.append(("freeze", self.limits[-1]))

        def fsThaw(self) -> None:  # noqa: N802  # libvirt names it so
            asked.append(("thaw", self.limits[-1]))

    guest = t.cast("t.Any", Hanging("x", {}))
    assert freezing._freeze(guest) == ""
    freezing.thaw(guest)
    assert [what for what, _limit in asked] == ["freeze", "thaw"]
    assert all(0 < limit <= 60 for _what, limit in asked)
