# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's CPU: what a host lacks of it, and how a domain says it."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_model import lacking, read_cpu
from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import HostFacts, Source, domain_xml
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Disk,
    Flavor,
    Hardware,
    Image,
    Record,
)

MODEL: dict[str, t.Any] = {"model": "Haswell-noTSX", "features": {"ssbd": "require", "pcid": "disable"}}


@pytest.mark.parametrize(
    ("cpu", "why"),
    [
        ({"models": ["Haswell-noTSX", "qemu64"], "features": ["avx2", "ssbd"]}, ""),
        # It may work there without the feature that is switched off; a host that was asked for it knows.
        ({"models": ["qemu64"], "features": ["ssbd"]}, ""),
        ({"models": ["qemu64"], "asked": {"model": MODEL, "lacks": "its CPU lacks avx2"}}, "its CPU lacks avx2"),
        ({"asked": {"model": {"model": "kvm64"}, "lacks": "x"}, "features": ["vme"]}, "its CPU lacks ssbd"),
        ({"models": ["Haswell-noTSX"], "features": ["avx2"]}, "its CPU lacks ssbd"),
        # A libvirt that can't tell: the guest's start does.
        ({"models": [], "features": []}, ""),
        ({}, ""),
    ],
)
def test_what_a_host_lacks(cpu: dict[str, t.Any], why: str) -> None:
    assert lacking(MODEL, cpu) == why
    assert lacking({"model": "qemu64"}, {"models": ["qemu64"]}) == ""
    assert lacking({"model": "EPYC"}, {"models": ["qemu64"]}) == "no CPU EPYC works there"


def made(cpu: dict[str, t.Any] | None) -> Record:
    disk = Disk("root", "local", "s-root", "qcow2", 1, "vda", "virtio")
    image = Image("i", "qcow2", "sha256:0")
    return Record("s", "web1", "f", 1, {}, Flavor("f", 2, 128, 1), image, (disk,), (), Hardware(machine="pc", cpu=cpu))


def cpu_of(record: Record) -> ET.Element:
    found = ET.fromstring(domain_xml(record, HostFacts("kvm", {("local", "s-root"): Source("/a")}))).find("cpu")
    assert found is not None
    return found


def test_a_domain_has_just_that_cpu() -> None:
    cpu = cpu_of(made(MODEL))
    assert cpu.attrib == {"mode": "custom", "match": "exact", "check": "partial"}
    assert read_cpu(cpu) == MODEL
    assert cpu.find("model[@fallback='forbid']") is not None
    assert cpu.find("topology[@sockets='2']") is not None
    assert cpu_of(made(None)).get("mode") == "host-model"


def test_a_record_keeps_it_and_an_older_one_has_none() -> None:
    record = made(MODEL)
    assert Record.loads(record.dumps()) == record
    older = record.to_json()
    del older["hardware"]["cpu"]
    assert Record.from_json(older).hardware.cpu is None
