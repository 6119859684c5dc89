# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots and shelved servers in a plan: where they may go, what they count, what the ledger learns of them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot, snapshot_of, with_disk
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import ERROR, NO_HOST
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.runs import _servers_seen
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.saving import catalog_entry
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ServerRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    claimed,
    entries,
    fleet,
    hosts,
    kinds,
    reconcile,
    rows,
    survey,
)

CHECKSUM = "sha256:" + "b" * 64
STORED = ["image-" + "b" * 64, "image-" + "b" * 64 + ".ok"]


def made(record: Record) -> Snapshot:
    wanted = snapshot_of(record, "golden", snapshot_id="s", pool="local", created_at="2026-01-01T00:00:00Z")
    snapshot = with_disk(wanted, fmt="qcow2", checksum=CHECKSUM, virtual_size=1024**3, size=1)
    return dataclasses.replace(snapshot, complete=True)


def server() -> Record:
    """A server as it was applied on kvm2."""
    declared = fleet({"web1": {**WEB, "server_host": "kvm2"}})
    (guest,) = applied(reconcile(declared, hosts(declared)))["kvm2"]
    assert guest.record is not None
    return guest.record


def with_snapshot(servers: dict[str, dict[str, t.Any]]) -> Declared:
    ledger = {"images": {"golden": catalog_entry(made(server()), "kvm2")}}
    return declare(FLEET, dict.fromkeys(("kvm1", "kvm2", "kvm3"), COMPUTE), servers, ledger)


def test_servers_from_a_snapshot_go_where_it_is() -> None:
    declared = with_snapshot({f"web{n}": {**WEB, "server_image": "golden"} for n in (1, 2, 3)})
    plan = claimed(reconcile(declared, hosts(declared, kvm2=survey("kvm2", volumes=STORED))))
    assert [entry.host for entry in plan.servers] == ["kvm2"] * 3
    assert not any(host.steps for host in plan.hosts)
    (entry,) = reconcile(with_snapshot({"web1": {**WEB, "server_image": "golden"}}), hosts(declared)).plan().servers
    assert entry.verdict == NO_HOST


def test_a_snapshot_is_copied_between_pools_of_its_host() -> None:
    declared = with_snapshot({"web1": {**WEB, "server_image": "golden", "server_pool": "fast"}})
    its = survey("kvm2", volumes=STORED)
    its["pools"]["fast"] = {**its["pools"]["local"], "id": "pool-fast", "volumes": {}}
    plan = claimed(reconcile(declared, hosts(declared, kvm2=its)))
    steps = [(host.name, dict(step.args)) for host in plan.hosts for step in host.steps]
    place = {"name": "golden", "checksum": CHECKSUM, "format": "qcow2", "pool": "fast", "from_pool": "local"}
    assert steps == [("kvm2", place)]


def test_a_server_elsewhere_can_not_be_rebuilt_from_it() -> None:
    declared = fleet({"web1": {**WEB, "server_host": "kvm1"}}, fleet_allow=["rebuild"])
    guests = applied(reconcile(declared, hosts(declared)))
    changed = with_snapshot({"web1": {**WEB, "server_host": "kvm1", "server_image": "golden"}})
    settings = dataclasses.replace(changed.settings, allow=frozenset({"rebuild"}))
    changed = dataclasses.replace(changed, settings=settings)
    leave = declared.settings.allow
    computes = hosts(changed, guests, kvm2=survey("kvm2", volumes=STORED))
    draft = reconcile(changed, computes, leave=dataclasses.replace(_leave(), allow=leave))
    (entry,) = draft.plan().servers
    assert entry.verdict == ERROR
    assert "image 'golden' is a snapshot in pool 'local' of kvm2, and kvm1 doesn't see it there" in entry.message


def _leave() -> t.Any:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave

    return Leave()


# -- shelved ------------------------------------------------------------------------------------------------------


def shelved() -> Record:
    record = server()
    mark = {"at": "2026-01-01T00:00:00Z", "pool": "local", "snapshots": [made(record).to_json()]}
    spec = {key: value for key, value in record.spec.items() if key != "host"}
    return dataclasses.replace(
        record, generation=record.generation + 1, host_id=None, spec={**spec, "state": "shelved"}, marks={SHELVED: mark}
    )


