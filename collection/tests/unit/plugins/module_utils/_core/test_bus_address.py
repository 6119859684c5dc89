# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.bus_address import addresses, located, placeholder
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Hardware, Image, Nic, Record

ID = "5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11"
MACS = ("52:54:00:00:00:0A", "52:54:00:00:00:0b", "52:54:00:00:00:0c")
XML = """<domain><devices>
  <interface type="bridge"><mac address="52:54:00:00:00:0a"/>
    <address type="pci" domain="0x0000" bus="0x01" slot="0x1f" function="0x7"/></interface>
  <interface type="bridge"><mac address="52:54:00:00:00:0b"/><address type="ccw" cssid="0xfe"/></interface>
  <interface type="bridge"><mac address="52:54:00:00:00:0c"/></interface>
  <disk><address type="pci" domain="0x0000" bus="0x00" slot="0x05" function="0x0"/></disk>
</devices></domain>"""


def record() -> Record:
    ports = [Nic("lan", "bridge", "br0", mac, tag=f"tag{at}") for at, mac in enumerate(MACS)]
    image = Image("debian-12", "qcow2", "sha256:" + "0" * 64)
    return Record(ID, "web", "fleet", 1, {}, Flavor("m1.small", 1, 512, 10), image, (), ports, Hardware())


def document() -> bytes:
    devices = [{"address": placeholder(ID, mac), "mac": mac} for mac in MACS]
    return json.dumps({"devices": devices, "meta": {"mac": MACS[0]}}).encode()


def test_pci_addresses_are_written_as_nova_does() -> None:
    assert addresses(XML) == {"52:54:00:00:00:0a": "0000:01:1f.7"}


@pytest.mark.parametrize(
    ("places", "expected"),
    [(addresses(XML), ["0000:01:1f.7", "none", "none"]), ({}, ["none", "none", "none"])],
)
def test_documents_keep_their_length_and_all_else(places: dict[str, str], expected: list[str]) -> None:
    told = located(document(), record(), places)
    assert len(told) == len(document())
    assert [device["address"] for device in json.loads(told)["devices"]] == expected
    assert json.loads(told)["meta"] == {"mac": MACS[0]}


def test_ports_that_the_guest_is_not_told_of_have_no_placeholder() -> None:
    bare = Record(**{**vars(record()), "nics": (Nic("lan", "bridge", "br0", MACS[0]),)})
    assert located(document(), bare, addresses(XML)) == document()


def test_no_server_has_another_s_placeholder() -> None:
    found = {placeholder(server, mac) for server in (ID, ID[::-1]) for mac in MACS}
    assert len(found) == 6
    assert {len(text) for text in found} == {12}
    assert placeholder(ID, MACS[0]) == placeholder(ID, MACS[0].lower())
