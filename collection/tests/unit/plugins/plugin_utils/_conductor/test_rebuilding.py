# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rebuild that was cut off, in the next run's plan: what it was asked for is carried out, and its mark goes."""

from __future__ import annotations

import dataclasses

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    WEB,
    applied,
    claimed,
    fleet,
    hosts,
    reconcile,
)


def test_the_record_after_it_has_what_was_asked_for_and_no_mark() -> None:
    declared = fleet({"web1": WEB})
    host, (guest,) = next(iter(applied(reconcile(declared, hosts(declared))).items()))
    record = guest.record
    assert record is not None
    wanted = {**record.spec, "description": "asked for"}
    cut = dataclasses.replace(record, marks={"rebuilding": {"spec": wanted}})
    found = dataclasses.replace(guest, state="shutoff", record=cut)
    (entry,) = claimed(reconcile(declared, hosts(declared, {host: [found]}))).servers
    assert [step.kind for step in entry.steps] == ["rebuild", "update", "start"]
    rebuilt = Record.from_json(entry.deeds[0]["record"])
    assert (rebuilt.generation, rebuilt.spec, rebuilt.marks) == (record.generation + 1, wanted, {})
    assert Record.from_json(entry.deeds[1]["record"]).spec == record.spec
