# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A config drive made anew on a real host: by changing a running guest's medium, and before a start."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import typing as t
from xml.etree import ElementTree

import pytest
from tests.host.guests import HostUnderTest, console_of, create, drives, host, lab, nothing_stays, ok, step, virsh

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record

__all__ = ["host", "nothing_stays"]  # fixtures

#: What a guest does that keeps its drive in use, if its metadata say so.
HOLDS = """#!/bin/sh
# flotilla-guest: run
grep -q '"role": "holder"' /config/openstack/latest/meta_data.json || exit
mount -t iso9660 -o ro /dev/sr0 /drive && echo "holds its drive"
"""
WHICH = {"running": (), "defined": ("--inactive",)}


def medium(record: Record) -> str:
    """What is on the drive, as a checksum; the domain has it in, running and as defined."""
    paths = {which: _medium(record, *flags) for which, flags in WHICH.items()}
    assert paths["running"] == paths["defined"]
    # A pool of block devices rounds up; the lab's are files.
    return lab("exec", "kvm1", "sha256sum", paths["defined"]).split()[0]


def _medium(record: Record, *flags: str) -> str:
    lines = [line.split() for line in virsh("domblklist", record.id, "--details", *flags).splitlines()]
    return next(line[-1] for line in lines if line[1:2] == ["cdrom"])


def wanted(record: Record) -> str:
    return hashlib.sha256(base64.b64decode(drives(record, HOLDS)[record.id])).hexdigest()


def with_role(record: Record, role: str) -> Record:
    spec: dict[str, t.Any] = {"metadata": {"role": role, "padding": role * 5000}}
    return dataclasses.replace(record, spec=spec, generation=record.generation + 1)


def update(host: HostUnderTest, old: Record, new: Record, **more: t.Any) -> dict[str, t.Any]:
    steps = [step("update", old, old.generation, to=new)]
    return host.ask("steps", steps=steps, drives=drives(new, HOLDS), **more)


def running(host: HostUnderTest, name: str) -> Record:
    made = host.new(name, flavor=Flavor("tiny", 1, 128, 1))
    done = host.run(create(made), step("start", made, 1), record=made, user_data=HOLDS)
    ok(done)
    record = Record.from_json(done[0]["record"])
    host.console(record, r"tick 1\b")
    assert medium(record) == wanted(record)
    return record


def test_a_drive_is_made_anew_while_its_guest_runs_and_before_it_starts(host: HostUnderTest) -> None:
    record = running(host, "web1")
    holder = with_role(record, "holder")
    (told,) = update(host, record, holder)["results"]
    assert told["message"] == "record written, config drive made anew, medium changed"
    assert medium(holder) == wanted(holder)
    assert virsh("domstate", holder.id).strip() == "running"
    (again,) = update(host, holder, holder)["results"]
    assert (again["changed"], again["message"]) == (False, "nothing to do")
    # The same QEMU, now with the new medium in: the guest reads it when it looks again.
    virsh("reset", holder.id)
    host.console(holder, "flotilla-guest meta role=holder")
    host.console(holder, "holds its drive")

    db = with_role(holder, "db")
    (told,) = update(host, holder, db)["results"]
    assert told["message"] == "record written, the guest holds its config drive, which is made anew at its next start"
    assert medium(db) == wanted(holder)
    ok(host.run(step("stop", db, 3, timeout=0)))
    ok(host.run(step("start", db, 3), record=db, user_data=HOLDS))
    assert medium(db) == wanted(db)
    host.console(db, "flotilla-guest meta role=db")


@pytest.mark.soak
def test_a_drive_made_anew_by_a_run_that_is_killed_is_in_after_the_next(host: HostUnderTest) -> None:
    record, counted = running(host, "web1"), with_role(running(host, "web2"), "counted")
    calls = update(host, dataclasses.replace(counted, generation=1, spec={}), counted)["calls"]
    # After each call from the one that takes the medium out to the one that writes the record.
    out = calls.index("virDomain.updateDeviceFlags") + 1
    for moment in range(out, len(calls) + 1):
        new = with_role(record, f"web{moment}")
        assert update(host, record, new, killed=True, kill_at=moment) == {"killed": True}
        (found,) = [server for server in host.look()["servers"] if server["record"]["id"] == record.id]
        (told,) = update(host, Record.from_json(found["record"]), new)["results"]
        assert not told.get("failed"), told
        assert medium(new) == wanted(new)
        record = new
    assert "tick" in console_of(record.id)


def test_what_has_changed_beside_the_record_is_on_the_drive_from_the_next_start_on(host: HostUnderTest) -> None:
    """Vendor data, say."""
    made = host.new("web1", flavor=Flavor("tiny", 1, 128, 1))
    done = host.run(create(made), record=made, user_data=HOLDS)
    ok(done)
    record = Record.from_json(done[0]["record"])
    later = dataclasses.replace(record, name="web2")
    ok(host.run(step("start", record, 1), record=later, user_data=HOLDS))
    assert medium(record) == wanted(later)


def test_a_drive_says_where_on_the_bus_libvirt_has_put_its_devices(host: HostUnderTest) -> None:
    made = host.new("web1", flavor=Flavor("tiny", 1, 128, 1))
    made = dataclasses.replace(made, nics=[dataclasses.replace(made.nics[0], tag="front")])
    done = host.run(create(made), record=made, user_data=HOLDS)
    ok(done)
    record = Record.from_json(done[0]["record"])
    interface = ElementTree.fromstring(virsh("dumpxml", record.id)).find("devices/interface/address[@type='pci']")
    assert interface is not None
    bus, slot = (int(str(interface.get(name)), 16) for name in ("bus", "slot"))
    device = f'"address": "0000:{bus:02x}:{slot:02x}.0"'
    told = lab("exec", "kvm1", "grep", "-a", "-o", '"devices": .*"mac"', _medium(record, "--inactive"))
    assert told.count(device) == told.count("address") > 0
    # The next start finds nothing to change.
    ok(host.run(step("start", record, 1), record=record, user_data=HOLDS))
    assert told == lab("exec", "kvm1", "grep", "-a", "-o", '"devices": .*"mac"', _medium(record))
