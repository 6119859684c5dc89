# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running guest's config drive changed, with a domain made up: wherever it is cut off, the next run has it in again.

tests/host has a real one.
"""

from __future__ import annotations

import dataclasses
import types
import typing as t
import xml.etree.ElementTree as ET

import pytest

libvirt = pytest.importorskip("libvirt")

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_metadata  # noqa: E402
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Record  # noqa: E402
from ansible_collections.flotilla.compute.plugins.module_utils._core.step import DRIVE_OUT  # noqa: E402
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.config_drive import renew_live  # noqa: E402

DRIVE = Disk("config", "local", "its-config", "raw", 4, "sda", "sata", device="cdrom")


class Died(BaseException):
    """The process was killed."""


class Domain:
    """With a drive whose medium is in or out, and the record that it bears."""

    def __init__(self, record: Record) -> None:
        self.record, self.medium, self.locked = record, True, False
        self.left: int | None = None  # calls until it dies

    def _call(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died

    def isActive(self) -> bool:  # noqa: N802  # libvirt names it so
        return True

    def isPersistent(self) -> bool:  # noqa: N802  # libvirt names it so
        return True

    def state(self, _flags: int = 0) -> list[int]:
        return [libvirt.VIR_DOMAIN_RUNNING, 0]

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802  # libvirt names it so
        there = self.medium or flags & libvirt.VIR_DOMAIN_XML_INACTIVE
        source = "<source file='/pool/its-config'/>" if there else "<source index='2'/>"
        return f"<domain><devices><disk device='cdrom'>{source}<target dev='sda' bus='sata'/></disk></devices></domain>"

    def updateDeviceFlags(self, xml: str, _flags: int) -> None:  # noqa: N802  # libvirt names it so
        wanted = ET.fromstring(xml).find("source") is not None
        if self.locked and not wanted:
            raise libvirt.libvirtError("the tray is locked")
        self.medium = wanted
        self._call()

    def setMetadata(self, _kind: int, xml: str, *_more: t.Any) -> None:  # noqa: N802  # libvirt names it so
        self.record = read_metadata(xml)
        self._call()


class Host:
    """With one volume, the drive's."""

    def __init__(self, domain: Domain, wanted: bytes | None) -> None:
        self.content, self._domain, self._wanted = b"old!", domain, wanted
        self.storage = types.SimpleNamespace(
            pool=lambda _name: types.SimpleNamespace(can=lambda _what: True),
            read_volume=lambda _pool, _name: self.content,
            write_volume=self._write,
        )

    def drive(self, _record: Record) -> bytes | None:
        return self._wanted

    def _write(self, _pool: str, _name: str, data: bytes) -> None:
        self._domain._call()
        self.content = data


def renewed(domain: Domain, host: Host) -> str:
    job = types.SimpleNamespace(domain=domain, host=host, record=domain.record)
    return renew_live(t.cast("t.Any", job), domain.record)


@pytest.fixture
def guest(record: Record) -> Domain:
    return Domain(dataclasses.replace(record, disks=(*record.disks, DRIVE)))


@pytest.mark.parametrize("wish", [b"new!", b"old!", None])
def test_wherever_it_is_cut_off_the_next_run_has_the_drive_in(guest: Domain, wish: bytes | None) -> None:
    """*wish*: what is wanted by then, the same, or what was before; None: the run brings no drive."""
    before, cut = guest.record, 0
    while True:
        domain = Domain(before)
        host, domain.left = Host(domain, b"new!"), cut
        try:
            renewed(domain, host)
        except Died:
            # What comes next finds a medium that is out by the record alone.
            assert domain.medium or DRIVE_OUT in domain.record.marks
        else:
            break
        cut, domain.left = cut + 1, None
        host._wanted = wish
        renewed(domain, host)
        assert domain.medium
        assert wish is None or host.content == wish
    assert cut > 3
    assert (domain.medium, domain.record, host.content) == (True, before, b"new!")


def test_a_guest_that_holds_its_drive_keeps_it_and_nothing_says_otherwise(guest: Domain) -> None:
    guest.locked, before = True, guest.record
    told = renewed(guest, Host(guest, b"new!"))
    assert told == "the guest holds its config drive, which is made anew at its next start"
    assert (guest.medium, guest.record) == (True, before)
