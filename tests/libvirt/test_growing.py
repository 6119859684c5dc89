# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that grows while it runs: what is plugged in where, with a domain made up; tests/e2e has a real one."""

from __future__ import annotations

import dataclasses
import re
import types
import typing as t

import pytest

libvirt = pytest.importorskip("libvirt")

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict  # noqa: E402
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (  # noqa: E402
    Flavor,
    Hardware,
    Image,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.room import Room  # noqa: E402
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import growing  # noqa: E402

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
MIB = 1024


class Domain:
    """vCPUs and MiB by configuration."""

    def __init__(self, live: tuple[int, int] = (1, 256), config: tuple[int, int] = (1, 256)) -> None:
        self.size = {LIVE: list(live), CONFIG: list(config)}
        self.refuses: set[str] = set()
        self.running = True
        self.asked: list[int] = []

    def isActive(self) -> bool:  # noqa: N802  # libvirt names it so
        return self.running

    def state(self, _flags: int = 0) -> list[int]:
        return [libvirt.VIR_DOMAIN_RUNNING if self.running else libvirt.VIR_DOMAIN_SHUTOFF, 0]

    def hasManagedSaveImage(self, _flags: int = 0) -> bool:  # noqa: N802  # libvirt names it so
        return False

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802  # libvirt names it so
        vcpus, memory = self.size[CONFIG if flags & libvirt.VIR_DOMAIN_XML_INACTIVE else LIVE]
        return f"<domain><memory unit='KiB'>{memory * MIB}</memory><vcpu current='{vcpus}'>4</vcpu></domain>"

    def setVcpusFlags(self, vcpus: int, flags: int) -> None:  # noqa: N802  # libvirt names it so
        if flags == libvirt.VIR_DOMAIN_VCPU_GUEST:
            self.asked.append(vcpus)
            return
        self._refuse("fewer vCPUs" if flags & LIVE and vcpus < self.size[LIVE][0] else "vCPUs")
        for flag in self._flags(flags):
            self.size[flag][0] = vcpus

    def attachDeviceFlags(self, xml: str, flags: int) -> None:  # noqa: N802  # libvirt names it so
        self._refuse("memory")
        found = re.search(r'<memory model="dimm"><target><size unit="KiB">(\d+)</size><node>0</node>', xml)
        assert found is not None, xml
        for flag in self._flags(flags):
            self.size[flag][1] += int(found[1]) // MIB

    def getTime(self, _flags: int) -> None:  # noqa: N802  # libvirt names it so
        self._refuse("agent")

    def agentSetResponseTimeout(self, _seconds: int, _flags: int) -> None:  # noqa: N802  # libvirt names it so
        pass

    def _flags(self, flags: int) -> list[int]:
        return [flag for flag in (LIVE, CONFIG) if flags & flag]

    def _refuse(self, what: str) -> None:
        if what in self.refuses:
            error = libvirt.libvirtError("made up")
            error.err = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, 0, f"no {what}", 0, "", None, None, 0, 0)
            raise error


RECORD = Record(
    id="5a0c7a0e-0000-4000-8000-000000000001",
    name="web1",
    fleet_id="f",
    generation=1,
    spec={},
    flavor=Flavor("s", 1, 256, 1),
    image=Image("tick", "qcow2", "sha256:aa"),
    disks=(),
    nics=(),
    hardware=Hardware(guest_agent=True),
    room=Room(4, 1024),
)


def grow(
    domain: Domain, *, done: bool = False, record: Record = RECORD, written: list[Record] | None = None
) -> tuple[t.Any, list[Record]]:
    """The step to 2 vCPUs and 512 MiB: what it gives, and the records that it has written."""
    written = [] if written is None else written
    job = types.SimpleNamespace(
        done=done,
        domain=domain,
        record=record,
        target=dataclasses.replace(record, flavor=Flavor("l", 2, 512, 1)),
        order=types.SimpleNamespace(name="web1"),
        host=types.SimpleNamespace(write=lambda _domain, its: written.append(its)),
    )
    return growing.HANDLERS["grow"](t.cast("t.Any", job)), written


@pytest.mark.parametrize("live", [(1, 256), (2, 256), (1, 512), (2, 512)])
@pytest.mark.parametrize("config", [(1, 256), (2, 256), (1, 512), (2, 512)])
def test_wherever_it_was_cut_off_both_configurations_end_alike(live: tuple[int, int], config: tuple[int, int]) -> None:
    domain = Domain(live, config)
    (changed, told), written = grow(domain)
    assert (changed, told) == (True, "grown to 2 vCPU and 512 MiB while it runs")
    assert domain.size == {LIVE: [2, 512], CONFIG: [2, 512]}
    assert (len(written), domain.asked) == (1, [2])


def test_what_is_done_is_not_done_again() -> None:
    domain = Domain()
    assert grow(domain, done=True) == ((False, "it has grown"), [])
    assert domain.size == {LIVE: [1, 256], CONFIG: [1, 256]}


@pytest.mark.parametrize("refused", ["memory", "vCPUs"])
def test_what_fails_leaves_it_as_it_was_and_says_what_to_do(refused: str) -> None:
    domain = Domain()
    domain.refuses = {refused}
    with pytest.raises(Conflict, match=r"can't grow server 'web1'.*; it is tried once more the next time$"):
        grow(domain)
    assert domain.size == {LIVE: [1, 256], CONFIG: [1, 256]}


def test_what_is_refused_again_is_written_down_and_not_tried_for_ever() -> None:
    domain = Domain()
    domain.refuses = {"memory"}
    written: list[Record] = []
    with pytest.raises(Conflict, match="it is tried once more the next time"):
        grow(domain, written=written)
    with pytest.raises(Conflict, match=r"from now on it takes a restart \(-e fleet_allow=restart\)"):
        grow(domain, record=written[0], written=written)
    first, second = (record.room.refused for record in written if record.room is not None)
    assert first is not None
    assert second is not None
    assert [(its.vcpus, its.ram, its.times) for its in (first, second)] == [(2, 512, 1), (2, 512, 2)]
    assert "made up" in second.why or "no memory" in second.why
    # Nothing else of the record is another, and it is that of the same generation: no plan is outdated by it.
    assert dataclasses.replace(written[1], room=RECORD.room) == RECORD


def test_what_fails_and_the_guest_keeps_is_told() -> None:
    domain = Domain()
    domain.refuses = {"memory", "fewer vCPUs"}
    with pytest.raises(Conflict, match="it keeps the 2 vCPUs that it has got"):
        grow(domain)
    assert domain.size[LIVE] == [2, 256]


def test_a_guest_that_went_off_is_not_grown() -> None:
    domain = Domain()
    domain.running = False
    with pytest.raises(Conflict, match="'web1' is shutoff and was to grow while it runs; plan again"):
        grow(domain)


def test_a_silent_agent_is_no_failure() -> None:
    domain = Domain()
    domain.refuses = {"agent"}
    assert grow(domain)[0][0] is True
    assert domain.asked == []
