# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rescue on a real host: the rescue image boots with the root disk beside it, and unrescue brings the very XML back."""

from __future__ import annotations

import dataclasses
import re

import pytest
from tests.host.guests import (
    HostUnderTest,
    create,
    host,
    nothing_stays,
    ok,
    ok_results,
    sentence,
    step,
    virsh,
)

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Image, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.rescue import rescue_mark

__all__ = ["host", "nothing_stays"]  # fixtures

WHOLE = {"root", "ephemeral0", "config", "record"}


def running(host: HostUnderTest, record: Record) -> Record:
    done = host.run(create(record), step("start", record, 1), record=record)
    ok(done)
    host.console(record, r"tick 1\b")
    return Record.from_json(done[0]["record"])


def plain_xml(record: Record) -> str:
    """The domain as it is defined, without its record."""
    xml = virsh("dumpxml", "--inactive", "--security-info", record.id)
    return re.sub(r"<metadata.*</metadata>", "", xml, flags=re.DOTALL)


def rescued(record: Record, image: Image, state: str = "running") -> Record:
    return dataclasses.replace(record, generation=record.generation + 1, marks={"rescue": rescue_mark(image, state)})


@pytest.mark.parametrize(
    ("properties", "disks"),
    [
        pytest.param({}, r"vda:33554432,vdb:1073741824 config_drive=sr0", id="legacy"),
        pytest.param(
            {"hw_rescue_bus": "virtio"},
            r"vda:1073741824,vdb:1073741824,vdc:33554432 config_drive=sr0",
            marks=pytest.mark.soak,
            id="stable",
        ),
    ],
)
def test_rescue_and_back(host: HostUnderTest, properties: dict[str, str], disks: str) -> None:
    record = running(host, host.new("web1", flavor=Flavor("tiny", 1, 128, 1, ephemeral=1)))
    before = plain_xml(record)
    image = dataclasses.replace(record.image, name="rescue", properties=properties)
    second = rescued(record, image)
    steps = (step("stop", record, 1), step("rescue", record, 1, to=second), step("start", record, 2))
    done = host.run(*steps, record=record)
    assert [result["state"] for result in ok_results(done)] == ["shutoff", "shutoff", "running"]
    host.console(record, rf"boots=\d+ .*{disks}")
    assert host.volumes_of(record.id) == {*WHOLE, "rescue"}
    assert [server["status"] for server in host.look()["servers"]] == ["RESCUE"]
    assert host.run(step("rescue", record, 1, to=second))[0]["changed"] is False
    assert "rescued" in sentence(host.run(step("rescue", second, 2, to=rescued(second, image))))
    third = dataclasses.replace(record, generation=3)
    steps = (step("stop", record, 2), step("unrescue", record, 2, to=third), step("start", record, 3))
    assert [result["state"] for result in ok_results(host.run(*steps))] == ["shutoff", "shutoff", "running"]
    assert plain_xml(record) == before
    assert host.volumes_of(record.id) == WHOLE
    host.console(record, r"boots=[23] .*vda:1073741824,vdb:1073741824")
    assert host.run(step("unrescue", record, 2, to=third))[0]["changed"] is False