def row(record: Record, vm_state: str = SHELVED) -> ServerRow:
    return ServerRow(
        id=record.id,
        name=record.name,
        host="kvm2",
        record=record.dumps(),
        generation=record.generation,
        vm_state=vm_state,
        task_state=None,
        power_state=4,
        run_id=None,
        fault=None,
        updated=0.0,
        since=0.0,
    )


def test_a_shelved_server_goes_to_a_host_that_sees_its_snapshot_and_keeps_what_it_is() -> None:
    record = shelved()
    known = rows(servers={record.id: row(record)})
    declared = fleet({"web1": WEB})
    volumes = [f"{record.id}-shelved", *STORED]
    # The host that it was on is full.
    computes = hosts(declared, kvm2=survey("kvm2", memory=64, volumes=volumes), kvm3=survey("kvm3", volumes=volumes))
    (entry,) = claimed(reconcile(declared, computes, known)).servers
    assert (entry.host, kinds(entry)) == ("kvm3", ["unshelve", "start", "tidy"])
    deed = entry.deeds[0]
    target = Record.from_json(deed["record"])
    assert (deed["kind"], deed["options"]["snapshots"]) == ("unshelve", record.marks[SHELVED]["snapshots"])
    assert (target.id, target.marks, target.host_id) == (record.id, {}, "id-kvm3")
    assert [nic.mac for nic in target.nics] == [nic.mac for nic in record.nics]
    assert [nic.addresses for nic in target.nics] == [nic.addresses for nic in record.nics]
    assert target.root.backing is None
    assert (
        claimed(reconcile(fleet({"web1": {**WEB, "server_state": "shelved"}}), computes, known)).servers[0].steps == ()
    )


def test_what_is_left_of_its_disks_binds_it_to_their_host() -> None:
    record = shelved()
    known = rows(servers={record.id: row(record)})
    declared = fleet({"web1": WEB})
    volumes = [f"{record.id}-shelved", *STORED]
    computes = hosts(
        declared, kvm2=survey("kvm2", volumes=[*volumes, record.root.volume]), kvm1=survey("kvm1", volumes=volumes)
    )
    (entry,) = claimed(reconcile(declared, computes, known)).servers
    assert (entry.host, kinds(entry)) == ("kvm2", ["unshelve", "start", "tidy"])


def test_a_shelved_server_takes_nothing_of_its_host() -> None:
    record = shelved()
    whole = {**WEB, "server_flavor": "big", "server_host": "kvm2"}
    declared = fleet({"web1": {**WEB, "server_state": "shelved"}, "web2": whole})
    its = survey("kvm2", memory=4096, volumes=[f"{record.id}-shelved", *STORED])
    known = rows(servers={record.id: row(record)})
    plan = entries(reconcile(declared, hosts(declared, kvm2=its), known).plan())
    assert (plan["web2"].host, plan["web2"].verdict) == ("kvm2", "change")


def computes_with(record: Record, *names: str) -> tuple[Compute, ...]:
    declared = fleet({})
    return tuple(
        dataclasses.replace(compute, shelved=(record,)) if compute.name in names else compute
        for compute in hosts(declared)
    )


def test_the_ledger_learns_what_was_shelved_without_it() -> None:
    record, before = shelved(), server()
    for known in (rows(), rows(servers={record.id: row(before, "stopped")})):
        (seen,) = _servers_seen(computes_with(record, "kvm2", "kvm3"), "F", known)
        assert (seen.id, seen.host, seen.vm_state) == (record.id, "kvm2", SHELVED)
    assert _servers_seen(computes_with(record, "kvm2"), "another", rows()) == []
    # It is known, or has been made again since: what lies there is old.
    assert _servers_seen(computes_with(record, "kvm2"), "F", rows(servers={record.id: row(record)})) == []
    later = dataclasses.replace(before, generation=record.generation + 1)
    assert _servers_seen(computes_with(record, "kvm2"), "F", rows(servers={record.id: row(later, "active")})) == []


def test_a_server_with_a_domain_is_not_shelved() -> None:
    record = shelved()
    declared = fleet({"web1": {**WEB, "server_host": "kvm2"}})
    guests = applied(reconcile(declared, hosts(declared)))
    its = dataclasses.replace(record, id=guests["kvm2"][0].id)
    computes = tuple(dataclasses.replace(c, shelved=(its,)) for c in hosts(declared, guests))
    assert {seen.vm_state for seen in _servers_seen(computes, "F", rows())} == {"active"}
